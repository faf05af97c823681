use rmi::{Remote, remote};

#[remote]
trait Bank {
    async fn balance(&self) -> rmi::Result<i64>;
}

struct Service;

fn main() {
    let _ = Remote::<dyn Bank>::new(Service);
}
