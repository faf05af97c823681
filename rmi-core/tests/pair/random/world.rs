//! A pair, and a model of what is true of it.

use std::{
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use rmi_core::{
    Certainty, ErrorKind, Limits, NodeId, ObjectId, RemoteError,
    session::{Answer, CallKey, Counts, Lost, ReferenceCounts},
    wire::Target,
};

use super::step::{Choice, Pick, Step};
use crate::{
    object::{Handle, Obj, Servant},
    pair::Pair,
    side::{Start, Woken},
};

#[derive(Debug)]
pub(crate) struct World {
    pair: Pair,
    /// Objects that local code holds.
    own: [Vec<Obj>; 2],
    held: [Vec<Obj>; 2],
    /// Every object there ever was, with the side that has it.
    servants: HashMap<ObjectId, (usize, Weak<Servant>)>,
    ids: Vec<ObjectId>,
    handles: Vec<(usize, Weak<Handle>)>,
    calls: Vec<Call>,
    answers: HashMap<u32, Given>,
    /// A side has said goodbye.
    goodbye: bool,
    lost: bool,
}

#[derive(Debug)]
struct Call {
    side: usize,
    tag: u32,
    order: Option<ObjectId>,
    key: Option<CallKey>,
    end: Option<End>,
    /// What the caller keeps until the call ends.
    kept: Option<Obj>,
    keeps: bool,
    /// The caller waits only until it is on its way.
    oneway: bool,
    woken: Arc<Woken>,
    /// How often the caller had been woken when it last found nothing.
    seen: Option<usize>,
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Replied,
    Failed(ErrorKind, Certainty),
    Gone,
}

/// What a handler answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Reply,
    Refusal,
}

fn cause() -> RemoteError {
    RemoteError::new(ErrorKind::ConnectionLost, "cut")
}

fn payload(tag: u32, len: usize) -> Vec<u8> {
    let mut payload = vec![tag as u8; len.max(4)];
    payload[..4].copy_from_slice(&tag.to_le_bytes());
    payload
}

fn tag_of(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload[..4].try_into().unwrap())
}

impl World {
    pub(crate) fn new(limits: [Limits; 2]) -> Self {
        let mut pair = Pair::with_each(limits);
        for side in &mut pair.sides {
            side.keeps_heard = false;
        }
        Self {
            pair,
            own: Default::default(),
            held: Default::default(),
            servants: HashMap::new(),
            ids: Vec::new(),
            handles: Vec::new(),
            calls: Vec::new(),
            answers: HashMap::new(),
            goodbye: false,
            lost: false,
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Create { side, third } => self.create(side, third),
            Step::Start { side, target, len, references, depth, seconds } => {
                let references = self.choose(side, &references);
                self.start(side, &target, len, references, depth, seconds);
            }
            Step::Burst { side, len, behind, seconds } => {
                for len in std::iter::once(len).chain(std::iter::repeat_n(4, behind)) {
                    self.start(side, &Choice::Service, len, Vec::new(), 0, seconds);
                }
            }
            Step::Acquire { side, object } => self.acquire(side, object),
            Step::Poll { keep } => self.poll_all(keep),
            Step::Cancel { call } => self.cancel(call),
            Step::Depart { call } => self.depart(call),
            Step::Answer { side, call, len, references, keep } => {
                let references = self.choose(side, &references);
                self.answer(side, call, len, &references, keep);
            }
            Step::Refuse { side, call } => self.refuse(side, call),
            Step::DropHeld { side, object } => drop_one(&mut self.held[side], object),
            Step::DropOwn { side, object } => drop_one(&mut self.own[side], object),
            Step::Write { side, max } => drop(self.pair.write(side, max)),
            Step::Deliver { side, max } => drop(self.pair.deliver(side, max)),
            Step::Exchange => self.pair.run(),
            Step::Time { millis } => self.pass_time(Duration::from_millis(millis)),
            // Without a connection there is nobody to tell: the driver ends the link.
            Step::Close { .. } | Step::Goodbye { .. } if self.is_suspended() => self.cut(),
            Step::Close { side } => self.pair.sides[side].session.close(),
            Step::Goodbye { side } => {
                self.pair.sides[side].session.goodbye("so long");
                self.goodbye = true;
            }
            Step::Lose { b_notices } => self.lose(b_notices),
            Step::Resume { loses_answer } => self.resume(loses_answer),
            Step::Cut => self.cut(),
        }
        self.pair.sides.iter_mut().for_each(|side| side.carry_out());
        self.check();
    }

