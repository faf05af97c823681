//! A trait inside a function.

use rmi::{Remote, remote};

fn main() {
    #[remote]
    trait Bank {
        async fn balance(&self) -> rmi::Result<i64>;
    }

    struct Service;

    #[remote]
    impl Bank for Service {
        async fn balance(&self) -> rmi::Result<i64> {
            Ok(0)
        }
    }

    let _ = Remote::<dyn Bank>::new(Service);
}
