use rmi::remote;

#[remote]
trait Bank {
    async fn fill(&self, lines: &mut Vec<String>) -> rmi::Result<()>;
}

fn main() {}
