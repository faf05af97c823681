//! One of every message, and of every form that it takes.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    Certainty, ErrorKind, NodeId, ObjectId, RemoteError,
    id::{Fingerprint, MethodId},
};

const PEER: NodeId = NodeId::from_bytes([0xbb; 16]);
const OWNER: NodeId = NodeId::from_bytes([0xcc; 16]);
const OBJECT: ObjectId = ObjectId::from_bytes([0x0b; 16]);
const LINK: LinkId = LinkId::from_bytes([0x11; 16]);
const SECRET: Secret = Secret::from_bytes([0x5e; 16]);
const SLOT: Slot = Slot { index: 5, generation: 1 };

pub(super) fn all() -> Vec<Case> {
    let mut cases = hellos();
    cases.extend(hellos_of_resumable_links());
    cases.extend(calls());
    cases.extend(promises());
    cases.extend(answers());
    cases.push(references());
    cases.extend(objects());
    cases.extend(chunks());
    cases.extend(link());
    cases
}

fn hellos() -> Vec<Case> {
    let least = Hello::new(NodeId::from_bytes([0xaa; 16]), &Limits::default(), Duration::from_secs(30));
    let full = Hello {
        expected: Some(PEER),
        endpoints: vec!["tcp://10.0.0.7:1099".parse().unwrap(), "unix:///run/bank.sock".parse().unwrap()],
        token: Some(Bytes::from_static(b"secret")),
        ..least.clone()
    };
    vec![
        Case {
            name: "hello",
            message: Message::Hello(least),
            fields: &[
                (4, "magic: \"RMI\\x01\""),
                (1, "least version: 1"),
                (1, "greatest version: 1"),
                (8, "features, little-endian"),
                (16, "node id"),
                (1, "flags: none"),
                (1, "endpoints: none"),
                (2, "call credit: 4096"),
                (4, "byte credit: 16 MiB"),
                (4, "longest message: 128 MiB"),
                (3, "lease: 30000 ms"),
            ],
        },
        Case {
            name: "hello, full",
            message: Message::Hello(full),
            fields: &[
                (4, "magic: \"RMI\\x01\""),
                (1, "least version: 1"),
                (1, "greatest version: 1"),
                (8, "features, little-endian"),
                (16, "node id"),
                (1, "flags: expected node, token"),
                (16, "expected node id"),
                (1, "endpoints: 2"),
                (20, "length, \"tcp://10.0.0.7:1099\""),
                (22, "length, \"unix:///run/bank.sock\""),
                (2, "call credit: 4096"),
                (4, "byte credit: 16 MiB"),
                (4, "longest message: 128 MiB"),
                (3, "lease: 30000 ms"),
                (7, "token: length, \"secret\""),
            ],
        },
    ]
}

