//! Clients that ask and never read.

use std::sync::Arc;

use rmi_harness::grouped;

use super::{Attack, again_and_again};
use crate::{
    peer::{Peer, varint},
    tally::Tally,
};

/// On each link what may wait to be written, as many again where its peer asks on, and answers on their way there.
pub(super) const GROWTH_MAX: u64 = LINKS as u64 * (80 << 20);

const LINKS: usize = 8;
const ANSWER_LEN: u64 = 1 << 20;
/// More than one link may have unanswered would end it.
const CALLS: u32 = 4096;

pub(super) async fn carry_out(attack: Arc<Attack>) {
    again_and_again(attack, LINKS, |attack, _| async move {
        let (mut peer, _unread) = Peer::connect_deaf(&attack).await?;
        let _open = attack.tally.open();
        let fill = peer.define("fill");
        for _ in 0..CALLS {
            peer.call(fill, varint(ANSWER_LEN)).await?;
        }
        peer.stay().await
    })
    .await;
}

pub(super) fn told(tally: &Tally) -> String {
    let [asked, links] = [tally.sent_count(), tally.opened_count()].map(grouped);
    format!("{asked} answers of 1 MiB not read, on {links} links")
}
