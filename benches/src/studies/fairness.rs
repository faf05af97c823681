//! What disturbances do to small calls to another object.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use clap::ValueEnum;
use rmi::Remote;
use rmi_harness::{Process, Table, forget_peak, number, peak, resident};
use tokio::{sync::Notify, task::JoinSet};

use super::{
    Findings, bar, course,
    desk::Desk,
    guest::Small,
    program::{go_on, stop},
    start,
};
use crate::row::{Flavour, name};

/// What one client does to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Disturbance {
    /// Large calls, one after the other.
    Transfer,
    /// Handlers that sleep as they should, many at once.
    Slow,
    /// A handler that blocks its thread, again and again.
    Blocked,
    /// Large replies, which nobody reads.
    Deaf,
}

/// What a disturbing task did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) calls: u64,
    pub(super) errors: u64,
}

const TRANSFER_LEN: usize = if cfg!(debug_assertions) { 4 << 20 } else { 64 << 20 };
const SLOW_CALLS: usize = 64;
const SLOW_MILLIS: u64 = 1000;
const BLOCKED_MILLIS: u64 = 50;
const DEAF_CALLS: usize = 2000;
const DEAF_LEN: usize = 1 << 20;

impl Disturbance {
    const fn title(self) -> &'static str {
        match self {
            Self::Transfer => "calls that echo 64 MiB",
            Self::Slow => "64 handlers sleep 1 s",
            Self::Blocked => "a handler blocks for 50 ms",
            Self::Deaf => "2,000 replies of 1 MiB not read",
        }
    }

    /// How many callers call at once; whether each calls once only.
    const fn callers(self) -> usize {
        match self {
            Self::Transfer | Self::Blocked => 1,
            Self::Slow => SLOW_CALLS,
            Self::Deaf => DEAF_CALLS,
        }
    }

    async fn call(self, desk: &Remote<dyn Desk>, body: &Bytes) -> bool {
        match self {
            Self::Transfer => desk.echo(body.clone()).await.is_ok_and(|back| back.len() == body.len()),
            Self::Slow => desk.rest(SLOW_MILLIS).await.is_ok(),
            Self::Blocked => desk.block(BLOCKED_MILLIS).await.is_ok(),
            Self::Deaf => desk.fill(DEAF_LEN).await.is_ok_and(|back| back.len() == DEAF_LEN),
        }
    }
}

