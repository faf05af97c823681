//! Streams between processes of one host, by the path of a socket.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::SocketAddr,
    },
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use socket2::SockRef;
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream},
};

use super::{Listener, PeerAddr, Socket, Transport, concerns_the_peer, explained, misdirected, read_once, undialled};
use crate::{endpoint::Endpoint, principal::Principal};

/// Streams between processes of one host: `unix:///path/to/socket`. Who may connect is decided by
/// the permissions of the socket and its directory.
///
/// A listener removes its socket when dropped, and replaces one that a dead process left behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnixTransport;

#[async_trait]
impl Transport for UnixTransport {
    fn scheme(&self) -> &'static str {
        "unix"
    }

    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        let path = self.path(at)?;
        let listener = match UnixListener::bind(path) {
            Err(cause) if cause.kind() == ErrorKind::AddrInUse => replace_stale(at, path, cause).await?,
            bound => bound.map_err(|cause| unbound(at, path, cause))?,
        };
        let identity = fs::symlink_metadata(path).map(|file| identity(&file))?;
        Ok(Box::new(OpenUnixListener { listener, endpoint: at.clone(), path: path.to_owned(), identity }))
    }

    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        let path = self.path(to)?;
        loop {
            match UnixStream::connect(path).await {
                Ok(stream) => return Ok(Arc::new(UnixSocket::new(stream))),
                // The listener's backlog is full, which would keep a dial over IP waiting too.
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => tokio::time::sleep(BACKLOG_PAUSE).await,
                Err(cause) => return Err(undialled(to, cause)),
            }
        }
    }
}

impl UnixTransport {
    fn path<'a>(&self, endpoint: &'a Endpoint) -> io::Result<&'a Path> {
        let Endpoint::Unix { path } = endpoint else { return Err(misdirected(self, endpoint)) };
        let path = Path::new(path);
        if path.as_os_str().is_empty() {
            let text = "a unix endpoint needs a path, as in unix:///run/bank.sock";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        SocketAddr::from_pathname(path).map_err(|cause| {
            let len = path.as_os_str().len();
            let text = format!("{endpoint} cannot be a socket: its path has {len} bytes; choose one of less than 100");
            explained(cause, text)
        })?;
        Ok(path)
    }
}

/// Why an endpoint could not be opened.
fn unbound(at: &Endpoint, path: &Path, cause: io::Error) -> io::Error {
    let text = match cause.kind() {
        ErrorKind::AddrInUse => format!("{at} is in use: stop the program that listens there, or choose another path"),
        ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path).display();
            format!("cannot listen at {at}: the directory {parent} does not exist; create it")
        }
        ErrorKind::PermissionDenied => {
            format!("this process may not create a socket at {at}: choose another directory")
        }
        _ => format!("cannot listen at {at}"),
    };
    explained(cause, text)
}

/// Listens in place of a process that died without removing its socket; one that lives is left
/// alone, and so is a file that is no socket.
async fn replace_stale(at: &Endpoint, path: &Path, in_use: io::Error) -> io::Result<UnixListener> {
    // Between finding the old server dead and removing its socket, no other process may do the same.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let guard = File::open(directory).ok();
    if let Some(Err(TryLockError::WouldBlock)) = guard.as_ref().map(File::try_lock) {
        return Err(explained(in_use, format!("{at} is in use: another process is about to listen there")));
    }
    if fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) {
        return Err(explained(in_use, format!("cannot listen at {at}: a file that is no socket is there; move it")));
    }
    match UnixStream::connect(path).await {
        Err(cause) if cause.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        _ => Err(in_use),
    }
    .and_then(|()| UnixListener::bind(path))
    .map_err(|cause| unbound(at, path, cause))
}

/// What tells a file from a later one of the same name.
fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[derive(Debug)]
struct OpenUnixListener {
    listener: UnixListener,
    endpoint: Endpoint,
    path: PathBuf,
    identity: (u64, u64),
}

#[async_trait]
impl Listener for OpenUnixListener {
    async fn accept(&self) -> io::Result<Arc<dyn Socket>> {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Ok(Arc::new(UnixSocket::new(stream))),
                Err(error) if concerns_the_peer(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }
}

impl Drop for OpenUnixListener {
    /// Removes the socket while it still listens, so that nobody takes it for a stale one.
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, endpoint = %self.endpoint, "the socket stays behind");
        }
    }
}

#[derive(Debug)]
struct UnixSocket {
    stream: UnixStream,
    peer: PeerAddr,
}

