//! One side of a pair: a session, what its node keeps, and what happened there.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Wake, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use rmi_core::{
    Limits, NodeId, ObjectId, RemoteError,
    id::{Fingerprint, MethodId},
    session::{
        Answer, Arrived, ArrivedTarget, CallKey, Cost, Established, Event, Handshake, Intake, MethodRef, Passed,
        ServedId, Session, StartCall,
    },
    time::Time,
    wire::{Encoded, Frame, Hello, LinkId, Message, Outcome, PromiseId, Target, Ticket, WireError, split_frame},
};

use crate::object::{Dropped, Exported, Obj};

#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) session: Session<Obj>,
    pub(crate) peer: NodeId,
    pub(crate) exported: Exported,
    /// What arrived and is not handled, as a driver has it.
    pub(crate) intake: Intake,
    /// Calls that arrived and are not answered.
    pub(crate) calls: Vec<Served>,
    /// Every call that ever arrived, by its payload's first bytes.
    pub(crate) dispatched: Vec<Bytes>,
    pub(crate) cancelled: Vec<ServedId>,
    pub(crate) closing: bool,
    pub(crate) goodbye: Option<String>,
    /// How often the peer revoked something.
    pub(crate) revoked: usize,
    /// The link that is to replace this one.
    pub(crate) merged: Option<LinkId>,
    pub(crate) dropped: Dropped,
    /// What the session let go of, in all.
    pub(crate) garbage: Rc<Cell<usize>>,
    pub(crate) woken: Arc<Woken>,
    /// The messages that arrived, unless they are not to be kept.
    pub(crate) heard: Vec<Message>,
    pub(crate) keeps_heard: bool,
    /// What arrived and is not in `heard`.
    overheard: BytesMut,
    pub(crate) limits: Limits,
}

/// Counts wake-ups.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicUsize);

impl Woken {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call that arrived, as its handler sees it.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) id: ServedId,
    pub(crate) object: Option<Obj>,
    pub(crate) service: Option<String>,
    pub(crate) references: Vec<Option<Obj>>,
    pub(crate) payload: Bytes,
    pub(crate) cost: Cost,
    pub(crate) deadline: Option<Time>,
    pub(crate) depth: u32,
}

/// What pulls a stream.
pub(crate) const PULL: &str = "rmi.Stream.next";

/// A call to start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) target: Target,
    pub(crate) order: ObjectId,
    pub(crate) method: &'static str,
    pub(crate) payload: Vec<u8>,
    pub(crate) references: Vec<Obj>,
    pub(crate) deadline: Option<Time>,
    pub(crate) depth: u32,
    pub(crate) promises: Option<PromiseId>,
}

impl Start {
    /// A call of a service: needs no object.
    pub(crate) fn service() -> Self {
        let order = ObjectId::from_bytes([1; 16]);
        let method = "demo.Registry.lookup";
        let target = Target::Service("registry".into());
        let (payload, references) = (Vec::new(), Vec::new());
        Self { target, order, method, payload, references, deadline: None, depth: 0, promises: None }
    }

    pub(crate) fn of(object: &Obj) -> Self {
        let (target, method) = (Target::Slot(object.slot()), "demo.Account.balance");
        Self { target, order: object.id(), method, ..Self::service() }
    }

    /// A call of the first reference of what was promised, by the order of the call that did.
    pub(crate) fn of_promise(promise: PromiseId) -> Self {
        let (target, method) = (Target::Promise { promise, reference: 0 }, "demo.Account.balance");
        Self { target, method, ..Self::service() }
    }

    pub(crate) fn promising(self, promise: PromiseId) -> Self {
        Self { promises: Some(promise), ..self }
    }

    pub(crate) fn payload(self, payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..self }
    }

    /// A payload of this length, that begins with this byte.
    pub(crate) fn sized(self, tag: u8, len: usize) -> Self {
        self.payload(vec![tag; len])
    }

    pub(crate) fn passing(self, references: &[&Obj]) -> Self {
        Self { references: references.iter().map(|&object| object.clone()).collect(), ..self }
    }

    pub(crate) fn until(self, deadline: Time) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    pub(crate) fn depth(self, depth: u32) -> Self {
        Self { depth, ..self }
    }

    pub(crate) fn in_order_of(self, order: u8) -> Self {
        Self { order: ObjectId::from_bytes([order; 16]), ..self }
    }
}

