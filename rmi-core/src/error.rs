//! What a remote call can fail with, and whether it ran.

use std::{cell::Cell, error::Error, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The result of a remote call that has no error type of its own.
pub type Result<T> = std::result::Result<T, RemoteError>;

/// Why a call failed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No endpoint of the peer could be reached.
    Unreachable,
    /// The connection was lost.
    ConnectionLost,
    /// The time for the call ran out.
    DeadlineExceeded,
    /// The call was cancelled.
    Cancelled,
    /// The object does not exist, or exists no more.
    NoSuchObject,
    /// The object has no such method; the message names both sides' interfaces.
    NoSuchMethod,
    /// Both sides have the method, with different signatures.
    SignatureMismatch,
    /// A pipelined call on a result that was an error.
    PromiseBroken,
    /// An argument or a result could not be encoded.
    Marshal,
    /// An argument or a result could not be decoded.
    Unmarshal,
    /// A message exceeds a limit; the message names size and limit.
    TooLarge,
    /// A bound on work in flight was reached.
    Overloaded,
    /// The caller may not do this.
    AccessDenied,
    /// The method panicked.
    Panicked,
    /// The peer does not speak the protocol, or broke it.
    Protocol,
    /// A node is shutting down.
    Shutdown,
    /// A kind that this version does not know, or none of the others.
    Other,
}

impl ErrorKind {
    const ALL: [(Self, u16, &'static str); 17] = [
        (Self::Other, 0, "other error"),
        (Self::Unreachable, 1, "unreachable"),
        (Self::ConnectionLost, 2, "connection lost"),
        (Self::DeadlineExceeded, 3, "deadline exceeded"),
        (Self::Cancelled, 4, "cancelled"),
        (Self::NoSuchObject, 5, "no such object"),
        (Self::NoSuchMethod, 6, "no such method"),
        (Self::SignatureMismatch, 7, "signature mismatch"),
        (Self::PromiseBroken, 8, "promise broken"),
        (Self::Marshal, 9, "cannot encode"),
        (Self::Unmarshal, 10, "cannot decode"),
        (Self::TooLarge, 11, "too large"),
        (Self::Overloaded, 12, "overloaded"),
        (Self::AccessDenied, 13, "access denied"),
        (Self::Panicked, 14, "method panicked"),
        (Self::Protocol, 15, "protocol error"),
        (Self::Shutdown, 16, "shutting down"),
    ];

    /// The number that stands for the kind on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or(0, |(_, number, _)| *number)
    }

    /// The kind of a number on the wire; an unknown one is [`Other`](Self::Other).
    #[must_use]
    pub fn from_number(number: u16) -> Self {
        Self::ALL.iter().find(|(_, known, _)| *known == number).map_or(Self::Other, |(kind, ..)| *kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Self::ALL.iter().find(|(kind, ..)| kind == self).map_or("other error", |(.., text)| *text);
        f.write_str(text)
    }
}

/// Whether a failed call ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// No byte of the call left this node.
    NotSent,
    /// The call left this node; its method certainly did not run.
    NotExecuted,
    /// The method certainly ran, at least in part.
    Executed,
    /// It cannot be known whether the method ran.
    Unknown,
}

impl Certainty {
    /// Whether the method certainly did not run: not sent, or not executed.
    #[must_use]
    pub const fn did_not_run(self) -> bool {
        matches!(self, Self::NotSent | Self::NotExecuted)
    }

    /// The number that stands for the certainty on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::NotSent => 0,
            Self::NotExecuted => 1,
            Self::Executed => 2,
            Self::Unknown => 3,
        }
    }

    /// The certainty of a number on the wire; an unknown one is [`Unknown`](Self::Unknown).
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::NotSent,
            1 => Self::NotExecuted,
            2 => Self::Executed,
            _ => Self::Unknown,
        }
    }
}

/// A failure of the runtime in a remote call: what happened, to which method of which object at
/// which peer, and whether the call ran.
///
/// One pointer wide. It travels inside the errors of user interfaces and of refusals, with its
/// sources as text.
///
/// ```
/// use rmi_core::{Certainty, ErrorKind, RemoteError};
/// let error = RemoteError::new(ErrorKind::Unreachable, "connection refused").with_method("demo.Bank.open");
/// assert_eq!(error.kind(), ErrorKind::Unreachable);
/// assert_eq!(error.certainty(), Certainty::Unknown);
/// assert_eq!(error.to_string(), "demo.Bank.open: unreachable: connection refused");
/// ```
#[derive(Clone)]
pub struct RemoteError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    certainty: Certainty,
    message: String,
    method: Option<String>,
    object: Option<String>,
    peer: Option<String>,
    source: Option<Cause>,
}

