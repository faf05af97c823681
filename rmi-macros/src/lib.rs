//! The `#[remote]` attribute of rmi: on a trait it makes a remote interface, on an `impl` of one it
//! lets the methods be `async fn`.
//!
//! In three steps: `args` and syn parse, `model` checks and keeps what matters, `expand`
//! writes the code. Only the first two can fail.

mod args;
mod duration;
mod expand;
mod model;
mod names;

/// Errors of one attribute, all reported at once.
type Errors = Vec<syn::Error>;

/// Makes a trait a remote interface, and goes on every `impl` of that trait too.
///
/// ```ignore
/// #[remote]
/// pub trait Account {
///     async fn balance(&self) -> rmi::Result<i64>;
/// }
///
/// #[remote]
/// impl Account for Savings {
///     async fn balance(&self) -> rmi::Result<i64> { Ok(self.cents) }
/// }
/// ```
///
/// A method is an `async fn` on `&self` that returns a `Result<T, E>`, where `E` is made
/// `From<RemoteError>`. Arguments and results are serde values; an argument may be borrowed
/// (`&str`, `&[T]`, `&T`). The trait gets the supertraits `Send + Sync + 'static`; its other
/// supertraits must be remote interfaces too.
///
/// | option | on | meaning |
/// |---|---|---|
/// | `name = "com.example.Bank"` | trait | the interface's name, instead of crate and trait |
/// | `name = "open"` | method | the method's name, instead of the one in Rust |
/// | `oneway` | method | the call comes back once it is on its way; see below |
/// | `idempotent` | method | it may run more than once: it goes again where nobody knows whether it ran |
/// | `timeout = "5s"` | method | the time for a call: `250ms`, `5s`, `1.5m`, `1h`; `CallOptions::timeout` comes before it, and it before `Limits::call_timeout` |
/// | `detached` | method | it runs to its end although its caller goes away, its time is over or its link is lost |
/// | `blocking` | method | it may block its thread: it runs on one that nobody else waits for |
/// | `crate = "path"` | trait, impl | where `rmi` is found, if not under its own name |
///
/// A `oneway` method returns `Result<(), E>`. Its call waits until it is on its way, also for the peer's credit, and
/// never for the answer: an error says that it certainly did not run. Dropping its future before takes it back, and
/// nothing does after. What the method returns is dropped; an error is noted in the log of the callee, at level debug.
/// The call keeps its order among others, and its time: a method that takes longer is dropped, unless it is `detached`
/// too. What is on its way when the connection is lost may be lost with it.
///
/// A `detached` method is run once its call has arrived, and is answered as any other. The calls that it makes do not
/// inherit the time of its own. A shutdown waits for it, as long as it waits for any.
///
/// Between its awaits a `blocking` method holds a thread of tokio's pool for such (512 unless the runtime is built
/// otherwise), and none while it waits. Calls to one object begin in order, and go on side by side. When its caller
/// goes away it is dropped at its next await, and answered then.
///
/// A call of a local object is a plain call: options concern what is sent.
#[proc_macro_attribute]
pub fn remote(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::remote(options.into(), item.into()).into()
}
