//! A peer that breaks the rules: the link ends with the error that says which, and nothing panics.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rmi_core::{
    Certainty, ErrorKind, Limits, NodeId, ObjectId, RemoteError,
    id::{Fingerprint, MethodId},
    session::Counts,
    wire::{
        Ack, Acquire, Call, CallId, Cancel, Chunk, Closing, Codec, Credit, Definition, Descriptor, Frame, Goodbye,
        Hello, InterfacesNumber, Kind, Message, MethodNumber, Outcome, Part, Payload, PromiseId, Refusal, Release,
        Reply, Resume, ResumeRefused, Slot, Target, Ticket, WireError, split_frame,
    },
};

use crate::{
    object::Obj,
    pair::{B, Pair},
    side::Start,
};

/// One session whose peer sends what it likes.
struct Victim(Pair);

impl Victim {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self(Pair::with(limits))
    }

    fn frame(&mut self, kind: Kind, body: impl Into<Bytes>) -> Result<(), WireError> {
        let now = self.0.now;
        self.0.b().handle_frame(now, Frame { kind, body: body.into() })
    }

    fn hear(&mut self, message: Message) -> Result<(), WireError> {
        let mut body = BytesMut::new();
        message.encode(&mut body);
        self.frame(message.kind(), body)
    }

    /// What it answers.
    fn said(&mut self) -> Vec<Message> {
        let session = &mut self.0.b().session;
        let mut bytes: BytesMut = session.slices().iter().flat_map(|slice| slice.to_vec()).collect();
        session.advance(bytes.len());
        let mut said = Vec::new();
        while let Some(Frame { kind, body }) = split_frame(&mut bytes).unwrap() {
            said.push(Message::decode(kind, body, &Limits::default()).unwrap());
        }
        said
    }

    #[track_caller]
    fn accept(&mut self, message: Message) {
        self.hear(message).unwrap();
    }

    #[track_caller]
    fn refuse(&mut self, message: Message, why: &str) {
        let error = self.hear(message).unwrap_err();
        assert_eq!(error.to_string(), why);
    }

    /// Defines method 0 and interfaces 0.
    fn defined(mut self) -> Self {
        self.accept(method(0));
        self.accept(interfaces(0));
        self
    }
}

fn method(number: u32) -> Message {
    Message::Define(Definition::Method {
        number: MethodNumber(number),
        id: MethodId(1000),
        fingerprint: Fingerprint(1),
        name: "demo.Bank.open".into(),
    })
}

fn interfaces(number: u32) -> Message {
    Message::Define(Definition::Interfaces { number: InterfacesNumber(number), names: vec!["demo.Bank".into()] })
}

fn call(id: u32) -> Call {
    Call {
        id: CallId(id),
        target: Target::Service("registry".into()),
        method: MethodNumber(0),
        time_left: None,
        depth: 0,
        extras: None,
        codec: Codec::Postcard,
        promises: None,
        references: Vec::new(),
        payload: Payload::default(),
    }
}

fn sized(id: u32, len: usize) -> Message {
    Message::Call(Call { payload: Bytes::from(vec![0; len]).into(), ..call(id) })
}

fn reply(id: u32) -> Reply {
    Reply {
        id: CallId(id),
        outcome: Outcome::Ok,
        codec: Codec::Postcard,
        references: Vec::new(),
        payload: Payload::default(),
    }
}

fn slot(index: u32, generation: u32) -> Slot {
    Slot { index, generation }
}

fn mine(slot: Slot) -> Descriptor {
    Descriptor::Mine { slot, object: ObjectId::random(), interfaces: InterfacesNumber(0) }
}

fn chunk(lane: u32, total: Option<u64>, part: Part, len: usize) -> Message {
    Message::Chunk(Chunk { lane, total, part, data: vec![Kind::Call as u8; len].into() })
}

#[test]
fn an_answer_to_a_call_never_made() {
    let never = "the peer answered a call that was never made";
    Victim::new().refuse(Message::Reply(reply(0)), never);
    let error = RemoteError::new(ErrorKind::Other, "");
    Victim::new().refuse(Message::Refusal(Refusal { id: CallId(u32::MAX), error }), never);
}

