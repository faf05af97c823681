//! The places of those that dial this node: for handshakes, for connections, and for what is kept of lost peers.
//!
//! A newcomer always may shake hands: where the places for that are taken, the oldest handshake gives way,
//! of the address that has the most of them. So silent diallers cost honest ones nothing, whose handshakes
//! take milliseconds. Those that have said hello wait for the authenticator, which may take longer: neither do
//! silent ones take the place of these nor these that of the silent, where they have no more than half of all.
//! Once it is known, a peer takes a place for connections, or is told that there is none.
//! A link that is lost gives it back, and takes one among the lost: what is held over it keeps that place, up to
//! the end of its lease; where nothing is, it has it until others need it.

mod by_address;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::by_address::{Address, Count, Queue};
use crate::{
    connection::Link,
    error::{Certainty, ErrorKind, RemoteError},
    limits::Limits,
    referent::Referent,
    transport::PeerAddr,
};

/// The places of one node.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Mutex<Places>>,
    /// Those of links, by their numbers.
    links: Mutex<HashMap<u64, Place>>,
}

#[derive(Debug)]
struct Places {
    handshakes_max: usize,
    connections_max: usize,
    per_address_max: usize,
    /// Handshakes of peers that have not said hello yet.
    silent: Queue<Arc<Notify>>,
    /// Those of peers that have, by the numbers they had before.
    heard: Queue<Arc<Notify>>,
    connections: Count,
    /// Lost peers that hold something.
    holders: Count,
    /// Lost links over which nothing is held.
    idle: Queue<Weak<Link<Referent>>>,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        let places = Places {
            handshakes_max: limits.handshakes.max(1) as usize,
            connections_max: limits.connections.max(1) as usize,
            per_address_max: limits.connections_per_address.max(1) as usize,
            silent: Queue::default(),
            heard: Queue::default(),
            connections: Count::default(),
            holders: Count::default(),
            idle: Queue::default(),
        };
        Self { places: Arc::new(Mutex::new(places)), links: Mutex::default() }
    }

    /// A connection was accepted. Another handshake may have to give way for it.
    pub(super) fn enter(&self, peer: &PeerAddr) -> Shaking {
        let (address, told) = (Address::of(peer), Arc::new(Notify::new()));
        let mut places = self.places.lock();
        let gone = places.make_way();
        let number = places.silent.push(address, told.clone());
        drop(places);
        if let Some(gone) = gone {
            gone.notify_one();
        }
        Shaking { places: self.places.clone(), address, number, told }
    }

    /// The peer has said hello.
    ///
    /// # Errors
    ///
    /// Where there is no place for one more: what it is to be told.
    pub(super) fn admit(&self, peer: &PeerAddr) -> Result<Place, RemoteError> {
        let address = Address::of(peer);
        let mut places = self.places.lock();
        places.check_connections(address)?;
        places.check_holders(address)?;
        places.connections.add(address);
        drop(places);
        Ok(Place { places: self.places.clone(), address, state: State::Connected })
    }

    /// The place is that of a link from now on.
    pub(super) fn keep(&self, link: u64, place: Place) {
        let before = self.links.lock().insert(link, place);
        debug_assert!(before.is_none(), "numbers of links are used once");
    }

    /// A link has lost its connection.
    pub(super) fn lose(&self, link: &Arc<Link<Referent>>, holds: bool) {
        let mut links = self.links.lock();
        let forgotten = links.get_mut(&link.number()).and_then(|place| place.lose(Some(link).filter(|_| !holds)));
        drop(links);
        // Outside of all locks: it ends by the hand of its driver, which comes back here.
        if let Some(link) = forgotten.and_then(|link| link.upgrade()) {
            tracing::debug!(peer = %link.describe_peer(), "a lost link gives way: nothing is held over it");
            link.leave(false);
        }
    }

    /// A link is to be taken up by a connection of this peer. Where it has lost its own, that takes a place again.
    ///
    /// # Errors
    ///
    /// Where there is none now.
    pub(super) fn readmit(&self, link: u64, peer: &PeerAddr) -> Result<(), RemoteError> {
        let address = Address::of(peer);
        let mut links = self.links.lock();
        let Some(place) = links.get_mut(&link).filter(|place| place.state != State::Connected) else { return Ok(()) };
        self.places.lock().check_connections(address)?;
        place.regain(address);
        Ok(())
    }

    /// A link was taken up.
    pub(super) fn settle(&self, link: u64) {
        // Not its own yet only where it lost its connection just when the new one came.
        if let Some(place) = self.links.lock().get_mut(&link).filter(|place| place.state != State::Connected) {
            place.regain(place.address);
        }
    }

    /// A link has ended. Its place is free once what the peer held over it is not kept any more.
    pub(super) fn take(&self, link: u64) -> Option<Place> {
        self.links.lock().remove(&link)
    }
}

impl Places {
    /// Where no place is left for a handshake: the one that has to give way.
    fn make_way(&mut self) -> Option<Arc<Notify>> {
        if self.silent.len + self.heard.len < self.handshakes_max {
            return None;
        }
        if self.silent.len >= self.heard.len { self.silent.pop() } else { self.heard.pop() }
    }

