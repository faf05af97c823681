//! What encoding and decoding a value can fail with.

use std::fmt::Display;

use crate::{ErrorKind, RemoteError, wire::varint::VarintError};

/// Why a value could not be encoded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(Box<str>);

impl EncodeError {
    #[cold]
    pub(super) fn new(message: impl Into<Box<str>>) -> Self {
        Self(message.into())
    }
}

impl serde::ser::Error for EncodeError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

impl From<EncodeError> for RemoteError {
    fn from(error: EncodeError) -> Self {
        Self::new(ErrorKind::Marshal, error.to_string())
    }
}

/// Why a value could not be decoded. One pointer wide, so that results pass in registers.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DecodeError(Box<Fault>);

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("a value ends within {0}")]
    Truncated(&'static str),
    #[error("{0} bytes follow the last value")]
    Trailing(usize),
    #[error("{0}")]
    Invalid(&'static str),
    #[error("{what} exceed the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("{0}")]
    Custom(Box<str>),
}

impl DecodeError {
    /// Whether a limit was exceeded.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(*self.0, Fault::Limit { .. })
    }
}

impl From<Fault> for DecodeError {
    #[cold]
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl From<VarintError> for DecodeError {
    #[cold]
    fn from(error: VarintError) -> Self {
        match error {
            VarintError::Truncated => Fault::Truncated("an integer").into(),
            VarintError::TooWide => Fault::Invalid("an integer is too wide for its type").into(),
        }
    }
}

impl serde::de::Error for DecodeError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Fault::Custom(message.to_string().into()).into()
    }
}

impl From<DecodeError> for RemoteError {
    fn from(error: DecodeError) -> Self {
        let kind = if error.is_too_large() { ErrorKind::TooLarge } else { ErrorKind::Unmarshal };
        Self::new(kind, error.to_string())
    }
}
