//! Calls of one node to one object begin in the order in which they were made.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use futures_util::{
    future::{BoxFuture, try_join_all},
    poll,
};
use parking_lot::Mutex;
use rmi::{Limits, Node, Remote, remote};

use crate::common::{beside, client, counter, hand_over, node, serve, soon, stay_awake, transports};

/// Writes down which call came when.
#[remote]
trait Diary {
    async fn note(&self, number: u32, ballast: &[u8]) -> rmi::Result<()>;
    async fn read(&self) -> rmi::Result<Vec<u32>>;
}

#[derive(Default)]
struct Pages {
    numbers: Mutex<Vec<u32>>,
    /// What blocks the very first call, in its first poll.
    block: Mutex<Option<Receiver<()>>>,
}

impl Pages {
    /// A diary whose first call blocks its thread until the sender sends, or is dropped.
    fn blocked() -> (Sender<()>, Self) {
        let (sender, receiver) = channel();
        (sender, Self { block: Mutex::new(Some(receiver)), ..Self::default() })
    }
}

#[remote]
impl Diary for Pages {
    async fn note(&self, number: u32, _ballast: &[u8]) -> rmi::Result<()> {
        let block = self.block.lock().take();
        if let Some(block) = block {
            block.recv_timeout(Duration::from_secs(10)).ok();
        }
        self.numbers.lock().push(number);
        // What comes after the first await may come in any order.
        tokio::task::yield_now().await;
        Ok(())
    }
    async fn read(&self) -> rmi::Result<Vec<u32>> {
        Ok(self.numbers.lock().clone())
    }
}

/// Makes a call now: polls it once.
async fn made(call: impl Future<Output = rmi::Result<()>> + Send + 'static) -> BoxFuture<'static, rmi::Result<()>> {
    let mut call: BoxFuture<'static, _> = Box::pin(call);
    let _ = poll!(Pin::new(&mut call));
    call
}

/// Makes so many calls, some of them with arguments of a megabyte, in order.
async fn made_in_order(diary: &Remote<dyn Diary>, count: u32) -> Vec<BoxFuture<'static, rmi::Result<()>>> {
    let mut calls = Vec::new();
    for number in 0..count {
        let diary = diary.clone();
        let ballast = vec![7; if number % 7 == 1 { 1 << 20 } else { 10 }];
        calls.push(made(async move { diary.note(number, &ballast).await }).await);
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_first_call_that_blocks_its_thread_goes_first_and_delays_no_other_object() {
    stay_awake();
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (unblock, pages) = Pages::blocked();
        let diary = serve(&server, &client, &Remote::<dyn Diary>::new(pages));
        let total = serve(&server, &client, &counter());
        let mut calls = Vec::new();
        for number in 0..50 {
            let diary = diary.clone();
            calls.push(made(async move { diary.note(number, &[]).await }).await);
        }
        // This was sent after them, so all of them have arrived when it is answered.
        soon(total.add(1)).await.unwrap();
        unblock.send(()).unwrap();
        soon(try_join_all(calls)).await.unwrap();
        assert_eq!(diary.read().await.unwrap(), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_call_does_not_overtake_a_large_one() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let diary = serve(&server, &client, &Remote::<dyn Diary>::new(Pages::default()));
        let calls = made_in_order(&diary, 40).await;
        soon(try_join_all(calls)).await.unwrap();
        assert_eq!(diary.read().await.unwrap(), (0..40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn calls_through_a_fresh_reference_of_a_third_node_keep_their_order_while_it_becomes_direct() {
    for listen in transports() {
        let (owner, giver, caller) = (node(&listen).await, node(&beside(&listen)).await, client().await);
        let pages = Remote::<dyn Diary>::new(Pages::default());
        let held = hand_over(&owner, &giver, &pages).await;
        let diary = hand_over(&giver, &caller, &held).await;
        let calls = made_in_order(&diary, 40).await;
        soon(try_join_all(calls)).await.unwrap();
        assert_eq!(pages.read().await.unwrap(), (0..40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn calls_that_wait_for_credit_keep_their_order() {
    for listen in transports() {
        let limits = Limits { calls: 2, call_bytes: 1 << 16, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let diary = serve(&server, &client().await, &Remote::<dyn Diary>::new(Pages::default()));
        let calls = made_in_order(&diary, 40).await;
        soon(try_join_all(calls)).await.unwrap();
        assert_eq!(diary.read().await.unwrap(), (0..40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn methods_that_have_proved_quick_keep_their_order_behind_one_that_has_not() {
    let (server, client) = (node(&crate::common::mem()).await, client().await);
    let pages = Arc::new(Pages::default());
    let diary = serve(&server, &client, &Remote::<dyn Diary>::from_arc(pages.clone()));
    // `read` earns the place in the reader, `note` never does, since it awaits.
    for _ in 0..20 {
        diary.read().await.unwrap();
    }
    for number in 0..20 {
        let (noted, read) = {
            let (one, other) = (diary.clone(), diary.clone());
            let noted = made(async move { one.note(number, &[]).await }).await;
            (noted, soon(async move { other.read().await }).await.unwrap())
        };
        assert_eq!(read.len(), number as usize + 1, "the read began before the note");
        noted.await.unwrap();
    }
}
