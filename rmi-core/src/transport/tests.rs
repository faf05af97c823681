//! What holds for every transport, told as stories over each.

use std::{
    cell::OnceCell,
    future::poll_fn,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::*;

/// Runs each story over tcp, unix and mem, with a bound on its time.
macro_rules! over_every_transport {
    ($($(#[$meta:meta])* $story:ident,)*) => {$(
        mod $story {
            use super::*;

            $(#[$meta])*
            #[tokio::test]
            async fn over_tcp() {
                soon(super::stories::$story(tcp("127.0.0.1", 0))).await;
            }

            #[cfg(unix)]
            $(#[$meta])*
            #[tokio::test]
            async fn over_unix() {
                let directory = Directory::new();
                soon(super::stories::$story(directory.endpoint("socket"))).await;
            }

            #[cfg(feature = "tls")]
            $(#[$meta])*
            #[tokio::test]
            async fn over_tls() {
                soon(super::stories::$story(Endpoint::Tls { host: "127.0.0.1".into(), port: 0 })).await;
            }

            $(#[$meta])*
            #[tokio::test]
            async fn over_mem() {
                soon(super::stories::$story(mem(&Uuid::new_v4().to_string()))).await;
            }
        }
    )*};
}

over_every_transport! {
    what_one_side_writes_the_other_reads,
    several_buffers_arrive_as_one_stream,
    a_writer_waits_for_room_and_goes_on,
    shutdown_is_the_end_for_both_sides_after_what_was_written,
    shutdown_wakes_who_waits_on_its_own_side,
    a_dropped_socket_is_the_end_for_its_peer,
    a_full_buffer_is_not_mistaken_for_the_end,
    a_read_takes_no_more_than_it_may,
    both_sides_know_that_they_share_a_host,
    the_endpoint_of_a_listener_can_be_dialled,
    a_listener_keeps_its_endpoint_to_itself_until_dropped,
    accept_given_up_loses_no_peer,
}

mod stories {
    use super::*;

    pub(super) async fn what_one_side_writes_the_other_reads(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        write_all(&*dialler, b"question").await;
        assert_eq!(read_exactly(&*acceptor, 8).await, b"question");
        write_all(&*acceptor, b"answer").await;
        assert_eq!(read_exactly(&*dialler, 6).await, b"answer");
        assert_eq!(dialler.try_read(&mut BytesMut::new(), 1).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    pub(super) async fn several_buffers_arrive_as_one_stream(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        ready_to_write(&*dialler).await;
        let bufs = [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b" "), IoSlice::new(b"two")];
        assert_eq!(dialler.try_write(&bufs).unwrap(), 7);
        assert_eq!(read_exactly(&*acceptor, 7).await, b"one two");
        assert_eq!(dialler.try_write(&[]).unwrap(), 0);
    }

    pub(super) async fn a_writer_waits_for_room_and_goes_on(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        let pattern: Vec<u8> = (0..=250).cycle().take(100_000).collect();
        let mut written = 0;
        ready_to_write(&*dialler).await;
        loop {
            let (_, rest) = pattern.split_at(written % 251);
            match dialler.try_write(&[IoSlice::new(rest)]) {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let ((), read) = tokio::join!(ready_to_write(&*dialler), read_exactly(&*acceptor, written));
        assert!(read.iter().copied().eq((0..=250).cycle().take(written)), "bytes lost, doubled or out of order");
        write_all(&*dialler, b"more").await;
        assert_eq!(read_exactly(&*acceptor, 4).await, b"more");
    }

    pub(super) async fn shutdown_is_the_end_for_both_sides_after_what_was_written(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        write_all(&*dialler, b"last words").await;
        dialler.shutdown();
        dialler.shutdown();
        assert_eq!(read_to_end(&*acceptor).await, b"last words");
        assert_eq!(read_to_end(&*dialler).await, b"");
        assert_eq!(dialler.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        let refused = loop {
            ready_to_write(&*acceptor).await;
            match acceptor.try_write(&[IoSlice::new(b"x")]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => break error.kind(),
                _ => tokio::task::yield_now().await,
            }
        };
        assert!(matches!(refused, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{refused}");
    }

    pub(super) async fn shutdown_wakes_who_waits_on_its_own_side(at: Endpoint) {
        let (_listener, dialler, _acceptor) = connected(&at).await;
        let (read, ()) = tokio::join!(read_to_end(&*dialler), async { dialler.shutdown() });
        assert_eq!(read, b"");
    }

    pub(super) async fn a_dropped_socket_is_the_end_for_its_peer(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        let (read, ()) = tokio::join!(read_to_end(&*dialler), async { drop(acceptor) });
        assert_eq!(read, b"");
    }

    pub(super) async fn a_full_buffer_is_not_mistaken_for_the_end(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        write_all(&*dialler, b"x").await;
        let mut full = BytesMut::new();
        assert_eq!(read_some(&*acceptor, &mut full).await, 1);
        assert_eq!(&full[..], b"x");
    }

    pub(super) async fn a_read_takes_no_more_than_it_may(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        write_all(&*dialler, b"a question").await;
        poll_fn(|cx| acceptor.poll_read_ready(cx)).await.unwrap();
        let mut read = BytesMut::with_capacity(1000);
        assert_eq!(acceptor.try_read(&mut read, 2).unwrap(), 2);
        assert_eq!(&read[..], b"a ");
        assert_eq!(read_exactly(&*acceptor, 8).await, b"question");
    }

    pub(super) async fn both_sides_know_that_they_share_a_host(at: Endpoint) {
        let (_listener, dialler, acceptor) = connected(&at).await;
        assert!(dialler.peer().same_host() && acceptor.peer().same_host());
        let is_tcp = matches!(at, Endpoint::Tcp { .. } | Endpoint::Tls { .. });
        assert_eq!(acceptor.peer().ip(), is_tcp.then_some(IpAddr::from([127, 0, 0, 1])));
    }

    pub(super) async fn the_endpoint_of_a_listener_can_be_dialled(at: Endpoint) {
        let listener = listen(&at).await.unwrap();
        let real = listener.endpoint();
        if let Endpoint::Tcp { port, .. } | Endpoint::Tls { port, .. } = real {
            assert_ne!(port, 0);
        } else {
            assert_eq!(real.to_string(), at.to_string());
        }
        met(&real, &*listener).await;
    }

    pub(super) async fn a_listener_keeps_its_endpoint_to_itself_until_dropped(at: Endpoint) {
        let first = listen(&at).await.unwrap();
        let at = first.endpoint();
        let refused = listen(&at).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert!(refused.to_string().starts_with(&format!("{at} is in use")), "{refused}");
        // The second attempt has not harmed the first listener, although it may have knocked there.
        met(&at, &*first).await;
        drop(first);
        let refused = dial(&at).await.unwrap_err();
        assert!(refused.to_string().starts_with(&format!("nobody listens at {at}")), "{refused}");
        listen(&at).await.unwrap();
    }

    pub(super) async fn accept_given_up_loses_no_peer(at: Endpoint) {
        let listener = listen(&at).await.unwrap();
        let mut given_up = listener.accept();
        let pending = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
        drop(given_up);
        let (dialler, acceptor) = met(&listener.endpoint(), &*listener).await;
        write_all(&*dialler, b"here").await;
        assert_eq!(read_exactly(&*acceptor, 4).await, b"here");
    }
}

#[tokio::test]
async fn an_unknown_scheme_is_refused_by_name() {
    let mut transports = Transports::default();
    transports.0.remove("tcp");
    transports.0.remove("unix");
    for refused in [
        transports.dial(&tcp("127.0.0.1", 1)).await.unwrap_err(),
        transports.listen(&tcp("127.0.0.1", 1)).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(refused.to_string(), "no transport for `tcp` of tcp://127.0.0.1:1: this node has mem");
    }
    let misdirected = MemoryTransport.dial(&tcp("127.0.0.1", 1)).await.unwrap_err();
    assert_eq!(misdirected.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_added_transport_replaces_the_one_of_its_scheme() {
    #[derive(Debug)]
    struct Barred;

    #[async_trait]
    impl Transport for Barred {
        fn scheme(&self) -> &'static str {
            "mem"
        }

        async fn listen(&self, _: &Endpoint) -> io::Result<Box<dyn Listener>> {
            Err(ErrorKind::PermissionDenied.into())
        }

        async fn dial(&self, _: &Endpoint) -> io::Result<Arc<dyn Socket>> {
            Err(ErrorKind::PermissionDenied.into())
        }
    }

    let mut transports = Transports::default();
    transports.add(Barred);
    assert_eq!(transports.dial(&mem("any")).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_peer_is_on_this_host_if_its_address_is_the_sockets_own() {
    let at = |peer: &str, own: &str| PeerAddr::tcp(peer.parse().unwrap(), own.parse().unwrap());
    assert!(at("127.0.0.1:9", "127.0.0.1").same_host());
    assert!(at("[::1]:9", "::1").same_host());
    assert!(at("[::ffff:127.0.0.1]:9", "::ffff:127.0.0.1").same_host());
    assert!(at("192.0.2.7:9", "192.0.2.7").same_host());
    assert!(at("[::ffff:192.0.2.7]:9", "192.0.2.7").same_host());
    assert!(!at("192.0.2.7:9", "192.0.2.8").same_host());
    assert!(!PeerAddr::Other("a modem".into()).same_host());
    assert_eq!(at("[::ffff:192.0.2.7]:9", "::1").to_string(), "tcp://192.0.2.7:9");
    assert_eq!(at("[2001:db8::1]:9", "::1").to_string(), "tcp://[2001:db8::1]:9");
}

#[tokio::test]
async fn a_tcp_endpoint_of_another_host_is_refused() {
    let refused = listen(&tcp("192.0.2.1", 0)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrNotAvailable);
    assert!(refused.to_string().contains("is no address of this host"), "{refused}");
}

#[test]
fn an_error_of_accept_is_the_peers_or_the_hosts() {
    assert!(concerns_the_peer(&ErrorKind::ConnectionAborted.into()));
    assert!(!concerns_the_peer(&ErrorKind::Other.into()));
    #[cfg(target_os = "linux")]
    {
        const EMFILE: i32 = 24;
        assert!(!concerns_the_peer(&io::Error::from_raw_os_error(EMFILE)));
    }
}

/// A dial that met a full backlog was dropped, and tried again by the system a second later.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_burst_of_dials_waits_to_be_accepted() {
    const BURST: usize = 300;
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if allowed.trim().parse::<usize>().unwrap() <= BURST {
        eprintln!("left out: this system allows a backlog of {} connections", allowed.trim());
        return;
    }
    let listener = listen(&tcp("127.0.0.1", 0)).await.unwrap();
    let at = listener.endpoint();
    let mut waiting = Vec::new();
    for nth in 0..BURST {
        let dialled = tokio::time::timeout(Duration::from_millis(900), dial(&at)).await;
        waiting.push(dialled.unwrap_or_else(|_| panic!("dial {nth} was dropped")).unwrap());
    }
    soon(async {
        for _ in &waiting {
            listener.accept().await.unwrap();
        }
    })
    .await;
}

#[test]
fn a_goodbye_needs_no_runtime() {
    use std::io::Read;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let at = tcp("127.0.0.1", listener.local_addr().unwrap().port());
    let socket = runtime.block_on(soon(dial(&at))).unwrap();
    drop(runtime);
    socket.write_at_exit(b"goodbye");
    drop(socket);
    let mut heard = String::new();
    listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "goodbye");
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp { host: host.into(), port }
}

pub(super) fn mem(name: &str) -> Endpoint {
    Endpoint::Mem { name: name.into() }
}

/// A directory of its own for the sockets of one test.
#[cfg(unix)]
pub(super) struct Directory(std::path::PathBuf);

#[cfg(unix)]
impl Directory {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("rmi-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }

    pub(super) fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint::Unix { path: self.path(name).to_str().unwrap().to_owned() }
    }
}

#[cfg(unix)]
impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub(super) async fn listen(at: &Endpoint) -> io::Result<Box<dyn Listener>> {
    transports().listen(at).await
}

pub(super) async fn dial(to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
    transports().dial(to).await
}

/// A listener, the dialler's end and the acceptor's end.
pub(super) async fn connected(at: &Endpoint) -> (Box<dyn Listener>, Arc<dyn Socket>, Arc<dyn Socket>) {
    let listener = listen(at).await.unwrap();
    let to = listener.endpoint();
    let (dialler, acceptor) = soon(met(&to, &*listener)).await;
    (listener, dialler, acceptor)
}

/// Both ends of a new stream. The acceptor's is read from meanwhile, as a node does: TLS shakes hands so.
async fn met(to: &Endpoint, listener: &dyn Listener) -> (Arc<dyn Socket>, Arc<dyn Socket>) {
    let accepted = OnceCell::new();
    let accepting = async {
        let socket = listener.accept().await.unwrap();
        let socket = accepted.get_or_init(|| socket);
        while matches!(&socket.peer(), PeerAddr::Tcp { .. }) {
            poll_fn(|cx| socket.poll_read_ready(cx)).await.unwrap();
            let nothing = socket.try_read(&mut BytesMut::new(), 0);
            assert!(matches!(&nothing, Err(error) if error.kind() == ErrorKind::WouldBlock), "{nothing:?}");
        }
        std::future::pending().await
    };
    let dialler = tokio::select! {
        biased;
        never = accepting => never,
        dialler = dial(to) => dialler.unwrap(),
    };
    let acceptor = match accepted.into_inner() {
        Some(acceptor) => acceptor,
        None => listener.accept().await.unwrap(),
    };
    if to.scheme() == "tls" {
        // The end of the handshake. Left unread, it would take back what is written before a drop.
        poll_fn(|cx| acceptor.poll_read_ready(cx)).await.unwrap();
        assert_eq!(acceptor.try_read(&mut BytesMut::new(), 0).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    (dialler, acceptor)
}

fn transports() -> Transports {
    #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "for TLS"))]
    let mut transports = Transports::default();
    #[cfg(feature = "tls")]
    transports.add(tls::TlsTransport::new(tls::tests::of_this_host()));
    transports
}

async fn ready_to_write(socket: &dyn Socket) {
    poll_fn(|cx| socket.poll_write_ready(cx)).await.unwrap();
}

pub(super) async fn write_all(socket: &dyn Socket, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        ready_to_write(socket).await;
        match socket.try_write(&[IoSlice::new(bytes)]) {
            Ok(count) => bytes = bytes.split_at(count).1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

async fn read_some(socket: &dyn Socket, into: &mut BytesMut) -> usize {
    loop {
        poll_fn(|cx| socket.poll_read_ready(cx)).await.unwrap();
        match socket.try_read(into, usize::MAX) {
            Ok(count) => return count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

async fn read_exactly(socket: &dyn Socket, len: usize) -> Vec<u8> {
    let mut read = BytesMut::with_capacity(len);
    while read.len() < len {
        assert_ne!(read_some(socket, &mut read).await, 0, "the stream ended after {} of {len} bytes", read.len());
    }
    assert_eq!(read.len(), len);
    read.to_vec()
}

pub(super) async fn read_to_end(socket: &dyn Socket) -> Vec<u8> {
    let mut read = BytesMut::new();
    while read_some(socket, &mut read).await > 0 {
        read.reserve(16 << 10);
    }
    read.to_vec()
}

/// Fails where the work needs the bound itself to be polled again: that hides a lost wake-up.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    const BOUND: Duration = Duration::from_secs(10);
    let started = Instant::now();
    let done = tokio::time::timeout(BOUND, work).await.expect("it takes too long");
    assert!(started.elapsed() < BOUND, "nobody woke it");
    done
}
