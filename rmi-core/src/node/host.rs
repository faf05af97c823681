//! What a node does for its links: finds objects, serves calls, takes references in, and keeps
//! what lost peers held for their lease.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use bytes::BytesMut;
use tokio::sync::watch;

use super::{Left, Node, WeakNode, admission::Place};
use crate::{
    connection::{Driver, Ended, Host, Link, Redial, is_large},
    context::{Current, InContext},
    endpoint::Endpoint,
    error::{Certainty, ErrorKind, RemoteError},
    id::{FENCE, NodeId, ObjectId},
    import::Import,
    interceptor::{Aim, Served, Side},
    object::{InterfaceSet, Whereabouts},
    principal::Principal,
    referent::{Erased, Object, Referent},
    session::{Arrived, ArrivedTarget, Directory, Established, HeldReference, Passed, Received, Session, Third},
    skeleton::{Handler, IncomingCall, Line, Request, Responder, Running},
    time::Time,
    transport::Socket,
    wire::{LinkId, Outcome, Payload, Resume},
};

impl Directory<Referent> for Node {
    fn find(&self, id: &ObjectId) -> Option<Passed<Referent>> {
        let object = self.find_object(id)?;
        let (id, interfaces) = (object.id, object.interfaces().clone());
        Some(Passed::own(Referent::Own(object), id, interfaces))
    }
}

impl Host<Referent> for Node {
    type Handler = InContext;
    type Line = Arc<Line>;

    fn line(&self, link: &Arc<Link<Referent>>) -> Arc<Line> {
        Arc::new(Line { link: link.clone(), node: self.clone() })
    }

    fn serve(&self, line: &Arc<Line>, call: Arrived<Referent>) -> Option<(ObjectId, InContext)> {
        let link = &line.link;
        let references = call.references.into_iter().map(|reference| self.receive(link, reference)).collect();
        let responder = Responder::new(line.clone(), call.id);
        let is_large = is_large(&call.payload);
        let request = Request { payload: call.payload, references, from: Some((line.clone(), call.cost)) };
        if call.depth > self.limits().depth {
            let (depth, limit) = (call.depth, self.limits().depth);
            let message = format!("calls nest {depth} deep, and may {limit} deep");
            responder.refuse(RemoteError::new(ErrorKind::Overloaded, message).with_certainty(Certainty::NotExecuted));
            return None;
        }
        let (deadline, depth) = (call.deadline, call.depth);
        let current = Current { line: line.clone(), deadline, depth, extras: call.extras };
        let (method, fingerprint) = (call.method, call.fingerprint);
        let permitted = match &self.trust().authorizer {
            None => self.resolve(link, call.target),
            Some(authorizer) => self.resolve_permitted(&**authorizer, link, call.target, (method, call.number)),
        };
        let aim = match permitted {
            Ok(aim) => aim,
            Err(error) => {
                responder.refuse(error);
                return None;
            }
        };
        let object = match aim {
            Aim::Own(object) if method == FENCE => {
                return Some((object.id, InContext::new(answer_fence(responder), current, false)));
            }
            Aim::Own(object) if !self.interceptors().see(Side::Server, method) => object,
            aim => {
                // What is relayed is not decoded.
                let is_large = is_large && matches!(aim, Aim::Own(_));
                let name = link.known_method(call.number).map_or_else(|| "?".into(), |known| known.name);
                let extras = current.extras.clone();
                let served = Served { method, fingerprint, name, request, deadline, depth, extras };
                let order = aim.order();
                let handler = self.serve_around(line, aim, served, responder);
                return Some((order, InContext::new(handler, current, is_large)));
            }
        };
        let incoming = IncomingCall { method, fingerprint, request, responder };
        match object.erased.dispatch(incoming) {
            Ok(handler) => Some((object.id, InContext::new(self.note_detached(handler), current, is_large))),
            Err(incoming) => {
                incoming.responder.refuse(no_such_method(&object));
                None
            }
        }
    }

    /// The peer closes: new links replace this one, and what it gave of others is asked of their
    /// owners.
    fn handle_closing(&self, link: &Arc<Link<Referent>>) {
        self.0.dials.forget(link);
        self.leave_giver(link);
    }

    fn lease(&self) -> Duration {
        self.0.lease
    }

    fn connect_timeout(&self) -> Duration {
        self.limits().connect_timeout
    }

    fn resume(&self, link: &Arc<Link<Referent>>, resume: Resume) -> Redial {
        Box::pin(self.clone().redial(link.clone(), resume))
    }

