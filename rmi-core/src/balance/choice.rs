//! Which member of a group a call goes to. Pure: counts, times and chance are given to it.

use crate::time::Time;

/// How the calls of a reference to a group are spread over its members.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// To the less busy of two members that chance picks, by the calls that this node has in flight
    /// towards each: a slow member gets fewer calls. The default.
    #[default]
    PowerOfTwoChoices,
    /// To one member after the other, in the order in which they joined.
    RoundRobin,
    /// All to one member, which chance picks, until it cannot be called; then to another.
    Sticky,
}

/// What a choice looks at.
pub(super) trait Candidate {
    /// Told apart by it from every other member that the group ever had.
    fn number(&self) -> u64;
    /// Calls towards it that are not over.
    fn in_flight(&self) -> usize;
    /// Until when it is avoided; a time that has passed where it is not.
    fn avoided_until(&self) -> Time;
}

/// What one reference remembers from call to call.
#[derive(Debug)]
pub(super) struct Chooser {
    balance: Balance,
    chance: fastrand::Rng,
    /// Whose turn it is.
    turn: usize,
    /// Whom it sticks to, by its number.
    stuck: Option<u64>,
}

impl Chooser {
    pub(super) const fn new(balance: Balance, chance: fastrand::Rng) -> Self {
        Self { balance, chance, turn: 0, stuck: None }
    }

    /// Whom the next call goes to: nobody who is avoided, unless all are; then to the one whose time is
    /// up first.
    pub(super) fn choose<'m, C: Candidate>(&mut self, members: &'m [C], now: Time) -> Option<&'m C> {
        let chosen = match self.balance {
            Balance::PowerOfTwoChoices => self.less_busy_of_two(members, now),
            Balance::RoundRobin => self.next_in_turn(members, now),
            Balance::Sticky => self.same_as_before(members, now),
        };
        chosen.or_else(|| members.iter().min_by_key(|member| member.avoided_until()))
    }

    fn less_busy_of_two<'m, C: Candidate>(&mut self, members: &'m [C], now: Time) -> Option<&'m C> {
        let count = open(members, now).count();
        if count < 2 {
            return open(members, now).next();
        }
        let one = self.chance.usize(..count);
        // Any other one.
        let other = (one + self.chance.usize(1..count)) % count;
        let (one, other) = (open(members, now).nth(one)?, open(members, now).nth(other)?);
        Some(if other.in_flight() < one.in_flight() { other } else { one })
    }

    fn next_in_turn<'m, C: Candidate>(&mut self, members: &'m [C], now: Time) -> Option<&'m C> {
        let begin = self.turn.checked_rem(members.len())?;
        let mut in_turn = members.iter().enumerate().cycle().skip(begin).take(members.len());
        let (at, chosen) = in_turn.find(|(_, member)| member.avoided_until() <= now)?;
        self.turn = at + 1;
        Some(chosen)
    }

    fn same_as_before<'m, C: Candidate>(&mut self, members: &'m [C], now: Time) -> Option<&'m C> {
        let same = open(members, now).find(|member| Some(member.number()) == self.stuck);
        let any = || open(members, now).nth(self.chance.usize(..open(members, now).count().max(1)));
        let chosen = same.or_else(any)?;
        self.stuck = Some(chosen.number());
        Some(chosen)
    }
}

