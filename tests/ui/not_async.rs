use rmi::remote;

#[remote]
trait Bank {
    fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
