//! Bytes in arguments and results, from none to more than every window.

use bytes::Bytes;
use rmi::{Limits, Node, Remote, remote};

use crate::common::{at_rest, client, node, serve, soon, transports};

type Image = Vec<u8>;

#[remote]
trait Store {
    async fn owned(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>>;
    async fn borrowed(&self, data: &[u8]) -> rmi::Result<Vec<u8>>;
    async fn shared(&self, data: Bytes) -> rmi::Result<Bytes>;
    /// Bytes behind an alias, beside other arguments.
    async fn image(&self, name: &str, data: &Image, quality: u8) -> rmi::Result<Image>;
    /// Bytes that are not written as such in the signature.
    async fn nested(&self, data: Vec<Option<Vec<u8>>>) -> rmi::Result<Vec<Option<Vec<u8>>>>;
    async fn len(&self, data: &[u8]) -> rmi::Result<u64>;
    async fn zeroes(&self, len: u64) -> rmi::Result<Bytes>;
}

struct Copies;

#[remote]
impl Store for Copies {
    async fn owned(&self, data: Vec<u8>) -> rmi::Result<Vec<u8>> {
        Ok(data)
    }
    async fn borrowed(&self, data: &[u8]) -> rmi::Result<Vec<u8>> {
        Ok(data.to_vec())
    }
    async fn shared(&self, data: Bytes) -> rmi::Result<Bytes> {
        Ok(data)
    }
    async fn image(&self, name: &str, data: &Image, quality: u8) -> rmi::Result<Image> {
        assert_eq!((name, quality), ("cat", 9));
        Ok(data.clone())
    }
    async fn nested(&self, data: Vec<Option<Vec<u8>>>) -> rmi::Result<Vec<Option<Vec<u8>>>> {
        Ok(data)
    }
    async fn len(&self, data: &[u8]) -> rmi::Result<u64> {
        Ok(data.len() as u64)
    }
    async fn zeroes(&self, len: u64) -> rmi::Result<Bytes> {
        Ok(vec![0; usize::try_from(len).unwrap()].into())
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[tokio::test]
async fn bytes_of_every_length_come_back_as_they_went() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let store = serve(&server, &client, &Remote::<dyn Store>::new(Copies));
        for len in [0, 1, 127, 128, 65_000, 65_536, 65_537, 1 << 20] {
            let data = noise(len);
            assert!(soon(store.owned(data.clone())).await.unwrap() == data, "{len}");
            assert!(soon(store.borrowed(&data)).await.unwrap() == data, "{len}");
            assert!(soon(store.shared(data.clone().into())).await.unwrap() == data, "{len}");
            assert!(soon(store.image("cat", &data, 9)).await.unwrap() == data, "{len}");
        }
        let nested = vec![None, Some(noise(100_000)), Some(Vec::new())];
        assert!(soon(store.nested(nested.clone())).await.unwrap() == nested);
        at_rest(&[&client]).await;
    }
}

#[tokio::test]
async fn twenty_megabytes_go_both_ways_although_the_window_is_sixteen() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let store = serve(&server, &client, &Remote::<dyn Store>::new(Copies));
        let data = noise(20 << 20);
        assert!(soon(store.shared(data.clone().into())).await.unwrap() == data);
        assert!(soon(store.borrowed(&data)).await.unwrap() == data);
        // Several at once wait for one another.
        let (one, other, third) =
            soon(async { tokio::join!(store.len(&data), store.len(&data), store.len(&data)) }).await;
        assert_eq!([one, other, third].map(Result::unwrap), [20 << 20; 3]);
    }
}

#[tokio::test]
async fn small_calls_pass_large_ones_of_other_objects() {
    for listen in transports() {
        let (server, client) = (node(&listen).await, client().await);
        let large = serve(&server, &client, &Remote::<dyn Store>::new(Copies));
        let small = serve(&server, &client, &Remote::<dyn Store>::new(Copies));
        let transfer = tokio::spawn(async move { large.zeroes(64 << 20).await });
        let mut passed = 0;
        while !transfer.is_finished() {
            soon(small.len(b"abc")).await.unwrap();
            passed += 1;
        }
        assert_eq!(soon(transfer).await.unwrap().unwrap().len(), 64 << 20);
        // A small call that waited for all of it would be the only one.
        assert!(passed > 1, "only {passed} small calls went by over {listen}");
    }
}

#[tokio::test]
async fn a_window_smaller_than_every_call_lets_one_at_a_time_through() {
    for listen in transports() {
        let limits = Limits { call_bytes: 16, ..Limits::default() };
        let server = Node::builder().listen(&listen).limits(limits).start().await.unwrap();
        let store = serve(&server, &client().await, &Remote::<dyn Store>::new(Copies));
        let data = noise(200_000);
        let calls = futures_util::future::try_join_all((0..50).map(|_| store.len(&data)));
        assert_eq!(soon(calls).await.unwrap(), vec![200_000; 50]);
    }
}
