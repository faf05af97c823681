use rmi::Remote;

trait Bank: Send + Sync {}

struct Service;

impl Bank for Service {}

fn main() {
    let _ = Remote::<dyn Bank>::new(Service);
}
