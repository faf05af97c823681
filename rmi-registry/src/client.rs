//! A registry, as seen by those who bind and look up names.

use std::sync::Arc;

use async_trait::async_trait;
use rmi_core::{AnyRemote, Balance, Certainty, ErrorKind, Node, Remote, RemoteError, Resolve, interface::Interface};

use tracing::warn;

use crate::{
    binder::{Binder, Held},
    error::RegistryError,
    members::{self, find},
    name::Name,
    places::{Place, Places},
    service::{Claim, Deed, Entry, Found, Mark, PAGE_LEN_MAX, Page, SERVICE},
    stamp::Stamp,
    url::RegistryUrl,
    watch::Watch,
};

/// A registry to bind and look up names at. Cheap to clone.
///
/// It goes on working when the registry is restarted at the same URL, and what the node has bound
/// is bound there again. One URL can name several registries, `rmi://a:1099,b:1099`: names are
/// bound at all of them, and the first that answers is asked for names. One that is out of reach
/// meanwhile catches up when it is back.
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
    places: Places,
}

/// What binding at all registries has come to.
struct Round<'a> {
    /// Those where the name is bound now.
    bound: Vec<(&'a Place, Mark)>,
    /// Those that did not answer.
    silent: Vec<(&'a Place, RemoteError)>,
    stamp: Stamp,
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
    /// Where the URL is none of a registry, or no registry answers there: of several one must.
    pub async fn connect_with(node: &Node, url: &str) -> Result<Self, RegistryError> {
        let (url, name) = url.parse::<RegistryUrl>()?.split();
        if let Some(name) = name {
            return Err(url.invalid(format!("connect to {url} without /{name}, then look {name:?} up")));
        }
        let registry = Self::at(node, &url)?;
        // Only to hear now, not at the first use, that no registry answers.
        registry.places.ask(|place| async move { place.service.attend().await }).await?;
        Ok(registry)
    }

    /// The registry at `url`, not called yet.
    fn at(node: &Node, url: &RegistryUrl) -> Result<Self, RegistryError> {
        Ok(Self { node: node.clone(), places: Places::new(node, url)? })
    }

    /// The URL of the registry, or of all of several.
    #[must_use]
    pub fn url(&self) -> &str {
        self.places.url()
    }

    /// Binds a free name to an object. A name whose server's connection is lost is free to other
    /// servers of its host. The node keeps the object until the name is unbound or bound anew, by
    /// whomever, or the node shuts down; until then it binds it again wherever it finds it missing.
    ///
    /// Of several registries those that do not answer are bound at later, unless none answers.
    ///
    /// # Errors
    /// [`AlreadyBound`](RegistryError::AlreadyBound) where the name is taken;
    /// [`AccessDenied`](RegistryError::AccessDenied) from another host than the registry's;
    /// [`NotListening`](RegistryError::NotListening) where the object could not be reached. The name
    /// is bound at none of several registries then.
    ///
    /// # Cancel safety
    /// When the future is dropped, the name may be bound or not.
    pub async fn bind<I: ?Sized + Interface>(&self, name: &str, object: &Remote<I>) -> Result<(), RegistryError> {
        let (name, object) = self.bindable(name, object)?;
        let mut round = Round { bound: Vec::new(), silent: Vec::new(), stamp: Stamp::draw() };
        for place in self.places.all() {
            let bound = place.service.bind(name.to_string(), object.clone(), round.stamp).await;
            if let Err(refusal) = round.note(place, bound) {
                round.undo(&self.node, &name, &Deed::Unbind).await;
                return Err(refusal);
            }
        }
        self.hold(round, &name, &Deed::Bind(object))
    }

    /// Joins an object under a name, beside others of the same interfaces: calls of a reference that is
    /// looked up are spread over all of them. The first that joins makes the group, and its name is bound
    /// to no other object while there is a member. Joining an object again is no error, and changes
    /// nothing.
    ///
    /// The node keeps the object until it [leaves](Self::leave), the name is unbound or bound anew, by
    /// whomever, or the node shuts down; until then it joins it again wherever it finds it missing. A member
    /// leaves by itself when it is unexported or its node says goodbye, and after the lease of its node
    /// where that was lost. Of several registries those that do not answer are joined at later, unless none
    /// answers.
    ///
    /// ```no_run
    /// # use rmi_core::{Node, Remote};
    /// # use rmi_macros::remote;
    /// # use rmi_registry::Registry;
    /// # #[remote(name = "demo.Rates")]
    /// # trait Rates { #[remote(idempotent)] async fn rate(&self, pair: &str) -> rmi_core::Result<f64>; }
    /// # struct Desk;
    /// # #[remote]
    /// # impl Rates for Desk { async fn rate(&self, _: &str) -> rmi_core::Result<f64> { Ok(1.0) } }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// // each of several servers
    /// let node = Node::builder().listen("tcp://127.0.0.1:0").start().await?;
    /// let registry = Registry::connect_with(&node, "rmi://127.0.0.1:1099").await?;
    /// registry.join("rates", &Remote::<dyn Rates>::new(Desk)).await?;
    ///
    /// // a client: one reference, and each call goes to one of the servers
    /// let rates: Remote<dyn Rates> = rmi_registry::lookup("rmi://127.0.0.1:1099/rates").await?;
    /// println!("{}", rates.rate("EURUSD").await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`AlreadyBound`](RegistryError::AlreadyBound) where the name is bound to an object;
    /// [`WrongInterface`](RegistryError::WrongInterface) where the members have other interfaces, more or
    /// fewer ones too; [`TooManyMembers`](RegistryError::TooManyMembers);
    /// [`AccessDenied`](RegistryError::AccessDenied) and [`NotListening`](RegistryError::NotListening) as
    /// for `bind`. The object is joined at none of several registries then, unless it was before.
    ///
    /// # Cancel safety
    /// When the future is dropped, the object may be a member or not.
    pub async fn join<I: ?Sized + Interface>(&self, name: &str, object: &Remote<I>) -> Result<(), RegistryError> {
        let (name, object) = self.bindable(name, object)?;
        let mut round = Round { bound: Vec::new(), silent: Vec::new(), stamp: Stamp::draw() };
        for place in self.places.all() {
            let joined = place.service.join(name.to_string(), object.clone(), round.stamp).await;
            if let Err(refusal) = round.note(place, joined) {
                round.undo(&self.node, &name, &Deed::Leave(object)).await;
                return Err(refusal);
            }
        }
        self.hold(round, &name, &Deed::Join(object))
    }

    /// Takes an object out of those that are joined under a name, whoever joined it; the last one to leave
    /// frees the name. An object that is no member has left: that is no error, whatever the name stands
    /// for. Calls that the object has taken end as they would, and clients send it no more as soon as they
    /// hear of it.
    ///
    /// Of several registries those that do not answer hear of it later, unless none answers.
    ///
    /// # Errors
    /// [`AccessDenied`](RegistryError::AccessDenied) from another host than the registry's, and where no
    /// registry answers.
    ///
    /// # Cancel safety
    /// When the future is dropped, the object may be a member still or not.
    pub async fn leave<I: ?Sized + Interface>(&self, name: &str, object: &Remote<I>) -> Result<(), RegistryError> {
        let (name, object, stamp) = (checked(name)?, Remote::erase(object), Stamp::draw());
        let mut silent = Vec::new();
        for place in self.places.all() {
            match place.service.leave(name.to_string(), object.clone(), stamp).await {
                Ok(()) => Binder::release(&self.node, place, &name, Some(object.id())),
                Err(RegistryError::Remote(error)) => silent.push((place, error)),
                Err(refusal) => return Err(refusal.at(&place.url)),
            }
        }
        if silent.len() == self.places.all().len() {
            return Err(self.no_answer(silent));
        }
        for (place, _) in silent {
            let held = Held { deed: Deed::Leave(object.clone()), stamp, seen: None };
            Binder::hold(&self.node, place, name.clone(), held);
        }
        Ok(())
    }

    /// Binds a name, free or not, to an object; it replaces all members of a group. Otherwise like
    /// [`bind`](Self::bind).
    ///
    /// # Errors
    /// As `bind`, without `AlreadyBound`. Several registries may differ then.
    ///
    /// # Cancel safety
    /// When the future is dropped, the name may be bound anew or not.
    pub async fn rebind<I: ?Sized + Interface>(&self, name: &str, object: &Remote<I>) -> Result<(), RegistryError> {
        let (name, object) = self.bindable(name, object)?;
        let mut round = Round { bound: Vec::new(), silent: Vec::new(), stamp: Stamp::draw() };
        for place in self.places.all() {
            let bound = place.service.rebind(name.to_string(), object.clone(), round.stamp).await;
            round.note(place, bound)?;
        }
        self.hold(round, &name, &Deed::Bind(object))
    }

    /// Frees a name, whoever bound it, or joined objects under it. Of several registries those that do not answer hear of it
    /// later, unless none answers.
    ///
    /// # Errors
    /// [`NotBound`](RegistryError::NotBound) where the name is free;
    /// [`AccessDenied`](RegistryError::AccessDenied) from another host than the registry's.
    ///
    /// # Cancel safety
    /// When the future is dropped, the name may be bound still or not.
    pub async fn unbind(&self, name: &str) -> Result<(), RegistryError> {
        let (name, stamp) = (checked(name)?, Stamp::draw());
        let (mut freed, mut silent, mut not_bound) = (false, Vec::new(), None);
        for place in self.places.all() {
            match place.service.unbind(name.to_string(), stamp).await {
                Err(RegistryError::Remote(error)) => {
                    silent.push((place, error));
                    continue;
                }
                Ok(()) => freed = true,
                Err(error @ RegistryError::NotBound { .. }) => not_bound = Some(error.at(&place.url)),
                Err(refusal) => return Err(refusal.at(&place.url)),
            }
            Binder::release(&self.node, place, &name, None);
        }
        match not_bound {
            Some(error) if !freed => Err(error),
            None if !freed => Err(self.no_answer(silent)),
            _ => {
                for (place, _) in silent {
                    Binder::hold(&self.node, place, name.clone(), Held { deed: Deed::Unbind, stamp, seen: None });
                }
                Ok(())
            }
        }
    }

    /// The object bound to a name. The reference remembers the name: when its server has restarted or
    /// moved, a call that certainly did not run goes to what the name is bound to then, at the first
    /// registry that answers. It stays equal to a reference to the object first found.
    ///
    /// Where objects are [joined](Self::join) under the name, the reference is balanced, by
    /// [`Balance::PowerOfTwoChoices`]: see [`lookup_balanced`](Self::lookup_balanced).
    ///
    /// # Errors
    /// [`NotBound`](RegistryError::NotBound) where the name is free;
    /// [`WrongInterface`](RegistryError::WrongInterface) where the object does not implement `I`.
    pub async fn lookup<I: ?Sized + Interface>(&self, name: &str) -> Result<Remote<I>, RegistryError> {
        self.lookup_balanced(name, Balance::default()).await
    }

    /// The objects that are joined under a name, as one reference: each of its calls goes to one of them, as
    /// `balance` says. It learns of members that come and go; while no registry answers, it goes by those
    /// that it knows.
    ///
    /// - **Failing over.** A call that certainly did not run goes to another member, within the time to
    ///   connect and the time for the call; an idempotent one also where nobody knows whether it ran. A
    ///   member that cannot be called is avoided for a while, and longer each time.
    /// - **Nobody there.** A call waits for a member as long; then its error names the group and what the
    ///   last one failed with.
    /// - **Order.** Calls of one node begin in order for each member alone, not for the group.
    /// - **Identity.** It is equal to every reference to a group of this name that was looked up by the same
    ///   URL of the registry; its id is made of both, and it has no one owner.
    /// - **Passed on**, inside an argument or a result, it is the reference to one member, as a call would
    ///   choose it; [`Remote::members`] tells all.
    /// - **Objects of this very node** are left to the calls of others, unless there are no others: then the
    ///   object itself is found.
    /// - **Dropped**, with all its clones, it lets go of every member, and ends its watch.
    ///
    /// A name that is bound to one object is looked up as ever.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub async fn lookup_balanced<I: ?Sized + Interface>(
        &self,
        name: &str,
        balance: Balance,
    ) -> Result<Remote<I>, RegistryError> {
        let object = self.find(name, balance).await?;
        object.cast::<I>().map_err(|error| RegistryError::WrongInterface {
            name: name.to_owned(),
            wanted: error.wanted().to_owned(),
            found: error.found().to_vec(),
            registry: self.url().to_owned(),
        })
    }

    /// The object bound to a name, whatever it implements. It remembers its name as
    /// [`lookup`](Self::lookup) says.
    ///
    /// # Errors
    /// [`NotBound`](RegistryError::NotBound) where the name is free.
    pub async fn lookup_any(&self, name: &str) -> Result<AnyRemote, RegistryError> {
        self.find(name, Balance::default()).await
    }

    async fn find(&self, name: &str, balance: Balance) -> Result<AnyRemote, RegistryError> {
        let name = checked(name)?;
        let members = match find(&self.places, &name).await? {
            Found::One(object) => {
                let lookup = Lookup { places: self.places.clone(), name };
                return Ok(object.named(Arc::new(lookup)));
            }
            Found::Group(members) => members,
        };
        let own = members.iter().find(|member| member.is_local()).cloned();
        match (members::group(&self.node, &self.places, &name, members), own) {
            (Some(group), _) => Ok(AnyRemote::balanced(group, balance)),
            (None, Some(own)) => Ok(own),
            (None, None) => Err(RegistryError::NotBound { name: name.to_string(), registry: self.url().to_owned() }),
        }
    }

    /// All names that begin with `prefix`, in order. Names bound and unbound meanwhile may be in it
    /// or not.
    ///
    /// # Errors
    /// Where the registry cannot be called.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, RegistryError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.name.as_str());
            let listed = |place: Place| async move {
                place.service.list(prefix.to_owned(), after.map(str::to_owned), PAGE_LEN_MAX).await
            };
            let Page { entries: part, more } = self.places.ask(listed).await?;
            // A registry that led in circles would be listed for ever.
            if more && part.last().map(|entry| entry.name.as_str()) <= after {
                return Err(self.astray());
            }
            entries.extend(part);
            if !more {
                return Ok(entries);
            }
        }
    }

    /// Watches all names that begin with `prefix`: a [`Stream`](futures_core::Stream) of what is
    /// bound already, then of every change. Of several registries the first that answers is watched.
    ///
    /// ```no_run
    /// use futures_util::StreamExt;
    /// use rmi_registry::{Event, Registry};
    /// # async fn example(registry: Registry) -> Result<(), rmi_registry::RegistryError> {
    /// let mut banks = registry.watch("bank/");
    /// while let Some(event) = banks.next().await {
    ///     match event? {
    ///         Event::Bound(entry) | Event::Rebound(entry) => println!("{} is there", entry.name),
    ///         Event::Unbound { name } | Event::Expired { name } => println!("{name} is gone"),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "a watch ends when it is dropped"]
    pub fn watch(&self, prefix: &str) -> Watch {
        Watch::start(&self.node, &self.places, prefix)
    }

    /// The name and the object as they are sent, if others could call the object.
    fn bindable<I: ?Sized + Interface>(
        &self,
        name: &str,
        object: &Remote<I>,
    ) -> Result<(Name, AnyRemote), RegistryError> {
        let name = checked(name)?;
        if Remote::is_local(object) && self.node.endpoints().is_empty() {
            return Err(RegistryError::NotListening { name: name.to_string(), registry: self.url().to_owned() });
        }
        let object = Remote::erase(object);
        if object.is_unexported() {
            let message = "the object was unexported, so nobody can call it; wrap it in another Remote";
            let error = RemoteError::new(ErrorKind::NoSuchObject, message).with_certainty(Certainty::NotSent);
            return Err(error.with_object(object.id().to_string()).into());
        }
        Ok((name, object))
    }

    /// Keeps what was done where, and does the rest later.
    fn hold(&self, round: Round<'_>, name: &Name, deed: &Deed) -> Result<(), RegistryError> {
        let Round { bound, silent, stamp } = round;
        if bound.is_empty() {
            return Err(self.no_answer(silent));
        }
        let bound = bound.into_iter().map(|(place, mark)| (place, Some(mark)));
        for (place, seen) in bound.chain(silent.into_iter().map(|(place, _)| (place, None))) {
            Binder::hold(&self.node, place, name.clone(), Held { deed: deed.clone(), stamp, seen });
        }
        Ok(())
    }

    fn no_answer(&self, silent: Vec<(&Place, RemoteError)>) -> RegistryError {
        self.places.no_answer(silent.into_iter().map(|(place, error)| (place.url.clone(), error)).collect())
    }

    fn astray(&self) -> RegistryError {
        let message = "the registry sent a page of names that does not follow the one before";
        RemoteError::new(ErrorKind::Protocol, message).with_object(SERVICE).with_peer(self.url()).into()
    }
}

