//! Frames that neither side sent come in between, and bytes on their way change.
//!
//! What the peer says may be a lie, so little of the model of honest links is left: nothing panics, a broken
//! rule ends the link and nothing else, each call ends once, tables keep their bounds, and when all is over
//! nothing is left.

use std::{rc::Weak, sync::Arc, task::Poll, time::Duration};

use bytes::BytesMut;
use rmi_core::{
    Certainty, ErrorKind, ObjectId, RemoteError,
    session::{Answer, CallKey, Counts, Lost, ReferenceCounts},
    wire::{Frame, Message, PromiseId, Target, WireError, begin_frame, finish_frame, split_frame},
};

use super::{STEPS_MAX, forge, len, limits, max};
use crate::{
    choices::Choices,
    network::Network,
    object::{Obj, Servant},
    pair::{A, B, LEASE, Pair},
    side::{Served, Side, Start, Woken, connect},
};

/// Two sessions, and whoever is between them.
struct World {
    pair: Pair,
    own: [Vec<Obj>; 2],
    held: [Vec<Obj>; 2],
    /// Every object there ever was.
    servants: Vec<Weak<Servant>>,
    ids: Vec<ObjectId>,
    calls: Vec<Call>,
    promises: [Vec<PromiseId>; 2],
    said_goodbye: bool,
    over: bool,
}

struct Call {
    side: usize,
    key: CallKey,
    ended: bool,
    oneway: bool,
    woken: Arc<Woken>,
    /// How often the caller had been woken when it last found nothing.
    seen: Option<usize>,
}

/// Operations and forgeries, from these bytes.
pub(super) fn run(choices: &mut Choices<'_>) {
    let mut world = World::new(Pair::with_each([limits(choices), limits(choices)]));
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        if let Err(_broken) = world.step(choices) {
            world.cut();
        }
        world.pair.sides.iter_mut().for_each(|side| side.carry_out());
        world.check();
    }
    world.finish();
}

impl World {
    fn new(mut pair: Pair) -> Self {
        for side in &mut pair.sides {
            side.keeps_heard = false;
        }
        Self {
            pair,
            own: Default::default(),
            held: Default::default(),
            servants: Vec::new(),
            ids: Vec::new(),
            calls: Vec::new(),
            promises: Default::default(),
            said_goodbye: false,
            over: false,
        }
    }

    /// One operation. What a side finds wrong with the other ends the link.
    fn step(&mut self, choices: &mut Choices<'_>) -> Result<(), WireError> {
        let byte = choices.byte();
        let side = usize::from(byte >> 7);
        match byte & 0x7f {
            0..6 => self.create(side, byte & 7 == 5),
            6..20 => self.start(side, choices),
            20..23 => self.acquire(side, choices),
            23..28 => self.poll_all(byte & 1 == 0),
            28..31 => self.cancel(choices),
            31..33 => self.depart(choices),
            33..41 => self.answer(side, choices),
            41..44 => self.refuse(side, choices),
            44..48 => drop(take(&mut self.held[side], choices)),
            48..50 => drop(take(&mut self.own[side], choices)),
            50..57 => drop(self.pair.write(side, max(choices))),
            57..64 => drop(self.pair.try_deliver(side, max(choices))?),
            64..69 => self.exchange()?,
            69..72 => self.pass_time(choices),
            72 => self.pair.sides[side].session.close(),
            73 => {
                self.said_goodbye = true;
                self.pair.sides[side].session.goodbye("so long");
            }
            74 => self.pair.sides[side].session.stop_calling(),
            75 => self.unexport(side, choices),
            76..79 => self.lose(byte & 1 == 0),
            79..83 => self.resume(choices)?,
            83..88 => {
                if let Some(frame) = forge::raw(choices) {
                    self.inject(side, frame)?;
                }
            }
            88..118 => {
                let message = forge::message(choices, &self.ids);
                self.inject(side, forge::frame(&message))?;
            }
            118..122 => self.garble(side, choices),
            122..126 => self.repeat(side, choices)?,
            126 => drop(self.pair.sides[side].session.handle_timeout(self.pair.now)),
            _ => self.cut(),
        }
        Ok(())
    }

    fn create(&mut self, side: usize, third: bool) {
        let (object, weak) = if third { Obj::of_third(rmi_core::NodeId::from_bytes([3; 16])) } else { Obj::new() };
        self.pair.sides[side].exported.insert(&object);
        self.ids.push(object.id());
        self.servants.push(weak);
        self.own[side].push(object);
    }

