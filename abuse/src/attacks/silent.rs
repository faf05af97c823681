//! Connections that say nothing.

use std::sync::Arc;

use rmi_harness::grouped;
use tokio::io::AsyncReadExt;

use super::{Attack, again_and_again};
use crate::tally::Tally;

/// A buffer of the least size and a task for each of the handshakes that are under way.
pub(super) const GROWTH_MAX: u64 = 64 << 20;

/// As many as the system allows, each made anew once the server has closed it.
pub(super) async fn carry_out(attack: Arc<Attack>) {
    let connections = attack.connections;
    again_and_again(attack, connections, |attack, _| async move {
        let mut stream = attack.dial().await?;
        let _open = attack.tally.open();
        stream.read_u8().await.map(drop)
    })
    .await;
}

pub(super) fn told(tally: &Tally) -> String {
    let [made, most] = [tally.opened_count(), tally.open_most()].map(grouped);
    format!("{made} silent connections, {most} at once")
}
