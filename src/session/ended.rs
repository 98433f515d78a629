use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Counts, EndReason, Who};

/// A session that has ended, with its final totals.
#[derive(Clone, Debug)]
pub struct EndedSession {
    /// Who it was.
    pub who: Who,
    /// Whether it was authorized to the end.
    pub authorized: bool,
    /// When it began, in milliseconds of the server's clock.
    pub began_ms: u64,
    /// When it ended, likewise.
    pub ended_ms: u64,
    /// Why.
    pub reason: EndReason,
    /// The pages that were open last.
    pub page_ids: Vec<Arc<str>>,
    /// What was counted of it, to the end.
    pub counts: Counts,
    /// How many messages were delivered to it.
    pub messages_received: u64,
}

/// The sessions that ended last, and how many more there were.
#[derive(Debug)]
pub(super) struct EndedRing {
    latest: Mutex<VecDeque<Arc<EndedSession>>>,
    capacity: usize,
    forgotten: AtomicU64,
}

impl EndedRing {
    pub(super) fn new(capacity: usize) -> Self {
        Self { latest: Mutex::default(), capacity, forgotten: AtomicU64::new(0) }
    }

    pub(super) fn push(&self, ended: Arc<EndedSession>) {
        let mut latest = self.lock();
        latest.push_front(ended);
        if latest.len() > self.capacity {
            latest.pop_back();
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The newest first, and how many ended sessions are not among them any more.
    pub(super) fn read(&self) -> (Vec<Arc<EndedSession>>, u64) {
        let latest = self.lock();
        (latest.iter().cloned().collect(), self.forgotten.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<EndedSession>>> {
        // A panic cannot come between the two changes of a push.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
