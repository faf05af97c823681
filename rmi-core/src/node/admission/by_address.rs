//! What is counted, or waits, by the address that it comes from.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
};

use crate::transport::PeerAddr;

/// Bits of an IPv6 address that one host can choose the others of.
const SUBNET_LEN: u32 = 64;

/// Where peers come from, as far as their number is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// Over IP: the address, or the /64 of an IPv6 one.
    Ip(IpAddr),
    /// From this host or by a transport that users added: counted in all, and not by address.
    Other,
}

impl Address {
    pub(super) fn of(peer: &PeerAddr) -> Self {
        match peer.ip() {
            Some(IpAddr::V6(ip)) => {
                Self::Ip(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - SUBNET_LEN))).into())
            }
            Some(ip) => Self::Ip(ip),
            None => Self::Other,
        }
    }
}

/// How many there are, in all and by address.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) all: usize,
    pub(super) by_address: HashMap<Address, usize>,
}

impl Count {
    pub(super) fn of(&self, address: Address) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, address: Address) {
        self.all += 1;
        *self.by_address.entry(address).or_default() += 1;
    }

    pub(super) fn remove(&mut self, address: Address) {
        self.all -= 1;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// Those that may have to give way, by address, each in the order in which they came.
#[derive(Debug)]
pub(super) struct Queue<T> {
    pub(super) len: usize,
    next: u64,
    pub(super) by_address: HashMap<Address, BTreeMap<u64, T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { len: 0, next: 0, by_address: HashMap::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn of(&self, address: Address) -> usize {
        self.by_address.get(&address).map_or(0, BTreeMap::len)
    }

    pub(super) fn push(&mut self, address: Address, what: T) -> u64 {
        let number = self.next;
        self.next += 1;
        self.insert(address, number, what);
        number
    }

    pub(super) fn insert(&mut self, address: Address, number: u64, what: T) {
        self.len += 1;
        self.by_address.entry(address).or_default().insert(number, what);
    }

    pub(super) fn remove(&mut self, address: Address, number: u64) -> Option<T> {
        let of_address = self.by_address.get_mut(&address)?;
        let removed = of_address.remove(&number);
        self.len -= usize::from(removed.is_some());
        if of_address.is_empty() {
            self.by_address.remove(&address);
        }
        removed
    }

    /// Takes the oldest from an address.
    pub(super) fn pop_of(&mut self, address: Address) -> Option<T> {
        let oldest = *self.by_address.get(&address)?.first_key_value()?.0;
        self.remove(address, oldest)
    }

    /// Takes the oldest of the address that has most.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (fullest, _) = self.by_address.iter().max_by_key(|(_, of_address)| of_address.len())?;
        self.pop_of(*fullest)
    }
}
