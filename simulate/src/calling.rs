//! How calls are made in the simulated world, and judged.

use std::sync::Arc;

use rmi_core::{Certainty, Remote, RemoteError};
use tokio::time::Instant;

use crate::{
    call::{Call, End, Errand, Tag, Target},
    network::NodeKey,
    path::Path,
    rules,
    thing::Thing,
    world::{Family, ObjectKey, Phase, State, World},
};

/// What a call brings back.
enum Answer {
    Number(u64),
    References(Vec<Remote<dyn Thing>>),
}

impl World {
    /// Makes a call and judges how it ends. Its place in the order of calls is that of the first
    /// poll.
    pub(crate) async fn call(
        self: &Arc<Self>,
        caller: NodeKey,
        target: Target,
        remote: Remote<dyn Thing>,
        errand: Errand,
    ) {
        let tag = self.begin_call(caller, target, &errand);
        let mut unfinished = Unfinished { world: self, tag, finished: false };
        let answer = match errand {
            Errand::Touch => remote.touch(tag.0).await.map(Answer::Number),
            Errand::Linger(time) => {
                let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                remote.linger(tag.0, time).await.map(Answer::Number)
            }
            Errand::Put(given) => {
                let given = given.into_iter().map(|(_, remote)| remote).collect();
                remote.put(tag.0, given).await.map(Answer::Number)
            }
            Errand::Get(_) => remote.get(tag.0).await.map(Answer::References),
            Errand::Nest(_, other) => remote.nest(tag.0, other).await.map(Answer::Number),
        };
        unfinished.finished = true;
        match answer {
            Ok(answer) => {
                self.finish_call(tag, End::Answered);
                match answer {
                    Answer::Number(number) if number == tag.0 => {}
                    Answer::Number(number) => self.fail(format!("{tag:?} was answered for {number}")),
                    Answer::References(given) => drop(self.take_in(tag, caller, given)),
                }
            }
            Err(error) => self.finish_call(tag, End::Failed(error)),
        }
    }

    fn begin_call(&self, caller: NodeKey, target: Target, errand: &Errand) -> Tag {
        let now = Instant::now();
        let tag = self.with(|state| {
            let (callee, object, place) = match target {
                Target::Door(node) => (node, None, 0),
                Target::Family(family) => match state.family(family) {
                    Some(family) => (family.path.owner(), Some(family.path.object), family.next_place()),
                    None => (caller, None, 0),
                },
            };
            let carried = match errand {
                Errand::Put(given) => given.iter().map(|(family, _)| *family).collect(),
                Errand::Nest(family, _) => vec![*family],
                Errand::Touch | Errand::Linger(_) | Errand::Get(_) => Vec::new(),
            };
            let passed: Vec<Path> =
                carried.into_iter().filter_map(|family| Some(state.family(family)?.path.clone())).collect();
            let wanted = if let Errand::Get(wanted) = errand { wanted.clone() } else { Vec::new() };
            let undisturbed = state.members.is_up(caller) && state.members.is_up(callee);
            let nests = matches!(errand, Errand::Nest(..));
            let tag = Tag(state.calls.len() as u64);
            state.tally.calls += 1;
            let (ran, end) = (0, None);
            let began = now;
            let call =
                Call { caller, callee, target, object, began, place, nests, undisturbed, ran, end, passed, wanted };
            state.calls.push(call);
            tag
        });
        self.note(|| format!("{caller:?} begins {tag:?}: {errand:?} of {target:?}"));
        tag
    }

    /// A method begins.
    pub(crate) fn handle_begun(&self, tag: Tag, node: NodeKey, object: Option<ObjectKey>) {
        self.note(|| format!("{tag:?} runs at {node:?}"));
        let wrong = self.with(|state| {
            let Some(call) = state.calls.get_mut(tag.index()) else { return Some(format!("nobody made {tag:?}")) };
            call.ran += 1;
            // A door is that of whoever listens there now.
            if call.object != object || (object.is_some() && call.callee != node) {
                return Some(format!("{tag:?} was made for {:?} and ran on {object:?} of {node:?}", call.object));
            }
            call.lie().map(|lie| format!("{tag:?}: {lie}")).or_else(|| state.begins_in_order(tag))
        });
        wrong.into_iter().for_each(|what| self.fail(what));
    }

