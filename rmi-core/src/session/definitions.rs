//! Small numbers for methods and interface lists, dense from zero, each side its own.

use std::fmt::Display;

use bytes::BytesMut;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{
    id::{Fingerprint, MethodId},
    object::InterfaceSet,
    wire::{Definition, InterfacesNumber, Kind, MethodNumber, WireError, begin_frame, finish_frame},
};

/// A method as a caller names it.
#[derive(Clone, Copy)]
pub struct MethodRef<'a> {
    /// Its id.
    pub id: MethodId,
    /// Its signature.
    pub fingerprint: Fingerprint,
    /// `interface.method`, for messages and tools.
    pub name: &'a dyn Display,
}

impl std::fmt::Debug for MethodRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MethodRef({})", self.name)
    }
}

/// The numbers that this side gave. A definition leaves as a frame of its own, before its use.
#[derive(Debug, Default)]
pub(crate) struct Given {
    methods: HashMap<(MethodId, Fingerprint), MethodNumber, RandomState>,
    interfaces: HashMap<InterfaceSet, InterfacesNumber, RandomState>,
}

impl Given {
    pub(crate) fn method(&mut self, method: MethodRef<'_>, frames: &mut BytesMut) -> MethodNumber {
        let next = MethodNumber(number(self.methods.len()));
        *self.methods.entry((method.id, method.fingerprint)).or_insert_with(|| {
            let MethodRef { id, fingerprint, name } = method;
            write(Definition::Method { number: next, id, fingerprint, name: name.to_string() }, frames);
            next
        })
    }

    pub(crate) fn interfaces(&mut self, interfaces: &InterfaceSet, frames: &mut BytesMut) -> InterfacesNumber {
        if let Some(known) = self.interfaces.get(interfaces) {
            return *known;
        }
        let next = InterfacesNumber(number(self.interfaces.len()));
        write(Definition::Interfaces { number: next, names: interfaces.names().to_vec() }, frames);
        self.interfaces.insert(interfaces.clone(), next);
        next
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a program has far fewer than 2^32 interfaces")]
fn number(len: usize) -> u32 {
    len as u32
}

fn write(definition: Definition, frames: &mut BytesMut) {
    let start = begin_frame(frames, Kind::Define);
    definition.encode(frames);
    finish_frame(frames, start);
}

/// A method that the peer has numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownMethod {
    /// Its id.
    pub id: MethodId,
    /// Its signature at the caller.
    pub fingerprint: Fingerprint,
    /// `interface.method`, as the caller says it.
    pub name: std::sync::Arc<str>,
}

/// The numbers that the peer gave.
#[derive(Debug)]
pub(crate) struct Learnt {
    max: u32,
    methods: Vec<KnownMethod>,
    interfaces: Vec<InterfaceSet>,
}

impl Learnt {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, methods: Vec::new(), interfaces: Vec::new() }
    }

    /// A definition arrived.
    ///
    /// # Errors
    ///
    /// Where it is not the next number, or one too many.
    pub(crate) fn handle_define(&mut self, definition: Definition) -> Result<(), WireError> {
        let (given, known) = match &definition {
            Definition::Method { number, .. } => (number.0, self.methods.len()),
            Definition::Interfaces { number, .. } => (number.0, self.interfaces.len()),
        };
        if given as usize != known {
            return Err(WireError::Broken("defined a number out of turn"));
        }
        if given >= self.max {
            return Err(WireError::Limit { what: "definitions", size: u64::from(given) + 1, limit: self.max.into() });
        }
        match definition {
            Definition::Method { id, fingerprint, name, .. } => {
                self.methods.push(KnownMethod { id, fingerprint, name: name.into() });
            }
            Definition::Interfaces { names, .. } => self.interfaces.push(InterfaceSet::new(names)),
        }
        Ok(())
    }

    pub(crate) fn method(&self, number: MethodNumber) -> Result<&KnownMethod, WireError> {
        self.methods.get(number.0 as usize).ok_or(WireError::Broken("used a method number that it never defined"))
    }

    pub(crate) fn interfaces(&self, number: InterfacesNumber) -> Result<&InterfaceSet, WireError> {
        let known = self.interfaces.get(number.0 as usize);
        known.ok_or(WireError::Broken("used an interfaces number that it never defined"))
    }
}
