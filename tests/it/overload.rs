//! Far more calls at once than a server takes: by choice they wait or are refused, and nothing is left of them.

use std::time::Duration;

use futures_util::future::join_all;
use rmi::{ErrorKind, Limits, Node, Remote, RemoteError, remote};

use crate::common::{TCP, at_rest, serve, soon, until};

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
    let ends = flood(Limits { call_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let (answered, late): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
    assert!(!answered.is_empty() && !late.is_empty(), "{} answered, {} late", answered.len(), late.len());
    for error in late.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    }
}
