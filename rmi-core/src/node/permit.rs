//! Whether a call may be made, where the node has an [`Authorizer`].

use std::panic::AssertUnwindSafe;

use super::Node;
use crate::{
    connection::Link,
    error::RemoteError,
    id::{FENCE, MethodId, PULL, fnv1a64},
    interceptor::Aim,
    interface,
    referent::Referent,
    session::ArrivedTarget,
    trust::{Access, Authorizer, denied},
    wire::MethodNumber,
};

impl Node {
    /// The object that a call is for, if its caller may call it. Who may not is not told whether it exists.
    #[cold]
    pub(super) fn resolve_permitted(
        &self,
        authorizer: &dyn Authorizer,
        link: &Link<Referent>,
        target: ArrivedTarget<Referent>,
        (method, number): (MethodId, MethodNumber),
    ) -> Result<Aim, RemoteError> {
        let service = match &target {
            ArrivedTarget::Service(name) => Some(name.clone()),
            _ => None,
        };
        let aim = self.resolve(link, target);
        // The runtime's own: they go with a reference, which somebody has given to the caller. A name is none.
        if service.is_none() && (method == FENCE || (method == PULL && is_stream(&aim))) {
            return aim;
        }
        let claimed;
        let (object, (interface, method)) = match &aim {
            Ok(Aim::Own(object)) => {
                let known = interface::named(method).filter(|(interface, _)| object.interfaces().contains(interface));
                (Some(object.id), known.unwrap_or_default())
            }
            Ok(Aim::Elsewhere(import)) => {
                claimed = link.known_method(number).map(|known| known.name);
                (Some(import.id()), claimed.as_deref().and_then(|name| split(name, method)).unwrap_or_default())
            }
            Err(_) => (None, interface::named(method).unwrap_or_default()),
        };
        let (principal, peer_addr) = (link.principal(), &link.peer_addr());
        let (peer, service) = (link.peer().node, service.as_deref());
        let access = Access { principal, peer, peer_addr, interface, method, object, service };
        // It is a user's: a panic forbids this call, and ends no link.
        let may = std::panic::catch_unwind(AssertUnwindSafe(|| authorizer.may_call(&access)));
        if may.unwrap_or(false) { aim } else { Err(denied(principal)) }
    }
}

fn is_stream(aim: &Result<Aim, RemoteError>) -> bool {
    match aim {
        Ok(Aim::Own(object)) => object.interfaces().is_stream(),
        Ok(Aim::Elsewhere(import)) => import.interfaces().is_stream(),
        Err(_) => false,
    }
}

/// The interface and the name of a method of another node, which only the caller knows: held to the number that its
/// owner will go by.
fn split(name: &str, method: MethodId) -> Option<(&str, &str)> {
    if fnv1a64(&[name]) == method.0 { name.rsplit_once('.') } else { None }
}
