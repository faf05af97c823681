use rmi::remote;

#[remote(name = "a.Bank", name = "b.Bank")]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
