//! A client beside what a story is about: none of it may be felt there.

use rmi::{Limits, Node, Remote};
use tokio::task::JoinHandle;

use crate::common::{Counter, Keeper, at_rest, client, counter, pass, serve, soon, until};

/// A client of a server, with a call under way from first to last.
pub(crate) struct Bystander {
    pub(crate) server: Node,
    pub(crate) client: Node,
    pub(crate) keeper: Keeper,
    total: Remote<dyn Counter>,
    held: JoinHandle<rmi::Result<()>>,
}

impl Bystander {
    /// At a new server with these limits.
    pub(crate) async fn at(listen: &str, limits: Limits) -> Self {
        let server = Node::builder().listen(listen).limits(limits).start().await.unwrap();
        Self::between(server, client().await).await
    }

    pub(crate) async fn between(server: Node, client: Node) -> Self {
        let keeper = Keeper::shut();
        let held = pass(&serve(&server, &client, &keeper.gate()));
        keeper.holds(1).await;
        let total = serve(&server, &client, &counter());
        Self { server, client, keeper, total, held }
    }

    /// The call under way is answered, so is a new one, and nothing is left of anybody else.
    pub(crate) async fn undisturbed(self) {
        let Self { server, client, keeper, total, held } = self;
        soon(total.add(1)).await.unwrap();
        keeper.open();
        soon(held).await.unwrap().unwrap();
        at_rest(&[&client]).await;
        until("only this client is left", || server.stats().connections == 1).await;
        until("no call is left", || server.stats().calls_in_flight == 0).await;
        until("no reference is left", || server.stats().imported_references == 0).await;
        until("no lease is left", || server.stats().leases == 0).await;
    }
}