    fn references(&self, side: usize, choices: &mut Choices<'_>) -> Vec<Obj> {
        let all: Vec<&Obj> = self.own[side].iter().chain(&self.held[side]).collect();
        let count = choices.byte() >> 6;
        let chosen = (0..count).filter_map(|_| all.get(choices.below(all.len().clamp(1, 256))).copied().cloned());
        chosen.collect()
    }

    fn start(&mut self, side: usize, choices: &mut Choices<'_>) {
        let byte = choices.byte();
        let index = usize::from(byte >> 4);
        let start = match byte & 3 {
            1 if !self.held[side].is_empty() => Start::of(&self.held[side][index % self.held[side].len()]),
            2 if !self.ids.is_empty() => {
                let id = self.ids[index % self.ids.len()];
                Start { target: Target::Object(id), order: id, ..Start::service() }
            }
            3 if !self.promises[side].is_empty() => {
                Start::of_promise(self.promises[side][index % self.promises[side].len()])
            }
            _ => Start::service(),
        };
        let start = if byte & 4 == 0 { start } else { start.promising(self.pair.sides[side].session.next_promise()) };
        let promise = start.promises;
        let deadline = (byte & 8 != 0).then(|| self.pair.now + Duration::from_millis(500));
        let references = self.references(side, choices);
        let start = Start { references, deadline, ..start.sized(byte, len(choices)) };
        match self.pair.try_start(side, start) {
            Ok(key) => {
                self.promises[side].extend(promise);
                self.add(side, key);
            }
            Err(error) => assert_eq!(error.certainty(), Certainty::NotSent),
        }
    }

    fn add(&mut self, side: usize, key: CallKey) {
        self.calls.push(Call { side, key, ended: false, oneway: false, woken: Arc::default(), seen: None });
    }

    fn acquire(&mut self, side: usize, choices: &mut Choices<'_>) {
        let id = self.ids.get(choices.below(8)).copied().unwrap_or(ObjectId::from_bytes([9; 16]));
        if let Ok(key) = self.pair.sides[side].session.start_acquire(self.pair.now, id, None) {
            self.add(side, key);
        }
    }

    /// Looks at all calls. Each ends once, and its caller was woken.
    fn poll_all(&mut self, keep: bool) {
        for call in self.calls.iter_mut().filter(|call| !call.ended) {
            let side = &mut self.pair.sides[call.side];
            let before = call.woken.count();
            if call.oneway {
                call.ended = side.poll_departure(call.key, call.woken.clone()).is_ready();
            } else if let Some(answer) = side.poll_with(call.key, call.woken.clone()) {
                call.ended = true;
                assert!(side.poll(call.key).is_none(), "a call ends once");
                if let Answer::Reply { references, .. } = answer {
                    keep_those(side.receive(references), keep, &mut self.own[call.side], &mut self.held[call.side]);
                }
            }
            if call.ended {
                assert!(call.seen.is_none_or(|seen| before > seen), "the caller was not woken");
            }
            call.seen = Some(before);
        }
    }

    fn cancel(&mut self, choices: &mut Choices<'_>) {
        let mut open = self.calls.iter_mut().filter(|call| !call.ended);
        if let Some(call) = open.nth(choices.below(4)) {
            call.ended = true;
            self.pair.cancel(call.side, call.key);
        }
    }

    /// The caller wants no answer, and goes once the call is on its way.
    fn depart(&mut self, choices: &mut Choices<'_>) {
        let mut open = self.calls.iter_mut().filter(|call| !call.ended && !call.oneway);
        if let Some(call) = open.nth(choices.below(4)) {
            (call.oneway, call.seen) = (true, Some(call.woken.count()));
            let departed = self.pair.sides[call.side].poll_departure(call.key, call.woken.clone());
            call.ended = matches!(departed, Poll::Ready(_));
        }
    }

    fn serve(&mut self, side: usize, choices: &mut Choices<'_>) -> Option<Served> {
        let count = self.pair.sides[side].calls.len();
        (count > 0).then(|| self.pair.sides[side].take_nth_call(choices.below(count.min(256))))
    }

