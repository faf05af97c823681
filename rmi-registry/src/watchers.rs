//! Those who watch the names of a registry, at the registry: what each is still to be told.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::{sync::Notify, task::AbortHandle};

use crate::{
    service::{Change, Entry},
    stamp::Stamp,
    table::{Slice, Table},
};

/// How many watchers a registry has.
const WATCHERS_MAX: usize = 10_000;
/// How many changes wait for one watcher; at one more it has lagged behind.
const CHANGES_MAX: usize = 1024;
/// How many changes are told at once.
const BATCH_LEN_MAX: usize = 256;

/// What can be told to a watcher.
pub(crate) trait Told {
    fn interfaces(&self) -> Vec<String>;
    fn members(&self) -> Option<u32>;
    fn stamp(&self) -> Stamp;
}

/// The names that are watched.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// Those that begin with this.
    Below(String),
    /// This one.
    Just(String),
}

/// One watcher among those of its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WatcherId(u64);

/// The watchers of a registry. One that is slow delays nobody: its changes wait up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    feeds: HashMap<WatcherId, Feed>,
    ids: u64,
}

/// What one watcher is still to be told. Ends its task when dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    scope: Scope,
    changes: VecDeque<Change>,
    initial: Initial,
    lagged: bool,
    news: Arc<Notify>,
    task: Option<AbortHandle>,
}

/// How far the names that were bound already have been told.
#[derive(Debug)]
enum Initial {
    /// Up to this name. A change beyond it is told when the names there are.
    UpTo(Option<String>),
    Done,
}

/// What the task of a watcher does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Tells these.
    Tell(Vec<Change>),
    /// Waits for news.
    Wait(Arc<Notify>),
    /// Ends.
    End,
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Watchers {
    /// A new watcher, unless there are too many.
    pub(crate) fn add(&mut self, scope: Scope) -> Option<WatcherId> {
        if self.feeds.len() >= WATCHERS_MAX {
            return None;
        }
        self.ids += 1;
        let id = WatcherId(self.ids);
        let (changes, news) = (VecDeque::new(), Arc::new(Notify::new()));
        let feed = Feed { scope, changes, initial: Initial::UpTo(None), lagged: false, news, task: None };
        self.feeds.insert(id, feed);
        Some(id)
    }

    /// The task that tells the watcher. It ends with the feed.
    pub(crate) fn set_task(&mut self, id: WatcherId, task: AbortHandle) {
        match self.feeds.get_mut(&id) {
            Some(feed) => feed.task = Some(task),
            None => task.abort(),
        }
    }

    /// Takes a watcher out, to be dropped outside of any lock.
    pub(crate) fn remove(&mut self, id: WatcherId) -> Option<Feed> {
        self.feeds.remove(&id)
    }

    pub(crate) fn contains(&self, id: WatcherId) -> bool {
        self.feeds.contains_key(&id)
    }

    /// A name has changed.
    pub(crate) fn tell(&mut self, name: &str, change: impl Fn() -> Change) {
        for feed in self.feeds.values_mut().filter(|feed| feed.wants(name)) {
            if feed.changes.len() < CHANGES_MAX {
                feed.changes.push_back(change());
            } else {
                feed.changes.clear();
                feed.lagged = true;
            }
            feed.news.notify_one();
        }
    }

    /// What comes next for a watcher of this table's names.
    pub(crate) fn next<B: Told>(&mut self, id: WatcherId, table: &Table<B>) -> Next {
        let Some(feed) = self.feeds.get_mut(&id) else { return Next::End };
        if feed.lagged {
            // The task ends by itself once it has told this.
            feed.task = None;
            self.feeds.remove(&id);
            return Next::Tell(vec![Change::Lagged]);
        }
        if feed.changes.is_empty() {
            feed.tell_initial(table);
        }
        if feed.changes.is_empty() {
            return Next::Wait(feed.news.clone());
        }
        let len = feed.changes.len().min(BATCH_LEN_MAX);
        Next::Tell(feed.changes.drain(..len).collect())
    }

    pub(crate) fn clear(&mut self) -> Vec<Feed> {
        std::mem::take(&mut self.feeds).into_values().collect()
    }
}

impl Feed {
    fn wants(&self, name: &str) -> bool {
        let told = match &self.initial {
            Initial::UpTo(last) => last.as_deref().is_some_and(|last| name <= last),
            Initial::Done => true,
        };
        let is_watched = match &self.scope {
            Scope::Below(prefix) => name.starts_with(prefix),
            Scope::Just(watched) => name == watched,
        };
        told && !self.lagged && is_watched
    }

    /// Puts the next of the names that were bound already among the changes.
    fn tell_initial<B: Told>(&mut self, table: &Table<B>) {
        let Initial::UpTo(last) = &self.initial else { return };
        let Slice { bindings, more } = match &self.scope {
            Scope::Below(prefix) => table.slice(prefix, last.as_deref(), BATCH_LEN_MAX),
            Scope::Just(watched) => table.just(watched),
        };
        let bound = bindings.iter().map(|(name, binding)| bound(name.as_str(), *binding));
        self.changes.extend(bound);
        if more {
            self.initial = Initial::UpTo(bindings.last().map(|(name, _)| name.to_string()));
        } else {
            self.changes.push_back(Change::Current);
            self.initial = Initial::Done;
        }
    }
}

