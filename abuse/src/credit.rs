//! What a server still takes from a peer, as its answers tell.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::BytesMut;
use rmi::Limits;
use rmi_core::wire::{Frame, Kind, Message, Part, split_frame};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::tcp::OwnedReadHalf,
    sync::Notify,
};

use crate::attacks::Attack;

/// The credit of one link.
pub(crate) struct Credit {
    left: Mutex<Left>,
    changed: Notify,
}

struct Left {
    calls: u32,
    bytes: u64,
    is_over: bool,
}

impl Credit {
    pub(crate) fn new(calls: u32, bytes: u64) -> Self {
        Self { left: Mutex::new(Left { calls, bytes, is_over: false }), changed: Notify::new() }
    }

    /// Takes it for one call, if there is enough.
    ///
    /// # Errors
    ///
    /// Where the link is over.
    pub(crate) fn take(&self, bytes: u64) -> io::Result<bool> {
        let mut left = self.checked()?;
        let is_enough = left.has(bytes);
        if is_enough {
            left.calls -= 1;
            left.bytes -= bytes;
        }
        Ok(is_enough)
    }

    /// Waits until there is enough for one call.
    ///
    /// # Errors
    ///
    /// Where the link is over.
    pub(crate) async fn wait(&self, bytes: u64) -> io::Result<()> {
        loop {
            let changed = self.changed.notified();
            if self.checked()?.has(bytes) {
                return Ok(());
            }
            changed.await;
        }
    }

    /// # Errors
    ///
    /// Where the link is over.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.checked().map(drop)
    }

    fn checked(&self) -> io::Result<MutexGuard<'_, Left>> {
        let left = self.lock();
        if left.is_over { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(left) }
    }

    fn change(&self, change: impl FnOnce(&mut Left)) {
        change(&mut self.lock());
        // There is one that waits, the link's only writer.
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    fn has(&self, bytes: u64) -> bool {
        self.calls > 0 && self.bytes >= bytes
    }
}

/// Reads and forgets, but for what it says about credit.
pub(crate) async fn read_all(mut read: OwnedReadHalf, mut buffer: BytesMut, credit: Arc<Credit>, attack: Arc<Attack>) {
    while let Ok(frame) = next_frame(&mut read, &mut buffer).await {
        let is_answer = match frame.kind {
            Kind::Reply | Kind::Refusal => true,
            Kind::Chunk | Kind::Credit => match Message::decode(frame.kind, frame.body, &Limits::default()) {
                // Nobody calls this peer: all that comes in chunks is an answer.
                Ok(Message::Chunk(chunk)) => chunk.part == Part::Last,
                Ok(Message::Credit(more)) => {
                    credit.change(|left| left.bytes += more.bytes);
                    false
                }
                _ => break,
            },
            _ => false,
        };
        if is_answer {
            attack.tally.answered();
            credit.change(|left| left.calls += 1);
        }
    }
    credit.change(|left| left.is_over = true);
}

/// The next whole frame.
pub(crate) async fn next_frame(read: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Frame> {
    loop {
        if let Some(frame) = split_frame(buffer).map_err(io::Error::other)? {
            return Ok(frame);
        }
        buffer.reserve(64 << 10);
        if read.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credit_is_taken_and_given_back() {
        let credit = Credit::new(2, 100);
        assert!(credit.take(100).unwrap());
        assert!(!credit.take(1).unwrap(), "no bytes");
        assert!(credit.take(0).unwrap());
        assert!(!credit.take(0).unwrap(), "no calls");
        let (waited, ()) = tokio::join!(credit.wait(50), async {
            credit.change(|left| left.calls += 1);
            credit.change(|left| left.bytes += 50);
        });
        waited.unwrap();
        credit.change(|left| left.is_over = true);
        assert!(credit.take(0).is_err() && credit.wait(1).await.is_err());
    }
}