/// A name, and where it is looked up.
struct Lookup {
    places: Places,
    name: Name,
}

#[async_trait]
impl Resolve for Lookup {
    async fn resolve(&self) -> Result<AnyRemote, RemoteError> {
        let found = self.places.ask(|place| async move { place.service.lookup(self.name.to_string()).await }).await;
        found.map_err(|error| match error {
            RegistryError::Remote(error) => error,
            error @ RegistryError::AccessDenied { .. } => RemoteError::new(ErrorKind::AccessDenied, error.to_string()),
            error => RemoteError::new(ErrorKind::NoSuchObject, error.to_string()),
        })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.places.url(), self.name)
    }
}

impl<'a> Round<'a> {
    /// What one registry has answered, or its refusal.
    fn note(&mut self, place: &'a Place, answer: Result<Mark, RegistryError>) -> Result<(), RegistryError> {
        match answer {
            Ok(mark) => self.bound.push((place, mark)),
            Err(RegistryError::Remote(error)) => self.silent.push((place, error)),
            Err(refusal) => return Err(refusal.at(&place.url)),
        }
        Ok(())
    }

    /// Takes back what was bound or joined, but for an object that was joined before.
    async fn undo(&self, node: &Node, name: &Name, removal: &Deed) {
        for (place, _) in &self.bound {
            if matches!(removal, Deed::Leave(object) if Binder::has_joined(node, place, name, object.id())) {
                continue;
            }
            let removal = Claim { name: name.to_string(), deed: removal.clone(), stamp: self.stamp };
            if let Err(error) = place.service.reconcile(vec![removal]).await {
                warn!(%name, url = %place.url, %error, "a name stays bound here although another registry refused it");
            }
        }
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
