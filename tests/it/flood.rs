//! Floods that are allowed, one by one, and keep nobody else from their turn.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::{Condvar, Mutex};
use rmi::{Endpoint, Remote, remote};
use rmi_core::{
    session::Handshake,
    wire::{CallId, Cancel, Message},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    common::{PATIENCE, TCP, client, counter, mem, node, serve, soon, until},
    raw::hello,
};

/// What is sent in all: several times as much as may be read before others have their turn.
const FLOOD_LEN: usize = 6 << 20;

/// A megabyte of small messages is a hundred thousand of them, and all of it was one turn: whoever shared the thread
/// waited for half a second.
#[tokio::test]
async fn small_messages_by_the_hundred_thousand_let_others_run() {
    let server = node(TCP).await;
    let Endpoint::Tcp { port, .. } = server.endpoints().remove(0) else { unreachable!("it listens over tcp") };
    // A thread of its own, so that there is always more to read.
    let flooding = thread::spawn(move || {
        let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
        peer.write_all(&Handshake::dial(hello(Duration::from_secs(30))).hello()).unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
        let mut flood = BytesMut::new();
        while flood.len() < FLOOD_LEN {
            Message::Cancel(Cancel { id: CallId(7) }).encode_frame(&mut flood);
        }
        peer.write_all(&flood).unwrap();
        // Goes once all of it is read: the answer to the ping stands behind it.
        let mut ping = BytesMut::new();
        Message::Ping(1).encode_frame(&mut ping);
        peer.write_all(&ping).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        peer.read_to_end(&mut Vec::new()).ok();
    });
    until("the peer is there", || server.stats().connections == 1).await;
    let mut turns = 0;
    while server.stats().connections == 1 {
        tokio::task::yield_now().await;
        turns += 1;
    }
    flooding.join().unwrap();
    // Counted, since who measured how long one waits would measure how busy the machine is.
    assert!(turns > 40, "others had {turns} turns, for some hundreds of milliseconds of work");
}

static BEGUN: AtomicBool = AtomicBool::new(false);

/// Whether the load may be decoded to its end.
static GO_ON: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// What takes long to decode.
#[derive(Serialize)]
struct Load(Vec<u32>);

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        BEGUN.store(true, Ordering::SeqCst);
        let load = Vec::deserialize(decoder)?;
        // As one that takes its thread for long. Nobody lets it go on who needs that thread.
        let late = GO_ON.1.wait_while_for(&mut GO_ON.0.lock(), |go_on| !*go_on, PATIENCE).timed_out();
        if late { Err(D::Error::custom("it held every thread")) } else { Ok(Self(load)) }
    }
}

#[remote]
trait Scales {
    async fn weigh(&self, load: Load) -> rmi::Result<usize>;
}

struct Steelyard;

#[remote]
impl Scales for Steelyard {
    async fn weigh(&self, load: Load) -> rmi::Result<usize> {
        Ok(load.0.len())
    }
}

/// Some such calls at once held every thread of the server: small calls of others took seconds.
#[tokio::test]
async fn a_large_call_that_is_decoded_keeps_no_thread_from_small_ones() {
    let (server, client) = (node(&mem()).await, client().await);
    let scales = serve(&server, &client, &Remote::<dyn Scales>::new(Steelyard));
    let total = serve(&server, &client, &counter());
    soon(total.add(1)).await.unwrap();
    let weighed = tokio::spawn(async move { scales.weigh(Load(vec![7; 300_000])).await });
    until("the large call is decoded", || BEGUN.load(Ordering::SeqCst)).await;
    assert_eq!(soon(total.add(1)).await.unwrap(), 2);
    *GO_ON.0.lock() = true;
    GO_ON.1.notify_all();
    assert_eq!(soon(weighed).await.unwrap().unwrap(), 300_000);
    client.shutdown().await;
    server.shutdown().await;
}
