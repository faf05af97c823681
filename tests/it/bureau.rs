//! An object whose methods have options, and whose calls wait until they are let go.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rmi::{Remote, RemoteError, remote};

use crate::common::{Counter, Gate, Keeper, until};

/// What a bureau fails with: something that has to be given back.
#[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub(crate) enum BureauError {
    #[error("take it back")]
    Returned(Remote<dyn Counter>),
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote]
pub(crate) trait Bureau {
    #[remote(oneway)]
    async fn post(&self) -> rmi::Result<()>;
    #[remote(oneway, timeout = "1s")]
    async fn post_soon(&self) -> rmi::Result<()>;
    #[remote(oneway)]
    async fn fail(&self, with: Remote<dyn Counter>) -> Result<(), BureauError>;
    #[remote(oneway)]
    async fn panic(&self) -> rmi::Result<()>;
    #[remote(timeout = "2s")]
    async fn ask(&self) -> rmi::Result<()>;
    #[remote(detached)]
    async fn work(&self) -> rmi::Result<usize>;
    /// Calls what may be called only while it is in time.
    #[remote(detached)]
    async fn work_with(&self, counter: Remote<dyn Counter>) -> rmi::Result<()>;
    async fn ended(&self) -> rmi::Result<usize>;
}

/// Clones share what they know.
#[derive(Clone)]
pub(crate) struct Clerk {
    pub(crate) keeper: Keeper,
    ended: Arc<AtomicUsize>,
}

impl Clerk {
    pub(crate) fn new() -> Self {
        Self { keeper: Keeper::shut(), ended: Arc::default() }
    }

    pub(crate) fn bureau(&self) -> Remote<dyn Bureau> {
        Remote::<dyn Bureau>::new(self.clone())
    }

    /// How many calls were let go and ended.
    pub(crate) fn has_ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    pub(crate) async fn ends(&self, count: usize) {
        until("so many calls have ended", || self.has_ended() == count).await;
    }

    async fn serve(&self) -> rmi::Result<()> {
        self.keeper.pass().await?;
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[remote]
impl Bureau for Clerk {
    async fn post(&self) -> rmi::Result<()> {
        self.serve().await
    }
    async fn post_soon(&self) -> rmi::Result<()> {
        self.serve().await
    }
    async fn fail(&self, with: Remote<dyn Counter>) -> Result<(), BureauError> {
        Err(BureauError::Returned(with))
    }
    async fn panic(&self) -> rmi::Result<()> {
        panic!("nobody hears it");
    }
    async fn ask(&self) -> rmi::Result<()> {
        self.serve().await
    }
    async fn work(&self) -> rmi::Result<usize> {
        self.serve().await?;
        Ok(self.has_ended())
    }
    async fn work_with(&self, counter: Remote<dyn Counter>) -> rmi::Result<()> {
        self.serve().await?;
        counter.add(1).await?;
        Ok(())
    }
    async fn ended(&self) -> rmi::Result<usize> {
        Ok(self.has_ended())
    }
}
