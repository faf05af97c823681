//! Far more calls at once than a server takes: by choice they wait or are refused, and nothing is left of them.

use std::time::Duration;

use futures_util::future::join_all;
use rmi::{CallOptions, Certainty, ErrorKind, Limits, Node, Remote, RemoteError, remote};

use crate::common::{Keeper, TCP, at_rest, client, failure, pass, serve, soon, until};

const CALLS: usize = 2000;
const AT_ONCE: u32 = 64;

/// Takes its time with each call.
#[remote]
trait Clerk {
    async fn stamp(&self, number: u32) -> rmi::Result<u32>;
}

struct Slow;

#[remote]
impl Clerk for Slow {
    async fn stamp(&self, number: u32) -> rmi::Result<u32> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(number)
    }
}

/// Starts all calls at once at a server that takes few; the results come when both nodes hold nothing more.
async fn flood(client_limits: Limits) -> Vec<Result<u32, RemoteError>> {
    let limits = Limits { calls: AT_ONCE, ..Limits::default() };
    let server = Node::builder().listen(TCP).limits(limits).start().await.unwrap();
    let client = Node::builder().limits(client_limits).start().await.unwrap();
    let clerk = serve(&server, &client, &Remote::<dyn Clerk>::new(Slow));
    let ends = soon(join_all((0..CALLS as u32).map(|number| clerk.stamp(number)))).await;
    at_rest(&[&client]).await;
    until("the server is done", || server.stats().calls_in_flight == 0).await;
    assert_eq!(ends.len(), CALLS);
    ends
}

#[tokio::test]
async fn who_lets_calls_wait_gets_every_answer() {
    for (number, end) in (0..).zip(flood(Limits::default()).await) {
        assert_eq!(end.unwrap(), number);
    }
}

#[tokio::test]
async fn who_lets_few_wait_gets_the_others_refused_at_once() {
    let ends = flood(Limits { waiting_calls: 100, ..Limits::default() }).await;
    let (answered, refused): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    // Calls made before the link stands may be counted in other ways, so no exact number.
    assert!(answered.len() >= 100, "{} answered", answered.len());
    assert!(refused.len() >= CALLS / 2, "{} refused", refused.len());
    for error in refused.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
    }
}

#[tokio::test]
async fn calls_that_wait_too_long_end_when_their_time_is_over() {
    let limits = Limits { calls: AT_ONCE, ..Limits::default() };
    let server = Node::builder().listen(TCP).limits(limits).start().await.unwrap();
    let client = client().await;
    let keeper = Keeper::shut();
    let gate = serve(&server, &client, &keeper.gate());
    let inside = Vec::from_iter((0..AT_ONCE).map(|_| pass(&gate)));
    keeper.holds(AT_ONCE as usize).await;

    let hurried = Remote::with(&gate, CallOptions::new().timeout(Duration::from_millis(50)));
    for end in soon(join_all((0..CALLS).map(|_| hurried.pass()))).await {
        let error = failure(end, "pass");
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::DeadlineExceeded, Certainty::NotSent), "{error}");
    }

    keeper.open();
    for end in soon(join_all(inside)).await {
        end.unwrap().unwrap();
    }
    assert_eq!(keeper.entered(), AT_ONCE as usize, "a call that was too late never begins");
    at_rest(&[&client]).await;
    until("the server is done", || server.stats().calls_in_flight == 0).await;
}
