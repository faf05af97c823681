use rmi::remote;

struct Coin;

#[remote]
trait Bank {
    async fn pay(&self) -> rmi::Result<Coin>;
}

fn main() {}
