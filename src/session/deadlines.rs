use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// When which session is to be looked at again, the earliest first. A session that has changed since is looked at
/// in vain, which is cheaper than finding its entry.
#[derive(Debug, Default)]
pub(super) struct Deadlines(Mutex<Queue>);

type Queue = BinaryHeap<Reverse<(u64, Arc<str>)>>;

impl Deadlines {
    pub(super) fn push(&self, at_ms: u64, id: Arc<str>) {
        self.lock().push(Reverse((at_ms, id)));
    }

    /// The next session that is to be looked at now, and for when that was queued.
    pub(super) fn due(&self, now_ms: u64) -> Option<(u64, Arc<str>)> {
        let mut queue = self.lock();
        queue.peek().filter(|Reverse((at_ms, _))| *at_ms <= now_ms)?;
        queue.pop().map(|Reverse(due)| due)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
