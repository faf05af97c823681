//! Bytes that come one by one.

use std::{io, sync::Arc, time::Duration};

use rmi_core::wire::{FRAME_LEN_MAX, Kind};
use rmi_harness::grouped;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{Attack, again_and_again};
use crate::tally::Tally;

/// A small buffer, and for half of them a link, which has begun a frame.
pub(super) const GROWTH_MAX: u64 = 96 << 20;

const CONNECTIONS: usize = 2000;
const BETWEEN_BYTES: Duration = Duration::from_millis(100);

/// Half of them dawdle over their hello, which they never finish in time; the others over a frame behind a prompt one.
pub(super) async fn carry_out(attack: Arc<Attack>) {
    let connections = CONNECTIONS.min(attack.connections);
    again_and_again(attack, connections, |attack, number| async move {
        let mut stream = attack.dial().await?;
        let _open = attack.tally.open();
        let hello = attack.hello();
        let mut slow = hello.to_vec();
        if number % 2 == 1 {
            stream.write_all(&hello).await?;
            slow = (FRAME_LEN_MAX as u32).to_le_bytes().to_vec();
            slow.push(Kind::Call as u8);
            slow.resize(4 + FRAME_LEN_MAX, 0);
        }
        let (mut read, mut write) = stream.into_split();
        let dawdling = async {
            let mut ticks = interval_at(Instant::now() + BETWEEN_BYTES, BETWEEN_BYTES);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for byte in slow {
                ticks.tick().await;
                write.write_all(&[byte]).await?;
                attack.tally.sent(1);
            }
            Ok(())
        };
        let hearing = async {
            let mut heard = [0; 512];
            while read.read(&mut heard).await? > 0 {}
            Err(io::ErrorKind::UnexpectedEof.into())
        };
        tokio::select! {
            dawdled = dawdling => dawdled,
            ended = hearing => ended,
        }
    })
    .await;
}

pub(super) fn told(tally: &Tally) -> String {
    let [made, most, bytes] = [tally.opened_count(), tally.open_most(), tally.sent_count()].map(grouped);
    format!("{made} slow connections, {most} at once, {bytes} single bytes")
}
