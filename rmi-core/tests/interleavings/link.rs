//! A link, as threads share it: a session behind a lock, whose effects are carried out without it.

use std::time::Duration;

use bytes::BytesMut;
use loom::sync::Mutex;
use rmi_core::{
    Limits, NodeId, ObjectId,
    id::{Fingerprint, MethodId},
    object::InterfaceSet,
    session::{CallKey, Directory, Event, Handshake, MethodRef, Passed, Session, StartCall},
    time::Time,
    wire::{Encoded, Hello, Message, Slot, Target, split_frame},
};

use crate::{
    objects::{Home, Object},
    sync::Arc,
};

/// An object, as a link keeps it.
pub(crate) type Handle = Arc<Object>;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) session: Mutex<Session<Handle>>,
    node: Home,
}

/// The node's table finds objects for sessions, under their locks.
struct Objects<'a>(&'a Home);

impl Directory<Handle> for Objects<'_> {
    fn find(&self, id: &ObjectId) -> Option<Passed<Handle>> {
        Some(passed(&self.0.find(id)?))
    }
}

pub(crate) fn passed(object: &Handle) -> Passed<Handle> {
    Passed::own(object.clone(), object.id, InterfaceSet::new(vec!["demo.Account".into()]))
}

impl Link {
    pub(crate) fn new(node: &Home) -> std::sync::Arc<Self> {
        let limits = Limits::default();
        let hello = |byte| Hello::new(NodeId::from_bytes([byte; 16]), &limits, Duration::from_secs(30));
        let frame = split_frame(&mut Handshake::accept(hello(2)).hello()).unwrap().unwrap();
        let established = Handshake::dial(hello(1)).handle_frame(&frame).unwrap();
        let session = Session::new(established, limits, Time::START);
        std::sync::Arc::new(Self { session: Mutex::new(session), node: node.clone() })
    }

    /// One step with the session, then what it left to do.
    pub(crate) fn step<R>(&self, step: impl FnOnce(&mut Session<Handle>) -> R) -> R {
        let (result, effects) = {
            let mut session = self.session.lock().unwrap();
            let result = step(&mut session);
            (result, session.take_effects())
        };
        effects.wakers.into_iter().for_each(std::task::Waker::wake);
        drop(effects.garbage);
        result
    }

    /// The driver has read this.
    pub(crate) fn hears(&self, message: &Message) {
        self.step(|session| hear(session, &self.node, message));
    }

    /// A call of the peer's object is made that passes these, and leaves.
    pub(crate) fn call(&self, passes: &[&Handle]) -> CallKey {
        self.step(|session| {
            let call = StartCall {
                target: Target::Service("registry".into()),
                order: ObjectId::from_bytes([1; 16]),
                method: MethodRef { id: MethodId(300), fingerprint: Fingerprint(7), name: &"demo.Registry.bind" },
                references: passes.iter().map(|object| passed(object)).collect(),
                payload: &mut Encoded::default(),
                deadline: Some(DEADLINE),
                depth: 0,
                relayed: false,
                extras: None,
                promises: None,
            };
            session.start_call(Time::START, call).unwrap()
        })
    }

    /// The socket takes all that waits.
    pub(crate) fn write(&self) -> Vec<Message> {
        self.step(|session| {
            let mut bytes = BytesMut::new();
            while session.has_output() {
                let len = session.slices().iter().map(|slice| slice.len()).sum();
                session.slices().iter().for_each(|slice| bytes.extend_from_slice(slice));
                session.advance(len);
            }
            let frames = std::iter::from_fn(|| split_frame(&mut bytes).unwrap());
            frames.map(|frame| Message::decode(frame.kind, frame.body, &Limits::default()).unwrap()).collect()
        })
    }
}

/// When calls are over their time.
pub(crate) const DEADLINE: Time = Time::after_start(Duration::from_secs(1));

/// The object of the peer's that its answers bring.
pub(crate) const HELD: Slot = Slot { index: 5, generation: 0 };

pub(crate) fn hear(session: &mut Session<Handle>, node: &Home, message: &Message) {
    let mut bytes = BytesMut::new();
    message.encode_frame(&mut bytes);
    let frame = split_frame(&mut bytes).unwrap().unwrap();
    let mut events: Vec<Event<Handle>> = Vec::new();
    session.handle_frame(Time::START, frame, &Objects(node), &mut events).unwrap();
}
