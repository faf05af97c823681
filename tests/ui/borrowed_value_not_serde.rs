use rmi::remote;

struct Coin;

#[remote]
trait Bank {
    async fn pay(&self, coins: &[Coin]) -> rmi::Result<()>;
}

fn main() {}
