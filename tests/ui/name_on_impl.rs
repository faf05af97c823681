use rmi::remote;

#[remote]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

struct Service;

#[remote(name = "com.example.Bank")]
impl Bank for Service {
    async fn balance(&self) -> rmi::Result<i64> {
        Ok(0)
    }
}

fn main() {}
