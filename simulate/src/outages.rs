//! When two hosts could not reach each other: what the model needs to know of the network.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{network::Host, rules};

/// The outages between each two hosts, in their order.
#[derive(Debug, Default)]
pub(crate) struct Outages(BTreeMap<(Host, Host), Vec<Outage>>);

#[derive(Clone, Copy, Debug)]
struct Outage {
    from: Instant,
    /// Open while it lasts.
    to: Option<Instant>,
    /// It is the going of a node at one of them.
    parting: bool,
}

impl Outages {
    /// Something disturbs these two from now on, or does no more.
    pub(crate) fn set(&mut self, a: Host, b: Host, disturbed: bool, now: Instant) {
        let log = self.0.entry(pair(a, b)).or_default();
        let is_open = log.last().is_some_and(|last| last.to.is_none());
        if disturbed && !is_open {
            log.push(Outage { from: now, to: None, parting: false });
        } else if let Some(last) = log.last_mut().filter(|_| is_open && !disturbed) {
            last.to = Some(now);
        }
    }

    /// These two are disturbed until then.
    pub(crate) fn set_until(&mut self, a: Host, b: Host, now: Instant, until: Instant) {
        let log = self.0.entry(pair(a, b)).or_default();
        // What is open ends later than this, and is looked at anew until it does.
        let at = log.iter().position(|outage| outage.to.is_none()).unwrap_or(log.len());
        log.insert(at, Outage { from: now, to: Some(until), parting: true });
    }

    /// Whether what is held over a link between the two since then is held certainly.
    pub(crate) fn holds(&self, a: Host, b: Host, since: Instant, now: Instant) -> bool {
        self.between(a, b).filter(|outage| outage.reaches(since)).all(|outage| {
            let within_lease = now < outage.from + rules::LEASE;
            let bridged = rules::RESUMES && outage.lasted(now) <= rules::OUTAGE_BRIDGED;
            within_lease || bridged
        })
    }

    /// Whether nothing was disturbed since then.
    pub(crate) fn calm(&self, a: Host, b: Host, since: Instant) -> bool {
        !self.between(a, b).any(|outage| outage.reaches(since))
    }

    /// Whether nothing was disturbed since then, but by nodes that went.
    pub(crate) fn unbroken(&self, a: Host, b: Host, since: Instant) -> bool {
        !self.between(a, b).any(|outage| outage.reaches(since) && !outage.parting)
    }

    /// When the first outage began that was not over by then.
    pub(crate) fn first(&self, a: Host, b: Host, since: Instant) -> Option<Instant> {
        self.between(a, b).filter(|outage| outage.reaches(since)).map(|outage| outage.from).min()
    }

    fn between(&self, a: Host, b: Host) -> impl Iterator<Item = &Outage> {
        self.0.get(&pair(a, b)).into_iter().flatten()
    }
}

impl Outage {
    fn reaches(&self, since: Instant) -> bool {
        self.to.is_none_or(|to| to >= since)
    }

    fn lasted(&self, now: Instant) -> Duration {
        self.to.unwrap_or(now) - self.from
    }
}

fn pair(a: Host, b: Host) -> (Host, Host) {
    (a.min(b), a.max(b))
}
