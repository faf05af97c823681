use rmi::remote;

#[remote]
trait Bank {
    async fn transfer(&self, (from, to): (String, String)) -> rmi::Result<i64>;
}

fn main() {}
