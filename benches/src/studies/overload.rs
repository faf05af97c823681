//! What many calls at once do to a server that is slow.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rmi::ErrorKind;
use rmi_harness::{Table, forget_peak, number, peak, resident};
use tokio::task::JoinSet;

use super::{Findings, bar, course, guest::Guest, start};

/// How long a call takes at the server.
const CALL_MILLIS: u64 = 10;
/// How long counts may take to fall to nothing after the last call has ended.
const LEFT_AFTER_MAX: Duration = Duration::from_secs(10);

/// What bounds a flood.
struct Bounds {
    title: &'static str,
    calls: Option<u32>,
    waiting_calls: Option<u32>,
    call_timeout: Option<u64>,
}

const BOUNDS: [Bounds; 4] = [
    Bounds { title: "defaults", calls: None, waiting_calls: None, call_timeout: None },
    Bounds { title: "64 at once, all others wait", calls: Some(64), waiting_calls: None, call_timeout: None },
    Bounds { title: "64 at once, 1,000 wait", calls: Some(64), waiting_calls: Some(1000), call_timeout: None },
    Bounds { title: "64 at once, 5 s for a call", calls: Some(64), waiting_calls: None, call_timeout: Some(5000) },
];

/// How the calls of a flood ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    answered: u64,
    overloaded: u64,
    timed_out: u64,
    other: u64,
    took_millis: u64,
    /// Calls that the client's node counts when all have ended.
    left: u64,
}

/// Starts so many calls at once and waits for each; the result is a line for the parent.
pub(super) async fn flood(guest: &Guest, calls: usize, millis: u64) -> Result<String> {
    let (start, mut tasks, mut ends) = (Instant::now(), JoinSet::new(), Ends::default());
    for _ in 0..calls {
        let desk = guest.busy.clone();
        tasks.spawn(async move { desk.rest(millis).await });
    }
    while let Some(end) = tasks.join_next().await {
        let count = match end?.map_err(|error| error.kind()) {
            Ok(()) => &mut ends.answered,
            Err(ErrorKind::Overloaded) => &mut ends.overloaded,
            Err(ErrorKind::DeadlineExceeded) => &mut ends.timed_out,
            Err(_) => &mut ends.other,
        };
        *count += 1;
    }
    ends.took_millis = start.elapsed().as_millis() as u64;
    let ended = Instant::now();
    while guest.node.stats().calls_in_flight > 0 && ended.elapsed() < LEFT_AFTER_MAX {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ends.left = guest.node.stats().calls_in_flight as u64;
    Ok(ends.to_line())
}

impl Ends {
    fn to_line(self) -> String {
        let Self { answered, overloaded, timed_out, other, took_millis, left } = self;
        format!("{answered} {overloaded} {timed_out} {other} {took_millis} {left}")
    }

    fn from_line(line: &str) -> Result<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [answered, overloaded, timed_out, other, took_millis, left] = numbers[..] else {
            bail!("no flood: `{line}`")
        };
        Ok(Self { answered, overloaded, timed_out, other, took_millis, left })
    }
}

/// Floods a fresh server for each set of bounds.
pub(super) fn study(quick: bool) -> Result<Findings> {
    let calls = if quick { 10_000 } else { 100_000 };
    let headers = ["bounds", "answered", "overloaded", "timed out", "other", "took s", "left at client, server"];
    let headers = headers.into_iter().chain(["client MiB: before / peak / after", "server MiB: before / peak / after"]);
    let mut table = Table::new(headers, 1);
    let bar = bar(BOUNDS.len())?;
    for bounds in &BOUNDS {
        bar.set_message(bounds.title);
        table.push(one(bounds, calls)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let legend = vec![
        format!(
            "{} calls started at once by one client, each of {CALL_MILLIS} ms at the server",
            number(calls as f64, 0)
        ),
        "`left` are the calls in flight that each node counts when every call has ended".to_owned(),
        "the client's memory includes a task of its own for each call".to_owned(),
    ];
    Ok(Findings { title: "Overload", legend, sections: vec![("Calls at once, by what bounds them", table)] })
}

fn one(bounds: &Bounds, calls: u64) -> Result<Vec<String>> {
    let mut args = vec!["host".to_owned()];
    args.extend(bounds.calls.map(|calls| format!("--calls={calls}")));
    let mut server = start(&args, None)?;
    let mut args = vec!["guest".to_owned(), format!("--endpoint={}", server.expect("ready")?)];
    args.extend(bounds.waiting_calls.map(|calls| format!("--waiting-calls={calls}")));
    args.extend(bounds.call_timeout.map(|millis| format!("--call-timeout={millis}")));
    let mut client = start(&args, None)?;
    client.expect("ready")?;
    let (client_before, server_before) = (resident(&client), resident(&server));
    forget_peak(&client);
    forget_peak(&server);
    client.tell(&format!("flood {calls} {CALL_MILLIS}"))?;
    let ends = Ends::from_line(&client.expect("flood")?)?;
    let ended = ends.answered + ends.overloaded + ends.timed_out + ends.other;
    ensure!(ended == calls, "{ended} of {calls} calls ended");
    server.tell("left")?;
    let left = server.expect("left")?;
    let left = left.split(' ').next().unwrap_or("?");
    let counts = [ends.answered, ends.overloaded, ends.timed_out, ends.other];
    let counts = counts.map(|count| number(count as f64, 0));
    let mut cells = vec![bounds.title.to_owned()];
    cells.extend(counts);
    cells.push(number(ends.took_millis as f64 / 1000.0, 2));
    cells.push(format!("{}, {left}", ends.left));
    cells.push(course(client_before, peak(&client), resident(&client)));
    cells.push(course(server_before, peak(&server), resident(&server)));
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_survive_the_pipe() {
        let ends = Ends { answered: 1, overloaded: 2, timed_out: 3, other: 4, took_millis: 5, left: 6 };
        assert_eq!(Ends::from_line(&ends.to_line()).unwrap(), ends);
        assert!(Ends::from_line("1 2").is_err());
    }
}
