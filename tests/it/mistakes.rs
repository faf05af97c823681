//! Mistakes of users: each is the error of the call that made it, and of no other.

use std::sync::atomic::{AtomicUsize, Ordering};

use rmi::{Certainty, ErrorKind, Limits, Node, Remote, RemoteError, remote};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{
    bystander::Bystander,
    common::{
        Counter, Door, Gate, Shelf, Tally, at_rest, client, counter, dropped, failure, hand_over, mem, node, serve,
        shelf, soon, transports, until,
    },
};

/// How a method fails.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Fault {
    Text,
    Formatted,
    Other,
    AfterAwait,
    InDrop,
    InDropToo,
}

/// A value that fails where it is told to.
#[derive(Debug)]
enum Stubborn {
    Fine,
    NotEncoded,
    NotDecoded,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fine => serializer.serialize_u8(0),
            Self::NotEncoded => Err(ser::Error::custom("it will not be written")),
            Self::NotDecoded => serializer.serialize_u8(1),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::Fine),
            _ => Err(de::Error::custom("it will not be read")),
        }
    }
}

#[remote]
trait Clumsy {
    async fn fall(&self, fault: Fault) -> rmi::Result<()>;
    async fn take(&self, value: Stubborn, counter: Remote<dyn Counter>) -> rmi::Result<()>;
    async fn give(&self, written: bool, counter: Remote<dyn Counter>) -> rmi::Result<(Remote<dyn Counter>, Stubborn)>;
    async fn letter(&self, len: u32) -> rmi::Result<String>;
    async fn read(&self, letter: &str) -> rmi::Result<u32>;
    async fn runs(&self) -> rmi::Result<usize>;
}

#[derive(Default)]
struct Waiter(AtomicUsize);

struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

#[remote]
impl Clumsy for Waiter {
    async fn fall(&self, fault: Fault) -> rmi::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::Text => panic!("over the cat"),
            Fault::Formatted => panic!("over {} cats", 2),
            Fault::Other => std::panic::panic_any(7),
            Fault::AfterAwait => {
                tokio::task::yield_now().await;
                panic!("a little later")
            }
            Fault::InDrop => drop(Bomb("in a drop")),
            Fault::InDropToo => {
                let _bomb = Bomb("while leaving");
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
    async fn take(&self, _value: Stubborn, _counter: Remote<dyn Counter>) -> rmi::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    async fn give(&self, written: bool, counter: Remote<dyn Counter>) -> rmi::Result<(Remote<dyn Counter>, Stubborn)> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok((counter, if written { Stubborn::NotDecoded } else { Stubborn::NotEncoded }))
    }
    async fn letter(&self, len: u32) -> rmi::Result<String> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok("x".repeat(len as usize))
    }
    async fn read(&self, letter: &str) -> rmi::Result<u32> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(letter.len() as u32)
    }
    async fn runs(&self) -> rmi::Result<usize> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

/// A clumsy object, and a bystander of the same client.
struct Scene {
    beside: Bystander,
    clumsy: Remote<dyn Clumsy>,
}

impl Scene {
    async fn at(listen: &str) -> Self {
        Self::around(Bystander::at(listen, Limits::default()).await)
    }

    fn around(beside: Bystander) -> Self {
        let clumsy = serve(&beside.server, &beside.client, &Remote::<dyn Clumsy>::new(Waiter::default()));
        Self { beside, clumsy }
    }
}

#[tokio::test]
async fn a_panic_is_the_error_of_its_call_and_of_no_other() {
    for listen in transports() {
        let scene = Scene::at(&listen).await;
        let faults = [
            (Fault::Text, "over the cat"),
            (Fault::Formatted, "over 2 cats"),
            (Fault::Other, "panic"),
            (Fault::AfterAwait, "a little later"),
            (Fault::InDrop, "in a drop"),
            (Fault::InDropToo, "while leaving"),
        ];
        // A method that was quick often enough runs in the reader: there, too.
        for round in 0..3 {
            for _ in 0..round * 10 {
                soon(scene.clumsy.runs()).await.unwrap();
            }
            for (fault, told) in faults {
                let error = failure(soon(scene.clumsy.fall(fault)).await, "Clumsy.fall");
                let kind = (error.kind(), error.certainty());
                assert_eq!(kind, (ErrorKind::Panicked, Certainty::Executed), "{fault:?}: {error}");
                assert!(error.message().contains(told), "{fault:?}: {error}");
            }
        }
        scene.beside.undisturbed().await;
    }
}

