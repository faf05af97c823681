use rmi::remote;

#[remote]
trait Bank {
    async fn log(&self, _: String) -> rmi::Result<()>;
}

fn main() {}
