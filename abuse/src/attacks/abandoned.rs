//! Handshakes that are begun and left.

use std::sync::Arc;

use bytes::BytesMut;
use rmi_harness::grouped;
use tokio::io::AsyncWriteExt;

use super::{Attack, again_and_again};
use crate::{credit::next_frame, tally::Tally};

/// What is left of a link over which nothing was held, for as long as it might be resumed.
pub(super) const GROWTH_MAX: u64 = 256 << 20;

const WORKERS: usize = 64;
/// A worker does as many at a time.
const ROUND: usize = 16;

/// Some connect and go, some go in the middle of their hello, some behind it, some when they were answered.
pub(super) async fn carry_out(attack: Arc<Attack>) {
    again_and_again(attack, WORKERS, |attack, worker| async move {
        for number in worker..worker + ROUND {
            let mut stream = attack.dial().await?;
            let _open = attack.tally.open();
            // Reset and not closed, or the ports of this side would be used up in a second.
            stream.set_zero_linger()?;
            let hello = attack.hello();
            let said = [0, hello.len() / 2, hello.len(), hello.len()];
            stream.write_all(said.get(number % 4).and_then(|len| hello.get(..*len)).unwrap_or_default()).await?;
            if number % 4 == 3 {
                next_frame(&mut stream, &mut BytesMut::new()).await?;
            }
        }
        Ok(())
    })
    .await;
}

pub(super) fn told(tally: &Tally) -> String {
    format!("{} handshakes abandoned", grouped(tally.opened_count()))
}
