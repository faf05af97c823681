//! The codec against the postcard crate, and against hostile input.

use std::{cell::Cell, collections::BTreeMap, fmt};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, SeqAccess, Visitor},
};

use super::*;
use crate::{ErrorKind, RemoteError, limits::Limits};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rich {
    unsigned: (u8, u16, u32, u64, u128, usize),
    signed: (i8, i16, i32, i64, i128, isize),
    floats: (f32, f64),
    flag: bool,
    char: char,
    text: String,
    bytes: Raw,
    option: Option<Option<u16>>,
    unit: (),
    unit_struct: Unit,
    newtype: Newtype,
    shapes: Vec<Shape>,
    map: BTreeMap<String, (i8, Option<char>)>,
    array: [u32; 3],
    units: [(); 4],
    result: Result<u8, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(i64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(u64),
    Tuple(i16, String),
    Struct { a: f64, nested: Box<Self> },
}

/// Bytes that travel as such, not element by element.
#[derive(Clone, Debug, PartialEq)]
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.to_vec()))
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Unit),
        any::<u64>().prop_map(Shape::Newtype),
        any::<(i16, String)>().prop_map(|(number, text)| Shape::Tuple(number, text)),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| {
        (any::<f64>(), inner).prop_map(|(a, nested)| Shape::Struct { a, nested: Box::new(nested) })
    })
}

prop_compose! {
    fn rich()(
        unsigned: (u8, u16, u32, u64, u128, usize),
        signed: (i8, i16, i32, i64, i128, isize),
        floats: (f32, f64),
        flag: bool,
        char: char,
        text: String,
        bytes: Vec<u8>,
        option: Option<Option<u16>>,
        newtype: i64,
        shapes in prop::collection::vec(shape(), 0..6),
        map in prop::collection::btree_map(any::<String>(), any::<(i8, Option<char>)>(), 0..6),
        (array, result) in any::<([u32; 3], Result<u8, String>)>(),
    ) -> Rich {
        let (bytes, newtype) = (Raw(bytes), Newtype(newtype));
        let (unit, unit_struct, units) = ((), Unit, [(); 4]);
        Rich {
            unsigned, signed, floats, flag, char, text, bytes, option, unit, unit_struct, newtype, shapes, map, array,
            units, result,
        }
    }
}

fn encode<T: Serialize + ?Sized>(value: &T) -> Bytes {
    let mut encoder = Encoder::new(BytesMut::new());
    encoder.value(value).unwrap();
    encoder.into_inner().freeze()
}

fn decode_within<T: DeserializeOwned>(input: &[u8], limits: &Limits) -> Result<T, DecodeError> {
    let input = Bytes::copy_from_slice(input);
    let mut decoder = Decoder::new(&input, limits);
    let value = decoder.value()?;
    decoder.finish()?;
    Ok(value)
}

fn decode<T: DeserializeOwned>(input: &[u8]) -> Result<T, DecodeError> {
    decode_within(input, &Limits::default())
}

/// What both decoders make of `input`: the value as text, for floats need not equal themselves, and
/// how much of the input is left.
fn assert_agrees<T: for<'de> Deserialize<'de> + fmt::Debug>(input: &[u8]) {
    let theirs = postcard::take_from_bytes::<T>(input).map(|(value, rest)| (format!("{value:?}"), rest.len()));
    let shared = Bytes::copy_from_slice(input);
    let limits = Limits::default();
    let mut decoder = Decoder::new(&shared, &limits);
    let ours = decoder.value::<T>().map(|value| format!("{value:?}"));
    match (theirs, ours) {
        (Ok((value, rest)), Ok(same)) => {
            assert_eq!(same, value);
            assert_eq!(decoder.finish().is_ok(), rest == 0);
        }
        (Err(_), Err(_)) => {}
        (theirs, ours) => panic!("postcard: {theirs:?}, rmi: {ours:?}"),
    }
}

