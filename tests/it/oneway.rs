//! Calls whose answers nobody waits for.

use std::time::Duration;

use futures_util::poll;
use rmi::{CallOptions, Certainty, ErrorKind, Limits, Node, Remote, remote};
use tokio::time::Instant;

use crate::{
    bureau::{Bureau, Clerk},
    common::{
        Log, Pages, Tally, at_rest, client, dropped, failure, hand_over, mem, node, serve, soon, transports, until,
    },
};

#[tokio::test]
async fn a_oneway_call_comes_back_before_its_method_ends_and_leaves_nothing_behind() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let clerk = Clerk::new();
        let desk = serve(&server, &client, &clerk.bureau());
        soon(desk.post()).await.unwrap();
        soon(desk.post()).await.unwrap();
        clerk.keeper.holds(2).await;
        assert_eq!((client.stats().calls_in_flight, clerk.has_ended()), (2, 0));
        // Nobody is left who could cancel them.
        drop(desk);
        clerk.keeper.open();
        clerk.ends(2).await;
        at_rest(&[&client]).await;
        until("the server has answered", || server.stats().calls_in_flight == 0).await;
    }
}

#[tokio::test]
async fn oneway_calls_that_fail_leave_nothing_behind() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let desk = serve(&server, &client, &Clerk::new().bureau());
        let (object, life) = Tally::mortal();
        let held = hand_over(&server, &client, &object).await;
        drop(object);
        for _ in 0..20 {
            soon(desk.fail(held.clone())).await.unwrap();
            soon(desk.panic()).await.unwrap();
        }
        drop(held);
        dropped(&life).await;
        at_rest(&[&client]).await;
    }
}

/// Notes that nobody waits for.
#[remote]
trait Feed {
    #[remote(oneway)]
    async fn push(&self, number: u32, ballast: &[u8]) -> rmi::Result<()>;
    async fn read(&self) -> rmi::Result<Vec<u32>>;
}

#[derive(Default)]
struct Reel(Pages);

#[remote]
impl Feed for Reel {
    async fn push(&self, number: u32, _ballast: &[u8]) -> rmi::Result<()> {
        self.0.note(number).await
    }
    async fn read(&self) -> rmi::Result<Vec<u32>> {
        self.0.read().await
    }
}

async fn keeps_order() {
    for listen in transports() {
        let limits = Limits { calls: 16, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let feed = serve(&server, &client().await, &Remote::<dyn Feed>::new(Reel::default()));
        for number in 0..300 {
            let ballast = vec![7; if number % 50 == 1 { 200_000 } else { 10 }];
            soon(feed.push(number, &ballast)).await.unwrap();
        }
        assert_eq!(soon(feed.read()).await.unwrap(), (0..300).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn oneway_calls_and_others_keep_their_order() {
    keeps_order().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oneway_calls_and_others_keep_their_order_on_several_threads() {
    keeps_order().await;
}

#[tokio::test]
async fn a_oneway_call_waits_for_credit_and_may_be_taken_back_until_then() {
    for listen in transports() {
        let limits = Limits { calls: 1, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let client = client().await;
        let clerk = Clerk::new();
        let desk = serve(&server, &client, &clerk.bureau());
        soon(desk.post()).await.unwrap();
        clerk.keeper.holds(1).await;
        let (mut second, mut third) = (Box::pin(desk.post()), Box::pin(desk.post()));
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        assert_eq!(client.stats().calls_in_flight, 3);
        drop(second);
        assert_eq!(client.stats().calls_in_flight, 2);
        clerk.keeper.open();
        soon(third).await.unwrap();
        assert_eq!(soon(desk.ended()).await.unwrap(), 2);
        at_rest(&[&client]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_oneway_call_that_cannot_leave_says_so() {
    let limits = Limits { calls: 1, ..Limits::default() };
    let server = Node::builder().listen(mem()).limits(limits).start().await.unwrap();
    let client = client().await;
    let clerk = Clerk::new();
    let desk = serve(&server, &client, &clerk.bureau());
    desk.post().await.unwrap();
    clerk.keeper.holds(1).await;
    let started = Instant::now();
    let error = failure(desk.post_soon().await, "Bureau.post_soon");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, Certainty::NotSent), "{error}");
    assert_eq!(started.elapsed().as_secs(), 1);

    let nobody = Remote::<dyn Bureau>::service(&client, "mem://nobody-there".parse().unwrap(), "desk");
    let error = failure(nobody.post().await, "Bureau.post");
    assert_eq!((error.kind(), error.certainty()), (ErrorKind::Unreachable, Certainty::NotSent), "{error}");
    clerk.keeper.open();
    at_rest(&[&client]).await;
}

#[tokio::test(start_paused = true)]
async fn a_oneway_method_has_the_time_of_its_call() {
    let (server, client) = (node(&mem()).await, client().await);
    let clerk = Clerk::new();
    let desk = serve(&server, &client, &clerk.bureau());
    desk.post_soon().await.unwrap();
    let patient = Remote::with(&desk, CallOptions::new().timeout(Duration::from_secs(9)));
    patient.post_soon().await.unwrap();
    clerk.keeper.holds(2).await;
    let started = Instant::now();
    clerk.keeper.holds(1).await;
    assert_eq!(started.elapsed().as_secs(), 1);
    clerk.keeper.holds(0).await;
    assert!((8..10).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(clerk.has_ended(), 0);
    at_rest(&[&client]).await;
}
