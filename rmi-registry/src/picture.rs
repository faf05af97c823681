//! The names that a watch knows of, and what the next change means for them.

use std::collections::BTreeMap;

use crate::{service::Change, stamp::Stamp, watch::Event};

/// What a watch has told its user is bound.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    bound: BTreeMap<String, State>,
    /// Bound when the watch was interrupted, and not told again yet.
    stale: BTreeMap<String, State>,
}

/// What a name stood for when it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    stamp: Stamp,
    is_group: bool,
}

impl Picture {
    /// The watch begins anew: all that is bound will be told once more.
    pub(crate) fn begin(&mut self) {
        // What was told since the last interruption counts.
        self.stale.append(&mut self.bound);
    }

    /// The events that a change stands for: none where nothing is new.
    pub(crate) fn handle(&mut self, change: Change) -> Vec<Event> {
        match change {
            Change::Bound(entry, stamp) => {
                let stale = self.stale.remove(&entry.name);
                let now = State { stamp, is_group: entry.members.is_some() };
                let before = self.bound.insert(entry.name.clone(), now).or(stale);
                match before {
                    None => vec![Event::Bound(entry)],
                    Some(before) if before == now => Vec::new(),
                    Some(before) if before.is_group && now.is_group => vec![Event::Members(entry)],
                    Some(_) => vec![Event::Rebound(entry)],
                }
            }
            Change::Unbound(name) if self.forget(&name) => vec![Event::Unbound { name }],
            Change::Expired(name) if self.forget(&name) => vec![Event::Expired { name }],
            Change::Current => {
                let gone = std::mem::take(&mut self.stale).into_keys().map(|name| Event::Unbound { name });
                gone.chain([Event::Current]).collect()
            }
            Change::Unbound(_) | Change::Expired(_) | Change::Lagged => Vec::new(),
        }
    }

    fn forget(&mut self, name: &str) -> bool {
        self.stale.remove(name).is_some() | self.bound.remove(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::service::Entry;

    fn bound(name: &str, stamp: u64) -> Change {
        Change::Bound(Entry { name: name.into(), interfaces: Vec::new(), members: None }, Stamp::at(stamp))
    }

    fn group(name: &str, members: u32, stamp: u64) -> Change {
        Change::Bound(Entry { name: name.into(), interfaces: Vec::new(), members: Some(members) }, Stamp::at(stamp))
    }

    /// What the picture tells: `+` bound, `*` rebound, `#` members, `-` unbound, `x` expired, `.` current.
    fn told(picture: &mut Picture, changes: impl IntoIterator<Item = Change>) -> String {
        let events = changes.into_iter().flat_map(|change| picture.handle(change));
        let tell = |event| match event {
            Event::Bound(entry) => format!("+{}", entry.name),
            Event::Rebound(entry) => format!("*{}", entry.name),
            Event::Members(entry) => format!("#{}{}", entry.name, entry.members.unwrap_or(0)),
            Event::Unbound { name } => format!("-{name}"),
            Event::Expired { name } => format!("x{name}"),
            Event::Current => ".".into(),
            Event::Missed => "?".into(),
        };
        events.map(tell).collect()
    }

    #[test]
    fn changes_are_told_as_they_come() {
        let mut picture = Picture::default();
        picture.begin();
        assert_eq!(told(&mut picture, [bound("a", 1), bound("b", 2), Change::Current]), "+a+b.");
        assert_eq!(told(&mut picture, [bound("a", 3), Change::Unbound("b".into()), bound("b", 4)]), "*a-b+b");
        assert_eq!(told(&mut picture, [Change::Expired("a".into()), Change::Unbound("a".into())]), "xa");
    }

    #[test]
    fn members_come_and_go_and_a_group_is_no_binding() {
        let mut picture = Picture::default();
        picture.begin();
        let changes = [group("a", 1, 1), Change::Current, group("a", 2, 3), group("a", 1, 2), group("a", 1, 2)];
        assert_eq!(told(&mut picture, changes), "+a.#a2#a1");
        assert_eq!(told(&mut picture, [bound("a", 7), group("a", 1, 8), Change::Expired("a".into())]), "*a*axa");
        assert_eq!(told(&mut picture, [group("b", 2, 4)]), "+b");
        picture.begin();
        assert_eq!(told(&mut picture, [group("b", 1, 5), group("b", 2, 4), Change::Current]), "#b1#b2.");
    }

    #[test]
    fn a_watch_that_begins_anew_tells_the_difference() {
        let mut picture = Picture::default();
        let names = [bound("a", 1), bound("b", 2), bound("c", 3), Change::Current];
        assert_eq!(told(&mut picture, names), "+a+b+c.");
        picture.begin();
        assert_eq!(told(&mut picture, [bound("a", 1), bound("b", 9)]), "*b");
        // Interrupted once more, before all was told.
        picture.begin();
        assert_eq!(told(&mut picture, [bound("b", 9), bound("d", 4), Change::Current]), "+d-a-c.");
    }

    proptest! {
        #[test]
        fn the_user_ends_with_what_is_bound(
            steps in proptest::collection::vec((0..4_u8, "[a-d]", 0..3_u64), 0..60),
            last in proptest::collection::btree_map("[a-d]", 0..3_u64, 0..4),
        ) {
            let mut picture = Picture::default();
            let mut known: BTreeMap<String, bool> = BTreeMap::new();
            let changes = steps.into_iter().map(|(kind, name, stamp)| match kind {
                0 => None,
                1 => Some(Change::Unbound(name)),
                2 => Some(Change::Expired(name)),
                _ => Some(bound(&name, stamp)),
            });
            let end = last.iter().map(|(name, stamp)| Some(bound(name, *stamp)));
            for change in changes.chain([None]).chain(end).chain([Some(Change::Current)]) {
                let Some(change) = change else {
                    picture.begin();
                    continue;
                };
                for event in picture.handle(change) {
                    match event {
                        Event::Bound(entry) => prop_assert_eq!(known.insert(entry.name, true), None),
                        Event::Rebound(entry) | Event::Members(entry) => {
                            prop_assert_eq!(known.insert(entry.name, true), Some(true));
                        }
                        Event::Unbound { name } | Event::Expired { name } => {
                            prop_assert_eq!(known.remove(&name), Some(true));
                        }
                        Event::Current | Event::Missed => {}
                    }
                }
            }
            prop_assert_eq!(known.into_keys().collect::<Vec<_>>(), last.into_keys().collect::<Vec<_>>());
        }
    }
}
