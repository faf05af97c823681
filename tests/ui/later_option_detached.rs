use rmi::remote;

#[remote]
trait Bank {
    #[remote(detached)]
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
