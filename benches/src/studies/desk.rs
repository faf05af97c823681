//! What the studies call.

use std::time::Duration;

use bytes::Bytes;
use rmi::{Remote, remote};

/// An object for each kind of work.
#[remote]
pub(super) trait Desk {
    /// The sum: a small call.
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64>;
    /// The same bytes.
    async fn echo(&self, data: Bytes) -> rmi::Result<Bytes>;
    /// So many bytes.
    async fn fill(&self, len: usize) -> rmi::Result<Bytes>;
    /// Sleeps for so many milliseconds, as a handler should.
    async fn rest(&self, millis: u64) -> rmi::Result<()>;
    /// Blocks its thread for so many milliseconds, as a handler should not.
    async fn block(&self, millis: u64) -> rmi::Result<()>;
    /// New objects.
    async fn make(&self, count: usize) -> rmi::Result<Vec<Remote<dyn Desk>>>;
}

/// The object.
pub(super) struct Clerk;

#[remote]
impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> rmi::Result<i64> {
        Ok(a.wrapping_add(b))
    }

    async fn echo(&self, data: Bytes) -> rmi::Result<Bytes> {
        Ok(data)
    }

    async fn fill(&self, len: usize) -> rmi::Result<Bytes> {
        Ok(vec![7; len].into())
    }

    async fn rest(&self, millis: u64) -> rmi::Result<()> {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(())
    }

    async fn block(&self, millis: u64) -> rmi::Result<()> {
        std::thread::sleep(Duration::from_millis(millis));
        Ok(())
    }

    async fn make(&self, count: usize) -> rmi::Result<Vec<Remote<dyn Desk>>> {
        Ok((0..count).map(|_| Remote::<dyn Desk>::new(Self)).collect())
    }
}
