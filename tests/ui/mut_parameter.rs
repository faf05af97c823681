use rmi::remote;

#[remote]
trait Bank {
    async fn log(&self, mut line: String) -> rmi::Result<()>;
}

fn main() {}
