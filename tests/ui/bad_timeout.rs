use rmi::remote;

#[remote]
trait Bank {
    #[remote(timeout = "5 seconds")]
    async fn balance(&self) -> rmi::Result<i64>;
    #[remote(timeout = 5)]
    async fn limit(&self) -> rmi::Result<i64>;
    #[remote(timeout)]
    async fn owner(&self) -> rmi::Result<String>;
    #[remote(timeout = "0s")]
    async fn rate(&self) -> rmi::Result<f64>;
    #[remote(timeout = "2y")]
    async fn term(&self) -> rmi::Result<u32>;
    #[remote(timeout = "10000h")]
    async fn bond(&self) -> rmi::Result<u32>;
}

fn main() {}
