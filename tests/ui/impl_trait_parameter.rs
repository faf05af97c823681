use rmi::remote;

#[remote]
trait Bank {
    async fn log(&self, line: impl Into<String>) -> rmi::Result<()>;
}

fn main() {}
