//! One stream of TLS over IP.

use std::{
    fmt,
    io::{self, BufRead as _, ErrorKind, IoSlice, Read, Write},
    net::Shutdown,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use parking_lot::Mutex;
use rustls::Connection;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::{ALPN, owner::owner, trouble::Trouble};
use crate::{
    principal::Principal,
    transport::{PeerAddr, Socket, explained},
};

/// Plaintext that may wait for the handshake, or in its own bytes for the network: what one write takes.
const UNSENT_LEN_MAX: usize = 256 << 10;

/// A stream of TLS. Whoever reads, writes, or waits for either also moves what TLS itself has to say.
pub(super) struct TlsSocket {
    stream: TcpStream,
    peer: PeerAddr,
    /// Whom this side has dialled, by the name that its certificate has to show.
    dialled: Option<String>,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    /// The handshake is over, and what it has agreed on is right.
    is_agreed: bool,
}

impl TlsSocket {
    pub(super) fn new(stream: TcpStream, mut connection: Connection, dialled: Option<&str>) -> io::Result<Arc<Self>> {
        stream.set_nodelay(true)?;
        connection.set_buffer_limit(Some(UNSENT_LEN_MAX));
        let peer = PeerAddr::tcp(stream.peer_addr()?, stream.local_addr()?.ip());
        let state = Mutex::new(State { connection, is_agreed: false });
        Ok(Arc::new(Self { stream, peer, dialled: dialled.map(str::to_owned), state }))
    }

    /// Shakes hands. An accepted stream does so while its first bytes are waited for.
    ///
    /// # Errors
    ///
    /// Where the peer speaks no TLS, or one side does not believe the other.
    pub(super) async fn shake_hands(&self) -> io::Result<()> {
        while !self.go_on_shaking_hands()? {
            std::future::poll_fn(|cx| self.poll_read_ready(cx)).await?;
        }
        Ok(())
    }

    /// Whether that is over.
    fn go_on_shaking_hands(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        while !state.is_agreed {
            match self.advance(&mut state) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes in what has arrived, once, and sends what TLS has to say of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] where nothing has; any other error ends the stream.
    fn advance(&self, state: &mut State) -> io::Result<()> {
        self.flush(state)?;
        let len = state.connection.read_tls(&mut Wire(&self.stream))?;
        if len == 0 && state.connection.is_handshaking() {
            return Err(self.explained(&Trouble::Ended));
        }
        let taken = state.connection.process_new_packets();
        if let Err(error) = taken {
            // The peer is told why, if it can be.
            drop(self.flush(state));
            return Err(self.explained(&Trouble::Tls(error)));
        }
        if !state.is_agreed && !state.connection.is_handshaking() {
            if state.connection.alpn_protocol() != Some(ALPN) {
                return Err(self.explained(&Trouble::OtherProtocol));
            }
            state.is_agreed = true;
        }
        self.flush(state)
    }

    /// Writes what is encrypted, as far as the network takes it.
    fn flush(&self, state: &mut State) -> io::Result<()> {
        while state.connection.wants_write() {
            match state.connection.write_tls(&mut Wire(&self.stream)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same, and waits for room; an error of the network is left to who writes.
    fn poll_flush(&self, state: &mut State, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        while state.connection.wants_write() {
            match self.stream.poll_write_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(Poll::Pending),
            }
            if self.flush(state).is_err() {
                break;
            }
        }
        Ok(Poll::Ready(()))
    }

    fn explained(&self, trouble: &Trouble) -> io::Error {
        let peer = self.dialled.clone().unwrap_or_else(|| self.peer.to_string());
        explained(trouble.as_io(), trouble.explain(&peer))
    }
}

impl State {
    /// Appends what was decrypted, or says that the stream has ended.
    fn take(&mut self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        let mut reader = self.connection.reader();
        let arrived = match reader.fill_buf() {
            Ok(arrived) => arrived,
            // Its link tells an end from a loss by itself.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
            Err(error) => return Err(error),
        };
        let len = arrived.len().min(len_max);
        into.extend_from_slice(arrived.get(..len).unwrap_or(arrived));
        reader.consume(len);
        Ok(len)
    }

    /// Whether a read gives something without the network.
    fn can_be_read(&mut self) -> bool {
        !matches!(self.connection.reader().fill_buf(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl Socket for TlsSocket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        if state.is_agreed && state.can_be_read() {
            return Poll::Ready(Ok(()));
        }
        // What is left goes when there is room, whether or not anybody writes. Where it cannot, the read that
        // follows finds the stream at its end.
        let _ = self.poll_flush(&mut state, cx)?;
        drop(state);
        self.stream.poll_read_ready(cx)
    }

    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        let mut state = self.state.lock();
        loop {
            if state.is_agreed {
                match state.take(into, len_max) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    taken => return taken,
                }
            }
            self.advance(&mut state)?;
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        match self.poll_flush(&mut state, cx)? {
            Poll::Ready(()) => self.stream.poll_write_ready(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state.lock();
        self.flush(&mut state)?;
        if state.is_agreed && state.connection.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = state.connection.writer().write_vectored(bufs)?;
        if len == 0 && bufs.iter().any(|buf| !buf.is_empty()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.flush(&mut state)?;
        Ok(len)
    }

    fn shutdown(&self) {
        let mut state = self.state.lock();
        state.connection.send_close_notify();
        // They fail only where the connection is gone already.
        drop(self.flush(&mut state));
        drop(SockRef::from(&self.stream).shutdown(Shutdown::Both));
    }

    fn peer(&self) -> PeerAddr {
        self.peer.clone()
    }

    fn principal(&self) -> Principal {
        let state = self.state.lock();
        let shown = state.connection.peer_certificates().and_then(<[_]>::first);
        shown.map_or(Principal::Anonymous, |certificate| owner(certificate))
    }

    fn write_at_exit(&self, bytes: &[u8]) {
        // Nobody is left to be told of a failure, nor to wait for whoever holds the lock.
        if let Some(mut state) = self.state.try_lock()
            && state.connection.writer().write(bytes).is_ok()
        {
            while state.connection.wants_write() {
                let socket = SockRef::from(&self.stream);
                if state.connection.write_tls(&mut &*socket).is_err() {
                    return;
                }
            }
        }
    }
}

impl fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSocket").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The stream below, as far as it goes without waiting.
struct Wire<'a>(&'a TcpStream);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