    /// What was given over the link is asked of its owners: the giver may be gone for good.
    fn handle_suspended(&self, link: &Arc<Link<Referent>>) {
        self.give_place_back(link);
        self.leave_giver(link);
        self.0.quiet.notify_waiters();
    }

    fn handle_resumed(&self, link: &Arc<Link<Referent>>) {
        self.0.admission.settle(link.number());
        self.merge_twins(link.peer().node);
    }

    fn handle_revoked(&self) {
        self.0.deaths.notify_waiters();
        self.tell_holders();
    }

    fn handle_merge(&self, link: &Arc<Link<Referent>>, by: LinkId) {
        self.merge(link, by);
    }

    fn handle_quiet(&self) {
        self.0.quiet.notify_waiters();
    }

    fn is_giver_of(&self, link: &Link<Referent>) -> bool {
        // Of objects of the peer, and of what the peer itself holds for this node.
        let passes_on = |given: &Referent| matches!(given, Referent::Foreign(import) if import.is_held_over(link));
        let others = self.0.links.lock().relaying();
        let given =
            others.iter().filter(|other| other.number() != link.number()).flat_map(|other| other.foreign_given());
        given.into_iter().any(|(_, given)| passes_on(&given))
            || self.0.leases.lock().holdings_mut().any(|left| left.given.iter().any(passes_on))
    }

