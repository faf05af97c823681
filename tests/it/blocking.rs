//! Methods that block their threads.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use futures_util::{future::join_all, poll};
use parking_lot::Mutex;
use rmi::{CallOptions, ErrorKind, Node, Remote, remote};

use crate::common::{PATIENCE, at_rest, client, failure, node, serve, soon, transports, until};

#[remote]
trait Press {
    /// Blocks its thread until it may go on.
    #[remote(blocking)]
    async fn print(&self, page: u32) -> rmi::Result<u32>;
    /// Ends at once.
    #[remote(blocking)]
    async fn note(&self, page: u32) -> rmi::Result<()>;
    /// Awaits a call of the same kind, and another future.
    #[remote(blocking)]
    async fn copy(&self, from: Remote<dyn Press>) -> rmi::Result<Vec<u32>>;
    async fn pages(&self) -> rmi::Result<Vec<u32>>;
}

struct Machine {
    pages: Mutex<Vec<u32>>,
    goes_on: Mutex<Receiver<()>>,
}

impl Machine {
    fn new() -> (Sender<()>, Self) {
        let (sender, goes_on) = channel();
        (sender, Self { pages: Mutex::default(), goes_on: Mutex::new(goes_on) })
    }
}

#[remote]
impl Press for Machine {
    async fn print(&self, page: u32) -> rmi::Result<u32> {
        self.pages.lock().push(page);
        self.goes_on.lock().recv_timeout(PATIENCE).expect("it may go on");
        Ok(page)
    }
    async fn note(&self, page: u32) -> rmi::Result<()> {
        self.pages.lock().push(page);
        Ok(())
    }
    async fn copy(&self, from: Remote<dyn Press>) -> rmi::Result<Vec<u32>> {
        from.note(7).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        from.pages().await
    }
    async fn pages(&self) -> rmi::Result<Vec<u32>> {
        Ok(self.pages.lock().clone())
    }
}

fn press(server: &Node, client: &Node) -> (Sender<()>, Remote<dyn Press>) {
    let (go_on, machine) = Machine::new();
    (go_on, serve(server, client, &Remote::<dyn Press>::new(machine)))
}

async fn others_go_on() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (go_on, press) = press(&server, &client);
        // Quick for a while: it must not be taken for quick.
        for page in 0..20 {
            soon(press.note(page)).await.unwrap();
        }
        let printing: Vec<_> = (100..108)
            .map(|page| {
                let press = press.clone();
                tokio::spawn(async move { press.print(page).await })
            })
            .collect();
        let printed = async || soon(press.pages()).await.unwrap().len() == 28;
        while !printed().await {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            soon(press.pages()).await.unwrap();
        }
        assert!(printing.iter().all(|printing| !printing.is_finished()));
        for _ in 0..8 {
            go_on.send(()).unwrap();
        }
        for printed in soon(join_all(printing)).await {
            printed.unwrap().unwrap();
        }
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn while_methods_block_other_calls_go_on_also_to_the_same_object() {
    others_go_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_methods_block_other_calls_go_on_on_several_threads() {
    others_go_on().await;
}

#[tokio::test]
async fn blocking_methods_begin_in_the_order_of_their_calls() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (_go_on, press) = press(&server, &client);
        let notes = join_all((0..50).map(|page| press.note(page)));
        let (notes, pages) = soon(async { tokio::join!(notes, press.pages()) }).await;
        assert!(notes.iter().all(Result::is_ok));
        assert_eq!(pages.unwrap(), (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_blocking_method_may_await_and_call() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (_go_on, one) = press(&server, &client);
        let (_, machine) = Machine::new();
        // It lives at the caller: a callback.
        let here = Remote::<dyn Press>::new(machine);
        assert_eq!(soon(one.copy(here)).await.unwrap(), [7]);
    }
}

#[tokio::test]
async fn a_blocking_method_whose_caller_goes_away_is_answered_all_the_same() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (go_on, press) = press(&server, &client);
        let hurried = Remote::with(&press, CallOptions::new().timeout(Duration::from_millis(50)));
        let error = failure(soon(hurried.print(1)).await, "Press.print");
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "it waits no longer than it may: {error}");
        let mut gone = Box::pin(press.print(2));
        assert!(poll!(&mut gone).is_pending());
        drop(gone);
        go_on.send(()).unwrap();
        go_on.send(()).unwrap();
        at_rest(&[&client]).await;
        until("both are answered", || server.stats().calls_in_flight == 0).await;
    }
}