impl Side {
    /// Both sides of a new link, their hellos exchanged.
    pub(crate) fn both(limits: [Limits; 2], lease: Duration) -> [Self; 2] {
        let nodes = [NodeId::random(), NodeId::random()];
        let [a, b] = connect(nodes, &limits, lease);
        let [for_a, for_b] = limits;
        [(a, for_a), (b, for_b)].map(|(established, limits)| {
            let peer = established.peer.node;
            Self {
                session: Session::new(established, limits.clone(), Time::START),
                peer,
                exported: Exported::default(),
                intake: Intake::default(),
                overheard: BytesMut::new(),
                calls: Vec::new(),
                dispatched: Vec::new(),
                cancelled: Vec::new(),
                closing: false,
                goodbye: None,
                revoked: 0,
                merged: None,
                dropped: Dropped::default(),
                garbage: Rc::default(),
                woken: Arc::default(),
                heard: Vec::new(),
                keeps_heard: true,
                limits,
            }
        })
    }

    pub(crate) fn start(&mut self, now: Time, start: Start) -> Result<CallKey, RemoteError> {
        let Start { target, order, method, payload, references, deadline, depth, promises } = start;
        let references = references.iter().map(|object| self.pass(object)).collect();
        let id = if method == PULL { MethodId(2) } else { MethodId(fnv(method)) };
        let method = MethodRef { id, fingerprint: Fingerprint(7), name: &method };
        let mut payload = encoded(payload);
        let call = StartCall {
            target,
            order,
            method,
            references,
            payload: &mut payload,
            deadline,
            depth,
            relayed: false,
            extras: None,
            promises,
        };
        let started = self.session.start_call(now, call);
        assert!(payload.is_empty(), "the payload is left empty");
        self.carry_out();
        started
    }

    pub(crate) fn pass(&mut self, object: &Obj) -> Passed<Obj> {
        self.exported.insert(object);
        object.pass(self.peer)
    }

    pub(crate) fn poll(&mut self, key: CallKey) -> Option<Answer<Obj>> {
        let woken = self.woken.clone();
        self.poll_with(key, woken)
    }

