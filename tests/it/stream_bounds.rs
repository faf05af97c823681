//! More streams, and more pulls of one, than a node bears: each is refused alone, and there is room again.

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use rmi::{Certainty, ErrorKind, Limits, Node, Remote, Streaming, remote};
use rmi_core::{
    id::{Fingerprint, MethodId, fnv1a64},
    wire::{Definition, Descriptor, Message, MethodNumber, Reply, Target},
};

use crate::{
    common::{at_rest, mem, serve, soon, until},
    raw::{Raw, method, service},
};

/// Gives streams that bring nothing, and takes some.
#[remote]
trait Well {
    async fn open(&self) -> rmi::Result<Streaming<u64>>;
    async fn keep(&self, numbers: Streaming<u64>) -> rmi::Result<()>;
    async fn empty(&self) -> rmi::Result<()>;
}

#[derive(Default)]
struct Deep(Mutex<Vec<Streaming<u64>>>);

#[remote]
impl Well for Deep {
    async fn open(&self) -> rmi::Result<Streaming<u64>> {
        Ok(Streaming::new(stream::pending()))
    }
    async fn keep(&self, numbers: Streaming<u64>) -> rmi::Result<()> {
        self.0.lock().push(numbers);
        Ok(())
    }
    async fn empty(&self) -> rmi::Result<()> {
        self.0.lock().clear();
        Ok(())
    }
}

async fn well(listen: &str) -> Node {
    let limits = Limits { streams: 2, ..Limits::default() };
    Node::builder().listen(listen).limits(limits).start().await.unwrap()
}

#[tokio::test]
async fn a_peer_reads_so_many_streams_and_more_once_it_has_dropped_some() {
    let (server, client) = (well(&mem()).await, well(&mem()).await);
    let well = serve(&server, &client, &Remote::<dyn Well>::new(Deep::default()));
    let mut read = vec![soon(well.open()).await.unwrap(), soon(well.open()).await.unwrap()];
    assert!(futures_util::poll!(StreamExt::next(&mut read[0])).is_pending());
    let error = soon(well.open()).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, Certainty::Executed), "{error}");
    assert!(error.to_string().contains("Limits::streams") && error.peer().is_some(), "{error}");
    drop(read.pop());
    // A release goes ahead of the next call.
    read.push(soon(well.open()).await.unwrap());
    soon(well.open()).await.unwrap_err();

    // In the other direction they are counted apart.
    let numbers = || Streaming::new(stream::pending());
    for _ in 0..2 {
        soon(well.keep(numbers())).await.unwrap();
    }
    let error = soon(well.keep(numbers())).await.unwrap_err();
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, Certainty::NotSent), "{error}");
    soon(well.empty()).await.unwrap();
    soon(well.keep(numbers())).await.unwrap();
    soon(well.empty()).await.unwrap();
    drop((read, well));
    at_rest(&[&client]).await;
    until("only the well is left", || server.stats().exported_objects == 1).await;
}

#[tokio::test]
async fn so_many_pulls_wait_at_one_stream_and_more_are_refused() {
    let server = well(&mem()).await;
    let (sender, numbers) = Streaming::channel(8);
    let deep = Deep(Mutex::new(vec![numbers]));
    server.serve("well", &Remote::<dyn Tap>::new(deep));
    let mut peer = Raw::connect(&server).await;
    let take = peer.define(method::<dyn Tap>("take")).await;
    peer.call(0, service("well"), take, vec![]).await;
    let Message::Reply(Reply { references, .. }) = peer.next_answer().await else { panic!("no stream") };
    let [Descriptor::Mine { slot, .. }] = references[..] else { panic!("no stream: {references:?}") };
    let (number, fingerprint) = (MethodNumber(1), Fingerprint(fnv1a64(&["next(items:u32,bytes:u64)->rest"])));
    let next = Definition::Method { number, id: MethodId(2), fingerprint, name: "rmi.Stream.next".into() };
    peer.send(&Message::Define(next)).await;
    for id in 1..=5 {
        peer.call(id, Target::Slot(slot), number, vec![1, 1]).await;
    }
    let Message::Refusal(refused) = peer.next_answer().await else { panic!("the fifth is borne") };
    assert_eq!((refused.id.0, refused.error.kind()), (5, ErrorKind::Overloaded));
    // As soon as one is answered there is room for another.
    for id in 6..9 {
        soon(sender.send(7)).await.unwrap();
        assert!(matches!(peer.next_answer().await, Message::Reply(Reply { id: answered, .. }) if answered.0 == id - 5));
        peer.call(id, Target::Slot(slot), number, vec![1, 1]).await;
    }
    soon(sender.send(7)).await.unwrap();
    assert!(matches!(peer.next_answer().await, Message::Reply(Reply { id, .. }) if id.0 == 4));
    peer.close();
    server.shutdown().await;
}

/// Gives the stream that it has.
#[remote]
trait Tap {
    async fn take(&self) -> rmi::Result<Streaming<u64>>;
}

#[remote]
impl Tap for Deep {
    async fn take(&self) -> rmi::Result<Streaming<u64>> {
        Ok(self.0.lock().remove(0))
    }
}
