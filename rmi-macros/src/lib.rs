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
/// | `crate = "path"` | trait, impl | where `rmi` is found, if not under its own name |
#[proc_macro_attribute]
pub fn remote(options: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand::remote(options.into(), item.into()).into()
}
