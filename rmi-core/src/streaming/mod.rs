//! Streams as arguments and results: many values, one after another, as fast as their reader takes them.
//!
//! A stream travels as a reference to an object of the runtime, its source, which the reader
//! pulls: each pull is answered, as soon as there is an item, with all that are ready, up to what the
//! reader asked for. So the reader's pace is the writer's, a stream ends with the last reference to
//! it, and it passes nodes that know nothing of its type.

mod channel;
mod item;
mod reader;
mod source;

use std::{
    any::TypeId,
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_util::{
    Stream, StreamExt,
    future::poll_fn,
    stream::{self, BoxStream, TryStreamExt},
};
use parking_lot::Mutex;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
    ser,
};

pub use self::channel::{ReaderGone, StreamSender};
use self::reader::Reader;
use crate::{
    error::{ErrorKind, RemoteError, Result},
    id::{Fingerprint, PULL, fnv1a64},
    interface::{InterfaceName, Manner, Method},
    marshal,
    object::{InterfaceSet, STREAM},
    referent::{Object, Referent},
    remote,
};

/// What a stream brings. Asked no more after an error.
type Items<T> = BoxStream<'static, Result<T>>;

/// The interface of sources.
const INTERFACE: InterfaceName = InterfaceName::explicit(STREAM);
const SIGNATURE: &str = "next(items:u32,bytes:u64)->rest";

/// What a pull calls.
static NEXT: Method = Method {
    interface: INTERFACE,
    name: "next",
    signature: SIGNATURE,
    id: PULL,
    fingerprint: Fingerprint(fnv1a64(&[SIGNATURE])),
    idempotent: false,
    timeout: None,
    manner: Manner { detached: false, blocking: false },
};

/// The interfaces of a source.
fn interfaces() -> &'static InterfaceSet {
    static SET: OnceLock<InterfaceSet> = OnceLock::new();
    SET.get_or_init(|| InterfaceSet::new(vec![INTERFACE.to_string()]))
}

/// Whether a reference is that of a stream.
pub(crate) fn is_stream(referent: &Referent) -> bool {
    match referent {
        Referent::Own(object) => object.interfaces().is_stream(),
        Referent::Foreign(import) => import.interfaces().is_stream(),
        Referent::Named(_) | Referent::Balanced(_) | Referent::Service(_) => false,
    }
}

/// A stream of values that is an argument or a result, itself or anywhere inside of one.
///
/// It is made of any [`Stream`], or by [`channel`](Self::channel), and is itself a `Stream` of
/// `rmi::Result<T>`. Passed on, it is taken: who passed it reads no more of it, and who gets it
/// reads it once. Items are fetched as they are read, a little ahead: a slow reader makes a slow
/// writer, and delays nothing else. They may hold references, and streams.
///
/// Dropping it stops its writer: the stream that it was made of is dropped. An error is the last
/// item. [`ErrorKind::ConnectionLost`] is the error of a stream whose connection was lost while items were
/// under way, and [`ErrorKind::Shutdown`] that of one whose writer's node is shutting down.
///
/// A call that passes a stream has no time-out but one of its own
/// ([`CallOptions::timeout`](crate::CallOptions::timeout)). It never goes again once its stream has
/// been read from.
///
/// ```
/// use futures_util::{StreamExt, stream};
/// use rmi_core::Streaming;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut numbers = Streaming::new(stream::iter(1..=3));
/// assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
/// assert_eq!(numbers.map(Result::unwrap).collect::<Vec<u32>>().await, [2, 3]);
/// # });
/// ```
pub struct Streaming<T> {
    state: Mutex<State<T>>,
}

enum State<T> {
    /// Of this process.
    Local(Items<T>),
    /// Of another node.
    Remote(Reader<T>),
    /// It was passed on.
    Given(Arc<Anchor>),
}

/// What keeps a stream that was passed on, until it is read from: its call may have to go again.
type Anchor = Mutex<Option<Referent>>;

impl<T: Send + 'static> State<T> {
    fn empty() -> Self {
        Self::Local(stream::empty().boxed())
    }
}

