//! What few calls carry beside their arguments: the trace that they belong to, and metadata.

use bytes::Bytes;

use super::{
    call::{METADATA_BYTES_MAX, METADATA_LEN_MAX},
    error::WireError,
    field::NAME_LEN_MAX,
};
use crate::error::{ErrorKind, RemoteError};

/// The context of a trace: trace id (16), span id (8), flags (1).
pub type Trace = [u8; 25];

/// Begins the name of an entry that goes on with the calls that are nested in its own.
const BAGGAGE: char = '+';

/// The trace and the metadata of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The trace that it belongs to, where there is one.
    pub trace: Option<Trace>,
    /// Names, as they travel, and values.
    entries: Vec<(String, Bytes)>,
}

impl Extras {
    /// What a call has brought, if anything.
    #[must_use]
    pub fn received(trace: Option<Trace>, entries: Vec<(String, Bytes)>) -> Option<Self> {
        (trace.is_some() || !entries.is_empty()).then_some(Self { trace, entries })
    }

    /// The entries as they travel.
    #[must_use]
    pub fn wire_entries(&self) -> &[(String, Bytes)] {
        &self.entries
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trace.is_none() && self.entries.is_empty()
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.entries.iter().find(|(known, _)| plain(known) == name).map(|(_, value)| value)
    }

    /// Names, without the mark of baggage, and values.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.entries.iter().map(|(name, value)| (plain(name), value))
    }

    /// Sets the value of this name, in place of another. `baggage` goes on with nested calls, and so does what has its
    /// mark already.
    pub fn set(&mut self, name: &str, value: Bytes, baggage: bool) {
        let baggage = baggage || name.starts_with(BAGGAGE);
        let name = plain(name);
        self.entries.retain(|(known, _)| plain(known) != name);
        let name = if baggage { format!("{BAGGAGE}{name}") } else { name.to_owned() };
        self.entries.push((name, value));
    }

    /// Takes out the entry of this name.
    pub fn remove(&mut self, name: &str) -> Option<Bytes> {
        let index = self.entries.iter().position(|(known, _)| plain(known) == name)?;
        Some(self.entries.remove(index).1)
    }

    /// Whether all of it goes on with nested calls.
    #[must_use]
    pub fn all_travels(&self) -> bool {
        self.entries.iter().all(|(name, _)| name.starts_with(BAGGAGE))
    }

    /// Adds what goes on with the calls nested in the one that brought `outer`. What is there stays.
    pub fn inherit(&mut self, outer: &Self) {
        self.trace = self.trace.or(outer.trace);
        for (name, value) in outer.entries.iter().filter(|(name, _)| name.starts_with(BAGGAGE)) {
            if self.get(plain(name)).is_none() {
                self.entries.push((name.clone(), value.clone()));
            }
        }
    }

    /// The most bytes that it takes in a head.
    #[must_use]
    pub fn len_max(&self) -> usize {
        let entries = self.entries.iter().map(|(name, value)| name.len() + value.len() + 2 * 5);
        size_of::<Trace>() + 5 + entries.sum::<usize>()
    }

    /// Whether every peer accepts it.
    ///
    /// # Errors
    ///
    /// Where a name is empty, or more is there than a call may carry.
    pub fn check(&self) -> Result<(), RemoteError> {
        limit("metadata entries of a call", self.entries.len(), METADATA_LEN_MAX)?;
        for (name, _) in &self.entries {
            if plain(name).is_empty() {
                return Err(RemoteError::new(ErrorKind::Marshal, "the name of a metadata entry is empty"));
            }
            limit("the name of a metadata entry", name.len(), NAME_LEN_MAX)?;
        }
        let bytes = self.entries.iter().map(|(name, value)| name.len() + value.len()).sum();
        limit("bytes of the metadata of a call", bytes, METADATA_BYTES_MAX)
    }
}

fn plain(name: &str) -> &str {
    name.strip_prefix(BAGGAGE).unwrap_or(name)
}

fn limit(what: &'static str, size: usize, limit: usize) -> Result<(), RemoteError> {
    let exceeded = WireError::Limit { what, size: size as u64, limit: limit as u64 };
    if size > limit { Err(exceeded.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn baggage_goes_on_and_other_metadata_does_not() {
        let mut outer = Extras { trace: Some([1; 25]), ..Extras::default() };
        outer.set("tenant", value("blue"), true);
        outer.set("user", value("alice"), true);
        outer.set("attempt", value("1"), false);
        assert!(!outer.all_travels());
        let mut nested = Extras::default();
        nested.set("user", value("bob"), false);
        nested.inherit(&outer);
        let entries: Vec<_> = nested.entries().collect();
        assert_eq!(entries, [("user", &value("bob")), ("tenant", &value("blue"))], "its own comes first");
        assert_eq!(nested.trace, Some([1; 25]));
        assert_eq!(nested.wire_entries()[1].0, "+tenant");
    }

    #[test]
    fn a_name_stands_once_whether_it_travels_or_not() {
        let mut extras = Extras::default();
        extras.set("a", value("1"), true);
        extras.set("a", value("2"), false);
        assert_eq!((extras.get("a"), extras.wire_entries().len()), (Some(&value("2")), 1));
        assert_eq!(extras.remove("a"), Some(value("2")));
        assert!(extras.is_empty());
        extras.set("a", value("3"), false);
        extras.set("+a", value("4"), false);
        assert_eq!(extras.wire_entries(), [("+a".to_owned(), value("4"))], "the mark is no part of the name");
    }

    #[test]
    fn what_no_peer_accepts_is_named() {
        let error = |name: &str, len: usize| {
            let mut extras = Extras::default();
            extras.set(name, vec![0; len].into(), true);
            extras.check().unwrap_err().message().to_owned()
        };
        assert_eq!(error("", 0), "the name of a metadata entry is empty");
        assert_eq!(error("a", 8191), "bytes of the metadata of a call: 8193 exceeds the limit of 8192");
        let mut many = Extras::default();
        (0..257).for_each(|number| many.set(&number.to_string(), Bytes::new(), false));
        assert_eq!(many.check().unwrap_err().message(), "metadata entries of a call: 257 exceeds the limit of 256");
    }
}
