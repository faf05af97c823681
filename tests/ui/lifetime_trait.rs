use rmi::remote;

#[remote]
trait Bank<'a> {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
