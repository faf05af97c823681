//! What was measured, in all rounds.

use crate::{peers::Peer, plan::Turn, row::Flavour};

/// One peer's numbers of one round; NaN where there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    /// Calls, or megabytes, a second.
    pub(crate) rate: f64,
    /// Latencies, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// What the latencies of some rows are compared with, in microseconds.
    pub(crate) base: f64,
    /// CPU time of a call, in microseconds.
    pub(crate) client_cpu: f64,
    pub(crate) server_cpu: f64,
    /// Resident memory of the server after the round.
    pub(crate) server_mib: f64,
    /// Of each object held.
    pub(crate) server_bytes: f64,
    pub(crate) client_bytes: f64,
}

impl Numbers {
    pub(crate) const NONE: Self = Self {
        rate: f64::NAN,
        p50: f64::NAN,
        p99: f64::NAN,
        p999: f64::NAN,
        base: f64::NAN,
        client_cpu: f64::NAN,
        server_cpu: f64::NAN,
        server_mib: f64::NAN,
        server_bytes: f64::NAN,
        client_bytes: f64::NAN,
    };
}

/// What was measured, in all rounds, and what was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    /// In the order of the first round.
    turns: Vec<(Turn, Vec<(usize, Numbers)>)>,
    /// Why somebody is missing.
    pub(crate) notes: Vec<String>,
}

impl Results {
    pub(crate) fn add(&mut self, turn: Turn, round: usize, numbers: Numbers) {
        match self.turns.iter_mut().find(|(other, _)| *other == turn) {
            Some((_, rounds)) => rounds.push((round, numbers)),
            None => self.turns.push((turn, vec![(round, numbers)])),
        }
    }

    pub(crate) fn turns(&self) -> impl Iterator<Item = Turn> {
        self.turns.iter().map(|(turn, _)| *turn)
    }

    /// The peers that were measured, in the order of their definition.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        use clap::ValueEnum;
        let all = Peer::value_variants().iter().copied();
        all.filter(|peer| self.turns().any(|turn| turn.peer == *peer)).collect()
    }

    /// The median over the rounds; NaN where there is none.
    pub(crate) fn median(&self, turn: Turn, number: impl Fn(&Numbers) -> f64) -> f64 {
        median(self.rounds(turn).iter().map(|(_, numbers)| number(numbers)))
    }

    /// The median of the ratios of two in the same round.
    pub(crate) fn ratio(&self, turn: Turn, to: Turn, number: impl Fn(&Numbers) -> f64) -> f64 {
        let others = self.rounds(to);
        let ratios = self.rounds(turn).iter().filter_map(|(round, numbers)| {
            let (_, other) = others.iter().find(|(other, _)| other == round)?;
            Some(number(numbers) / number(other))
        });
        median(ratios)
    }

    /// The ratio to a peer at the same work; native programs stand beside the current-thread runtime.
    pub(crate) fn ratio_to(&self, turn: Turn, peer: Peer, number: impl Fn(&Numbers) -> f64) -> f64 {
        let flavour = if peer.is_native() { Flavour::CurrentThread } else { turn.flavour };
        self.ratio(turn, Turn { peer, flavour, ..turn }, number)
    }

    fn rounds(&self, turn: Turn) -> &[(usize, Numbers)] {
        self.turns.iter().find(|(other, _)| *other == turn).map_or(&[], |(_, rounds)| rounds)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median([f64::NAN, 1.0].into_iter()), 1.0);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let turn = |peer| Turn { row: Row::Callers64, flavour: Flavour::CurrentThread, peer };
        let mut results = Results::default();
        // The machine was twice as fast in the second round, for both; rmi had no third.
        for (round, (floor, rmi)) in [(100.0, 50.0), (200.0, 100.0), (900.0, f64::NAN)].into_iter().enumerate() {
            results.add(turn(Peer::Floor), round, Numbers { rate: floor, ..Numbers::NONE });
            results.add(turn(Peer::Rmi), round, Numbers { rate: rmi, ..Numbers::NONE });
        }
        assert_eq!(results.median(turn(Peer::Rmi), |numbers| numbers.rate), 75.0);
        assert_eq!(results.ratio_to(turn(Peer::Rmi), Peer::Floor, |numbers| numbers.rate), 0.5);
        assert!(results.ratio_to(turn(Peer::Rmi), Peer::Java, |numbers| numbers.rate).is_nan());
        assert_eq!(results.peers(), [Peer::Floor, Peer::Rmi]);
    }

    #[test]
    fn native_programs_stand_beside_the_current_thread_runtime() {
        let turn = |flavour, peer| Turn { row: Row::Callers64, flavour, peer };
        let mut results = Results::default();
        let of_rate = |rate| Numbers { rate, ..Numbers::NONE };
        results.add(turn(Flavour::CurrentThread, Peer::Java), 0, of_rate(10.0));
        results.add(turn(Flavour::MultiThread, Peer::Rmi), 0, of_rate(40.0));
        assert_eq!(results.ratio_to(turn(Flavour::MultiThread, Peer::Rmi), Peer::Java, |numbers| numbers.rate), 4.0);
    }
}
