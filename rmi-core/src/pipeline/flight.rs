//! The way of a call whose result may be called before it is there.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    connection::Link,
    error::RemoteError,
    id::{FENCE, Fingerprint, ObjectId},
    interface::Method,
    node::Node,
    pending::PendingCall,
    referent::Referent,
    session::{Answer, MethodRef, StartCall},
    wire::{Encoded, PromiseId, Target},
};

/// A call that is on its way, and has promised its result.
pub(crate) struct Flight {
    pub(crate) node: Node,
    pub(crate) link: Arc<Link<Referent>>,
    pub(crate) promise: PromiseId,
    /// Whatever is called of its result leaves behind it.
    pub(crate) order: ObjectId,
    pub(crate) method: &'static Method,
}

impl Flight {
    pub(crate) fn target(&self) -> Target {
        Target::Promise { promise: self.promise, reference: 0 }
    }

    /// Comes back when whatever was called of the result by its promise has begun.
    pub(crate) async fn fence(&self) -> Result<(), RemoteError> {
        let now = self.node.now();
        let call = StartCall {
            target: self.target(),
            order: self.order,
            method: MethodRef { id: FENCE, fingerprint: Fingerprint(0), name: &"rmi.fence" },
            references: Vec::new(),
            payload: &mut Encoded::default(),
            deadline: Some(now + self.node.limits().connect_timeout),
            depth: 0,
            relayed: false,
            extras: None,
            promises: None,
        };
        let key = self.link.start_call(now, call)?;
        match PendingCall::new(self.link.clone(), key).answer().await.0 {
            Answer::Reply { .. } => Ok(()),
            Answer::Failed(error) => Err(error),
        }
    }
}

/// How far a call is, for those that are made on its result.
#[derive(Clone, Default)]
pub(crate) enum Way {
    /// It has not begun.
    #[default]
    None,
    /// It was sent, the last time like this.
    Over(Arc<Flight>),
    /// It was made of what its own promise had become, or within this process.
    Direct,
}

/// Tells how far a call is.
#[derive(Default)]
pub(crate) struct Flights(watch::Sender<Way>);

impl Flights {
    pub(crate) fn begin(&self, flight: Flight) {
        // One that was made of a promise before, and goes again, has another way now.
        self.0.send_replace(Way::Over(Arc::new(flight)));
    }

    /// It goes to the object itself.
    pub(crate) fn go_directly(&self) {
        self.0.send_replace(Way::Direct);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Way> {
        self.0.subscribe()
    }

    pub(crate) fn way(&self) -> Way {
        self.0.borrow().clone()
    }
}
