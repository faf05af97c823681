use rmi::remote;

#[remote]
trait Bank<T> {
    async fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
