use std::sync::Arc;

use dashmap::{DashMap, Entry};

use super::{
    EndReason, EndedSession, Glob, Identity, Joining, Leaving, Limits, Membership, Order, Outlet, Session,
    SessionInfo, SessionScope, Windows,
    deadlines::Deadlines,
    ended::EndedRing,
    expiry::Expiries,
    outlet,
    presence::{ConnectionNumber, End, Presence},
    quota::Quota,
};

/// Where a connection has been let in.
type Place = (Arc<Session>, ConnectionNumber);

/// All live sessions, and the last that ended.
///
/// The map is named in this file alone, and no guard of it leaves this file: a snapshot copies handles out,
/// shard by shard, and works on those. See the invariants in the crate's documentation.
#[derive(Debug)]
pub struct Registry {
    sessions: DashMap<Arc<str>, Arc<Session>>,
    quota: Quota,
    ended: EndedRing,
    deadlines: Deadlines,
    /// When whose user has done nothing for too long, unless something was done since.
    idle_deadlines: Deadlines,
    /// When whose token expires.
    expiries: Expiries,
    rules: Rules,
}

/// What a registry goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many there may be.
    pub limits: Limits,
    /// How long what is gone may come back.
    pub windows: Windows,
    /// How many ended sessions are remembered.
    pub max_ended: usize,
    /// Whether one user may have several sessions.
    pub one_session_per_user: OneSessionPerUser,
    /// How long a user may do nothing, in milliseconds and by scope in the order of [`SessionScope::ALL`].
    pub idle_ms: [Option<u64>; 4],
    /// How long a session may go on after its token has expired, in milliseconds.
    pub token_grace_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            windows: Windows::default(),
            max_ended: 10_000,
            one_session_per_user: OneSessionPerUser::Off,
            idle_ms: [None; 4],
            token_grace_ms: 30_000,
        }
    }
}

/// Whether one user may have several sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OneSessionPerUser {
    /// As many as the limits allow.
    #[default]
    Off,
    /// A second login is refused, unless the first has no connection left and only waits for its client.
    Reject,
    /// A newer login ends the older session with 4002.
    Replace,
}

/// Why a connection could not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// `max_sessions` is reached.
    #[error("the server is full: {0} sessions are live")]
    Full(usize),
    /// `max_sessions_per_address` is reached.
    #[error("too many sessions from this address: the limit is {0}")]
    Address(usize),
    /// `max_sessions_per_user` is reached.
    #[error("too many sessions of this user: the limit is {0}")]
    User(usize),
    /// `max_sessions_per_project` is reached.
    #[error("too many sessions in this project: the limit is {0}")]
    Project(usize),
    /// `max_unauthenticated` is reached.
    #[error("too many sessions without a user: the limit is {0}")]
    Unauthenticated(usize),
    /// `max_connections_per_session` is reached.
    #[error("too many connections of this session: the limit is {0}")]
    Connections(usize),
    /// `max_pages_per_session` is reached.
    #[error("too many pages of this session: the limit is {0}")]
    Pages(usize),
    /// The id is live under another identity, scope or project.
    #[error("designerId is in use by another user or project")]
    Taken,
}

impl Registry {
    /// An empty registry.
    pub fn new(rules: Rules) -> Self {
        Self {
            // Few sessions a shard, so that a snapshot never holds one for long (measured: 8 shards stall
            // a writer for 109 ms at a million sessions, 1,024 for 3).
            sessions: DashMap::with_shard_amount(1024),
            quota: Quota::default(),
            ended: EndedRing::new(rules.max_ended),
            deadlines: Deadlines::default(),
            idle_deadlines: Deadlines::default(),
            expiries: Expiries::default(),
            rules,
        }
    }

    /// Comes back to a session by its token, or joins the live one of the same id, or begins one; and opens the
    /// page.
    ///
    /// The membership that comes back is the connection's: dropping it is losing the connection.
    ///
    /// # Errors
    ///
    /// A [`JoinError`]; nothing has changed then.
    pub fn join(self: &Arc<Self>, joining: Joining, now_ms: u64) -> Result<Membership, JoinError> {
        let wants_token = joining.wants_token;
        let (session, number, resumed) = match self.resume(&joining, now_ms)? {
            Some((session, number)) => (session, number, true),
            None => {
                let (session, number) = self.join_or_begin(joining, now_ms)?;
                self.end_older_logins(&session, now_ms);
                (session, number, false)
            }
        };
        let token = wants_token.then(|| session.token());
        Ok(Membership::new(self.clone(), session, number, resumed, token))
    }

