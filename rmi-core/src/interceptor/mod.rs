//! What stands around calls, at their caller and at their callee.

mod calling;
mod invocation;
mod reply;
mod serving;
mod spans;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tracing::Instrument as _;

pub use self::{
    invocation::{Invocation, Side},
    reply::Reply,
};
pub(crate) use self::{
    reply::Answered,
    serving::{Aim, Served},
};
use crate::{
    connection::panic_text,
    error::{ErrorKind, RemoteError},
    id::{MethodId, PULL},
};

/// Stands around each call of a node: sees it, and what comes of it; refuses it, delays it, lets it go again, or
/// gives it another end. Installed by [`NodeBuilder::interceptor`](crate::NodeBuilder::interceptor).
///
/// It sees the calls that the node makes and those that it serves, relayed ones too, but neither local calls, which
/// are not sent, nor the runtime's own: fences, and what pulls streams. A oneway call has ended at its caller once it
/// is on its way, with an empty reply.
///
/// ```
/// use rmi_core::{ErrorKind, Interceptor, Invocation, Next, RemoteError, Reply, Side, async_trait};
///
/// /// Serves only those who know the word.
/// struct Doorkeeper;
///
/// #[async_trait]
/// impl Interceptor for Doorkeeper {
///     async fn intercept(&self, call: &mut Invocation, mut next: Next<'_>) -> Result<Reply, RemoteError> {
///         if call.metadata("word").is_some_and(|word| word == "sesame") {
///             return next.run(call).await;
///         }
///         Err(RemoteError::new(ErrorKind::AccessDenied, "the caller does not know the word"))
///     }
///
///     fn sees(&self, side: Side) -> bool {
///         side == Side::Server
///     }
/// }
/// # let builder = rmi_core::Node::builder().interceptor(Doorkeeper);
/// ```
///
/// An error that it returns ends the call, with the certainty that is true whatever the error says:
/// [`NotSent`](crate::Certainty::NotSent) or [`NotExecuted`](crate::Certainty::NotExecuted) where `next` never ran. A
/// panic becomes the call's [`Panicked`](ErrorKind::Panicked). One that never returns is dropped when the time for the
/// call is over: at the caller a moment after it, at the callee when the caller has said so.
///
/// # Cancel safety
///
/// Its future is dropped at any await when the call is cancelled.
#[async_trait]
pub trait Interceptor: Send + Sync + 'static {
    /// Around one call: [`Next::run`] lets it go on.
    ///
    /// # Errors
    ///
    /// What ends the call instead of an answer.
    async fn intercept(&self, call: &mut Invocation, next: Next<'_>) -> Result<Reply, RemoteError>;

    /// Whether it stands around the calls that the node makes, or serves: around both unless it says otherwise. Asked
    /// once, when it is added to a node.
    fn sees(&self, side: Side) -> bool {
        let _ = side;
        true
    }
}

/// What a call goes on with: the interceptors that were added later, and then the call itself.
pub struct Next<'a> {
    rest: &'a [Arc<dyn Interceptor>],
    end: &'a mut dyn End,
}

impl Next<'_> {
    /// Lets the call go on. At the caller it may do so more than once, where the call may go again
    /// ([`Invocation::may_go`]); the runtime itself sends those again that a lost connection has kept from running.
    ///
    /// # Errors
    ///
    /// Where the call was refused or lost, or may not go again. What a method returns is no error here, also where it
    /// is an `Err` ([`Reply::is_error`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call; at the callee the method is dropped at its next await.
    pub async fn run(&mut self, call: &mut Invocation) -> Result<Reply, RemoteError> {
        match self.rest.split_first() {
            Some((first, rest)) => first.intercept(call, Next { rest, end: &mut *self.end }).await,
            None => self.end.run(call).await,
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("interceptors", &self.rest.len()).finish_non_exhaustive()
    }
}

/// The call itself, inside of all interceptors.
#[async_trait]
trait End: Send {
    async fn run(&mut self, call: &mut Invocation) -> Result<Reply, RemoteError>;
}

type Chain = Vec<Arc<dyn Interceptor>>;

/// The interceptors of a node, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct Interceptors {
    made: Chain,
    served: Chain,
}

impl Interceptors {
    pub(crate) fn add(&mut self, interceptor: Arc<dyn Interceptor>) {
        for (side, chain) in [(Side::Client, &mut self.made), (Side::Server, &mut self.served)] {
            if interceptor.sees(side) {
                chain.push(interceptor.clone());
            }
        }
    }

    fn of(&self, side: Side) -> &Chain {
        match side {
            Side::Client => &self.made,
            Side::Server => &self.served,
        }
    }

    /// Whether anything stands around a call of this method.
    #[inline]
    pub(crate) fn see(&self, side: Side, method: MethodId) -> bool {
        (!self.of(side).is_empty() || spans::enabled()) && method != PULL
    }

    /// Runs a call inside of all interceptors of its side.
    async fn run(&self, call: &mut Invocation, end: &mut dyn End) -> Result<Reply, RemoteError> {
        let span = spans::CallSpan::open(call);
        let mut next = Next { rest: self.of(call.side()), end };
        let ran = AssertUnwindSafe(next.run(call).instrument(span.span().clone())).catch_unwind().await;
        let result = ran.unwrap_or_else(|panic| {
            let message = format!("an interceptor panicked: {}", panic_text(&*panic));
            Err(RemoteError::new(ErrorKind::Panicked, message))
        });
        let result = result.map_err(|error| error.with_certainty(call.certainty()));
        span.close(call, &result);
        result
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interceptors").field("made", &self.made.len()).field("served", &self.served.len()).finish()
    }
}
