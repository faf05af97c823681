//! Follows the names of a registry for a watch, across its restarts.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rmi_core::{ErrorKind, Remote, RemoteError};
use rmi_macros::remote;
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};
use tracing::debug;

use crate::{
    backoff::Backoff,
    error::RegistryError,
    picture::Picture,
    places::Places,
    service::{Change, Subscription, Watcher},
    watch::Event,
    watchers::Scope,
};

/// How many changes wait for one who reads slowly.
const CHANGES_MAX: usize = 1024;

/// Where the registry puts what it tells, for one subscription.
#[derive(Debug, Default)]
struct Inbox {
    letters: Mutex<Letters>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Letters {
    changes: VecDeque<Change>,
    /// Some were thrown away, and no more are taken.
    overflowed: bool,
}

impl Inbox {
    /// The next change; an error where there will be none.
    async fn next(&self) -> Result<Change, Interrupted> {
        loop {
            {
                let mut letters = self.letters.lock();
                if letters.overflowed {
                    return Err(Interrupted::Lagged);
                }
                if let Some(change) = letters.changes.pop_front() {
                    return if change == Change::Lagged { Err(Interrupted::Lagged) } else { Ok(change) };
                }
            }
            self.news.notified().await;
        }
    }
}

#[remote]
impl Watcher for Inbox {
    async fn changed(&self, changes: Vec<Change>) -> rmi_core::Result<()> {
        let mut letters = self.letters.lock();
        if letters.overflowed || letters.changes.len() + changes.len() > CHANGES_MAX {
            letters.overflowed = true;
            letters.changes.clear();
        } else {
            letters.changes.extend(changes);
        }
        let overflowed = letters.overflowed;
        drop(letters);
        self.news.notify_one();
        if overflowed {
            return Err(RemoteError::new(ErrorKind::Overloaded, "the watcher has fallen behind and begins anew"));
        }
        Ok(())
    }
}

/// Why a subscription is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The registry is gone, or has forgotten the subscription.
    Lost,
    /// The user reads too slowly.
    Lagged,
    /// The user reads no more.
    Unread,
}

/// Tells what happens to these names, for as long as somebody listens.
pub(crate) async fn follow(places: &Places, scope: &Scope, tell: &mpsc::Sender<Result<Event, RegistryError>>) {
    let (mut picture, mut backoff) = (Picture::default(), Backoff::new());
    let mut begun = false;
    loop {
        match subscribe(places, scope).await {
            Ok(following) => {
                if begun && tell.send(Ok(Event::Missed)).await.is_err() {
                    return;
                }
                begun = true;
                picture.begin();
                match read(following, &mut picture, &mut backoff, tell).await {
                    Interrupted::Unread => return,
                    interrupted => debug!(?scope, ?interrupted, "a watch begins anew"),
                }
            }
            Err(error) if begun && matches!(error, RegistryError::Remote(_) | RegistryError::NoAnswer { .. }) => {
                debug!(?scope, %error, "a watch waits for its registry");
            }
            Err(error) => {
                // Nobody left to tell it to is no loss.
                let _ = tell.send(Err(error)).await;
                return;
            }
        }
        sleep(backoff.delay()).await;
    }
}

/// Reads on until the subscription is over.
async fn read(
    mut following: Following,
    picture: &mut Picture,
    backoff: &mut Backoff,
    tell: &mpsc::Sender<Result<Event, RegistryError>>,
) -> Interrupted {
    loop {
        let change = match following.next().await {
            Ok(change) => change,
            Err(interrupted) => return interrupted,
        };
        for event in picture.handle(change) {
            if event == Event::Current {
                *backoff = Backoff::new();
            }
            if tell.send(Ok(event)).await.is_err() {
                return Interrupted::Unread;
            }
        }
    }
}

/// A subscription at one registry.
pub(crate) struct Following {
    inbox: Arc<Inbox>,
    /// Ends when the registry tells nothing more.
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    ask_again: Duration,
}

pub(crate) async fn subscribe(places: &Places, scope: &Scope) -> Result<Following, RegistryError> {
    places
        .ask(|place| async move {
            let inbox = Arc::new(Inbox::default());
            let watcher = Remote::<dyn Watcher>::from_arc(inbox.clone());
            let subscribed = match scope {
                Scope::Below(prefix) => place.service.watch(prefix.clone(), watcher).await?,
                Scope::Just(name) => place.service.watch_name(name.clone(), watcher).await?,
            };
            let ask_again = subscribed.ask_again();
            Ok(Following { inbox, lost: Box::pin(lost(subscribed.subscription, ask_again)), ask_again })
        })
        .await
}

impl Following {
    /// The next change.
    ///
    /// # Cancel safety
    /// No change is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Change, Interrupted> {
        tokio::select! {
            biased;
            next = self.inbox.next() => next,
            () = &mut self.lost => Err(Interrupted::Lost),
        }
    }

    /// How often the registry wants those who bind names to look after them.
    pub(crate) const fn ask_again(&self) -> Duration {
        self.ask_again
    }
}

/// Ends when the registry tells nothing more.
async fn lost(subscription: Remote<dyn Subscription>, ask_again: Duration) {
    let asking = async {
        loop {
            sleep(ask_again).await;
            if !matches!(subscription.is_live().await, Ok(true)) {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        _ = Remote::broken(&subscription) => {}
    }
}
