//! Values that are small on the wire and huge otherwise.

use std::sync::Arc;

use bytes::Bytes;
use rmi_harness::grouped;

use super::{Attack, again_and_again};
use crate::{
    peer::{Peer, varint},
    tally::Tally,
};

/// A value of the largest size in memory, on each worker that decodes one.
pub(super) const GROWTH_MAX: u64 = 1200 << 20;

const LINKS: usize = 4;
/// A little less than may be in one message.
const ELEMENTS: u64 = (16 << 20) - 1;
const DEPTH: usize = 60_000;
/// So many fill half a gibibyte.
const FAT_ELEMENTS: u64 = 1_900_000;

pub(super) async fn carry_out(attack: Arc<Attack>) {
    again_and_again(attack, LINKS, |attack, _| async move {
        let _open = attack.tally.open();
        let mut peer = Peer::connect(&attack).await?;
        let (deep, wide, fat) = (peer.define("deep"), peer.define("wide"), peer.define("fat"));
        let boxes = Bytes::from(vec![1; DEPTH]);
        let elements = |count, of: &[u8]| {
            let mut payload = varint(count);
            payload.extend_from_slice(of);
            Bytes::from(payload)
        };
        let fats = elements(FAT_ELEMENTS, &vec![0; FAT_ELEMENTS as usize]);
        loop {
            peer.call(deep, boxes.clone()).await?;
            peer.call(wide, elements(ELEMENTS, &[])).await?;
            peer.call(wide, elements(u64::MAX, &[])).await?;
            peer.call(fat, elements(u64::MAX, &[0; 100])).await?;
            peer.call(fat, fats.clone()).await?;
        }
    })
    .await;
}

pub(super) fn told(tally: &Tally) -> String {
    let [sent, answered] = [tally.sent_count(), tally.answered_count()].map(grouped);
    format!("{sent} deep and wide values, {answered} answered")
}
