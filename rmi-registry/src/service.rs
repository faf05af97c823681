//! The interface of a registry, as clients call it and servers implement it.

use rmi_core::AnyRemote;
use rmi_macros::remote;
use serde::{Deserialize, Serialize};

use crate::error::RegistryError;

/// The name of the service that a registry is at its node.
pub(crate) const SERVICE: &str = "registry";

/// How many entries a page holds at most.
pub(crate) const PAGE_LEN_MAX: u32 = 1000;

/// Names and what they are bound to.
#[remote(name = "rmi.Registry")]
pub(crate) trait NameService {
    /// Binds a free name.
    async fn bind(&self, name: String, object: AnyRemote) -> Result<(), RegistryError>;

    /// Binds a name, free or not.
    async fn rebind(&self, name: String, object: AnyRemote) -> Result<(), RegistryError>;

    /// Frees a name.
    async fn unbind(&self, name: String) -> Result<(), RegistryError>;

    /// What the name is bound to.
    async fn lookup(&self, name: String) -> Result<AnyRemote, RegistryError>;

    /// The first names that begin with `prefix` and come after `after`: at most `limit`, which is
    /// taken for a number from 1 to [`PAGE_LEN_MAX`].
    async fn list(&self, prefix: String, after: Option<String>, limit: u32) -> Result<Page, RegistryError>;
}

/// A part of the names, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Whether more names follow.
    pub(crate) more: bool,
}

/// A name of a registry.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name, as it is looked up.
    pub name: String,
    /// The names of the interfaces that the object bound to it implements.
    pub interfaces: Vec<String>,
}
