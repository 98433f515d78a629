use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dashmap::{DashMap, Entry};

use super::{Glob, Joining, Session, SessionInfo, UNAUTHENTICATED, session::Identity};

/// All live sessions.
///
/// The map is named in this file alone, and no guard of it leaves this file: a snapshot copies handles out,
/// shard by shard, and works on those. See the invariants in the crate's documentation.
#[derive(Debug)]
pub struct Registry {
    sessions: DashMap<Arc<str>, Arc<Session>>,
    per_address: DashMap<IpAddr, usize>,
    per_user: DashMap<Arc<str>, usize>,
    live: AtomicUsize,
    limits: Limits,
}

/// How many sessions there may be; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// In all.
    pub max_sessions: Option<usize>,
    /// From one client address.
    pub max_sessions_per_address: Option<usize>,
    /// Of one named user; sessions without a user are not counted here.
    pub max_sessions_per_user: Option<usize>,
    /// Connections of one session.
    pub max_connections_per_session: Option<usize>,
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
    /// `max_connections_per_session` is reached.
    #[error("too many connections of this session: the limit is {0}")]
    Connections(usize),
    /// The id is live under another identity, scope or project.
    #[error("designerId is in use by another user or project")]
    Taken,
}

impl Registry {
    /// An empty registry.
    pub fn new(limits: Limits) -> Self {
        Self {
            // Few sessions a shard, so that a snapshot never holds one for long (measured: 8 shards stall
            // a writer for 109 ms at a million sessions, 1,024 for 3).
            sessions: DashMap::with_shard_amount(1024),
            per_address: DashMap::new(),
            per_user: DashMap::new(),
            live: AtomicUsize::new(0),
            limits,
        }
    }

    /// Begins a session, or joins the live one of the same id, and opens the page.
    ///
    /// The membership that comes back is the connection's: dropping it is leaving.
    ///
    /// # Errors
    ///
    /// A [`JoinError`]; nothing has changed then.
    pub fn join(self: &Arc<Self>, joining: Joining, now_ms: u64) -> Result<Membership, JoinError> {
        let Joining { identity, page_id, page_path } = joining;
        let session = match self.sessions.entry(identity.id.clone()) {
            Entry::Occupied(live) => {
                let session = live.get();
                if !session.may_be_joined_by(&identity) {
                    return Err(JoinError::Taken);
                }
                // Under the entry's guard, which a leaving takes too: the session cannot end in between.
                session.connect(&page_id, page_path, self.limits.max_connections_per_session)?;
                session.clone()
            }
            Entry::Vacant(free) => {
                self.reserve(&identity)?;
                let session = Arc::new(Session::begin(identity, now_ms));
                // Under the entry's guard: a session is never seen without its page.
                session.connect(&page_id, page_path, None)?;
                free.insert(session.clone());
                session
            }
        };
        Ok(Membership { registry: self.clone(), session, page_id })
    }

    /// How many sessions are live.
    pub fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
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

    fn reserve(&self, identity: &Identity) -> Result<(), JoinError> {
        let limits = &self.limits;
        let live = self.live.fetch_add(1, Ordering::Relaxed);
        if limits.max_sessions.is_some_and(|max| live >= max) {
            self.live.fetch_sub(1, Ordering::Relaxed);
            return Err(JoinError::Full(live));
        }
        if let Err(limit) =
            count_up(&self.per_address, identity.client_address, limits.max_sessions_per_address)
        {
            self.live.fetch_sub(1, Ordering::Relaxed);
            return Err(JoinError::Address(limit));
        }
        if &*identity.username != UNAUTHENTICATED
            && let Err(limit) =
                count_up(&self.per_user, identity.username.clone(), limits.max_sessions_per_user)
        {
            count_down(&self.per_address, &identity.client_address);
            self.live.fetch_sub(1, Ordering::Relaxed);
            return Err(JoinError::User(limit));
        }
        Ok(())
    }

    fn release(&self, identity: &Identity) {
        if &*identity.username != UNAUTHENTICATED {
            count_down(&self.per_user, &identity.username);
        }
        count_down(&self.per_address, &identity.client_address);
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

fn count_up<K: Eq + std::hash::Hash>(
    counts: &DashMap<K, usize>,
    key: K,
    limit: Option<usize>,
) -> Result<(), usize> {
    let mut count = counts.entry(key).or_insert(0);
    match limit {
        Some(limit) if *count >= limit => Err(limit),
        _ => {
            *count += 1;
            Ok(())
        }
    }
}

fn count_down<K: Eq + std::hash::Hash>(counts: &DashMap<K, usize>, key: &K) {
    counts.remove_if_mut(key, |_, count| {
        *count -= 1;
        *count == 0
    });
}

/// One connection's place in its session. Dropping it is leaving: the page closes, and with the last
/// connection the session ends, even if the connection's task panicked or was aborted.
#[derive(Debug)]
pub struct Membership {
    registry: Arc<Registry>,
    session: Arc<Session>,
    page_id: Arc<str>,
}

impl Membership {
    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The page that this connection serves.
    pub fn page_id(&self) -> &str {
        &self.page_id
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let identity = self.session.identity();
        let ended =
            self.registry.sessions.remove_if(&identity.id, |_, session| session.disconnect(&self.page_id));
        if ended.is_some() {
            self.registry.release(identity);
        }
    }
}
