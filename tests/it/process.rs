//! Parts of a story that run as processes of their own.
//!
//! A part is a test of this very program, ignored unless it is asked for by name: it has all that
//! stories share at hand, and no other program has to be built. It tells its story things on its
//! standard output, takes orders from its standard input, and ends when that does: with its story,
//! however that ends.

use std::{
    ffi::OsStr,
    io::{BufRead, Write},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

use crate::common::soon;

/// What the words of a part begin with, among those of its test harness.
const MARK: &str = "part> ";

/// A running part, as its story sees it. Dropped, it is killed.
pub(crate) struct Part {
    name: &'static str,
    child: Child,
    orders: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

impl Part {
    /// Starts the test of this name, with these variables in its environment.
    pub(crate) fn start<V: AsRef<OsStr>>(
        name: &'static str,
        variables: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Self {
        Self::start_in(&[], name, variables)
    }

    /// Starts it by a program that takes on a role and then becomes the one it is given.
    pub(crate) fn start_in<V: AsRef<OsStr>>(
        wrapper: &[&str],
        name: &'static str,
        variables: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut words = wrapper.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().expect("the program itself"));
        command.args(words).args(["--ignored", "--exact", "--nocapture", name]).envs(variables);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the part starts");
        let orders = child.stdin.take().expect("it is piped");
        let told = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { name, child, orders, told }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it was not awaited yet")
    }

    /// The next that it tells; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        while let Some(line) = soon(self.told.next_line()).await.expect("it tells text") {
            if let Some((_, told)) = line.split_once(MARK) {
                return Some(told.to_owned());
            }
        }
        None
    }

    /// What it tells next behind this word.
    pub(crate) async fn hear(&mut self, word: &str) -> String {
        let told = self.next().await;
        let rest = told.as_deref().and_then(|told| told.strip_prefix(word));
        rest.unwrap_or_else(|| panic!("{} tells {told:?} instead of {word:?}", self.name)).trim_start().to_owned()
    }

    pub(crate) async fn order(&mut self, order: &str) {
        soon(self.orders.write_all(format!("{order}\n").as_bytes())).await.expect("the part takes orders");
    }

    /// Waits for its end, which must be a good one.
    pub(crate) async fn end(mut self) {
        let status = soon(self.child.wait()).await.expect("it is a child of this process");
        assert!(status.success(), "{} ends with {status}", self.name);
    }

    /// SIGKILL, where there is such a thing.
    pub(crate) async fn kill(mut self) {
        soon(self.child.kill()).await.expect("it was not awaited yet");
    }
}

/// In a part: says something to the story.
pub(crate) fn tell(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // A story that is gone hears nothing, and ends this process in a moment.
    drop(writeln!(out, "{MARK}{what}").and_then(|()| out.flush()));
}

/// In a part: a variable that the story sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("the story that starts this process sets {name}"))
}

/// In a part: the story's orders. With the story the process ends.
pub(crate) fn orders() -> mpsc::UnboundedReceiver<String> {
    let (sender, orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            // A part that takes no more orders ends by itself, or here.
            drop(sender.send(line));
        }
        std::process::exit(1);
    });
    orders
}

/// Chances that are the same in every run of the same seed (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    /// Of this seed, or the one that `RMI_IT_SEED` holds.
    pub(crate) fn seeded(seed: u64) -> Self {
        let seed = std::env::var("RMI_IT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(seed);
        println!("seed {seed}: RMI_IT_SEED sets another");
        Self(seed)
    }

    /// A number in this range.
    pub(crate) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (drawn ^ (drawn >> 31)) % (range.end - range.start)
    }
}
