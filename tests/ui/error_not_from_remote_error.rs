use rmi::remote;

#[derive(serde::Serialize, serde::Deserialize)]
struct BankError;

#[remote]
trait Bank {
    async fn pay(&self) -> Result<(), BankError>;
}

fn main() {}
