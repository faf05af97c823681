use rmi::remote;

#[remote]
trait Bank {
    async fn log(&self, line: String) -> ();
}

fn main() {}