#[test]
fn an_answer_to_a_call_that_waits_here() {
    let mut victim = Victim::with(Limits { calls: 1, ..Limits::default() });
    victim.0.start(B, Start::service());
    victim.0.start(B, Start::service());
    victim.0.start(B, Start::service().sized(1, 300_000));
    for id in [1, 2] {
        victim.refuse(Message::Reply(reply(id)), "the peer answered a call that was never made");
    }
    victim.accept(Message::Reply(reply(0)));
}

#[test]
fn a_second_answer() {
    let mut victim = Victim::new();
    victim.0.start(B, Start::service());
    victim.accept(Message::Reply(reply(0)));
    victim.refuse(Message::Reply(reply(0)), "the peer answered a call that was never made");
}

#[test]
fn an_answer_to_an_acquire_that_is_none() {
    let why = "the peer answered an acquire with something else than a reference";
    let full = Reply { payload: Bytes::from_static(b"x").into(), references: vec![mine(slot(0, 0))], ..reply(0) };
    let two = Reply { references: vec![mine(slot(0, 0)), mine(slot(1, 0))], ..reply(0) };
    let error = Reply { outcome: Outcome::Err, references: vec![mine(slot(0, 0))], ..reply(0) };
    for answer in [reply(0), full, two, error] {
        let mut victim = Victim::new().defined();
        victim.0.sides[B].session.start_acquire(victim.0.now, ObjectId::random(), None).unwrap();
        victim.refuse(Message::Reply(answer), why);
    }
}

#[test]
fn a_call_id_used_again() {
    let again = "the peer used a call id again that is not answered";
    let mut victim = Victim::new().defined();
    victim.accept(Message::Call(call(5)));
    victim.refuse(Message::Acquire(Acquire { id: CallId(5), object: ObjectId::random() }), again);
    victim.refuse(Message::Call(call(5)), again);
}

#[test]
fn more_calls_than_credit() {
    let mut victim = Victim::with(Limits { calls: 2, ..Limits::default() }).defined();
    victim.accept(Message::Call(call(0)));
    victim.accept(Message::Call(call(1)));
    victim.accept(Message::Cancel(Cancel { id: CallId(0) }));
    // Acquires are answered at once; they give no credit for calls.
    victim.accept(Message::Acquire(Acquire { id: CallId(2), object: ObjectId::random() }));
    victim.refuse(Message::Call(call(3)), "the peer sent more calls than it has credit for");
}

#[test]
fn bytes_beyond_credit() {
    let mut victim = Victim::with(Limits { call_bytes: 100, ..Limits::default() }).defined();
    victim.accept(sized(0, 60));
    victim.accept(sized(1, 40));
    victim.refuse(sized(2, 1), "the peer sent more calls than it has credit for");
    let mut victim = Victim::with(Limits { call_bytes: 100, ..Limits::default() }).defined();
    victim.accept(sized(0, 5000));
    victim.accept(sized(1, 25));
    victim.refuse(sized(2, 1), "the peer sent more calls than it has credit for");
}

#[test]
fn a_pull_that_brings_more_than_a_pull() {
    let why = "the peer pulled a stream with more than the arguments of a pull";
    let define = |victim: &mut Victim| {
        let pull = Definition::Method {
            number: MethodNumber(1),
            id: MethodId(2),
            fingerprint: Fingerprint(1),
            name: "rmi.Stream.next".into(),
        };
        victim.accept(Message::Define(pull));
    };
    let pull =
        |id, payload| Call { method: MethodNumber(1), payload: Bytes::from(vec![0; payload]).into(), ..call(id) };
    let mut victim = Victim::with(Limits { calls: 1, ..Limits::default() }).defined();
    define(&mut victim);
    victim.accept(Message::Call(call(0)));
    victim.accept(Message::Call(pull(1, 15)));
    victim.refuse(Message::Call(pull(2, 16)), why);
    let mut victim = Victim::new().defined();
    define(&mut victim);
    victim.refuse(Message::Call(Call { references: vec![mine(slot(0, 0))], ..pull(0, 1) }), why);
}

