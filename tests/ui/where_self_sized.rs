use rmi::remote;

#[remote]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64> where Self: Sized;
}

fn main() {}
