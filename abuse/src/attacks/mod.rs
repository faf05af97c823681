//! What can be done to a server: a file for each way.

mod abandoned;
mod cancels;
mod deaf;
mod frames;
mod references;
mod silent;
mod slow_loris;
mod unknown;
mod values;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use clap::ValueEnum;
use rmi::{Limits, NodeId};
use rmi_core::{session::Handshake, wire::Hello};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::tally::Tally;

/// The ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// 10,000 connections that say nothing, and come again when they are closed.
    Silent,
    /// Hellos and frames that arrive byte by byte.
    SlowLoris,
    /// Handshakes that are begun and left, as fast as can be.
    Abandoned,
    /// A flood of calls to objects, services and promises that do not exist.
    Unknown,
    /// Frames of the largest size, messages of the largest size that never end, and lengths beyond both.
    Frames,
    /// Values nested deeper, and collections wider, than any memory.
    Values,
    /// 1,000 cancels a millisecond.
    Cancels,
    /// Clients that ask for large answers and never read.
    Deaf,
    /// A peer that claims a million references, one that gives them and one that takes them.
    References,
}

/// One attack under way.
pub(crate) struct Attack {
    server: SocketAddr,
    /// How many connections there may be.
    connections: usize,
    pub(crate) tally: Tally,
}

/// How long a connection may take: nobody waits here for a backlog.
const DIAL_MAX: Duration = Duration::from_secs(1);
/// Before the next try of somebody whose connection failed.
const PAUSE: Duration = Duration::from_millis(5);

impl Kind {
    /// Goes on until it is dropped.
    pub(crate) async fn carry_out(self, attack: Arc<Attack>) {
        match self {
            Self::Silent => silent::carry_out(attack).await,
            Self::SlowLoris => slow_loris::carry_out(attack).await,
            Self::Abandoned => abandoned::carry_out(attack).await,
            Self::Unknown => unknown::carry_out(attack).await,
            Self::Frames => frames::carry_out(attack).await,
            Self::Values => values::carry_out(attack).await,
            Self::Cancels => cancels::carry_out(attack).await,
            Self::Deaf => deaf::carry_out(attack).await,
            Self::References => references::carry_out(attack).await,
        }
    }

    /// What was done, in words.
    pub(crate) fn told(self, tally: &Tally) -> String {
        match self {
            Self::Silent => silent::told(tally),
            Self::SlowLoris => slow_loris::told(tally),
            Self::Abandoned => abandoned::told(tally),
            Self::Unknown => unknown::told(tally),
            Self::Frames => frames::told(tally),
            Self::Values => values::told(tally),
            Self::Cancels => cancels::told(tally),
            Self::Deaf => deaf::told(tally),
            Self::References => references::told(tally),
        }
    }

    /// By how many bytes the server's memory may grow meanwhile.
    pub(crate) const fn growth_max(self) -> u64 {
        match self {
            Self::Silent => silent::GROWTH_MAX,
            Self::SlowLoris => slow_loris::GROWTH_MAX,
            Self::Abandoned => abandoned::GROWTH_MAX,
            Self::Unknown => unknown::GROWTH_MAX,
            Self::Frames => frames::GROWTH_MAX,
            Self::Values => values::GROWTH_MAX,
            Self::Cancels => cancels::GROWTH_MAX,
            Self::Deaf => deaf::GROWTH_MAX,
            Self::References => references::GROWTH_MAX,
        }
    }

    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Attack {
    pub(crate) fn new(server: SocketAddr, connections: usize) -> Self {
        Self { server, connections, tally: Tally::default() }
    }

    /// A connection to the server. It comes from another address than those of honest clients, where the system has
    /// one: all of 127.0.0.0/8 is here.
    pub(crate) async fn dial(&self) -> io::Result<TcpStream> {
        let dial = async {
            let socket = TcpSocket::new_v4()?;
            if cfg!(target_os = "linux") {
                socket.bind(([127, 0, 0, 2], 0).into())?;
            }
            let stream = socket.connect(self.server).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        tokio::time::timeout(DIAL_MAX, dial).await?
    }

    /// The frame of a hello of nobody.
    pub(crate) fn hello(&self) -> BytesMut {
        Handshake::dial(Hello::new(NodeId::random(), &Limits::default(), Duration::from_secs(30))).hello()
    }
}

/// So many at once, each of whom begins anew when what it does has ended, until all of it is dropped.
async fn again_and_again<F>(attack: Arc<Attack>, count: usize, act: impl Fn(Arc<Attack>, usize) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let start = |number, tasks: &mut JoinSet<usize>, pause: Duration| {
        let acting = act(attack.clone(), number);
        tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            // That the server ends the connection is what most of this is about.
            drop(acting.await);
            number
        });
    };
    (0..count).for_each(|number| start(number, &mut tasks, Duration::ZERO));
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(number) => start(number, &mut tasks, PAUSE),
            Err(error) => eprintln!("the abuser's own mistake: {error}"),
        }
    }
}
