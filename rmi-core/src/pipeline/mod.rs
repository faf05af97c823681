//! Pipelining: calls on results that have not arrived.
//!
//! A call of a pipeline is sent when it is first polled, behind the call on whose result it is made, which is sent then
//! too if it was not. The callee holds it until that result is there. Who polls a call drives all that it stands on;
//! each is one future, shared by all that wait for it.

mod flight;
mod piped;

use std::{
    any::Any,
    fmt,
    ops::Deref,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;

pub(crate) use self::flight::{Flight, Flights};
use self::piped::{Arguments, Ended, Piped};
use crate::{
    argument::RetCodec,
    interface::{Interface, Method},
    marshal::ArgumentEncoder,
    oneway::OnewayCodec,
    options::CallOptions,
    referent::{Erased, Object, Referent},
    remote::Remote,
    stub::Stub,
};

/// The methods of an interface, and of its bases, on a result that has not arrived. Made by `#[remote]`.
pub trait Pipelined: Send + Sync + 'static {
    /// The methods, on what calls of this pipe go to.
    fn on(pipe: &Pipe) -> Self;
}

/// No methods.
impl Pipelined for () {
    fn on(_: &Pipe) {}
}

/// Where the calls of a pipeline go to.
#[derive(Clone)]
pub struct Pipe(Head);

#[derive(Clone)]
enum Head {
    Stub(Arc<Stub>),
    Local(Arc<Object<dyn Erased>>),
    Promise(Arc<Piped>),
}

impl Head {
    fn of(referent: &Referent, options: CallOptions) -> Option<Self> {
        match referent {
            Referent::Own(object) => Some(Self::Local(object.clone())),
            referent => Stub::new(referent, options).map(Self::Stub),
        }
    }
}

impl Pipe {
    /// To what a reference leads to.
    pub(crate) fn of(referent: &Referent, options: CallOptions) -> Option<Self> {
        Head::of(referent, options).map(Self)
    }

    /// A call of this method, which goes once it is polled. `encode` appends its arguments, now.
    pub fn call<R>(
        &self,
        method: &'static Method,
        encode: impl FnOnce(&mut ArgumentEncoder),
        codec: RetCodec<R>,
    ) -> Promise<R> {
        Promise::new(Piped::new(self.0.clone(), method, Arguments::of(encode), false), Codec::Answer(codec))
    }

    /// The same of a oneway method.
    pub fn send<R>(
        &self,
        method: &'static Method,
        encode: impl FnOnce(&mut ArgumentEncoder),
        codec: OnewayCodec<R>,
    ) -> Promise<R> {
        Promise::new(Piped::new(self.0.clone(), method, Arguments::of(encode), true), Codec::Sent(codec))
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Head::Stub(stub) => write!(f, "Pipe({stub:?})"),
            Head::Local(object) => write!(f, "Pipe(local object {})", object.id),
            Head::Promise(piped) => write!(f, "Pipe(result of {})", piped.method),
        }
    }
}

/// The result of a call of a pipeline: awaited, or called on where it is a reference, which takes no round trip of its
/// own. See [`Remote::pipelined`].
///
/// Its call goes once this, or what was called on it, is awaited. It is cancelled when nothing of both is left.
///
/// # Cancel safety
///
/// Dropping a future that waits for it, by reference, loses nothing.
#[must_use = "a call of a pipeline goes once it is awaited, or what was called on its result"]
pub struct Promise<R> {
    piped: Arc<Piped>,
    codec: Codec<R>,
    waits: Mutex<Option<BoxFuture<'static, Ended>>>,
    /// The methods of the result, where it is a reference.
    pipelined: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// What makes the method's result of an answer.
enum Codec<R> {
    Answer(RetCodec<R>),
    Sent(OnewayCodec<R>),
}

impl<R> Promise<R> {
    fn new(piped: Arc<Piped>, codec: Codec<R>) -> Self {
        Self { piped, codec, waits: Mutex::new(None), pipelined: OnceLock::new() }
    }
}

impl<R> Future for Promise<R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = &mut *self;
        let piped = &this.piped;
        let waits = this.waits.get_mut().get_or_insert_with(|| piped.clone().resolve().boxed());
        let Poll::Ready(ended) = waits.as_mut().poll(cx) else { return Poll::Pending };
        *this.waits.get_mut() = None;
        Poll::Ready(match &this.codec {
            Codec::Answer(codec) => codec.decode(match &ended {
                Ok(landed) => Ok(landed.answer(piped.method)),
                Err(error) => Err(error.clone()),
            }),
            Codec::Sent(codec) => codec.decode(ended.map(drop)),
        })
    }
}

/// What it waits with is pinned in a box.
impl<R> Unpin for Promise<R> {}

impl<I: ?Sized + Interface, E: 'static> Deref for Promise<Result<Remote<I>, E>> {
    type Target = I::Pipelined<()>;

    fn deref(&self) -> &I::Pipelined<()> {
        let on_result = || -> Box<dyn Any + Send + Sync> {
            let methods: I::Pipelined<()> = Pipelined::on(&Pipe(Head::Promise(self.piped.clone())));
            Box::new(methods)
        };
        match self.pipelined.get_or_init(on_result).downcast_ref() {
            Some(methods) => methods,
            None => unreachable!("it was made two lines above, of this type"),
        }
    }
}

impl<R> fmt::Debug for Promise<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Promise(result of {})", self.piped.method)
    }
}
