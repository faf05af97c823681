//! Values: arguments, results and errors in the postcard format.
//!
//! Encoder and decoder are our own, byte for byte equal to the postcard crate. The decoder bounds
//! depth, elements and memory, which postcard does not; both keep the text of errors that
//! `Serialize` and `Deserialize` implementations report, which postcard drops.

mod compound;
mod decoder;
mod encoder;
mod error;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{DecodeError, EncodeError};

#[cfg(test)]
mod tests;
