use rmi::remote;

#[remote(nmae = "com.example.Bank")]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
