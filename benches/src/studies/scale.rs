//! What a call costs among many connections and many objects.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rmi::{Limits, Remote};
use rmi_harness::{Process, Table, allow_files, number, resident};
use tokio::task::JoinSet;

use super::{Findings, bar, desk::Desk, guest::Guest, start};
use crate::{
    machine::{core_to_share, cpu_time},
    process::cpu,
};

const CONNECTIONS: [usize; 5] = [1, 10, 100, 1000, 5000];
const OBJECTS: [usize; 3] = [1, 1000, 1_000_000];
/// Dials at once.
const DIALS: usize = 64;
/// Objects that one call makes.
const OBJECTS_OF_CALL: usize = 1000;
/// Files that a process has open beside its connections.
const OTHER_FILES: u64 = 64;

/// Connects until there are so many, each from a node of its own.
pub(super) async fn connect(guest: &Guest, count: usize, nodes: &mut Vec<Guest>) -> Result<()> {
    while nodes.len() < count {
        let mut dials = JoinSet::new();
        for _ in 0..(count - nodes.len()).min(DIALS) {
            dials.spawn(Guest::new(guest.endpoint.clone(), Limits::default()));
        }
        while let Some(node) = dials.join_next().await {
            nodes.push(node??);
        }
    }
    Ok(())
}

/// Holds objects until there are so many.
pub(super) async fn hold(guest: &Guest, count: usize, held: &mut Vec<Remote<dyn Desk>>) -> Result<()> {
    while held.len() < count {
        held.extend(guest.busy.make((count - held.len()).min(OBJECTS_OF_CALL)).await?);
    }
    Ok(())
}

/// Calls on each connection in turn.
pub(super) async fn visit(nodes: &[Guest], duration: Duration) -> Result<String> {
    ensure!(!nodes.is_empty(), "there is no connection");
    calls(duration, nodes.iter().map(|node| &node.small).cycle()).await
}

/// Calls objects at random.
pub(super) async fn roam(held: &[Remote<dyn Desk>], duration: Duration) -> Result<String> {
    ensure!(!held.is_empty(), "there is no object");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let random = std::iter::from_fn(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        held.get((state % held.len() as u64) as usize)
    });
    calls(duration, random).await
}

/// One call after the other for so long: how many, nanoseconds, and CPU time of this process.
async fn calls<'a>(duration: Duration, desks: impl Iterator<Item = &'a Remote<dyn Desk>>) -> Result<String> {
    let (start, cpu, mut calls) = (Instant::now(), cpu_time(), 0_i64);
    for desk in desks {
        ensure!(desk.add(calls, 1).await? == calls + 1, "a wrong sum came back");
        calls += 1;
        if start.elapsed() >= duration {
            break;
        }
    }
    Ok(format!("{calls} {} {}", start.elapsed().as_nanos(), cpu_time().saturating_sub(cpu).as_nanos()))
}

/// What was measured among so many.
#[derive(Clone, Copy)]
struct Line {
    count: usize,
    rate: f64,
    server_cpu: f64,
    client_cpu: f64,
    /// Bytes of the server for each of them.
    bytes: f64,
    /// Microseconds of the server's CPU time in a second for each of them when nothing is called.
    idle_cpu: f64,
}

/// The server and the client, and what is in them without connections or objects.
struct Pair {
    server: Process,
    client: Process,
    memory: Option<u64>,
    millis: u64,
}

