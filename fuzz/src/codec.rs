//! The decoder of values accepts what postcard's does, within its bounds.
//!
//! The first byte is the type of the value, the second its bounds.

use std::{collections::BTreeMap, fmt::Debug};

use bytes::{Bytes, BytesMut};
use rmi_core::{
    Limits, RemoteError,
    wire::{DecodeError, Decoder, Encoder},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Seed, choices::Choices, memory::within};

/// Decodes a value of one of these types, here and with postcard.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (which, limits) = (choices.below(TYPES.len()), limits(choices.byte()));
    if let Some(check) = TYPES.get(which) {
        check(choices.rest(), &limits);
    }
}

const TYPES: [fn(&[u8], &Limits); 9] = [
    check::<(bool, u8, u16, u32, u64, u128, usize)>,
    check::<(i8, i16, i32, i64, i128, isize, f32, f64, char)>,
    check::<(String, Option<Option<u16>>, (), Result<u8, String>, [u32; 3])>,
    check::<Shape>,
    check::<Vec<Shape>>,
    check::<BTreeMap<String, Vec<Option<i16>>>>,
    check::<Vec<Vec<()>>>,
    check::<BTreeMap<(), Tree>>,
    check::<RemoteError>,
];

#[derive(Debug, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(u64),
    Tuple(i16, String),
    Struct { a: f64, nested: Box<Self> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Tree(Vec<Self>, Option<Box<(Self, u8)>>);

/// From those of a node down to some that any value exceeds.
fn limits(byte: u8) -> Limits {
    let (nesting, elements, decoded_bytes) = match byte % 4 {
        0 => return Limits::default(),
        1 => (16, 1000, 64 << 10),
        2 => (3, 10, 200),
        _ => (1, 1, 1),
    };
    Limits { nesting, elements, decoded_bytes, ..Limits::default() }
}

/// A list that grows has three halves of it at one moment, and a map room for eleven pairs.
const MEMORY_PER_DECODED: usize = 16;
const MEMORY_LEAST: usize = 4 << 10;
/// What values take of memory at most for each of their bytes. Within the tight bounds it does not matter.
const DECODED_PER_BYTE: usize = 64;

fn check<T: Serialize + DeserializeOwned + Debug>(input: &[u8], limits: &Limits) {
    let shared = Bytes::copy_from_slice(input);
    let decoded_max = usize::try_from(limits.decoded_bytes).unwrap_or(usize::MAX).min(DECODED_PER_BYTE * input.len());
    let mut decoder = Decoder::new(&shared, limits);
    let ours = within(MEMORY_LEAST + MEMORY_PER_DECODED * decoded_max, || decoder.value::<T>());
    let ours = match ours {
        // postcard has no bounds: it would go on, perhaps for ever.
        Err(error) if error.is_too_large() => return assert!(!error.to_string().is_empty()),
        ours => ours,
    };
    match (postcard::take_from_bytes::<T>(input), ours) {
        (Ok((value, rest)), Ok(same)) => {
            // Floats need not equal themselves; their text does.
            assert_eq!(format!("{same:?}"), format!("{value:?}"));
            assert_eq!(decoder.finish().is_ok(), rest.is_empty());
            check_encoding(&same, limits);
        }
        (Err(_), Err(_)) => {}
        (theirs, ours) => panic!("postcard: {:?}, rmi: {ours:?}", theirs.map(|(value, _)| value)),
    }
}

/// What was decoded is encoded as postcard does, and comes back.
fn check_encoding<T: Serialize + DeserializeOwned + Debug>(value: &T, limits: &Limits) {
    let mut encoder = Encoder::new(BytesMut::new());
    let encoded = encoder.value(value);
    assert!(encoded.is_ok(), "{encoded:?}");
    let encoded = encoder.into_inner().freeze();
    assert_eq!(Ok(&encoded[..]), postcard::to_stdvec(value).as_deref());
    match decode::<T>(&encoded, limits) {
        Ok(again) => assert_eq!(format!("{again:?}"), format!("{value:?}")),
        Err(error) => panic!("{value:?} does not come back: {error}"),
    }
}

fn decode<T: DeserializeOwned>(encoded: &Bytes, limits: &Limits) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(encoded, limits);
    let value = decoder.value()?;
    decoder.finish()?;
    Ok(value)
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |which: u8, bounds: u8, encoded: Result<Vec<u8>, postcard::Error>| {
        [&[which, bounds], encoded.unwrap_or_default().as_slice()].concat()
    };
    let nested = || Shape::Struct { a: f64::NAN, nested: Box::new(Shape::Tuple(-3, "tuple".into())) };
    let shapes = vec![Shape::Unit, Shape::Newtype(1 << 40), nested()];
    let map = BTreeMap::from([("one".to_owned(), vec![Some(-1_i16), None]), (String::new(), Vec::new())]);
    let leaf = || Tree(Vec::new(), None);
    let tree = Tree(vec![leaf(), leaf()], Some(Box::new((leaf(), 9))));
    let error =
        RemoteError::new(rmi_core::ErrorKind::Panicked, "ouch").with_method("a.B.c").with_source(&std::fmt::Error);
    vec![
        ("unsigned", seed(0, 0, postcard::to_stdvec(&(true, 1_u8, 300_u16, u32::MAX, u64::MAX, u128::MAX, 7_usize)))),
        (
            "signed",
            seed(
                1,
                0,
                postcard::to_stdvec(&(-1_i8, i16::MIN, 1_i32, i64::MIN, i128::MIN, 0_isize, 1_f32, -0_f64, 'é')),
            ),
        ),
        ("texts", seed(2, 1, postcard::to_stdvec(&("é", Some(Some(9_u16)), (), Err::<u8, _>("no"), [1_u32, 2, 3])))),
        ("shape", seed(3, 1, postcard::to_stdvec(&nested()))),
        ("shapes", seed(4, 0, postcard::to_stdvec(&shapes))),
        ("map", seed(5, 1, postcard::to_stdvec(&map))),
        ("units", seed(6, 1, postcard::to_stdvec(&vec![vec![(); 100]; 3]))),
        ("units-without-end", seed(6, 0, postcard::to_stdvec(&(1_u8, u64::MAX)))),
        ("trees", seed(7, 0, postcard::to_stdvec(&BTreeMap::from([((), tree)])))),
        ("deep", seed(7, 0, Ok(vec![1; 300]))),
        ("error", seed(8, 0, postcard::to_stdvec(&error))),
    ]
}
