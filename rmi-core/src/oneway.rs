//! Results of oneway methods: their callers hear only that a call did not get on its way.

use std::{
    fmt::{self, Debug},
    marker::PhantomData,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    argument::{Outcome, encode},
    error::RemoteError,
    interface::Method,
    skeleton::Responder,
};

/// What a oneway method returns: `Result<(), E>`.
#[diagnostic::on_unimplemented(
    message = "a oneway method cannot return `{Self}`",
    label = "write `rmi::Result<()>`, or `Result<(), E>` with an error of your own",
    note = "its caller goes on as soon as the call is on its way, and hears nothing more of it"
)]
pub trait OnewayOutcome: Outcome<Value = ()> {}

impl<E: From<RemoteError> + Serialize + DeserializeOwned> OnewayOutcome for Result<(), E> {}

/// A oneway method that returns an `R`. Whether its errors can be written into a log is found out by autoref
/// specialisation, as [`Arg`](crate::argument::Arg) has it.
pub struct Oneway<R>(PhantomData<fn(R)>);

impl<R> Oneway<R> {
    /// The marker.
    pub const NEW: Self = Self(PhantomData);
}

impl<R> Debug for Oneway<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Oneway")
    }
}

/// What becomes of the results of one oneway method.
pub struct OnewayCodec<R> {
    note: fn(&Method, &R),
    answer: fn(R, Responder),
    decode: fn(Result<(), RemoteError>) -> R,
}

impl<R: OnewayOutcome> OnewayCodec<R> {
    fn new(note: fn(&Method, &R)) -> Self {
        Self {
            note,
            answer: |result, responder| encode(result.into_result(), responder, |out, ()| out.value(&())),
            decode: |sent| R::from_result(sent.map_err(Into::into)),
        }
    }
}

impl<R> OnewayCodec<R> {
    /// Answers a call. A caller that waits hears what became of it; a oneway one does not.
    #[inline]
    pub fn encode(&self, method: &Method, result: R, responder: Responder) {
        (self.note)(method, &result);
        (self.answer)(result, responder);
    }

    /// What a caller is told once the call is on its way, or is not.
    #[inline]
    pub fn decode(&self, sent: Result<(), RemoteError>) -> R {
        (self.decode)(sent)
    }
}

impl<R> Debug for OnewayCodec<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnewayCodec")
    }
}

/// Results whose errors can be written into a log.
pub trait DebugOneway {
    /// The whole result.
    type Result;

    /// What becomes of them.
    fn codec(&self) -> OnewayCodec<Self::Result>;
}

impl<E: From<RemoteError> + Serialize + DeserializeOwned + Debug> DebugOneway for Oneway<Result<(), E>> {
    type Result = Result<(), E>;

    fn codec(&self) -> OnewayCodec<Self::Result> {
        OnewayCodec::new(|method, result| {
            if let Err(error) = result {
                tracing::debug!(%method, ?error, "a oneway call has failed");
            }
        })
    }
}

/// All other results. It is there for every type, so that rustc says of a type that cannot be one just that.
pub trait PlainOneway {
    /// The whole result.
    type Result;

    /// What becomes of them.
    fn codec(&self) -> OnewayCodec<Self::Result>
    where
        Self::Result: OnewayOutcome;
}

impl<R> PlainOneway for &Oneway<R> {
    type Result = R;

    fn codec(&self) -> OnewayCodec<R>
    where
        R: OnewayOutcome,
    {
        OnewayCodec::new(|method, result| {
            if result.is_error() {
                tracing::debug!(%method, "a oneway call has failed");
            }
        })
    }
}

impl Responder {
    /// Refuses a oneway call, and writes so into the log: its caller does not hear of it.
    pub fn refuse_unheard(self, method: &Method, error: RemoteError) {
        tracing::debug!(%method, %error, "a oneway call was refused");
        self.refuse(error);
    }
}
