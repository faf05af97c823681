//! Streams between nodes of one process, by name, without the operating system.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    future::poll_fn,
    io::{self, ErrorKind, IoSlice},
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker, ready},
};

use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::coop};

use super::{Listener, PeerAddr, Socket, Transport, misdirected};
use crate::endpoint::Endpoint;

/// Named listeners within the process: `mem://name`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryTransport;

#[async_trait]
impl Transport for MemoryTransport {
    fn scheme(&self) -> &'static str {
        "mem"
    }

    async fn listen(&self, at: &Endpoint) -> io::Result<Box<dyn Listener>> {
        let name = self.name(at)?;
        let (door, arrivals) = mpsc::channel(BACKLOG);
        match LISTENERS.lock().entry(name.to_owned()) {
            Entry::Occupied(_) => {
                let text = format!("{at} is in use in this process: choose another name");
                Err(io::Error::new(ErrorKind::AddrInUse, text))
            }
            Entry::Vacant(free) => {
                free.insert(door);
                Ok(Box::new(MemoryListener { name: name.to_owned(), arrivals: Mutex::new(arrivals) }))
            }
        }
    }

    async fn dial(&self, to: &Endpoint) -> io::Result<Arc<dyn Socket>> {
        let name = self.name(to)?;
        let nobody = || io::Error::new(ErrorKind::ConnectionRefused, format!("nobody listens at {to} in this process"));
        let door = LISTENERS.lock().get(name).cloned().ok_or_else(nobody)?;
        let (ours, theirs) = MemorySocket::pair();
        door.send(theirs).await.map_err(|_| nobody())?;
        Ok(Arc::new(ours))
    }
}

impl MemoryTransport {
    fn name<'a>(&self, endpoint: &'a Endpoint) -> io::Result<&'a str> {
        match endpoint {
            Endpoint::Mem { name } if name.is_empty() => {
                let text = "a mem endpoint needs a name, as in mem://bank";
                Err(io::Error::new(ErrorKind::InvalidInput, text))
            }
            Endpoint::Mem { name } => Ok(name),
            other => Err(misdirected(self, other)),
        }
    }
}

/// The doors of all listeners of the process; a listener removes its own when dropped.
static LISTENERS: LazyLock<Mutex<HashMap<String, mpsc::Sender<MemorySocket>>>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
struct MemoryListener {
    name: String,
    arrivals: Mutex<mpsc::Receiver<MemorySocket>>,
}

#[async_trait]
impl Listener for MemoryListener {
    async fn accept(&self) -> io::Result<Arc<dyn Socket>> {
        let arrival = poll_fn(|cx| self.arrivals.lock().poll_recv(cx)).await;
        let socket = arrival.ok_or_else(|| io::Error::new(ErrorKind::NotConnected, "the listener is closed"))?;
        Ok(Arc::new(socket))
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Mem { name: self.name.clone() }
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        let door = LISTENERS.lock().remove(&self.name);
        drop(door);
    }
}

/// One end of two pipes.
struct MemorySocket {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

impl MemorySocket {
    fn pair() -> (Self, Self) {
        let (there, back) = (Arc::<Pipe>::default(), Arc::<Pipe>::default());
        (Self { incoming: back.clone(), outgoing: there.clone() }, Self { incoming: there, outgoing: back })
    }
}

impl Socket for MemorySocket {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.poll_ready(cx, PipeState::is_readable, |state| &mut state.reader)
    }

    fn try_read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        self.incoming.read(into, len_max)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_ready(cx, PipeState::is_writable, |state| &mut state.writer)
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.outgoing.write(bufs)
    }

    fn shutdown(&self) {
        self.incoming.close();
        self.outgoing.close();
    }

    fn peer(&self) -> PeerAddr {
        PeerAddr::Memory
    }
}

impl fmt::Debug for MemorySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySocket").finish_non_exhaustive()
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Bytes on their way in one direction.
///
/// Wakers are woken and dropped outside the lock: either may run a task, or end one that holds
/// this very pipe.
#[derive(Default)]
struct Pipe(Mutex<PipeState>);