    fn resume(&self, joining: &Joining, now_ms: u64) -> Result<Option<Place>, JoinError> {
        let Some(token) = &joining.resume else { return Ok(None) };
        // Under the guard, which an ending takes too: the session cannot end in between.
        match self.sessions.get(token.session_id()) {
            Some(live) if live.may_be_resumed_by(&joining.identity, token) => {
                let number = self.connect(&live, joining, now_ms)?;
                Ok(Some((live.clone(), number)))
            }
            _ => Ok(None),
        }
    }

    fn join_or_begin(&self, joining: Joining, now_ms: u64) -> Result<Place, JoinError> {
        match self.sessions.entry(joining.identity.id.clone()) {
            Entry::Occupied(live) if !live.get().may_be_joined_by(&joining.identity) => Err(JoinError::Taken),
            Entry::Occupied(live) => {
                let number = self.connect(live.get(), &joining, now_ms)?;
                Ok((live.get().clone(), number))
            }
            Entry::Vacant(free) => {
                self.check_older_logins(&joining.identity)?;
                self.quota.reserve(&joining.identity, &self.rules.limits)?;
                let session = Arc::new(Session::begin(joining.identity.clone(), now_ms));
                if let Some(expires_ms) = joining.expires_ms {
                    self.expiries.begin(&session, expires_ms);
                }
                // Under the entry's guard: a session is never seen without its page.
                let number =
                    session.presence().connect(&joining.page_id, joining.page_path, joining.outlet, now_ms);
                free.insert(session.clone());
                if let Some(idle_ms) = self.idle_ms(&session) {
                    self.idle_deadlines.push(now_ms.saturating_add(idle_ms), joining.identity.id);
                }
                Ok((session, number))
            }
        }
    }

    /// # Errors
    ///
    /// The user has a session with a connection, and may not have two.
    fn check_older_logins(&self, newcomer: &Identity) -> Result<(), JoinError> {
        if self.rules.one_session_per_user != OneSessionPerUser::Reject {
            return Ok(());
        }
        // Looked up one by one and without waiting: this runs under the guard of the newcomer's own entry, and a
        // session whose entry another thread holds is one that is just changing.
        let is_connected = |id: &Arc<str>| {
            self.sessions.try_get(id).try_unwrap().is_some_and(|session| session.connections() > 0)
        };
        if self.quota.of_user(&newcomer.username).iter().any(is_connected) {
            return Err(JoinError::User(1));
        }
        Ok(())
    }

    /// The newest login of a user stands, if only one may.
    fn end_older_logins(&self, newest: &Session, now_ms: u64) {
        let identity = newest.identity();
        if self.rules.one_session_per_user == OneSessionPerUser::Off {
            return;
        }
        for id in self.quota.of_user(&identity.username) {
            if id != identity.id {
                self.terminate(&id, EndReason::Replaced, "replaced by a newer login", now_ms);
            }
        }
    }

    fn idle_ms(&self, session: &Session) -> Option<u64> {
        let scope = session.identity().scope;
        let at = SessionScope::ALL.iter().position(|known| *known == scope)?;
        self.rules.idle_ms[at]
    }

    /// Ends the sessions whose users have done nothing for too long.
    fn end_idle(&self, now_ms: u64) {
        while let Some((_, id)) = self.idle_deadlines.due(now_ms) {
            let Some(session) = self.get(&id) else { continue };
            let Some(idle_ms) = self.idle_ms(&session) else { continue };
            let due_ms = session.last_action_ms().saturating_add(idle_ms);
            if due_ms <= now_ms {
                self.terminate(&id, EndReason::Idle, "nothing was done for too long", now_ms);
            } else {
                self.idle_deadlines.push(due_ms, id);
            }
        }
    }

