//! The names of a registry and what is bound to them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound,
};

use crate::name::Name;

/// How many names a registry holds.
pub(crate) const NAMES_MAX: usize = 1 << 20;

/// One act of binding: told apart from every other one of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(u64);

/// Names and the bindings `B` they stand for, in the order of the names.
///
/// What a change takes out of the table is handed back, to be dropped outside of any lock.
#[derive(Debug)]
pub(crate) struct Table<B> {
    bindings: BTreeMap<Name, (Generation, B)>,
    generations: u64,
}

/// Why a name was not bound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The name is taken.
    Taken,
    /// [`NAMES_MAX`] names are bound.
    Full,
    /// As many objects are joined under the name as there may be.
    Crowded,
    /// The objects that are joined under the name have these interfaces, and others than the one to join.
    Interfaces(Vec<String>),
}

/// A part of the names, in order, and whether more follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice<'t, B> {
    pub(crate) bindings: Vec<(&'t Name, &'t B)>,
    pub(crate) more: bool,
}

impl<B> Table<B> {
    pub(crate) const fn new() -> Self {
        Self { bindings: BTreeMap::new(), generations: 0 }
    }

    /// Binds a free name.
    pub(crate) fn bind(&mut self, name: Name, binding: impl FnOnce(Generation) -> B) -> Result<(), Refused> {
        let full = self.bindings.len() >= NAMES_MAX;
        let Entry::Vacant(free) = self.bindings.entry(name) else { return Err(Refused::Taken) };
        if full {
            return Err(Refused::Full);
        }
        self.generations += 1;
        let generation = Generation(self.generations);
        free.insert((generation, binding(generation)));
        Ok(())
    }

    /// A generation for a part of a binding.
    pub(crate) const fn draw(&mut self) -> Generation {
        self.generations += 1;
        Generation(self.generations)
    }

    /// Binds a name, free or not, and hands back what it was bound to.
    pub(crate) fn rebind(&mut self, name: Name, binding: impl FnOnce(Generation) -> B) -> Result<Option<B>, Refused> {
        let replaced = self.unbind(name.as_str());
        self.bind(name, binding).map(|()| replaced)
    }

    /// Frees a name.
    pub(crate) fn unbind(&mut self, name: &str) -> Option<B> {
        self.bindings.remove(name).map(|(_, binding)| binding)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&B> {
        self.bindings.get(name).map(|(_, binding)| binding)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut B> {
        self.bindings.get_mut(name).map(|(_, binding)| binding)
    }

    /// At most `limit` names that begin with `prefix` and come after `after`.
    pub(crate) fn slice(&self, prefix: &str, after: Option<&str>, limit: usize) -> Slice<'_, B> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut names = self
            .bindings
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(name, (_, binding))| (name, binding));
        let bindings = names.by_ref().take(limit).collect();
        Slice { bindings, more: names.next().is_some() }
    }

    /// One name, if it is bound.
    pub(crate) fn just(&self, name: &str) -> Slice<'_, B> {
        let found = self.bindings.get_key_value(name).map(|(name, (_, binding))| (name, binding));
        Slice { bindings: found.into_iter().collect(), more: false }
    }

    /// Frees every name.
    pub(crate) fn clear(&mut self) -> Vec<B> {
        std::mem::take(&mut self.bindings).into_values().map(|(_, binding)| binding).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A table of these names, each bound to its own generation.
    fn table(names: &[&str]) -> Table<Generation> {
        let mut table = Table::new();
        for text in names {
            table.bind(name(text), |generation| generation).unwrap();
        }
        table
    }

    fn listed<'t>(
        table: &'t Table<Generation>,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<&'t str>, bool) {
        let Slice { bindings, more } = table.slice(prefix, after, limit);
        (bindings.into_iter().map(|(name, _)| name.as_str()).collect(), more)
    }

    #[test]
    fn a_name_is_bound_once() {
        let mut table = table(&["a"]);
        let first = *table.get("a").unwrap();
        assert_eq!(table.bind(name("a"), |generation| generation), Err(Refused::Taken));
        assert_eq!(table.get("a"), Some(&first));
        assert_eq!(table.get("b"), None);
        assert_eq!(table.unbind("a"), Some(first));
        assert_eq!(table.unbind("a"), None);
        table.bind(name("a"), |generation| generation).unwrap();
        assert!(*table.get("a").unwrap() > first);
    }

    #[test]
    fn rebinding_hands_back_what_was_bound() {
        let mut table = table(&["a"]);
        let first = *table.get("a").unwrap();
        assert_eq!(table.rebind(name("a"), |generation| generation), Ok(Some(first)));
        assert_ne!(table.get("a"), Some(&first));
        assert_eq!(table.rebind(name("b"), |generation| generation), Ok(None));
    }

    #[test]
    fn lists_come_in_order_and_in_parts() {
        let table = table(&["b/2", "c", "b/1", "a", "b/3", "b", "б"]);
        assert_eq!(listed(&table, "", None, 9), (vec!["a", "b", "b/1", "b/2", "b/3", "c", "б"], false));
        assert_eq!(listed(&table, "b/", None, 2), (vec!["b/1", "b/2"], true));
        assert_eq!(listed(&table, "b/", Some("b/2"), 2), (vec!["b/3"], false));
        assert_eq!(listed(&table, "b/", Some("b/3"), 2), (vec![], false));
        assert_eq!(listed(&table, "b/", None, 3), (vec!["b/1", "b/2", "b/3"], false));
        assert_eq!(listed(&table, "b/", Some("a"), 1), (vec!["b/1"], true));
        assert_eq!(listed(&table, "b/", Some("b/2 gone"), 9), (vec!["b/3"], false));
        assert_eq!(listed(&table, "x", None, 9), (vec![], false));
        assert_eq!(listed(&table, "", None, 0), (vec![], true));
    }

    #[test]
    fn clearing_hands_back_every_binding() {
        let mut table = table(&["a", "b"]);
        assert_eq!(table.clear().len(), 2);
        assert_eq!(table.get("a"), None);
        assert!(table.clear().is_empty());
    }

    proptest! {
        #[test]
        fn parts_make_up_the_whole(
            names in proptest::collection::btree_set("[ab/]{1,4}", 0..40),
            prefix in "[ab/]{0,2}",
            limit in 1_usize..5,
        ) {
            let mut table = Table::new();
            for text in &names {
                table.bind(name(text), |generation| generation).unwrap();
            }
            let mut all: Vec<String> = Vec::new();
            loop {
                let (part, more) = listed(&table, &prefix, all.last().map(String::as_str), limit);
                prop_assert!(part.len() <= limit);
                all.extend(part.into_iter().map(str::to_owned));
                if !more {
                    break;
                }
            }
            let expected: Vec<_> = names.iter().filter(|text| text.starts_with(&prefix)).cloned().collect();
            prop_assert_eq!(all, expected);
        }
    }
}
