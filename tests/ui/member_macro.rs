use rmi::remote;

macro_rules! methods {
    () => {};
}

#[remote]
trait Bank {
    methods!();
}

fn main() {}