    /// Ends the sessions whose tokens expired so long ago that their grace is over.
    fn expire_tokens(&self, now_ms: u64) {
        let Some(expired_by_ms) = now_ms.checked_sub(self.rules.token_grace_ms) else { return };
        while let Some(id) = self.expiries.due(expired_by_ms) {
            // A newer token may have come since; then it is queued anew.
            let is_due = |session: &Session| session.expires_ms() <= expired_by_ms;
            self.terminate_if(&id, is_due, EndReason::TokenExpired, "the token has expired", now_ms);
        }
    }

    fn connect(
        &self,
        session: &Session,
        joining: &Joining,
        now_ms: u64,
    ) -> Result<ConnectionNumber, JoinError> {
        let mut presence = session.presence();
        let limits = &self.rules.limits;
        if let Some(max) = limits.max_connections_per_session
            && presence.connections().len() >= max
        {
            return Err(JoinError::Connections(max));
        }
        presence.room_for(&joining.page_id, limits.max_pages_per_session).map_err(JoinError::Pages)?;
        let Joining { page_id, page_path, outlet, .. } = joining;
        if let Some(expires_ms) = joining.expires_ms {
            self.expiries.renew(session, expires_ms);
        }
        Ok(presence.connect(page_id, page_path.clone(), outlet.clone(), now_ms))
    }

    /// A connection leaves its session.
    pub(super) fn leave(&self, session: &Session, number: ConnectionNumber, how: Leaving, now_ms: u64) {
        let patience = session.patience(&self.rules.windows);
        self.change(&session.identity().id, now_ms, |live, presence| {
            // It may have ended, and a designer come again under its id: that is another's session.
            let is_its_own = std::ptr::eq(live, session);
            is_its_own.then(|| presence.disconnect(number, how, patience, now_ms)).flatten()
        });
    }

    /// Gives up what was kept until now. Costs nothing while nothing is due.
    pub fn expire(&self, now_ms: u64) {
        while let Some((at_ms, id)) = self.deadlines.due(now_ms) {
            self.change(&id, now_ms, |_, presence| {
                presence.looked_at(at_ms).then(|| presence.expire(now_ms)).flatten()
            });
        }
        self.end_idle(now_ms);
        self.expire_tokens(now_ms);
    }

    /// Ends a session, with words for its client; answers whether it was live.
    pub fn terminate(&self, id: &str, reason: EndReason, words: &str, now_ms: u64) -> bool {
        self.terminate_if(id, |_| true, reason, words, now_ms)
    }

    /// The same for one that `may_end`, which is asked under the guard.
    fn terminate_if(
        &self,
        id: &str,
        may_end: impl FnOnce(&Session) -> bool,
        reason: EndReason,
        words: &str,
        now_ms: u64,
    ) -> bool {
        let mut told = Vec::new();
        let mut live = false;
        self.change(id, now_ms, |session, presence| {
            if !may_end(session) {
                return None;
            }
            live = !presence.is_ended();
            told.extend_from_slice(presence.connections());
            presence.terminate(reason)
        });
        // Outside the guards: a task that is woken may want them.
        for link in told {
            link.outlet.tell(outlet::closing(reason, words));
        }
        live
    }

    /// Closes one page, whoever serves it; a connection that serves nothing any more is closed with 4004.
    /// Answers whether there was such a page.
    pub fn close_page(&self, id: &str, page_id: &str, words: &str, now_ms: u64) -> bool {
        let mut idle = None;
        self.change(id, now_ms, |_, presence| {
            idle = presence.remove_page(page_id);
            let nobody_left = idle.as_ref().is_some_and(|idle| idle.len() == presence.connections().len());
            if nobody_left && presence.pages().is_empty() {
                return presence.terminate(EndReason::Terminated);
            }
            None
        });
        let found = idle.is_some();
        for link in idle.into_iter().flatten() {
            link.outlet.tell(Order::Close { code: 4004, reason: words.into() });
        }
        found
    }

    /// Sends a text to the connections of a session, or to those of one page; answers whether any took it, or
    /// `None` if there is no such session or page.
    pub fn send(&self, id: &str, page_id: Option<&str>, text: &Arc<str>) -> Option<bool> {
        let session = self.get(id)?;
        let links: Vec<_> = {
            let presence = session.presence();
            match page_id {
                None => presence.connections().to_vec(),
                Some(page_id) => {
                    presence.pages().iter().find(|page| &*page.id == page_id)?;
                    presence.serving(page_id).cloned().collect()
                }
            }
        };
        let taken = links.iter().filter(|link| link.outlet.tell(Order::Send(text.clone()))).count();
        Some(taken > 0)
    }

