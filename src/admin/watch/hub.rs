//! All groups of watchers, and the news of the registry for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, Semaphore};

use super::{
    asked::{Asked, Key},
    group::{Group, Inbox},
    queue::Watch,
    tally::Tally,
};
use crate::{admin::listing::NoList, edge::clock::Clock, session::Registry};

/// The most watches at a time, of all sockets and event streams.
const MAX_WATCHES: usize = 1_024;

/// Whoever watches sessions.
#[derive(Debug)]
pub(in crate::admin) struct Hub {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    groups: Mutex<HashMap<Key, Weak<Group>>>,
    desk: Mutex<Desk>,
    places: Arc<Semaphore>,
    /// How long it may take to find out who fits.
    max_time: Duration,
    pub(in crate::admin) tally: Arc<Tally>,
    /// Groups find out one after the other what has changed, so that all watchers together take one core at most.
    pub(super) turn: Arc<Semaphore>,
}

/// Where news is handed out.
#[derive(Debug, Default)]
struct Desk {
    inboxes: Vec<Arc<Inbox>>,
    /// How often news was handed out.
    revision: u64,
}

impl Hub {
    /// Watches of these sessions; it may take `max_time` to find out who fits.
    pub(in crate::admin) fn new(registry: Arc<Registry>, clock: Clock, max_time: Duration) -> Arc<Self> {
        Arc::new(Self {
            registry,
            clock,
            groups: Mutex::default(),
            desk: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_WATCHES)),
            max_time,
            tally: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// When whoever begins now to find out who fits gives up.
    pub(super) fn deadline(&self) -> Instant {
        const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);
        Instant::now() + self.max_time.min(FOR_EVER)
    }

    /// A new watch, which [takes](Watch::join) its snapshot later. `wake` is notified whenever something waits for it.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(in crate::admin) fn watch(
        self: &Arc<Self>,
        asked: Asked,
        wake: Arc<Notify>,
    ) -> Result<Watch, NoList> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Err(NoList::Limit(format!("there are {MAX_WATCHES} watches already, of all who watch")));
        };
        Ok(Watch::new(self.group(asked), place, wake))
    }

    fn group(self: &Arc<Self>, Asked { question, key }: Asked) -> Arc<Group> {
        let mut groups = lock(&self.groups);
        if let Some(group) = groups.get(&key).and_then(Weak::upgrade) {
            return group;
        }
        let group = Arc::new(Group::new(self.clone(), key.clone(), question));
        groups.insert(key, Arc::downgrade(&group));
        self.tally.group_begun();
        drop(groups);
        group.keep_telling();
        group
    }

    /// From now on, news is put into this inbox too.
    pub(super) fn subscribe(&self, inbox: &Arc<Inbox>) {
        let mut desk = lock(&self.desk);
        if desk.inboxes.is_empty() {
            self.registry.begin_news();
        }
        desk.inboxes.push(inbox.clone());
    }

    /// Puts what has changed into every inbox; answers the revision that this makes.
    pub(super) fn hand_out(&self) -> u64 {
        let mut desk = lock(&self.desk);
        desk.revision += 1;
        let news = self.registry.news();
        for inbox in &desk.inboxes {
            inbox.put(&news);
        }
        desk.revision
    }

    /// A group is no more.
    pub(super) fn forget(&self, key: &Key, inbox: &Arc<Inbox>) {
        self.tally.group_ended();
        let mut desk = lock(&self.desk);
        desk.inboxes.retain(|known| !Arc::ptr_eq(known, inbox));
        if desk.inboxes.is_empty() {
            self.registry.end_news();
        }
        drop(desk);
        let mut groups = lock(&self.groups);
        // Another may have taken its place already.
        if groups.get(key).is_some_and(|group| group.strong_count() == 0) {
            groups.remove(key);
        }
    }

    /// How many groups there are.
    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        lock(&self.groups).len()
    }
}

/// What is done under these locks leaves whole values behind wherever it stops.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
