//! One watcher, and what waits to be told to it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::{
    batch::Batch,
    group::{Group, Joined},
};

/// So many batches may wait for one watcher.
const MAX_BATCHES: usize = 16;

/// So many changes may be in the batches that wait for one watcher, unless it is one batch alone.
const MAX_CHANGES: usize = 10_000;

/// One watch. Dropping it is leaving.
#[derive(Debug)]
pub(in crate::admin) struct Watch {
    group: Arc<Group>,
    queue: Arc<Queue>,
    /// Of what it has been told last, or is being told.
    revision: AtomicU64,
    /// Its place among all.
    _place: OwnedSemaphorePermit,
}

/// What comes next for a watcher.
#[derive(Debug)]
pub(super) enum Next {
    Batch(Arc<Batch>),
    /// Too much waited, and was thrown away.
    Resync,
}

/// What waits for one watcher.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Where its socket waits for it.
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Arc<Batch>>,
    changes: usize,
    lags: bool,
}

impl Watch {
    pub(super) fn new(group: Arc<Group>, place: OwnedSemaphorePermit, wake: Arc<Notify>) -> Self {
        group.hub().tally.begun();
        let queue = Queue { waiting: Mutex::default(), wake };
        Self { group, queue: Arc::new(queue), revision: AtomicU64::new(0), _place: place }
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// Takes a snapshot, and is told what changes from there on. `None` if there is none yet: try again.
    pub(super) fn join(&self) -> Option<Joined> {
        let joined = self.group.join(&self.queue)?;
        self.revision.store(joined.revision, Ordering::Relaxed);
        Some(joined)
    }

    /// The revision of what it has been told last, or is being told.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    pub(super) fn has_next(&self) -> bool {
        let waiting = self.queue.lock();
        waiting.lags || !waiting.batches.is_empty()
    }

    /// What it is to be told next, if there is anything.
    pub(super) fn next(&self) -> Option<Next> {
        let mut waiting = self.queue.lock();
        if std::mem::take(&mut waiting.lags) {
            return Some(Next::Resync);
        }
        let batch = waiting.batches.pop_front()?;
        waiting.changes -= batch.len();
        self.revision.store(batch.revision, Ordering::Relaxed);
        Some(Next::Batch(batch))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.group.hub().tally.ended();
    }
}

impl Queue {
    /// One more batch waits. `false` if that is too much: then the watcher is told nothing but a fresh snapshot, and is
    /// none of its group until it has taken that.
    pub(super) fn offer(&self, batch: &Arc<Batch>) -> bool {
        let mut waiting = self.lock();
        let changes = waiting.changes.saturating_add(batch.len());
        let is_room =
            waiting.batches.is_empty() || waiting.batches.len() < MAX_BATCHES && changes <= MAX_CHANGES;
        if is_room {
            waiting.batches.push_back(batch.clone());
            waiting.changes = changes;
        } else {
            *waiting = Waiting { lags: true, ..Waiting::default() };
        }
        drop(waiting);
        self.wake.notify_one();
        is_room
    }

    /// What it has been told leads nowhere any more.
    pub(super) fn lag(&self) {
        *self.lock() = Waiting { lags: true, ..Waiting::default() };
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
