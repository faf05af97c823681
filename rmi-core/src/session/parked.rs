//! Calls and acquires that wait to be sent.

use std::{sync::Arc, task::Waker};

use super::{credit::SendCredit, references::Passed};
use crate::{
    id::{Fingerprint, MethodId, ObjectId, PULL},
    time::Time,
    wire::{Extras, Payload, PromiseId, Target},
};

/// What waits for the peer's credit, or for a connection.
#[derive(Debug)]
pub(crate) struct Parked<O> {
    /// When it began to wait, or the connection was lost meanwhile.
    pub(crate) since: Time,
    /// Who is to be woken when it waits no longer: the caller of a oneway call.
    pub(crate) departs: Option<Waker>,
    pub(crate) what: Waits<O>,
}

/// A call or an acquire, as it is sent later.
#[derive(Debug)]
pub(crate) enum Waits<O> {
    Call(ParkedCall<O>),
    Acquire(ObjectId),
}

/// A call that waits to be sent. Its numbers are those of the connection that it leaves by.
#[derive(Debug)]
pub(crate) struct ParkedCall<O> {
    pub(crate) target: Target,
    pub(crate) order: ObjectId,
    pub(crate) method: MethodId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) method_name: String,
    pub(crate) references: Vec<Passed<O>>,
    pub(crate) payload: Payload,
    pub(crate) depth: u32,
    pub(crate) relayed: bool,
    pub(crate) extras: Option<Arc<Extras>>,
    pub(crate) promises: Option<PromiseId>,
}

/// What it takes of the peer's credit to send something that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// One call, and so many bytes.
    Call(u64),
    /// One pull.
    Pull,
    /// Nothing: an acquire.
    Nothing,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) calls: usize,
    /// Of their payloads.
    pub(crate) bytes: u64,
}

impl Waiting {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes += bytes;
    }

    pub(crate) fn remove<O>(&mut self, parked: Option<&Parked<O>>) {
        if let Some(parked) = parked {
            self.calls -= 1;
            self.bytes -= parked.bytes();
        }
    }
}

impl<O> Parked<O> {
    /// The length of its payload.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.what {
            Waits::Call(call) => call.payload.len() as u64,
            Waits::Acquire(_) => 0,
        }
    }

    /// What it takes to be sent.
    pub(crate) fn needs(&self, credit: &SendCredit) -> Needs {
        match &self.what {
            Waits::Call(call) if call.method == PULL => Needs::Pull,
            Waits::Call(call) => Needs::Call(credit.cost(call.payload.len(), call.references.len())),
            Waits::Acquire(_) => Needs::Nothing,
        }
    }
}