    pub(crate) fn poll_with(&mut self, key: CallKey, woken: Arc<Woken>) -> Option<Answer<Obj>> {
        let polled = self.session.poll_answer(key, &Waker::from(woken));
        self.carry_out();
        match polled {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    /// Whether a oneway call is on its way.
    pub(crate) fn poll_departure(&mut self, key: CallKey, woken: Arc<Woken>) -> Poll<Result<(), RemoteError>> {
        let polled = self.session.poll_departure(key, &Waker::from(woken));
        self.carry_out();
        polled
    }

    pub(crate) fn cancel(&mut self, now: Time, key: CallKey) {
        self.session.cancel_call(now, key);
        self.carry_out();
    }

    /// Wraps references as the objects that the node sees.
    pub(crate) fn receive(&self, references: Vec<rmi_core::session::Received<Obj>>) -> Vec<Option<Obj>> {
        references.into_iter().map(|reference| Obj::received(reference, &self.dropped)).collect()
    }

    /// These bytes were read.
    pub(crate) fn handle_read(&mut self, now: Time, mut bytes: &[u8]) -> Result<(), WireError> {
        self.overheard.extend_from_slice(bytes);
        while let Ok(Some(frame)) = split_frame(&mut self.overheard) {
            self.note_heard(&frame);
        }
        let mut events = Vec::new();
        let mut handled = Ok(());
        while (!bytes.is_empty() || self.intake.is_behind()) && handled.is_ok() {
            if !self.intake.is_behind() {
                let (into, len_max) = self.intake.room();
                let room = len_max.min(into.capacity() - into.len());
                let (part, rest) = bytes.split_at(room.min(bytes.len()));
                into.extend_from_slice(part);
                bytes = rest;
            }
            handled = self.session.handle_read(now, &mut self.intake, &self.exported, &mut events);
        }
        for event in events {
            self.handle_event(event);
        }
        self.carry_out();
        handled
    }

    fn note_heard(&mut self, frame: &Frame) {
        if self.keeps_heard {
            self.heard.extend(Message::decode(frame.kind, frame.body.clone(), &self.limits));
        }
    }

    pub(crate) fn handle_frame(&mut self, now: Time, frame: Frame) -> Result<(), WireError> {
        self.note_heard(&frame);
        let mut events = Vec::new();
        let handled = self.session.handle_frame(now, frame, &self.exported, &mut events);
        for event in events {
            self.handle_event(event);
        }
        self.carry_out();
        handled
    }

    fn handle_event(&mut self, event: Event<Obj>) {
        match event {
            Event::Call(call) => {
                let Arrived { id, target, references, payload, cost, deadline, depth, .. } = call;
                let (object, service) = match target {
                    ArrivedTarget::Object(object) | ArrivedTarget::Promised(object) => (Some(object), None),
                    ArrivedTarget::Service(name) => (None, Some(name)),
                };
                let payload = payload.into_bytes();
                self.dispatched.push(payload.slice(..payload.len().min(8)));
                let references = self.receive(references);
                self.calls.push(Served { id, object, service, references, payload, cost, deadline, depth });
            }
            Event::Cancel(id) => self.cancelled.push(id),
            Event::Closing => self.closing = true,
            Event::Goodbye(reason) => self.goodbye = Some(reason),
            Event::Revoked => self.revoked += 1,
            Event::Merge(link) => self.merged = Some(link),
        }
    }

    /// What a driver does once it has let go of the session.
    pub(crate) fn carry_out(&mut self) {
        loop {
            let effects = self.session.take_effects();
            self.garbage.set(self.garbage.get() + effects.garbage.len());
            effects.wakers.into_iter().for_each(Waker::wake);
            drop(effects.garbage);
            let dropped = self.dropped.take();
            if dropped.is_empty() && !self.session.has_effects() {
                return;
            }
            dropped.into_iter().for_each(|slot| self.session.release(slot));
        }
    }

    /// The first call that arrived and was not taken.
    pub(crate) fn take_call(&mut self) -> Served {
        assert!(!self.calls.is_empty(), "no call arrived");
        self.take_nth_call(0)
    }

    pub(crate) fn take_nth_call(&mut self, nth: usize) -> Served {
        let mut call = self.calls.remove(nth);
        self.session.let_go(std::mem::take(&mut call.cost));
        call
    }

    pub(crate) fn reply(&mut self, id: ServedId, payload: &[u8], references: &[&Obj]) {
        self.reply_beside(id, payload, references);
        self.handle_released();
    }

    /// The same by a handler on another thread: the driver has not been told yet.
    pub(crate) fn reply_beside(&mut self, id: ServedId, payload: &[u8], references: &[&Obj]) {
        let references = references.iter().map(|&object| self.pass(object)).collect();
        self.session.reply(id, Outcome::Ok, references, &mut BytesMut::from(payload).into());
        self.carry_out();
    }

    /// What waited for an answer begins, as a driver sees to.
    fn handle_released(&mut self) {
        let mut events = Vec::new();
        self.session.take_released(&mut events);
        for event in events {
            self.handle_event(event);
        }
    }

    /// Its connection is lost: the handlers of all calls are dropped.
    #[track_caller]
    pub(crate) fn suspend(&mut self, now: Time) {
        let mut serving = self.session.suspend(now);
        let mut open: Vec<_> = self.calls.drain(..).map(|call| call.id).collect();
        serving.sort_by_key(|call| call.id.0);
        open.sort_by_key(|call| call.id.0);
        assert_eq!(serving, open, "the handlers to be dropped");
        self.intake = Intake::default();
        self.overheard.clear();
        self.carry_out();
        assert!(!self.session.has_output());
    }

    pub(crate) fn refuse(&mut self, id: ServedId, error: RemoteError) {
        self.session.refuse(id, error);
        self.carry_out();
    }
}

/// What both sides know once their hellos are exchanged. A dials, B accepts.
pub(crate) fn connect(nodes: [NodeId; 2], limits: &[Limits; 2], lease: Duration) -> [Established; 2] {
    let [dialler, acceptor] = [0, 1].map(|side| Hello::new(nodes[side], &limits[side], lease));
    let acceptor = Hello { ticket: Some(Ticket::random()), ..acceptor };
    let handshakes = [Handshake::dial(dialler), Handshake::accept(acceptor)];
    [0, 1].map(|side| {
        let frame = split_frame(&mut handshakes[1 - side].hello()).unwrap().unwrap();
        handshakes[side].handle_frame(&frame).unwrap()
    })
}

/// As an encoder makes it of four bytes, and of a byte string where more are left.
fn encoded(payload: Vec<u8>) -> Encoded {
    let mut bulk = Bytes::from(payload);
    let front = BytesMut::from(bulk.split_to(bulk.len().min(4)));
    Encoded::new(front, (!bulk.is_empty()).then(|| Box::new(bulk)))
}

fn fnv(text: &str) -> u64 {
    rmi_core::id::fnv1a64(&[text])
}
