use rmi::remote;

#[remote]
trait Bank {
    async fn balance(&self) -> i64;
}

fn main() {}
