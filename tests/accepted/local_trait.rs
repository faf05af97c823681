//! A trait inside a function.

use rmi::{Remote, remote};

#[test]
fn is_accepted() {
    #[remote]
    trait Teller {
        async fn balance(&self) -> rmi::Result<i64>;
    }

    struct Service;

    #[remote]
    impl Teller for Service {
        async fn balance(&self) -> rmi::Result<i64> {
            Ok(0)
        }
    }

    let _ = Remote::<dyn Teller>::new(Service);
}
