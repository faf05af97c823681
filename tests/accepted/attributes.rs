//! Documentation and attributes stay where they were written; generic and conditional implementations.

#![deny(warnings, missing_docs)]

use std::marker::PhantomData;

use rmi::{Remote, remote};

/// An interface of which parts are old.
#[remote]
#[must_use]
pub trait Archive {
    /// The old way.
    #[deprecated(note = "use `read`")]
    async fn get(&self, #[allow(unused)] at: u64) -> rmi::Result<String>;

    /// The new way.
    #[allow(clippy::too_many_arguments)]
    #[must_use]
    async fn read(&self, at: u64) -> rmi::Result<String>;
}

struct Shelf<T>(PhantomData<T>);

#[remote]
impl<T> Archive for Shelf<T>
where
    T: Send + Sync + 'static,
{
    async fn get(&self, at: u64) -> rmi::Result<String> {
        self.read(at).await
    }
    async fn read(&self, _at: u64) -> rmi::Result<String> {
        Ok(String::new())
    }
}

#[test]
fn is_accepted() {
    let _ = Remote::<dyn Archive>::new(Shelf::<u8>(PhantomData));
}
