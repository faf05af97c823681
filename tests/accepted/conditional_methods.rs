//! A method under a `#[cfg]` is there or not in all that is generated.

use rmi::{Remote, remote};

#[remote]
trait Clock {
    #[cfg(any())]
    async fn missing(&self, what: NoSuchType) -> rmi::Result<NoSuchType>;

    #[cfg(not(any()))]
    async fn now(&self) -> rmi::Result<u64>;

    #[cfg(any())]
    async fn set(&self, to: NoSuchType) -> rmi::Result<()>;
    #[cfg(not(any()))]
    async fn set(&self, to: u64) -> rmi::Result<()>;
}

struct Sundial;

#[remote]
impl Clock for Sundial {
    async fn now(&self) -> rmi::Result<u64> {
        Ok(12)
    }
    #[cfg(not(any()))]
    async fn set(&self, _to: u64) -> rmi::Result<()> {
        Ok(())
    }
}

#[test]
fn is_accepted() {
    let _ = Remote::<dyn Clock>::new(Sundial);
}
