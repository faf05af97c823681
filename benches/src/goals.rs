//! What rmi is to reach.

use rmi_harness::number;

use crate::{
    peers::Peer,
    plan::Turn,
    results::Results,
    row::{Flavour, Row},
};

/// One thing that rmi is to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    row: Row,
    flavour: Flavour,
    what: What,
    bound: f64,
}

/// What is compared with the bound.
#[derive(Clone, Copy, Debug)]
enum What {
    /// At least so many times the rate of a peer.
    Times(Peer),
    /// At least such a part of rmi's own rate at another row.
    Part(Row),
    /// At most so many microseconds of CPU time a call, client and server together.
    Cpu,
    /// At most so many times the p99 on the idle connection, or two milliseconds.
    Beside,
    /// At most so many bytes an object at the server.
    ServerBytes,
    /// At most so many bytes an object at the client.
    ClientBytes,
    /// At most so many round trips.
    RoundTrips,
}

/// How it stands with a goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) work: &'static str,
    pub(crate) flavour: Flavour,
    pub(crate) goal: String,
    pub(crate) measured: String,
    /// `None` where it was not measured.
    pub(crate) is_reached: Option<bool>,
}

/// A p99 that is good enough beside any transfer, in microseconds.
const BESIDE_P99_MAX: f64 = 2000.0;

use Flavour::{CurrentThread, MultiThread};
use Peer::{Capnp, Floor, Ice, Java, OmniOrb, Remoc, Tarpc, Tonic};

/// Every goal: the row, the runtime, what is measured, the bound.
pub(crate) const GOALS: &[Goal] = &[
    goal(Row::OneCaller, CurrentThread, What::Times(Floor), 0.90),
    goal(Row::OneCaller, CurrentThread, What::Times(Java), 1.0),
    goal(Row::OneCaller, CurrentThread, What::Times(Capnp), 1.0),
    goal(Row::OneCaller, CurrentThread, What::Times(Tarpc), 1.0),
    goal(Row::OneCaller, CurrentThread, What::Times(Ice), 1.0),
    goal(Row::OneCaller, CurrentThread, What::Times(Tonic), 1.0),
    goal(Row::OneCaller, CurrentThread, What::Times(Remoc), 1.0),
    goal(Row::Callers64, CurrentThread, What::Times(Floor), 0.60),
    goal(Row::Callers64, CurrentThread, What::Times(Tarpc), 4.5),
    goal(Row::Callers64, CurrentThread, What::Times(Tonic), 15.0),
    goal(Row::Callers64, CurrentThread, What::Times(Java), 25.0),
    goal(Row::Callers256, CurrentThread, What::Times(Floor), 0.60),
    goal(Row::Callers256, CurrentThread, What::Times(Tarpc), 6.0),
    goal(Row::Callers256, CurrentThread, What::Times(Tonic), 15.0),
    goal(Row::Callers256, CurrentThread, What::Times(Java), 40.0),
    goal(Row::Callers256, CurrentThread, What::Cpu, 0.9),
    goal(Row::Callers64, MultiThread, What::Times(Floor), 1.0),
    goal(Row::Callers64, MultiThread, What::Times(Tarpc), 3.0),
    goal(Row::Callers256, MultiThread, What::Times(Floor), 1.0),
    goal(Row::Callers256, MultiThread, What::Times(Tarpc), 5.0),
    goal(Row::Connections100, CurrentThread, What::Times(Floor), 0.60),
    goal(Row::Connections100, CurrentThread, What::Times(Tarpc), 1.5),
    goal(Row::Echo64KiB, CurrentThread, What::Times(Floor), 0.85),
    goal(Row::Echo64KiB, CurrentThread, What::Times(OmniOrb), 1.0),
    goal(Row::Echo1MiB, CurrentThread, What::Times(Floor), 0.85),
    goal(Row::Echo1MiB, CurrentThread, What::Times(OmniOrb), 1.0),
    goal(Row::Echo16MiB, CurrentThread, What::Times(Floor), 0.85),
    goal(Row::Echo16MiB, CurrentThread, What::Times(OmniOrb), 1.0),
    goal(Row::EchoStructs, CurrentThread, What::Times(Floor), 0.90),
    goal(Row::BesideTransfer, CurrentThread, What::Beside, 5.0),
    goal(Row::Objects, CurrentThread, What::Part(Row::OneCaller), 0.45),
    goal(Row::Objects, CurrentThread, What::Times(Capnp), 1.0),
    goal(Row::Objects, CurrentThread, What::Times(Ice), 1.0),
    goal(Row::Objects, CurrentThread, What::Times(Java), 1.0),
    goal(Row::Callbacks, CurrentThread, What::Times(Floor), 0.90),
    goal(Row::HeldObjects, CurrentThread, What::ServerBytes, 200.0),
    goal(Row::HeldObjects, CurrentThread, What::ClientBytes, 250.0),
    goal(Row::Release, CurrentThread, What::RoundTrips, 2.0),
];

const fn goal(row: Row, flavour: Flavour, what: What, bound: f64) -> Goal {
    Goal { row, flavour, what, bound }
}

