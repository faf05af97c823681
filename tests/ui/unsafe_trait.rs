use rmi::remote;

#[remote]
unsafe trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
