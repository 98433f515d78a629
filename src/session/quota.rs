//! How many sessions there may be, and of whom: all counted under one lock, so that a newcomer is let in by every
//! limit or by none.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    Glob, JoinError, OneSessionPerUser, Rules, Session, UNAUTHENTICATED, index::Index, rows::Number,
};

/// How many sessions there may be; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// In all.
    pub max_sessions: Option<usize>,
    /// From one client address, or from one /64 of IPv6: a household or a phone has as many addresses as it likes.
    pub max_sessions_per_address: Option<usize>,
    /// Of one named user; sessions without a user are not counted here.
    pub max_sessions_per_user: Option<usize>,
    /// In one project.
    pub max_sessions_per_project: Option<usize>,
    /// Of nobody: sessions without a user name, and connections of such sessions.
    pub max_unauthenticated: Option<usize>,
    /// Connections of one session.
    pub max_connections_per_session: Option<usize>,
    /// Pages of one session.
    pub max_pages_per_session: Option<usize>,
}

/// Who is live, by everything that has a limit or can be asked for by name.
#[derive(Debug, Default)]
pub(super) struct Quota {
    counts: Mutex<Counts>,
    /// The same as in `counts`, for those who only want to know how many there are.
    live: AtomicUsize,
    /// Connections of sessions without a user, where these have a limit.
    of_nobody: AtomicUsize,
}

#[derive(Debug, Default)]
struct Counts {
    live: usize,
    /// The most that there were at a time.
    peak: usize,
    per_address: HashMap<IpAddr, usize>,
    by_user: Index,
    by_project: Index,
}

impl Quota {
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn peak(&self) -> usize {
        self.lock().peak
    }

    pub(super) fn live_in(&self, project: &str) -> usize {
        self.lock().by_project.count(project)
    }