#[test]
fn more_released_than_given() {
    let mut victim = Victim::new();
    let held = victim.0.give(B, &Obj::new().0);
    let Slot { index, generation } = held.slot();
    let release = |slot, count| Message::Release(Release { slot, count });
    // One of an earlier generation is late, not hostile.
    victim.accept(release(slot(index, generation.wrapping_sub(1)), 7));
    victim.refuse(release(held.slot(), 2), "the peer released a reference more often than it was given");
    victim.refuse(release(held.slot(), u64::MAX), "the peer released a reference more often than it was given");
    victim.refuse(release(slot(99, 0), 1), "the peer released a slot that was never given");
    assert_eq!(victim.0.counts()[B].exports, 1);
}

#[test]
fn a_number_never_defined() {
    let unknown = "the peer used a method number that it never defined";
    Victim::new().refuse(Message::Call(call(0)), unknown);
    let unknown = "the peer used an interfaces number that it never defined";
    let mut victim = Victim::new();
    victim.accept(method(0));
    victim.refuse(Message::Call(Call { references: vec![mine(slot(0, 0))], ..call(0) }), unknown);
}

#[test]
fn a_definition_out_of_turn() {
    let mut victim = Victim::new().defined();
    let out_of_turn = "the peer defined a number out of turn";
    for definition in [method(0), method(2), interfaces(0), interfaces(2)] {
        victim.refuse(definition, out_of_turn);
    }
    victim.accept(method(1));
    victim.accept(interfaces(1));
}

#[test]
fn too_many_definitions() {
    let mut victim = Victim::with(Limits { definitions: 1, ..Limits::default() }).defined();
    victim.refuse(method(1), "definitions on a link: 2 exceeds the limit of 1");
    victim.refuse(interfaces(1), "definitions on a link: 2 exceeds the limit of 1");
}

#[test]
fn definitions_of_too_many_bytes() {
    let mut victim = Victim::with(Limits { definition_bytes: 10_000, ..Limits::default() });
    let tiny = |number| {
        let names = vec!["i".into(); 100];
        Message::Define(Definition::Interfaces { number: InterfacesNumber(number), names })
    };
    let error = (0..1000).find_map(|number| victim.hear(tiny(number)).err()).unwrap();
    assert!(matches!(error, WireError::Limit { what: "bytes of definitions", limit: 10_000, .. }), "{error}");
}

#[test]
fn chunks_that_make_no_message() {
    let small = || Victim::with(Limits { message_len: 100_000, ..Limits::default() }).defined();
    small().refuse(chunk(1, None, Part::More, 10), "the peer sent a chunk of a lane that is not open");
    small().refuse(chunk(1, Some(100_001), Part::More, 10), "message: 100001 exceeds the limit of 100000");
    small().refuse(chunk(1, Some(5), Part::More, 6), "the peer sent more chunks than it announced");
    small().refuse(chunk(1, Some(5), Part::Last, 4), "the peer sent fewer chunks than it announced");
    let mut victim = small();
    victim.accept(chunk(1, Some(50_000), Part::More, 10));
    victim.refuse(chunk(1, Some(50_000), Part::More, 10), "the peer opened a lane that is open");
    let mut victim = small();
    victim.accept(chunk(1, Some(50_000), Part::More, 10));
    victim.refuse(chunk(2, Some(50_001), Part::More, 10), "the peer opened more lanes than it may");
    let mut victim = small();
    for lane in 0..8 {
        victim.accept(chunk(lane, Some(10), Part::More, 1));
    }
    victim.refuse(chunk(8, Some(10), Part::More, 1), "the peer opened more lanes than it may");
}

