//! Aliases of arguments, of results and of both together.

#![deny(warnings)]

use rmi::{Remote, RemoteError, remote};

#[derive(serde::Serialize, serde::Deserialize)]
enum BankError {
    Remote(RemoteError),
}

impl From<RemoteError> for BankError {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

type Answer<T> = Result<T, BankError>;
type Receipt = Answer<Blob>;
type Blob = Vec<u8>;
type Lines<'a> = Option<&'a str>;

#[remote]
trait Bank {
    async fn receipt(&self, of: Blob, like: &Blob) -> Receipt;
    async fn note(&self, lines: Lines<'_>) -> Answer<()>;
}

struct Service;

#[remote]
impl Bank for Service {
    async fn receipt(&self, of: Blob, like: &Blob) -> Receipt {
        Ok(if of.is_empty() { like.clone() } else { of })
    }
    async fn note(&self, lines: Lines<'_>) -> Answer<()> {
        lines.map(|_| ()).ok_or_else(|| RemoteError::new(rmi::ErrorKind::Other, "no lines").into())
    }
}

#[test]
fn is_accepted() {
    let _ = Remote::<dyn Bank>::new(Service);
}