    /// Whether there is a place for one more connection from this address.
    fn check_connections(&self, address: Address) -> Result<(), RemoteError> {
        self.check(&self.connections, address, "has", "connections")
    }

    /// Whether more may be kept of lost peers from this address.
    fn check_holders(&self, address: Address) -> Result<(), RemoteError> {
        self.check(&self.holders, address, "keeps what was held by", "lost peers")
    }

    fn check(&self, count: &Count, address: Address, has: &str, those: &str) -> Result<(), RemoteError> {
        let (all, one) = (self.connections_max, self.per_address_max);
        let why = if count.all >= all {
            format!("it {has} {all} {those}, as many as Limits::connections allows")
        } else if let Address::Ip(ip) = address
            && count.of(address) >= one
        {
            let subnet = if ip.is_ipv6() { "/64" } else { "" };
            format!("it {has} {one} {those} from {ip}{subnet}, as many as Limits::connections_per_address allows")
        } else {
            return Ok(());
        };
        Err(RemoteError::new(ErrorKind::Overloaded, why).with_certainty(Certainty::NotSent))
    }

    fn leave(&mut self, address: Address, state: State) {
        match state {
            State::Connected => self.connections.remove(address),
            State::Holding => self.holders.remove(address),
            State::Idle(number) => drop(self.idle.remove(address, number)),
        }
    }

    /// A lost link over which nothing is held: its number among them, and the one that has to give way for it.
    fn add_idle(&mut self, address: Address, link: Weak<Link<Referent>>) -> (u64, Option<Weak<Link<Referent>>>) {
        let number = self.idle.push(address, link);
        let given_way = if address != Address::Other && self.idle.of(address) > self.per_address_max {
            self.idle.pop_of(address)
        } else if self.idle.len > self.connections_max {
            self.idle.pop()
        } else {
            None
        };
        (number, given_way)
    }
}

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Shaking {
    places: Arc<Mutex<Places>>,
    address: Address,
    number: u64,
    told: Arc<Notify>,
}

impl Shaking {
    /// The peer has said hello.
    pub(super) fn heard(&self) {
        let mut places = self.places.lock();
        if let Some(told) = places.silent.remove(self.address, self.number) {
            places.heard.insert(self.address, self.number, told);
        }
    }

    /// Waits until it has to give way.
    pub(super) async fn gives_way(&self) {
        self.told.notified().await;
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        places.silent.remove(self.address, self.number);
        places.heard.remove(self.address, self.number);
    }
}

/// The place of a peer, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Mutex<Places>>,
    address: Address,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connected,
    /// Lost, and something is held.
    Holding,
    /// Lost, and nothing is: by its number among those.
    Idle(u64),
}

impl Place {
    /// What the peer held is kept beyond its link.
    pub(super) fn outlive(mut self) -> Self {
        self.lose(None);
        self
    }

    /// The connection is lost; `idle` is the link where nothing is held over it. Returns one that has to give way.
    fn lose(&mut self, idle: Option<&Arc<Link<Referent>>>) -> Option<Weak<Link<Referent>>> {
        let mut places = self.places.lock();
        places.leave(self.address, self.state);
        let (number, given_way) = idle.map(|link| places.add_idle(self.address, Arc::downgrade(link))).unzip();
        if number.is_none() {
            places.holders.add(self.address);
        }
        self.state = number.map_or(State::Holding, State::Idle);
        given_way.flatten()
    }

