use rmi::remote;

#[remote]
trait Bank {
    async fn close(self: std::sync::Arc<Self>) -> rmi::Result<i64>;
}

fn main() {}
