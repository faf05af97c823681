//! The lines of the access log.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use rmi::{ErrorKind, Side};
use rmi_interceptors::AccessLog;

use crate::common::{Scene, soon};

/// Where the lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The lines of the log of this method.
    fn of(&self, method: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let of_log = text.lines().filter(|line| line.contains("rmi::access"));
        of_log.filter(|line| line.contains(&format!("method=\"{method}\""))).map(str::to_owned).collect()
    }

    async fn one(&self, method: &str) -> String {
        soon(async {
            while self.of(method).is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let lines = self.of(method);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.concat()
    }
}

async fn each_call_has_a_line_that_says_how_it_ended(side: Side) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let scene = Scene::new(side, AccessLog::new()).await;
    soon(scene.desk.ask("what")).await.unwrap();
    soon(scene.desk.fail()).await.unwrap_err();
    assert_eq!(soon(scene.desk.panic()).await.unwrap_err().kind(), ErrorKind::Panicked);
    let waiter = scene.wait();
    scene.waits(1).await;
    waiter.abort();
    scene.waits(0).await;
    scene.rests().await;
    let (name, sent, received) = match side {
        Side::Client => ("client", 5, 1),
        Side::Server => ("server", 1, 5),
    };
    for (method, outcome) in [("ask", "ok"), ("fail", "error"), ("panic", "method panicked"), ("wait", "cancelled")] {
        let line = lines.one(&format!("test.Desk.{method}")).await;
        for field in [format!("side=\"{name}\""), format!("outcome=\"{outcome}\""), "duration=".into(), "peer=".into()]
        {
            assert!(line.contains(&field), "{field} is missing: {line}");
        }
    }
    let line = lines.one("test.Desk.ask").await;
    assert!(line.contains(&format!("sent={sent} received={received}")), "{line}");
}

#[tokio::test]
async fn each_call_that_is_made_has_a_line() {
    each_call_has_a_line_that_says_how_it_ended(Side::Client).await;
}

#[tokio::test]
async fn each_call_that_is_served_has_a_line() {
    each_call_has_a_line_that_says_how_it_ended(Side::Server).await;
}
