//! How the generated code encodes and decodes arguments and results by their types.
//!
//! `Vec<u8>`, `[u8]` and `Bytes` move as one copy of memory, also behind an alias, by autoref
//! specialisation: a method called on `&Arg<T>` finds the trait on `Arg<T>` first, where `T` is
//! bytes, and the one on `&Arg<T>` otherwise.
//! The technique is David Tolnay's:
//! <https://github.com/dtolnay/case-studies/tree/master/autoref-specialization>.

use std::{fmt, marker::PhantomData};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    answer::Answer,
    error::{Certainty, RemoteError, Returned},
    marshal::{ArgumentDecoder, ArgumentEncoder},
    memory::{self, KEPT_LEN_MIN},
    skeleton::Responder,
    wire::Outcome as Verdict,
};

/// An argument whose parameter is a `T`, or a `&T`.
pub struct Arg<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: ?Sized> Arg<T> {
    /// The marker.
    pub const NEW: Self = Self(PhantomData);
}

impl<T: ?Sized> fmt::Debug for Arg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arg")
    }
}

/// How the arguments of one parameter are encoded, and decoded into an `H`.
pub struct ArgCodec<'m, T: ?Sized, H> {
    encode: fn(&mut ArgumentEncoder, &T),
    decode: fn(&mut ArgumentDecoder<'m>) -> Result<H, RemoteError>,
}

impl<'m, T: ?Sized, H> ArgCodec<'m, T, H> {
    /// Appends an argument.
    #[inline]
    pub fn encode(&self, out: &mut ArgumentEncoder, value: &T) {
        (self.encode)(out, value);
    }

    /// Takes an argument.
    ///
    /// # Errors
    ///
    /// Where the payload holds no such value, or one beyond the limits.
    #[inline]
    pub fn decode(&self, from: &mut ArgumentDecoder<'m>) -> Result<H, RemoteError> {
        (self.decode)(from)
    }
}

impl<T: ?Sized, H> fmt::Debug for ArgCodec<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArgCodec")
    }
}

/// Arguments that are bytes.
pub trait BulkArg<'m> {
    /// The type of the argument behind its reference, if it has one.
    type Value: ?Sized;
    /// What the callee holds it in.
    type Held;

    /// How they travel.
    fn codec(&self) -> ArgCodec<'m, Self::Value, Self::Held>;
}

impl<'m> BulkArg<'m> for Arg<Vec<u8>> {
    type Value = Vec<u8>;
    type Held = Vec<u8>;

    #[inline]
    fn codec(&self) -> ArgCodec<'m, Vec<u8>, Vec<u8>> {
        ArgCodec { encode: |out, value| out.bytes(value), decode: ArgumentDecoder::owned_bytes }
    }
}

impl<'m> BulkArg<'m> for Arg<[u8]> {
    type Value = [u8];
    type Held = &'m [u8];

    #[inline]
    fn codec(&self) -> ArgCodec<'m, [u8], &'m [u8]> {
        ArgCodec { encode: ArgumentEncoder::bytes, decode: ArgumentDecoder::bytes }
    }
}

impl<'m> BulkArg<'m> for Arg<Bytes> {
    type Value = Bytes;
    type Held = Bytes;

    #[inline]
    fn codec(&self) -> ArgCodec<'m, Bytes, Bytes> {
        ArgCodec { encode: ArgumentEncoder::shared_bytes, decode: ArgumentDecoder::shared_bytes }
    }
}

/// All other arguments. It is there for every type, so that rustc says of a type that cannot be an
/// argument just that.
pub trait SerdeArg {
    /// The type of the argument behind its reference, if it has one.
    type Value: ?Sized;

    /// How they travel.
    fn codec<'m>(&self) -> ArgCodec<'m, Self::Value, <Self::Value as Argument<'m>>::Held>
    where
        Self::Value: Argument<'m>;
}

impl<T: ?Sized> SerdeArg for &Arg<T> {
    type Value = T;

    #[inline]
    fn codec<'m>(&self) -> ArgCodec<'m, T, T::Held>
    where
        T: Argument<'m>,
    {
        ArgCodec { encode: |out, value| out.value(value), decode: |from| from.value() }
    }
}

