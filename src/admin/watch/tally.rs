//! What becomes of watches, counted.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::edge::histogram::Histogram;

/// Watches and what they were told, counted. One lock for all of it, so that the sums hold at every look: it is taken
/// once for what a watcher is told, and never for a session.
#[derive(Debug, Default)]
pub(in crate::admin) struct Tally(Mutex<Counts>);

/// The counts of one moment.
#[derive(Clone, Debug, Default)]
pub(in crate::admin) struct Counts {
    /// Over query sockets and as event streams.
    pub(in crate::admin) begun: u64,
    /// Those among them that are no more.
    pub(in crate::admin) ended: u64,
    /// Those who watch the same are one.
    pub(in crate::admin) groups: u64,
    /// How long a group took to find out what has changed, and to make the batches of it.
    pub(in crate::admin) evaluations: Histogram,
    /// From a batch being made to its last part being handed to a watcher's connection: one for each watcher that was told.
    pub(in crate::admin) lag: Histogram,
    /// Fresh snapshots that were told to the end.
    pub(in crate::admin) resyncs_told: u64,
    /// How often what a watcher knew was given up, by [why](Lost).
    resyncs: [u64; Lost::ALL.len()],
}

/// Why a watcher gets a fresh snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Lost {
    /// It did not take what it was told.
    Slow,
    /// More happened at a time than is kept for its group, or its group failed.
    Overflow,
}

impl Lost {
    pub(in crate::admin) const ALL: [Self; 2] = [Self::Slow, Self::Overflow];

    pub(in crate::admin) fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Overflow => "overflow",
        }
    }
}

impl Counts {
    /// How many watch now.
    pub(in crate::admin) fn live(&self) -> u64 {
        self.begun - self.ended
    }

    /// Batches and fresh snapshots that were told to the end.
    pub(in crate::admin) fn told(&self) -> u64 {
        self.lag.count() + self.resyncs_told
    }

    /// How often what a watcher knew was given up so.
    pub(in crate::admin) fn resyncs(&self, why: Lost) -> u64 {
        self.resyncs[why as usize]
    }
}

impl Tally {
    /// The counts as they are, all of one moment.
    pub(in crate::admin) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(super) fn begun(&self) {
        self.lock().begun += 1;
    }

    pub(super) fn ended(&self) {
        self.lock().ended += 1;
    }

    pub(super) fn group_begun(&self) {
        self.lock().groups += 1;
    }

    pub(super) fn group_ended(&self) {
        self.lock().groups -= 1;
    }

    pub(super) fn evaluated(&self, took: Duration) {
        self.lock().evaluations.observe(took);
    }

    /// A watcher was told a batch that was made so long ago.
    pub(super) fn told_batch(&self, lag: Duration) {
        self.lock().lag.observe(lag);
    }

    pub(super) fn told_resync(&self) {
        self.lock().resyncs_told += 1;
    }

    pub(super) fn lost(&self, why: Lost) {
        self.lock().resyncs[why as usize] += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing can panic between two additions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
