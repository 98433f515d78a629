use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    num::NonZeroU64,
    sync::Arc,
};

use dashmap::{DashMap, Entry};

use super::{
    Census, CensusOf, EndReason, EndedSession, Glob, JoinError, Joining, Leaving, Limits, Listing,
    Membership, OneSessionPerUser, Rules, Session, SessionInfo, SessionScope, UNAUTHENTICATED, Who, Windows,
    candidates::{Candidates, Named},
    deadlines::{Alarm, Deadlines},
    ended::EndedRing,
    outlet,
    presence::{ConnectionNumber, End, Presence},
    quota::Quota,
    rows::{Number, Rows},
    shared::SharedTexts,
};

/// The shards of the map.
const SHARDS: usize = 1024;

/// Where a connection has been let in.
type Place = (Arc<Session>, ConnectionNumber);

/// All live sessions, and the last that ended.
///
/// The map tells which session has an id; it is named in this file alone, and no guard of it leaves this file. Lists
/// are read from the rows, where sessions lie side by side. See the invariants in the crate's documentation.
///
/// Locks are taken in this order, and none but for a few stores: the map's shard, what is open in one session, then
/// one of the page of rows, the queue of deadlines, the ring or the ended of `changes.rs`; a newcomer takes the quota's
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
            Ok(Some((session, number))) => Ok((session, number, true)),
            Ok(None) => self.join_or_begin(joining, now_ms).map(|(session, number)| (session, number, false)),
            Err(error) => Err(error),
        };
        let (session, number, resumed) = let_in.inspect_err(|_| {
            if limit.is_some() {
                self.quota.nobody_leaves();
            }
        })?;
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

    fn resume(&self, joining: &Joining, now_ms: u64) -> Result<Option<Place>, JoinError> {
        let Some(token) = &joining.resume else { return Ok(None) };
        // Under the guard, which an ending takes too: the session cannot end in between.
        match self.sessions.get(token.session_id()).as_ref().map(|live| &live.key().0) {
            Some(live) if live.may_be_resumed_by(&joining.identity, token) => {
                let number = self.connect(live, joining, now_ms)?;
                Ok(Some((live.clone(), number)))
            }
            _ => Ok(None),
        }
    }

    fn join_or_begin(&self, joining: Joining, now_ms: u64) -> Result<Place, JoinError> {
        let who = Who::new(&joining.identity, &self.user_agents.share(&joining.identity.user_agent));
        let newcomer = Arc::new(Session::begin(who, self.rows.take(now_ms), now_ms));
        match self.sessions.entry(ById(newcomer.clone())) {
            Entry::Occupied(live) => {
                let live = &live.key().0;
                if !live.who().may_be_joined_by(&joining.identity) {
                    return Err(JoinError::Taken);
                }
                let number = self.connect(live, &joining, now_ms)?;
                Ok((live.clone(), number))
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
                Ok((newcomer, number))
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

    fn idle_ms(&self, session: &Session) -> Option<u64> {
        let scope = session.who().scope();
        let at = SessionScope::ALL.iter().position(|known| *known == scope)?;
        self.rules.idle_ms[at]
    }

    /// When this session's user has done nothing for too long, unless something is done until then.
    fn idle_at_ms(&self, session: &Session) -> Option<u64> {
        Some(session.last_action_ms().saturating_add(self.idle_ms(session)?))
    }

    /// When the session is over because its token has expired, unless a newer one comes. One that waits for its client is
    /// not: whoever comes back has to bring a token that holds.
    fn token_ends_ms(&self, session: &Session, presence: &Presence) -> Option<u64> {
        if presence.connections().is_empty() {
            return None;
        }
        let expires_ms = Some(session.expires_ms()).filter(|expires_ms| *expires_ms < u64::MAX)?;
        Some(expires_ms.saturating_add(self.rules.token_grace_ms))
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
        let Joining { page_id, page_path, outlet, speaks_headcount, .. } = joining;
        if let Some(expires_ms) = joining.expires_ms {
            session.renew(expires_ms);
        }
        let way = (outlet.clone(), *speaks_headcount);
        let number = presence.connect(page_id, page_path.clone(), way, now_ms);
        // What it came back to is waited for no more, and its token may be a newer one.
        self.queue_look(session, &mut presence, now_ms);
        let beside = presence.beside(number, page_id);
        drop(presence);
        outlet::challenge(&beside);
        Ok(number)
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

    /// When there is something to [expire](Self::expire) next, if ever.
    pub fn due_ms(&self) -> Option<u64> {
        self.deadlines.first_ms()
    }

    /// Calls this, as long as it is kept, when [`due_ms`](Self::due_ms) comes to be sooner than it was.
    pub fn when_due_sooner(&self, call: &Arc<Alarm>) {
        self.deadlines.call(Arc::downgrade(call));
    }

    /// Gives up what was kept until now, and ends the sessions whose users have done nothing for too long. Costs
    /// nothing while nothing is due.
    pub fn expire(&self, now_ms: u64) {
        while self.expire_some(now_ms) {}
    }

    /// The same for a hundred sessions at the most, which takes less than a millisecond; answers whether more may be due.
    pub fn expire_some(&self, now_ms: u64) -> bool {
        const AT_ONCE: usize = 100;
        (0..AT_ONCE).all(|_| {
            let due = self.deadlines.due(now_ms);
            due.inspect(|(at_ms, place)| self.look_at(*place, *at_ms, now_ms)).is_some()
        })
    }

    /// The look at a session that was queued for then.
    fn look_at(&self, place: Number, at_ms: u64, now_ms: u64) {
        let Some(session) = self.rows.session(place) else { return };
        let id = session.who().id();
        let mut over = None;
        self.change(id, now_ms, |live, presence| {
            if !std::ptr::eq(live, &*session) {
                return None;
            }
            presence.queued_ms.take_if(|queued| queued.get() == at_ms);
            // It is not authorized any more, although nothing was done. The look may have been for something else
            // shortly before, and late.
            if live.expires_ms() <= now_ms {
                live.place().mark();
            }
            let end = presence.expire(now_ms);
            if end.is_none() {
                over = self.is_over(live, presence, now_ms);
            }
            end
        });
        if let Some((reason, words)) = over {
            // Asked once more under its guard: a newer token may have come in between.
            let may_end = |live: &Session, presence: &Presence| {
                std::ptr::eq(live, &*session) && self.is_over(live, presence, now_ms).is_some()
            };
            self.terminate_if(id, may_end, reason, words, now_ms);
        }
    }

    /// Why a session is not to go on, and the words for its client.
    fn is_over(
        &self,
        session: &Session,
        presence: &Presence,
        now_ms: u64,
    ) -> Option<(EndReason, &'static str)> {
        let is_past = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if is_past(self.token_ends_ms(session, presence)) {
            Some((EndReason::TokenExpired, "the token has expired"))
        } else if is_past(self.idle_at_ms(session)) {
            Some((EndReason::Idle, "nothing was done for too long"))
        } else {
            None
        }
    }

    /// Queues a look at the session for when something is to be done with it next.
    fn queue_look(&self, session: &Session, presence: &mut Presence, now_ms: u64) {
        let later_ms = now_ms.saturating_add(1);
        let next = if presence.is_ended() {
            None
        } else if presence.queued_ms.is_some_and(|queued| queued.get() <= now_ms) {
            // It is due, and whoever deals with it finds out what is next.
            return;
        } else {
            let expires_ms = Some(session.expires_ms()).filter(|at_ms| (later_ms..u64::MAX).contains(at_ms));
            let ends =
                [presence.deadline_ms(), self.idle_at_ms(session), self.token_ends_ms(session, presence)];
            ends.into_iter().flatten().chain(expires_ms).min()
        };
        // Never for the moment that is being dealt with, or dealing with it would not end.
        let next = next.and_then(|at_ms| NonZeroU64::new(at_ms.max(later_ms)));
        if next != presence.queued_ms {
            self.deadlines.change(session.place().number(), presence.queued_ms, next);
            presence.queued_ms = next;
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
        let removed = self.sessions.remove_if(id, |ById(session), ()| {
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
            true
        });
        if let Some((ById(session), ())) = removed {
            self.quota.release(&session);
        }
    }

    /// The last sessions that ended, the newest first, and how many ended before those and are forgotten.
    pub fn ended(&self) -> (Vec<Arc<EndedSession>>, u64) {
        self.ended.read()
    }

    /// How many sessions that ended are remembered.
    pub fn remembered(&self) -> usize {
        self.ended.len()
    }

    /// How many looks at sessions are queued: one a session at the most.
    #[cfg(test)]
    pub(super) fn looks_to_come(&self) -> usize {
        self.deadlines.len()
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

    /// How many sessions are live.
    pub fn len(&self) -> usize {
        self.quota.live()
    }

    /// The most sessions that were live at a time.
    pub fn peak(&self) -> usize {
        self.quota.peak()
    }

    /// Counts who is live and what has been: by their names too, or of one project alone.
    pub fn census(&self, of: CensusOf<'_>, now_ms: u64) -> Census {
        let mut census = Census::new(of);
        self.rows.count(&mut census, now_ms);
        census
    }

    /// How many of them are in this project.
    pub fn len_in(&self, project: &str) -> usize {
        self.quota.live_in(project)
    }

    /// Whether no session is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins the list of `getSessionInfo`: of the sessions whose user name and project fit; `None` fits all.
    pub fn list(&self, username: Option<Glob>, project: Option<Glob>) -> Listing {
        // First: a session that begins after this is in no index that is asked below.
        let turn = self.rows.turn();
        let places = self.quota.fitting(username.as_ref(), project.as_ref());
        Listing::new(username, project, places, turn)
    }

    /// Writes the next rows of a list with commas between them, until `out` has so many bytes or a little more, or some
    /// thousand sessions have been looked at; `false` if the list is at its end.
    pub fn write_list(&self, list: &mut Listing, now_ms: u64, bytes: usize, out: &mut Vec<u8>) -> bool {
        /// Looking at a page takes some microseconds, also if none of its sessions fits.
        const MOST_PAGES: usize = 8;
        for _ in 0..MOST_PAGES {
            if out.len() >= bytes {
                break;
            }
            if !list.write_page(&self.rows, now_ms, out) {
                return false;
            }
        }
        true
    }

    /// How many sessions are looked at for a list.
    pub fn looks(&self, list: &Listing) -> usize {
        list.looks(self.len())
    }

    /// The sessions whose user name and project fit, in no particular order; `None` fits all.
    ///
    /// Each was live at some instant during the call and is there once.
    pub fn select(&self, username: Option<&Glob>, project: Option<&Glob>) -> Vec<Arc<Session>> {
        let fits = |filter: Option<&Glob>, value: &str| filter.is_none_or(|glob| glob.matches(value));
        let mut found = Vec::new();
        self.rows.for_each(|session| {
            let who = session.who();
            if fits(username, who.username()) && fits(project, who.project()) {
                found.push(session);
            }
        });
        found
    }

    /// Begins to go through the sessions that may be among those named. Names are looked up, so that few sessions among
    /// many are found without looking at the others.
    pub fn candidates(&self, named: &Named<'_>) -> Candidates {
        if let Some(ids) = &named.ids {
            return Candidates::of_ids(ids, |id| self.get(id));
        }
        // First: a session that begins after this is left out, so that an id is not seen twice.
        let turn = self.rows.turn();
        let places = self.quota.named(named.usernames.as_deref(), named.projects.as_deref());
        Candidates::at(places, turn)
    }

    /// The next few of them, maybe none; `None` if there are no more. Takes some microseconds.
    pub fn next_candidates(&self, candidates: &mut Candidates) -> Option<Vec<Arc<Session>>> {
        candidates.next(&self.rows)
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