#[test]
fn a_chunk_that_may_not_be_is_refused_before_its_data_arrives() {
    let refused = |message: Message, why: &str| {
        let mut frame = BytesMut::new();
        message.encode_frame(&mut frame);
        let mut pair = Pair::with(Limits { message_len: 100_000, ..Limits::default() });
        let now = pair.now;
        let error = pair.b().handle_read(now, &frame[..20]).unwrap_err();
        assert_eq!(error.to_string(), why);
    };
    let len = 50_000;
    refused(chunk(1, None, Part::More, len), "the peer sent a chunk of a lane that is not open");
    refused(chunk(1, Some(100_001), Part::More, len), "message: 100001 exceeds the limit of 100000");
    refused(chunk(1, Some(5), Part::More, len), "the peer sent more chunks than it announced");
    refused(chunk(1, Some(60_000), Part::Last, len), "the peer sent fewer chunks than it announced");
}

#[test]
fn messages_in_chunks_that_may_not_be() {
    for kind in [Kind::Ping, Kind::Chunk, Kind::Define, Kind::Hello] {
        let mut victim = Victim::new();
        let data = Bytes::copy_from_slice(&[kind as u8, 0]);
        let error = victim.hear(Message::Chunk(Chunk { lane: 0, total: Some(2), part: Part::Last, data })).unwrap_err();
        assert!(error.to_string().contains("chunks"), "{error}");
    }
    let mut victim = Victim::new();
    victim.hear(Message::Chunk(Chunk { lane: 0, total: Some(0), part: Part::Last, data: Bytes::new() })).unwrap_err();
}

#[test]
fn a_slot_used_again_while_held() {
    let mut victim = Victim::new().defined();
    victim.accept(Message::Call(Call { references: vec![mine(slot(3, 0))], ..call(0) }));
    let second = Message::Call(Call { references: vec![mine(slot(3, 1))], ..call(1) });
    victim.refuse(second, "the peer used a slot again that is still held");
}

#[test]
fn a_second_hello() {
    let hello = Hello::new(NodeId::random(), &Limits::default(), Duration::from_secs(1));
    Victim::new().refuse(Message::Hello(hello), "the peer said hello twice");
}

#[test]
fn kinds_that_were_not_offered() {
    for kind in [Kind::Fence, Kind::StreamItem, Kind::StreamCredit, Kind::StreamEnd] {
        let error = Victim::new().frame(kind, Bytes::from_static(&[0, 0])).unwrap_err();
        assert!(matches!(error, WireError::NotOffered(unoffered) if unoffered == kind), "{error}");
    }
}

#[test]
fn a_resumption_of_a_link_that_is_there() {
    let problem = "the peer spoke of a resumption on a link that is there";
    let Ticket { link, secret } = Ticket::random();
    Victim::new().refuse(Message::Resume(Resume { link, secret, epoch: 1, received: 0 }), problem);
    Victim::new().refuse(Message::ResumeRefused(ResumeRefused { reason: "no".into() }), problem);
}

#[test]
fn more_received_than_was_sent() {
    let mut victim = Victim::new();
    victim.accept(Message::Ack(Ack { received: 0 }));
    victim.refuse(Message::Ack(Ack { received: 1 }), "the peer received more messages than were sent");
}

#[test]
fn a_slot_revoked_that_is_not_held_is_nothing() {
    Victim::new().accept(Message::Revoked(slot(3, 0)));
}

#[test]
fn a_promise_as_a_target() {
    let mut victim = Victim::new().defined();
    let of = |promise| Target::Promise { promise: PromiseId(promise), reference: u32::MAX };
    // Of nothing, and of what never comes: each call of it takes credit, and waits.
    victim.accept(Message::Call(Call { target: of(9), ..call(0) }));
    assert!(victim.said().iter().any(|message| matches!(message, Message::Refusal(_))));
    victim.accept(Message::Call(Call { promises: Some(PromiseId(0)), target: Target::Service("x".into()), ..call(1) }));
    victim.accept(Message::Call(Call { promises: Some(PromiseId(1)), target: of(0), ..call(2) }));
    let why = "the peer promised a result by a number that it has used before";
    victim.refuse(Message::Call(Call { promises: Some(PromiseId(1)), target: of(0), ..call(3) }), why);
}

