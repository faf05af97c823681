//! Follows the names of a registry for a watch, across its restarts.

use std::{collections::VecDeque, sync::Arc, time::Duration};

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
enum Interrupted {
    /// The registry is gone, or has forgotten the subscription.
    Lost,
    /// The user reads too slowly.
    Lagged,
    /// The user reads no more.
    Unread,
}

/// Tells what happens to the names with this prefix, for as long as somebody listens.
pub(crate) async fn follow(places: &Places, prefix: &str, tell: &mpsc::Sender<Result<Event, RegistryError>>) {
    let (mut picture, mut backoff) = (Picture::default(), Backoff::new());
    let mut begun = false;
    loop {
        match subscribe(places, prefix).await {
            Ok(subscribed) => {
                if begun && tell.send(Ok(Event::Missed)).await.is_err() {
                    return;
                }
                begun = true;
                picture.begin();
                match subscribed.read(&mut picture, &mut backoff, tell).await {
                    Interrupted::Unread => return,
                    interrupted => debug!(prefix, ?interrupted, "a watch begins anew"),
                }
            }
            Err(error) if begun && matches!(error, RegistryError::Remote(_) | RegistryError::NoAnswer { .. }) => {
                debug!(prefix, %error, "a watch waits for its registry");
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

/// A watch at one registry.
struct Following {
    inbox: Arc<Inbox>,
    subscription: Remote<dyn Subscription>,
    ask_again: Duration,
}

async fn subscribe(places: &Places, prefix: &str) -> Result<Following, RegistryError> {
    places
        .ask(|place| async move {
            let inbox = Arc::new(Inbox::default());
            let watcher = Remote::<dyn Watcher>::from_arc(inbox.clone());
            let subscribed = place.service.watch(prefix.to_owned(), watcher).await?;
            let ask_again = subscribed.ask_again();
            Ok(Following { inbox, subscription: subscribed.subscription, ask_again })
        })
        .await
}

impl Following {
    /// Reads on until the subscription is over.
    async fn read(
        &self,
        picture: &mut Picture,
        backoff: &mut Backoff,
        tell: &mpsc::Sender<Result<Event, RegistryError>>,
    ) -> Interrupted {
        let mut lost = std::pin::pin!(self.lost());
        loop {
            let next = tokio::select! {
                biased;
                next = self.inbox.next() => next,
                () = &mut lost => Err(Interrupted::Lost),
            };
            let change = match next {
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

    /// Ends when the registry tells nothing more.
    async fn lost(&self) {
        let asking = async {
            loop {
                sleep(self.ask_again).await;
                if !matches!(self.subscription.is_live().await, Ok(true)) {
                    return;
                }
            }
        };
        tokio::select! {
            () = asking => {}
            _ = Remote::broken(&self.subscription) => {}
        }
    }
}
