//! What runs on the hosts of a story: a node, with a shelf and a gate that it serves.

use std::{pin::Pin, sync::Arc};

use rmi::{Endpoint, Limits, Node, Registry, RegistryServer, Remote};

use crate::{
    common::{Board, Gate, Keeper, Shelf},
    network::Network,
    world::{CONNECT_TIMEOUT, LEASE, node_builder},
};

/// Begins a host of this name.
pub(crate) type Software = fn(&'static str) -> Pin<Box<dyn Future<Output = Furniture>>>;

/// What a host has, for the story to look at.
#[derive(Clone)]
pub(crate) struct Furniture {
    pub(crate) node: Node,
    pub(crate) board: Arc<Board>,
    pub(crate) keeper: Keeper,
    _registry: Option<Arc<RegistryServer>>,
}

/// A node that listens, and serves its shelf and its gate.
pub(crate) fn server(_name: &'static str) -> Pin<Box<dyn Future<Output = Furniture>>> {
    Box::pin(async { furnish(node_builder().listen(format!("tcp://0.0.0.0:{PORT}")).start().await.unwrap()) })
}

/// A server that binds its shelf at the host `registry`, by its own name.
pub(crate) fn bound_server(name: &'static str) -> Pin<Box<dyn Future<Output = Furniture>>> {
    Box::pin(async move {
        let furniture = server(name).await;
        let registry = registry_for(&furniture.node).await;
        let shelf = Remote::<dyn Shelf>::from_arc(furniture.board.clone());
        registry.rebind(name, &shelf).await.expect("the registry takes names from all hosts");
        furniture
    })
}

/// The registry, which takes names from all hosts.
pub(crate) fn registry(_name: &'static str) -> Pin<Box<dyn Future<Output = Furniture>>> {
    Box::pin(async {
        let limits = Limits { connect_timeout: CONNECT_TIMEOUT, ..Limits::default() };
        let node = Node::builder().transport(Network { proxied: true }).lease(LEASE).limits(limits);
        let node = node.listen(format!("tcp://0.0.0.0:{PORT}")).start().await.unwrap();
        let server = RegistryServer::builder().node(&node).start().await.unwrap();
        Furniture { _registry: Some(Arc::new(server)), ..furnish(node) }
    })
}

/// The registry as this node sees it.
pub(crate) async fn registry_for(node: &Node) -> Registry {
    let url = format!("rmi://registry:{PORT}");
    Registry::connect_with(node, &url).await.expect("the registry runs")
}

const PORT: u16 = 1099;

/// The objects that every host serves.
pub(crate) const FURNITURE_LEN: usize = 2;

fn furnish(node: Node) -> Furniture {
    let (board, keeper) = (Arc::new(Board::default()), Keeper::shut());
    node.serve("shelf", &Remote::<dyn Shelf>::from_arc(board.clone()));
    node.serve("gate", &keeper.gate());
    Furniture { node, board, keeper, _registry: None }
}

/// The shelf of a host.
pub(crate) fn shelf_at(host: &str, node: &Node) -> Remote<dyn Shelf> {
    Remote::service(node, endpoint(host), "shelf")
}

/// The gate of a host.
pub(crate) fn gate_at(host: &str, node: &Node) -> Remote<dyn Gate> {
    Remote::service(node, endpoint(host), "gate")
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint::Tcp { host: host.to_owned(), port: PORT }
}
