//! Calls of what does not exist.

use std::sync::Arc;

use bytes::Bytes;
use rmi::ObjectId;
use rmi_core::wire::{Acquire, CallId, Message, PromiseId, Slot, Target};
use rmi_harness::grouped;

use super::{Attack, again_and_again};
use crate::{
    peer::{Peer, call},
    tally::Tally,
};

/// The refusals of as many calls as each link may have under way.
pub(super) const GROWTH_MAX: u64 = 64 << 20;

const LINKS: usize = 4;
/// Acquires take no credit: they are numbered apart from calls, and one goes with so many of them.
const CALLS_PER_ACQUIRE: u32 = 64;
const FIRST_ACQUIRE: u32 = 1 << 31;

pub(super) async fn carry_out(attack: Arc<Attack>) {
    again_and_again(attack, LINKS, |attack, _| async move {
        let _open = attack.tally.open();
        let mut peer = Peer::connect(&attack).await?;
        let add = peer.define("add");
        for number in 0.. {
            let id = peer.credit(2).await?;
            let target = match number % 3 {
                0 => Target::Slot(Slot { index: number, generation: number }),
                1 => Target::Service(format!("nobody-{number}")),
                _ => Target::Promise { promise: PromiseId(number.into()), reference: 0 },
            };
            peer.put_call(call(id, target, add, Bytes::from_static(&[2, 2]))).await?;
            if number % CALLS_PER_ACQUIRE == 0 {
                let id = CallId(FIRST_ACQUIRE + number / CALLS_PER_ACQUIRE);
                peer.put(&Message::Acquire(Acquire { id, object: ObjectId::random() }));
            }
        }
        Ok(())
    })
    .await;
}

pub(super) fn told(tally: &Tally) -> String {
    let [sent, answered] = [tally.sent_count(), tally.answered_count()].map(grouped);
    format!("{sent} calls of nothing, {answered} refused")
}
