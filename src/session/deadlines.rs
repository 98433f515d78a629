use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::rows::Number;

/// When which session is to be looked at, the earliest first: one entry a session at the most, and none of sessions
/// that have ended.
#[derive(Debug, Default)]
pub(super) struct Deadlines(Mutex<BTreeSet<(u64, Number)>>);

impl Deadlines {
    /// The session in this place is to be looked at then, and not when it was to be.
    pub(super) fn change(&self, place: Number, from_ms: Option<NonZeroU64>, to_ms: Option<NonZeroU64>) {
        let mut queue = self.lock();
        if let Some(at_ms) = from_ms {
            queue.remove(&(at_ms.get(), place));
        }
        if let Some(at_ms) = to_ms {
            queue.insert((at_ms.get(), place));
        }
    }

    /// The next session that is to be looked at now, and for when that was queued.
    pub(super) fn due(&self, now_ms: u64) -> Option<(u64, Number)> {
        let mut queue = self.lock();
        queue.first().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        queue.pop_first()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(u64, Number)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