/// Bytes that a stub owns, and may send more than once, where they are.
#[derive(Debug)]
pub struct OwnedBytes(Bytes);

impl Drop for OwnedBytes {
    fn drop(&mut self) {
        if self.0.len() >= KEPT_LEN_MIN {
            memory::release(memory::keep(std::mem::take(&mut self.0)));
        }
    }
}

/// How an argument that its stub owns is encoded, as often as its call goes.
pub struct OwnedCodec<O>(fn(&mut ArgumentEncoder, &O));

impl<O> OwnedCodec<O> {
    /// Appends the argument.
    #[inline]
    pub fn encode(&self, out: &mut ArgumentEncoder, owned: &O) {
        (self.0)(out, owned);
    }
}

impl<O> fmt::Debug for OwnedCodec<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnedCodec")
    }
}

/// Arguments that are bytes, and no references.
pub trait BulkOwned {
    /// The type of the argument.
    type Value;

    /// Keeps it until it is sent.
    fn own(&self, value: Self::Value) -> OwnedBytes;

    /// How it travels.
    #[inline]
    fn owned_codec(&self) -> OwnedCodec<OwnedBytes> {
        OwnedCodec(|out, owned| out.shared_bytes(&owned.0))
    }
}

impl BulkOwned for Arg<Vec<u8>> {
    type Value = Vec<u8>;

    #[inline]
    fn own(&self, value: Vec<u8>) -> OwnedBytes {
        OwnedBytes(value.into())
    }
}

impl BulkOwned for Arg<Bytes> {
    type Value = Bytes;

    #[inline]
    fn own(&self, value: Bytes) -> OwnedBytes {
        OwnedBytes(value)
    }
}

/// All other arguments that are no references. It is there for every type, as [`SerdeArg`] is.
pub trait SerdeOwned {
    /// The type of the argument.
    type Value;

    /// Keeps it until it is sent: it stays as it is.
    fn own(&self, value: Self::Value) -> Self::Value;

    /// How it travels.
    fn owned_codec<'m>(&self) -> OwnedCodec<Self::Value>
    where
        Self::Value: Argument<'m>;
}

impl<T> SerdeOwned for &Arg<T> {
    type Value = T;

    #[inline]
    fn own(&self, value: T) -> T {
        value
    }

    #[inline]
    fn owned_codec<'m>(&self) -> OwnedCodec<T>
    where
        T: Argument<'m>,
    {
        OwnedCodec(|out, owned| out.value(owned))
    }
}

/// What an argument is, behind its reference if it has one: a serde value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a remote method",
    label = "not a serde value",
    note = "arguments are encoded: derive `serde::Serialize` and `serde::Deserialize` for their types"
)]
pub trait Argument<'m>: Serialize {
    /// What the callee holds it in.
    type Held: Deserialize<'m>;
}

impl<'m, T: Serialize + Deserialize<'m>> Argument<'m> for T {
    type Held = T;
}

impl<'m> Argument<'m> for str {
    type Held = &'m Self;
}

impl<'m, T: Serialize + Deserialize<'m>> Argument<'m> for [T] {
    type Held = Vec<T>;
}

/// What a remote method returns: `Result<T, E>`, where `E` can say that the call itself failed.
#[diagnostic::on_unimplemented(
    message = "a remote method cannot return `{Self}`",
    label = "write `rmi::Result<T>`, or `Result<T, E>` with an error of your own",
    note = "T has to be Serialize and DeserializeOwned; E too, and it has to be From<rmi::RemoteError>"
)]
pub trait Outcome: Sized {
    /// The type of a success.
    type Value: Serialize + DeserializeOwned;
    /// The type of a failure.
    type Error: From<RemoteError> + Serialize + DeserializeOwned;

    /// From the plain result.
    fn from_result(result: Result<Self::Value, Self::Error>) -> Self;

    /// To the plain result.
    ///
    /// # Errors
    ///
    /// Where this is one.
    fn into_result(self) -> Result<Self::Value, Self::Error>;

    /// Whether it is an error.
    fn is_error(&self) -> bool;
}

