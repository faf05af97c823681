//! The references of the message that a thread encodes or decodes.
//!
//! A `Remote` inside a value is written as an index into the message's reference table. While a value is encoded or
//! decoded, its `Remote`s find that table in a scope of the thread, which a guard restores.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    thread::LocalKey,
};

use crate::referent::Referent;

thread_local! {
    static GIVING: Cell<State> = const { Cell::new(State::Outside) };
    static GIVEN: RefCell<Vec<Referent>> = const { RefCell::new(Vec::new()) };
    static TAKING: Cell<State> = const { Cell::new(State::Outside) };
    static TAKEN: RefCell<Vec<Referent>> = const { RefCell::new(Vec::new()) };
}

/// What a thread knows of the references of the message that it encodes, or decodes. Most messages
/// have none, and their list is not touched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no message.
    Outside,
    /// It has no references.
    Empty,
    /// They stand in the list.
    Listed,
}

/// The places of a thread for the references of one message: of one that it encodes, or decodes. A type each, so that
/// all that follows is compiled for its own places.
pub(super) trait Table {
    fn state() -> &'static LocalKey<Cell<State>>;
    fn list() -> &'static LocalKey<RefCell<Vec<Referent>>>;
}

/// Of the message that is encoded.
pub(super) struct Giving;

impl Table for Giving {
    #[inline(always)]
    fn state() -> &'static LocalKey<Cell<State>> {
        &GIVING
    }

    #[inline(always)]
    fn list() -> &'static LocalKey<RefCell<Vec<Referent>>> {
        &GIVEN
    }
}

/// Of the message that is decoded.
pub(super) struct Taking;

impl Table for Taking {
    #[inline(always)]
    fn state() -> &'static LocalKey<Cell<State>> {
        &TAKING
    }

    #[inline(always)]
    fn list() -> &'static LocalKey<RefCell<Vec<Referent>>> {
        &TAKEN
    }
}

/// A scope of this thread that holds the references of one message, from its first value to its last.
pub(super) struct Scope<T: Table> {
    table: PhantomData<T>,
    outer: State,
    /// Those of the message around it, if it has any.
    outer_list: Vec<Referent>,
}

impl<T: Table> Scope<T> {
    #[inline]
    pub(super) fn enter(references: Vec<Referent>) -> Self {
        let state = if references.is_empty() { State::Empty } else { State::Listed };
        let outer = T::state().replace(state);
        let plain = outer != State::Listed && state == State::Empty;
        let outer_list = if plain { Vec::new() } else { T::list().replace(references) };
        Self { table: PhantomData, outer, outer_list }
    }

    /// The references that the message holds by now.
    #[inline]
    pub(super) fn take(&self) -> Vec<Referent> {
        match T::state().replace(State::Empty) {
            State::Listed => T::list().take(),
            State::Empty | State::Outside => Vec::new(),
        }
    }
}

impl<T: Table> Drop for Scope<T> {
    #[inline]
    fn drop(&mut self) {
        let inner = T::state().replace(self.outer);
        if inner == State::Listed || self.outer == State::Listed {
            let outer = std::mem::take(&mut self.outer_list);
            // Dropped outside of the borrow: an object may be among them.
            drop(T::list().replace(outer));
        }
    }
}

/// Whether this thread encodes a message, so that references can be added to it.
pub(crate) fn is_encoding() -> bool {
    GIVING.get() != State::Outside
}

/// Adds a reference to the message that this thread encodes, and returns its index; `None` outside
/// of an encoding.
pub(crate) fn give(referent: &Referent) -> Option<u32> {
    if GIVING.get() == State::Outside {
        return None;
    }
    GIVING.set(State::Listed);
    GIVEN.with_borrow_mut(|given| {
        let index = u32::try_from(given.len()).ok()?;
        given.push(referent.clone());
        Some(index)
    })
}

/// The reference of this index in the message that this thread decodes: the outer `None` outside
/// of a decoding, the inner where the message has no such index.
pub(crate) fn take(index: u32) -> Option<Option<Referent>> {
    match TAKING.get() {
        State::Outside => None,
        State::Empty => Some(None),
        State::Listed => Some(TAKEN.with_borrow(|taken| taken.get(index as usize).cloned())),
    }
}

/// A `Remote` that is met outside of a call.
pub(crate) const OUTSIDE: &str =
    "a Remote can be encoded and decoded only inside an argument or a result of a remote call";

/// An index that the message does not have.
pub(crate) fn no_such_reference(index: u32) -> String {
    format!("the message has no reference {index}")
}
