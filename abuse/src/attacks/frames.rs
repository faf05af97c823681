//! Frames and messages of the largest size.

use std::{io, sync::Arc};

use bytes::Bytes;
use rmi_core::wire::{CHUNK_LEN_MAX, Chunk, FRAME_LEN_MAX, Kind, Message, Part};
use rmi_harness::grouped;

use super::{Attack, again_and_again};
use crate::{
    peer::{HEAD_LEN_MAX, Peer, varint},
    tally::Tally,
};

/// On two links a message of the largest size, never whole; on two others the window of calls; and once more for
/// what is read ahead and kept for the next one.
pub(super) const GROWTH_MAX: u64 = 448 << 20;

const LINKS: usize = 6;
const MESSAGE_LEN: u64 = 128 << 20;
const LANES: u32 = 8;

pub(super) async fn carry_out(attack: Arc<Attack>) {
    again_and_again(attack, LINKS, |attack, number| async move {
        let _open = attack.tally.open();
        let mut peer = Peer::connect(&attack).await?;
        match number % 3 {
            0 => full_frames(&mut peer).await,
            1 => endless_messages(&attack, &mut peer).await,
            _ => impossible_lengths(&attack, &mut peer).await,
        }
    })
    .await;
}

/// Calls that fill a frame each.
async fn full_frames(peer: &mut Peer) -> io::Result<()> {
    let swallow = peer.define("swallow");
    let len = FRAME_LEN_MAX - HEAD_LEN_MAX;
    let mut payload = varint((len - 3) as u64);
    payload.resize(len, 7);
    let payload = Bytes::from(payload);
    loop {
        peer.call(swallow, payload.clone()).await?;
    }
}

/// As many lanes as there may be, with as much together as they may have; given up just before their ends.
async fn endless_messages(attack: &Attack, peer: &mut Peer) -> io::Result<()> {
    let each = MESSAGE_LEN / u64::from(LANES);
    let data = Bytes::from(vec![Kind::Call as u8; CHUNK_LEN_MAX]);
    loop {
        for sent in 0..each / CHUNK_LEN_MAX as u64 {
            for lane in 0..LANES {
                let total = (sent == 0).then_some(each);
                peer.put(&Message::Chunk(Chunk { lane, total, part: Part::More, data: data.clone() }));
                peer.flush().await?;
                attack.tally.sent(1);
            }
        }
        for lane in 0..LANES {
            peer.put(&Message::Chunk(Chunk { lane, total: None, part: Part::Abort, data: Bytes::new() }));
        }
        peer.flush().await?;
    }
}

/// A frame that is longer than any: the link is over.
async fn impossible_lengths(attack: &Attack, peer: &mut Peer) -> io::Result<()> {
    peer.put_bytes(&[0xff, 0xff, 0xff, 0xff, Kind::Call as u8, 0, 0, 0]);
    attack.tally.sent(1);
    peer.stay().await
}

pub(super) fn told(tally: &Tally) -> String {
    format!("{} largest frames, {} MiB", grouped(tally.sent_count()), grouped(tally.mebibytes()))
}
