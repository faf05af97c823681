//! What a name stands for: one object that is bound to it, or those that are joined under it.

use rmi_core::{AnyRemote, NodeId, Principal};
use tokio::task::AbortHandle;

use crate::{
    stamp::Stamp,
    table::{Generation, Refused},
    watchers::Told,
};

/// How many objects are joined under one name.
pub(crate) const MEMBERS_MAX: usize = 256;

/// An object under a name.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) object: AnyRemote,
    pub(crate) stamp: Stamp,
    /// The node that bound it; `None` for this process.
    pub(crate) by: Option<NodeId>,
    /// Who that is, where the registry tells callers apart.
    pub(crate) owner: Option<Principal>,
    pub(crate) generation: Generation,
    /// Waits for the end of the object.
    pub(crate) guard: AbortHandle,
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.guard.abort();
    }
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Holding {
    /// One object, bound to the name.
    One(Binding),
    /// A group: those that are joined under the name, at least one, in the order in which they joined.
    Group(Vec<Binding>),
}

impl Holding {
    pub(crate) fn bindings(&self) -> &[Binding] {
        match self {
            Self::One(binding) => std::slice::from_ref(binding),
            Self::Group(members) => members,
        }
    }

    /// Whether the link to the owner is there, of any one of a group.
    pub(crate) fn is_connected(&self) -> bool {
        self.bindings().iter().any(|binding| binding.object.is_connected())
    }

    /// Whether a name may be taken from it without a word: its owners are lost, and are who takes it now.
    pub(crate) fn may_be_taken_by(&self, owner: Option<&Principal>) -> bool {
        !self.is_connected() && self.bindings().iter().all(|binding| binding.owner.as_ref() == owner)
    }

    /// When the newest of it was bound.
    pub(crate) fn newest(&self) -> Option<Stamp> {
        self.bindings().iter().map(|binding| binding.stamp).max()
    }

    /// The object bound to the name, or one that is joined under it.
    pub(crate) fn any(&self) -> Option<&AnyRemote> {
        let bindings = self.bindings();
        let connected = bindings.iter().find(|binding| binding.object.is_connected());
        connected.or_else(|| bindings.first()).map(|binding| &binding.object)
    }

    /// Takes those out of a group that this does not hold for, unless that is all of them: then the
    /// name has to go.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&Binding) -> bool) -> Option<Self> {
        let Self::Group(members) = self else { return None };
        if !members.iter().any(&keeps) {
            return None;
        }
        let (kept, gone) = std::mem::take(members).into_iter().partition(keeps);
        *members = kept;
        Some(Self::Group(gone))
    }
}

/// Whether an object may be joined to this group. An object is joined once: what the group has of it
/// already is returned by its place.
pub(crate) fn place_of(members: &[Binding], object: &AnyRemote) -> Result<Option<usize>, Refused> {
    if let Some(known) = members.iter().position(|member| member.object == *object) {
        return Ok(Some(known));
    }
    let interfaces = members.first().map(|member| member.object.interfaces()).unwrap_or_default();
    if interfaces != object.interfaces() {
        return Err(Refused::Interfaces(interfaces));
    }
    if members.len() >= MEMBERS_MAX { Err(Refused::Crowded) } else { Ok(None) }
}

impl Told for Holding {
    fn interfaces(&self) -> Vec<String> {
        self.any().map(AnyRemote::interfaces).unwrap_or_default()
    }

    fn members(&self) -> Option<u32> {
        match self {
            Self::One(_) => None,
            Self::Group(members) => Some(u32::try_from(members.len()).unwrap_or(u32::MAX)),
        }
    }

    fn stamp(&self) -> Stamp {
        // Another one for other members, and the same for the same at a registry that restarted.
        self.bindings().iter().map(|binding| binding.stamp).fold(Stamp::default(), Stamp::mix)
    }
}
