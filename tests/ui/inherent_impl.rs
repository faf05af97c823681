use rmi::remote;

struct Bank;

#[remote]
impl Bank {
    async fn balance(&self) -> rmi::Result<i64> {
        Ok(0)
    }
}

fn main() {}