impl Goal {
    pub(crate) fn standing(&self, results: &Results) -> Standing {
        let Self { row, flavour, what, bound } = *self;
        let turn = Turn { row, flavour, peer: Peer::Rmi };
        let value = match what {
            What::Times(peer) => results.ratio_to(turn, peer, |numbers| numbers.rate),
            What::Part(row) => results.ratio(turn, Turn { row, ..turn }, |numbers| numbers.rate),
            What::Cpu => results.median(turn, |numbers| numbers.client_cpu + numbers.server_cpu),
            What::Beside => results.median(turn, |numbers| numbers.p99 / numbers.base),
            What::ServerBytes => results.median(turn, |numbers| numbers.server_bytes),
            What::ClientBytes => results.median(turn, |numbers| numbers.client_bytes),
            What::RoundTrips => results.median(turn, |numbers| numbers.p50 / numbers.base),
        };
        let p99 = results.median(turn, |numbers| numbers.p99);
        let is_reached = match what {
            What::Times(_) | What::Part(_) => value >= bound,
            What::Beside => value <= bound || p99 <= BESIDE_P99_MAX,
            What::Cpu | What::ServerBytes | What::ClientBytes | What::RoundTrips => value <= bound,
        };
        let measured = match what {
            What::Times(_) | What::Part(_) => format!("{} ×", number(value, 2)),
            What::Cpu => format!("{} µs", number(value, 2)),
            What::Beside => format!("{} ×, {} ms", number(value, 1), number(p99 / 1000.0, 2)),
            What::ServerBytes | What::ClientBytes => format!("{} bytes", number(value, 0)),
            What::RoundTrips => number(value, 2),
        };
        Standing {
            work: row.title(),
            flavour,
            goal: self.describe(),
            measured: if value.is_nan() { number(value, 0) } else { measured },
            is_reached: (!value.is_nan()).then_some(is_reached),
        }
    }

    fn describe(&self) -> String {
        let bound = self.bound;
        match self.what {
            What::Times(Floor) => format!("≥ {bound:.2} × the floor"),
            What::Times(peer) if bound <= 1.0 => format!("ahead of {}", peer.title()),
            What::Times(peer) => format!("≥ {bound} × {}", peer.title()),
            What::Part(row) => format!("≥ {bound:.2} × {}", row.title()),
            What::Cpu => format!("≤ {bound} µs of CPU a call, client + server"),
            What::Beside => format!("p99 ≤ {bound} × idle, or ≤ {} ms", BESIDE_P99_MAX / 1000.0),
            What::ServerBytes => format!("≤ {bound} bytes each at the server, beyond the object"),
            What::ClientBytes => format!("≤ {bound} bytes each at the client"),
            What::RoundTrips => format!("≤ {bound} round trips"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Numbers;

    fn standing(goal: Goal, turns: &[(Row, Peer, Numbers)]) -> (String, Option<bool>) {
        let mut results = Results::default();
        for (row, peer, numbers) in turns {
            results.add(Turn { row: *row, flavour: CurrentThread, peer: *peer }, 0, *numbers);
        }
        let standing = goal.standing(&results);
        (standing.measured, standing.is_reached)
    }

    #[test]
    fn ratios_are_to_be_large() {
        let of_rate = |rate| Numbers { rate, ..Numbers::NONE };
        let goal = goal(Row::Callers64, CurrentThread, What::Times(Tarpc), 4.5);
        let turns = [(Row::Callers64, Peer::Rmi, of_rate(45.0)), (Row::Callers64, Tarpc, of_rate(10.0))];
        assert_eq!(standing(goal, &turns), ("4.50 ×".to_owned(), Some(true)));
        let turns = [(Row::Callers64, Peer::Rmi, of_rate(44.0)), (Row::Callers64, Tarpc, of_rate(10.0))];
        assert_eq!(standing(goal, &turns), ("4.40 ×".to_owned(), Some(false)));
        assert_eq!(standing(goal, &[]), ("–".to_owned(), None));
    }

    #[test]
    fn costs_are_to_be_small() {
        let goal = goal(Row::Callers256, CurrentThread, What::Cpu, 0.9);
        let cost =
            |server_cpu| [(Row::Callers256, Peer::Rmi, Numbers { client_cpu: 0.5, server_cpu, ..Numbers::NONE })];
        assert_eq!(standing(goal, &cost(0.25)), ("0.75 µs".to_owned(), Some(true)));
        assert_eq!(standing(goal, &cost(0.75)), ("1.25 µs".to_owned(), Some(false)));
    }

    #[test]
    fn a_short_wait_beside_a_transfer_is_enough_however_short_the_idle_one() {
        let goal = goal(Row::BesideTransfer, CurrentThread, What::Beside, 5.0);
        let waits = |p99| [(Row::BesideTransfer, Peer::Rmi, Numbers { p99, base: 100.0, ..Numbers::NONE })];
        assert_eq!(standing(goal, &waits(1900.0)).1, Some(true));
        assert_eq!(standing(goal, &waits(2100.0)).1, Some(false));
    }
}
