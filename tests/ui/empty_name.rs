use rmi::remote;

#[remote(name = "")]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
