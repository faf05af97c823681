//! Streams as arguments and results: what they bring, at whose pace, and how they end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use parking_lot::Mutex;
use rmi::{CallOptions, ErrorKind, Limits, Node, Remote, RemoteError, StreamSender, Streaming, remote};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    cable::Cable,
    common::{
        Counter, TCP, Tally, at_rest, client, dropped, failure, gone, hand_over, hand_over_by, mem, node, serve, soon,
        transports, until,
    },
};

/// Two streams and a value, in a struct.
#[derive(Debug, Serialize, Deserialize)]
struct Parts {
    title: String,
    numbers: Streaming<u64>,
    words: Option<Streaming<String>>,
}

#[remote]
trait Studio {
    async fn numbers(&self, count: u64) -> rmi::Result<Streaming<u64>>;
    async fn sum(&self, numbers: Streaming<u64>) -> rmi::Result<u64>;
    async fn double(&self, numbers: Streaming<u64>) -> rmi::Result<Streaming<u64>>;
    async fn swap(&self, parts: Parts, more: Streaming<u64>) -> rmi::Result<Parts>;
    async fn counters(&self, count: u64) -> rmi::Result<Streaming<Remote<dyn Counter>>>;
    async fn total(&self, counters: Streaming<Remote<dyn Counter>>) -> rmi::Result<i64>;
    async fn blobs(&self, count: usize, len: usize) -> rmi::Result<Streaming<Bytes>>;
    async fn measure(&self, blobs: Streaming<Vec<u8>>) -> rmi::Result<u64>;
    /// A stream that the test sends into.
    async fn open(&self) -> rmi::Result<Streaming<u64>>;
    async fn broken(&self, after: u64) -> rmi::Result<Streaming<u64>>;
    async fn panics(&self, after: u64) -> rmi::Result<Streaming<u64>>;
    async fn unencodable(&self) -> rmi::Result<Streaming<Unencodable>>;
    async fn put(&self, numbers: Streaming<u64>) -> rmi::Result<()>;
    async fn take(&self) -> rmi::Result<Option<Streaming<u64>>>;
    async fn same(&self, numbers: Streaming<u64>) -> rmi::Result<Streaming<u64>>;
    async fn nap(&self, numbers: Streaming<u64>, time: Duration) -> rmi::Result<()>;
    /// Reads one number, drops the stream, and ends when the test says so.
    async fn sip(&self, numbers: Streaming<u64>) -> rmi::Result<u64>;
    async fn hello(&self) -> rmi::Result<u32>;
}

/// Goes in and does not come out.
#[derive(Debug)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it was never meant to travel"))
    }
}

impl<'de> Deserialize<'de> for Unencodable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[derive(Default)]
struct Set {
    /// How many numbers were made.
    made: Arc<AtomicU64>,
    /// The streams that the test sends into.
    writers: Mutex<Vec<StreamSender<u64>>>,
    kept: Mutex<Option<Streaming<u64>>>,
    /// Ends a sip.
    swallow: Notify,
}

impl Set {
    fn writer(&self) -> StreamSender<u64> {
        self.writers.lock().pop().expect("a stream was opened")
    }
}