/// A second promise of one number ended the link, and left two calls behind: itself, and the one that waited for the
/// first promise. Neither had begun, and the end of the link told to drop their handlers.
#[test]
fn a_link_that_a_promise_ends_has_only_the_handlers_that_began() {
    let mut victim = Victim::new().defined();
    let target = || Target::Service("x".into());
    victim.accept(Message::Call(Call { promises: Some(PromiseId(0)), target: target(), ..call(1) }));
    let of = Target::Promise { promise: PromiseId(0), reference: 0 };
    victim.accept(Message::Call(Call { target: of, ..call(2) }));
    let why = "the peer promised a result by a number that it has used before";
    victim.refuse(Message::Call(Call { promises: Some(PromiseId(0)), target: target(), ..call(3) }), why);
    let lost = victim.0.b().session.lose(&RemoteError::new(ErrorKind::ConnectionLost, "cut"));
    let begun: Vec<_> = victim.0.b().calls.iter().map(|call| call.id).collect();
    assert_eq!((begun.len(), lost.serving), (1, begun));
    victim.0.b().calls.clear();
    assert_eq!(victim.0.counts()[B], Counts::default());
}

/// It waited for itself, was never answered, and kept what it brought until the link ended.
#[test]
fn a_call_on_its_own_result() {
    let mut victim = Victim::new().defined();
    let target = Target::Promise { promise: PromiseId(7), reference: 0 };
    let own = Message::Call(Call { promises: Some(PromiseId(7)), target, ..call(0) });
    victim.refuse(own, "the peer made a call on the result of that very call");
    assert_eq!(victim.0.counts()[B], Counts::default());
}

#[test]
fn any_name_of_a_service_is_the_nodes_to_refuse() {
    let mut victim = Victim::new().defined();
    let target = Target::Service("no such service".into());
    victim.accept(Message::Call(Call { target, ..call(0) }));
    assert_eq!(victim.0.b().calls[0].service.as_deref(), Some("no such service"));
}

#[test]
fn a_call_of_what_was_not_granted_is_refused_alone() {
    let mut victim = Victim::new().defined();
    let targets = [Target::Slot(slot(0, 0)), Target::Slot(slot(u32::MAX, 9)), Target::Object(ObjectId::random())];
    for (id, target) in targets.into_iter().enumerate() {
        let references = vec![mine(slot(id as u32, 0))];
        victim.accept(Message::Call(Call { target, references, ..call(id as u32) }));
    }
    assert!(victim.0.b().calls.is_empty());
    let said = victim.said();
    let refused = said.iter().filter(|message| matches!(message, Message::Refusal(_))).count();
    let released = said.iter().filter(|message| matches!(message, Message::Release(_))).count();
    assert_eq!((refused, released), (3, 3));
}

#[test]
fn a_depth_beyond_all_bounds_is_refused_alone() {
    let mut victim = Victim::new().defined();
    victim.accept(Message::Call(Call { depth: u32::MAX, ..call(0) }));
    assert!(victim.0.b().calls.is_empty());
    let said = victim.said();
    assert!(matches!(&said[..], [Message::Refusal(refusal)] if refusal.error.kind() == ErrorKind::Overloaded));
}

#[test]
fn forged_references_come_home_as_nothing() {
    let mut victim = Victim::new().defined();
    let held = victim.0.give(B, &Obj::new().0);
    let Slot { index, generation } = held.slot();
    let forged = [slot(index, generation + 1), slot(index + 1, 0), slot(u32::MAX, u32::MAX)];
    let references = forged.map(Descriptor::Yours).into();
    victim.accept(Message::Call(Call { references, ..call(0) }));
    assert!(matches!(&victim.0.b().calls[0].references[..], [None, None, None]));
}

#[test]
fn what_no_peer_needs_to_send_and_what_harms_nobody() {
    let mut victim = Victim::new().defined();
    victim.accept(Message::Pong(7));
    victim.accept(Message::Cancel(Cancel { id: CallId(77) }));
    victim.accept(Message::Credit(Credit { calls: u32::MAX, bytes: u64::MAX }));
    victim.accept(chunk(1, Some(9), Part::Abort, 0));
    victim.accept(Message::Closing(Closing { taken: u64::MAX }));
    victim.accept(Message::Closing(Closing { taken: 0 }));
    victim.accept(Message::Goodbye(Goodbye { reason: "so long".into() }));
    victim.accept(Message::Closing(Closing { taken: 0 }));
    assert!(victim.0.b().calls.is_empty());
}

