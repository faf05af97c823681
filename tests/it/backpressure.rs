//! More work than there is room for: it waits where it was made, or is refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use rmi::{Certainty, ErrorKind, Limits, Node, Remote, remote};
use rmi_core::wire::Message;

use crate::{
    common::{
        Counter, Keeper, TCP, at_rest, client, counter, failure, hand_over, mem, node, pass, serve, soon, transports,
        until,
    },
    raw::{Raw, encoded, method, service},
};

/// Knows how many of its calls run at once.
#[remote]
trait Mill {
    async fn grind(&self, grain: &[u8]) -> rmi::Result<u64>;
    async fn flour(&self, len: u64) -> rmi::Result<Bytes>;
}

#[derive(Default)]
struct Stone {
    now: AtomicUsize,
    most: AtomicUsize,
    begun: AtomicUsize,
}

#[remote]
impl Mill for Stone {
    async fn grind(&self, grain: &[u8]) -> rmi::Result<u64> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(grain.len() as u64)
    }
    async fn flour(&self, len: u64) -> rmi::Result<Bytes> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Ok(vec![0; usize::try_from(len).expect("it is small")].into())
    }
}

#[tokio::test]
async fn ten_thousand_calls_at_once_are_all_answered_four_at_a_time() {
    for listen in transports() {
        let limits = Limits { calls: 4, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let client = client().await;
        let stone = Arc::new(Stone::default());
        let mill = serve(&server, &client, &Remote::<dyn Mill>::from_arc(stone.clone()));
        let ground = soon(try_join_all((0..10_000).map(|_| mill.grind(b"abc")))).await.unwrap();
        assert_eq!(ground, vec![3; 10_000]);
        let most = stone.most.load(Ordering::SeqCst);
        assert!((1..=4).contains(&most), "{most} at once");
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn large_arguments_wait_for_the_window_of_bytes() {
    for listen in transports() {
        let limits = Limits { call_bytes: 1 << 20, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let client = client().await;
        let stone = Arc::new(Stone::default());
        let mill = serve(&server, &client, &Remote::<dyn Mill>::from_arc(stone.clone()));
        let grain = vec![1; 300_000];
        let ground = soon(try_join_all((0..100).map(|_| mill.grind(&grain)))).await.unwrap();
        assert_eq!(ground, vec![300_000; 100]);
        // `grain` is borrowed by the handler, so its bytes are the peer's until it ends.
        let most = stone.most.load(Ordering::SeqCst);
        assert!((1..=4).contains(&most), "{most} at once");
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn calls_beyond_those_that_may_wait_are_refused_and_were_not_sent() {
    for listen in transports() {
        let server = Node::builder().listen(&listen).limits(Limits { calls: 2, ..Limits::default() });
        let server = server.start().await.unwrap();
        let client = Node::builder().limits(Limits { waiting_calls: 10, ..Limits::default() }).start().await.unwrap();
        let keeper = Keeper::shut();
        let gate = serve(&server, &client, &keeper.gate());
        let taken = [pass(&gate), pass(&gate)];
        keeper.holds(2).await;
        let waiting: Vec<_> = (0..10).map(|_| pass(&gate)).collect();
        until("they wait", || client.stats().calls_in_flight == 12).await;
        for refused in soon(join_all((0..50).map(|_| gate.pass()))).await {
            let error = failure(refused, "Gate.pass");
            assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, Certainty::NotSent), "{error}");
        }
        // One that gives up makes room for another.
        waiting[3].abort();
        until("it has gone", || client.stats().calls_in_flight == 11).await;
        let another = pass(&gate);
        until("another waits", || client.stats().calls_in_flight == 12).await;
        keeper.open();
        for call in taken.into_iter().chain(waiting).chain([another]) {
            assert!(soon(call).await.map_or_else(|gave_up| gave_up.is_cancelled(), |passed| passed.is_ok()));
        }
        assert_eq!(keeper.entered(), 12);
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn a_nested_call_without_credit_is_refused_at_once() {
    let (server, other) =
        (node(&mem()).await, Node::builder().listen(mem()).limits(Limits { calls: 1, ..Limits::default() }));
    let (other, client) = (other.start().await.unwrap(), client().await);
    let keeper = Keeper::shut();
    let held = pass(&serve(&other, &server, &keeper.gate()));
    keeper.holds(1).await;
    // The server calls the other node on behalf of the client: that node has no credit left for it.
    let busy = serve(&server, &client, &Remote::<dyn Mill>::new(Nested(serve(&other, &server, &counter()))));
    let error = soon(busy.grind(&[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    assert!(error.to_string().contains("it.Counter.add"), "{error}");
    keeper.open();
    soon(held).await.unwrap().unwrap();
    assert_eq!(soon(busy.grind(&[])).await.unwrap(), 1);
}

/// A mill that asks a counter.
struct Nested(Remote<dyn Counter>);

#[remote]
impl Mill for Nested {
    async fn grind(&self, _grain: &[u8]) -> rmi::Result<u64> {
        Ok(self.0.add(1).await?.unsigned_abs())
    }
    async fn flour(&self, _len: u64) -> rmi::Result<Bytes> {
        Ok(Bytes::new())
    }
}

#[tokio::test]
async fn a_client_that_reads_no_replies_stops_nobody_and_fills_nothing_without_bound() {
    for listen in [mem(), TCP.to_owned()] {
        let limits = Limits { outbox_bytes: 1 << 20, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let stone = Arc::new(Stone::default());
        server.serve("mill", &Remote::<dyn Mill>::from_arc(stone.clone()));
        let honest = client().await;
        let total = hand_over(&server, &honest, &counter()).await;

        let mut deaf = Raw::connect(&server).await;
        let flour = deaf.define(method::<dyn Mill>("flour")).await;
        let (count, len) = (500, 1 << 20);
        for id in 0..count {
            deaf.call(id, service("mill"), flour, encoded(&u64::from(len as u32))).await;
        }
        // All have arrived when the honest client's calls have been answered a few times and the
        // number of those that began stands still.
        let mut begun = 0;
        loop {
            for _ in 0..20 {
                soon(total.add(1)).await.unwrap();
            }
            let now = stone.begun.load(Ordering::SeqCst);
            if now == begun && now > 0 {
                break;
            }
            begun = now;
        }
        // What sockets hold is added to the bound.
        assert!(begun < 60, "{begun} of {count} replies of a mebibyte each were made for nobody");

        for _ in 0..count {
            assert!(matches!(deaf.next_answer().await, Message::Reply(_)));
        }
        assert_eq!(stone.begun.load(Ordering::SeqCst), count as usize);
        until("all is answered", || server.stats().calls_in_flight == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_at_all_is_lost_in_time() {
    let lease = Duration::from_secs(6);
    let server = Node::builder().listen(mem()).lease(lease).start().await.unwrap();
    let stone = Arc::new(Stone::default());
    server.serve("mill", &Remote::<dyn Mill>::from_arc(stone.clone()));
    let mut deaf = Raw::connect(&server).await;
    let flour = deaf.define(method::<dyn Mill>("flour")).await;
    for id in 0..100 {
        deaf.call(id, service("mill"), flour, encoded(&(1u64 << 20))).await;
    }
    until("it is lost", || server.stats().connections == 0).await;
    until("nothing is left of it", || server.stats().calls_in_flight + server.stats().leases == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_may_drown_each_other_and_both_come_through() {
    for listen in transports() {
        let limits = Limits { calls: 8, call_bytes: 1 << 18, outbox_bytes: 1 << 18, ..Limits::default() };
        let build = |listen: &str| Node::builder().listen(listen).limits(limits.clone());
        let one = build(&listen).start().await.unwrap();
        let other = build(&crate::common::beside(&listen)).start().await.unwrap();
        let mill = || Remote::<dyn Mill>::new(Stone::default());
        let there = hand_over(&other, &one, &mill()).await;
        let here = hand_over(&one, &other, &mill()).await;
        let grain = vec![0; 100_000];
        let work = async |mill: &Remote<dyn Mill>| {
            let ground = try_join_all((0..200).map(|_| mill.grind(&grain)));
            let flour = try_join_all((0..200).map(|_| mill.flour(100_000)));
            tokio::try_join!(ground, flour).map(drop)
        };
        soon(async { tokio::try_join!(work(&there), work(&here)) }).await.unwrap();
        drop((there, here));
        at_rest(&[&one, &other]).await;
    }
}
