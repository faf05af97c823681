use rmi::remote;

// The FNV-1a 64 of `com.example.Bank.CFYFHFxBAERZGHAC` is 67.
#[remote(name = "com.example.Bank")]
trait Bank {
    #[remote(name = "CFYFHFxBAERZGHAC")]
    async fn balance(&self) -> rmi::Result<()>;
}

fn main() {}
