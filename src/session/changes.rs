//! What has changed since somebody last asked: for those who follow sessions and do not want to look at all of them.
//!
//! While nobody asks, a message costs one load more for it. While somebody does, a place whose session changes is
//! marked, with one bit; asking takes the marks away and answers the sessions. So a session that does nothing costs
//! nothing, however often somebody asks.
//!
//! No change is lost: whoever changes a session marks it, and whoever asks takes the mark before he reads. Both are in
//! one order with the first ask (`SeqCst`), so that what is not marked yet is seen by who reads after asking.

#[cfg(test)]
mod tests;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

use super::{EndedSession, Registry, Session, rows::BLOCK};

/// So many sessions that ended are kept for who asks; if more end meanwhile, all that is known is that they did.
const MAX_ENDED: usize = 100_000;

/// What has changed since somebody last asked.
///
/// The sessions that changed were live when they were looked up, and those that ended were taken after that: whoever
/// looks at the changed ones first, and then takes away those that ended, ends with what is live, also where an id ended
/// and began again.
#[derive(Debug, Default)]
pub struct News {
    /// Those that began, or of which something has changed besides the time since they were last heard.
    pub changed: Vec<Arc<Session>>,
    /// Those that ended, in that order.
    pub ended: Vec<Gone>,
    /// More ended than are kept: look at all sessions again.
    pub is_incomplete: bool,
}

/// A session that has ended. While this is held, no other session has its [number](Session::number).
#[derive(Clone, Debug)]
pub struct Gone {
    /// The session.
    pub session: Arc<Session>,
    /// Its end.
    pub ended: Arc<EndedSession>,
    /// When it began, as [`Registry::turn`] counts: who has asked since may have been told of it alive, or not.
    pub turn: u64,
}

/// What is kept for who asks.
#[derive(Debug, Default)]
pub(super) struct Changes {
    is_asked: AtomicBool,
    ended: Mutex<Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    gone: Vec<Gone>,
    is_incomplete: bool,
}

/// Which places of a block have changed.
#[derive(Debug)]
pub(super) struct Marks {
    bits: [AtomicU64; BLOCK / 64],
    changes: Arc<Changes>,
}

impl Marks {
    pub(super) fn new(changes: &Arc<Changes>) -> Self {
        Self { bits: Default::default(), changes: changes.clone() }
    }

    /// The counts of a session are about to change, and whoever reads them waits until that is done: so it may be marked
    /// before, and need not be if it is.
    #[inline]
    pub(super) fn count(&self, at: usize) {
        if self.changes.is_asked() {
            self.count_asked(at);
        }
    }

    // Not in line: while nobody asks, a message pays for no more than finding that out.
    #[inline(never)]
    fn count_asked(&self, at: usize) {
        let (bits, bit) = self.bit(at);
        if bits.load(Ordering::SeqCst) & bit == 0 {
            bits.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Something of a session has changed.
    pub(super) fn set(&self, at: usize) {
        // Whoever asks for the first time now, and finds no mark, finds the change.
        fence(Ordering::SeqCst);
        if self.changes.is_asked() {
            let (bits, bit) = self.bit(at);
            bits.fetch_or(bit, Ordering::SeqCst);
        }
    }

    fn bit(&self, at: usize) -> (&AtomicU64, u64) {
        (&self.bits[at / 64], 1 << (at % 64))
    }

    /// The places that are marked, which then are not any more.
    pub(super) fn take(&self) -> impl Iterator<Item = usize> + use<> {
        // An exchange dirties the memory: not where nothing happens.
        let take = |bits: &AtomicU64| match bits.load(Ordering::Relaxed) {
            0 => 0,
            _ => bits.swap(0, Ordering::SeqCst),
        };
        let taken = self.bits.each_ref().map(take);
        let of_word = |(n, word): (usize, u64)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| 64 * n + bit)
        };
        taken.into_iter().enumerate().filter(|(_, word)| *word != 0).flat_map(of_word)
    }
}

impl Changes {
    #[inline]
    fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::SeqCst)
    }

    /// A session has ended. Under the lock of its block, so that nobody who saw it there misses its end.
    pub(super) fn end(&self, gone: impl FnOnce() -> Gone) {
        if !self.is_asked() {
            return;
        }
        let mut ends = self.lock();
        // Whoever asked may just have stopped to, and then nobody would take it away.
        if !self.is_asked() {
            return;
        }
        if ends.gone.len() < MAX_ENDED {
            ends.gone.push(gone());
        } else {
            ends.is_incomplete = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// From now on, what changes is kept for whoever asks for [`news`](Self::news). There is one of them.
    pub fn begin_news(&self) {
        let changes = self.rows.changes();
        *changes.lock() = Ends::default();
        changes.is_asked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Nobody asks any more.
    pub fn end_news(&self) {
        let changes = self.rows.changes();
        changes.is_asked.store(false, Ordering::SeqCst);
        *changes.lock() = Ends::default();
    }

    /// What has changed since this was last asked, or [begun](Self::begin_news). It looks at four numbers for each 256
    /// sessions, and at those sessions that changed.
    pub fn news(&self) -> News {
        let mut changed = Vec::new();
        self.rows.for_each_marked(|session| changed.push(session));
        // No value is read before its mark was taken.
        fence(Ordering::SeqCst);
        let Ends { gone, is_incomplete } = std::mem::take(&mut *self.rows.changes().lock());
        News { changed, ended: gone, is_incomplete }
    }

    /// The turn of the next session that begins: those that have begun have lower ones.
    pub fn turn(&self) -> u64 {
        self.rows.turn()
    }

    /// The live session of this [number](Session::number).
    pub fn of_number(&self, number: u32) -> Option<Arc<Session>> {
        self.rows.session(number)
    }

    /// The live sessions of these [numbers](Session::number).
    pub fn numbered(&self, numbers: impl Iterator<Item = u32>) -> Vec<Arc<Session>> {
        numbers.filter_map(|number| self.rows.session(number)).collect()
    }
}