    fn handle_ended(&self, link: &Arc<Link<Referent>>, ended: &Ended, given: Vec<Referent>) {
        self.0.dials.forget(link);
        self.0.made_before.fetch_add(link.calls_made(), Ordering::Relaxed);
        self.0.links.lock().remove(link);
        let place = self.0.admission.take(link.number());
        // While this node closes, what others hold through it must not be released to an owner whose
        // link is still open.
        let closing = self.is_closed().then_some(Time::NEVER);
        let lease = ended.lost.map(|lost| lost + self.0.lease).filter(|ends| *ends > self.now());
        if given.is_empty() || ended.goodbye {
            link.discard(given);
        } else if let Some(ends) = closing.or(lease) {
            let place = place.map(Place::outlive);
            self.0.leases.lock().keep(ends, Left { given, _place: place });
            self.0.leases_changed.send_replace(());
        } else {
            link.discard(given);
        }
        self.leave_giver(link);
        self.tell_holders();
        self.0.quiet.notify_waiters();
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Node {
    /// A call that interceptors stand around, or that is for another node.
    #[cold]
    fn serve_around(&self, line: &Arc<Line>, aim: Aim, served: Served, responder: Responder) -> Handler {
        let method = served.method;
        let handler = match aim {
            Aim::Elsewhere(import) if !self.interceptors().see(Side::Server, method) || method == FENCE => {
                Handler::from(self.relay(import, served, responder))
            }
            aim => served.intercept(aim, line.clone(), responder),
        };
        self.note_detached(handler)
    }

    /// The object that a call is for.
    // Nearly all calls take it from here alone.
    #[inline(always)]
    pub(super) fn resolve(&self, link: &Link<Referent>, target: ArrivedTarget<Referent>) -> Result<Aim, RemoteError> {
        let refused = |kind, message: &str| RemoteError::new(kind, message).with_certainty(Certainty::NotExecuted);
        let unexported = || refused(ErrorKind::NoSuchObject, "the object was unexported: it is called no more");
        let object = match target {
            ArrivedTarget::Object(Referent::Own(object)) | ArrivedTarget::Promised(Referent::Own(object)) => object,
            ArrivedTarget::Object(Referent::Foreign(dead)) | ArrivedTarget::Promised(Referent::Foreign(dead))
                if dead.owner() == self.id() =>
            {
                return Err(unexported());
            }
            ArrivedTarget::Object(Referent::Foreign(import)) => {
                return self.may_relay(link, &import).map(|()| Aim::Elsewhere(import));
            }
            // Its caller cannot know yet whom to dial.
            ArrivedTarget::Promised(Referent::Foreign(import)) => return Ok(Aim::Elsewhere(import)),
            // None is ever given out: what is passed is what it leads to.
            ArrivedTarget::Object(Referent::Named(_) | Referent::Balanced(_) | Referent::Service(_))
            | ArrivedTarget::Promised(Referent::Named(_) | Referent::Balanced(_) | Referent::Service(_)) => {
                return Err(refused(ErrorKind::NoSuchObject, "the reference leads nowhere"));
            }
            ArrivedTarget::Service(name) => self.0.services.lock().get(&name).cloned().ok_or_else(|| {
                let message = format!("this node serves no {name:?}: is it the right address?");
                refused(ErrorKind::NoSuchObject, &message)
            })?,
        };
        // It may have been on its way to a peer when it was unexported.
        if object.is_unexported() { Err(unexported()) } else { Ok(Aim::Own(object)) }
    }

    /// A reference that arrived, as this node sees it: its own object again, or one of another.
    pub(crate) fn receive(&self, link: &Arc<Link<Referent>>, reference: Received<Referent>) -> Referent {
        match reference {
            Received::Returned(referent) => referent,
            Received::Revoked => {
                let why = "the reference was revoked before it came back";
                let nothing = (ObjectId::from_bytes([0; 16]), InterfaceSet::new(Vec::new()));
                Referent::Foreign(Import::dead(self, self.id(), nothing.0, nothing.1, why))
            }
            Received::Held(held) => {
                let owner = held.third.as_ref().map_or_else(|| link.peer().node, |third| third.owner);
                if owner == self.id() { self.come_home(link, held) } else { self.import(link, held) }
            }
        }
    }

    /// A reference to an object of this node came back by way of others.
    fn come_home(&self, link: &Arc<Link<Referent>>, held: HeldReference) -> Referent {
        let found = self.find_object(&held.id);
        link.release(held.slot);
        match found {
            Some(object) => Referent::Own(object),
            None => {
                let why = "the object has been dropped by its node, which is this one";
                Referent::Foreign(Import::dead(self, self.id(), held.id, held.interfaces, why))
            }
        }
    }

    fn import(&self, link: &Arc<Link<Referent>>, mut held: HeldReference) -> Referent {
        let may_move = held.third.is_some() || self.may_have_twin(link);
        if let Some(Third { owner, endpoints, route }) = &mut held.third
            && route.contains(&self.id())
        {
            // Whoever called it by way of the giver would come back here. This node gave it out, and has it.
            if let Some(known) = self.given_of(*owner, held.id) {
                link.release(held.slot);
                return known;
            }
            route.clear();
            if endpoints.is_empty() {
                link.release(held.slot);
                let why = "the reference leads back to this node, which does not hold the object any more";
                return Referent::Foreign(Import::dead(self, *owner, held.id, held.interfaces, why));
            }
        }
        let import = Import::new(self, link, held);
        if may_move {
            link.note_movable();
            let mut movable = self.0.movable.lock();
            if movable.len() == movable.capacity() {
                movable.retain(|import| import.strong_count() > 0);
                let alive = movable.len();
                movable.reserve(alive.max(16));
            }
            movable.push(Arc::downgrade(&import));
        }
        Referent::Foreign(import)
    }

    /// Whether this node and the peer may both dial each other.
    fn may_have_twin(&self, link: &Link<Referent>) -> bool {
        self.is_listening() && !link.peer().endpoints.is_empty()
    }

    /// The references that are held over this link, of those that may change it.
    pub(super) fn held_over(&self, link: &Link<Referent>) -> Vec<Arc<Import>> {
        let mut movable = self.0.movable.lock();
        movable.retain(|import| import.strong_count() > 0);
        let alive = movable.len();
        movable.shrink_to(2 * alive);
        let held: Vec<_> = movable.iter().filter_map(Weak::upgrade).collect();
        drop(movable);
        held.into_iter().filter(|import| import.is_held_over(link)).collect()
    }

    /// The peer of a link is given an object of another node.
    pub(crate) fn note_relaying(&self, link: &Link<Referent>) {
        if !link.is_relaying() {
            // First: whoever sees the mark finds the link.
            self.0.links.lock().relay(link);
            link.note_relaying();
        }
    }

    /// An object of another node that this node has given out.
    fn given_of(&self, owner: NodeId, id: ObjectId) -> Option<Referent> {
        let relaying = self.0.links.lock().relaying();
        relaying.iter().find_map(|link| link.given_of(owner, id))
    }

    /// Where the peer itself may be dialled.
    pub(crate) fn whereabouts(&self, link: &Link<Referent>) -> Arc<Whereabouts> {
        let look = || {
            let endpoints = self.dialable(link, &link.peer().endpoints).collect();
            Whereabouts { owner: link.peer().node, endpoints, route: Vec::new() }
        };
        link.whereabouts(look).clone()
    }

    /// The endpoints that this node may dial of those that a peer named, as seen from here.
    pub(crate) fn dialable(
        &self,
        link: &Link<Referent>,
        named: &[Endpoint],
    ) -> impl Iterator<Item = Endpoint> + use<'_> {
        let seen = link.peer_addr();
        let as_seen = named.iter().map(|endpoint| endpoint.seen_from(seen.ip())).collect::<Vec<_>>();
        as_seen.into_iter().filter(move |endpoint| self.0.policy.allows(endpoint, &seen))
    }

    /// Objects of others may be gone for good: those who hold them through this node hear of it.
    fn tell_holders(&self) {
        let relaying = self.0.links.lock().relaying();
        for link in relaying {
            for (slot, given) in link.foreign_given() {
                if matches!(given, Referent::Foreign(import) if import.is_gone()) {
                    link.revoke(slot);
                }
            }
        }
    }

    /// A node that gave references of others goes: each is asked of its owner now, while the
    /// giver's lease still keeps it.
    fn leave_giver(&self, giver: &Arc<Link<Referent>>) {
        if !giver.has_movable() {
            return;
        }
        for import in self.held_over(giver).into_iter().filter(|import| import.is_pinned_by(giver)) {
            let places = self.0.leaving.clone();
            self.spawn(async move {
                // A giver may have given very many, of owners and at endpoints of its choice.
                let _place = places.acquire_owned().await;
                if let Err(error) = import.leave_giver().await {
                    tracing::debug!(object = %import.id(), %error, "the owner cannot be reached");
                }
            });
        }
    }

    /// A link without a connection takes no place of one.
    pub(super) fn give_place_back(&self, link: &Arc<Link<Referent>>) {
        if link.is_suspended() && !link.is_taken_up() {
            let counts = link.counts();
            self.0.admission.lose(link, counts.exports + counts.imports > 0);
        }
    }

    /// Begins a link over a socket whose hellos were exchanged; `dialled` says where this side
    /// dialled, and `place` is that of a peer that did. `read` holds what arrived since.
    pub(super) fn open_link(
        &self,
        socket: Arc<dyn Socket>,
        established: Established,
        principal: Principal,
        dialled: Option<Endpoint>,
        place: Option<Place>,
        read: BytesMut,
    ) -> Arc<Link<Referent>> {
        let session = Session::new(established, self.limits().clone(), self.now());
        let link = Link::new(socket.clone(), session, principal, dialled, self.limits().clone(), self.0.clock);
        tracing::debug!(peer = %link.describe_peer(), principal = %link.principal(), dialled = ?link.dialled(), "connected");
        self.0.open.send_modify(|open| *open += 1);
        if let Some(place) = place {
            self.0.admission.keep(link.number(), place);
        }
        self.0.links.lock().insert(&link);
        if self.is_closed() {
            // It opened while the node was closing, which may have missed it.
            link.leave(true);
        }
        let driver = Driver::new(link.clone(), Arc::new(self.clone()), socket, read);
        self.spawn(driver.drive());
        self.merge_twins(link.peer().node);
        link
    }
}

/// The object that was found has no such method.
pub(crate) fn no_such_method(object: &Object<dyn Erased>) -> RemoteError {
    let found = object.interfaces().names().join(", ");
    let message = format!("the object has no such method; its interfaces are {found}");
    RemoteError::new(ErrorKind::NoSuchMethod, message).with_certainty(Certainty::NotExecuted)
}

/// Whatever was called before it on the same object has begun.
fn answer_fence(responder: Responder) -> Running {
    Box::pin(async move { responder.pass_on(Outcome::Ok, Payload::default(), Vec::new()) })
}

/// Ends leases as they run out.
pub(super) async fn end_leases(node: WeakNode, mut changed: watch::Receiver<()>) {
    loop {
        let Some(alive) = node.upgrade() else { return };
        let over = alive.0.leases.lock().handle_timeout(alive.now());
        if !over.is_empty() {
            // The last reference to an object may be among them, and its `Drop` may panic.
            alive.spawn(async move { drop(over) });
        }
        let next = alive.0.leases.lock().next_timeout().map(|next| alive.instant(next));
        drop(alive);
        let ended = match next {
            Some(next) => tokio::select! {
                biased;
                () = tokio::time::sleep_until(next) => Ok(()),
                changed = changed.changed() => changed,
            },
            None => changed.changed().await,
        };
        if ended.is_err() {
            return;
        }
    }
}
