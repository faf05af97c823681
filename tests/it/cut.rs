//! A link that is cut at every byte of a call, in either direction: the call ends with the truth, and
//! nothing that travelled in it is lost or left over.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use rmi::{CallOptions, Certainty, DialPolicy, Endpoint, ErrorKind, Node, NodeStats, Remote, remote};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::common::{Counter, TCP, Tally, dropped, hand_over_by, node, soon, until};

/// From the client to the server, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    There,
    Back,
}

/// The way that is to be cut, and how many bytes still pass.
type Cut = Arc<Mutex<Option<(Way, usize)>>>;

/// A cable to a node, with shears at it. Dialled again, it carries again.
struct Shears {
    endpoint: Endpoint,
    cut: Cut,
    severed: Arc<Notify>,
    carried: watch::Sender<usize>,
    carrying: JoinHandle<()>,
}

impl Shears {
    async fn to(node: &Node) -> Self {
        let target = node.endpoints()[0].to_string().trim_start_matches("tcp://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (cut, severed, carried) = (Cut::default(), Arc::<Notify>::default(), watch::Sender::new(0));
        let carrying = tokio::spawn({
            let (cut, severed, carried) = (cut.clone(), severed.clone(), carried.clone());
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(carry(near, target.clone(), cut.clone(), severed.clone()));
                    carried.send_modify(|carried| *carried += 1);
                }
            }
        });
        Self { endpoint, cut, severed, carried, carrying }
    }

    /// Cuts both ways once so many more bytes have passed this way: in the middle of what is under
    /// way, and never before it has begun.
    fn cut_after(&self, way: Way, bytes: usize) {
        *self.cut.lock() = Some((way, bytes));
    }

    /// Cuts nothing more. Whether they have cut.
    fn leave(&self) -> bool {
        self.cut.lock().take().is_none()
    }

    /// Cuts now, and waits until they carry a new connection.
    async fn cut_now(&self) {
        let before = *self.carried.borrow();
        self.severed.notify_waiters();
        let mut carried = self.carried.subscribe();
        soon(carried.wait_for(|carried| *carried > before)).await.unwrap();
    }
}

impl Drop for Shears {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

/// Carries one connection until either end is closed, or it is cut.
async fn carry(mut near: TcpStream, target: String, cut: Cut, severed: Arc<Notify>) {
    let severed = severed.notified();
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    for socket in [&near, &far] {
        socket.set_nodelay(true).unwrap();
    }
    let ((near_read, near_write), (far_read, far_write)) = (near.split(), far.split());
    tokio::select! {
        () = carry_one_way(Way::There, near_read, far_write, &cut) => {}
        () = carry_one_way(Way::Back, far_read, near_write, &cut) => {}
        () = severed => {}
    }
}

async fn carry_one_way(way: Way, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, cut: &Cut) {
    let mut bytes = [0; 4096];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else { return };
        let (passes, cuts) = {
            let mut cut = cut.lock();
            match &mut *cut {
                Some((wanted, left)) if *wanted == way && *left <= read => {
                    (cut.take().map_or(0, |(_, left)| left), true)
                }
                Some((wanted, left)) if *wanted == way => {
                    *left -= read;
                    (read, false)
                }
                _ => (read, false),
            }
        };
        if to.write_all(&bytes[..passes]).await.is_err() || cuts {
            return;
        }
    }
}

/// Takes an object and gives another.
#[remote]
trait Swap {
    async fn swap(
        &self,
        number: u64,
        padding: String,
        given: Remote<dyn Counter>,
    ) -> rmi::Result<(Remote<dyn Counter>, String)>;
}

#[derive(Default)]
struct Stall {
    runs: Mutex<HashMap<u64, usize>>,
    taken: Mutex<Vec<Remote<dyn Counter>>>,
    made: Mutex<Vec<Weak<()>>>,
}

#[remote]
impl Swap for Stall {
    async fn swap(
        &self,
        number: u64,
        padding: String,
        given: Remote<dyn Counter>,
    ) -> rmi::Result<(Remote<dyn Counter>, String)> {
        *self.runs.lock().entry(number).or_default() += 1;
        self.taken.lock().push(given);
        let (made, life) = Tally::mortal();
        self.made.lock().push(life);
        Ok((made, padding))
    }
}

/// A server behind shears, and a client that holds its stall.
struct Fair {
    stall: Arc<Stall>,
    server: Node,
    client: Node,
    shears: Shears,
    swap: Remote<dyn Swap>,
    calls: u64,
}

/// How a call ended, how often it ran, and whether it was cut.
type End = (Result<(), Certainty>, usize, bool);

impl Fair {
    async fn new() -> Self {
        let (server, stall) = (node(TCP).await, Arc::<Stall>::default());
        let shears = Shears::to(&server).await;
        // The way through the shears is the only one.
        let client = Node::builder().dial_policy(DialPolicy::new(|_, _| false)).start().await.unwrap();
        let object = Remote::<dyn Swap>::from_arc(stall.clone());
        let swap = hand_over_by(shears.endpoint.clone(), &server, &client, &object).await;
        let fair = Self { stall, server, client, shears, swap, calls: 0 };
        fair.rests().await;
        fair
    }

