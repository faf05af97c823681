//! A cable to a node, which can be cut without a goodbye, and mended.

use rmi::{Endpoint, Node, NodeBuilder};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

use crate::common::socket_path;

/// Carries connections to a node, while it is whole.
pub(crate) struct Cable {
    endpoint: Endpoint,
    whole: watch::Sender<bool>,
    carrying: JoinHandle<()>,
}

impl Cable {
    /// A cable to a node that listens over TCP, and may be dialled without it too.
    pub(crate) async fn to(node: &Node) -> Self {
        let target = node.endpoints()[0].to_string().trim_start_matches("tcp://").to_owned();
        Self::plug(move || TcpStream::connect(target.clone())).await
    }

    /// A node that is reached by the cable alone: it tells everybody to dial that.
    pub(crate) async fn alone_to(node: NodeBuilder) -> (Node, Self) {
        let path = socket_path();
        let target = path.clone();
        let cable = Self::plug(move || UnixStream::connect(target.clone())).await;
        let node = node.listen(format!("unix://{path}")).advertise(cable.endpoint.to_string());
        (node.start().await.unwrap(), cable)
    }

    async fn plug<S, F>(connect: impl Fn() -> F + Send + 'static) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = std::io::Result<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        let whole = watch::Sender::new(true);
        let state = whole.clone();
        let carrying = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                if *state.borrow() {
                    let (far, mut state) = (connect(), state.subscribe());
                    tokio::spawn(async move {
                        let Ok(mut far) = far.await else { return };
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                            _ = state.wait_for(|whole| !whole) => {}
                        }
                    });
                }
            }
        });
        Self { endpoint, whole, carrying }
    }

    /// Where to dial instead of the node.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// Ends what it carries; who dials meanwhile is hung up on.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.carrying.abort();
        self.cut();
    }
}