proptest! {
    #[test]
    fn values_are_encoded_as_postcard_does(value in rich()) {
        let bytes = encode(&value);
        prop_assert_eq!(&bytes[..], &postcard::to_stdvec(&value).unwrap()[..]);
        let back: Rich = decode(&bytes).unwrap();
        prop_assert_eq!(encode(&back), bytes);
    }

    #[test]
    fn arbitrary_bytes_are_accepted_where_postcard_does(input: Vec<u8>) {
        assert_agrees::<Rich>(&input);
        assert_agrees::<Shape>(&input);
        assert_agrees::<Vec<Shape>>(&input);
        assert_agrees::<(bool, char, Option<i16>, i32, u128)>(&input);
        assert_agrees::<BTreeMap<u16, String>>(&input);
        assert_agrees::<RemoteError>(&input);
    }

    #[test]
    fn damaged_values_are_accepted_where_postcard_does(
        value in rich(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index,
    ) {
        let mut input = encode(&value).to_vec();
        assert_agrees::<Rich>(&input[..cut.index(input.len())]);
        let at = at.index(input.len());
        input[at] = byte;
        assert_agrees::<Rich>(&input);
    }
}

#[test]
fn one_message_holds_several_values() {
    let mut encoder = Encoder::new(BytesMut::from(&b"head"[..]));
    encoder.value("owner").unwrap();
    encoder.bytes(b"one copy");
    encoder.value(&7u64).unwrap();
    encoder.bytes(b"borrowed");
    assert_eq!(encoder.len(), 4 + 6 + 9 + 1 + 9);
    let input = encoder.into_inner().freeze().slice(4..);
    let limits = Limits::default();
    let mut decoder = Decoder::new(&input, &limits);
    assert_eq!(decoder.value::<&str>().unwrap(), "owner");
    let shared = decoder.shared_bytes().unwrap();
    assert_eq!(shared, &b"one copy"[..]);
    assert_eq!(shared.as_ptr(), input[7..].as_ptr(), "the bytes were copied");
    assert_eq!(decoder.value::<u64>().unwrap(), 7);
    assert_eq!(decoder.bytes().unwrap(), b"borrowed");
    decoder.finish().unwrap();
}

#[test]
fn bytes_are_what_a_vec_is() {
    let mut encoder = Encoder::new(BytesMut::new());
    encoder.bytes(&[1, 2, 200]);
    assert_eq!(decode::<Vec<u8>>(&encoder.into_inner()).unwrap(), [1, 2, 200]);
}

#[test]
fn trailing_bytes_are_refused() {
    assert_eq!(decode::<u8>(&[1, 2, 3]).unwrap_err().to_string(), "2 bytes follow the last value");
}

#[test]
fn nesting_ends_at_the_limit() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Nest {
        End,
        Deeper(Box<Self>),
    }
    #[derive(Debug, Deserialize)]
    struct List {
        #[expect(dead_code, reason = "only its decoding matters")]
        next: Option<Box<Self>>,
    }
    #[derive(Debug, Deserialize)]
    struct Tree(#[expect(dead_code, reason = "only its decoding matters")] Vec<Self>);

    let deep = vec![1; 100_000];
    for error in [
        decode::<Nest>(&deep).unwrap_err(),
        decode::<List>(&deep).unwrap_err(),
        decode::<Tree>(&deep).unwrap_err(),
        decode::<Vec<Nest>>(&deep).unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "the nested levels of a value exceed the limit of 128");
        assert_eq!(RemoteError::from(error).kind(), ErrorKind::TooLarge);
    }

    let mut deepest = vec![1; 127];
    deepest.push(0);
    decode::<Nest>(&deepest).unwrap();
    deepest.insert(0, 1);
    decode::<Nest>(&deepest).unwrap_err();
}

#[test]
fn values_beside_each_other_do_not_nest() {
    let options = vec![Some(1u8); 1000];
    assert_eq!(decode::<Vec<Option<u8>>>(&encode(&options)).unwrap(), options);
}

