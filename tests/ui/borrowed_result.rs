use rmi::remote;

#[remote]
trait Bank {
    async fn owner<'a>(&'a self) -> rmi::Result<std::borrow::Cow<'a, str>>;
}

fn main() {}
