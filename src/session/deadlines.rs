use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use super::rows::Number;

/// When which session is to be looked at, the earliest first: one entry a session at the most, and none of sessions
/// that have ended.
#[derive(Debug, Default)]
pub(super) struct Deadlines(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    looks: BTreeSet<(u64, Number)>,
    /// Those that sleep until the first look.
    alarms: Vec<Weak<Alarm>>,
}

/// What is called when a look has come to be the first, for whoever sleeps until the one that was the first before.
///
/// It is called under the locks of the session, so it must not ask the registry for anything.
pub type Alarm = dyn Fn() + Send + Sync;

impl Deadlines {
    /// The session in this place is to be looked at then, and not when it was to be.
    pub(super) fn change(&self, place: Number, from_ms: Option<NonZeroU64>, to_ms: Option<NonZeroU64>) {
        let mut queue = self.lock();
        if let Some(at_ms) = from_ms {
            queue.looks.remove(&(at_ms.get(), place));
        }
        let Some(at_ms) = to_ms else { return };
        let is_sooner = queue.first_ms().is_none_or(|first_ms| at_ms.get() < first_ms);
        queue.looks.insert((at_ms.get(), place));
        if is_sooner {
            queue.alarms.iter().filter_map(Weak::upgrade).for_each(|alarm| alarm());
        }
    }

    /// When the first look is, if there is any.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.lock().first_ms()
    }

    /// Calls this, as long as it is kept, when the first look comes to be sooner.
    pub(super) fn call(&self, alarm: Weak<Alarm>) {
        let mut queue = self.lock();
        queue.alarms.retain(|alarm| alarm.strong_count() > 0);
        queue.alarms.push(alarm);
    }

    /// The next session that is to be looked at now, and for when that was queued.
    pub(super) fn due(&self, now_ms: u64) -> Option<(u64, Number)> {
        let mut queue = self.lock();
        queue.looks.first().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        queue.looks.pop_first()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().looks.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn first_ms(&self) -> Option<u64> {
        self.looks.first().map(|(at_ms, _)| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use super::*;

    #[test]
    fn whoever_sleeps_is_called_when_there_is_something_sooner_and_only_then() {
        let (deadlines, calls) = (Deadlines::default(), Arc::new(AtomicU32::new(0)));
        let counted = calls.clone();
        let alarm: Arc<Alarm> = Arc::new(move || {
            counted.fetch_add(1, Relaxed);
        });
        deadlines.call(Arc::downgrade(&alarm));
        assert_eq!(deadlines.first_ms(), None);
        let [early, same, late, later] = [20, 20, 30, 40].map(NonZeroU64::new);
        for (place, from_ms, to_ms, first_ms, called) in [
            (0, None, late, 30, 1),
            (1, None, later, 30, 1),
            (2, None, early, 20, 2),
            (1, later, same, 20, 2),
            (2, early, late, 20, 2),
            (1, same, None, 30, 2),
            (0, late, early, 20, 3),
        ] {
            deadlines.change(place, from_ms, to_ms);
            assert_eq!((deadlines.first_ms(), calls.load(Relaxed)), (Some(first_ms), called));
        }
        drop(alarm);
        deadlines.change(3, None, NonZeroU64::new(10));
        assert_eq!((deadlines.first_ms(), calls.load(Relaxed)), (Some(10), 3), "nobody sleeps any more");
    }
}