impl RemoteError {
    /// An error of this kind; the message says what happened and what to do, and does not repeat
    /// the kind. Its certainty is [`Unknown`](Certainty::Unknown) until set.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            certainty: Certainty::Unknown,
            message: message.into(),
            method: None,
            object: None,
            peer: None,
            source: None,
        }))
    }

    /// Why the call failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the call ran.
    #[must_use]
    pub fn certainty(&self) -> Certainty {
        self.0.certainty
    }

    /// The method called, as `interface.method`.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.0.method.as_deref()
    }

    /// The object called: the first 8 digits of its id, or the name of a service.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The peer: its address and what is known of its node id.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.0.peer.as_deref()
    }

    /// What happened, without method, object, peer and kind.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The same error with this certainty.
    #[must_use]
    pub fn with_certainty(mut self, certainty: Certainty) -> Self {
        self.0.certainty = certainty;
        self
    }

    /// The same error, caused by `source`, which is kept as text with all its own sources.
    #[must_use]
    pub fn with_source(mut self, source: &(dyn Error + 'static)) -> Self {
        self.0.source = Some(Cause::of(source));
        self
    }

    /// The same error, naming the method unless one is named already.
    #[must_use]
    pub fn with_method(mut self, method: impl Into<String>) -> Self {
        self.0.method.get_or_insert_with(|| method.into());
        self
    }

    /// The same error, naming the object unless one is named already.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.0.object.get_or_insert_with(|| object.into());
        self
    }

    /// The same error, naming the peer unless one is named already.
    #[must_use]
    pub fn with_peer(mut self, peer: impl Into<String>) -> Self {
        self.0.peer.get_or_insert_with(|| peer.into());
        self
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, method, object, peer, .. } = &*self.0;
        if let Some(method) = method {
            f.write_str(method)?;
        }
        if let Some(object) = object {
            write!(f, "{}on object {object}", if method.is_some() { " " } else { "" })?;
        }
        if let Some(peer) = peer {
            write!(f, "{}at {peer}", if method.is_some() || object.is_some() { " " } else { "" })?;
        }
        if method.is_some() || object.is_some() || peer.is_some() {
            f.write_str(": ")?;
        }
        write!(f, "{kind}")?;
        if message.is_empty() { Ok(()) } else { write!(f, ": {message}") }
    }
}

impl fmt::Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, certainty, message, method, object, peer, source } = &*self.0;
        f.debug_struct("RemoteError")
            .field("kind", kind)
            .field("certainty", certainty)
            .field("message", message)
            .field("method", method)
            .field("object", object)
            .field("peer", peer)
            .field("source", source)
            .finish()
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// A source that has become text, with its own source below it.
#[derive(Clone, Debug)]
struct Cause {
    text: String,
    source: Option<Arc<Self>>,
}

/// How many sources of an error are kept and accepted.
const CAUSES_MAX: usize = 16;

impl Cause {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let texts =
            std::iter::successors(Some(error), |&error| error.source()).take(CAUSES_MAX).map(ToString::to_string);
        Self::chain(texts.collect()).unwrap_or_else(|| Self { text: error.to_string(), source: None })
    }

    /// The chain of these texts, outermost first.
    fn chain(texts: Vec<String>) -> Option<Self> {
        let innermost_first = texts.into_iter().take(CAUSES_MAX).rev();
        innermost_first.fold(None, |source, text| Some(Self { text, source: source.map(Arc::new) }))
    }

    fn texts(&self) -> Vec<&str> {
        std::iter::successors(Some(self), |cause| cause.source.as_deref()).map(|cause| cause.text.as_str()).collect()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|cause| &**cause as &(dyn Error + 'static))
    }
}

/// The fields of a [`RemoteError`] on the wire, in this order.
#[derive(Serialize, Deserialize)]
struct Fields<T> {
    kind: u16,
    certainty: u8,
    message: T,
    method: Option<T>,
    object: Option<T>,
    peer: Option<T>,
    sources: Vec<T>,
}

impl Serialize for RemoteError {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Fields {
            kind: self.0.kind.number(),
            certainty: self.0.certainty.number(),
            message: self.0.message.as_str(),
            method: self.method(),
            object: self.object(),
            peer: self.peer(),
            sources: self.0.source.as_ref().map(Cause::texts).unwrap_or_default(),
        }
        .serialize(serializer)
    }
}

thread_local! {
    static RETURNED: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, the errors that this thread decodes were returned by a method: it ran, whatever
/// became of the calls that it made itself.
pub(crate) struct Returned {
    outer: bool,
}

impl Returned {
    pub(crate) fn enter() -> Self {
        Self { outer: RETURNED.replace(true) }
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        RETURNED.set(self.outer);
    }
}

impl<'de> Deserialize<'de> for RemoteError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let fields = Fields::<String>::deserialize(deserializer)?;
        let certainty = if RETURNED.get() { Certainty::Executed } else { Certainty::from_number(fields.certainty) };
        Ok(Self(Box::new(Inner {
            kind: ErrorKind::from_number(fields.kind),
            certainty,
            message: fields.message,
            method: fields.method,
            object: fields.object,
            peer: fields.peer,
            source: Cause::chain(fields.sources),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_pointer_wide() {
        assert_eq!(size_of::<RemoteError>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn every_kind_has_a_number_of_its_own_and_unknown_ones_become_other() {
        for (kind, number, _) in ErrorKind::ALL {
            assert_eq!(kind.number(), number);
            assert_eq!(ErrorKind::from_number(number), kind);
        }
        assert_eq!(ErrorKind::from_number(9999), ErrorKind::Other);
    }

    #[test]
    fn travels_with_its_sources_as_text() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let inner = RemoteError::new(ErrorKind::Unreachable, "tried 1 endpoint").with_source(&io);
        let outer = RemoteError::new(ErrorKind::Other, "no account")
            .with_certainty(Certainty::NotSent)
            .with_method("demo.Bank.open")
            .with_object("0011aabb")
            .with_peer("tcp://127.0.0.1:9")
            .with_source(&inner);
        let bytes = postcard::to_stdvec(&outer).unwrap();
        let back: RemoteError = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back.to_string(), "demo.Bank.open on object 0011aabb at tcp://127.0.0.1:9: other error: no account");
        assert_eq!(back.certainty(), Certainty::NotSent);
        let first = back.source().unwrap();
        assert_eq!(first.to_string(), "unreachable: tried 1 endpoint");
        assert_eq!(first.source().unwrap().to_string(), "refused");
        assert!(first.source().unwrap().source().is_none());
    }

    #[test]
    fn a_name_once_given_stays() {
        let error = RemoteError::new(ErrorKind::Other, "").with_method("a").with_method("b");
        assert_eq!(error.method(), Some("a"));
    }
}
