use rmi::remote;

struct Coin;

#[remote]
trait Bank {
    async fn pay(&self, coin: Coin) -> rmi::Result<()>;
}

fn main() {}