/// Those who are not avoided.
fn open<C: Candidate>(members: &[C], now: Time) -> impl Iterator<Item = &C> {
    members.iter().filter(move |member| member.avoided_until() <= now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    struct Server {
        number: u64,
        in_flight: usize,
        avoided_until: Time,
    }

    impl Candidate for Server {
        fn number(&self) -> u64 {
            self.number
        }
        fn in_flight(&self) -> usize {
            self.in_flight
        }
        fn avoided_until(&self) -> Time {
            self.avoided_until
        }
    }

    const SEED: u64 = 1099;
    const ALL: [Balance; 3] = [Balance::PowerOfTwoChoices, Balance::RoundRobin, Balance::Sticky];

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    fn servers<const N: usize>(in_flight: [usize; N]) -> Vec<Server> {
        let server = |(number, in_flight)| Server { number, in_flight, avoided_until: Time::START };
        (0..).zip(in_flight).map(server).collect()
    }

    fn chooser(balance: Balance) -> Chooser {
        Chooser::new(balance, fastrand::Rng::with_seed(SEED))
    }

    /// How often each server is chosen in so many calls, none of which ends.
    fn spread(chooser: &mut Chooser, servers: &mut [Server], calls: usize) -> Vec<usize> {
        for _ in 0..calls {
            let chosen = chooser.choose(servers, at(1)).map(Candidate::number).expect("there is one");
            servers.iter_mut().filter(|server| server.number == chosen).for_each(|server| server.in_flight += 1);
        }
        servers.iter().map(|server| server.in_flight).collect()
    }

    #[test]
    fn nobody_is_chosen_of_nobody_and_one_of_one() {
        for balance in ALL {
            let mut chooser = chooser(balance);
            assert!(chooser.choose(&servers([]), at(1)).is_none(), "{balance:?}");
            assert_eq!(chooser.choose(&servers([9]), at(1)).map(Candidate::number), Some(0), "{balance:?}");
        }
    }

    #[test]
    fn two_choices_keep_calls_in_flight_even_and_never_pick_the_busiest() {
        let mut chooser = chooser(Balance::PowerOfTwoChoices);
        let counts = spread(&mut chooser, &mut servers([0; 5]), 5000);
        assert!(counts.iter().all(|count| (980..=1020).contains(count)), "{counts:?}, seed {SEED}");
        let counts = spread(&mut chooser, &mut servers([0, 0, 100_000]), 1000);
        assert_eq!(counts.last(), Some(&100_000), "{counts:?}, seed {SEED}");
    }

    #[test]
    fn two_choices_are_two_members_and_any_two() {
        let mut chooser = chooser(Balance::PowerOfTwoChoices);
        // Where calls end at once, chance alone decides.
        let mut counts = [0; 3];
        for _ in 0..3000 {
            let servers = servers([0; 3]);
            let chosen = chooser.choose(&servers, at(1)).map(Candidate::number).expect("there is one");
            counts[usize::try_from(chosen).expect("small")] += 1;
        }
        assert!(counts.iter().all(|count| (850..=1150).contains(count)), "{counts:?}, seed {SEED}");
        let servers = servers([1, 0]);
        assert!((0..100).all(|_| chooser.choose(&servers, at(1)).map(Candidate::number) == Some(1)));
    }

    #[test]
    fn turns_go_round_past_those_that_are_avoided_and_over_changes() {
        let (mut chooser, mut servers) = (chooser(Balance::RoundRobin), servers([0; 3]));
        let mut next =
            |servers: &[Server]| chooser.choose(servers, at(1)).map(Candidate::number).expect("there is one");
        assert_eq!([next(&servers), next(&servers), next(&servers), next(&servers)], [0, 1, 2, 0]);
        servers[1].avoided_until = at(2);
        assert_eq!([next(&servers), next(&servers), next(&servers)], [2, 0, 2]);
        servers.truncate(1);
        assert_eq!([next(&servers), next(&servers)], [0, 0]);
    }

    #[test]
    fn one_sticks_to_a_member_until_it_is_avoided_or_gone_and_then_to_the_next() {
        let (mut chooser, mut servers) = (chooser(Balance::Sticky), servers([0; 4]));
        let mut next =
            |servers: &[Server], now| chooser.choose(servers, now).map(Candidate::number).expect("there is one");
        let first = next(&servers, at(1));
        assert!((0..50).all(|_| next(&servers, at(1)) == first));
        servers.iter_mut().filter(|server| server.number == first).for_each(|server| server.avoided_until = at(5));
        let second = next(&servers, at(1));
        assert_ne!(second, first);
        assert_eq!(next(&servers, at(6)), second, "it does not go back");
        servers.retain(|server| server.number != second);
        assert_ne!(next(&servers, at(6)), second);
    }

    #[test]
    fn where_all_are_avoided_the_first_whose_time_is_up_is_tried() {
        for balance in ALL {
            let mut servers = servers([0; 3]);
            for (server, until) in servers.iter_mut().zip([30, 10, 20]) {
                server.avoided_until = at(until);
            }
            let mut chooser = chooser(balance);
            assert_eq!(chooser.choose(&servers, at(5)).map(Candidate::number), Some(1), "{balance:?}");
            assert_eq!(chooser.choose(&servers, at(10)).map(Candidate::number), Some(1), "{balance:?}");
        }
    }

    proptest! {
        #[test]
        fn whoever_is_there_somebody_is_chosen_who_is_not_avoided_if_anybody_is_not(
            rounds in proptest::collection::vec(proptest::collection::vec((0..9_u64, 0..4_usize, 0..4_u64), 0..6), 1..20),
            seed: u64,
        ) {
            for balance in ALL {
                let mut chooser = Chooser::new(balance, fastrand::Rng::with_seed(seed));
                for (round, members) in rounds.iter().enumerate() {
                    let server = |&(number, in_flight, until)| Server { number, in_flight, avoided_until: at(until) };
                    let servers: Vec<_> = members.iter().map(server).collect();
                    let now = at(2);
                    let chosen = chooser.choose(&servers, now);
                    let is_open = |server: &Server| server.avoided_until <= now;
                    prop_assert_eq!(chosen.is_none(), servers.is_empty(), "{:?} in round {}", balance, round);
                    let Some(chosen) = chosen else { continue };
                    prop_assert_eq!(is_open(chosen), servers.iter().any(is_open), "{:?} in round {}", balance, round);
                    let busier = servers.iter().filter(|server| is_open(server) && server.in_flight >= chosen.in_flight);
                    let open = servers.iter().filter(|server| is_open(server)).count();
                    if balance == Balance::PowerOfTwoChoices && open > 1 {
                        prop_assert!(busier.count() > 1, "the one busiest of all is never the less busy of two");
                    }
                }
            }
        }
    }
}