fn hellos_of_resumable_links() -> Vec<Case> {
    let plain = Hello::new(NodeId::from_bytes([0xaa; 16]), &Limits::default(), Duration::from_secs(30));
    let resuming = Hello { expected: Some(PEER), resumes: true, ..plain.clone() };
    let accepting = Hello { ticket: Some(Ticket { link: LINK, secret: SECRET }), ..plain.clone() };
    let reason = "nobody knows the token".to_owned();
    let refusing = Hello { refusal: Some(HelloRefused { kind: ErrorKind::AccessDenied, reason }), ..plain };
    vec![
        Case {
            name: "hello of a dialler that resumes",
            message: Message::Hello(resuming),
            fields: &[
                (4, "magic: \"RMI\\x01\""),
                (1, "least version: 1"),
                (1, "greatest version: 1"),
                (8, "features, little-endian"),
                (16, "node id"),
                (1, "flags: expected node"),
                (16, "expected node id"),
                (1, "endpoints: none"),
                (2, "call credit: 4096"),
                (4, "byte credit: 16 MiB"),
                (4, "longest message: 128 MiB"),
                (3, "lease: 30000 ms"),
                (2, "extension 2, resumes: no bytes"),
            ],
        },
        Case {
            name: "hello of an acceptor",
            message: Message::Hello(accepting),
            fields: &[
                (4, "magic: \"RMI\\x01\""),
                (1, "least version: 1"),
                (1, "greatest version: 1"),
                (8, "features, little-endian"),
                (16, "node id"),
                (1, "flags: none"),
                (1, "endpoints: none"),
                (2, "call credit: 4096"),
                (4, "byte credit: 16 MiB"),
                (4, "longest message: 128 MiB"),
                (3, "lease: 30000 ms"),
                (2, "extension 3, ticket: 32 bytes"),
                (16, "link id"),
                (16, "secret"),
            ],
        },
        Case {
            name: "hello of an acceptor that refuses",
            message: Message::Hello(refusing),
            fields: &[
                (4, "magic: \"RMI\\x01\""),
                (1, "least version: 1"),
                (1, "greatest version: 1"),
                (8, "features, little-endian"),
                (16, "node id"),
                (1, "flags: none"),
                (1, "endpoints: none"),
                (2, "call credit: 4096"),
                (4, "byte credit: 16 MiB"),
                (4, "longest message: 128 MiB"),
                (3, "lease: 30000 ms"),
                (2, "extension 4, refusal: 24 bytes"),
                (1, "kind: access denied"),
                (23, "length, \"nobody knows the token\""),
            ],
        },
    ]
}

fn call(target: Target, payload: &'static [u8]) -> Call {
    Call {
        id: CallId(7),
        target,
        method: MethodNumber(2),
        time_left: None,
        depth: 0,
        extras: None,
        codec: Codec::Postcard,
        promises: None,
        references: Vec::new(),
        payload: Bytes::from_static(payload).into(),
    }
}

fn calls() -> Vec<Case> {
    let small = Call { time_left: Some(Duration::from_secs(30)), ..call(Target::Slot(SLOT), &[0x0a]) };
    let nested = Call { depth: 3, ..call(Target::Object(OBJECT), &[]) };
    let metadata = vec![("tenant".to_owned(), Bytes::from_static(b"blue"))];
    let extras = Extras::received(Some([0xdd; 25]), metadata).map(Into::into);
    let service = Call { extras, ..call(Target::Service("registry".to_owned()), b"\x04bank") };
    vec![
        Case {
            name: "call of a slot, with a deadline",
            message: Message::Call(small),
            fields: &[
                (1, "flags: slot, time left"),
                (1, "call id: 7"),
                (1, "slot: 5"),
                (1, "generation: 1"),
                (1, "method: 2"),
                (4, "time left: 30000000 us"),
                (1, "payload"),
            ],
        },
        Case {
            name: "call of an object, nested",
            message: Message::Call(nested),
            fields: &[
                (1, "flags: object, depth"),
                (1, "call id: 7"),
                (16, "object id"),
                (1, "method: 2"),
                (1, "depth: 3"),
            ],
        },
        Case {
            name: "call of a service, with trace and metadata",
            message: Message::Call(service),
            fields: &[
                (1, "flags: service, trace, metadata"),
                (1, "call id: 7"),
                (9, "service: length, \"registry\""),
                (1, "method: 2"),
                (25, "trace context"),
                (1, "metadata entries: 1"),
                (7, "name: length, \"tenant\""),
                (5, "value: length, \"blue\""),
                (5, "payload: the string \"bank\""),
            ],
        },
    ]
}

fn promises() -> Vec<Case> {
    let promise = call(Target::Promise { promise: PromiseId(300), reference: 1 }, &[]);
    let promising = Call { promises: Some(PromiseId(300)), ..call(Target::Slot(SLOT), &[0x0a]) };
    vec![
        Case {
            name: "call of a promise",
            message: Message::Call(promise),
            fields: &[
                (1, "flags: promise"),
                (1, "call id: 7"),
                (2, "promise: 300"),
                (1, "reference of the result: 1"),
                (1, "method: 2"),
            ],
        },
        Case {
            name: "call that promises its result",
            message: Message::Call(promising),
            fields: &[
                (1, "flags: slot, codec"),
                (1, "call id: 7"),
                (1, "slot: 5"),
                (1, "generation: 1"),
                (1, "method: 2"),
                (1, "codec: postcard, a promise follows"),
                (2, "promise: 300"),
                (1, "payload"),
            ],
        },
    ]
}

