use rmi::remote;

#[remote]
trait Bank {
    async fn log(&self, line: &'static str) -> rmi::Result<()>;
}

fn main() {}
