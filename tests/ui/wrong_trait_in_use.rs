use rmi::{Remote, remote};

#[remote]
trait Bank {
    fn balance(&self) -> rmi::Result<i64>;
}

struct Service;

#[remote]
impl Bank for Service {
    async fn balance(&self) -> rmi::Result<i64> {
        Ok(0)
    }
}

fn main() {
    let _ = Remote::<dyn Bank>::new(Service);
}
