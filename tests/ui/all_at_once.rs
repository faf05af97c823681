use rmi::remote;

#[remote]
trait Bank<T> {
    type Entry;
    fn balance(&self) -> rmi::Result<i64>;
    async fn deposit(&mut self, (from, amount): (String, i64));
    #[remote(fast)]
    async fn into(self) -> rmi::Result<i64>;
}

fn main() {}
