//! Who is live: how sessions come, are found and end. What ends by itself is in `expiry`, what is asked of all in `reads`.

mod expiry;
mod reads;

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    num::NonZeroU64,
    sync::Arc,
};

use dashmap::{DashMap, Entry};

use super::{
    EndReason, JoinError, Joining, Leaving, Limits, Membership, OneSessionPerUser, Rules, Session,
    UNAUTHENTICATED, Who, Windows,
    deadlines::Deadlines,
    ended::EndedRing,
    outlet,
    presence::{ConnectionNumber, End, Link, Presence},
    quota::Quota,
    rows::Rows,
    shared::SharedTexts,
};

/// The shards of the map.
const SHARDS: usize = 1024;

/// A connection that has been let in.
struct LetIn {
    session: Arc<Session>,
    number: ConnectionNumber,
    resumed: bool,
    /// The others that serve its page.
    beside: Vec<Link>,
}

/// All live sessions, and the last that ended.
///
/// The map tells which session has an id; it is named in this file alone, and no guard of it leaves this file. Lists
/// are read from the rows, where sessions lie side by side. See the invariants in the crate's documentation.
///
/// Locks are taken in this order, and none but for a few stores: the map's shard, what is open in one session, then
/// one of the block of rows, the queue of deadlines, the ring or the ended of `changes.rs`; a newcomer takes the quota's
/// before what is open in others.
#[derive(Debug)]
pub struct Registry {
    sessions: DashMap<ById, ()>,
    pub(super) rows: Rows,
    quota: Quota,
    user_agents: SharedTexts,
    ended: EndedRing,
    deadlines: Deadlines,
    rules: Rules,
}

/// A session under its id, which is kept in the session alone.
#[derive(Debug)]
struct ById(Arc<Session>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.who().id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.who().id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.who().id() == other.0.who().id()
    }
}

impl Eq for ById {}

