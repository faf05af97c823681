//! Every Rust peer answers right on every row that it supports: the program checks what comes back.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const PEERS: [&str; 6] = ["floor", "rmi", "tarpc", "tonic", "remoc", "capnp"];
const CALLS: [&str; 8] = [
    "one-caller",
    "callers-64",
    "callers-256",
    "connections-100",
    "echo-64kib",
    "echo-1mib",
    "echo-16mib",
    "echo-structs",
];

struct Program {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Program {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rmi-bench"));
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, lines: BufReader::new(output) }
    }

    /// What follows the word in its next line.
    fn expect(&mut self, word: &str) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.strip_prefix(word).unwrap_or_else(|| panic!("{line:?} instead of {word}")).trim().to_owned()
    }

    fn ask(&mut self, question: &str, word: &str) -> String {
        writeln!(self.input, "{question}").unwrap();
        self.expect(word)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The numbers of a `done` line.
fn done(peer: &str, flavour: &str, row: &str) -> Vec<u64> {
    let common = [format!("--peer={peer}"), format!("--flavour={flavour}"), format!("--row={row}")];
    let common: Vec<_> = common.iter().map(String::as_str).collect();
    let mut server = Program::start(&[&["serve"], &common[..]].concat());
    let url = format!("--url={}", server.expect("ready"));
    let own = ["call", &url, "--warm-up=0", "--measured=2", "--count=2500"];
    let mut client = Program::start(&[&own[..], &common].concat());
    client.expect("warm");
    assert!(server.ask("cpu", "cpu").parse::<u64>().unwrap() > 0);
    assert!(server.ask("memory", "memory").parse::<u64>().unwrap() > 0);
    server.ask("heap", "unknown");
    let numbers = client.ask("go", "done");
    drop(client.input.flush());
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    assert!(client.child.wait().unwrap().success());
    assert!(numbers[0] > 0, "{peer} made no call of {row} on {flavour}");
    numbers
}

fn flavours(peer: &str) -> &'static [&'static str] {
    if peer == "capnp" { &["current_thread"] } else { &["current_thread", "multi_thread"] }
}

fn check(peers: &[&str], row: &str) {
    for peer in peers {
        for flavour in flavours(peer) {
            let numbers = done(peer, flavour, row);
            let wants = if matches!(row, "beside-transfer" | "release") { 7 } else { 6 };
            assert_eq!(numbers.len(), wants, "{peer}, {row} on {flavour}: {numbers:?}");
        }
    }
}

#[test]
fn calls() {
    CALLS.iter().for_each(|row| check(&PEERS, row));
}

#[test]
fn small_calls_beside_a_transfer() {
    check(&PEERS, "beside-transfer");
}

#[test]
fn objects_and_callbacks() {
    check(&["rmi", "remoc", "capnp"], "objects");
    check(&["floor", "rmi", "remoc", "capnp"], "callbacks");
    check(&["rmi"], "release");
}

#[test]
fn objects_are_held() {
    check(&["rmi", "capnp"], "held-objects");
    let numbers = done("rmi", "current_thread", "held-objects");
    assert_eq!(numbers[0], 2500);
}

#[test]
fn what_a_peer_does_not_offer_is_an_error() {
    let mut server = Program::start(&["serve", "--peer=tarpc", "--row=objects"]);
    let url = format!("--url={}", server.expect("ready"));
    let mut client = Program::start(&["call", "--peer=tarpc", "--row=objects", &url, "--warm-up=0", "--measured=2"]);
    assert!(!client.child.wait().unwrap().success());
}