fn answers() -> Vec<Case> {
    let error = RemoteError::new(ErrorKind::NoSuchObject, "gone").with_certainty(Certainty::NotExecuted);
    let ok = Reply {
        id: CallId(7),
        outcome: Outcome::Ok,
        codec: Codec::Postcard,
        references: Vec::new(),
        payload: Bytes::from_static(&[0x54]).into(),
    };
    let err = Reply {
        outcome: Outcome::Err,
        references: vec![Descriptor::Yours(SLOT)],
        payload: Bytes::from_static(&[0x01, 0x00]).into(),
        ..ok.clone()
    };
    vec![
        Case {
            name: "reply, ok",
            message: Message::Reply(ok),
            fields: &[(1, "flags: ok"), (1, "call id: 7"), (1, "payload: the i64 42")],
        },
        Case {
            name: "reply, an error with a reference",
            message: Message::Reply(err),
            fields: &[
                (1, "flags: error, references"),
                (1, "call id: 7"),
                (1, "references: 1"),
                (3, "yours: slot 5, generation 1"),
                (2, "payload: variant 1 of an error, with reference 0"),
            ],
        },
        Case {
            name: "refusal",
            message: Message::Refusal(Refusal { id: CallId(7), error: error.with_method("demo.Bank.open") }),
            fields: &[
                (1, "call id: 7"),
                (1, "kind: 5, no such object"),
                (1, "certainty: 1, not executed"),
                (5, "message: length, \"gone\""),
                (16, "method: some, length, \"demo.Bank.open\""),
                (1, "object: none"),
                (1, "peer: none"),
                (1, "sources: none"),
            ],
        },
        Case { name: "cancel", message: Message::Cancel(Cancel { id: CallId(300) }), fields: &[(2, "call id: 300")] },
    ]
}

fn references() -> Case {
    let mine = Descriptor::Mine { slot: SLOT, object: OBJECT, interfaces: InterfacesNumber(0) };
    let third = Descriptor::Third {
        slot: Slot { index: 6, generation: 0 },
        object: OBJECT,
        interfaces: InterfacesNumber(1),
        owner: OWNER,
        endpoints: vec!["tcp://10.0.0.9:4000".parse().unwrap()],
        route: vec![PEER],
    };
    let references = vec![Descriptor::Yours(Slot { index: 200, generation: 2 }), mine, third];
    Case {
        name: "call with every form of reference",
        message: Message::Call(Call { references, ..call(Target::Slot(SLOT), &[0x00, 0x01, 0x02]) }),
        fields: &[
            (1, "flags: slot, references"),
            (1, "call id: 7"),
            (2, "slot 5, generation 1"),
            (1, "method: 2"),
            (1, "references: 3"),
            (1, "reference 0: yours"),
            (3, "slot 200, generation 2"),
            (1, "reference 1: mine"),
            (2, "slot 5, generation 1"),
            (16, "object id"),
            (1, "interfaces: 0"),
            (1, "reference 2: third"),
            (2, "slot 6, generation 0"),
            (16, "object id"),
            (1, "interfaces: 1"),
            (16, "owner"),
            (1, "endpoints: 1"),
            (20, "length, \"tcp://10.0.0.9:4000\""),
            (1, "nodes of the route: 1"),
            (16, "node id"),
            (3, "payload: the three references in turn"),
        ],
    }
}

