//! Whom nodes take each other for, and what they let each other do.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use rmi::{
    Access, Authenticator, Authorizer, Certainty, Context, Credentials, ErrorKind, Node, NodeBuilder, NodeError,
    Principal, Remote, RemoteError, async_trait, remote,
};
use rmi_core::{id::MethodId, wire::Message};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    cable::Cable,
    common::{
        Counter, TCP, Tally, at_rest, client, counter, failure, hand_over, mem, node, serve, socket_path, soon, until,
    },
    raw::{Raw, method, service},
};

/// Tells callers who they are.
#[remote(name = "trust.Mirror")]
trait Mirror {
    async fn look(&self) -> rmi::Result<String>;
    /// Has the mirror look into another one.
    async fn face(&self, other: Remote<dyn Mirror>) -> rmi::Result<String>;
    async fn weigh(&self, load: Load) -> rmi::Result<()>;
}

struct Glass;

#[remote]
impl Mirror for Glass {
    async fn look(&self) -> rmi::Result<String> {
        Ok(Context::current().expect("a remote call").principal().to_string())
    }
    async fn face(&self, other: Remote<dyn Mirror>) -> rmi::Result<String> {
        other.look().await
    }
    async fn weigh(&self, _: Load) -> rmi::Result<()> {
        Ok(())
    }
}

/// Counts how often it is decoded.
#[derive(Serialize)]
struct Load;

static DECODED: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        <()>::deserialize(from).map(|()| Self)
    }
}

fn mirror() -> Remote<dyn Mirror> {
    Remote::<dyn Mirror>::new(Glass)
}

/// Knows bearers by their tokens, and takes nobody else.
struct Guests(HashMap<&'static str, &'static str>);

impl Guests {
    fn new() -> Self {
        Self(HashMap::from([
            ("sesame", "alice"),
            ("abracadabra", "bob"),
            ("simsalabim", "alice"),
            ("crowbar", "mallory"),
        ]))
    }
}

#[async_trait]
impl Authenticator for Guests {
    async fn authenticate(&self, shown: &Credentials<'_>) -> rmi::Result<Principal> {
        // As one that asks another machine.
        tokio::task::yield_now().await;
        let token = shown.token().and_then(|token| std::str::from_utf8(token).ok());
        match token.and_then(|token| self.0.get(token)) {
            Some(name) => Ok(Principal::token(*name)),
            None => Err(RemoteError::new(ErrorKind::AccessDenied, "nobody knows the token: ask the host for one")),
        }
    }
}

async fn guarded(listen: &str) -> Node {
    Node::builder().listen(listen).authenticator(Guests::new()).start().await.unwrap()
}

async fn bearer(of: &'static str, at: &Node) -> Node {
    Node::builder().token(at.endpoints()[0].to_string(), of).start().await.unwrap()
}

#[tokio::test]
async fn a_caller_is_whom_it_has_proved_to_be() {
    let unix = format!("unix://{}", socket_path());
    for (listen, expected) in
        [(mem(), "anonymous".to_owned()), (TCP.to_owned(), "anonymous".to_owned()), (unix, own_uid())]
    {
        let (server, client) = (node(&listen).await, client().await);
        let glass = serve(&server, &client, &mirror());
        assert_eq!(soon(glass.look()).await.unwrap(), expected, "{listen}");
        // And the other way round: who listens there is seen by the system, too.
        assert_eq!(soon(glass.face(mirror())).await.unwrap(), expected, "{listen}");
    }
    let server = guarded(&mem()).await;
    let glass = serve(&server, &bearer("sesame", &server).await, &mirror());
    assert_eq!(soon(glass.look()).await.unwrap(), "token:alice");
}

