use rmi::remote;

#[remote]
trait Bank {
    #[remote(oneway)]
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
