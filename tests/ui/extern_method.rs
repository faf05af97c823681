use rmi::remote;

#[remote]
trait Bank {
    async extern "C" fn balance(&self) -> rmi::Result<i64>;
}

fn main() {}
