//! Which methods run where their calls are read, and how that is found out.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::wire::MethodNumber;

/// This many quick calls in a row earn a method the place in the reader.
const QUICK_CALLS: u8 = 4;

/// Looks for overruns in the reader. The clock costs as much as a short call, so it is read once for
/// some of them; when those took long together, each is looked at for a while.
pub(super) struct Watch {
    /// How long a call may take.
    quick: Duration,
    /// When the clock was read last.
    last: Instant,
    /// Methods of the calls since.
    methods: [MethodNumber; WATCHED],
    calls: usize,
    /// Calls that are still to be looked at one by one.
    alone: u32,
}

/// Calls in the reader between two looks at the clock.
const WATCHED: usize = 16;
/// Calls that are looked at one by one once some took long together.
const ALONE: u32 = 64;

impl Watch {
    pub(super) fn new(quick: Duration) -> Self {
        Self { quick, last: Instant::now(), methods: [MethodNumber(0); WATCHED], calls: 0, alone: 0 }
    }

    pub(super) fn start(&mut self) {
        (self.last, self.calls) = (Instant::now(), 0);
    }

    /// A call has run in the reader.
    pub(super) fn note(&mut self, method: MethodNumber, places: &Places) {
        if let Some(place) = self.methods.get_mut(self.calls) {
            *place = method;
            self.calls += 1;
        }
        if self.calls == WATCHED || self.alone > 0 {
            self.alone = self.alone.saturating_sub(1);
            self.look(places);
        }
    }

    /// Where the calls since the last look took longer than all of them may, one of them has overrun, and
    /// all lose their place, to earn it again alone. Where they took longer than one may, one of
    /// them may have.
    pub(super) fn look(&mut self, places: &Places) {
        let Ok(calls @ 1..) = u32::try_from(self.calls) else { return };
        let now = Instant::now();
        let took = now - self.last;
        if took > self.quick * calls {
            self.methods.iter().take(self.calls).for_each(|method| places.lose(*method));
        } else if took > self.quick {
            self.alone = ALONE;
        }
        (self.last, self.calls) = (now, 0);
    }
}

/// Which methods have earned the place in the reader, by their number on the link: those whose first
/// polls ended at once and were quick.
pub(super) struct Places {
    /// Of the first methods, without a lock.
    first: [AtomicU8; FIRST_PLACES],
    rest: Mutex<Vec<u8>>,
}

const FIRST_PLACES: usize = 64;

impl Default for Places {
    fn default() -> Self {
        Self { first: [const { AtomicU8::new(0) }; FIRST_PLACES], rest: Mutex::default() }
    }
}

impl Places {
    pub(super) fn is_quick(&self, method: MethodNumber) -> bool {
        let index = method.0 as usize;
        let quick = match self.first.get(index) {
            Some(place) => place.load(Ordering::Relaxed),
            None => self.rest.lock().get(index - FIRST_PLACES).copied().unwrap_or(0),
        };
        quick >= QUICK_CALLS
    }

    /// A call in a task was polled to its end at once and quickly, or was not.
    pub(super) fn note(&self, method: MethodNumber, quick: bool) {
        self.update(method, |place| if quick { place.saturating_add(1).min(QUICK_CALLS) } else { 0 });
    }

    pub(super) fn lose(&self, method: MethodNumber) {
        self.update(method, |_| 0);
    }

    fn update(&self, method: MethodNumber, next: impl Fn(u8) -> u8) {
        let index = method.0 as usize;
        if let Some(place) = self.first.get(index) {
            // Calls that end at the same time may count as one.
            place.store(next(place.load(Ordering::Relaxed)), Ordering::Relaxed);
            return;
        }
        let mut rest = self.rest.lock();
        let index = index - FIRST_PLACES;
        if rest.len() <= index {
            rest.resize(index + 1, 0);
        }
        if let Some(place) = rest.get_mut(index) {
            *place = next(*place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(50);
    const FAST: MethodNumber = MethodNumber(0);
    const SLOW: MethodNumber = MethodNumber(FIRST_PLACES as u32);

    /// Both methods have earned their place.
    fn earned() -> Places {
        let places = Places::default();
        for _ in 0..QUICK_CALLS {
            places.note(FAST, true);
            places.note(SLOW, true);
        }
        assert!(places.is_quick(FAST) && places.is_quick(SLOW));
        places
    }

    async fn run(watch: &mut Watch, places: &Places, method: MethodNumber, micros: u64) {
        tokio::time::advance(Duration::from_micros(micros)).await;
        watch.note(method, places);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_alone_loses_its_place_by_one_overrun() {
        let (places, mut watch) = (earned(), Watch::new(QUICK));
        watch.start();
        run(&mut watch, &places, SLOW, 51).await;
        watch.look(&places);
        assert!(!places.is_quick(SLOW) && places.is_quick(FAST));
        places.note(SLOW, true);
        assert!(!places.is_quick(SLOW), "it takes several quick calls to earn it again");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_quick_each_keep_their_place_however_many_come_together() {
        let (places, mut watch) = (earned(), Watch::new(QUICK));
        watch.start();
        for _ in 0..10 * ALONE {
            run(&mut watch, &places, FAST, 49).await;
        }
        assert!(places.is_quick(FAST));
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_call_among_quick_ones_is_found_and_they_keep_their_place() {
        let (places, mut watch) = (earned(), Watch::new(QUICK));
        watch.start();
        for _ in 0..2 {
            run(&mut watch, &places, SLOW, 300).await;
            for _ in 1..WATCHED {
                run(&mut watch, &places, FAST, 1).await;
            }
        }
        assert!(places.is_quick(FAST) && !places.is_quick(SLOW));
    }
}
