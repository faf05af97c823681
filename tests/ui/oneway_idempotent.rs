use rmi::remote;

#[remote]
trait Bank {
    #[remote(oneway, idempotent)]
    async fn log(&self, line: &str) -> rmi::Result<()>;
}

fn main() {}