/// That a name is bound to this.
pub(crate) fn bound(name: &str, binding: &impl Told) -> Change {
    let (interfaces, members) = (binding.interfaces(), binding.members());
    Change::Bound(Entry { name: name.to_owned(), interfaces, members }, binding.stamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn all() -> Scope {
        Scope::Below(String::new())
    }

    impl Told for Stamp {
        fn interfaces(&self) -> Vec<String> {
            Vec::new()
        }
        fn members(&self) -> Option<u32> {
            None
        }
        fn stamp(&self) -> Stamp {
            *self
        }
    }

    /// A table and those who watch it.
    struct Watched {
        table: Table<Stamp>,
        watchers: Watchers,
    }

    impl Watched {
        fn new() -> Self {
            Self { table: Table::new(), watchers: Watchers::default() }
        }

        fn bind(&mut self, name: &str) {
            let stamp = Stamp::draw();
            self.table.rebind(Name::new(name).unwrap(), |_| stamp).unwrap();
            self.watchers.tell(name, || bound(name, &stamp));
        }

        fn unbind(&mut self, name: &str) {
            self.table.unbind(name);
            self.watchers.tell(name, || Change::Unbound(name.into()));
        }

        /// All that is told now: `+` bound, `-` unbound, `.` current, `!` lagged.
        fn told(&mut self, id: WatcherId) -> Vec<String> {
            let mut told = Vec::new();
            while let Next::Tell(changes) = self.watchers.next(id, &self.table) {
                assert!(changes.len() <= BATCH_LEN_MAX);
                told.extend(changes.iter().map(|change| match change {
                    Change::Bound(entry, _) => format!("+{}", entry.name),
                    Change::Unbound(name) | Change::Expired(name) => format!("-{name}"),
                    Change::Current => ".".into(),
                    Change::Lagged => "!".into(),
                }));
            }
            told
        }
    }

    #[test]
    fn a_watcher_is_told_what_is_there_then_what_changes() {
        let mut watched = Watched::new();
        watched.bind("a/1");
        watched.bind("b");
        let id = watched.watchers.add(Scope::Below("a/".into())).unwrap();
        watched.bind("a/2");
        assert_eq!(watched.told(id), ["+a/1", "+a/2", "."]);
        watched.bind("a/3");
        watched.unbind("b");
        watched.unbind("a/1");
        watched.bind("a/1");
        assert_eq!(watched.told(id), ["+a/3", "-a/1", "+a/1"]);
        assert!(watched.told(id).is_empty());
    }

    #[test]
    fn a_watcher_of_one_name_is_told_of_that_alone() {
        let mut watched = Watched::new();
        watched.bind("a");
        watched.bind("a/1");
        let [here, gone] = ["a", "b"].map(|name| watched.watchers.add(Scope::Just(name.into())).unwrap());
        assert_eq!((watched.told(here), watched.told(gone)), (vec!["+a".into(), ".".into()], vec![".".to_owned()]));
        watched.bind("a/2");
        watched.bind("b");
        watched.unbind("a");
        assert_eq!((watched.told(here), watched.told(gone)), (vec!["-a".to_owned()], vec!["+b".to_owned()]));
    }

    #[test]
    fn a_change_among_the_names_not_told_yet_is_told_with_them() {
        let mut watched = Watched::new();
        let names: Vec<String> = (0..BATCH_LEN_MAX + 2).map(|number| format!("{number:04}")).collect();
        names.iter().for_each(|name| watched.bind(name));
        let id = watched.watchers.add(all()).unwrap();
        let Next::Tell(first) = watched.watchers.next(id, &watched.table) else { panic!("nothing told") };
        assert_eq!(first.len(), BATCH_LEN_MAX);
        watched.unbind("0000");
        watched.unbind("0256");
        watched.bind("9999");
        assert_eq!(watched.told(id), ["-0000", "+0257", "+9999", "."]);
    }

    #[test]
    fn a_watcher_that_lags_behind_is_told_so_and_ends() {
        let mut watched = Watched::new();
        let (slow, quick) = (watched.watchers.add(all()).unwrap(), watched.watchers.add(all()).unwrap());
        assert_eq!((watched.told(slow), watched.told(quick)), (vec![".".to_owned()], vec![".".to_owned()]));
        for _ in 0..=CHANGES_MAX {
            watched.bind("a");
            assert_eq!(watched.told(quick), ["+a"]);
        }
        assert_eq!(watched.told(slow), ["!"]);
        assert!(!watched.watchers.contains(slow) && watched.watchers.contains(quick));
    }

    #[test]
    fn watchers_are_bounded() {
        let mut watchers = Watchers::default();
        let first = watchers.add(all()).unwrap();
        (1..WATCHERS_MAX).for_each(|_| assert!(watchers.add(all()).is_some()));
        assert!(watchers.add(all()).is_none());
        assert!(watchers.remove(first).is_some());
        assert!(watchers.add(all()).is_some());
    }
}