    /// The lines to all connections, in no particular order.
    pub fn outlets(&self) -> Vec<Arc<dyn Outlet>> {
        let sessions: Vec<_> = self.sessions.iter().map(|session| session.clone()).collect();
        let outlets = |session: Arc<Session>| {
            let links = session.presence().connections().to_vec();
            links.into_iter().map(|link| link.outlet)
        };
        sessions.into_iter().flat_map(outlets).collect()
    }

    /// Tells every connection that the server ends. Those that have been told already take no notice.
    pub fn drain(&self) {
        for outlet in self.outlets() {
            outlet.tell(Order::Drain);
        }
    }

    /// Ends the sessions that wait for somebody to come back: nobody will.
    pub fn drain_waiting(&self, now_ms: u64) {
        let waiting = |session: &Session| session.presence().connections().is_empty();
        let ids: Vec<_> =
            self.sessions.iter().filter(|entry| waiting(entry)).map(|entry| entry.key().clone()).collect();
        for id in ids {
            self.change(&id, now_ms, |_, presence| {
                let waits = presence.connections().is_empty();
                waits.then(|| presence.terminate(EndReason::Drained)).flatten()
            });
        }
    }

    /// Changes what is open in a session. One that ends by it leaves the map and enters the ring under the same
    /// guard, so it is never both and never neither.
    fn change(&self, id: &str, now_ms: u64, change: impl FnOnce(&Session, &mut Presence) -> Option<End>) {
        let mut deadline = None;
        let removed = self.sessions.remove_if(id, |_, session| {
            let mut presence = session.presence();
            let end = change(session, &mut presence);
            deadline = presence.look_at_next(now_ms);
            drop(presence);
            let Some(end) = end else { return false };
            self.expiries.end(session);
            self.ended.push(session.ended(end, now_ms));
            true
        });
        match (removed, deadline) {
            (Some((_, session)), _) => self.quota.release(session.identity()),
            (None, Some(deadline)) => self.deadlines.push(deadline, id.into()),
            (None, None) => {}
        }
    }

    /// The last sessions that ended, the newest first, and how many ended before those and are forgotten.
    pub fn ended(&self) -> (Vec<Arc<EndedSession>>, u64) {
        self.ended.read()
    }

    /// How many rows any question can be about: sessions that are live, and those that are remembered.
    pub fn rows(&self) -> usize {
        self.len() + self.ended.len()
    }

    /// How many tokens are watched.
    #[cfg(test)]
    pub(super) fn tokens_to_expire(&self) -> usize {
        self.expiries.len()
    }

    /// How many looks at sessions are queued.
    #[cfg(test)]
    pub(super) fn looks_to_come(&self) -> usize {
        self.deadlines.len()
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.rules.limits
    }

    /// The live session of this id.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.get(id).map(|session| session.clone())
    }

    /// How many sessions are live.
    pub fn len(&self) -> usize {
        self.quota.live()
    }

    /// Whether no session is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sessions whose user name and project fit, in no particular order; `None` fits all.
    ///
    /// Each was live at some instant during the call and is there once.
    pub fn select(&self, username: Option<&Glob>, project: Option<&Glob>) -> Vec<Arc<Session>> {
        let fits = |filter: Option<&Glob>, value: &str| filter.is_none_or(|glob| glob.matches(value));
        self.sessions
            .iter()
            .filter(|session| {
                let identity = session.identity();
                fits(username, &identity.username) && fits(project, &identity.project)
            })
            .map(|session| session.clone())
            .collect()
    }

    /// The rows of [`select`](Self::select) at `now_ms`.
    pub fn session_info(
        &self,
        username: Option<&Glob>,
        project: Option<&Glob>,
        now_ms: u64,
    ) -> impl Iterator<Item = SessionInfo> + use<> {
        // A session may have ended since it was selected; it is not live, so it has no row.
        self.select(username, project).into_iter().filter_map(move |session| session.info(now_ms))
    }
}
