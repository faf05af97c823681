//! The registries that one URL names.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rmi_core::{Node, Remote, RemoteError};

use crate::{
    error::RegistryError,
    service::{NameService, SERVICE},
    url::RegistryUrl,
};

/// One registry.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) service: Remote<dyn NameService>,
}

/// All registries of a URL, at least one. Clones share which of them answered last.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The URL as a whole.
    url: Arc<str>,
    places: Arc<[Place]>,
    answered: Arc<AtomicUsize>,
}

impl Places {
    pub(crate) fn new(node: &Node, url: &RegistryUrl) -> Result<Self, RegistryError> {
        let place =
            |(url, endpoint)| Place { url, service: Remote::<dyn NameService>::service(node, endpoint, SERVICE) };
        let places = url.dialled()?.into_iter().map(place).collect();
        Ok(Self { url: url.to_string().into(), places, answered: Arc::default() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The registries in the order in which they are named.
    pub(crate) fn all(&self) -> &[Place] {
        &self.places
    }

    /// What the first registry says that answers, refusals too. The one that answered last is asked
    /// first.
    pub(crate) async fn ask<T, F>(&self, ask: impl Fn(Place) -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let (named, begin) = (self.places.len(), self.answered.load(Ordering::Relaxed));
        let mut silent = Vec::new();
        for (at, place) in self.places.iter().enumerate().cycle().skip(begin).take(named) {
            match ask(place.clone()).await {
                Err(RegistryError::Remote(error)) => silent.push((place.url.clone(), error)),
                answer => {
                    self.answered.store(at, Ordering::Relaxed);
                    return answer.map_err(|error| error.at(&place.url));
                }
            }
        }
        Err(self.no_answer(silent))
    }

    /// That none of the registries has answered, each with its reason.
    pub(crate) fn no_answer(&self, mut silent: Vec<(String, RemoteError)>) -> RegistryError {
        match (silent.pop(), silent.is_empty()) {
            (Some((_, error)), true) => error.into(),
            (last, _) => {
                silent.extend(last);
                RegistryError::NoAnswer { registry: self.url.to_string(), reasons: silent }
            }
        }
    }
}