    fn answer(&mut self, side: usize, choices: &mut Choices<'_>) {
        let Some(call) = self.serve(side, choices) else { return };
        let references = self.references(side, choices);
        let payload = vec![7; len(choices)];
        self.pair.sides[side].reply(call.id, &payload, &references.iter().collect::<Vec<_>>());
        let keep = choices.flag();
        keep_those(call.references, keep, &mut self.own[side], &mut self.held[side]);
    }

    fn refuse(&mut self, side: usize, choices: &mut Choices<'_>) {
        let Some(call) = self.serve(side, choices) else { return };
        self.pair.sides[side].refuse(call.id, RemoteError::new(ErrorKind::Panicked, "ouch"));
    }

    fn exchange(&mut self) -> Result<(), WireError> {
        // A peer that was told that it may send for ever does so: no more than this.
        for _ in 0..20 {
            for side in [A, B] {
                while self.pair.sides[side].session.has_output() {
                    assert!(self.pair.write(side, usize::MAX) > 0, "has output, and offers none");
                }
                self.pair.try_deliver(side, usize::MAX)?;
            }
        }
        Ok(())
    }

    fn pass_time(&mut self, choices: &mut Choices<'_>) {
        let span = Duration::from_millis(20 * u64::from(choices.byte()));
        if !self.over && self.pair.try_pass_time(span).iter().any(Result::is_err) {
            self.cut();
        }
    }

    fn unexport(&mut self, side: usize, choices: &mut Choices<'_>) {
        let Some(object) = take(&mut self.own[side], choices) else { return };
        let (dead, weak) = Obj::new();
        self.servants.push(weak);
        self.pair.sides[side].session.unexport(&object.id(), dead);
    }

    fn lose(&mut self, b_notices: bool) {
        let resumable = self.pair.sides.iter().all(|side| side.session.is_resumable() && !side.session.is_suspended());
        if resumable && !self.over {
            self.pair.lose(b_notices);
        }
    }

    /// A takes the link up again, and perhaps claims to have received something else than it has.
    fn resume(&mut self, choices: &mut Choices<'_>) -> Result<(), WireError> {
        let [a, b] = &mut self.pair.sides;
        let now = self.pair.now;
        let Some(mut resume) = a.session.start_resume() else { return Ok(()) };
        match choices.byte() {
            0xff => resume.received = u64::MAX,
            0xfe => resume.epoch = u64::MAX,
            0xfd => resume.received = resume.received.saturating_sub(choices.byte().into()),
            _ => {}
        }
        if b.session.check_resume(&resume).is_err() {
            self.cut();
            return Ok(());
        }
        if !b.session.is_suspended() {
            b.suspend(now);
        }
        let [dialler, acceptor] = connect([b.peer, a.peer], &[a.limits.clone(), b.limits.clone()], LEASE);
        self.pair.networks = Default::default();
        b.session.handle_resume(acceptor, &resume, now)?;
        b.carry_out();
        let mut written = BytesMut::new();
        let answer = loop {
            self.pair.write(B, usize::MAX);
            self.pair.networks[B].deliver(usize::MAX, &mut written);
            if let Some(answer) = split_frame(&mut written)? {
                break answer;
            }
        };
        let a = self.pair.a();
        let Message::Ack(ack) = Message::decode(answer.kind, answer.body, &a.limits)? else {
            panic!("a resumption is answered with what arrived")
        };
        a.session.handle_resumed(dialler, ack, now)?;
        a.carry_out();
        a.handle_read(now, &written)
    }

    /// A frame that nobody sent arrives at a side: at once, or behind what is in the middle of arriving.
    fn inject(&mut self, side: usize, frame: Frame) -> Result<(), WireError> {
        if self.over || self.pair.sides[side].session.is_suspended() {
            return Ok(());
        }
        if self.pair.sides[side].intake.is_empty() {
            return self.pair.sides[side].handle_frame(self.pair.now, frame);
        }
        let mut bytes = BytesMut::new();
        let start = begin_frame(&mut bytes, frame.kind);
        bytes.extend_from_slice(&frame.body);
        finish_frame(&mut bytes, start);
        self.pair.networks[1 - side].write(&bytes);
        Ok(())
    }