#[remote]
impl Studio for Arc<Set> {
    async fn numbers(&self, count: u64) -> rmi::Result<Streaming<u64>> {
        let made = self.made.clone();
        Ok(Streaming::new(stream::iter(0..count).inspect(move |_| {
            made.fetch_add(1, Ordering::Relaxed);
        })))
    }
    async fn sum(&self, mut numbers: Streaming<u64>) -> rmi::Result<u64> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number?;
        }
        Ok(sum)
    }
    async fn double(&self, numbers: Streaming<u64>) -> rmi::Result<Streaming<u64>> {
        Ok(Streaming::try_new(numbers.map(|number| number.map(|number| 2 * number))))
    }
    async fn swap(&self, parts: Parts, more: Streaming<u64>) -> rmi::Result<Parts> {
        let Parts { title, numbers, words } = parts;
        let title = format!("{title}, swapped");
        Ok(Parts { title, numbers: Streaming::try_new(more.chain(numbers)), words })
    }
    async fn counters(&self, count: u64) -> rmi::Result<Streaming<Remote<dyn Counter>>> {
        Ok(Streaming::new(stream::iter(0..count).map(|_| Remote::<dyn Counter>::new(Tally::default()))))
    }
    async fn total(&self, mut counters: Streaming<Remote<dyn Counter>>) -> rmi::Result<i64> {
        let mut total = 0;
        while let Some(counter) = counters.next().await {
            total += counter?.add(1).await?;
        }
        Ok(total)
    }
    async fn blobs(&self, count: usize, len: usize) -> rmi::Result<Streaming<Bytes>> {
        Ok(Streaming::new(stream::iter(0..count).map(move |at| Bytes::from(vec![at as u8; len]))))
    }
    async fn measure(&self, mut blobs: Streaming<Vec<u8>>) -> rmi::Result<u64> {
        let mut len = 0;
        while let Some(blob) = blobs.next().await {
            len += blob?.len() as u64;
        }
        Ok(len)
    }
    async fn open(&self) -> rmi::Result<Streaming<u64>> {
        let (writer, numbers) = Streaming::channel(1);
        self.writers.lock().push(writer);
        Ok(numbers)
    }
    async fn broken(&self, after: u64) -> rmi::Result<Streaming<u64>> {
        let end = RemoteError::new(ErrorKind::Overloaded, "the well is dry");
        Ok(Streaming::try_new(stream::iter((0..after).map(Ok).chain([Err(end), Ok(7)]))))
    }
    async fn panics(&self, after: u64) -> rmi::Result<Streaming<u64>> {
        Ok(Streaming::new(stream::iter(0..).inspect(move |at| assert!(*at < after, "the pen is empty"))))
    }
    async fn unencodable(&self) -> rmi::Result<Streaming<Unencodable>> {
        Ok(Streaming::new(stream::iter([Unencodable])))
    }
    async fn put(&self, numbers: Streaming<u64>) -> rmi::Result<()> {
        *self.kept.lock() = Some(numbers);
        Ok(())
    }
    async fn take(&self) -> rmi::Result<Option<Streaming<u64>>> {
        Ok(self.kept.lock().take())
    }
    async fn same(&self, numbers: Streaming<u64>) -> rmi::Result<Streaming<u64>> {
        Ok(numbers)
    }
    async fn nap(&self, numbers: Streaming<u64>, time: Duration) -> rmi::Result<()> {
        tokio::time::sleep(time).await;
        drop(numbers);
        Ok(())
    }
    async fn sip(&self, mut numbers: Streaming<u64>) -> rmi::Result<u64> {
        let first = numbers.next().await.expect("there is one")?;
        drop(numbers);
        self.swallow.notified().await;
        Ok(first)
    }
    async fn hello(&self) -> rmi::Result<u32> {
        Ok(1)
    }
}

fn studio() -> (Arc<Set>, Remote<dyn Studio>) {
    let set = Arc::new(Set::default());
    (set.clone(), Remote::<dyn Studio>::new(set))
}

/// A studio of one node, and another's reference to it.
async fn rented(server: &Node, client: &Node) -> (Arc<Set>, Remote<dyn Studio>) {
    let (set, studio) = studio();
    (set, hand_over(server, client, &studio).await)
}

fn numbers(range: std::ops::Range<u64>) -> Streaming<u64> {
    Streaming::new(stream::iter(range))
}

/// All that a stream brings, which must be no error.
async fn all<T: serde::de::DeserializeOwned + Send + 'static>(stream: Streaming<T>) -> Vec<T> {
    soon(stream.map(|item| item.expect("no error")).collect()).await
}

