use rmi::remote;

#[remote(oneway)]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