/// Panics when it is dropped.
struct Cursed(AtomicUsize);

impl Drop for Cursed {
    fn drop(&mut self) {
        panic!("cursed");
    }
}

#[remote]
impl Gate for Cursed {
    async fn pass(&self) -> rmi::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn an_object_that_panics_as_it_is_dropped_takes_nobody_along() {
    for listen in transports() {
        let scene = Scene::at(&listen).await;
        let cursed = Remote::<dyn Gate>::new(Cursed(AtomicUsize::new(0)));
        let held = hand_over(&scene.beside.server, &scene.beside.client, &cursed).await;
        drop(cursed);
        soon(held.pass()).await.unwrap();
        drop(held);
        until("it is released", || scene.beside.client.stats().imported_references == 0).await;
        scene.beside.undisturbed().await;
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_or_decoded_fails_its_call_and_leaks_no_reference() {
    for listen in transports() {
        let scene = Scene::at(&listen).await;
        let (object, life) = Tally::mortal();
        let take = async |value| failure(soon(scene.clumsy.take(value, object.clone())).await, "Clumsy.take");
        let error = take(Stubborn::NotEncoded).await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Marshal, Certainty::NotSent), "{error}");
        assert!(error.message().contains("it will not be written"), "{error}");
        let error = take(Stubborn::NotDecoded).await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unmarshal, Certainty::NotExecuted), "{error}");
        assert!(error.message().contains("it will not be read"), "{error}");
        assert_eq!(soon(scene.clumsy.runs()).await.unwrap(), 0);

        let give = async |written| {
            let result = soon(scene.clumsy.give(written, object.clone())).await;
            failure(result.map(|(counter, _)| counter), "Clumsy.give")
        };
        let error = give(false).await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Marshal, Certainty::Executed), "{error}");
        assert!(error.message().contains("it will not be written"), "{error}");
        let error = give(true).await;
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unmarshal, Certainty::Executed), "{error}");
        assert!(error.message().contains("it will not be read"), "{error}");
        assert_eq!(soon(scene.clumsy.runs()).await.unwrap(), 2);

        // An object of the server's in a result that cannot be decoded here.
        let theirs = hand_over(&scene.beside.server, &scene.beside.client, &counter()).await;
        let error = failure(soon(scene.clumsy.give(true, theirs)).await.map(|(given, _)| given), "Clumsy.give");
        assert_eq!(error.kind(), ErrorKind::Unmarshal, "{error}");
        drop(object);
        dropped(&life).await;
        scene.beside.undisturbed().await;
    }
}

#[tokio::test]
async fn a_message_longer_than_the_receiver_takes_is_never_sent() {
    let limits = Limits { message_len: 1 << 20, ..Limits::default() };
    for listen in transports() {
        let server = Node::builder().listen(&listen).limits(limits.clone()).start().await.unwrap();
        let client = Node::builder().limits(limits.clone()).start().await.unwrap();
        let scene = Scene::around(Bystander::between(server, client).await);
        let just = 1_000_000;
        assert_eq!(soon(scene.clumsy.read(&"x".repeat(just))).await.unwrap(), 1_000_000);
        let error = failure(soon(scene.clumsy.read(&"x".repeat(1 << 20))).await, "Clumsy.read");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::TooLarge, Certainty::NotSent), "{error}");
        assert!(error.message().contains("1048579") && error.message().contains("1048576"), "{error}");
        assert_eq!(soon(scene.clumsy.runs()).await.unwrap(), 1);

        assert_eq!(soon(scene.clumsy.letter(900_000)).await.unwrap().len(), 900_000);
        let error = failure(soon(scene.clumsy.letter(1 << 20)).await, "Clumsy.letter");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::TooLarge, Certainty::Executed), "{error}");
        assert!(error.message().contains("1048579") && error.message().contains("1048576"), "{error}");
        scene.beside.undisturbed().await;
    }
}

