//! The callee's half of a session: calls arrive, and each is answered once.

use bytes::{Bytes, BytesMut};

use super::{
    Event, Phase, Session,
    calling::Kept,
    references::{HeldReference, Origin, Passed, Received},
};
use crate::{
    error::{Certainty, ErrorKind, RemoteError},
    id::{Fingerprint, MethodId, ObjectId},
    time::Time,
    wire::{
        Acquire, Call, CallId, Credit, Descriptor, Kind, Message, MethodNumber, Outcome, Refusal, ReplyHead, Target,
        WireError,
    },
};

/// A call that arrived.
#[derive(Debug)]
pub struct Arrived<O> {
    /// Its id, to answer it by.
    pub id: CallId,
    /// Whom it is for.
    pub target: ArrivedTarget<O>,
    /// The method's number on this link.
    pub number: MethodNumber,
    /// The method.
    pub method: MethodId,
    /// Its signature at the caller.
    pub fingerprint: Fingerprint,
    /// The references in the arguments.
    pub references: Vec<Received<O>>,
    /// The encoded arguments. Their bytes are let go of by [`Session::let_go`].
    pub payload: Bytes,
    /// When the caller stops waiting.
    pub deadline: Option<Time>,
    /// How deep it is nested.
    pub depth: u32,
}

/// Whom a call is for.
#[derive(Debug)]
pub enum ArrivedTarget<O> {
    /// An object.
    Object(O),
    /// A service of this name.
    Service(String),
}

/// Where a session finds the objects of its node that are asked for by id.
pub trait Directory<O> {
    /// The exported object of this id.
    fn find(&self, id: &ObjectId) -> Option<Passed<O>>;
}

impl<O: Clone> Session<O> {
    pub(super) fn handle_call(
        &mut self,
        now: Time,
        call: Call,
        directory: &impl Directory<O>,
        events: &mut Vec<Event<O>>,
    ) -> Result<(), WireError> {
        let references = self.receive(call.references)?;
        if self.phase != Phase::Open {
            // The close notice tells the caller that this call did not run.
            self.release_all(references);
            return Ok(());
        }
        if !self.receive_credit.handle_call(call.payload.len() as u64) {
            return Err(WireError::Broken("sent more calls than it has credit for"));
        }
        if !self.served.start(call.id) {
            return Err(WireError::Broken("used a call id again that is not answered"));
        }
        let method = self.learnt.method(call.method)?;
        let (method, fingerprint) = (method.id, method.fingerprint);
        let target = match call.target {
            Target::Slot(slot) => self.exports.get(slot).cloned().map(ArrivedTarget::Object),
            Target::Object(id) => directory.find(&id).map(|passed| ArrivedTarget::Object(passed.object)),
            Target::Service(name) => Some(ArrivedTarget::Service(name)),
            Target::Promise { .. } => return Err(WireError::Broken("called a promise, which this node never offered")),
        };
        let Some(target) = target else {
            self.release_all(references);
            self.let_go(call.payload.len() as u64);
            self.refuse(call.id, no_such_object());
            return Ok(());
        };
        events.push(Event::Call(Box::new(Arrived {
            id: call.id,
            target,
            number: call.method,
            method,
            fingerprint,
            references,
            payload: call.payload,
            deadline: call.time_left.map(|left| now + left),
            depth: call.depth,
        })));
        Ok(())
    }

    /// An object is asked for by its id: it is given out like one in a reply.
    pub(super) fn handle_acquire(&mut self, acquire: &Acquire, directory: &impl Directory<O>) -> Result<(), WireError> {
        if self.phase != Phase::Open {
            return Ok(());
        }
        if !self.served.start(acquire.id) {
            return Err(WireError::Broken("used a call id again that is not answered"));
        }
        match directory.find(&acquire.object) {
            Some(passed) => self.reply(acquire.id, Outcome::Ok, vec![passed], &mut BytesMut::new()),
            None => self.refuse(acquire.id, no_such_object()),
        }
        Ok(())
    }

    /// Answers a call with what its method returned. A call that is answered already, or whose
    /// link is lost, is left alone. A result that the peer cannot take becomes a refusal.
    pub fn reply(&mut self, id: CallId, outcome: Outcome, references: Vec<Passed<O>>, payload: &mut BytesMut) {
        let (length, count) = (payload.len() as u64, references.len());
        let too_large = if length.saturating_add(64 << 10) > self.peer.message_len && length > 64 << 10 {
            Some(format!("the result takes {length} bytes, and the caller takes messages of {}", self.peer.message_len))
        } else if count > self.limits.references as usize {
            Some(format!("the result holds {count} references, and a message may hold {}", self.limits.references))
        } else {
            None
        };
        if let Some(message) = too_large {
            self.effects.garbage.extend(references.into_iter().map(|passed| passed.object));
            payload.clear();
            self.refuse(id, RemoteError::new(ErrorKind::TooLarge, message).with_certainty(Certainty::Executed));
        } else if self.finish(id) {
            let (descriptors, kept) = self.describe(references);
            let head = ReplyHead { id, outcome, references: &descriptors };
            self.write(Kind::Reply, |out| head.encode_head(out), payload, None, None, kept);
        } else {
            self.effects.garbage.extend(references.into_iter().map(|passed| passed.object));
            payload.clear();
        }
    }

    /// Answers a call with an error of the runtime.
    pub fn refuse(&mut self, id: CallId, error: RemoteError) {
        if self.finish(id) {
            let mut body = BytesMut::new();
            Message::Refusal(Refusal { id, error }).encode(&mut body);
            self.write(Kind::Refusal, |_| (), &mut body, None, None, Kept::default());
        }
    }

    fn finish(&mut self, id: CallId) -> bool {
        let open = self.served.finish(id) && self.phase != Phase::Over;
        if open {
            self.receive_credit.handle_answer();
        }
        open
    }

    /// The bytes of a call's arguments are not held any more: gives the peer its credit back.
    pub fn let_go(&mut self, bytes: u64) {
        if let Some(bytes) = self.receive_credit.let_go(bytes)
            && self.phase != Phase::Over
        {
            self.push(&Message::Credit(Credit { calls: 0, bytes }));
        }
    }

    pub(super) fn receive_one(&mut self, descriptor: Descriptor) -> Result<Received<O>, WireError> {
        let (slot, id, interfaces, third) = match descriptor {
            Descriptor::Yours(slot) => {
                let returned = self.exports.get(slot).cloned();
                return Ok(returned.map_or(Received::Revoked, Received::Returned));
            }
            Descriptor::Mine { slot, object, interfaces } => (slot, object, interfaces, None),
            Descriptor::Third { slot, object, interfaces, owner, endpoints, .. } => {
                (slot, object, interfaces, Some((owner, endpoints)))
            }
        };
        let interfaces = self.learnt.interfaces(interfaces)?.clone();
        self.imports.receive(slot)?;
        Ok(Received::Held(HeldReference { slot, id, interfaces, third }))
    }
}

fn no_such_object() -> RemoteError {
    let message =
        "the object does not exist here, or exists no more: its references were released, or its node restarted";
    RemoteError::new(ErrorKind::NoSuchObject, message).with_certainty(Certainty::NotExecuted)
}

/// An own object as a reply passes it.
impl<O> Passed<O> {
    /// A reference to an object of this node.
    pub fn own(object: O, id: ObjectId, interfaces: crate::object::InterfaceSet) -> Self {
        Self { object, id, interfaces, origin: Origin::Own }
    }
}