    fn create(&mut self, side: usize, third: bool) {
        let (object, weak) = if third { Obj::of_third(NodeId::random()) } else { Obj::new() };
        self.pair.sides[side].exported.insert(&object);
        self.servants.insert(object.id(), (side, weak));
        self.ids.push(object.id());
        self.own[side].push(object);
    }

    /// References that a side has: its own objects and those it holds.
    fn choose(&self, side: usize, indices: &[Pick]) -> Vec<Obj> {
        let all: Vec<&Obj> = self.own[side].iter().chain(&self.held[side]).collect();
        if all.is_empty() {
            return Vec::new();
        }
        indices.iter().map(|index| (*index.get(&all)).clone()).collect()
    }

    fn start(
        &mut self,
        side: usize,
        target: &Choice,
        len: usize,
        references: Vec<Obj>,
        depth: u32,
        seconds: Option<u64>,
    ) {
        let tag = self.calls.len() as u32;
        let mut kept = None;
        let start = match target {
            Choice::Held { object, keep } if !self.held[side].is_empty() => {
                let object = object.get(&self.held[side]);
                kept = keep.then(|| object.clone());
                Start::of(object)
            }
            Choice::ById(id) if !self.ids.is_empty() => {
                let id = *id.get(&self.ids);
                Start { target: Target::Object(id), order: id, ..Start::service() }
            }
            _ => Start::service(),
        };
        let deadline = seconds.map(|seconds| self.pair.now + Duration::from_secs(seconds));
        let start = Start { references, deadline, depth, ..start.payload(payload(tag, len)) };
        let order = Some(start.order);
        let (key, end) = match self.pair.try_start(side, start) {
            Ok(key) => (Some(key), None),
            Err(error) => {
                assert_eq!(error.certainty(), Certainty::NotSent);
                (None, Some(End::Failed(error.kind(), error.certainty())))
            }
        };
        let (keeps, woken) = (kept.is_some(), Arc::default());
        let kept = kept.filter(|_| key.is_some());
        self.calls.push(Call { side, tag, order, key, end, kept, keeps, oneway: false, woken, seen: None });
    }

    fn acquire(&mut self, side: usize, object: Pick) {
        let id = if self.ids.is_empty() { ObjectId::random() } else { *object.get(&self.ids) };
        let tag = self.calls.len() as u32;
        let Ok(key) = self.pair.sides[side].session.start_acquire(self.pair.now, id, None) else { return };
        let (keeps, woken) = (false, Arc::default());
        let (order, key, end, kept) = (None, Some(key), None, None);
        self.calls.push(Call { side, tag, order, key, end, kept, keeps, oneway: false, woken, seen: None });
    }

    fn poll_all(&mut self, keep: bool) {
        for at in 0..self.calls.len() {
            let call = &mut self.calls[at];
            let (Some(key), None) = (call.key, call.end) else { continue };
            let before = call.woken.count();
            if call.oneway {
                self.poll_departure(at);
                continue;
            }
            let polled = self.pair.sides[call.side].poll_with(key, call.woken.clone());
            match polled {
                None => call.seen = Some(before),
                Some(answer) => {
                    assert!(call.seen.is_none_or(|seen| before > seen), "the caller was not woken");
                    call.kept = None;
                    let side = call.side;
                    self.calls[at].end = Some(self.end(at, answer, keep));
                    let again = self.pair.sides[side].poll(key);
                    assert!(again.is_none(), "a call ends once");
                }
            }
        }
    }

    fn depart(&mut self, call: Pick) {
        if self.calls.is_empty() {
            return;
        }
        let at = call.index(self.calls.len());
        let call = &mut self.calls[at];
        if call.order.is_some() && call.key.is_some() && call.end.is_none() {
            (call.oneway, call.seen) = (true, None);
            self.poll_departure(at);
        }
    }

    fn poll_departure(&mut self, at: usize) {
        let call = &mut self.calls[at];
        let Some(key) = call.key else { return };
        let before = call.woken.count();
        match self.pair.sides[call.side].poll_departure(key, call.woken.clone()) {
            Poll::Pending => call.seen = Some(before),
            Poll::Ready(departed) => {
                assert!(call.seen.is_none_or(|seen| before > seen), "the caller was not woken");
                let failed = |error: RemoteError| End::Failed(error.kind(), error.certainty());
                (call.end, call.kept) = (Some(departed.err().map_or(End::Gone, failed)), None);
            }
        }
    }

