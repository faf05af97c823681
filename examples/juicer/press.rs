//! One of the processes.

use std::{
    fs,
    io::{self, Write},
    mem::take,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use rmi::{Node, Registry, Remote, remote};
use serde::{Deserialize, Serialize};

use crate::child;

/// Recursions that one process has under way, how deep they may go, and the references that it keeps
/// from call to call.
const WORKERS: usize = 4;
const DEPTH: u64 = 12;
const BASKET: usize = 100;

static CALLS: AtomicU64 = AtomicU64::new(0);
static MADE: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

/// What is made, passed around, and must be freed.
#[remote]
pub(crate) trait Orange {
    async fn taste(&self) -> rmi::Result<u64>;
}

type Oranges = Vec<Remote<dyn Orange>>;

#[remote]
pub(crate) trait Juicer {
    /// Recurses into the others, one recursion after the other, for this time.
    async fn juice(&self, juicers: Vec<Remote<dyn Juicer>>, seed: u64, time: Duration) -> rmi::Result<()>;
    /// Adds an orange to these, tastes one, hands all to another juicer, and returns some.
    async fn squeeze(&self, oranges: Oranges, depth: u64, seed: u64) -> rmi::Result<Oranges>;
    async fn tally(&self) -> rmi::Result<Tally>;
    /// Lets go of every reference.
    async fn release(&self) -> rmi::Result<()>;
}

/// What a process has counted: calls served, oranges made and freed, and its bytes in memory.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) made: u64,
    pub(crate) freed: u64,
    pub(crate) memory: Option<u64>,
}

impl Tally {
    /// Of this process now.
    fn read() -> Self {
        let [calls, made, freed] = [&CALLS, &MADE, &FREED].map(|count| count.load(Relaxed));
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")?.trim().parse().ok());
        let memory = kibibytes.map(|kibibytes: u64| kibibytes << 10);
        Self { calls, made, freed, memory }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let memory = self.memory.zip(other.memory).map(|(one, other)| one + other);
        Self { calls: self.calls + other.calls, made: self.made + other.made, freed: self.freed + other.freed, memory }
    }
}

/// Serves until it is told to leave.
pub(crate) async fn run(name: &str, attached: bool) -> anyhow::Result<()> {
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    let (registry, name) = name.rsplit_once('/').unwrap_or((name, "juicer"));
    let registry = Registry::connect_with(&node, registry).await?;
    registry.bind(name, &Remote::<dyn Juicer>::new(Press::default())).await?;
    writeln!(io::stdout(), "ready")?;
    node.shutdown_on(child::told_to_leave(attached)).await;
    Ok(())
}

struct Navel(u64);

fn grow() -> Remote<dyn Orange> {
    Remote::<dyn Orange>::new(Navel(MADE.fetch_add(1, Relaxed)))
}

impl Drop for Navel {
    fn drop(&mut self) {
        FREED.fetch_add(1, Relaxed);
    }
}

#[remote]
impl Orange for Navel {
    async fn taste(&self) -> rmi::Result<u64> {
        CALLS.fetch_add(1, Relaxed);
        Ok(self.0)
    }
}

#[derive(Default)]
struct Press {
    others: Mutex<Vec<Remote<dyn Juicer>>>,
    basket: Mutex<Oranges>,
}

#[remote]
impl Juicer for Press {
    async fn juice(&self, mut juicers: Vec<Remote<dyn Juicer>>, seed: u64, time: Duration) -> rmi::Result<()> {
        juicers.retain(|juicer| !Remote::is_local(juicer));
        *self.others.lock() = juicers.clone();
        let (mut dice, end) = (Dice(seed), Instant::now() + time);
        try_join_all((0..WORKERS).map(|_| work(&juicers, Dice(dice.roll()), end))).await?;
        Ok(())
    }

    async fn squeeze(&self, mut oranges: Oranges, depth: u64, seed: u64) -> rmi::Result<Oranges> {
        CALLS.fetch_add(1, Relaxed);
        let mut dice = Dice(seed);
        oranges.push(grow());
        if let Some(orange) = dice.pick(&oranges) {
            orange.taste().await?;
            // It stays here, and one that stayed before goes on.
            let mut basket = self.basket.lock();
            basket.push(orange);
            oranges.extend((basket.len() > BASKET).then(|| basket.swap_remove(dice.roll() as usize % BASKET)));
        }
        let next = dice.pick(&self.others.lock());
        if let Some(next) = next.filter(|_| depth > 0) {
            oranges = next.squeeze(oranges, depth - 1, dice.roll()).await?;
        }
        oranges.retain(|_| !dice.roll().is_multiple_of(3));
        Ok(oranges)
    }

    async fn tally(&self) -> rmi::Result<Tally> {
        Ok(Tally::read())
    }

    async fn release(&self) -> rmi::Result<()> {
        let released = (take(&mut *self.others.lock()), take(&mut *self.basket.lock()));
        drop(released);
        Ok(())
    }
}

/// Begins one recursion after the other.
async fn work(others: &[Remote<dyn Juicer>], mut dice: Dice, end: Instant) -> rmi::Result<()> {
    while let Some(juicer) = dice.pick(others).filter(|_| Instant::now() < end) {
        let oranges = vec![grow()];
        let returned = juicer.squeeze(oranges.clone(), dice.roll() % DEPTH, dice.roll()).await?;
        for orange in oranges.iter().chain(&returned) {
            orange.taste().await?;
        }
    }
    Ok(())
}

/// Choices that begin at a seed: the `SplitMix64` generator.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let place = self.roll().checked_rem(from.len() as u64)?;
        from.get(place as usize).cloned()
    }
}