/// Both tables.
pub(super) fn study(quick: bool) -> Result<Findings> {
    let millis = if quick { 500 } else { 3000 };
    let wanted = if quick { 1000 } else { *CONNECTIONS.last().context("there are sizes")? };
    let allowed = allow_files(wanted as u64 + OTHER_FILES).saturating_sub(OTHER_FILES) as usize;
    let mut legend = vec![
        format!(
            "two processes on current_thread, {}",
            core_to_share().map_or_else(|| "not pinned".to_owned(), |core| format!("both pinned to core {core}"))
        ),
        format!(
            "one small call after the other for {millis} ms; CPU time is that of a call at the server, and at the client"
        ),
        "each connection is that of a node of its own; all nodes of the client are in one process".to_owned(),
        "bytes: growth of the server's resident memory, without the sockets in the kernel".to_owned(),
        "ratios are to the first line".to_owned(),
    ];
    if allowed < wanted {
        let fewer = format!("this system allows {allowed} connections: fewer than the {wanted} wanted");
        eprintln!("warning: {fewer}");
        legend.push(fewer);
    }
    let sizes = |all: &[usize], most: usize| all.iter().map(|size| *size.min(&most)).collect::<Vec<_>>();
    let mut connections = sizes(&CONNECTIONS, wanted.min(allowed));
    connections.dedup();
    let objects = sizes(&OBJECTS, if quick { 100_000 } else { 1_000_000 });
    let bar = bar(connections.len() + objects.len())?;
    let mut tables = Vec::new();
    for (sizes, what, grow, work) in
        [(connections, "connections", "connect", "visit"), (objects, "objects", "hold", "roam")]
    {
        let mut pair = Pair::start(millis)?;
        let mut lines = Vec::new();
        for count in sizes {
            bar.set_message(format!("{} {what}", number(count as f64, 0)));
            lines.push(pair.measure(count, grow, work)?);
            bar.inc(1);
        }
        tables.push(table(what, &lines));
    }
    bar.finish_and_clear();
    let titles = ["Connections, called in turn", "Objects that a client holds, called at random"];
    Ok(Findings { title: "Scale", legend, sections: titles.into_iter().zip(tables).collect() })
}

impl Pair {
    fn start(millis: u64) -> Result<Self> {
        let core = core_to_share();
        let mut server = start(&["host".to_owned()], core)?;
        let args = ["guest".to_owned(), format!("--endpoint={}", server.expect("ready")?)];
        let mut client = start(&args, core)?;
        client.expect("ready")?;
        let memory = resident(&server);
        Ok(Self { server, client, memory, millis })
    }

    fn measure(&mut self, count: usize, grow: &str, work: &str) -> Result<Line> {
        self.client.tell(&format!("{grow} {count}"))?;
        let grown = self.client.expect(if grow == "connect" { "connected" } else { "held" })?;
        ensure!(grown.parse() == Ok(count), "{grown} instead of {count}");
        let memory = self.memory.zip(resident(&self.server));
        let bytes = memory.map_or(f64::NAN, |(before, after)| (after as f64 - before as f64) / count as f64);
        let (idle, idle_start) = (cpu(&mut self.server)?, Instant::now());
        std::thread::sleep(Duration::from_millis(self.millis));
        let cpu_before = cpu(&mut self.server)?;
        let idle_cpu = micros(cpu_before.saturating_sub(idle)) / idle_start.elapsed().as_secs_f64() / count as f64;
        self.client.tell(&format!("{work} {}", self.millis))?;
        let done = self.client.expect(work)?;
        let server_cpu = cpu(&mut self.server)?.saturating_sub(cpu_before);
        let numbers: Vec<u64> = done.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [calls, took, client_cpu] = numbers[..] else { bail!("no calls: `{done}`") };
        let (calls, nanos) = (calls as f64, Duration::from_nanos);
        Ok(Line {
            count,
            rate: calls / nanos(took).as_secs_f64(),
            server_cpu: micros(server_cpu) / calls,
            client_cpu: micros(nanos(client_cpu)) / calls,
            bytes,
            idle_cpu,
        })
    }
}

fn table(what: &str, lines: &[Line]) -> Table {
    let headers = [what, "calls/s", "server CPU µs/call", "ratio", "client CPU µs/call", "ratio", "server bytes each"];
    let mut table = Table::new(headers.into_iter().chain(["idle server CPU µs/s each"]), 0);
    let Some(first) = lines.first() else { return table };
    for line in lines {
        let ratio = |of: fn(&Line) -> f64| number(of(line) / of(first), 2);
        table.push(vec![
            number(line.count as f64, 0),
            number(line.rate, 0),
            number(line.server_cpu, 2),
            ratio(|line| line.server_cpu),
            number(line.client_cpu, 2),
            ratio(|line| line.client_cpu),
            number(line.bytes, 0),
            number(line.idle_cpu, 2),
        ]);
    }
    table
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
