//! The registry's own object: the names, what they are bound to, and who may change that.

use std::sync::Arc;

use parking_lot::Mutex;
use rmi_core::{AnyRemote, Context, ErrorKind, RemoteError, transport::PeerAddr};
use rmi_macros::remote;
use tokio::task::AbortHandle;
use tracing::{debug, info};

use crate::{
    error::RegistryError,
    name::Name,
    service::{Entry, NameService, PAGE_LEN_MAX, Page},
    table::{Generation, NAMES_MAX, Refused, Slice, Table},
};

/// The names of one registry. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    table: Arc<Mutex<Table<Binding>>>,
}

/// What a name is bound to, watched for as long as it is.
#[derive(Debug)]
struct Binding {
    object: AnyRemote,
    watch: AbortHandle,
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Names {
    pub(crate) fn new() -> Self {
        Self { table: Arc::new(Mutex::new(Table::new())) }
    }

    /// Frees every name and ends every watch.
    pub(crate) fn clear(&self) {
        let freed = self.table.lock().clear();
        drop(freed);
    }

    /// A binding that takes its name away once the object is gone for good.
    fn watched(&self, name: &Name, generation: Generation, object: &AnyRemote) -> Binding {
        let broken = object.broken();
        let (table, name) = (Arc::downgrade(&self.table), name.clone());
        let watch = tokio::spawn(async move {
            let cause = broken.await;
            let Some(table) = table.upgrade() else { return };
            let freed = table.lock().unbind_generation(name.as_str(), generation);
            if freed.is_some() {
                info!(%name, %cause, "a name goes with its server");
            }
        });
        Binding { object: object.clone(), watch: watch.abort_handle() }
    }
}

#[remote]
impl NameService for Names {
    async fn bind(&self, name: String, object: AnyRemote) -> Result<(), RegistryError> {
        let name = changeable(name)?;
        let outcome = self.table.lock().bind(name.clone(), |generation| self.watched(&name, generation, &object));
        outcome.map_err(|refused| refusal(refused, &name))?;
        info!(%name, "bound");
        Ok(())
    }

    async fn rebind(&self, name: String, object: AnyRemote) -> Result<(), RegistryError> {
        let name = changeable(name)?;
        let outcome = self.table.lock().rebind(name.clone(), |generation| self.watched(&name, generation, &object));
        let replaced = outcome.map_err(|refused| refusal(refused, &name))?;
        info!(%name, replaced = replaced.is_some(), "bound anew");
        Ok(())
    }

    async fn unbind(&self, name: String) -> Result<(), RegistryError> {
        let name = changeable(name)?;
        let freed = self.table.lock().unbind(name.as_str());
        if freed.is_none() {
            return Err(not_bound(name.to_string()));
        }
        info!(%name, "unbound");
        Ok(())
    }

    async fn lookup(&self, name: String) -> Result<AnyRemote, RegistryError> {
        let found = self.table.lock().get(&name).map(|binding| binding.object.clone());
        debug!(?name, found = found.is_some(), "looked up");
        found.ok_or_else(|| not_bound(name))
    }

    async fn list(&self, prefix: String, after: Option<String>, limit: u32) -> Result<Page, RegistryError> {
        let limit = usize::try_from(limit.clamp(1, PAGE_LEN_MAX)).unwrap_or(usize::MAX);
        let table = self.table.lock();
        let Slice { bindings, more } = table.slice(&prefix, after.as_deref(), limit);
        let entries = bindings
            .into_iter()
            .map(|(name, binding)| Entry { name: name.to_string(), interfaces: binding.object.interfaces() });
        Ok(Page { entries: entries.collect(), more })
    }
}

/// The name `text`, if the caller may change what it is bound to.
fn changeable(text: String) -> Result<Name, RegistryError> {
    // Without a context the call comes from this process.
    if let Some(context) = Context::current() {
        permit(&text, &context.peer_addr())?;
    }
    Name::new(text.as_str()).map_err(|reason| RegistryError::InvalidName { name: text, reason })
}

fn permit(name: &str, peer: &PeerAddr) -> Result<(), RegistryError> {
    if peer.same_host() {
        return Ok(());
    }
    info!(?name, %peer, "a change from another host is refused");
    Err(RegistryError::AccessDenied { name: name.to_owned(), peer: peer.to_string(), registry: String::new() })
}

fn not_bound(name: String) -> RegistryError {
    RegistryError::NotBound { name, registry: String::new() }
}

fn refusal(refused: Refused, name: &Name) -> RegistryError {
    match refused {
        Refused::Taken => RegistryError::AlreadyBound { name: name.to_string(), registry: String::new() },
        Refused::Full => {
            let message = format!("the registry holds {NAMES_MAX} names and takes no more; unbind some");
            RemoteError::new(ErrorKind::Overloaded, message).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn names_are_changed_only_from_the_same_host() {
        let seen = |peer: &str, own: &str| PeerAddr::tcp(peer.parse::<SocketAddr>().unwrap(), own.parse().unwrap());
        for same in [
            seen("127.0.0.1:7", "127.0.0.1"),
            seen("10.0.0.1:7", "10.0.0.1"),
            seen("[::ffff:10.0.0.1]:7", "10.0.0.1"),
            PeerAddr::Unix,
            PeerAddr::Memory,
        ] {
            permit("a", &same).unwrap();
        }
        for other in [seen("10.0.0.2:7", "10.0.0.1"), PeerAddr::Other("by pigeon".into())] {
            let error = permit("a", &other).unwrap_err();
            let RegistryError::AccessDenied { name, peer, .. } = &error else { panic!("{error:?}") };
            assert_eq!((name.as_str(), peer), ("a", &other.to_string()));
        }
    }
}
