use rmi::remote;

#[remote]
trait Bank {
    async fn deposit(&mut self, amount: i64) -> rmi::Result<i64>;
}

fn main() {}
