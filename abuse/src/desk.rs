//! What the server serves, to everybody.

use std::time::Duration;

use bytes::Bytes;
use rmi::{Remote, remote};
use serde::{Deserialize, Serialize};

/// The name that the object is served by.
pub(crate) const NAME: &str = "desk";

/// A method for honest callers, and one for each way to make work.
#[remote]
pub(crate) trait Desk {
    /// The sum: what honest clients call.
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64>;
    /// The length of the bytes.
    async fn swallow(&self, data: Bytes) -> rmi::Result<u64>;
    /// So many bytes.
    async fn fill(&self, len: u32) -> rmi::Result<Bytes>;
    /// Sleeps for so many milliseconds.
    async fn rest(&self, millis: u64) -> rmi::Result<()>;
    /// A value as deep as its sender likes.
    async fn deep(&self, nest: Nest) -> rmi::Result<bool>;
    /// As many elements of no bytes as its sender likes.
    async fn wide(&self, items: Vec<()>) -> rmi::Result<u64>;
    /// Elements that take a byte each on the wire, and hundreds in memory.
    async fn fat(&self, items: Vec<Fat>) -> rmi::Result<u64>;
    /// A new object.
    async fn make(&self) -> rmi::Result<Remote<dyn Desk>>;
    /// Takes references and lets go of them.
    async fn take(&self, references: Vec<Remote<dyn Desk>>) -> rmi::Result<u64>;
}

/// A box in a box in a box.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Nest(pub(crate) Option<Box<Self>>);

/// Small on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "what it is for")]
pub(crate) enum Fat {
    /// A byte.
    Nothing,
    /// What makes all of them large.
    Numbers([u64; 32]),
}

/// The object.
pub(crate) struct Clerk;

#[remote]
impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64> {
        Ok(a.wrapping_add(b))
    }

    async fn swallow(&self, data: Bytes) -> rmi::Result<u64> {
        Ok(data.len() as u64)
    }

    async fn fill(&self, len: u32) -> rmi::Result<Bytes> {
        Ok(vec![7; len as usize].into())
    }

    async fn rest(&self, millis: u64) -> rmi::Result<()> {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(())
    }

    async fn deep(&self, nest: Nest) -> rmi::Result<bool> {
        Ok(nest.0.is_some())
    }

    async fn wide(&self, items: Vec<()>) -> rmi::Result<u64> {
        Ok(items.len() as u64)
    }

    async fn fat(&self, items: Vec<Fat>) -> rmi::Result<u64> {
        Ok(items.iter().filter(|item| matches!(item, Fat::Numbers(_))).count() as u64)
    }

    async fn make(&self) -> rmi::Result<Remote<dyn Desk>> {
        Ok(Remote::<dyn Desk>::new(Self))
    }

    async fn take(&self, references: Vec<Remote<dyn Desk>>) -> rmi::Result<u64> {
        Ok(references.len() as u64)
    }
}
