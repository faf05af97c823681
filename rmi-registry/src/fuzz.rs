//! What the fuzz targets see of the registry. Not for programs: it changes without notice.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rmi_core::{AnyRemote, Remote, endpoint::Endpoint};
use rmi_macros::remote;

use crate::{
    error::RegistryError,
    name::Name,
    names::Names,
    service::{Change, Claim, Deed, Entry, Fate, Found, NameService, Page, Subscription, Watcher},
    stamp::Stamp,
    url::RegistryUrl,
};

/// The URL of a registry, and perhaps a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(RegistryUrl);

impl Url {
    /// The name.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.0.clone().split().1.map(|name| name.as_str().to_owned())
    }

    /// The endpoints to dial, each with the URL of the registry there.
    ///
    /// # Errors
    /// If it is not to be dialled.
    pub fn dialled(&self) -> Result<Vec<(String, Endpoint)>, RegistryError> {
        self.0.dialled()
    }

    /// The endpoint to listen at.
    ///
    /// # Errors
    /// If nobody can listen there.
    pub fn listened(&self) -> Result<Endpoint, RegistryError> {
        self.0.listened()
    }
}

impl FromStr for Url {
    type Err = RegistryError;

    fn from_str(url: &str) -> Result<Self, RegistryError> {
        url.parse().map(Self)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name written as `text`, as it stands in a URL.
///
/// # Errors
/// What is wrong with the name.
pub fn percent_encoded(text: &str) -> Result<String, String> {
    Name::new(text).map(|name| name.percent_encoded())
}

/// The name that `text` spells in a URL.
///
/// # Errors
/// What is wrong with it.
pub fn percent_decoded(text: &str) -> Result<String, String> {
    Name::from_percent_encoded(text).map(|name| name.as_str().to_owned())
}

/// What is done to a name.
#[derive(Clone, Debug)]
pub enum Act {
    /// It is bound, if it is free.
    Bind(AnyRemote),
    /// It is bound.
    Rebind(AnyRemote),
    /// An object joins its group.
    Join(AnyRemote),
    /// An object leaves its group.
    Leave(AnyRemote),
    /// It is freed.
    Unbind,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// An object that is bound to it.
    One(AnyRemote),
    /// Those that are joined under it.
    Group(Vec<AnyRemote>),
}

/// The names of a registry, as its clients change and read them, without a node in between.
#[derive(Clone, Debug)]
pub struct Registry(Names);

impl Default for Registry {
    fn default() -> Self {
        Self(Names::new(Duration::from_secs(1), false))
    }
}

impl Registry {
    /// Does this, at this time.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn act(&self, name: &str, act: Act, millis: u64) -> Result<(), RegistryError> {
        let (name, stamp) = (name.to_owned(), Stamp::at(millis));
        match act {
            Act::Bind(object) => self.0.bind(name, object, stamp).await.map(drop),
            Act::Rebind(object) => self.0.rebind(name, object, stamp).await.map(drop),
            Act::Join(object) => self.0.join(name, object, stamp).await.map(drop),
            Act::Leave(object) => self.0.leave(name, object, stamp).await,
            Act::Unbind => self.0.unbind(name, stamp).await,
        }
    }

    /// Claims that this was done at this time, and tells whether that is so from now on.
    ///
    /// # Errors
    /// If it cannot be.
    pub async fn claim(&self, name: &str, act: Act, millis: u64) -> Result<bool, RegistryError> {
        let deed = match act {
            Act::Bind(object) | Act::Rebind(object) => Deed::Bind(object),
            Act::Join(object) => Deed::Join(object),
            Act::Leave(object) => Deed::Leave(object),
            Act::Unbind => Deed::Unbind,
        };
        let removes = matches!(deed, Deed::Unbind | Deed::Leave(_));
        let claim = Claim { name: name.to_owned(), deed, stamp: Stamp::at(millis) };
        let fates = self.0.reconcile(vec![claim]).await?.fates;
        Ok(fates == [if removes { Fate::Removed } else { Fate::Bound }])
    }

    /// What the name stands for.
    ///
    /// # Errors
    /// If that cannot be told.
    pub async fn find(&self, name: &str) -> Result<Holds, RegistryError> {
        match self.0.find(name.to_owned()).await {
            Ok(Found::One(object)) => Ok(Holds::One(object)),
            Ok(Found::Group(members)) => Ok(Holds::Group(members)),
            Err(RegistryError::NotBound { .. }) => Ok(Holds::Nothing),
            Err(error) => Err(error),
        }
    }

    /// The first names that begin with `prefix` and come after `after`, and whether more follow.
    ///
    /// # Errors
    /// If they cannot be told.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<Entry>, bool), RegistryError> {
        let Page { entries, more } = self.0.list(prefix.to_owned(), after.map(str::to_owned), limit).await?;
        Ok((entries, more))
    }

    /// Watches the names that begin with `prefix`.
    ///
    /// # Errors
    /// If nobody can.
    pub async fn watch(&self, prefix: &str) -> Result<Watched, RegistryError> {
        let seen = Arc::default();
        let watcher = Remote::<dyn Watcher>::new(Seeing(Arc::clone(&seen)));
        let subscription = self.0.watch(prefix.to_owned(), watcher).await?.subscription;
        Ok(Watched { seen, _subscription: subscription })
    }
}

/// What a watcher was told.
#[derive(Debug)]
pub struct Watched {
    seen: Arc<Mutex<Seen>>,
    _subscription: Remote<dyn Subscription>,
}

#[derive(Debug, Default)]
struct Seen {
    bound: BTreeMap<String, Entry>,
    is_current: bool,
}

impl Watched {
    /// What it was told is bound, once it has been told all there is.
    #[must_use]
    pub fn bound(&self) -> Option<Vec<Entry>> {
        let seen = self.seen.lock();
        seen.is_current.then(|| seen.bound.values().cloned().collect())
    }
}

#[derive(Debug)]
struct Seeing(Arc<Mutex<Seen>>);

#[remote]
impl Watcher for Seeing {
    async fn changed(&self, changes: Vec<Change>) -> rmi_core::Result<()> {
        let mut seen = self.0.lock();
        for change in changes {
            match change {
                Change::Bound(entry, _) => drop(seen.bound.insert(entry.name.clone(), entry)),
                Change::Unbound(name) | Change::Expired(name) => drop(seen.bound.remove(&name)),
                Change::Current => seen.is_current = true,
                Change::Lagged => seen.is_current = false,
            }
        }
        Ok(())
    }
}
