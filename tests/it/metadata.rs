//! Metadata and traces: from the caller to the method, down nested calls, and through relays.

use parking_lot::Mutex;
use rmi::{
    CallOptions, Certainty, Context, ErrorKind, Interceptor, Invocation, Next, Node, Remote, RemoteError, Reply, Side,
    remote,
};

use crate::common::{beside, client, failure, hand_over, mem, node, serve, soon, transports};

/// Tells what its caller's metadata was.
#[remote]
trait MetadataTeller {
    async fn tell(&self, name: String) -> rmi::Result<Option<String>>;
    /// Asks another one.
    async fn ask(&self, other: Remote<dyn MetadataTeller>, name: String) -> rmi::Result<Option<String>>;
}

struct Plain;

#[remote]
impl MetadataTeller for Plain {
    async fn tell(&self, name: String) -> rmi::Result<Option<String>> {
        let value = Context::current().and_then(|context| context.metadata(&name));
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }
    async fn ask(&self, other: Remote<dyn MetadataTeller>, name: String) -> rmi::Result<Option<String>> {
        other.tell(name).await
    }
}

fn teller() -> Remote<dyn MetadataTeller> {
    Remote::<dyn MetadataTeller>::new(Plain)
}

fn marked(teller: &Remote<dyn MetadataTeller>) -> Remote<dyn MetadataTeller> {
    Remote::with(teller, CallOptions::new().metadata("attempt", "1").baggage("tenant", "blue"))
}

#[tokio::test]
async fn metadata_reaches_the_method_and_baggage_goes_on() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (near, far) = (serve(&server, &client, &teller()), teller());
        assert_eq!(soon(near.tell("tenant".into())).await.unwrap(), None);
        let near = marked(&near);
        assert_eq!(soon(near.tell("attempt".into())).await.unwrap().as_deref(), Some("1"));
        assert_eq!(soon(near.tell("tenant".into())).await.unwrap().as_deref(), Some("blue"));
        // The method calls back: only baggage comes along.
        assert_eq!(soon(near.ask(far.clone(), "tenant".into())).await.unwrap().as_deref(), Some("blue"));
        assert_eq!(soon(near.ask(far, "attempt".into())).await.unwrap(), None);
    }
}

/// Keeps a teller for whoever comes.
#[remote]
trait MetadataDesk {
    async fn leave(&self, teller: Remote<dyn MetadataTeller>) -> rmi::Result<()>;
    async fn take(&self) -> rmi::Result<Option<Remote<dyn MetadataTeller>>>;
}

#[derive(Default)]
struct Shelf(Mutex<Option<Remote<dyn MetadataTeller>>>);

#[remote]
impl MetadataDesk for Shelf {
    async fn leave(&self, teller: Remote<dyn MetadataTeller>) -> rmi::Result<()> {
        *self.0.lock() = Some(teller);
        Ok(())
    }
    async fn take(&self) -> rmi::Result<Option<Remote<dyn MetadataTeller>>> {
        Ok(self.0.lock().clone())
    }
}

#[tokio::test]
async fn a_relay_passes_metadata_on_untouched() {
    let (middle, owner, caller) = (node(&mem()).await, client().await, client().await);
    let desk = Remote::<dyn MetadataDesk>::new(Shelf::default());
    soon(serve(&middle, &owner, &desk).leave(teller())).await.unwrap();
    let relayed = marked(&soon(serve(&middle, &caller, &desk).take()).await.unwrap().unwrap());
    assert_eq!(soon(relayed.tell("attempt".into())).await.unwrap().as_deref(), Some("1"));
    assert_eq!(soon(relayed.ask(teller(), "tenant".into())).await.unwrap().as_deref(), Some("blue"));
}

#[tokio::test]
async fn metadata_that_no_peer_takes_fails_its_call_before_it_is_sent() {
    let (server, client) = (node(&mem()).await, client().await);
    let teller = hand_over(&server, &client, &teller()).await;
    for (options, kind) in [
        (CallOptions::new().metadata("", "nameless"), ErrorKind::Marshal),
        (CallOptions::new().metadata("much", vec![0; 8192]), ErrorKind::TooLarge),
        ((0..257).fold(CallOptions::new(), |all, name| all.metadata(&name.to_string(), "")), ErrorKind::TooLarge),
    ] {
        let refused = failure(soon(Remote::with(&teller, options).tell("much".into())).await, "MetadataTeller.tell");
        assert_eq!((refused.kind(), refused.certainty()), (kind, Certainty::NotSent), "{refused}");
    }
    let most = Remote::with(&teller, CallOptions::new().metadata("much", vec![b'm'; 8188]));
    assert_eq!(soon(most.tell("much".into())).await.unwrap().map(|text| text.len()), Some(8188));
    assert_eq!(client.stats().calls_in_flight, 0);
}

/// Makes the calls of its node belong to a trace.
struct Traced([u8; 25]);

#[rmi::async_trait]
impl Interceptor for Traced {
    async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
        call.set_trace(Some(self.0));
        next.run(call).await
    }

    fn sees(&self, side: Side) -> bool {
        side == Side::Client
    }
}

/// Tells what its caller's trace was.
#[remote]
trait TraceTeller {
    async fn tell(&self) -> rmi::Result<Option<Vec<u8>>>;
    /// Asks another one.
    async fn ask(&self, other: Remote<dyn TraceTeller>) -> rmi::Result<Option<Vec<u8>>>;
}

#[remote]
impl TraceTeller for Plain {
    async fn tell(&self) -> rmi::Result<Option<Vec<u8>>> {
        Ok(Context::current().and_then(|context| context.trace()).map(|trace| trace.to_vec()))
    }
    async fn ask(&self, other: Remote<dyn TraceTeller>) -> rmi::Result<Option<Vec<u8>>> {
        other.tell().await
    }
}

fn teller_of_traces() -> Remote<dyn TraceTeller> {
    Remote::<dyn TraceTeller>::new(Plain)
}

#[tokio::test]
async fn a_trace_reaches_the_method_and_goes_on() {
    let trace = std::array::from_fn(|index| u8::try_from(index + 1).unwrap());
    for listen in transports() {
        let server = node(&listen).await;
        let traced = Node::builder().interceptor(Traced(trace)).start().await.unwrap();
        let teller = teller_of_traces();
        let near = serve(&server, &traced, &teller);
        assert_eq!(soon(near.tell()).await.unwrap().as_deref(), Some(&trace[..]));
        // The object asked is a third node's, and the call made by a node without interceptors.
        let third = node(&beside(&listen)).await;
        let far = hand_over(&third, &traced, &teller_of_traces()).await;
        assert_eq!(soon(near.ask(far)).await.unwrap().as_deref(), Some(&trace[..]));
        let untraced = serve(&server, &third, &teller);
        assert_eq!(soon(untraced.tell()).await.unwrap(), None);
    }
}
