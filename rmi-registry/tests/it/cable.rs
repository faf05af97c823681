//! A connection to a registry that can be cut, or fall silent, without a goodbye.

use std::net::SocketAddr;

use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// Carries one connection to a registry.
pub(crate) struct Cable {
    address: SocketAddr,
    silence: oneshot::Sender<()>,
    carrying: JoinHandle<()>,
}

impl Cable {
    /// A cable to the registry at `rmi://address`.
    pub(crate) async fn to(url: &str) -> Self {
        Self::between("rmi://127.0.0.1:0", url).await
    }

    /// A cable from one address to another.
    pub(crate) async fn between(near: &str, url: &str) -> Self {
        let listener = TcpListener::bind(near.trim_start_matches("rmi://")).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = url.trim_start_matches("rmi://").to_owned();
        let (silence, silenced) = oneshot::channel();
        let carrying = tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(target).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                Ok(()) = silenced => std::future::pending().await,
            }
        });
        Self { address, silence, carrying }
    }

    /// The URL of the registry through this cable.
    pub(crate) fn url(&self) -> String {
        format!("rmi://{}", self.address)
    }

    /// Closes both ends.
    pub(crate) async fn cut(self) {
        self.carrying.abort();
        self.carrying.await.ok();
    }

    /// Keeps both ends open and carries nothing more, for as long as the runtime lives.
    pub(crate) fn fall_silent(self) {
        self.silence.send(()).unwrap();
    }
}
