//! Whatever may stand in an async method may stand in a remote one: patterns, early ends, `Self`, macros that name `self`.

#![deny(warnings)]

use std::{borrow::Cow, fmt::Debug, sync::Mutex};

use rmi::{Remote, RemoteError, remote};

#[remote]
trait Clerk {
    async fn patterns(&self, pair: (u64, u64), unused: String, number: u64, names: Vec<String>) -> rmi::Result<u64>;
    async fn early(&self, text: &str) -> Result<u64, Trouble>;
    async fn late<'a>(&self, key: String, or: &'a str, cow: Cow<'_, str>) -> rmi::Result<String>;
    async fn never(&self) -> rmi::Result<()>;
    async fn generic(&self, seen: Option<&str>) -> Result<Vec<u8>, Trouble>;
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Trouble {
    Number,
    Remote(RemoteError),
}

impl From<RemoteError> for Trouble {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<std::num::ParseIntError> for Trouble {
    fn from(_: std::num::ParseIntError) -> Self {
        Self::Number
    }
}

struct Desk<T>(Mutex<Vec<T>>);

macro_rules! first_of {
    ($desk:expr) => {
        $desk.0.lock().unwrap().first().map(|first| format!("{first:?}"))
    };
}

impl<T> Desk<T> {
    const LIMIT: u64 = 7;
}

#[remote]
impl<T: Debug + Send + 'static> Clerk for Desk<T> {
    async fn patterns(
        &self,
        (a, mut b): (u64, u64),
        _: String,
        _number: u64,
        mut names: Vec<String>,
    ) -> rmi::Result<u64> {
        b += a;
        names.push(String::new());
        Ok(b.min(Self::LIMIT) + names.len() as u64)
    }
    async fn early(&self, text: &str) -> Result<u64, Trouble> {
        if text.is_empty() {
            return Ok(0);
        }
        let number: u64 = text.parse()?;
        std::future::ready(()).await;
        Ok(number)
    }
    async fn late<'a>(&self, key: String, or: &'a str, cow: Cow<'_, str>) -> rmi::Result<String> {
        fn longer<'b>(a: &'b str, b: &'b str) -> &'b str {
            if a.len() > b.len() { a } else { b }
        }
        let or: &'a str = or;
        Ok(first_of!(self).filter(|first| *first != key).unwrap_or_else(|| longer(or, &cow).to_owned()))
    }
    async fn never(&self) -> rmi::Result<()> {
        loop {
            std::future::ready(()).await;
        }
    }
    async fn generic(&self, seen: Option<&str>) -> Result<Vec<u8>, Trouble> {
        Ok(seen.into_iter().flat_map(str::bytes).collect())
    }
}

#[test]
fn is_accepted() {
    let _ = Remote::<dyn Clerk>::new(Desk::<u8>(Mutex::default()));
}
