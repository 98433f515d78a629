//! How many sessions there may be, and of whom: all counted under one lock, so that a newcomer is let in by every
//! limit or by none.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Glob, JoinError, Session, UNAUTHENTICATED, index::Index, rows::Number};

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
    /// Of nobody: without a user name.
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

    /// Takes a place among all for a session.
    ///
    /// `is_taken` says whether a session of the same user stands in the way, if one can.
    ///
    /// # Errors
    ///
    /// The first limit that is reached; nothing is counted then.
    pub(super) fn reserve(
        &self,
        newcomer: &Session,
        address: IpAddr,
        limits: &Limits,
        is_taken: Option<impl Fn(Number) -> bool>,
    ) -> Result<(), JoinError> {
        let counts = &mut *self.lock();
        let who = newcomer.who();
        let address = place_of(address);
        let reached = |limit: Option<usize>, count: usize| limit.filter(|limit| count >= *limit);
        if let Some(limit) = reached(limits.max_sessions, counts.live) {
            return Err(JoinError::Full(limit));
        }
        let from_address = counts.per_address.get(&address).copied().unwrap_or(0);
        if let Some(limit) = reached(limits.max_sessions_per_address, from_address) {
            return Err(JoinError::Address(limit));
        }
        let of_user = counts.by_user.count(who.username());
        if who.username() == UNAUTHENTICATED {
            if let Some(limit) = reached(limits.max_unauthenticated, of_user) {
                return Err(JoinError::Unauthenticated(limit));
            }
        } else if let Some(limit) = reached(limits.max_sessions_per_user, of_user) {
            return Err(JoinError::User(limit));
        } else if let Some(is_taken) = is_taken
            && counts.by_user.of(who.username()).into_iter().any(is_taken)
        {
            return Err(JoinError::User(1));
        }
        if let Some(limit) = reached(limits.max_sessions_per_project, counts.by_project.count(who.project()))
        {
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

    /// The places of a named user's sessions; nobody is no user.
    pub(super) fn of_user(&self, username: &str) -> Vec<Number> {
        if username == UNAUTHENTICATED { Vec::new() } else { self.lock().by_user.of(username) }
    }

    /// The places of the sessions of any of these users, or in any of these projects, whichever are fewer; `None` if
    /// neither is asked for.
    pub(super) fn named(&self, usernames: Option<&[&str]>, projects: Option<&[&str]>) -> Option<Vec<Number>> {
        let counts = self.lock();
        let find = |index: &Index, names: Option<&[&str]>| -> Option<Vec<Number>> {
            // A name that is given twice is one.
            let names: BTreeSet<&str> = names?.iter().copied().collect();
            Some(names.into_iter().flat_map(|name| index.of(name)).collect())
        };
        let found = [find(&counts.by_user, usernames), find(&counts.by_project, projects)];
        found.into_iter().flatten().min_by_key(Vec::len)
    }

    /// The places of all sessions that may fit both, if they are few among all.
    pub(super) fn fitting(&self, username: Option<&Glob>, project: Option<&Glob>) -> Option<Vec<Number>> {
        /// Reading all rows in their order is so many times as fast as going to some.
        const FASTER: usize = 8;
        let counts = self.lock();
        let most = counts.live / FASTER;
        let find = |index: &Index, pattern: Option<&Glob>| index.fitting(pattern?, most);
        let (of_user, of_project) = (find(&counts.by_user, username), find(&counts.by_project, project));
        [of_user, of_project].into_iter().flatten().min_by_key(Vec::len)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
