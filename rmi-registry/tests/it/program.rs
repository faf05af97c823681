//! `rmiregistry` as a process of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Instant,
};

use rmi_core::Node;
use rmi_registry::Registry;
use rustix::process::{Pid, Signal, kill_process};

use crate::greeter::{Greeter, PATIENCE, greeter};

#[tokio::test]
async fn it_prints_its_url_serves_names_and_ends_on_sigterm() {
    let mut program = Program::start(&["--listen", "rmi://127.0.0.1:0"]);
    let url = program.line();
    let node = Node::builder().listen("tcp://127.0.0.1:0").start().await.unwrap();
    let registry = Registry::connect_with(&node, &url).await.unwrap();
    registry.bind("a", &greeter("Hello")).await.unwrap();
    registry.lookup::<dyn Greeter>("a").await.unwrap();

    program.signal(Signal::TERM);
    assert_eq!(program.end().code(), Some(0));
    assert!(registry.lookup_any("a").await.is_err());
}

#[test]
fn it_ends_on_sigint_and_lists_every_place_where_it_listens() {
    let mut program = Program::start(&["--listen", "rmi://127.0.0.1:0", "--listen", "tcp://127.0.0.1:0", "-v"]);
    let (first, second) = (program.line(), program.line());
    assert!(first.starts_with("rmi://127.0.0.1:") && second.starts_with("rmi://127.0.0.1:"), "{first} {second}");
    assert_ne!(first, second);
    program.signal(Signal::INT);
    assert_eq!(program.end().code(), Some(0));
}

#[test]
fn a_port_in_use_is_one_clear_line_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, told) = failure(&["--listen", &format!("rmi://{address}")]);
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("rmiregistry: ") && told.contains(&address) && told.contains("in use"), "{told}");
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    for (arguments, expected) in [
        (&["--listen", "localhost"][..], "write rmi://localhost"),
        (&["--listen", "rmis://localhost:0"], "--tls-cert"),
        (&["--listen", "rmi://localhost/bank"], "leave out /bank"),
        (&["--lease", "soon"], "write 30s"),
        (&["--bind"], "unexpected argument"),
        (&["--tls-cert", "no/such.pem"], "--tls-key <FILE>"),
        (&["--tls-cert", "no/such.pem", "--tls-key", "no/such.key"], "cannot read no/such.pem"),
        (&["--policy", "no/such.toml"], "cannot read the policy no/such.toml"),
    ] {
        let (code, told) = failure(arguments);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

/// How the program ends by itself, and what it tells on standard error.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = Program::start(arguments);
    let mut told = String::new();
    program.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (program.end().code(), told)
}

/// The running program, killed at the latest when the test ends.
pub(crate) struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rmiregistry"))
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The next line on standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the program does not end");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails where the program has ended, as it should.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
