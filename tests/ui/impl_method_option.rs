use rmi::remote;

#[remote]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

struct Service;

#[remote]
impl Bank for Service {
    #[remote(name = "get")]
    async fn balance(&self) -> rmi::Result<i64> {
        Ok(0)
    }
}

fn main() {}
