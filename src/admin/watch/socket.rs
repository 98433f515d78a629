//! The watches of one query socket.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{
    asked::Asked,
    hub::Hub,
    queue::Watch,
    told::{Snapshot, Told},
};
use crate::admin::{
    listing::NoList,
    source::{Source, Workshop},
};

/// The most watches of one socket.
const MAX_WATCHES: usize = 32;

/// The watches of one query socket. Those that have been answered are told what changes.
pub(in crate::admin) struct Watches {
    hub: Arc<Hub>,
    workshop: Workshop,
    /// Each by its id; the one that was told last is at the end.
    watches: Mutex<VecDeque<(String, Arc<Watch>)>>,
    last_id: AtomicU64,
    wake: Arc<Notify>,
}

impl Watches {
    pub(in crate::admin) fn new(hub: Arc<Hub>, workshop: Workshop) -> Arc<Self> {
        let (watches, last_id, wake) = (Mutex::default(), AtomicU64::new(0), Arc::default());
        Arc::new(Self { hub, workshop, watches, last_id, wake })
    }

    /// The answer to `watchSessions`: once it is written, the watch is one of those that are told.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub(in crate::admin) fn begin(self: &Arc<Self>, asked: Asked) -> Result<Box<dyn Source>, NoList> {
        if self.lock().len() >= MAX_WATCHES {
            return Err(NoList::Limit(format!("there are {MAX_WATCHES} watches of this socket already")));
        }
        let watch = Arc::new(self.hub.watch(asked, self.wake.clone())?);
        let id = format!("w{}", self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let (head, watches) = (format!(r#"{{"watchId":"{id}","#), self.clone());
        let done = move |watch| watches.lock().push_back((id, watch));
        Ok(Box::new(Snapshot::answer(watch, head, done)))
    }

    /// Ends a watch; answers whether there was one of this id.
    pub(in crate::admin) fn end(&self, id: &str) -> bool {
        let mut watches = self.lock();
        let Some(at) = watches.iter().position(|(known, _)| known == id) else { return false };
        let ended = watches.remove(at);
        // Without the lock: its group may end with it.
        drop(watches);
        drop(ended);
        true
    }

    /// The next notification, when there is one. Cancel safe.
    pub(in crate::admin) async fn next(&self) -> Told {
        loop {
            if let Some(told) = self.due() {
                return told;
            }
            self.wake.notified().await;
        }
    }

    fn due(&self) -> Option<Told> {
        let mut watches = self.lock();
        let at = watches.iter().position(|(_, watch)| watch.has_next())?;
        let (id, watch) = watches.remove(at)?;
        let told = Told::notification(&watch, &id, &self.workshop);
        watches.push_back((id, watch));
        told
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Arc<Watch>)>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").finish_non_exhaustive()
    }
}