#[tokio::test]
async fn an_object_of_another_interface_has_no_such_method() {
    let (server, client) = (node(&mem()).await, client().await);
    server.serve("thing", &counter());
    let mistaken = Remote::<dyn Shelf>::service(&client, server.endpoints()[0].clone(), "thing");
    let error = failure(soon(mistaken.make()).await, "Shelf.make");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchMethod, Certainty::NotExecuted), "{error}");
    assert!(error.to_string().contains("it.Counter") && error.to_string().contains("it.Shelf"), "{error}");
}

#[tokio::test]
async fn a_place_that_is_taken_cannot_be_listened_at_twice() {
    for listen in transports() {
        let first = node(&listen).await;
        let at = first.endpoints()[0].to_string();
        let error = Node::builder().listen(&at).start().await.unwrap_err();
        let told = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let told = told.map(ToString::to_string).collect::<Vec<_>>().join(": ").to_lowercase();
        assert!(told.contains("in use") && told.contains(at.trim_start_matches("tcp://")), "{told}");
        // The first is not disturbed, and its place is free once it has gone.
        let total = serve(&first, &client().await, &counter());
        soon(total.add(1)).await.unwrap();
        soon(first.shutdown()).await;
        node(&at).await;
    }
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_with_its_reason() {
    for url in
        ["", "bank", "tcp://", "tcp://localhost", "tcp://localhost:70000", "http://localhost:80", "unix://", "mem://"]
    {
        let error = Node::builder().listen(url).start().await.unwrap_err();
        assert!(error.to_string().len() > url.len() + 10, "{url:?}: {error}");
        let advertised = Node::builder().advertise(url).start().await;
        assert!(advertised.is_err() || url == "mem://" || url == "tcp://localhost", "{url:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_runtime_keeps_its_story_over_two_hops() {
    let (server, client) = (node(&mem()).await, client().await);
    let shelf = shelf();
    let stub = serve(&server, &client, &shelf);
    // The server calls back into the client, whose object panics.
    let clumsy = Remote::<dyn Counter>::new(Angry);
    soon(stub.put(clumsy)).await.unwrap();
    let error = soon(stub.add(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Panicked, Certainty::Executed));
    assert!(error.to_string().contains("it.Counter.add") && error.to_string().contains("so angry"), "{error}");
    let copy: RemoteError = error.clone();
    assert_eq!(copy.to_string(), error.to_string());
}

struct Angry;

#[remote]
impl Counter for Angry {
    async fn add(&self, _by: i64) -> rmi::Result<i64> {
        panic!("so angry")
    }
    async fn total(&self) -> rmi::Result<i64> {
        Err(RemoteError::new(ErrorKind::Other, "no"))
    }
}

#[tokio::test]
async fn a_door_that_was_closed_is_gone() {
    let (server, client) = (node(&mem()).await, client().await);
    server.serve("door", &Remote::<dyn Door>::new(Shut));
    let door = Remote::<dyn Door>::service(&client, server.endpoints()[0].clone(), "door");
    assert_eq!(door.take().await.unwrap_err().message(), "shut");
    server.unserve("door");
    let error = failure(door.take().await, "Door.take");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::NoSuchObject, Certainty::NotExecuted), "{error}");
    at_rest(&[&server, &client]).await;
}

struct Shut;

#[remote]
impl Door for Shut {
    async fn take(&self) -> rmi::Result<rmi::AnyRemote> {
        Err(RemoteError::new(ErrorKind::Other, "shut"))
    }
}