#[test]
fn elements_are_bounded_before_any_is_read() {
    let claim = encode(&(1u64 << 40));
    let error = decode::<Vec<()>>(&claim).unwrap_err();
    assert_eq!(error.to_string(), "the elements of a message exceed the limit of 65542", "6 of them may take a byte");
    assert!(decode::<BTreeMap<(), ()>>(&claim).unwrap_err().is_too_large());
    assert!(decode::<Vec<u8>>(&encode(&u64::MAX)).unwrap_err().is_too_large());

    let limits = Limits { elements: 10, ..Limits::default() };
    let pairs = vec![vec![(); 3]; 2];
    assert_eq!(decode_within::<Vec<Vec<()>>>(&encode(&pairs), &limits).unwrap(), pairs);
    let pairs = vec![vec![(); 3]; 3];
    decode_within::<Vec<Vec<()>>>(&encode(&pairs), &limits).unwrap_err();
}

/// A few bytes that claim millions of elements, which take no bytes, kept a thread busy for half a second.
#[test]
fn elements_that_take_no_bytes_are_few() {
    let nothing = |count: usize| encode(&vec![(); count]);
    assert_eq!(decode::<Vec<()>>(&nothing(65_536)).unwrap().len(), 65_536);
    assert!(decode::<Vec<()>>(&nothing(70_000)).unwrap_err().is_too_large());
    let bytes = encode(&vec![Some(()); 1_000_000]);
    assert_eq!(decode::<Vec<Option<()>>>(&bytes).unwrap().len(), 1_000_000);
    let limits = Limits { empty_elements: 100_000, ..Limits::default() };
    assert_eq!(decode_within::<Vec<()>>(&nothing(70_000), &limits).unwrap().len(), 70_000);
}

#[test]
fn memory_is_bounded() {
    let limits = Limits { decoded_bytes: 1 << 20, ..Limits::default() };
    let strings = vec![String::new(); 100_000];
    let error = decode_within::<Vec<String>>(&encode(&strings), &limits).unwrap_err();
    assert_eq!(error.to_string(), "the decoded bytes of a message exceed the limit of 1048576");
    decode_within::<Vec<String>>(&encode(&strings[..10_000]), &limits).unwrap();

    let text = "x".repeat(1 << 20);
    decode_within::<String>(&encode(&text), &limits).unwrap();
    decode_within::<(String, String)>(&encode(&(text, "y")), &limits).unwrap_err();
}

/// A list takes memory for what it expects before an element is read. Each of 128 lists, one inside of the other,
/// could expect an element for every byte that was left: 64 KiB of input took 128 MiB.
#[test]
fn nested_lists_together_expect_no_more_than_the_input_can_hold() {
    std::thread_local!(static EXPECTED: Cell<usize> = const { Cell::new(0) });
    #[derive(Debug)]
    struct Nest;
    impl<'de> Deserialize<'de> for Nest {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_seq(Self)
        }
    }
    impl<'de> Visitor<'de> for Nest {
        type Value = Self;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
            EXPECTED.set(EXPECTED.get() + seq.size_hint().unwrap_or_default());
            while seq.next_element::<Self>()?.is_some() {}
            Ok(self)
        }
    }
    let deep = vec![100; 5000];
    assert!(decode::<Nest>(&deep).unwrap_err().is_too_large());
    assert!((100..=deep.len()).contains(&EXPECTED.get()), "{} elements expected", EXPECTED.get());

    // What is honest is expected to the last element.
    let lists: Vec<Vec<u8>> = (0..100).map(|len| vec![7; len]).collect();
    let decoded: Vec<Vec<u8>> = decode(&encode(&lists)).unwrap();
    assert!(decoded.iter().all(|list| list.capacity() == list.len()));
}