fn objects() -> Vec<Case> {
    vec![
        Case {
            name: "release",
            message: Message::Release(Release { slot: SLOT, count: 3 }),
            fields: &[(2, "slot 5, generation 1"), (1, "count: 3")],
        },
        Case {
            name: "acquire",
            message: Message::Acquire(Acquire { id: CallId(8), object: OBJECT }),
            fields: &[(1, "call id: 8"), (16, "object id")],
        },
        Case { name: "revoked", message: Message::Revoked(SLOT), fields: &[(2, "slot 5, generation 1")] },
        Case {
            name: "define a method",
            message: Message::Define(Definition::Method {
                number: MethodNumber(2),
                id: MethodId(0x1122_3344_5566_7788),
                fingerprint: Fingerprint(0x99aa_bbcc_ddee_ff00),
                name: "demo.Bank.open".to_owned(),
            }),
            fields: &[
                (1, "a method"),
                (1, "number: 2"),
                (8, "method id, little-endian"),
                (8, "fingerprint, little-endian"),
                (15, "name: length, \"demo.Bank.open\""),
            ],
        },
        Case {
            name: "define an interface list",
            message: Message::Define(Definition::Interfaces {
                number: InterfacesNumber(0),
                names: vec!["demo.Savings".to_owned(), "demo.Account".to_owned()],
            }),
            fields: &[
                (1, "an interface list"),
                (1, "number: 0"),
                (1, "names: 2"),
                (13, "length, \"demo.Savings\""),
                (13, "length, \"demo.Account\""),
            ],
        },
    ]
}

fn chunks() -> Vec<Case> {
    let chunk = |total, part, data: &'static [u8]| {
        Message::Chunk(Chunk { lane: 1, total, part, data: Bytes::from_static(data) })
    };
    vec![
        Case {
            name: "chunk, the first of a message",
            message: chunk(Some(100_000), Part::More, &[0x02, 0x04, 0x07]),
            fields: &[
                (1, "lane: 1"),
                (1, "flags: more, total"),
                (3, "total: 100000"),
                (3, "data: the kind Call and the beginning of its body"),
            ],
        },
        Case {
            name: "chunk, the last of a message",
            message: chunk(None, Part::Last, &[0xff]),
            fields: &[(1, "lane: 1"), (1, "flags: last"), (1, "data")],
        },
        Case {
            name: "chunk, a message given up",
            message: chunk(None, Part::Abort, &[]),
            fields: &[(1, "lane: 1"), (1, "flags: abort")],
        },
    ]
}

fn link() -> Vec<Case> {
    vec![
        Case {
            name: "credit",
            message: Message::Credit(Credit { calls: 64, bytes: 300 }),
            fields: &[(1, "calls: 64"), (2, "bytes: 300")],
        },
        Case { name: "ping", message: Message::Ping(9), fields: &[(1, "number: 9")] },
        Case { name: "pong", message: Message::Pong(9), fields: &[(1, "number: 9")] },
        Case {
            name: "closing",
            message: Message::Closing(Closing { taken: 12 }),
            fields: &[(1, "messages taken: 12")],
        },
        Case { name: "ack", message: Message::Ack(Ack { received: 300 }), fields: &[(2, "messages received: 300")] },
        Case {
            name: "resume",
            message: Message::Resume(Resume { link: LINK, secret: SECRET, epoch: 2, received: 300 }),
            fields: &[(16, "link id"), (16, "secret"), (1, "epoch: 2"), (2, "messages received: 300")],
        },
        Case {
            name: "resume refused",
            message: Message::ResumeRefused(ResumeRefused { reason: "its lease is over".to_owned() }),
            fields: &[(18, "reason: length, \"its lease is over\"")],
        },
        Case { name: "merge", message: Message::Merge(Merge { link: LINK }), fields: &[(16, "link id")] },
        Case {
            name: "goodbye",
            message: Message::Goodbye(Goodbye { reason: "shutting down".to_owned() }),
            fields: &[(14, "reason: length, \"shutting down\"")],
        },
    ]
}
