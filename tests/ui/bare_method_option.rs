use rmi::remote;

#[remote]
trait Bank {
    #[remote]
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
