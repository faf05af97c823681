//! What transports and sockets do with the network.

use std::{
    io::{self, ErrorKind, IoSlice},
    task::Waker,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{sync::mpsc, time::Instant};

use super::{Door, End, Host, Network, NodeKey, Readable, Side, State, Wire, WireKey};
use crate::{
    pipe::Pipe,
    socket::{SimulatedSocket, unbound},
};

impl Network {
    pub(crate) fn open_door(&self, host: Host, node: NodeKey) -> io::Result<mpsc::UnboundedReceiver<SimulatedSocket>> {
        let (arrivals, waiting) = mpsc::unbounded_channel();
        let mut state = self.0.state.lock();
        if state.doors.contains_key(&host) {
            return Err(io::Error::new(ErrorKind::AddrInUse, "a node listens there already"));
        }
        state.doors.insert(host, Door { node, arrivals });
        Ok(waiting)
    }

    pub(crate) fn close_door(&self, host: Host, node: NodeKey) {
        let mut state = self.0.state.lock();
        let own = state.doors.get(&host).is_some_and(|door| door.node == node);
        let closed = own.then(|| state.doors.remove(&host));
        drop(state);
        drop(closed);
        self.0.changed.notify_waiters();
    }

    /// Connects; waits while nothing gets through.
    pub(crate) async fn dial(&self, node: NodeKey, from: Host, to: Host) -> io::Result<SimulatedSocket> {
        let delay = {
            let mut state = self.0.state.lock();
            let delay_max = u64::from(state.weather.delay_max);
            state.random(from, to).up_to(delay_max)
        };
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if let Some(connected) = self.try_dial(node, from, to) {
                return connected;
            }
            changed.await;
        }
    }

    fn try_dial(&self, node: NodeKey, from: Host, to: Host) -> Option<io::Result<SimulatedSocket>> {
        let mut state = self.0.state.lock();
        let lost =
            state.blocked.contains(&(from, to)) || state.blocked.contains(&(to, from)) || state.off.contains(&to);
        if lost || state.crashed.contains(&node) {
            return None;
        }
        let refused = || io::Error::new(ErrorKind::ConnectionRefused, "nobody listens there in the simulated network");
        let Some(door) = state.doors.get(&to) else { return Some(Err(refused())) };
        let (acceptor, arrivals) = (door.node, door.arrivals.clone());
        let key = WireKey(state.wires_made);
        state.wires_made += 1;
        let now = Instant::now();
        let weather = state.weather;
        let end = |node, host, random| End {
            node,
            host,
            closed: false,
            dropped: false,
            written: Pipe::new(now, weather, random),
        };
        let (there, back) = (state.random(from, to).split(), state.random(from, to).split());
        let wire = Wire { dialler: end(node, from, there), acceptor: end(acceptor, to, back) };
        state.wires.insert(key, wire);
        drop(state);
        let socket = |side, own, peer| SimulatedSocket::new(self.clone(), key, side, own, peer);
        let dialler = socket(Side(false), from, to);
        Some(arrivals.send(socket(Side(true), to, from)).map(|()| dialler).map_err(|_| unbound()))
    }

    /// When this side can read; if not now, `waker` is told of changes.
    pub(crate) fn poll_readable(&self, wire: WireKey, side: Side, waker: &Waker) -> Readable {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let Some(found) = state.wires.get_mut(&wire) else { return Readable::Now };
        let (own, peer) = found.end(side);
        if own.closed {
            return Readable::Now;
        }
        let held = state.blocked.contains(&(peer.host, own.host)) || state.crashed.contains(&own.node);
        let readable = match peer.written.next_arrival() {
            Some(at) if !held && at <= now => return Readable::Now,
            Some(at) if !held => Readable::At(at),
            _ => Readable::Never,
        };
        let stale = peer.written.reader.replace(waker.clone());
        drop(stale);
        readable
    }

    pub(crate) fn read(&self, wire: WireKey, side: Side, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let Some(found) = state.wires.get_mut(&wire) else { return Ok(0) };
        let (own, peer) = found.end(side);
        if own.closed {
            return Ok(0);
        }
        if state.blocked.contains(&(peer.host, own.host)) || state.crashed.contains(&own.node) {
            return Err(ErrorKind::WouldBlock.into());
        }
        peer.written.read(into, len_max, Instant::now())
    }

    pub(crate) fn write(&self, wire: WireKey, side: Side, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let now = Instant::now();
        let mut woken = Vec::new();
        let mut state = self.0.state.lock();
        let State { crashed, blocked, wires, .. } = &mut *state;
        let broken = || io::Error::new(ErrorKind::BrokenPipe, "the simulated connection has ended");
        let found = wires.get_mut(&wire).ok_or_else(broken)?;
        let (own, peer) = found.end(side);
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if crashed.contains(&own.node) {
            return Ok(length);
        }
        if own.closed || (peer.written.is_over(now) && !blocked.contains(&(peer.host, own.host))) {
            return Err(broken());
        }
        if own.written.broken {
            return Ok(length);
        }
        for buf in bufs {
            let arrives = own.written.breaks_after.map_or(buf.len(), |left| left.min(buf.len()));
            let (arrives, lost) = buf.split_at(arrives);
            own.written.push_bytes(arrives, now);
            if let Some(left) = &mut own.written.breaks_after {
                *left -= arrives.len();
            }
            if !lost.is_empty() {
                own.written.reset(true, now);
                peer.written.reset(false, now);
                woken.extend(peer.written.reader.take());
                break;
            }
        }
        woken.extend(own.written.reader.take());
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        Ok(length)
    }

    /// Ends both directions; `dropped` where the socket is gone.
    pub(crate) fn close(&self, wire: WireKey, side: Side, dropped: bool) {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        let State { crashed, wires, .. } = &mut *state;
        let Some(found) = wires.get_mut(&wire) else { return };
        let (own, peer) = found.end(side);
        own.dropped |= dropped;
        if !std::mem::replace(&mut own.closed, true) && !crashed.contains(&own.node) && !own.written.broken {
            own.written.push_end(now);
        }
        let woken = [own.written.reader.take(), peer.written.reader.take()];
        let over = own.dropped && peer.dropped;
        let ended = over.then(|| wires.remove(&wire));
        drop(state);
        drop(ended);
        woken.into_iter().flatten().for_each(Waker::wake);
    }
}
