use rmi::remote;

// The FNV-1a 64 of the two names, each after `com.example.Bank.`, is 9257cfa0eac7fa19.
#[remote(name = "com.example.Bank")]
trait Bank {
    async fn plsjixnqsshbbb(&self) -> rmi::Result<()>;
    async fn uayvjlkhfxmukf(&self) -> rmi::Result<()>;
}

fn main() {}
