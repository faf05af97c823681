//! Follows the members of a name, for all references of a node to it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use rmi_core::{AnyRemote, Group, Node, NodeId};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use crate::{
    backoff::Backoff,
    error::RegistryError,
    follower::{Following, Interrupted, subscribe},
    kept::KeptKey,
    name::Name,
    places::Places,
    service::{Change, Found},
    watchers::Scope,
};

/// The groups that are followed, by node and by name with its registries.
static GROUPS: Mutex<BTreeMap<(NodeId, String), Known>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
struct Known {
    group: Weak<Group>,
    /// Asks the registry anew.
    look: Arc<Notify>,
}

/// The group of this name, whose members were found now. `None` where no other node has a member.
pub(crate) fn group(node: &Node, places: &Places, name: &Name, found: Vec<AnyRemote>) -> Option<Arc<Group>> {
    let key = (node.id(), format!("{}/{name}", places.url()));
    let mut groups = GROUPS.lock();
    // What ended leaves nothing but its key.
    groups.retain(|_, known| known.group.strong_count() > 0);
    if let Some((group, look)) = groups.get(&key).and_then(|known| Some((known.group.upgrade()?, &known.look)))
        && found.iter().any(|member| group.may_have(member))
    {
        // What was found may be older than what the watch has told.
        look.notify_one();
        return Some(group);
    }
    let group = Group::new(node, &key.1, found)?;
    let look = Arc::new(Notify::new());
    groups.insert(key, Known { group: Arc::downgrade(&group), look: look.clone() });
    drop(groups);
    let (places, name) = (places.clone(), name.clone());
    let follower = Follower { group: Arc::downgrade(&group), look, places, name };
    tokio::spawn(follower.run(node.clone(), group.dropped()));
    Some(group)
}

/// Keeps a group as the registry knows it.
struct Follower {
    group: Weak<Group>,
    look: Arc<Notify>,
    places: Places,
    name: Name,
}

impl Follower {
    /// Follows until no reference to the group is left, or the node ends.
    async fn run(self, node: Node, dropped: impl Future<Output = ()>) {
        // The node ends the watch by dropping this.
        let (alive, ended) = oneshot::channel::<Infallible>();
        let key = KeptKey::new("group");
        key.keep(&node, Arc::new(alive));
        tokio::select! {
            never = self.follow() => match never {},
            () = dropped => {}
            _ = ended => {}
        }
        key.let_go(&node);
        GROUPS.lock().retain(|_, known| known.group.strong_count() > 0);
    }

    /// While no registry answers, the group stays as it was known last.
    async fn follow(&self) -> Infallible {
        let (mut backoff, mut begun) = (Backoff::new(), false);
        loop {
            let interrupted = match subscribe(&self.places, &Scope::Just(self.name.to_string())).await {
                Ok(following) => self.read(following, begun, &mut backoff).await.err(),
                Err(error) => Some(Broken::Failed(error)),
            };
            debug!(name = %self.name, ?interrupted, "the members of a name are followed anew");
            begun = true;
            tokio::select! {
                () = sleep(backoff.delay()) => {}
                // The registry has answered somebody.
                () = self.look.notified() => {}
            }
        }
    }

    /// Reads on until the subscription is over. Of one that `began_anew`, members that the registry does
    /// not name are kept for a while: it may have restarted, and their servers come back one by one.
    async fn read(
        &self,
        mut following: Following,
        began_anew: bool,
        backoff: &mut Backoff,
    ) -> Result<Infallible, Broken> {
        let mut settled = Instant::now();
        let mut is_settled = !began_anew;
        if began_anew {
            settled += 2 * following.ask_again();
        }
        loop {
            tokio::select! {
                change = following.next() => match change.map_err(Broken::Over)? {
                    Change::Current => *backoff = Backoff::new(),
                    Change::Bound(..) | Change::Unbound(_) | Change::Expired(_) | Change::Lagged => {}
                },
                () = self.look.notified() => {}
                () = sleep_until(settled), if !is_settled => is_settled = true,
            }
            let found = self.find().await.map_err(Broken::Failed)?;
            if let Some(group) = self.group.upgrade() {
                let kept = if is_settled { Vec::new() } else { group.references() };
                group.set_members(joined(found, kept));
            }
        }
    }

    async fn find(&self) -> Result<Vec<AnyRemote>, RegistryError> {
        match find(&self.places, &self.name).await {
            Ok(Found::One(object)) => Ok(vec![object]),
            Ok(Found::Group(members)) => Ok(members),
            Err(RegistryError::NotBound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// What a name stands for at the first registry that answers.
pub(crate) async fn find(places: &Places, name: &Name) -> Result<Found, RegistryError> {
    places.ask(|place| async move { place.service.find(name.to_string()).await }).await
}

/// Why the members have to be followed anew.
#[derive(Debug)]
#[expect(dead_code, reason = "they are told to the log")]
enum Broken {
    Over(Interrupted),
    Failed(RegistryError),
}

/// Those that were found, and those that are kept beside them.
fn joined(mut found: Vec<AnyRemote>, kept: Vec<AnyRemote>) -> Vec<AnyRemote> {
    for member in kept {
        if !found.contains(&member) {
            found.push(member);
        }
    }
    found
}