/// As the system knows this process.
fn own_uid() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let file = std::env::temp_dir().join(format!("rmi-it-uid-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let uid = std::fs::metadata(&file).unwrap().uid();
    std::fs::remove_file(&file).unwrap();
    format!("uid:{uid}")
}

#[tokio::test]
async fn who_is_not_taken_is_told_why_and_reaches_nothing() {
    let server = guarded(&mem()).await;
    let wrong = bearer("guess", &server).await;
    for stranger in [client().await, wrong] {
        let counter = serve(&server, &stranger, &counter());
        let error = failure(soon(counter.add(1)).await, "add");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::AccessDenied, Certainty::NotSent), "{error}");
        assert!(error.to_string().contains("nobody knows the token: ask the host for one"), "{error}");
        assert_eq!(stranger.stats().connections, 0);
    }
    until("nobody is connected", || server.stats().connections == 0).await;
}

#[tokio::test]
async fn an_authenticator_that_does_not_answer_or_panics_costs_its_dialler_alone() {
    struct Broken;

    #[async_trait]
    impl Authenticator for Broken {
        async fn authenticate(&self, shown: &Credentials<'_>) -> rmi::Result<Principal> {
            match shown.token() {
                None => std::future::pending().await,
                Some(b"panic") => panic!("the directory is broken"),
                Some(_) => Ok(shown.principal().clone()),
            }
        }
    }

    let limits = rmi::Limits { connect_timeout: std::time::Duration::from_millis(200), ..Default::default() };
    let server = Node::builder().listen(mem()).limits(limits).authenticator(Broken);
    let server = server.start().await.unwrap();
    for stranger in [client().await, bearer("panic", &server).await] {
        let counter = serve(&server, &stranger, &counter());
        let error = failure(soon(counter.add(1)).await, "add");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unreachable, Certainty::NotSent), "{error}");
    }
    let counter = serve(&server, &bearer("works", &server).await, &counter());
    assert_eq!(soon(counter.add(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_token_is_not_shown_to_whom_it_is_not_for() {
    /// Remembers what it was shown.
    struct Thief(Arc<Mutex<Vec<Option<Vec<u8>>>>>);

    #[async_trait]
    impl Authenticator for Thief {
        async fn authenticate(&self, shown: &Credentials<'_>) -> rmi::Result<Principal> {
            self.0.lock().push(shown.token().map(<[u8]>::to_vec));
            Ok(Principal::Anonymous)
        }
    }

    let (stolen, server) = (Arc::default(), guarded(&mem()).await);
    let thief = Node::builder().listen(mem()).authenticator(Thief(Arc::clone(&stolen))).start().await.unwrap();
    let alice = bearer("sesame", &server).await;
    // An object of the thief's, which alice gets by way of the server and then calls.
    let trap = hand_over(&thief, &server, &counter()).await;
    let held = hand_over(&server, &alice, &trap).await;
    assert_eq!(soon(held.add(1)).await.unwrap(), 1);
    assert!(stolen.lock().iter().all(Option::is_none), "{stolen:?}");
    assert!(stolen.lock().len() >= 2, "the server and alice have both dialled it");
}

#[tokio::test]
async fn a_token_for_no_place_or_for_all_to_read_keeps_the_node_from_starting() {
    for (place, told) in [("tcp://bank.example:1", "write tls://"), ("bank", "names no transport")] {
        match Node::builder().token(place, "sesame").start().await {
            Err(error @ NodeError::Token { .. }) => {
                let text = error.to_string();
                assert!(text.contains(told) && text.contains(place), "{text}");
            }
            other => panic!("{place}: {other:?}"),
        }
    }
}

/// Lets who has a token do what stands in it, and anybody look into a mirror.
struct Rules;

impl Authorizer for Rules {
    fn may_call(&self, access: &Access<'_>) -> bool {
        match access.principal {
            Principal::Token(name) if **name == *"mallory" => panic!("the rules know no mallory"),
            Principal::Token(name) => **name == *"alice",
            _ => matches!((access.interface, access.method), ("trust.Mirror", "look") | ("trust.Attic", _)),
        }
    }
}

fn ruled(listen: &str) -> NodeBuilder {
    Node::builder().listen(listen).authorizer(Rules)
}

/// Where a mirror is left.
#[remote(name = "trust.Attic")]
trait Attic {
    async fn leave(&self, mirror: Remote<dyn Mirror>) -> rmi::Result<()>;
    async fn take(&self) -> rmi::Result<Option<Remote<dyn Mirror>>>;
}

#[derive(Default)]
struct Dust(Mutex<Option<Remote<dyn Mirror>>>);

#[remote]
impl Attic for Dust {
    async fn leave(&self, mirror: Remote<dyn Mirror>) -> rmi::Result<()> {
        *self.0.lock() = Some(mirror);
        Ok(())
    }
    async fn take(&self) -> rmi::Result<Option<Remote<dyn Mirror>>> {
        Ok(self.0.lock().clone())
    }
}

#[tokio::test]
async fn what_is_forbidden_and_what_does_not_exist_look_alike() {
    let (server, stranger) = (ruled(&mem()).start().await.unwrap(), client().await);
    let at = || server.endpoints()[0].clone();
    let glass = serve(&server, &stranger, &mirror());
    assert_eq!(soon(glass.look()).await.unwrap(), "anonymous");

    let forbidden = failure(soon(glass.weigh(Load)).await, "weigh");
    let tally = serve(&server, &stranger, &counter());
    let of_other = failure(soon(tally.add(1)).await, "add");
    let nothing = Remote::<dyn Counter>::service(&stranger, at(), "no such service");
    let unknown = failure(soon(nothing.add(1)).await, "add");
    // A counter where a mirror is: the method is not that object's.
    server.serve("mirror", &mirror());
    let guessed = Remote::<dyn Counter>::service(&stranger, at(), "mirror");
    let no_method = failure(soon(guessed.add(1)).await, "add");
    for error in [forbidden, of_other, unknown, no_method] {
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::AccessDenied, Certainty::NotExecuted), "{error}");
        let told = "there is no such object and method, or the caller, anonymous, may not call it";
        assert_eq!(error.message(), told);
    }
    assert_eq!(DECODED.load(Ordering::SeqCst), 0, "no argument was decoded");

    // Nor do the runtime's own methods tell by a name what is there: the fence, and the pull of streams.
    let mut peer = Raw::connect(&server).await;
    server.serve("tally", &counter());
    for (id, name) in (0..).zip(["tally", "no such service", "mirror"].repeat(2)) {
        let mut own = *method::<dyn Counter>("total");
        own.id = MethodId(if id < 3 { 1 } else { 2 });
        let number = peer.define(&own).await;
        peer.call(id, service(name), number, vec![]).await;
        let Message::Refusal(refusal) = peer.next_answer().await else { panic!("{name} was told to be there") };
        assert_eq!(refusal.error.kind(), ErrorKind::AccessDenied, "{name}: {}", refusal.error);
    }
    peer.close();
    at_rest(&[&stranger]).await;
}

#[tokio::test]
async fn who_may_call_is_told_the_truth() {
    let server = ruled(&mem()).authenticator(Guests::new()).start().await.unwrap();
    let alice = bearer("sesame", &server).await;
    assert_eq!(soon(serve(&server, &alice, &counter()).add(3)).await.unwrap(), 3);
    let nothing = Remote::<dyn Counter>::service(&alice, server.endpoints()[0].clone(), "no such service");
    assert_eq!(failure(soon(nothing.add(1)).await, "add").kind(), ErrorKind::NoSuchObject);
    server.serve("mirror", &mirror());
    let guessed = Remote::<dyn Counter>::service(&alice, server.endpoints()[0].clone(), "mirror");
    assert_eq!(failure(soon(guessed.add(1)).await, "add").kind(), ErrorKind::NoSuchMethod);
    let bob = bearer("abracadabra", &server).await;
    let refused = failure(soon(serve(&server, &bob, &counter()).add(3)).await, "add");
    assert_eq!(refused.kind(), ErrorKind::AccessDenied);
    assert!(refused.to_string().contains("token:bob"), "{refused}");
    // An authorizer that panics forbids, and its link goes on.
    let mallory = bearer("crowbar", &server).await;
    for _ in 0..2 {
        let refused = failure(soon(serve(&server, &mallory, &counter()).add(3)).await, "add");
        assert_eq!(refused.kind(), ErrorKind::AccessDenied);
    }
    assert_eq!(mallory.stats().connections, 1);
}

#[tokio::test]
async fn a_relayed_call_is_held_to_the_rules_of_the_node_in_the_middle() {
    let (middle, owner, caller) = (ruled(&mem()).start().await.unwrap(), client().await, client().await);
    // The owner listens nowhere: others reach it through the middle alone.
    let attic = Remote::<dyn Attic>::new(Dust::default());
    soon(serve(&middle, &owner, &attic).leave(mirror())).await.unwrap();
    let glass = soon(serve(&middle, &caller, &attic).take()).await.unwrap().unwrap();
    assert_eq!(Remote::node_id(&glass), Some(owner.id()));
    assert_eq!(soon(glass.look()).await.unwrap(), "anonymous");
    let error = failure(soon(glass.weigh(Load)).await, "weigh");
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
}

#[tokio::test]
async fn a_lost_link_is_taken_up_again_by_nobody_but_its_principal() {
    for (token, is_same) in [("simsalabim", true), ("abracadabra", false)] {
        let server = guarded(TCP).await;
        let cable = Cable::to(&server).await;
        let shown = Arc::new(Mutex::new("sesame"));
        let source = {
            let shown = shown.clone();
            move || (*shown.lock()).into()
        };
        let caller = Node::builder().token_from("tcp://127.0.0.1", source).start().await.unwrap();
        server.serve("glass", &mirror());
        let (object, life) = Tally::mortal();
        server.serve("tally", &object);
        let glass = Remote::<dyn Mirror>::service(&caller, cable.endpoint(), "glass");
        assert_eq!(soon(glass.look()).await.unwrap(), "token:alice");
        let held = crate::common::hand_over_by(cable.endpoint(), &server, &caller, &object).await;
        assert_eq!(soon(held.add(1)).await.unwrap(), 1);
        server.unserve("tally");
        drop(object);

        *shown.lock() = token;
        cable.cut();
        until("it is cut", || !Remote::erase(&held).is_connected()).await;
        cable.mend();
        if is_same {
            // Another token of the same principal.
            assert_eq!(soon(held.add(1)).await.unwrap(), 2);
            assert_eq!(soon(glass.look()).await.unwrap(), "token:alice");
        } else {
            // A link of bob's: the object, which alice's lease keeps, is acquired anew by its id, a secret of its holders.
            assert_eq!(soon(held.add(1)).await.unwrap(), 2);
            assert_eq!(soon(glass.look()).await.unwrap(), "token:bob");
        }
        assert_eq!(life.strong_count(), 1);
    }
}

#[tokio::test]
async fn links_of_two_principals_do_not_become_one() {
    // One of them knows the other by its token, and is known to it by nothing.
    let [one, other] = [guarded(&mem()).await, node(&mem()).await];
    let dialler = Node::builder().listen(mem()).token(one.endpoints()[0].to_string(), "sesame");
    let dialler = dialler.start().await.unwrap();
    let glass = serve(&one, &dialler, &mirror());
    assert_eq!(soon(glass.look()).await.unwrap(), "token:alice");
    let back = serve(&dialler, &one, &mirror());
    assert_eq!(soon(back.look()).await.unwrap(), "anonymous");
    for _ in 0..20 {
        assert_eq!(soon(glass.look()).await.unwrap(), "token:alice");
        assert_eq!(soon(back.look()).await.unwrap(), "anonymous");
    }
    assert_eq!(dialler.stats().connections, 2);
    drop(other);
}