async fn streams_come_and_go_in_both_directions() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (_set, studio) = rented(&server, &client).await;
        let expected: Vec<_> = (0..10_000).collect();
        assert_eq!(all(soon(studio.numbers(10_000)).await.unwrap()).await, expected);
        assert_eq!(soon(studio.sum(numbers(0..10_000))).await.unwrap(), 49_995_000);
        let doubled = all(soon(studio.double(numbers(0..5_000))).await.unwrap()).await;
        assert_eq!(doubled, (0..5_000).map(|number| 2 * number).collect::<Vec<_>>());
        assert!(all(soon(studio.numbers(0)).await.unwrap()).await.is_empty());
        drop(studio);
        at_rest(&[&server, &client]).await;
        client.shutdown().await;
        server.shutdown().await;
        gone(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn streams_come_and_go_in_both_directions_on_one_thread() {
    streams_come_and_go_in_both_directions().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_come_and_go_in_both_directions_on_two_threads() {
    streams_come_and_go_in_both_directions().await;
}

#[tokio::test]
async fn streams_that_are_read_are_counted_at_both_ends() {
    let (server, client) = (node(&mem()).await, client().await);
    let (_set, studio) = rented(&server, &client).await;
    let counts = || [server.stats().streams, client.stats().streams];
    let mut stream = soon(studio.numbers(10_000)).await.unwrap();
    assert_eq!(counts(), [0, 1], "nobody has asked for anything yet");
    soon(stream.next()).await.expect("it is not empty").unwrap();
    assert_eq!(counts(), [1, 1]);
    drop((stream, studio));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn several_streams_travel_in_a_call_and_in_structs() {
    let (server, client) = (node(&mem()).await, client().await);
    let (_set, studio) = rented(&server, &client).await;
    let words = Streaming::new(stream::iter(["a", "b"].map(str::to_owned)));
    let parts = Parts { title: "two".to_owned(), numbers: numbers(3..5), words: Some(words) };
    let Parts { title, numbers, words } = soon(studio.swap(parts, numbers(0..3))).await.unwrap();
    assert_eq!((title.as_str(), all(numbers).await), ("two, swapped", vec![0, 1, 2, 3, 4]));
    assert_eq!(all(words.expect("it was there")).await, ["a", "b"]);
    drop(studio);
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn items_may_hold_references() {
    let (server, client) = (node(&mem()).await, client().await);
    let (_set, studio) = rented(&server, &client).await;
    let mut counters = soon(studio.counters(100)).await.unwrap();
    let mut held = Vec::new();
    while let Some(counter) = soon(counters.next()).await {
        let counter = counter.unwrap();
        assert_eq!(soon(counter.add(2)).await.unwrap(), 2);
        held.push(counter);
    }
    assert_eq!(held.len(), 100);
    drop(held);
    let (counter, life) = Tally::mortal();
    let three = Streaming::new(stream::iter(vec![counter; 3]));
    assert_eq!(soon(studio.total(three)).await.unwrap(), 1 + 2 + 3);
    dropped(&life).await;
    // References that nobody reads are released.
    let mut counters = soon(studio.counters(1_000)).await.unwrap();
    assert!(soon(counters.next()).await.unwrap().is_ok());
    drop((counters, studio));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn bytes_of_any_length_are_items() {
    let (server, client) = (node(TCP).await, client().await);
    let (_set, studio) = rented(&server, &client).await;
    for (count, len) in [(2_000, 10), (300, 10_000), (40, 300_000), (3, 9 << 20)] {
        let blobs = all(soon(studio.blobs(count, len)).await.unwrap()).await;
        assert_eq!(blobs.len(), count);
        assert!(blobs.iter().enumerate().all(|(at, blob)| blob.len() == len && blob.iter().all(|&b| b == at as u8)));
        let back = Streaming::new(stream::iter(blobs).map(|blob| blob.to_vec()));
        assert_eq!(soon(studio.measure(back)).await.unwrap(), (count * len) as u64);
    }
}

#[tokio::test]
async fn a_slow_reader_stops_its_writer_and_nothing_else() {
    let (server, client) = (node(&mem()).await, client().await);
    let (set, studio) = rented(&server, &client).await;
    let mut slow = soon(studio.numbers(u64::MAX)).await.unwrap().read_ahead(8);
    assert_eq!(soon(slow.next()).await.unwrap().unwrap(), 0);
    // Others go on meanwhile, over the same connection.
    for _ in 0..50 {
        assert_eq!(all(soon(studio.same(numbers(0..100))).await.unwrap()).await.len(), 100);
    }
    let made = set.made.load(Ordering::Relaxed);
    assert!(made <= 1 + 8 + 2, "{made} were made, and 1 was read");
    for expected in 1..1_000 {
        assert_eq!(soon(slow.next()).await.unwrap().unwrap(), expected);
    }
    let made = set.made.load(Ordering::Relaxed);
    assert!(made <= 1_000 + 8 + 2, "{made} were made, and 1,000 were read");
    drop((slow, studio));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn streams_that_wait_take_nothing_of_what_calls_need() {
    let limits = Limits { calls: 2, ..Limits::default() };
    let server = Node::builder().listen(mem()).limits(limits.clone()).start().await.unwrap();
    let client = Node::builder().limits(limits).start().await.unwrap();
    let (set, studio) = rented(&server, &client).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(soon(studio.open()).await.unwrap());
    }
    // All of them are asked, and wait.
    let mut firsts = join_all(idle.iter_mut().map(Streaming::next));
    assert!(futures_util::poll!(&mut firsts).is_pending());
    assert_eq!(soon(studio.hello()).await.unwrap(), 1);
    let writers = std::mem::take(&mut *set.writers.lock());
    for (number, writer) in writers.into_iter().enumerate() {
        soon(writer.send(number as u64)).await.unwrap();
    }
    let firsts: Vec<_> = soon(firsts).await.into_iter().map(|first| first.unwrap().unwrap()).collect();
    assert_eq!(firsts, (0..20).collect::<Vec<_>>());
    drop((idle, studio));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_reader_that_goes_stops_its_writer() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let (set, studio) = rented(&server, &client).await;
        // Before it was read at all, while it is read, and where the call that brings it is dropped.
        let unread = soon(studio.open()).await.unwrap();
        let writer = set.writer();
        drop(unread);
        soon(writer.closed()).await;
        let mut read = soon(studio.open()).await.unwrap();
        let writer = set.writer();
        soon(writer.send(5)).await.unwrap();
        assert_eq!(soon(read.next()).await.unwrap().unwrap(), 5);
        drop(read);
        soon(writer.closed()).await;
        let gone = soon(writer.send(6)).await.unwrap_err();
        assert_eq!((gone.to_string().as_str(), gone.into_item()), ("nobody reads the stream any more", Some(6)));
        drop(studio);
        at_rest(&[&server, &client]).await;
    }
}

#[tokio::test]
async fn a_reader_that_goes_stops_its_writer_while_their_call_goes_on() {
    let (server, client) = (node(&mem()).await, client().await);
    let (set, studio) = rented(&server, &client).await;
    let (writer, numbers) = Streaming::channel(1);
    let sip = tokio::spawn(async move { studio.sip(numbers).await });
    let mut sent = 0;
    while soon(writer.send(sent)).await.is_ok() {
        sent += 1;
    }
    assert!(sent >= 1 && !sip.is_finished());
    set.swallow.notify_one();
    assert_eq!(soon(sip).await.unwrap().unwrap(), 0);
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn an_error_is_the_last_item() {
    let (server, client) = (node(&mem()).await, client().await);
    let (set, studio) = rented(&server, &client).await;
    let mut broken = soon(studio.broken(100)).await.unwrap();
    for expected in 0..100 {
        assert_eq!(soon(broken.next()).await.unwrap().unwrap(), expected);
    }
    let error = failure(soon(broken.next()).await.unwrap(), "Stream.next");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Overloaded, "the well is dry"));
    assert!(soon(broken.next()).await.is_none(), "nothing follows");
    let mut failed = soon(studio.open()).await.unwrap();
    let writer = set.writer();
    let other = writer.clone();
    soon(writer.fail(RemoteError::new(ErrorKind::Other, "no more"))).await;
    assert_eq!(soon(failed.next()).await.unwrap().unwrap_err().message(), "no more");
    soon(other.closed()).await;
    // As arguments, too.
    let bad = Streaming::try_new(stream::iter([Ok(1), Err(RemoteError::new(ErrorKind::Other, "torn"))]));
    let error = soon(studio.sum(bad)).await.unwrap_err();
    assert_eq!(error.message(), "torn");
    drop((broken, failed, studio));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_writer_that_panics_or_cannot_be_encoded_ends_its_stream_alone() {
    let (server, client) = (node(&mem()).await, client().await);
    let (_set, studio) = rented(&server, &client).await;
    let mut panics = soon(studio.panics(0)).await.unwrap();
    let error = failure(soon(panics.next()).await.unwrap(), "Stream.next");
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(soon(panics.next()).await.is_none());
    let mut odd = soon(studio.unencodable()).await.unwrap();
    let error = failure(soon(odd.next()).await.unwrap(), "Stream.next");
    assert_eq!(error.kind(), ErrorKind::Marshal);
    assert!(error.message().contains("never meant to travel"), "{error}");
    assert_eq!(soon(studio.hello()).await.unwrap(), 1);
    drop((panics, odd, studio));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_lost_link_ends_a_stream_and_a_new_call_opens_another() {
    let server = node(TCP).await;
    let client = client().await;
    let cable = Cable::to(&server).await;
    let (set, object) = studio();
    let studio = hand_over_by(cable.endpoint(), &server, &client, &object).await;
    let mut lost = soon(studio.open()).await.unwrap();
    let writer = set.writer();
    soon(writer.send(1)).await.unwrap();
    assert_eq!(soon(lost.next()).await.unwrap().unwrap(), 1);
    cable.cut();
    let error = failure(soon(lost.next()).await.unwrap(), "Stream.next");
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    assert!(soon(lost.next()).await.is_none());
    drop(lost);
    cable.mend();
    // What was held goes back over the connection that takes the lost one's place.
    soon(writer.closed()).await;
    assert_eq!(all(soon(studio.numbers(10)).await.unwrap()).await.len(), 10);
    drop((studio, object));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_stream_is_read_by_a_third_node_from_its_owner() {
    let (owner, middle, reader) = (node(&mem()).await, node(&mem()).await, node(&mem()).await);
    let (set, studio) = rented(&middle, &owner).await;
    soon(studio.put(numbers(0..1_000))).await.unwrap();
    let at_middle = set.kept.lock().take().unwrap();
    *set.kept.lock() = Some(at_middle);
    let far = serve(&middle, &reader, &Remote::<dyn Studio>::new(set));
    let mut taken = soon(far.take()).await.unwrap().unwrap();
    assert_eq!(soon(taken.next()).await.unwrap().unwrap(), 0);
    assert_eq!(reader.stats().connections, 2, "it reads from the owner");
    // The middle is not needed any more.
    middle.shutdown().await;
    assert_eq!(all(taken).await, (1..1_000).collect::<Vec<_>>());
    drop(studio);
    at_rest(&[&owner, &reader]).await;
}

#[tokio::test]
async fn a_stream_of_a_node_that_listens_nowhere_passes_through_the_middle() {
    let (owner, middle, reader) = (client().await, node(&mem()).await, client().await);
    let (set, studio) = rented(&middle, &owner).await;
    soon(studio.put(numbers(0..3_000))).await.unwrap();
    let far = hand_over(&middle, &reader, &Remote::<dyn Studio>::new(set.clone())).await;
    let taken = soon(far.take()).await.unwrap().unwrap();
    assert_eq!(all(taken).await, (0..3_000).collect::<Vec<_>>());
    // One that was read from already is read by the middle, and passed on.
    soon(studio.put(numbers(0..3_000))).await.unwrap();
    let mut begun = set.kept.lock().take().unwrap();
    assert_eq!(soon(begun.next()).await.unwrap().unwrap(), 0);
    *set.kept.lock() = Some(begun);
    let taken = soon(far.take()).await.unwrap().unwrap();
    assert_eq!(all(taken).await, (1..3_000).collect::<Vec<_>>());
    drop((studio, far));
    at_rest(&[&owner, &middle, &reader]).await;
}

#[tokio::test]
async fn a_stream_that_comes_home_is_the_stream_itself() {
    let (server, client) = (node(&mem()).await, client().await);
    let (_set, studio) = rented(&server, &client).await;
    let home = soon(studio.same(numbers(0..5))).await.unwrap();
    assert_eq!(format!("{home:?}"), "Streaming(local)");
    assert_eq!(all(home).await, [0, 1, 2, 3, 4]);
    drop(studio);
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_call_that_passes_a_stream_has_no_time_out_but_one_of_its_own() {
    let limits = Limits { call_timeout: Duration::from_millis(50), ..Limits::default() };
    let (server, client) = (node(&mem()).await, Node::builder().limits(limits).start().await.unwrap());
    let (_set, studio) = rented(&server, &client).await;
    soon(studio.nap(numbers(0..1), Duration::from_millis(200))).await.unwrap();
    let hasty = Remote::with(&studio, CallOptions::new().timeout(Duration::from_millis(20)));
    let error = failure(soon(hasty.nap(numbers(0..1), Duration::from_secs(60))).await, "Studio.nap");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    drop((studio, hasty));
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_stream_is_read_once() {
    let (server, client) = (node(&mem()).await, client().await);
    let (_set, studio) = rented(&server, &client).await;
    let passed = numbers(0..3);
    assert_eq!(soon(studio.sum(passed)).await.unwrap(), 3);
    let local = Remote::<dyn Studio>::new(Arc::new(Set::default()));
    assert_eq!(soon(local.sum(numbers(0..4))).await.unwrap(), 6, "a local call passes the stream itself");
    drop(studio);
    at_rest(&[&server, &client]).await;
}

#[tokio::test]
async fn a_stream_that_brings_nothing_holds_up_no_shutdown() {
    let (server, client) = (node(&mem()).await, client().await);
    let (set, studio) = rented(&server, &client).await;
    let mut idle = soon(studio.open()).await.unwrap();
    let _writer = set.writer();
    let mut next = Box::pin(idle.next());
    assert!(futures_util::poll!(&mut next).is_pending());
    until("the pulls have arrived", || server.stats().calls_in_flight > 0).await;
    soon(server.shutdown()).await;
    let error = soon(next).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shutdown, "{error}");
}
