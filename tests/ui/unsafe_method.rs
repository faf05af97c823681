use rmi::remote;

#[remote]
trait Bank {
    async unsafe fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
