//! A default body may be left out of an implementation, and may call the other methods.

#![deny(warnings)]

use rmi::{Remote, remote};

#[remote]
trait Counter {
    async fn add(&self, amount: i64) -> rmi::Result<i64>;
    async fn add_twice(&self, mut amount: i64) -> rmi::Result<i64> {
        amount += self.add(amount).await?;
        self.add(amount).await
    }
    async fn name(&self) -> rmi::Result<String> {
        Ok("counter".to_owned())
    }
}

struct Service;

#[remote]
impl Counter for Service {
    async fn add(&self, amount: i64) -> rmi::Result<i64> {
        Ok(amount)
    }
    async fn name(&self) -> rmi::Result<String> {
        Ok("service".to_owned())
    }
}

#[test]
fn is_accepted() {
    let _ = Remote::<dyn Counter>::new(Service);
}