impl Registry {
    /// An empty registry.
    pub fn new(rules: Rules) -> Self {
        Self {
            // Few sessions a shard, so that one that grows holds up few; and room for some, since growing looks at all.
            sessions: DashMap::with_capacity_and_shard_amount(14 * SHARDS, SHARDS),
            rows: Rows::default(),
            quota: Quota::default(),
            user_agents: SharedTexts::default(),
            ended: EndedRing::new(rules.max_ended),
            deadlines: Deadlines::default(),
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
        let speaks_headcount = joining.speaks_headcount;
        let limit = self.limit_of_nobody(&joining.identity.username);
        if let Some(limit) = limit {
            self.quota.nobody_comes(limit)?;
        }
        let let_in = match self.resume(&joining, now_ms) {
            Ok(None) => self.join_or_begin(joining, now_ms),
            Ok(Some(let_in)) => Ok(let_in),
            Err(error) => Err(error),
        };
        let LetIn { session, number, resumed, beside } = let_in.inspect_err(|_| {
            if limit.is_some() {
                self.quota.nobody_leaves();
            }
        })?;
        // Outside the guards: a task that is woken may want them.
        outlet::challenge(&beside);
        if speaks_headcount {
            // From now on: its end waits for whoever holds it.
            session.token();
        }
        Ok(Membership::new(self.clone(), session, number, resumed, speaks_headcount))
    }

    /// How many connections without a user there may be, if that is a name of such and there is a limit.
    fn limit_of_nobody(&self, username: &str) -> Option<usize> {
        self.rules.limits.max_unauthenticated.filter(|_| username == UNAUTHENTICATED)
    }

    fn resume(&self, joining: &Joining, now_ms: u64) -> Result<Option<LetIn>, JoinError> {
        let Some(token) = &joining.resume else { return Ok(None) };
        // Under the guard, which an ending takes too: the session cannot end in between.
        match self.sessions.get(token.session_id()).as_ref().map(|live| &live.key().0) {
            Some(live) if live.may_be_resumed_by(&joining.identity, token) => {
                self.connect(live, joining, now_ms).map(|let_in| Some(LetIn { resumed: true, ..let_in }))
            }
            _ => Ok(None),
        }
    }

    fn join_or_begin(&self, joining: Joining, now_ms: u64) -> Result<LetIn, JoinError> {
        let who = Who::new(&joining.identity, &self.user_agents.share(&joining.identity.user_agent));
        let newcomer = Arc::new(Session::begin(who, self.rows.take(now_ms), now_ms));
        match self.sessions.entry(ById(newcomer.clone())) {
            Entry::Occupied(live) => {
                let live = &live.key().0;
                if !live.who().may_be_joined_by(&joining.identity) {
                    return Err(JoinError::Taken);
                }
                self.connect(live, &joining, now_ms)
            }
            Entry::Vacant(free) => {
                let address = joining.identity.client_address;
                self.quota.reserve(&newcomer, address, &self.rules, |place| self.rows.session(place))?;
                if let Some(expires_ms) = joining.expires_ms {
                    newcomer.expires_at(expires_ms);
                }
                // Under the entry's guard: a session is never seen without its page.
                let mut presence = newcomer.presence();
                let Joining { page_id, page_path, outlet, speaks_headcount, .. } = joining;
                let number = presence.connect(&page_id, page_path, (outlet, speaks_headcount), now_ms);
                let turn = self.rows.list(&newcomer, &mut presence);
                self.queue_look(&newcomer, &mut presence, now_ms);
                drop(presence);
                free.insert(());
                self.end_older_logins(&newcomer, turn, now_ms);
                Ok(LetIn { session: newcomer, number, resumed: false, beside: Vec::new() })
            }
        }
    }

    /// The newest login of a user stands, if only one may: of two that come at once, the one whose turn is later.
    fn end_older_logins(&self, newest: &Session, turn: u64, now_ms: u64) {
        // With `reject` too: a session that waits for its client kept nobody out, and must not come back beside him.
        if self.rules.one_session_per_user == OneSessionPerUser::Off {
            return;
        }
        for place in self.quota.of_user(newest.who().username()) {
            if let Some(older) = self.rows.session_before(place, turn) {
                self.terminate_this(&older, EndReason::Replaced, "replaced by a newer login", now_ms);
            }
        }
    }

    fn connect(&self, session: &Arc<Session>, joining: &Joining, now_ms: u64) -> Result<LetIn, JoinError> {
        let mut presence = session.presence();
        let limits = &self.rules.limits;
        if let Some(max) = limits.max_connections_per_session
            && presence.connections().len() >= max
        {
            return Err(JoinError::Connections(max));
        }
        presence.room_for(&joining.page_id, limits.max_pages_per_session).map_err(JoinError::Pages)?;
        let Joining { page_id, page_path, outlet, speaks_headcount, .. } = joining;
        if let Some(expires_ms) = joining.expires_ms {
            session.renew(expires_ms);
        }
        let way = (outlet.clone(), *speaks_headcount);
        let number = presence.connect(page_id, page_path.clone(), way, now_ms);
        // What it came back to is waited for no more, and its token may be a newer one.
        self.queue_look(session, &mut presence, now_ms);
        let beside = presence.beside(number, page_id);
        Ok(LetIn { session: session.clone(), number, resumed: false, beside })
    }

    /// A connection leaves its session.
    pub(super) fn leave(&self, session: &Session, number: ConnectionNumber, how: Leaving, now_ms: u64) {
        let patience = session.patience(&self.rules.windows);
        let mut forsaken = Vec::new();
        self.change(session.who().id(), now_ms, |live, presence| {
            // It may have ended, and a designer come again under its id: that is another's session.
            let is_its_own = std::ptr::eq(live, session);
            is_its_own.then(|| presence.disconnect(number, how, patience, now_ms, &mut forsaken)).flatten()
        });
        outlet::part_from(&forsaken);
        if self.limit_of_nobody(session.who().username()).is_some() {
            self.quota.nobody_leaves();
        }
    }

    /// Changes what is open in a session. One that ends by it leaves the map and the rows and enters the ring under
    /// the same guard, so it is never both and never neither.
    pub(super) fn change(
        &self,
        id: &str,
        now_ms: u64,
        change: impl FnOnce(&Session, &mut Presence) -> Option<End>,
    ) {
        self.sessions.remove_if(id, |ById(session), ()| {
            let mut presence = session.presence();
            let end = change(session, &mut presence);
            self.queue_look(session, &mut presence, now_ms);
            if end.is_some() {
                presence.queued_ms = NonZeroU64::new(now_ms);
            }
            drop(presence);
            let Some(end) = end else { return false };
            session.place().unlist(self.rows.changes(), || {
                let ended = Arc::new(session.ended(end, now_ms));
                self.ended.push(ended.clone());
                ended
            });
            // Under the guard too, or a newcomer could be refused for the sake of somebody who has ended.
            self.quota.release(session);
            true
        });
    }

    /// How long what is gone may come back.
    pub(super) fn windows(&self) -> &Windows {
        &self.rules.windows
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.rules.limits
    }

    /// The live session of this id.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.get(id).map(|live| live.key().0.clone())
    }
}
