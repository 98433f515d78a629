//! How many sessions there may be, and of whom: all counted under one lock, so that a newcomer is let in by every
//! limit or by none.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Identity, JoinError, UNAUTHENTICATED};

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

#[derive(Debug, Default)]
pub(super) struct Quota {
    counts: Mutex<Counts>,
    /// The same as in `counts`, for those who only want to know how many there are.
    live: AtomicUsize,
}

#[derive(Debug, Default)]
struct Counts {
    live: usize,
    unauthenticated: usize,
    per_address: HashMap<IpAddr, usize>,
    per_project: HashMap<Arc<str>, usize>,
    /// The ids of each named user's sessions, the oldest first.
    per_user: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Quota {
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Takes a place for a session.
    ///
    /// # Errors
    ///
    /// The first limit that is reached; nothing is counted then.
    pub(super) fn reserve(&self, identity: &Identity, limits: &Limits) -> Result<(), JoinError> {
        let counts = &mut *self.lock();
        let address = place_of(identity.client_address);
        let is_nobody = &*identity.username == UNAUTHENTICATED;
        let reached = |limit: Option<usize>, count: usize| limit.filter(|limit| count >= *limit);
        let of_user = counts.per_user.get(&identity.username).map_or(0, Vec::len);
        if let Some(limit) = reached(limits.max_sessions, counts.live) {
            return Err(JoinError::Full(limit));
        }
        if let Some(limit) = reached(limits.max_sessions_per_address, count_of(&counts.per_address, &address))
        {
            return Err(JoinError::Address(limit));
        }
        if let Some(limit) = reached(limits.max_sessions_per_user, of_user) {
            return Err(JoinError::User(limit));
        }
        let in_project = count_of(&counts.per_project, &identity.project);
        if let Some(limit) = reached(limits.max_sessions_per_project, in_project) {
            return Err(JoinError::Project(limit));
        }
        if is_nobody && let Some(limit) = reached(limits.max_unauthenticated, counts.unauthenticated) {
            return Err(JoinError::Unauthenticated(limit));
        }
        counts.live += 1;
        *counts.per_address.entry(address).or_default() += 1;
        *counts.per_project.entry(identity.project.clone()).or_default() += 1;
        if is_nobody {
            counts.unauthenticated += 1;
        } else {
            counts.per_user.entry(identity.username.clone()).or_default().push(identity.id.clone());
        }
        self.live.store(counts.live, Ordering::Relaxed);
        Ok(())
    }

    /// Gives the place of a session back.
    pub(super) fn release(&self, identity: &Identity) {
        let counts = &mut *self.lock();
        counts.live -= 1;
        count_down(&mut counts.per_address, &place_of(identity.client_address));
        count_down(&mut counts.per_project, &identity.project);
        if &*identity.username == UNAUTHENTICATED {
            counts.unauthenticated -= 1;
        } else if let Some(ids) = counts.per_user.get_mut(&identity.username) {
            // One entry alone: under the same id a new session may have begun already.
            if let Some(at) = ids.iter().position(|id| *id == identity.id) {
                ids.remove(at);
            }
            if ids.is_empty() {
                counts.per_user.remove(&identity.username);
            }
        }
        self.live.store(counts.live, Ordering::Relaxed);
    }

    /// The ids of a named user's sessions, the oldest first.
    pub(super) fn of_user(&self, username: &str) -> Vec<Arc<str>> {
        self.lock().per_user.get(username).cloned().unwrap_or_default()
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

fn count_of<K: Eq + Hash>(counts: &HashMap<K, usize>, key: &K) -> usize {
    counts.get(key).copied().unwrap_or(0)
}

fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