    /// The link has a connection again.
    fn regain(&mut self, address: Address) {
        let mut places = self.places.lock();
        places.leave(self.address, self.state);
        places.connections.add(address);
        (self.address, self.state) = (address, State::Connected);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().leave(self.address, self.state);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, SocketAddr},
        time::Duration,
    };

    use super::*;
    use crate::node::Node;

    fn admission(handshakes: u32, connections: u32, connections_per_address: u32) -> Admission {
        Admission::new(&Limits { handshakes, connections, connections_per_address, ..Limits::default() })
    }

    fn from(ip: &str) -> PeerAddr {
        let ip: IpAddr = ip.parse().unwrap();
        PeerAddr::tcp(SocketAddr::new(ip, 7), ip)
    }

    fn refusal(admission: &Admission, peer: &PeerAddr) -> String {
        let error = admission.admit(peer).unwrap_err();
        assert_eq!((error.kind(), error.certainty()), (ErrorKind::Overloaded, Certainty::NotSent));
        error.message().to_owned()
    }

    /// Whether a handshake was told to give way.
    async fn gives_way(shaking: &Shaking) -> bool {
        tokio::time::timeout(Duration::ZERO, shaking.gives_way()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_handshake_of_the_busiest_address_gives_way() {
        let admission = admission(3, 9, 9);
        let (honest, abuser) = (from("10.0.0.1"), from("10.0.0.2"));
        let first = admission.enter(&honest);
        let silent = [(); 2].map(|()| admission.enter(&abuser));
        let more = admission.enter(&abuser);
        let late = admission.enter(&honest);
        assert!(gives_way(&silent[0]).await && gives_way(&silent[1]).await);
        drop((silent, more));
        let others = [(); 1].map(|()| admission.enter(&abuser));
        for shaking in [&first, &late, &others[0]] {
            assert!(!gives_way(shaking).await, "there is a place for each of them");
        }
        drop((first, late, others));
        assert_eq!(admission.places.lock().silent.len, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn silent_and_heard_handshakes_leave_each_other_half_of_the_places() {
        let admission = admission(4, 9, 9);
        let peer = from("10.0.0.1");
        let heard = [(); 4].map(|()| {
            let shaking = admission.enter(&peer);
            shaking.heard();
            shaking
        });
        let silent = [(); 3].map(|()| admission.enter(&peer));
        assert!(gives_way(&heard[0]).await && gives_way(&heard[1]).await, "they had more than their half");
        assert!(gives_way(&silent[0]).await, "then it is the turn of the silent");
        silent[0].heard();
        for shaking in heard[2..].iter().chain(&silent[1..]) {
            assert!(!gives_way(shaking).await, "there is a place for each of them");
        }
        drop((heard, silent));
        let places = admission.places.lock();
        assert_eq!((places.silent.len, places.heard.len), (0, 0));
        assert!(places.silent.by_address.is_empty() && places.heard.by_address.is_empty());
    }

    #[test]
    fn connections_are_bounded_in_all_and_by_address() {
        let admission = admission(9, 4, 2);
        let (one, other) = (from("10.0.0.1"), from("10.0.0.2"));
        let mut places: Vec<_> = [&one, &one, &other].map(|peer| admission.admit(peer).unwrap()).into();
        assert_eq!(
            refusal(&admission, &one),
            "it has 2 connections from 10.0.0.1, as many as Limits::connections_per_address allows"
        );
        places.push(admission.admit(&other).unwrap());
        let full = "it has 4 connections, as many as Limits::connections allows";
        for peer in [one.clone(), from("10.0.0.3"), PeerAddr::Unix { uid: None, pid: None }, PeerAddr::Memory] {
            assert_eq!(refusal(&admission, &peer), full);
        }
        places.remove(0);
        drop(admission.admit(&one).unwrap());
        places.push(admission.admit(&PeerAddr::Memory).unwrap());
        drop(places);
        let _unix = [(); 4].map(|()| admission.admit(&PeerAddr::Unix { uid: None, pid: None }).unwrap());
        assert_eq!(admission.places.lock().connections.by_address.len(), 1, "nothing is left of an address");
    }

    #[test]
    fn an_address_of_ipv6_is_a_64() {
        let admission = admission(9, 9, 1);
        let _place = admission.admit(&from("2001:db8:0:1::1")).unwrap();
        assert_eq!(
            refusal(&admission, &from("2001:db8:0:1:ffff::2")),
            "it has 1 connections from 2001:db8:0:1::/64, as many as Limits::connections_per_address allows"
        );
        admission.admit(&from("2001:db8:0:2::1")).unwrap();
        let _place = admission.admit(&from("::ffff:10.0.0.1")).unwrap();
        refusal(&admission, &from("10.0.0.1"));
    }

    #[test]
    fn what_lost_peers_hold_keeps_newcomers_out_and_nobody_else() {
        let admission = admission(9, 3, 1);
        let (one, other) = (from("10.0.0.1"), from("10.0.0.2"));
        admission.keep(7, admission.admit(&one).unwrap());
        let lose = |link| admission.links.lock().get_mut(&link).map(|place| place.lose(None)).is_some();
        assert!(lose(7));
        assert_eq!(
            refusal(&admission, &one),
            "it keeps what was held by 1 lost peers from 10.0.0.1, as many as Limits::connections_per_address allows"
        );
        admission.readmit(7, &one).unwrap();
        refusal(&admission, &one);
        assert!(lose(7));
        let taken = admission.admit(&other).unwrap();
        admission.readmit(7, &other).unwrap_err();
        drop(taken);
        admission.readmit(7, &other).unwrap();
        admission.admit(&one).unwrap();
        refusal(&admission, &other);
        let kept = admission.take(7).map(Place::outlive);
        refusal(&admission, &other);
        drop(kept);
        admission.admit(&other).unwrap();
    }

    #[tokio::test]
    async fn of_lost_links_over_which_nothing_is_held_the_oldest_gives_way() {
        let limits = Limits { connections: 3, ..Limits::default() };
        let server = Node::builder().listen("mem://admission").limits(limits).start().await.unwrap();
        let at = server.endpoints().remove(0);
        for _ in 0..20 {
            let client = Node::builder().start().await.unwrap();
            let link = client.link_at(&at).await.unwrap();
            // Without a word: who dialled might come back.
            link.leave(false);
            link.wait_ended().await;
        }
        let rests = async {
            while server.links().len() > 3 || server.stats().connections > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(3), rests).await.unwrap();
        assert_eq!(server.links().len(), 3, "the last ones may be resumed");
        server.shutdown().await;
    }
}