#[derive(Default)]
struct PipeState {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        is_ready: fn(&PipeState) -> bool,
        waiting: fn(&mut PipeState) -> &mut Option<Waker>,
    ) -> Poll<io::Result<()>> {
        // Two busy ends must not keep other tasks from running; an operating system's socket
        // takes part in this as well.
        let progress = ready!(coop::poll_proceed(cx));
        let waker = cx.waker().clone();
        let mut state = self.0.lock();
        if is_ready(&state) {
            drop(state);
            progress.made_progress();
            return Poll::Ready(Ok(()));
        }
        let stale = waiting(&mut state).replace(waker);
        drop(state);
        drop(stale);
        Poll::Pending
    }

    fn read(&self, into: &mut BytesMut, len_max: usize) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.bytes.is_empty() {
            return if state.closed { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        if into.capacity() == into.len() {
            into.reserve(RESERVED_WHEN_FULL);
        }
        let count = state.bytes.len().min(into.capacity() - into.len()).min(len_max);
        let mut left = count;
        let (front, back) = state.bytes.as_slices();
        for part in [front, back] {
            let (taken, _) = part.split_at(left.min(part.len()));
            into.put_slice(taken);
            left -= taken.len();
        }
        state.bytes.drain(..count);
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Ok(count)
    }

    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        let mut state = self.0.lock();
        if state.closed {
            return Err(io::Error::new(ErrorKind::BrokenPipe, "the stream has ended"));
        }
        let room = PIPE_LEN_MAX.saturating_sub(state.bytes.len());
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut left = room;
        for buf in bufs {
            let (taken, _) = buf.split_at(left.min(buf.len()));
            state.bytes.extend(taken);
            left -= taken.len();
        }
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Ok(room - left)
    }

    fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let waiting = [state.reader.take(), state.writer.take()];
        drop(state);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl PipeState {
    fn is_readable(&self) -> bool {
        self.closed || !self.bytes.is_empty()
    }

    fn is_writable(&self) -> bool {
        self.closed || self.bytes.len() < PIPE_LEN_MAX
    }
}

/// Bytes that one pipe holds at most.
const PIPE_LEN_MAX: usize = 64 << 10;
/// Peers that may wait to be accepted; more wait within their dial.
const BACKLOG: usize = 128;
/// Room made in a buffer that has none, as tokio's sockets do.
const RESERVED_WHEN_FULL: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::tests::{connected, dial, listen, mem, read_to_end, soon, write_all};
    use super::*;

    #[tokio::test]
    async fn a_mem_endpoint_needs_a_name() {
        assert_eq!(listen(&mem("")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(dial(&mem("")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let refused = dial(&mem("nobody here")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_mem_peer_that_was_never_accepted_sees_the_end() {
        let listener = listen(&mem("closing early")).await.unwrap();
        let dialler = dial(&listener.endpoint()).await.unwrap();
        drop(listener);
        assert_eq!(soon(read_to_end(&*dialler)).await, b"");
    }

    #[tokio::test]
    async fn mem_dials_wait_while_the_listener_is_busy_and_end_with_it() {
        let listener = listen(&mem("busy")).await.unwrap();
        let at = listener.endpoint();
        let mut waiting = Vec::new();
        let mut one_more = loop {
            let mut dialling = Box::pin(async { dial(&at).await });
            match poll_fn(|cx| Poll::Ready(dialling.as_mut().poll(cx))).await {
                Poll::Ready(socket) => waiting.push(socket.unwrap()),
                Poll::Pending => break dialling,
            }
            assert!(waiting.len() <= 1000, "the backlog has no bound");
        };
        drop(listener);
        let refused = soon(&mut one_more).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_mem_socket_that_ends_with_the_last_waker_of_its_reader_does_not_deadlock() {
        use std::task::{Wake, Waker};

        /// A waker that holds the socket it waits for, as that of a task does.
        struct Holder {
            _socket: Arc<dyn Socket>,
        }
        impl Wake for Holder {
            fn wake(self: Arc<Self>) {}
        }

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (_listener, dialler, acceptor) = runtime.block_on(connected(&mem("cycle")));
        let holder = Waker::from(Arc::new(Holder { _socket: dialler.clone() }));
        assert!(dialler.poll_read_ready(&mut Context::from_waker(&holder)).is_pending());
        drop((dialler, holder));
        // Wakes the holder, with it drops the last hold on the dialler's end, and so closes the pipe.
        acceptor.try_write(&[IoSlice::new(b"x")]).unwrap();
        assert_eq!(acceptor.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_mem_stream_is_whole_across_threads() {
        const LEN: usize = 4 << 20;
        let (_listener, dialler, acceptor) = connected(&mem("threads")).await;
        let sent: Vec<u8> = (0..=250).cycle().take(LEN).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move { write_all(&*dialler, &sent).await });
        assert!(soon(read_to_end(&*acceptor)).await == expected);
        writer.await.unwrap();
    }
}
