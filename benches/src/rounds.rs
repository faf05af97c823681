//! Several rounds, the peers side by side in each.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    load::Sample,
    machine::core_to_share,
    peers::Peer,
    process::Process,
    row::{Flavour, Row, Work, name},
};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rounds: 7, warm_up: Duration::from_millis(500), measured: Duration::from_millis(2000) };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, warm_up: Duration::from_millis(100), measured: Duration::from_millis(400) };
}

/// Medians over the rounds, of one peer at one kind of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) row: Row,
    pub(crate) flavour: Flavour,
    pub(crate) peer: Peer,
    /// Calls, or megabytes, a second.
    pub(crate) rate: f64,
    /// Of the floor's rate in the same round.
    pub(crate) of_floor: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    /// Client and server together.
    pub(crate) cpu_micros_per_call: f64,
}

/// One peer's numbers of one round, in the units of [`Summary`].
#[derive(Clone, Copy, Debug)]
struct Measured {
    rate: f64,
    p50_micros: f64,
    p99_micros: f64,
    cpu_micros_per_call: f64,
}

/// Measures these rows on both flavours, with every peer.
pub(crate) fn measure(rows: &[Row], plan: Plan) -> Result<Vec<Summary>> {
    let flavours = Flavour::value_variants();
    let peers = Peer::value_variants();
    let places: Vec<_> = rows.iter().flat_map(|row| flavours.iter().map(|flavour| (*row, *flavour))).collect();
    let mut measured: Vec<Vec<Vec<Measured>>> = vec![vec![Vec::new(); peers.len()]; places.len()];
    let bar = ProgressBar::new((plan.rounds * places.len() * peers.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  ({eta} left)")?);
    for round in 0..plan.rounds {
        for ((row, flavour), of_place) in places.iter().zip(&mut measured) {
            let mut turns: Vec<_> = peers.iter().zip(of_place).collect();
            if round % 2 == 1 {
                turns.reverse(); // so that nobody always goes first
            }
            for (peer, of_peer) in turns {
                bar.set_message(format!("{}, {}, {}", row.title(), name(*flavour), name(*peer)));
                let numbers = once(*row, *flavour, *peer, plan)
                    .with_context(|| format!("{} on {}, {}", name(*peer), name(*flavour), row.title()))?;
                of_peer.push(numbers);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let summaries = places.iter().zip(&measured).flat_map(|((row, flavour), of_place)| {
        let floor = of_place.first().map_or(&[][..], Vec::as_slice);
        peers.iter().zip(of_place).map(|(peer, of_peer)| summarise(*row, *flavour, *peer, of_peer, floor))
    });
    Ok(summaries.collect())
}

/// One peer, one go: two fresh processes.
fn once(row: Row, flavour: Flavour, peer: Peer, plan: Plan) -> Result<Measured> {
    let mut common = vec![format!("--peer={}", name(peer)), format!("--flavour={}", name(flavour))];
    if row.is_pinned() {
        common.extend(core_to_share().map(|core| format!("--pin={core}")));
    }
    let mut server = Process::start([vec!["serve".to_owned()], common.clone()].concat())?;
    let url = server.expect("ready").context("the server")?;
    let mut args = vec!["call".to_owned(), format!("--row={}", name(row)), format!("--url={url}")];
    args.push(format!("--warm-up={}", plan.warm_up.as_millis()));
    args.push(format!("--measured={}", plan.measured.as_millis()));
    let mut client = Process::start([args, common].concat())?;
    client.expect("warm").context("the client")?;
    let cpu_before = server.cpu()?;
    client.tell("go")?;
    let sample = Sample::from_line(&client.expect("done").context("the client")?)?;
    let cpu = server.cpu()?.saturating_sub(cpu_before) + sample.cpu;
    let calls = sample.calls.max(1) as f64;
    let per_call = match row.work() {
        Work::Add => 1.0,
        Work::Echo(len) => len as f64 / 1e6,
    };
    Ok(Measured {
        rate: calls * per_call / sample.took.as_secs_f64(),
        p50_micros: micros(sample.p50),
        p99_micros: micros(sample.p99),
        cpu_micros_per_call: micros(cpu) / calls,
    })
}

fn summarise(row: Row, flavour: Flavour, peer: Peer, rounds: &[Measured], floor: &[Measured]) -> Summary {
    Summary {
        row,
        flavour,
        peer,
        rate: median(rounds.iter().map(|round| round.rate)),
        of_floor: median(rounds.iter().zip(floor).map(|(round, floor)| round.rate / floor.rate)),
        p50_micros: median(rounds.iter().map(|round| round.p50_micros)),
        p99_micros: median(rounds.iter().map(|round| round.p99_micros)),
        cpu_micros_per_call: median(rounds.iter().map(|round| round.cpu_micros_per_call)),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let measured = |rate| Measured { rate, p50_micros: 1.0, p99_micros: 2.0, cpu_micros_per_call: 3.0 };
        // The machine was twice as fast in the second round, for both.
        let (floor, other) = ([measured(100.0), measured(200.0)], [measured(50.0), measured(100.0)]);
        let summary = summarise(Row::Callers64, Flavour::CurrentThread, Peer::Floor, &other, &floor);
        assert_eq!((summary.rate, summary.of_floor), (75.0, 0.5));
    }
}
