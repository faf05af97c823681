use rmi::remote;

#[remote]
struct Bank;

fn main() {}