    /// Takes a place among all for a session. Those of the same user that make way for it, if only one may stand, are
    /// counted no more.
    ///
    /// `session` is whose place that is, once it is listed.
    ///
    /// # Errors
    ///
    /// The first limit that is reached; nothing is counted then.
    pub(super) fn reserve(
        &self,
        newcomer: &Session,
        address: IpAddr,
        rules: &Rules,
        session: impl Fn(Number) -> Option<Arc<Session>>,
    ) -> Result<(), JoinError> {
        let counts = &mut *self.lock();
        let limits = &rules.limits;
        let (who, address) = (newcomer.who(), place_of(address));
        let making_way = counts.making_way(who.username(), rules.one_session_per_user, session)?;
        // What has no limit is not counted.
        let reached =
            |limit: Option<usize>, count: &dyn Fn() -> usize, makes_way: &dyn Fn(&Session) -> bool| {
                let leaving = || making_way.iter().filter(|session| makes_way(session)).count();
                limit.filter(|limit| count() - leaving() >= *limit)
            };
        if let Some(limit) = reached(limits.max_sessions, &|| counts.live, &|_| true) {
            return Err(JoinError::Full(limit));
        }
        let from_address = || counts.per_address.get(&address).copied().unwrap_or(0);
        let is_from_there = |session: &Session| place_of(session.who().client_address()) == address;
        if let Some(limit) = reached(limits.max_sessions_per_address, &from_address, &is_from_there) {
            return Err(JoinError::Address(limit));
        }
        let of_user = || counts.by_user.count(who.username());
        if who.username() == UNAUTHENTICATED {
            if let Some(limit) = reached(limits.max_unauthenticated, &of_user, &|_| true) {
                return Err(JoinError::Unauthenticated(limit));
            }
        } else if let Some(limit) = reached(limits.max_sessions_per_user, &of_user, &|_| true) {
            return Err(JoinError::User(limit));
        }
        let in_project = || counts.by_project.count(who.project());
        let is_in_it = |session: &Session| session.who().project() == who.project();
        if let Some(limit) = reached(limits.max_sessions_per_project, &in_project, &is_in_it) {
            return Err(JoinError::Project(limit));
        }
        let place = newcomer.place().number();
        counts.live += 1;
        counts.peak = counts.peak.max(counts.live);
        *counts.per_address.entry(address).or_default() += 1;
        counts.by_user.insert(who.username(), place);
        counts.by_project.insert(who.project(), place);
        self.live.store(counts.live, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the place of a session back.
    pub(super) fn release(&self, session: &Session) {
        let counts = &mut *self.lock();
        let (who, place) = (session.who(), session.place().number());
        counts.live -= 1;
        count_down(&mut counts.per_address, &place_of(who.client_address()));
        counts.by_user.remove(who.username(), place);
        counts.by_project.remove(who.project(), place);
        self.live.store(counts.live, Ordering::Relaxed);
    }

    /// One more connection without a user comes, where their number has this limit.
    ///
    /// # Errors
    ///
    /// The limit, if it is reached; nothing is counted then.
    pub(super) fn nobody_comes(&self, limit: usize) -> Result<(), JoinError> {
        let more = |count| (count < limit).then_some(count + 1);
        let counted = self.of_nobody.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map(drop).map_err(|_| JoinError::Unauthenticated(limit))
    }

    /// A connection has left that was [counted](Self::nobody_comes).
    pub(super) fn nobody_leaves(&self) {
        self.of_nobody.fetch_sub(1, Ordering::Relaxed);
    }

    /// The places of a named user's sessions; nobody is no user.
    pub(super) fn of_user(&self, username: &str) -> Vec<Number> {
        if username == UNAUTHENTICATED { Vec::new() } else { self.lock().by_user.of(username) }
    }

    /// The places of the sessions of any of these users, or in any of these projects, whichever are fewer; `None` if
    /// neither is asked for, or they are [many](Counts::few).
    pub(super) fn named(&self, usernames: Option<&[&str]>, projects: Option<&[&str]>) -> Option<Vec<Number>> {
        // A name that is given twice is one.
        let [usernames, projects] =
            [usernames, projects].map(|names| names.map(|n| n.iter().copied().collect()));
        let counts = self.lock();
        let find = |index: &Index, names: Option<BTreeSet<&str>>| index.of_any(&names?, counts.few());
        let found = [find(&counts.by_user, usernames), find(&counts.by_project, projects)];
        found.into_iter().flatten().min_by_key(Vec::len)
    }

    /// The places of all sessions that may fit both, if they are [few](Counts::few) among all.
    pub(super) fn fitting(&self, username: Option<&Glob>, project: Option<&Glob>) -> Option<Vec<Number>> {
        let counts = self.lock();
        let find = |index: &Index, pattern: Option<&Glob>| index.fitting(pattern?, counts.few());
        let (of_user, of_project) = (find(&counts.by_user, username), find(&counts.by_project, project));
        [of_user, of_project].into_iter().flatten().min_by_key(Vec::len)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// So many places at the most are taken from an index, for more are not faster than to look at all.
    fn few(&self) -> usize {
        /// Reading all rows in their order is so many times as fast as going to some.
        const FASTER: usize = 8;
        /// Newcomers wait meanwhile: for less than a millisecond, however many sessions there are.
        const MOST: usize = 16 * 1024;
        (self.live / FASTER).min(MOST)
    }

    /// The sessions that end when a newcomer of this user is let in.
    ///
    /// # Errors
    ///
    /// One of them stands in the way: it has a connection, or is about to.
    fn making_way(
        &self,
        username: &str,
        one_each: OneSessionPerUser,
        session: impl Fn(Number) -> Option<Arc<Session>>,
    ) -> Result<Vec<Arc<Session>>, JoinError> {
        if one_each == OneSessionPerUser::Off || username == UNAUTHENTICATED {
            return Ok(Vec::new());
        }
        let others: Vec<_> = self.by_user.of(username).into_iter().map(session).collect();
        let stands =
            |other: &Option<Arc<Session>>| other.as_ref().is_none_or(|other| other.connections() > 0);
        if one_each == OneSessionPerUser::Reject && others.iter().any(stands) {
            return Err(JoinError::User(1));
        }
        Ok(others.into_iter().flatten().collect())
    }
}

/// What counts as one place: an IPv4 address, or a /64 of IPv6.
pub(crate) fn place_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        v4 => v4,
    }
}

fn count_down(counts: &mut HashMap<IpAddr, usize>, address: &IpAddr) {
    if let Some(count) = counts.get_mut(address) {
        *count -= 1;
        if *count == 0 {
            counts.remove(address);
        }
    }
}
