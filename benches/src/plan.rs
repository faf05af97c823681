//! How long, how often, and what is measured.

use std::time::Duration;

use clap::ValueEnum;

use crate::{
    peers::Peer,
    row::{Flavour, Group, Row},
};

/// How long, how often, and what is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rows: Vec<Row>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) rounds: usize,
    warm_up: Duration,
    measured: Duration,
    /// How many objects a client holds.
    pub(crate) held: u64,
    /// Whether what is slow and told by others is left out.
    is_brief: bool,
}

/// Less says nothing about a JVM.
const JVM_WARM_UP_MIN: Duration = Duration::from_millis(400);

/// One peer's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) row: Row,
    pub(crate) flavour: Flavour,
    pub(crate) peer: Peer,
}

impl Plan {
    /// Whatever is named, or all of it.
    pub(crate) fn full(rows: &[Row], peers: &[Peer]) -> Self {
        Self {
            rows: or_all(rows),
            peers: or_all(peers),
            rounds: 5,
            warm_up: Duration::from_millis(300),
            measured: Duration::from_millis(1500),
            held: 1_000_000,
            is_brief: false,
        }
    }

    /// All in less than a minute; what is named is not left out.
    pub(crate) fn quick(rows: &[Row], peers: &[Peer]) -> Self {
        Self {
            rounds: 2,
            warm_up: Duration::from_millis(30),
            measured: Duration::from_millis(150),
            held: 100_000,
            is_brief: rows.is_empty() && peers.is_empty(),
            ..Self::full(rows, peers)
        }
    }

    pub(crate) fn measured(&self, row: Row) -> Duration {
        self.measured.max(row.measured_min())
    }

    pub(crate) fn warm_up(&self, peer: Peer) -> Duration {
        // A JVM compiles what has run for a while.
        if peer == Peer::Java { self.measured * 2 + JVM_WARM_UP_MIN } else { self.warm_up }
    }

    /// The turns of a round, peers side by side.
    pub(crate) fn turns(&self, round: usize) -> Vec<Turn> {
        let mut turns = Vec::new();
        for row in &self.rows {
            for flavour in Flavour::value_variants() {
                let of_peer = |peer: &Peer| Turn { row: *row, flavour: *flavour, peer: *peer };
                let mut side_by_side: Vec<_> =
                    self.peers.iter().map(of_peer).filter(|turn| self.includes(*turn, round)).collect();
                if round % 2 == 1 {
                    side_by_side.reverse(); // so that nobody always goes first
                }
                turns.extend(side_by_side);
            }
        }
        turns
    }

    fn includes(&self, turn: Turn, round: usize) -> bool {
        let Turn { row, flavour, peer } = turn;
        let is_first = round == 0;
        if !peer.supports(row, flavour) || (row.group() == Group::Held && !(is_first && is_single(flavour))) {
            return false; // memory is the same in every round, and on every runtime
        }
        if !self.is_brief {
            return true;
        }
        let is_small_calls = matches!(row, Row::OneCaller | Row::Callers64 | Row::Callers256);
        let is_for_all = matches!(row, Row::OneCaller | Row::Callers64 | Row::Echo1MiB | Row::Objects | Row::Callbacks);
        match peer {
            Peer::Floor | Peer::Rmi => is_first || is_small_calls,
            Peer::Ice | Peer::OmniOrb | Peer::Java => is_first && is_for_all,
            Peer::Tarpc if is_small_calls => true,
            _ => is_single(flavour) && (is_first || is_small_calls),
        }
    }

    /// What is left out, in words.
    pub(crate) fn omissions(&self) -> Option<&'static str> {
        self.is_brief.then_some(
            "quick: one round of most rows; on multi_thread only the floor, rmi and, with small calls, tarpc; \
             Java, whose JVM is still cold then, Ice and omniORB in five rows",
        )
    }

    /// A line of the legend.
    pub(crate) fn describe(&self) -> String {
        let (rounds, millis) = (self.rounds, self.measured.as_millis());
        format!("medians of {rounds} rounds of {millis} ms each, the peers in turns; two processes over loopback")
    }
}

const fn is_single(flavour: Flavour) -> bool {
    matches!(flavour, Flavour::CurrentThread)
}

fn or_all<T: ValueEnum + Clone>(named: &[T]) -> Vec<T> {
    if named.is_empty() { T::value_variants().to_vec() } else { named.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_always_goes_first() {
        let plan = Plan::full(&[Row::Callers64], &[Peer::Floor, Peer::Rmi, Peer::Java]);
        let peers = |round| plan.turns(round).iter().map(|turn| turn.peer).collect::<Vec<_>>();
        assert_eq!(peers(0), [Peer::Floor, Peer::Rmi, Peer::Java, Peer::Floor, Peer::Rmi]);
        assert_eq!(peers(1), [Peer::Java, Peer::Rmi, Peer::Floor, Peer::Rmi, Peer::Floor]);
    }

    #[test]
    fn what_is_named_is_measured_quickly_too() {
        let named = Plan::quick(&[Row::Echo16MiB], &[]);
        assert!(named.turns(1).iter().any(|turn| turn.peer == Peer::OmniOrb));
        assert!(named.omissions().is_none());
        let all = Plan::quick(&[], &[]);
        assert!(!all.turns(1).iter().any(|turn| turn.peer == Peer::OmniOrb));
        assert!(all.omissions().is_some());
    }
}
