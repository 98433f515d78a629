use std::sync::Arc;

use super::{
    Came, Leaving, Registry, ResumeToken, Session, outlet, presence::ConnectionNumber, rows::Counter,
};

/// One connection's place in its session.
///
/// [`leave`](Self::leave) says how the connection ended. Dropping it, as a task does that panics or is aborted,
/// is losing the connection: no session is leaked.
#[derive(Debug)]
pub struct Membership {
    registry: Arc<Registry>,
    session: Arc<Session>,
    counter: Counter,
    number: ConnectionNumber,
    resumed: bool,
    speaks_headcount: bool,
    left: bool,
}

/// Why a page could not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// `max_pages_per_session` is reached.
    #[error("too many pages of this session: the limit is {0}")]
    TooMany(usize),
    /// There is no such page, or this connection does not serve it.
    #[error("this connection serves no such page")]
    Unknown,
}

impl Membership {
    pub(super) fn new(
        registry: Arc<Registry>,
        session: Arc<Session>,
        number: ConnectionNumber,
        resumed: bool,
        speaks_headcount: bool,
    ) -> Self {
        let counter = session.place().counter();
        Self { registry, session, counter, number, resumed, speaks_headcount, left: false }
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Whether the connection came back to a session by its token.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// The token to come back with, if the client speaks `headcount.v1`.
    pub fn token(&self) -> Option<ResumeToken> {
        self.speaks_headcount.then(|| self.session.token())
    }

    /// Something may have come: has the memory fetched in which it is counted, without waiting for it. Of most sessions
    /// that memory is in no cache of the processor's, and whoever knows early asks for it beside what else he needs.
    pub fn touch(&self) {
        self.counter.tally().touch();
    }

    /// Something came from the client: sets `lastComm` to zero (PROTOCOL 2.2).
    pub fn heard(&self, now_ms: u64) {
        self.counter.heard(now_ms);
    }

    /// Whole messages came from the client: their payload, unmasked and reassembled (PROTOCOL 2.2).
    pub fn messages_came(&self, came: Came) {
        self.counter.came(came);
    }

    /// A ping was answered after so many milliseconds.
    pub fn rtt_was(&self, rtt_ms: u64) {
        self.counter.tally().set_rtt_ms(rtt_ms);
    }

    /// This connection serves one more page.
    ///
    /// # Errors
    ///
    /// [`PageError::TooMany`].
    pub fn open_page(
        &mut self,
        page_id: &Arc<str>,
        path: Option<Arc<str>>,
        now_ms: u64,
    ) -> Result<(), PageError> {
        let mut presence = self.session.presence();
        let max = self.registry.limits().max_pages_per_session;
        presence.room_for(page_id, max).map_err(PageError::TooMany)?;
        if presence.open_page(self.number, page_id, path, now_ms) {
            let beside = presence.beside(self.number, page_id);
            drop(presence);
            outlet::challenge(&beside);
        }
        Ok(())
    }

    /// This connection serves a page no more.
    ///
    /// # Errors
    ///
    /// [`PageError::Unknown`].
    pub fn close_page(&mut self, page_id: &str, now_ms: u64) -> Result<(), PageError> {
        let patience = self.session.patience(self.registry.windows());
        let forsaken = self.session.presence().close_page(self.number, page_id, patience, now_ms);
        outlet::part_from(&forsaken.ok_or(PageError::Unknown)?);
        Ok(())
    }

    /// A page of the session is somewhere else.
    ///
    /// # Errors
    ///
    /// [`PageError::Unknown`].
    pub fn navigate(&mut self, page_id: &str, path: Option<Arc<str>>) -> Result<(), PageError> {
        let found = self.session.presence().navigate(page_id, path);
        if found { Ok(()) } else { Err(PageError::Unknown) }
    }

    /// The connection has ended, in this way.
    pub fn leave(mut self, how: Leaving, now_ms: u64) {
        self.left = true;
        self.registry.leave(&self.session, self.number, how, now_ms);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.left {
            // Nobody told the time, so what is kept is kept from the last moment that is known.
            let now_ms = self.session.last_heard_ms();
            self.registry.leave(&self.session, self.number, Leaving::Lost, now_ms);
        }
    }
}
