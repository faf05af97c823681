//! A registry, as seen by those who bind and look up names.

use rmi_core::{AnyRemote, ErrorKind, Node, Remote, RemoteError, interface::Interface};

use crate::{
    error::RegistryError,
    name::Name,
    service::{Entry, NameService, PAGE_LEN_MAX, Page, SERVICE},
    url::RegistryUrl,
};

/// A registry to bind and look up names at. Cheap to clone.
///
/// It goes on working when the registry is restarted at the same URL.
///
/// ```no_run
/// use rmi_registry::Registry;
/// # async fn example() -> Result<(), rmi_registry::RegistryError> {
/// let registry = Registry::connect("rmi://127.0.0.1:1099").await?;
/// for entry in registry.list("bank/").await? {
///     println!("{} implements {}", entry.name, entry.interfaces.join(", "));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    node: Node,
    url: String,
    service: Remote<dyn NameService>,
}

impl Registry {
    /// The registry at `url`, called from [`Node::current`].
    ///
    /// # Errors
    /// Where the URL is none of a registry, or no registry answers there.
    pub async fn connect(url: &str) -> Result<Self, RegistryError> {
        Self::connect_with(&Node::current(), url).await
    }

    /// The registry at `url`, called from `node`. The URL is `rmi://host:port`, or the URL of an
    /// endpoint such as `unix:///run/registry.sock` or `mem://names`.
    ///
    /// # Errors
    /// Where the URL is none of a registry, or no registry answers there.
    pub async fn connect_with(node: &Node, url: &str) -> Result<Self, RegistryError> {
        let (url, name) = url.parse::<RegistryUrl>()?.split();
        if let Some(name) = name {
            return Err(url.invalid(format!("connect to {url} without /{name}, then look {name:?} up")));
        }
        let registry = Self::at(node, &url)?;
        // Only to hear now, not at the first use, that no registry answers.
        registry.service.list(String::new(), None, 1).await.map_err(|error| registry.blame(error))?;
        Ok(registry)
    }

    /// The registry at `url`, not called yet.
    fn at(node: &Node, url: &RegistryUrl) -> Result<Self, RegistryError> {
        let service = Remote::<dyn NameService>::service(node, url.dialled()?, SERVICE);
        Ok(Self { node: node.clone(), url: url.to_string(), service })
    }

    /// The URL of the registry.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Binds a free name to an object. The node keeps the object until the name is unbound or bound
    /// anew through it, or the node shuts down.
    ///
    /// # Errors
    /// [`AlreadyBound`](RegistryError::AlreadyBound) where the name is taken, also by a server whose
    /// connection was lost less than a lease ago; [`AccessDenied`](RegistryError::AccessDenied) from
    /// another host than the registry's; [`NotListening`](RegistryError::NotListening) where the
    /// object could not be reached.
    ///
    /// # Cancel safety
    /// When the future is dropped, the name may be bound or not.
    pub async fn bind<I: ?Sized + Interface>(&self, name: &str, object: &Remote<I>) -> Result<(), RegistryError> {
        let (name, object) = self.bindable(name, object)?;
        let bound = self.service.bind(name.to_string(), object.clone()).await;
        bound.map_err(|error| self.blame(error))?;
        self.node.keep(self.key(&name), object);
        Ok(())
    }

    /// Binds a name, free or not, to an object. Otherwise like [`bind`](Self::bind).
    ///
    /// # Errors
    /// As `bind`, without `AlreadyBound`.
    ///
    /// # Cancel safety
    /// When the future is dropped, the name may be bound anew or not.
    pub async fn rebind<I: ?Sized + Interface>(&self, name: &str, object: &Remote<I>) -> Result<(), RegistryError> {
        let (name, object) = self.bindable(name, object)?;
        let bound = self.service.rebind(name.to_string(), object.clone()).await;
        bound.map_err(|error| self.blame(error))?;
        self.node.keep(self.key(&name), object);
        Ok(())
    }

    /// Frees a name, whoever bound it.
    ///
    /// # Errors
    /// [`NotBound`](RegistryError::NotBound) where the name is free;
    /// [`AccessDenied`](RegistryError::AccessDenied) from another host than the registry's.
    ///
    /// # Cancel safety
    /// When the future is dropped, the name may be bound still or not.
    pub async fn unbind(&self, name: &str) -> Result<(), RegistryError> {
        let name = checked(name)?;
        self.service.unbind(name.to_string()).await.map_err(|error| self.blame(error))?;
        self.node.unkeep(&self.key(&name));
        Ok(())
    }

