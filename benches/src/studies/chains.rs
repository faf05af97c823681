//! What pipelining saves: calls on results, one after the other and in one go, over links of some latency.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::{Bytes, BytesMut};
use rmi::{Node, Remote, remote};
use rmi_harness::{Table, number};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::sleep_until,
};

use super::{Findings, bar};

/// Round trips of the links: that of this machine, of a city, of a continent.
const TRIPS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(50)];
/// Calls of a chain, the last of which returns a number.
const CALLS: [usize; 3] = [2, 5, 10];
/// Chunks under way in each direction of a link.
const UNDER_WAY_MAX: usize = 1024;

/// One of a row of objects.
#[remote]
trait Step {
    /// The next one.
    async fn next(&self) -> rmi::Result<Remote<dyn Step>>;
    /// How many came before it.
    async fn number(&self) -> rmi::Result<u64>;
}

struct Stair(u64);

#[remote]
impl Step for Stair {
    async fn next(&self) -> rmi::Result<Remote<dyn Step>> {
        Ok(Remote::<dyn Step>::new(Self(self.0 + 1)))
    }
    async fn number(&self) -> rmi::Result<u64> {
        Ok(self.0)
    }
}

/// A chain of so many calls, each awaited before the next is made.
async fn plain(first: &Remote<dyn Step>, calls: usize) -> rmi::Result<u64> {
    let mut step = first.clone();
    for _ in 1..calls {
        step = step.next().await?;
    }
    step.number().await
}

/// The same, of which only the last is awaited.
async fn pipelined(first: &Remote<dyn Step>, calls: usize) -> rmi::Result<u64> {
    let pipe = Remote::pipelined(first);
    if calls == 1 {
        return pipe.number().await;
    }
    let mut step = pipe.next();
    for _ in 2..calls {
        step = step.next();
    }
    step.number().await
}

/// Chains of each length over each link.
pub(super) fn study(quick: bool) -> Result<Findings> {
    let rounds = if quick { 20 } else { 100 };
    let headers = ["round trip ms", "calls", "one by one ms", "in one go ms", "times faster"];
    let mut table = Table::new(headers, 0);
    let bar = bar(TRIPS.len() * CALLS.len())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for trip in TRIPS {
        bar.set_message(format!("a link of {} ms", trip.as_millis()));
        let rows: Result<Vec<_>> = runtime.block_on(async {
            let link = Link::new(trip).await?;
            let mut rows = Vec::new();
            for calls in CALLS {
                rows.push(link.compare(calls, rounds).await?);
                bar.inc(1);
            }
            link.close().await;
            Ok(rows)
        });
        for (calls, one_by_one, in_one_go) in rows? {
            table.push(vec![
                number(trip.as_secs_f64() * 1e3, 0),
                number(calls as f64, 0),
                number(one_by_one.as_secs_f64() * 1e3, 2),
                number(in_one_go.as_secs_f64() * 1e3, 2),
                number(one_by_one.as_secs_f64() / in_one_go.as_secs_f64(), 2),
            ]);
        }
    }
    bar.finish_and_clear();
    let legend = vec![
        format!("medians of {rounds} chains of each kind, in turn, of one caller; both nodes in one process, on one thread"),
        "a call of a chain returns the object that the next one is made on; the last one returns a number".to_owned(),
        "the link: TCP over loopback, by way of a forwarder that keeps each chunk for half a round trip; its timer adds up to 1 ms to each way".to_owned(),
    ];
    Ok(Findings { title: "Chains of calls", legend, sections: vec![("One by one, and pipelined", table)] })
}

/// Two nodes, and what delays what they say to each other.
struct Link {
    server: Node,
    client: Node,
    first: Remote<dyn Step>,
}

impl Link {
    async fn new(trip: Duration) -> Result<Self> {
        let server = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
        server.serve("stair", &Remote::<dyn Step>::new(Stair(0)));
        let at = server.endpoints().first().context("the server listens nowhere")?.to_string();
        let at =
            if trip.is_zero() { at } else { delayed(at.trim_start_matches("tcp://").to_owned(), trip / 2).await? };
        let client = Node::builder().start().await?;
        let first = Remote::service(&client, at.parse()?, "stair");
        Ok(Self { server, client, first })
    }

    /// The medians of chains of so many calls.
    async fn compare(&self, calls: usize, rounds: usize) -> Result<(usize, Duration, Duration)> {
        let (mut one_by_one, mut in_one_go) = (Vec::new(), Vec::new());
        for round in 0..rounds + rounds / 10 + 1 {
            let begin = Instant::now();
            let number = plain(&self.first, calls).await?;
            let between = Instant::now();
            let same = pipelined(&self.first, calls).await?;
            let end = Instant::now();
            ensure!((number, same) == (calls as u64 - 1, calls as u64 - 1), "a chain led elsewhere: {number}, {same}");
            // The first ones warm up.
            if round > rounds / 10 {
                one_by_one.push(between - begin);
                in_one_go.push(end - between);
            }
        }
        Ok((calls, median(one_by_one), median(in_one_go)))
    }

    async fn close(self) {
        drop(self.first);
        self.client.shutdown().await;
        self.server.shutdown().await;
    }
}

fn median(mut of: Vec<Duration>) -> Duration {
    let middle = of.len() / 2;
    *of.select_nth_unstable(middle).1
}

/// Listens for one peer, and passes what it and a server say on with this delay; where it does.
async fn delayed(server: String, delay: Duration) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = format!("tcp://{}", listener.local_addr()?);
    tokio::spawn(async move {
        let (near, _) = listener.accept().await?;
        let far = TcpStream::connect(server).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_from, near_to), (far_from, far_to)) = (near.into_split(), far.into_split());
        tokio::spawn(forward(near_from, far_to, delay));
        forward(far_from, near_to, delay).await
    });
    Ok(at)
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) -> Result<()> {
    let (sender, mut chunks) = mpsc::channel::<(tokio::time::Instant, Bytes)>(UNDER_WAY_MAX);
    let reads = async move {
        loop {
            let mut chunk = BytesMut::with_capacity(64 << 10);
            if from.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            sender.send((tokio::time::Instant::now() + delay, chunk.freeze())).await?;
        }
    };
    let writes = async move {
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(reads, writes).map(|((), ())| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_kinds_of_chains_lead_to_the_same_object() {
        let link = Link::new(Duration::from_millis(2)).await.unwrap();
        for calls in [1, 2, 5] {
            link.compare(calls, 1).await.unwrap();
        }
        link.close().await;
    }
}
