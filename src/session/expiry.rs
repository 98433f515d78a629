use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Session;

/// When whose token expires: each live session that has one is here once, whatever was renewed and however often
/// its client came and went. Called under the guard of the session's entry.
#[derive(Debug, Default)]
pub(super) struct Expiries(Mutex<Queue>);

type Queue = BTreeSet<(u64, Arc<str>)>;

impl Expiries {
    /// A session begins with a token.
    pub(super) fn begin(&self, session: &Session, expires_ms: u64) {
        let mut queue = self.lock();
        session.set_expires_ms(expires_ms);
        queue.insert(entry(session));
    }

    /// A connection of the session brings a token. The one that expires last counts.
    pub(super) fn renew(&self, session: &Session, expires_ms: u64) {
        // Under the lock from the first look on: two connections may bring one at a time.
        let mut queue = self.lock();
        if expires_ms > session.expires_ms() {
            queue.remove(&entry(session));
            session.set_expires_ms(expires_ms);
            queue.insert(entry(session));
        }
    }

    /// A session has ended.
    pub(super) fn end(&self, session: &Session) {
        if session.expires_ms() < u64::MAX {
            self.lock().remove(&entry(session));
        }
    }

    /// The next session whose token expired at that time or before.
    pub(super) fn due(&self, expired_by_ms: u64) -> Option<Arc<str>> {
        let mut queue = self.lock();
        queue.first().filter(|(at_ms, _)| *at_ms <= expired_by_ms)?;
        queue.pop_first().map(|(_, id)| id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic between the two changes of a renewal leaves a session out, which then stays unauthorized.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(session: &Session) -> (u64, Arc<str>) {
    (session.expires_ms(), session.identity().id.clone())
}