/// Starts a disturbance of so long; returns when it is at work.
pub(super) async fn disturb(
    kind: Disturbance,
    desk: &Remote<dyn Desk>,
    duration: Duration,
    tasks: &mut JoinSet<Told>,
) -> Result<()> {
    let end = Instant::now() + duration;
    let body = Bytes::from(vec![7; if kind == Disturbance::Transfer { TRANSFER_LEN } else { 0 }]);
    let answered = Arc::new(Notify::new());
    for _ in 0..kind.callers() {
        let (desk, body, answered) = (desk.clone(), body.clone(), answered.clone());
        tasks.spawn(async move {
            let mut told = Told::default();
            let mut flow = ControlFlow::Continue(());
            while flow.is_continue() {
                told.calls += 1;
                told.errors += u64::from(!kind.call(&desk, &body).await);
                answered.notify_one();
                let is_over = kind == Disturbance::Deaf || Instant::now() >= end;
                flow = if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            }
            told
        });
    }
    if kind == Disturbance::Deaf {
        // It is to be stopped with its replies on their way.
        answered.notified().await;
    } else {
        // Long enough for the first to arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// What was measured at one place, or why not.
struct Line {
    flavour: Flavour,
    kind: Disturbance,
    place: &'static str,
    idle: Small,
    busy: Small,
    memory: String,
    disturbing: String,
}

/// Disturbs and measures.
pub(super) fn study(quick: bool) -> Result<Findings> {
    let millis = if quick { 1000 } else { 4000 };
    let flavours = Flavour::value_variants();
    let kinds = Disturbance::value_variants();
    let bar = bar(flavours.len() * kinds.len())?;
    let mut lines = Vec::new();
    for flavour in flavours {
        for kind in kinds {
            bar.set_message(format!("{}, {}", kind.title(), name(*flavour)));
            lines.extend(one(*flavour, *kind, millis)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let headers = ["disturbance", "runtime", "where", "p50 µs", "p99 µs", "idle p99 µs", "p99 ratio", "errors"];
    let headers = headers.into_iter().chain(["disturbing calls", "server MiB: before / peak / after"]);
    let mut table = Table::new(headers, 3);
    lines.iter().for_each(|line| table.push(line.cells()));
    let legend = vec![
        format!("small calls one after the other, a millisecond apart, for {millis} ms, to another object than the disturbance"),
        "the ratio is to the p99 of the same calls on the same connection just before, undisturbed".to_owned(),
        "on current_thread a handler that blocks stops everything for its time: such a call waits up to 50 ms by nature".to_owned(),
        "replies that nobody reads: the client is stopped when the first has come, and goes on afterwards; it can measure nothing itself".to_owned(),
        "memory is resident; its peak is that of the disturbed time and of what follows until all is answered".to_owned(),
    ];
    Ok(Findings { title: "Fairness", legend, sections: vec![("Small calls beside a disturbance", table)] })
}

/// One disturbance on a fresh server, measured at both places.
fn one(flavour: Flavour, kind: Disturbance, millis: u64) -> Result<Vec<Line>> {
    let runtime = format!("--flavour={}", name(flavour));
    let mut server = start(&["host".to_owned(), runtime.clone()], None)?;
    let args = ["guest".to_owned(), format!("--endpoint={}", server.expect("ready")?), runtime];
    let (mut near, mut far) = (start(&args, None)?, start(&args, None)?);
    near.expect("ready")?;
    far.expect("ready")?;
    let mut lines = Vec::new();
    if kind != Disturbance::Deaf {
        lines.push(at("same connection", flavour, kind, millis, &server, &mut near, None)?);
    }
    lines.push(at("another process", flavour, kind, millis, &server, &mut near, Some(&mut far))?);
    Ok(lines)
}

/// Measures without and with, at the disturbing process or at another.
fn at(
    place: &'static str,
    flavour: Flavour,
    kind: Disturbance,
    millis: u64,
    server: &Process,
    near: &mut Process,
    mut far: Option<&mut Process>,
) -> Result<Line> {
    let measure = |near: &mut Process, far: &mut Option<&mut Process>| {
        let measuring = far.as_deref_mut().unwrap_or(near);
        measuring.tell(&format!("small {millis}"))?;
        Small::from_line(&measuring.expect("small")?)
    };
    let idle = measure(near, &mut far)?;
    let before = resident(server);
    forget_peak(server);
    near.tell(&format!("disturb {} {}", name(kind), millis + 200))?;
    near.expect("disturbs")?;
    if kind == Disturbance::Deaf {
        stop(near)?;
    }
    let busy = measure(near, &mut far)?;
    if kind == Disturbance::Deaf {
        go_on(near)?;
    }
    near.tell("calm")?;
    let calm = near.expect("calm")?;
    let most = peak(server);
    let disturbing = match calm.split_once(' ') {
        Some((calls, "0")) => calls.to_owned(),
        Some((calls, errors)) => format!("{calls}, {errors} failed"),
        None => calm,
    };
    let memory = course(before, most, resident(server));
    Ok(Line { flavour, kind, place, idle, busy, memory, disturbing })
}

impl Line {
    fn cells(&self) -> Vec<String> {
        let micros = |duration: Duration| number(duration.as_secs_f64() * 1e6, 1);
        vec![
            self.kind.title().to_owned(),
            name(self.flavour),
            self.place.to_owned(),
            micros(self.busy.p50),
            micros(self.busy.p99),
            micros(self.idle.p99),
            format!("{} ×", number(self.busy.p99.as_secs_f64() / self.idle.p99.as_secs_f64(), 1)),
            format!("{} of {}", self.busy.errors, number(self.busy.calls as f64, 0)),
            self.disturbing.clone(),
            self.memory.clone(),
        ]
    }
}
