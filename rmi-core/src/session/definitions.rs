//! Small numbers for methods and interface lists, dense from zero, each side its own.

use std::fmt::Display;

use bytes::BytesMut;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{
    error::{ErrorKind, RemoteError},
    id::{Fingerprint, MethodId},
    limits::Limits,
    object::InterfaceSet,
    wire::{
        Definition, FRAME_LEN_MAX, InterfacesNumber, Kind, MethodNumber, NAME_LEN_MAX, WireError, begin_frame,
        finish_frame, message::INTERFACES_LEN_MAX,
    },
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
#[derive(Debug)]
pub(crate) struct Given {
    methods: HashMap<(MethodId, Fingerprint), MethodNumber, RandomState>,
    interfaces: HashMap<InterfaceSet, InterfacesNumber, RandomState>,
    /// Methods that others call through this node. They leave room for those that it calls itself.
    relayed: u32,
    relayed_max: u32,
    budget: Budget,
}

impl Given {
    pub(crate) fn new(limits: &Limits) -> Self {
        let relayed_max = limits.definitions / RELAYED_PART;
        let (methods, interfaces) = (HashMap::default(), HashMap::default());
        Self { methods, interfaces, relayed: 0, relayed_max, budget: Budget::new(limits) }
    }

    /// The number of a method that a peer calls through this node, defined now if it has none.
    ///
    /// # Errors
    ///
    /// Where relayed calls have defined their share, or no peer would accept the definition.
    pub(crate) fn relayed_method(
        &mut self,
        method: MethodRef<'_>,
        frames: &mut BytesMut,
    ) -> Result<MethodNumber, RemoteError> {
        if !self.methods.contains_key(&(method.id, method.fingerprint)) {
            if self.relayed >= self.relayed_max {
                let message = "too many different methods were called through the node that relays the call";
                return Err(RemoteError::new(ErrorKind::Overloaded, message));
            }
            self.relayed += 1;
        }
        self.method(method, frames)
    }

    /// The number of a method, defined now if it has none.
    ///
    /// # Errors
    ///
    /// Where no peer would accept the definition.
    pub(crate) fn method(&mut self, method: MethodRef<'_>, frames: &mut BytesMut) -> Result<MethodNumber, RemoteError> {
        if let Some(known) = self.methods.get(&(method.id, method.fingerprint)) {
            return Ok(*known);
        }
        let MethodRef { id, fingerprint, name } = method;
        let name = name.to_string();
        check_name("the name of a method", &name)?;
        let number = MethodNumber(number(self.methods.len()));
        self.define(Definition::Method { number, id, fingerprint, name }, frames)?;
        self.methods.insert((id, fingerprint), number);
        Ok(number)
    }

    /// Defines an interface list, unless it is defined already.
    ///
    /// # Errors
    ///
    /// Where no peer would accept the definition.
    pub(crate) fn define_interfaces(
        &mut self,
        interfaces: &InterfaceSet,
        frames: &mut BytesMut,
    ) -> Result<(), RemoteError> {
        if self.interfaces.contains_key(interfaces) {
            return Ok(());
        }
        let names = interfaces.names();
        check_len("interfaces of an object", names.len(), INTERFACES_LEN_MAX)?;
        for name in names {
            check_name("the name of an interface", name)?;
        }
        let number = InterfacesNumber(number(self.interfaces.len()));
        self.define(Definition::Interfaces { number, names: names.to_vec() }, frames)?;
        self.interfaces.insert(interfaces.clone(), number);
        Ok(())
    }

    /// The number of a defined interface list.
    pub(crate) fn interfaces(&self, interfaces: &InterfaceSet) -> Option<InterfacesNumber> {
        self.interfaces.get(interfaces).copied()
    }

    fn define(&mut self, definition: Definition, frames: &mut BytesMut) -> Result<(), RemoteError> {
        let mut body = BytesMut::new();
        definition.encode(&mut body);
        check_len("the definition of an object's interfaces", 1 + body.len(), FRAME_LEN_MAX)?;
        self.budget.take(&definition)?;
        let start = begin_frame(frames, Kind::Define);
        frames.extend_from_slice(&body);
        finish_frame(frames, start);
        Ok(())
    }
}

/// Which part of the definitions of a link relayed calls may make.
const RELAYED_PART: u32 = 16;

/// Whether a peer accepts a name.
///
/// # Errors
///
/// Where it does not.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), RemoteError> {
    if name.is_empty() {
        return Err(RemoteError::new(ErrorKind::Marshal, format!("{what} is empty")));
    }
    check_len(what, name.len(), NAME_LEN_MAX)
}

fn check_len(what: &'static str, len: usize, max: usize) -> Result<(), RemoteError> {
    if len > max { Err(WireError::Limit { what, size: len as u64, limit: max as u64 }.into()) } else { Ok(()) }
}

#[expect(clippy::cast_possible_truncation, reason = "the budget bounds definitions by a u32")]
fn number(len: usize) -> u32 {
    len as u32
}

/// What the definitions of one side may take.
#[derive(Debug)]
struct Budget {
    definitions: u32,
    bytes_max: u64,
    bytes: u64,
}

/// About what a definition takes beside its names, and a name beside its text.
const DEFINITION_LEN: u64 = 64;
const NAME_LEN: u64 = 32;

impl Budget {
    fn new(limits: &Limits) -> Self {
        Self { definitions: limits.definitions, bytes_max: limits.definition_bytes, bytes: 0 }
    }

    fn take(&mut self, definition: &Definition) -> Result<(), WireError> {
        let (number, names) = match definition {
            Definition::Method { number, name, .. } => (number.0, name.len() as u64),
            Definition::Interfaces { number, names } => {
                (number.0, names.iter().map(|name| NAME_LEN + name.len() as u64).sum())
            }
        };
        if number >= self.definitions {
            let (size, limit) = (u64::from(number) + 1, self.definitions.into());
            return Err(WireError::Limit { what: "definitions", size, limit });
        }
        let bytes = self.bytes + DEFINITION_LEN + names;
        if bytes > self.bytes_max {
            return Err(WireError::Limit { what: "bytes of definitions", size: bytes, limit: self.bytes_max });
        }
        self.bytes = bytes;
        Ok(())
    }
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
    budget: Budget,
    methods: Vec<KnownMethod>,
    interfaces: Vec<InterfaceSet>,
}

impl Learnt {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { budget: Budget::new(limits), methods: Vec::new(), interfaces: Vec::new() }
    }

    /// A definition arrived.
    ///
    /// # Errors
    ///
    /// Where it is not the next number, or too much.
    pub(crate) fn handle_define(&mut self, definition: Definition) -> Result<(), WireError> {
        let (given, known) = match &definition {
            Definition::Method { number, .. } => (number.0, self.methods.len()),
            Definition::Interfaces { number, .. } => (number.0, self.interfaces.len()),
        };
        if given as usize != known {
            return Err(WireError::Broken("defined a number out of turn"));
        }
        self.budget.take(&definition)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relayed_calls_define_no_more_than_their_share() {
        let limits = Limits { definitions: 2 * RELAYED_PART, ..Limits::default() };
        let (mut given, mut frames) = (Given::new(&limits), BytesMut::new());
        let method = |id| MethodRef { id: MethodId(id), fingerprint: Fingerprint(0), name: &"demo.Bank.open" };
        for id in [1000, 1001, 1000] {
            given.relayed_method(method(id), &mut frames).unwrap();
        }
        let error = given.relayed_method(method(1002), &mut frames).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
        given.relayed_method(method(1001), &mut frames).expect("defined already");
        given.method(method(1002), &mut frames).expect("the node's own calls have room");
    }
}