impl<T: Send + 'static> Streaming<T> {
    /// Passes on what this stream brings.
    #[must_use]
    pub fn new<S: Stream<Item = T> + Send + 'static>(stream: S) -> Self {
        Self::of(stream.map(Ok).boxed())
    }

    /// Passes on what this stream brings until its first error, which is the last item.
    #[must_use]
    pub fn try_new<S, E>(stream: S) -> Self
    where
        S: Stream<Item = std::result::Result<T, E>> + Send + 'static,
        E: Into<RemoteError> + 'static,
    {
        Self::of(stream.map_err(Into::into).boxed())
    }

    /// A stream and its sender, between which so many items wait at most (at least one).
    ///
    /// ```
    /// use rmi_core::Streaming;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (sender, mut lines) = Streaming::channel(8);
    /// sender.send("first".to_owned()).await.unwrap();
    /// drop(sender);
    /// assert_eq!(lines.next().await.unwrap().unwrap(), "first");
    /// assert!(lines.next().await.is_none());
    /// # });
    /// ```
    #[must_use]
    pub fn channel(capacity: usize) -> (StreamSender<T>, Self) {
        let (sender, items) = channel::open(capacity);
        (sender, Self::of(items))
    }

    fn of(items: Items<T>) -> Self {
        Self { state: Mutex::new(State::Local(items)) }
    }

    fn in_state(state: State<T>) -> Self {
        Self { state: Mutex::new(state) }
    }

    /// Reads no more than this many items ahead (at least one; 16,384 by default). What is read ahead is
    /// bounded by its length too, 1 MiB or the longest four items. Of a stream of this process nothing is
    /// read ahead.
    #[must_use]
    pub fn read_ahead(mut self, items: u32) -> Self {
        if let State::Remote(reader) = self.state.get_mut() {
            reader.read_ahead(items.max(1));
        }
        self
    }
}

impl<T: DeserializeOwned + Send + 'static> Streaming<T> {
    /// Waits for the next item; `None` at the end, and after an error.
    ///
    /// # Errors
    ///
    /// What ended the stream before its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no item.
    pub async fn next(&mut self) -> Option<Result<T>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<T: DeserializeOwned + Send + 'static> Stream for Streaming<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let state = self.get_mut().state.get_mut();
        let polled = match state {
            State::Local(items) => items.as_mut().poll_next(cx),
            State::Remote(reader) => reader.poll_next(cx),
            State::Given(_) => {
                let error = RemoteError::new(ErrorKind::Other, "the stream was passed on: its receiver reads it");
                Poll::Ready(Some(Err(error)))
            }
        };
        if let Poll::Ready(None | Some(Err(_))) = polled {
            // What brought it goes now, and is never asked again.
            *state = State::empty();
        }
        polled
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Streaming<T> {
    /// The reference to pass on.
    fn give(&self) -> std::result::Result<Referent, &'static str> {
        let mut state = self.state.lock();
        let items = match std::mem::replace(&mut *state, State::empty()) {
            State::Local(items) => items,
            State::Remote(reader) if !reader.has_begun() => {
                let referent = reader.source().clone();
                *state = State::Given(Arc::new(Mutex::new(Some(referent.clone()))));
                return Ok(referent);
            }
            // What it holds and what it waits for has to go through this node.
            State::Remote(mut reader) => stream::poll_fn(move |cx| reader.poll_next(cx)).boxed(),
            State::Given(anchor) => {
                // A call that certainly did not run goes again, and passes the same stream.
                let again = anchor.lock().clone();
                *state = State::Given(anchor);
                return again.ok_or("the stream has been read from already, and is not sent again");
            }
        };
        let anchor = Arc::<Anchor>::default();
        let source = source::Shared::new(items, Arc::downgrade(&anchor));
        let referent = Referent::Own(Object::with(source));
        *anchor.lock() = Some(referent.clone());
        *state = State::Given(anchor);
        Ok(referent)
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Serialize for Streaming<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if !marshal::is_encoding() {
            return Err(ser::Error::custom(marshal::OUTSIDE));
        }
        remote::serialize(&self.give().map_err(ser::Error::custom)?, serializer)
    }
}

impl<'de, T: DeserializeOwned + Send + 'static> Deserialize<'de> for Streaming<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let referent = remote::deserialize(deserializer)?;
        if !is_stream(&referent) {
            let found = referent.interfaces();
            return Err(de::Error::custom(format!("a stream was expected, and the reference is to {found:?}")));
        }
        if let Referent::Own(object) = &referent {
            let home = object.erased.cast(TypeId::of::<Self>()).and_then(|home| home.downcast::<Self>().ok());
            return home.map(|home| *home).ok_or_else(|| {
                de::Error::custom("the stream came back to its node, where it was taken or has another type")
            });
        }
        Reader::new(referent)
            .map(|reader| Self::in_state(State::Remote(reader)))
            .ok_or_else(|| de::Error::custom("the reference to the stream leads nowhere"))
    }
}

/// Items are moved in and out of it, never pinned.
impl<T> Unpin for Streaming<T> {}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state.lock() {
            State::Local(_) => "local".to_owned(),
            State::Remote(reader) => format!("{:?}", reader.source()),
            State::Given(_) => "passed on".to_owned(),
        };
        write!(f, "Streaming({state})")
    }
}