    fn end(&mut self, at: usize, answer: Answer<Obj>, keep: bool) -> End {
        let Call { side, tag, order, .. } = self.calls[at];
        match answer {
            Answer::Failed(error) => End::Failed(error.kind(), error.certainty()),
            Answer::Reply { payload, references, .. } => {
                if order.is_some() {
                    assert_eq!(tag_of(&payload.into_bytes()), tag, "the answer of another call");
                }
                let references = self.pair.sides[side].receive(references);
                self.take(side, references, keep);
                End::Replied
            }
        }
    }

    /// References arrived at a side, which keeps them or lets go of them.
    fn take(&mut self, side: usize, references: Vec<Option<Obj>>, keep: bool) {
        for object in references.into_iter().flatten() {
            match &object {
                Obj::Held(handle) => self.handles.push((side, Rc::downgrade(handle))),
                Obj::Own(servant) => {
                    let (owner, known) = &self.servants[&servant.id];
                    assert!(
                        *owner == side && Rc::ptr_eq(servant, &known.upgrade().unwrap()),
                        "another object came home"
                    );
                }
            }
            if keep {
                let mine = matches!(object, Obj::Own(_));
                if mine { self.own[side].push(object) } else { self.held[side].push(object) }
            }
        }
    }

    fn cancel(&mut self, call: Pick) {
        if self.calls.is_empty() {
            return;
        }
        let at = call.index(self.calls.len());
        let call = &mut self.calls[at];
        if let (Some(key), None) = (call.key, call.end) {
            call.end = Some(End::Gone);
            call.kept = None;
            let side = call.side;
            self.pair.cancel(side, key);
            assert!(self.pair.sides[side].poll(key).is_none());
        }
    }

    fn answer(&mut self, side: usize, call: Pick, len: usize, references: &[Obj], keep: bool) {
        if self.pair.sides[side].calls.is_empty() {
            return;
        }
        let nth = call.index(self.pair.sides[side].calls.len());
        let served = self.pair.sides[side].take_nth_call(nth);
        let tag = tag_of(&served.payload);
        self.answers.insert(tag, Given::Reply);
        let references: Vec<&Obj> = references.iter().collect();
        self.pair.sides[side].reply(served.id, &payload(tag, len), &references);
        self.take(side, served.references, keep);
    }

    fn refuse(&mut self, side: usize, call: Pick) {
        if self.pair.sides[side].calls.is_empty() {
            return;
        }
        let nth = call.index(self.pair.sides[side].calls.len());
        let served = self.pair.sides[side].take_nth_call(nth);
        self.answers.insert(tag_of(&served.payload), Given::Refusal);
        let error = RemoteError::new(ErrorKind::Panicked, "ouch").with_certainty(Certainty::Executed);
        self.pair.sides[side].refuse(served.id, error);
        self.take(side, served.references, false);
    }

    fn pass_time(&mut self, span: Duration) {
        if self.lost {
            return;
        }
        if self.pair.try_pass_time(span).iter().any(Result::is_err) {
            self.cut();
        }
    }

    /// The connection is lost, unless the link is about to end anyway.
    fn lose(&mut self, b_notices: bool) {
        let resumable = self.pair.sides.iter().all(|side| side.session.is_resumable());
        if resumable && !self.lost && !self.is_suspended() {
            self.pair.lose(b_notices);
        }
    }

    fn is_suspended(&self) -> bool {
        self.pair.sides.iter().any(|side| side.session.is_suspended())
    }

    fn resume(&mut self, loses_answer: bool) {
        let [a, b] = &self.pair.sides;
        if self.lost || !a.session.is_suspended() || !b.session.is_resumable() {
            return;
        }
        if self.pair.try_resume(loses_answer) {
            self.poll_all(true);
        }
    }

    /// The link is lost: at both sides at once, since nothing can be told over it.
    fn cut(&mut self) {
        if std::mem::replace(&mut self.lost, true) {
            return;
        }
        for side in 0..2 {
            self.pair.networks[side].cut();
            let side = &mut self.pair.sides[side];
            let Lost { mut serving, given } = side.session.lose(&cause());
            let mut open: Vec<_> = side.calls.iter().map(|call| call.id).collect();
            serving.sort_by_key(|call| call.id.0);
            open.sort_by_key(|call| call.id.0);
            assert_eq!(serving, open, "the handlers to be dropped");
            drop(given);
            side.carry_out();
            let Counts { served, exports, imports, .. } = side.session.counts();
            assert_eq!((served, exports, imports), (0, 0, 0));
            assert!(!side.session.has_output());
        }
        self.poll_all(true);
        assert!(self.calls.iter().all(|call| call.end.is_some()), "a call outlived its link");
    }

