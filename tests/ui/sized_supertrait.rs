use rmi::remote;

#[remote]
trait Bank: Sized {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