#[test]
fn what_hides_behind_a_pointer_is_paid_for() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Tree {
        branches: Option<Box<(Self, Self)>>,
        leaf: Leaf,
    }
    #[derive(Debug, Serialize, Deserialize)]
    #[expect(clippy::large_enum_variant, reason = "so that a small value takes much memory")]
    enum Leaf {
        Small,
        Large([[u64; 32]; 16]),
    }
    fn tree(depth: u32) -> Tree {
        let branches = (depth > 0).then(|| Box::new((tree(depth - 1), tree(depth - 1))));
        Tree { branches, leaf: Leaf::Small }
    }
    let input = encode(&tree(10));
    assert!(input.len() < 5000, "{}", input.len());
    let limits = Limits { decoded_bytes: 1 << 20, ..Limits::default() };
    assert!(decode_within::<Tree>(&input, &limits).unwrap_err().is_too_large());
}

#[test]
fn what_is_no_value_is_named() {
    let four_gib = encode(&(4u64 << 30));
    assert_eq!(decode::<String>(&four_gib).unwrap_err().to_string(), "a value ends within a string");
    assert_eq!(decode::<Raw>(&four_gib).unwrap_err().to_string(), "a value ends within bytes");
    assert_eq!(decode::<String>(&[2, 0xc3, 0x28]).unwrap_err().to_string(), "a string is not valid UTF-8");
    assert_eq!(decode::<bool>(&[2]).unwrap_err().to_string(), "a bool is neither 0 nor 1");
    assert_eq!(decode::<Option<u8>>(&[2, 0]).unwrap_err().to_string(), "an option is neither 0 nor 1");
    let above_unicode = [4, 0xf4, 0x90, 0x80, 0x80];
    assert_eq!(decode::<char>(&above_unicode).unwrap_err().to_string(), "a char is not a character");
    assert_eq!(decode::<char>(&[0]).unwrap_err().to_string(), "a char is not a character");
    assert_eq!(decode::<u16>(&[0xff, 0xff, 0x07]).unwrap_err().to_string(), "an integer is too wide for its type");
    let error = decode::<Shape>(&[9]).unwrap_err();
    assert!(error.to_string().contains("expected variant index 0 <= i < 4"), "{error}");
    assert_eq!(RemoteError::from(error).kind(), ErrorKind::Unmarshal);
}

/// A peer could hide bytes behind a character: `a` was read from the encoding of `ab`, and one value had many
/// encodings. postcard had the same until 1.2.
#[test]
fn a_char_is_one_character() {
    assert_eq!(decode::<char>(&encode("a")).unwrap(), 'a');
    for text in ["ab", "aé", "\0\0\0\0"] {
        assert_eq!(decode::<char>(&encode(text)).unwrap_err().to_string(), "a char is not a character");
    }
}

#[test]
fn what_the_format_cannot_hold_is_named() {
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    let error = decode::<Untagged>(&[1]).unwrap_err();
    assert!(error.to_string().contains("cannot be untagged"), "{error}");

    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq((0..9).filter(|number| number % 2 == 0))
        }
    }
    let error = Encoder::new(BytesMut::new()).value(&Endless).unwrap_err();
    assert!(error.to_string().contains("collect it into a Vec"), "{error}");
}

#[test]
fn errors_of_users_implementations_keep_their_text() {
    #[derive(Debug)]
    struct Picky;
    impl Serialize for Picky {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("the account is open"))
        }
    }
    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("the account is closed"))
        }
    }
    let error = Encoder::new(BytesMut::new()).value(&vec![Picky]).unwrap_err();
    assert_eq!(error.to_string(), "the account is open");
    assert_eq!(RemoteError::from(error).kind(), ErrorKind::Marshal);
    assert_eq!(decode::<Picky>(&[]).unwrap_err().to_string(), "the account is closed");
}

#[test]
fn a_display_that_fails_is_an_error_and_no_panic() {
    struct Fails;
    impl fmt::Display for Fails {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    impl Serialize for Fails {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }
    let error = Encoder::new(BytesMut::new()).value(&Fails).unwrap_err();
    assert_eq!(error.to_string(), "a Display implementation failed");
}

#[test]
fn decode_errors_pass_in_a_register() {
    assert_eq!(size_of::<DecodeError>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), DecodeError>>(), size_of::<usize>());
}