    /// Waits until nothing is held but the stall, over the one link.
    async fn rests(&self) {
        let (mut server, mut client) = (NodeStats::default(), NodeStats::default());
        (server.connections, server.exported_objects) = (1, 1);
        (client.connections, client.imported_references) = (1, 1);
        let rested = || (self.server.stats(), self.client.stats()) == (server, client);
        until("the link is there, and nothing is left over", rested).await;
    }

    /// Takes the link up over a new connection.
    async fn reconnect(&self) {
        self.shears.cut_now().await;
        self.rests().await;
    }

    /// One call, whole or cut, and all that must be true of it whatever becomes of it.
    async fn call(&mut self, swap: &Remote<dyn Swap>, padding: &str) -> End {
        self.calls += 1;
        let number = self.calls;
        let (given, given_lives) = Tally::mortal();
        let result = soon(swap.swap(number, padding.to_owned(), given)).await;
        let cut = self.shears.leave();
        let ran = self.stall.runs.lock().get(&number).copied().unwrap_or(0);
        let end = match result {
            Ok((made, echo)) => {
                assert_eq!(echo, padding);
                assert_eq!(soon(made.add(2)).await.unwrap(), 2, "what was returned lives");
                let taken = self.stall.taken.lock().last().cloned().expect("the call has run");
                assert_eq!(soon(taken.add(3)).await.unwrap(), 3, "what was passed lives");
                assert_eq!(given_lives.strong_count(), 1);
                Ok(())
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
                Err(error.certainty())
            }
        };
        let taken = std::mem::take(&mut *self.stall.taken.lock());
        drop(taken);
        dropped(&given_lives).await;
        let made = std::mem::take(&mut *self.stall.made.lock());
        for life in made {
            dropped(&life).await;
        }
        self.rests().await;
        let later = self.stall.runs.lock().get(&number).copied().unwrap_or(0);
        assert_eq!(later, ran, "it does not run once it has ended");
        (end, ran, cut)
    }
}

const POSITIONS: usize = 64;

/// Calls that are cut at each position, one over a new connection and one over a used one: how they
/// ended, and how often so.
async fn cut_everywhere(way: Way, padding: &str, options: CallOptions) -> HashMap<End, usize> {
    let mut fair = Fair::new().await;
    let swap = Remote::with(&fair.swap, options);
    let mut ends = HashMap::new();
    for position in 0..POSITIONS {
        for is_new in [true, false] {
            if is_new {
                fair.reconnect().await;
            }
            fair.shears.cut_after(way, position);
            let end = fair.call(&swap, padding).await;
            *ends.entry(end).or_default() += 1;
            let again = fair.call(&swap, padding).await;
            assert_eq!((again.0, again.1), (Ok(()), 1), "cut after {position} bytes {way:?}, the same reference works");
        }
    }
    println!("cut {way:?}: {ends:?}");
    ends
}

/// Longer than what is cut.
const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123";

#[tokio::test]
async fn a_call_that_is_cut_on_its_way_there_goes_again_by_itself() {
    for options in [CallOptions::new(), CallOptions::new().idempotent(true)] {
        let ends = cut_everywhere(Way::There, LONG, options).await;
        assert_eq!(ends, HashMap::from([((Ok(()), 1, true), 2 * POSITIONS)]));
    }
}

#[tokio::test]
async fn a_call_that_is_cut_at_its_end_runs_once_at_most() {
    let ends = cut_everywhere(Way::There, "", CallOptions::new()).await;
    for (end, count) in &ends {
        let is_true = matches!(end, (Ok(()), 1, _) | (Err(Certainty::Unknown), 0 | 1, true));
        assert!(is_true, "{count} calls ended so: {end:?}");
    }
    assert!(ends.keys().any(|(.., cut)| !cut), "none was shorter than where it was to be cut");
}

#[tokio::test]
async fn a_call_that_is_cut_on_its_way_back_is_unknown_and_has_run_once() {
    let ends = cut_everywhere(Way::Back, LONG, CallOptions::new()).await;
    assert_eq!(ends, HashMap::from([((Err(Certainty::Unknown), 1, true), 2 * POSITIONS)]));
}

#[tokio::test]
async fn a_call_that_is_cut_on_its_way_back_and_may_run_again_does() {
    let ends = cut_everywhere(Way::Back, LONG, CallOptions::new().idempotent(true)).await;
    assert_eq!(ends, HashMap::from([((Ok(()), 2, true), 2 * POSITIONS)]));
}

#[tokio::test]
async fn a_release_that_is_cut_is_sent_again() {
    let fair = Fair::new().await;
    for (way, position) in [Way::There, Way::Back].into_iter().flat_map(|way| (0..8).map(move |bytes| (way, bytes))) {
        let (given, given_lives) = Tally::mortal();
        let (made, _) = soon(fair.swap.swap(0, String::new(), given)).await.unwrap();
        let made = (made, fair.stall.made.lock().pop().unwrap());
        let taken = (fair.stall.taken.lock().pop().unwrap(), given_lives);
        let (released, kept) = if way == Way::There { (made, taken) } else { (taken, made) };
        fair.shears.cut_after(way, position);
        drop(released.0);
        dropped(&released.1).await;
        fair.shears.leave();
        assert_eq!(soon(kept.0.add(1)).await.unwrap(), 1, "cut after {position} bytes {way:?}, the other lives");
        drop(kept.0);
        dropped(&kept.1).await;
        fair.rests().await;
    }
}