    fn finish_call(&self, tag: Tag, end: End) {
        self.note(|| match &end {
            End::Answered => format!("{tag:?} is answered"),
            End::Failed(error) => format!("{tag:?} fails, {:?}: {error}", error.certainty()),
            End::Dropped => format!("{tag:?} is dropped by its caller"),
        });
        let wrong = self.with(|state| state.end_call(tag, end));
        wrong.into_iter().for_each(|what| self.fail(what));
    }
}

impl State {
    fn end_call(&mut self, tag: Tag, end: End) -> Option<String> {
        let call = self.calls.get_mut(tag.index())?;
        if let Some(before) = &call.end {
            return Some(format!("{tag:?} ended twice: {before:?}, {end:?}"));
        }
        call.end = Some(end.clone());
        if let Some(lie) = call.lie() {
            return Some(format!("{tag:?}: {lie}"));
        }
        let (target, began) = (call.target, call.began);
        self.count(tag, &end);
        match end {
            End::Dropped => None,
            End::Answered => {
                if let Target::Family(family) = target {
                    self.handle_called(family, began);
                }
                None
            }
            End::Failed(error) => self.must_succeed(tag, &error),
        }
    }

    /// Why a call that failed should not have.
    fn must_succeed(&self, tag: Tag, error: &RemoteError) -> Option<String> {
        let call = self.calls.get(tag.index())?;
        if !self.is_claimed(call) || call.ran_out_of_time(error, rules::limits().call_timeout) {
            return None;
        }
        let how = match call.target {
            Target::Door(_) => "of a node that listens".to_owned(),
            Target::Family(family) => {
                format!("of a reference that is held: {:?}", self.families.get(family.index())?.path)
            }
        };
        Some(format!("{tag:?} failed, although nothing disturbs it, {how}: {error}"))
    }

    /// Whether a call has to succeed.
    fn is_claimed(&self, call: &Call) -> bool {
        let (members, since) = (&self.members, call.began - rules::CALM_AFTER);
        call.undisturbed
            && members.calm(call.caller, call.callee, since)
            && match call.target {
                Target::Door(node) => members.listens(node),
                Target::Family(family) => self.families.get(family.index()).is_some_and(|Family { path, .. }| {
                    path.is_firm(members) && path.has_way(members) && path.is_calm(members, since)
                }),
            }
    }

    fn count(&mut self, tag: Tag, end: &End) {
        let Some(call) = self.calls.get(tag.index()) else { return };
        let claimed = !matches!(end, End::Dropped) && call.caller != call.callee && self.is_claimed(call);
        let path = match call.target {
            Target::Family(family) => self.families.get(family.index()).map(|family| &family.path),
            Target::Door(_) => None,
        };
        let tally = &mut self.tally;
        match end {
            End::Answered => tally.answered += 1,
            End::Dropped => tally.dropped += 1,
            End::Failed(error) if matches!(error.certainty(), Certainty::NotSent | Certainty::NotExecuted) => {
                tally.not_run += 1;
            }
            End::Failed(_) => tally.unknown += 1,
        }
        if let Some(path) = path.filter(|_| claimed) {
            tally.claimed += 1;
            tally.handed_over += u64::from(path.is_indirect());
            tally.outlived += u64::from(path.outlived(&self.members));
        }
    }

    /// A node goes: nothing is claimed of its calls, and what is held through it is asked of owners.
    pub(crate) fn handle_gone(&mut self, node: NodeKey, phase: Phase) {
        let now = Instant::now();
        let Self { members, families, calls, .. } = self;
        for family in families {
            family.path.handle_gone(node, phase == Phase::Crashed, now, members);
        }
        for call in calls.iter_mut().filter(|call| call.caller == node || call.callee == node) {
            call.undisturbed = false;
        }
        if let Some(member) = members.list.get_mut(node.0) {
            member.phase = phase;
        }
    }

    /// A call that should have ended.
    pub(crate) fn unended(&self, now: Instant) -> Option<String> {
        let bound = rules::limits().call_timeout + rules::CALL_SLACK;
        let lasting = self.calls.iter().enumerate().filter(|(_, call)| call.end.is_none());
        let mut late = lasting.filter(|(_, call)| now > call.began + bound);
        let crashed =
            |node: NodeKey| self.members.list.get(node.0).is_some_and(|member| member.phase == Phase::Crashed);
        late.find(|(_, call)| !crashed(call.caller)).map(|(tag, call)| format!("call {tag} has not ended: {call:?}"))
    }
}

/// A call that has not ended: where its future is dropped, the caller has gone away.
struct Unfinished<'a> {
    world: &'a Arc<World>,
    tag: Tag,
    finished: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.world.finish_call(self.tag, End::Dropped);
        }
    }
}
