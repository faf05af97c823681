use rmi::remote;

#[remote]
trait Bank {
    async fn log<const N: usize>(&self, line: [u8; N]) -> rmi::Result<()>;
}

fn main() {}