    /// The object bound to a name.
    ///
    /// # Errors
    /// [`NotBound`](RegistryError::NotBound) where the name is free;
    /// [`WrongInterface`](RegistryError::WrongInterface) where the object does not implement `I`.
    pub async fn lookup<I: ?Sized + Interface>(&self, name: &str) -> Result<Remote<I>, RegistryError> {
        let object = self.lookup_any(name).await?;
        object.cast::<I>().map_err(|error| RegistryError::WrongInterface {
            name: name.to_owned(),
            wanted: error.wanted().to_owned(),
            found: error.found().to_vec(),
            registry: self.url.clone(),
        })
    }

    /// The object bound to a name, whatever it implements.
    ///
    /// # Errors
    /// [`NotBound`](RegistryError::NotBound) where the name is free.
    pub async fn lookup_any(&self, name: &str) -> Result<AnyRemote, RegistryError> {
        let name = checked(name)?;
        self.service.lookup(name.to_string()).await.map_err(|error| self.blame(error))
    }

    /// All names that begin with `prefix`, in order. Names bound and unbound meanwhile may be in it
    /// or not.
    ///
    /// # Errors
    /// Where the registry cannot be called.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, RegistryError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.name.clone());
            let listed = self.service.list(prefix.to_owned(), after.clone(), PAGE_LEN_MAX).await;
            let page = listed.map_err(|error| self.blame(error))?;
            let Page { entries: part, more } = page;
            // A registry that led in circles would be listed for ever.
            if more && part.last().map(|entry| &entry.name) <= after.as_ref() {
                return Err(self.astray());
            }
            entries.extend(part);
            if !more {
                return Ok(entries);
            }
        }
    }

    /// The name and the object as they are sent, if others could call the object.
    fn bindable<I: ?Sized + Interface>(
        &self,
        name: &str,
        object: &Remote<I>,
    ) -> Result<(Name, AnyRemote), RegistryError> {
        let name = checked(name)?;
        if Remote::is_local(object) && self.node.endpoints().is_empty() {
            return Err(RegistryError::NotListening { name: name.to_string(), registry: self.url.clone() });
        }
        Ok((name, Remote::erase(object)))
    }

    /// Under what the node keeps the object bound to a name here.
    fn key(&self, name: &Name) -> String {
        format!("{}/{name}", self.url)
    }

    fn blame(&self, error: RegistryError) -> RegistryError {
        error.at(&self.url)
    }

    fn astray(&self) -> RegistryError {
        let message = "the registry sent a page of names that does not follow the one before";
        RemoteError::new(ErrorKind::Protocol, message).with_object(SERVICE).with_peer(self.url.as_str()).into()
    }
}

/// The object that `url`, such as `rmi://127.0.0.1:1099/bank`, names, called from [`Node::current`].
///
/// # Errors
/// As [`Registry::lookup`], and [`InvalidUrl`](RegistryError::InvalidUrl).
pub async fn lookup<I: ?Sized + Interface>(url: &str) -> Result<Remote<I>, RegistryError> {
    let (registry, name) = named(url)?;
    registry.lookup(name.as_str()).await
}

/// Binds an object to the free name that `url` names, from [`Node::current`].
///
/// # Errors
/// As [`Registry::bind`], and [`InvalidUrl`](RegistryError::InvalidUrl).
pub async fn bind<I: ?Sized + Interface>(url: &str, object: &Remote<I>) -> Result<(), RegistryError> {
    let (registry, name) = named(url)?;
    registry.bind(name.as_str(), object).await
}

/// The registry of a URL, not called yet, and the name in it.
fn named(url: &str) -> Result<(Registry, Name), RegistryError> {
    let (url, name) = url.parse::<RegistryUrl>()?.split_named()?;
    Ok((Registry::at(&Node::current(), &url)?, name))
}

fn checked(name: &str) -> Result<Name, RegistryError> {
    Name::new(name).map_err(|reason| RegistryError::InvalidName { name: name.to_owned(), reason })
}