    /// Bytes that are on their way from a side change.
    fn garble(&mut self, side: usize, choices: &mut Choices<'_>) {
        let mut bytes = BytesMut::new();
        self.pair.networks[side].deliver(usize::MAX, &mut bytes);
        let at = usize::from(choices.word());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= choices.byte();
        }
        self.pair.networks[side].write(&bytes);
    }

    /// The first frame that is on its way from a side arrives twice, or not at all.
    fn repeat(&mut self, side: usize, choices: &mut Choices<'_>) -> Result<(), WireError> {
        if !self.pair.sides[1 - side].intake.is_empty() {
            return Ok(());
        }
        let mut bytes = BytesMut::new();
        self.pair.networks[side].deliver(usize::MAX, &mut bytes);
        let first = split_frame(&mut bytes)?;
        self.pair.networks[side].write(&bytes);
        let Some(first) = first else { return Ok(()) };
        for _ in 0..2 * usize::from(choices.flag()) {
            self.inject(1 - side, first.clone())?;
        }
        Ok(())
    }

    /// The link is lost, for whatever reason.
    fn cut(&mut self) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.pair.networks.iter_mut().for_each(Network::cut);
        let cause = RemoteError::new(ErrorKind::ConnectionLost, "cut");
        for side in &mut self.pair.sides {
            let Lost { mut serving, given } = side.session.lose(&cause);
            let mut open: Vec<_> = side.calls.iter().map(|call| call.id).collect();
            serving.sort_by_key(|call| call.id.0);
            open.sort_by_key(|call| call.id.0);
            assert_eq!(serving, open, "the handlers to be dropped");
            drop(given);
            side.carry_out();
        }
        self.poll_all(true);
        assert!(self.calls.iter().all(|call| call.ended), "a call outlived its link");
    }

    fn check(&self) {
        for side in &self.pair.sides {
            let (counts, limits) = (side.session.counts(), &side.limits);
            assert!(counts.exports <= limits.exports as usize, "{counts:?}");
            assert!(side.calls.len() <= counts.served || self.over, "a call is served that nobody waits for");
            let open = self.calls.iter().filter(|call| !call.ended).count();
            assert!(open == 0 || !self.over, "a call outlived its link");
        }
        if self.over {
            for side in &self.pair.sides {
                let Counts { served, exports, imports, .. } = side.session.counts();
                assert_eq!((served, exports, imports), (0, 0, 0));
                assert!(!side.session.has_output());
            }
        }
    }

    /// All handlers answer, all callers go, all objects are dropped: then nothing is held, and nothing at all
    /// once the link has ended.
    fn finish(mut self) {
        if !self.over && self.settle().is_err() {
            self.cut();
        }
        self.cut();
        (self.own, self.held) = Default::default();
        for side in &mut self.pair.sides {
            side.calls.clear();
            side.carry_out();
            assert_eq!(side.session.reference_counts(), ReferenceCounts::default());
        }
        self.pair.check_empty();
        assert!(self.servants.iter().all(|servant| servant.upgrade().is_none()), "an object is left");
    }

    fn settle(&mut self) -> Result<(), WireError> {
        // Nothing is answered over a link that a goodbye has ended, or that has no connection.
        let ends = |side: &Side| side.goodbye.is_some() || side.session.is_suspended();
        if self.said_goodbye || self.pair.sides.iter().any(ends) {
            return Ok(());
        }
        for _ in 0..20 {
            self.exchange()?;
            if self.pair.sides.iter().any(ends) {
                return Ok(());
            }
            for side in &mut self.pair.sides {
                while !side.calls.is_empty() {
                    let call = side.take_nth_call(0);
                    side.reply(call.id, b"", &[]);
                }
            }
        }
        self.poll_all(false);
        for call in self.calls.iter_mut().filter(|call| !call.ended) {
            call.ended = true;
            self.pair.cancel(call.side, call.key);
        }
        (self.own, self.held) = Default::default();
        self.pair.sides.iter_mut().for_each(|side| side.carry_out());
        self.exchange()?;
        for side in &self.pair.sides {
            let Counts { served, imports, .. } = side.session.counts();
            assert_eq!((served, imports), (0, 0), "calls served and objects held, when all is at rest");
        }
        Ok(())
    }
}

fn take(objects: &mut Vec<Obj>, choices: &mut Choices<'_>) -> Option<Obj> {
    let count = objects.len().min(256);
    (count > 0).then(|| objects.swap_remove(choices.below(count)))
}

fn keep_those(references: Vec<Option<Obj>>, keep: bool, own: &mut Vec<Obj>, held: &mut Vec<Obj>) {
    for object in references.into_iter().flatten().filter(|_| keep) {
        if matches!(object, Obj::Own(_)) { own.push(object) } else { held.push(object) }
    }
}
