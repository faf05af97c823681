//! Cancels, many of them for calls that are over.

use std::{sync::Arc, time::Duration};

use rmi_core::wire::{CallId, Cancel, Message};
use rmi_harness::grouped;
use tokio::time::interval;

use super::{Attack, again_and_again};
use crate::{
    peer::{Peer, varint},
    tally::Tally,
};

/// Calls that are cancelled before they have begun.
pub(super) const GROWTH_MAX: u64 = 64 << 20;

const LINKS: usize = 4;
const CANCELS_PER_LINK: u32 = 250;
/// One in five cancels a call that is under way.
const CALLS_PER_LINK: u32 = 50;

pub(super) async fn carry_out(attack: Arc<Attack>) {
    again_and_again(attack, LINKS, |attack, _| async move {
        let _open = attack.tally.open();
        let mut peer = Peer::connect(&attack).await?;
        let rest = peer.define("rest");
        let minute = varint(60_000);
        let mut ticks = interval(Duration::from_millis(1));
        loop {
            ticks.tick().await;
            let mut last = 0;
            for _ in 0..CALLS_PER_LINK {
                let CallId(id) = peer.call(rest, minute.clone()).await?;
                last = id;
            }
            for back in 0..CANCELS_PER_LINK {
                peer.put(&Message::Cancel(Cancel { id: CallId(last.saturating_sub(back)) }));
            }
            peer.flush().await?;
            attack.tally.cancelled(CANCELS_PER_LINK.into());
        }
    })
    .await;
}

pub(super) fn told(tally: &Tally) -> String {
    let [cancels, calls] = [tally.cancelled_count(), tally.sent_count()].map(grouped);
    format!("{cancels} cancels, of {calls} calls")
}
