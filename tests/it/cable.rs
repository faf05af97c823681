//! A connection that can be cut without a goodbye.

use rmi::{Endpoint, Node};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Carries one connection to a node that listens over TCP.
pub(crate) struct Cable {
    endpoint: Endpoint,
    carrying: JoinHandle<()>,
}

impl Cable {
    pub(crate) async fn to(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        let target = node.endpoints()[0].to_string().trim_start_matches("tcp://").to_owned();
        let carrying = tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            drop(listener);
            let mut far = TcpStream::connect(target).await.unwrap();
            // Ends only with the cable, or with the connection.
            tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
        });
        Self { endpoint, carrying }
    }

    /// Where to dial instead of the node.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(crate) async fn cut(self) {
        self.carrying.abort();
        self.carrying.await.ok();
    }
}
