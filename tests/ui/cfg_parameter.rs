use rmi::remote;

#[remote]
trait Bank {
    async fn log(&self, #[cfg(test)] line: String) -> rmi::Result<()>;
}

fn main() {}
