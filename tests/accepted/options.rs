//! Every option of a method, alone and with others; results by their aliases.

use rmi::{Remote, RemoteError, remote};

/// An error that cannot be written into a log.
#[derive(serde::Serialize, serde::Deserialize)]
enum Mute {
    Remote(RemoteError),
}

impl From<RemoteError> for Mute {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

type Nothing = ();
type Done = Result<(), Mute>;

#[remote]
trait Press {
    #[remote(oneway)]
    async fn print(&self, page: &str) -> rmi::Result<()>;
    #[remote(oneway, timeout = "1.5s", detached, blocking)]
    async fn bind(&self, pages: Vec<String>) -> Result<Nothing, Mute>;
    #[remote(oneway)]
    async fn fold(&self) -> Done;
    #[remote(timeout = "250ms", idempotent)]
    async fn count(&self) -> rmi::Result<u64>;
    #[remote(name = "wash-up")]
    #[remote(detached, timeout = "1h")]
    async fn wash(&self) -> Result<u8, Mute>;
    #[remote(blocking)]
    async fn polish(&self, bytes: Vec<u8>) -> rmi::Result<Vec<u8>>;
}

#[remote]
trait Newspaper: Press {
    #[remote(oneway)]
    async fn sell(&self) -> rmi::Result<()> {
        Ok(())
    }
}

struct Hand;

#[remote]
impl Press for Hand {
    async fn print(&self, _page: &str) -> rmi::Result<()> {
        Ok(())
    }
    async fn bind(&self, _pages: Vec<String>) -> Result<Nothing, Mute> {
        Ok(())
    }
    async fn fold(&self) -> Done {
        Ok(())
    }
    async fn count(&self) -> rmi::Result<u64> {
        Ok(1)
    }
    async fn wash(&self) -> Result<u8, Mute> {
        Ok(2)
    }
    async fn polish(&self, bytes: Vec<u8>) -> rmi::Result<Vec<u8>> {
        Ok(bytes)
    }
}

#[remote]
impl Newspaper for Hand {}

#[test]
fn is_accepted() {
    let _ = Remote::<dyn Newspaper>::new(Hand);
}
