//! References by the million.

use std::{io, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use rmi::ObjectId;
use rmi_core::{
    interface::Interface,
    wire::{Definition, Descriptor, InterfacesNumber, Kind, Message, Release, Slot, Target},
};
use rmi_harness::grouped;

use super::{Attack, again_and_again};
use crate::{
    desk::{Desk, NAME},
    peer::{Peer, call, varint},
    tally::Tally,
};

/// A million objects that a peer holds, those of a message on their way in, and what it takes to send a million back.
pub(super) const GROWTH_MAX: u64 = 768 << 20;

const LINKS: usize = 4;
const MILLION: u32 = 1_000_000;
/// As many as one message may have.
const PER_MESSAGE: u32 = 65_536;
/// What a reference takes of the window.
const CREDIT: u64 = 64;

pub(super) async fn carry_out(attack: Arc<Attack>) {
    again_and_again(attack, LINKS, |attack, number| async move {
        let _open = attack.tally.open();
        let mut peer = Peer::connect(&attack).await?;
        match number {
            0 => give(&attack, &mut peer).await,
            1 => take(&mut peer).await,
            2 => claim(&attack, &mut peer).await,
            _ => give_back(&attack, &mut peer).await,
        }
    })
    .await;
}

/// Gives a million objects of its own, again and again.
async fn give(attack: &Attack, peer: &mut Peer) -> io::Result<()> {
    let take = peer.define("take");
    let interfaces = InterfacesNumber(0);
    let names = vec![<dyn Desk>::descriptor().name.to_string()];
    peer.put(&Message::Define(Definition::Interfaces { number: interfaces, names }));
    let indices: Vec<u8> = (0..PER_MESSAGE).flat_map(|index| varint(index.into())).collect();
    let payload = Bytes::from([varint(PER_MESSAGE.into()), indices].concat());
    for first in (0..MILLION).step_by(PER_MESSAGE as usize).cycle() {
        let id = peer.credit(payload.len() as u64 + u64::from(PER_MESSAGE) * CREDIT).await?;
        let mine = |index| Descriptor::Mine {
            slot: Slot { index, generation: 0 },
            // The same again for the same slot, as it must be.
            object: ObjectId::from_bytes(u128::from(index).to_le_bytes()),
            interfaces,
        };
        let references = (first..first + PER_MESSAGE).map(mine).collect();
        let call = call(id, Target::Service(NAME.to_owned()), take, payload.clone());
        peer.put_call(rmi_core::wire::Call { references, ..call }).await?;
        peer.flush().await?;
        attack.tally.gave(PER_MESSAGE.into());
    }
    Ok(())
}

/// Takes a million objects and keeps them.
async fn take(peer: &mut Peer) -> io::Result<()> {
    let make = peer.define("make");
    for _ in 0..MILLION {
        peer.call(make, Bytes::new()).await?;
    }
    peer.stay().await
}

/// Claims a million in a table of none, which ends the link.
async fn claim(attack: &Attack, peer: &mut Peer) -> io::Result<()> {
    let mut body = BytesMut::new();
    let with_references = 1 << 6 | 2;
    body.put_slice(&[Kind::Call as u8, with_references, 0, NAME.len() as u8]);
    body.put_slice(NAME.as_bytes());
    body.put_slice(&varint(0));
    body.put_slice(&varint(MILLION.into()));
    peer.put_bytes(&(body.len() as u32).to_le_bytes());
    peer.put_bytes(&body);
    attack.tally.sent(1);
    peer.stay().await
}

/// Gives back a million that it was never given, which ends the link.
async fn give_back(attack: &Attack, peer: &mut Peer) -> io::Result<()> {
    let slot = Slot { index: 0, generation: 0 };
    peer.put(&Message::Release(Release { slot, count: MILLION.into() }));
    attack.tally.sent(1);
    peer.stay().await
}

pub(super) fn told(tally: &Tally) -> String {
    let [given, taken] = [tally.given_count(), tally.answered_count()].map(grouped);
    format!("{given} references given, some {taken} taken; {} links", grouped(tally.opened_count()))
}