impl UnixSocket {
    fn new(stream: UnixStream) -> Self {
        // Those with which the other side has connected, or listens: what it does later changes nothing.
        let known = stream.peer_cred().ok();
        let pid = known.and_then(|known| known.pid()).and_then(|pid| u32::try_from(pid).ok());
        Self { stream, peer: PeerAddr::Unix { uid: known.map(|known| known.uid()), pid } }
    }
}

impl Socket for UnixSocket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_read_ready(cx)
    }

    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        let mut into = into.limit(len_max);
        let room = (into.get_ref().capacity() - into.get_ref().len()).min(len_max);
        read_once(room, || self.stream.try_read_buf(&mut into), |read| self.stream.try_io(Interest::READABLE, read))
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [one] => self.stream.try_write(one),
            many => self.stream.try_write_vectored(many),
        }
    }

    fn shutdown(&self) {
        // It fails only where the connection is gone already.
        drop(SockRef::from(&self.stream).shutdown(Shutdown::Both));
    }

    fn peer(&self) -> PeerAddr {
        self.peer.clone()
    }

    fn principal(&self) -> Principal {
        match self.peer {
            PeerAddr::Unix { uid: Some(uid), .. } => Principal::User { uid },
            _ => Principal::Anonymous,
        }
    }

    fn write_at_exit(&self, bytes: &[u8]) {
        // Nobody is left to be told of a failure.
        drop(SockRef::from(&self.stream).send(bytes));
    }
}

/// How long a dial waits for room in a full backlog before it tries again.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, os::unix::net::UnixListener};

    use super::super::tests::{Directory, connected, dial, listen, soon};
    use super::*;

    #[tokio::test]
    async fn the_socket_goes_with_its_listener() {
        let directory = Directory::new();
        let listener = listen(&directory.endpoint("socket")).await.unwrap();
        assert!(directory.path("socket").exists());
        drop(listener);
        assert!(!directory.path("socket").exists());
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_server_left_is_replaced() {
        let directory = Directory::new();
        drop(UnixListener::bind(directory.path("socket")).unwrap());
        assert!(directory.path("socket").exists());
        connected(&directory.endpoint("socket")).await;
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = Directory::new();
        fs::write(directory.path("ledger"), "all we have").unwrap();
        let refused = listen(&directory.endpoint("ledger")).await.unwrap_err();
        assert!(refused.to_string().contains("a file that is no socket is there"), "{refused}");
        assert_eq!(fs::read_to_string(directory.path("ledger")).unwrap(), "all we have");
    }

    #[tokio::test]
    async fn a_listener_leaves_the_socket_of_its_successor() {
        let directory = Directory::new();
        let first = listen(&directory.endpoint("socket")).await.unwrap();
        fs::rename(directory.path("socket"), directory.path("moved")).unwrap();
        let _second = listen(&directory.endpoint("socket")).await.unwrap();
        drop(first);
        dial(&directory.endpoint("socket")).await.unwrap();
    }

    #[tokio::test]
    async fn a_dial_waits_while_the_backlog_is_full() {
        let directory = Directory::new();
        let at = socket2::SockAddr::unix(directory.path("socket")).unwrap();
        let new = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        let listener = new();
        listener.bind(&at).unwrap();
        listener.listen(1).unwrap();
        let mut crowd = Vec::new();
        loop {
            let one = new();
            one.set_nonblocking(true).unwrap();
            match one.connect(&at) {
                Ok(()) => crowd.push(one),
                // Other systems than Linux refuse, and so leave nothing to wait for.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        let endpoint = directory.endpoint("socket");
        let mut dialling = Box::pin(dial(&endpoint));
        assert!(poll_fn(|cx| Poll::Ready(dialling.as_mut().poll(cx).is_pending())).await);
        listener.accept().unwrap();
        soon(dialling).await.unwrap();
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let directory = Directory::new();
        let refused = listen(&directory.endpoint("missing/socket")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        let wanted = format!("the directory {} does not exist", directory.path("missing").display());
        assert!(refused.to_string().contains(&wanted), "{refused}");
    }

    #[tokio::test]
    async fn a_long_path_is_refused() {
        let directory = Directory::new();
        let long = directory.endpoint(&"long".repeat(50));
        for refused in [listen(&long).await.unwrap_err(), dial(&long).await.unwrap_err()] {
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            assert!(refused.to_string().contains("choose one of less than 100"), "{refused}");
        }
    }
}