    fn check(&self) {
        self.check_order();
        if self.lost || self.goodbye {
            return;
        }
        for side in 0..2 {
            let (giver, holder) = (&self.pair.sides[side].session, &self.pair.sides[1 - side].session);
            assert!(giver.counts().exports >= holder.counts().imports, "held, and not given");
            assert!(giver.reference_counts().given >= holder.reference_counts().held, "held more often than given");
        }
        for (side, handle) in &self.handles {
            let Some(handle) = handle.upgrade() else { continue };
            let (owner, servant) = &self.servants[&handle.id];
            assert!(servant.upgrade().is_some(), "an object is gone that is held");
            assert_eq!(*owner, 1 - side);
        }
    }

    /// Each call is dispatched at most once, and those to one object in the order of their making.
    fn check_order(&self) {
        for side in &self.pair.sides {
            let mut last: HashMap<ObjectId, u32> = HashMap::new();
            for payload in &side.dispatched {
                let tag = tag_of(payload);
                let order = self.calls[tag as usize].order.expect("no acquire is dispatched");
                if let Some(before) = last.insert(order, tag) {
                    assert!(before < tag, "call {tag} came after call {before}");
                }
            }
        }
    }

    /// Brings everything to its end, and looks what is left.
    pub(crate) fn finish(mut self) {
        if self.goodbye {
            self.pair.run();
            self.cut();
        }
        if self.pair.sides[0].session.is_suspended() {
            if self.pair.sides[1].session.is_resumable() { self.resume(false) } else { self.cut() }
        }
        if !self.lost {
            self.come_to_rest();
        }
        self.check_ends();
        self.own = Default::default();
        self.held = Default::default();
        for side in &mut self.pair.sides {
            side.calls.clear();
            side.carry_out();
        }
        if !self.lost {
            self.pair.run();
            self.check();
            self.pair.check_agreement();
        }
        self.pair.check_empty();
        for side in &self.pair.sides {
            assert_eq!(side.session.reference_counts(), ReferenceCounts::default());
        }
        assert!(self.servants.values().all(|(_, servant)| servant.upgrade().is_none()), "an object is left");
    }

    fn come_to_rest(&mut self) {
        loop {
            self.pair.run();
            self.pair.check_agreement();
            self.poll_all(true);
            let busy = [0, 1].into_iter().find(|side| !self.pair.sides[*side].calls.is_empty());
            let Some(side) = busy else { break };
            let first = self.pair.sides[side].take_nth_call(0);
            let tag = tag_of(&first.payload);
            self.answers.insert(tag, Given::Reply);
            self.pair.sides[side].reply(first.id, &payload(tag, 4), &[]);
            self.take(side, first.references, false);
            self.check();
        }
        self.pair.run();
        self.poll_all(true);
        self.pair.run();
        let waiting: Vec<_> = self.calls.iter().filter(|call| call.end.is_none()).map(|call| call.tag).collect();
        assert!(waiting.is_empty(), "calls {waiting:?} never end");
    }

    /// What callers were told is true.
    fn check_ends(&self) {
        let dispatched: Vec<u32> =
            self.pair.sides.iter().flat_map(|side| &side.dispatched).map(|payload| tag_of(payload)).collect();
        for Call { tag, order, end, keeps, .. } in &self.calls {
            let ran = dispatched.contains(tag);
            let given = self.answers.get(tag);
            match end.expect("looked at above") {
                End::Gone => {}
                End::Replied => assert!(order.is_none() || given == Some(&Given::Reply), "call {tag} has no reply"),
                End::Failed(kind, certainty) => {
                    let is_true = match certainty {
                        Certainty::NotSent | Certainty::NotExecuted => !ran,
                        Certainty::Executed => ran,
                        Certainty::Unknown => true,
                    };
                    assert!(is_true, "call {tag} ended as {kind:?}, {certainty:?}, and it ran: {ran}");
                    assert!(!keeps || kind != ErrorKind::NoSuchObject, "call {tag} kept its object");
                    if kind == ErrorKind::Panicked {
                        assert_eq!(given, Some(&Given::Refusal));
                    }
                }
            }
        }
    }
}

fn drop_one(objects: &mut Vec<Obj>, which: Pick) {
    if !objects.is_empty() {
        objects.swap_remove(which.index(objects.len()));
    }
}