impl<T, E> Outcome for Result<T, E>
where
    T: Serialize + DeserializeOwned,
    E: From<RemoteError> + Serialize + DeserializeOwned,
{
    type Value = T;
    type Error = E;

    fn from_result(result: Self) -> Self {
        result
    }

    fn into_result(self) -> Self {
        self
    }

    fn is_error(&self) -> bool {
        self.is_err()
    }
}

/// A result whose method returns an `R`.
pub struct Ret<R>(PhantomData<fn(R)>);

impl<R> Ret<R> {
    /// The marker.
    pub const NEW: Self = Self(PhantomData);
}

impl<R> fmt::Debug for Ret<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ret")
    }
}

/// How the results of one method are encoded and decoded.
pub struct RetCodec<R> {
    encode: fn(R, Responder),
    decode: fn(Result<Answer<'_>, RemoteError>) -> R,
}

impl<R> RetCodec<R> {
    /// Answers a call with a result.
    #[inline]
    pub fn encode(&self, result: R, responder: Responder) {
        (self.encode)(result, responder);
    }

    /// Takes a result out of an answer.
    #[inline]
    pub fn decode(&self, answer: Result<Answer<'_>, RemoteError>) -> R {
        (self.decode)(answer)
    }
}

impl<R> fmt::Debug for RetCodec<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetCodec")
    }
}

/// Results that are bytes.
pub trait BulkRet {
    /// The whole result.
    type Result;

    /// How they travel.
    fn codec(&self) -> RetCodec<Self::Result>;
}

impl<E: From<RemoteError> + Serialize + DeserializeOwned> BulkRet for Ret<Result<Vec<u8>, E>> {
    type Result = Result<Vec<u8>, E>;

    #[inline]
    fn codec(&self) -> RetCodec<Self::Result> {
        RetCodec {
            encode: |result, responder| encode(result, responder, ArgumentEncoder::owned_bytes),
            decode: |answer| decode(answer, |from| from.owned_bytes()),
        }
    }
}

impl<E: From<RemoteError> + Serialize + DeserializeOwned> BulkRet for Ret<Result<Bytes, E>> {
    type Result = Result<Bytes, E>;

    #[inline]
    fn codec(&self) -> RetCodec<Self::Result> {
        RetCodec {
            encode: |result, responder| encode(result, responder, |out, value| out.shared_bytes(&value)),
            decode: |answer| decode(answer, |from| from.shared_bytes()),
        }
    }
}

/// All other results. It is there for every type, so that rustc says of a type that cannot be a
/// result just that.
pub trait SerdeRet {
    /// The whole result.
    type Result;

    /// How they travel.
    fn codec(&self) -> RetCodec<Self::Result>
    where
        Self::Result: Outcome;
}

impl<R> SerdeRet for &Ret<R> {
    type Result = R;

    #[inline]
    fn codec(&self) -> RetCodec<R>
    where
        R: Outcome,
    {
        RetCodec {
            encode: |result, responder| encode(result.into_result(), responder, |out, value| out.value(&value)),
            decode: |answer| R::from_result(decode(answer, |from| from.value())),
        }
    }
}

/// Answers a call with the result of its method.
pub(crate) fn encode<T, E: Serialize>(
    result: Result<T, E>,
    responder: Responder,
    value: impl FnOnce(&mut ArgumentEncoder, T),
) {
    responder.answer(|out| match result {
        Ok(result) => {
            value(out, result);
            Verdict::Ok
        }
        Err(error) => {
            out.value(&error);
            Verdict::Err
        }
    });
}

fn decode<T, E: From<RemoteError> + DeserializeOwned>(
    answer: Result<Answer<'_>, RemoteError>,
    value: impl FnOnce(&mut ArgumentDecoder<'_>) -> Result<T, RemoteError>,
) -> Result<T, E> {
    let mut answer = answer?;
    let references = answer.take_references();
    let verdict = answer.verdict();
    let mut from = answer.decoder(references);
    let decoded = match verdict {
        Verdict::Ok => value(&mut from).map(Ok),
        Verdict::Err => {
            let _returned = Returned::enter();
            from.value::<E>().map(Err)
        }
    };
    match decoded.and_then(|result| from.finish().map(|()| result)) {
        Ok(result) => result,
        Err(error) => Err(answer.name(error.with_certainty(Certainty::Executed)).into()),
    }
}
