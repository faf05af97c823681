//! The runtime under another name.

mod deep {
    pub use ::rmi as renamed;
}

mod rmi {}

#[deep::renamed::remote(crate = "deep::renamed", name = "com.example.Bank")]
trait Bank {
    #[remote(name = "get-balance")]
    async fn balance(&self) -> deep::renamed::Result<i64>;
}

struct Service;

#[deep::renamed::remote(crate = "crate::renamed_crate::deep::renamed")]
impl Bank for Service {
    async fn balance(&self) -> deep::renamed::Result<i64> {
        Ok(0)
    }
}

#[test]
fn is_accepted() {
    let _ = deep::renamed::Remote::<dyn Bank>::new(Service);
}
