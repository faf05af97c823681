//! A table of references decodes to what encodes to the same, and every reference that a session takes from
//! it, it gives back.
//!
//! The first byte tells how many objects were given to the peer before, the rest is the table as it stands in
//! a message.

use bytes::{BufMut, Bytes, BytesMut};
use rmi_core::{
    Limits,
    id::{Fingerprint, MethodId},
    session::Counts,
    wire::{
        Definition, Descriptor, ENDPOINTS_MAX, Frame, InterfacesNumber, Kind, Message, MethodNumber, ROUTE_LEN_MAX,
        Reply,
    },
};

use crate::{
    Seed,
    choices::Choices,
    memory::within,
    message::{MEMORY_LEAST, MEMORY_PER_BYTE},
    object::Obj,
    pair::{B, Pair},
};

/// Decodes a table, and lets a session take it.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let given = choices.below(4);
    let table = choices.rest();
    let body: Bytes = [&[REFERENCES, 0], table].concat().into();
    let memory_max = MEMORY_LEAST + MEMORY_PER_BYTE * table.len();
    let limits = Limits { references: 100, ..Limits::default() };
    match within(memory_max, || Reply::decode(body, &limits)) {
        Ok(reply) => {
            check(&reply, &limits);
            take(given, &reply.references, table);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The flag of a reply that has a table.
const REFERENCES: u8 = 1 << 1;

fn check(reply: &Reply, limits: &Limits) {
    assert!(reply.references.len() <= limits.references as usize);
    for reference in &reply.references {
        if let Descriptor::Third { endpoints, route, .. } = reference {
            assert!(endpoints.len() <= ENDPOINTS_MAX && route.len() <= ROUTE_LEN_MAX);
        }
    }
    let mut out = BytesMut::new();
    reply.head().encode_head(&mut out);
    reply.payload.clone().into_bytes().iter().for_each(|byte| out.put_u8(*byte));
    assert!(Reply::decode(out.freeze(), limits).is_ok_and(|again| again == *reply));
}

/// A call brings the table to a side that has given the peer some objects. Once it has dropped all that it
/// took, it holds nothing, whether the table was right or not.
fn take(given: usize, references: &[Descriptor], table: &[u8]) {
    let mut pair = Pair::with(Limits { references: 100, ..Limits::default() });
    let objects: Vec<_> = (0..given).map(|_| Obj::new()).collect();
    let _held: Vec<_> = objects.iter().map(|(object, _)| pair.give(B, object)).collect();
    let (id, fingerprint) = (MethodId(7), Fingerprint(7));
    let method = Definition::Method { number: MethodNumber(0), id, fingerprint, name: "fuzz.Bank.open".into() };
    let interfaces = Definition::Interfaces { number: InterfacesNumber(0), names: vec!["fuzz.Bank".into()] };
    for definition in [method, interfaces] {
        let mut body = BytesMut::new();
        Message::Define(definition).encode(&mut body);
        assert!(hear(&mut pair, Kind::Define, body.freeze()).is_ok());
    }
    // A call of a service with this table behind it.
    let head: &[u8] = &[2 | 1 << 6, 0, 1, b's', 0];
    let heard = hear(&mut pair, Kind::Call, [head, table].concat().into());
    if heard.is_ok() {
        let call = pair.b().take_call();
        assert_eq!(call.references.len(), references.len());
        let home = call.references.iter().flatten().filter(|object| matches!(object, Obj::Own(_)));
        for object in home {
            assert!(objects.iter().any(|(own, _)| own.is_same(object)), "another object came home");
        }
        pair.b().reply(call.id, b"", &[]);
    }
    pair.b().carry_out();
    let Counts { imports, exports, .. } = pair.b().session.counts();
    assert!(exports == given && (heard.is_err() || imports == 0), "{imports} held, {exports} given");
}

fn hear(pair: &mut Pair, kind: Kind, body: Bytes) -> Result<(), rmi_core::wire::WireError> {
    let now = pair.now;
    pair.b().handle_frame(now, Frame { kind, body })
}

pub(crate) fn seeds() -> Vec<Seed> {
    let mine = |slot: u8| [&[1, slot, 0][..], &[slot; 16], &[0]].concat();
    let third = |slot: u8, nodes: usize| {
        let endpoints: &[u8] = b"\x02\x0etcp://[::1]:77\x07mem://a";
        [&[2, slot, 0][..], &[slot; 16], &[0], &[9; 16], endpoints, &[nodes as u8], &vec![7; 16 * nodes]].concat()
    };
    let table = |given: u8, references: &[Vec<u8>]| {
        [&[given, references.len() as u8][..], references.concat().as_slice()].concat()
    };
    vec![
        ("none", table(0, &[])),
        ("home", table(2, &[vec![0, 0, 0], vec![0, 1, 0], vec![0, 1, 0]])),
        ("forged", table(1, &[vec![0, 0, 1], vec![0, 9, 0]])),
        ("mine", table(0, &[mine(0), mine(1), mine(0)])),
        ("third", table(0, &[third(0, 0), third(1, 2)])),
        ("too-long-a-route", table(0, &[third(0, 9)])),
        ("all-forms", table(3, &[vec![0, 2, 0], mine(3), third(4, 8)])),
    ]
}