#[test]
fn a_closing_peer_that_counts_wrong_harms_itself() {
    let mut victim = Victim::new();
    let key = victim.0.start(B, Start::service());
    victim.accept(Message::Closing(Closing { taken: 0 }));
    let ended = victim.0.b().poll(key);
    assert_eq!(crate::pair::failed(ended), (ErrorKind::Shutdown, Certainty::NotExecuted));
    victim.refuse(Message::Reply(reply(0)), "the peer answered a call that was never made");
}

#[test]
fn questions_whose_answers_are_never_read() {
    let limits = Limits { outbox_bytes: 10_000, ..Limits::default() };
    let questions: [fn(u32) -> Message; 3] = [
        |_| Message::Ping(7),
        |_| Message::Acquire(Acquire { id: CallId(0), object: ObjectId::random() }),
        |_| Message::Call(Call { target: Target::Slot(slot(0, 0)), ..call(0) }),
    ];
    for question in questions {
        let mut victim = Victim::with(limits.clone()).defined();
        let error = (0..10_000).find_map(|number| victim.hear(question(number)).err()).unwrap();
        assert_eq!(error.to_string(), "the peer asks on and on and reads no answers");
        assert!(victim.0.sides[B].session.output_len() < 25_000);
        let mut patient = Victim::with(limits.clone()).defined();
        for number in 0..10_000 {
            patient.accept(question(number));
            if number % 100 == 99 {
                patient.said();
            }
        }
    }
}

#[test]
fn a_peer_that_acknowledges_nothing_is_remembered_for_so_long() {
    // Each reference that is of no use to a call is given back, which the peer must say to have heard.
    let mut victim = Victim::new().defined();
    let references: Vec<_> = (0..1 << 16).map(|index| mine(slot(index, 0))).collect();
    let gives = |victim: &mut Victim, generation: u32| {
        let references = references.iter().map(|descriptor| match *descriptor {
            Descriptor::Mine { slot: Slot { index, .. }, object, interfaces } => {
                Descriptor::Mine { slot: slot(index, generation), object, interfaces }
            }
            _ => descriptor.clone(),
        });
        let target = Target::Slot(slot(0, 0));
        let call = Call { target, references: references.collect(), ..call(generation) };
        let heard = victim.hear(Message::Call(call));
        let session = &mut victim.0.b().session;
        while session.has_output() {
            let length = session.slices().iter().map(|slice| slice.len()).sum();
            session.advance(length);
        }
        heard
    };
    for generation in 0..15 {
        gives(&mut victim, generation).unwrap();
    }
    victim.accept(Message::Ack(Ack { received: 1 << 16 }));
    for generation in 15..17 {
        gives(&mut victim, generation).unwrap();
    }
    let error = gives(&mut victim, 17).unwrap_err();
    assert_eq!(error.to_string(), "the peer acknowledges nothing");
}

#[test]
fn one_read_of_many_small_messages_is_handled_in_parts_and_whole() {
    const PINGS: usize = 1000;
    let mut read = BytesMut::new();
    for nonce in 0..PINGS {
        Message::Ping(nonce as u64).encode_frame(&mut read);
    }
    let mut pair = Pair::new();
    let now = pair.now;
    let side = pair.b();
    let (into, _) = side.intake.room();
    into.extend_from_slice(&read);
    let mut answered = vec![0];
    while answered.len() == 1 || side.intake.is_behind() {
        side.session.handle_read(now, &mut side.intake, &side.exported, &mut Vec::new()).unwrap();
        answered.push(side.session.slices().iter().map(|slice| slice.len()).sum());
    }
    assert_eq!(answered.last(), Some(&read.len()), "a pong is as long as its ping");
    let most = answered.windows(2).map(|parts| parts[1] - parts[0]).max().unwrap();
    assert!(most < read.len() / 2, "{most} of {} bytes were answered without a pause", read.len());
}
