//! Lists that are kept for a while, so that they can be read page by page.
//!
//! A snapshot is for those who see what its maker saw ([`View`]). For all others there is none of its id.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{
    infos::Infos,
    select::{Ordered, Question},
    sharing::{Sharing, Turn},
    view::View,
};
use crate::{
    edge::{clock::Clock, waits::long},
    session::{Session, SessionScope},
};

/// How long a snapshot is kept after it was last asked for.
const KEPT: Duration = Duration::from_secs(30);

/// The most snapshots; the one that was not asked for the longest goes first.
const MAX_SNAPSHOTS: usize = 16;

/// The most rows of all snapshots together, and of all that are shared: 24 bytes each, and the sessions that have ended
/// since. A larger list can only be had as a whole.
const MAX_ROWS: usize = 2_000_000;

/// A list that is fixed: who is in it, and in which order.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// What it is asked for by, which nobody guesses.
    pub(super) id: String,
    /// How its question was written.
    pub(super) asked: String,
    /// What whoever made it saw.
    view: View,
    /// When it was made, in milliseconds of the server's clock.
    pub(super) taken_ms: u64,
    /// How many sessions were live then.
    pub(super) total: usize,
    /// How many of them it holds.
    pub(super) matching: usize,
    rows: Mutex<Ordered>,
}

impl Snapshot {
    /// What was selected out of so many at that moment.
    pub(super) fn new(
        (total, rows): (usize, Ordered),
        taken_ms: u64,
        (view, asked): (&View, &str),
    ) -> Arc<Self> {
        Arc::new(Self {
            id: uuid::Uuid::new_v4().to_string(),
            asked: asked.to_owned(),
            view: view.clone(),
            taken_ms,
            total,
            matching: rows.len(),
            rows: Mutex::new(rows),
        })
    }

    /// A page of it.
    pub(super) fn page(&self, offset: usize, most: usize) -> Vec<Arc<Session>> {
        // Should a comparison panic, the rows are still all there, each once.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).page(offset, most)
    }
}

/// The snapshots that can be asked for, and those that are shared by whoever asks the same at about the same time.
#[derive(Debug)]
pub(super) struct Snapshots {
    kept: Mutex<Kept>,
    pub(super) lists: Arc<Sharing<Key, Arc<Snapshot>>>,
    pub(super) infos: Infos,
    /// How old an answer may be unless its question says something else.
    pub(super) max_age: Duration,
}

/// A question, and whatever makes its answer another one: who asks sees more or less.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    view: View,
    scope: Option<SessionScope>,
    asked: String,
}

/// Somebody's turn to select for all who ask the same.
pub(super) type Selects = Turn<Key, Arc<Snapshot>>;

impl Key {
    /// A question that was written so.
    pub(super) fn new(view: &View, question: &Question, asked: &str) -> Self {
        Self { view: view.clone(), scope: question.scope(), asked: asked.to_owned() }
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// Each with when it was last asked for; the latest last.
    snapshots: VecDeque<(u64, Arc<Snapshot>)>,
    /// Somebody looks after those that are forgotten.
    is_watched: bool,
}

impl Kept {
    fn forget(&mut self, now_ms: u64) {
        let kept_ms = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        self.snapshots.retain(|(asked_ms, _)| now_ms.saturating_sub(*asked_ms) < kept_ms);
    }
}

impl Default for Snapshots {
    fn default() -> Self {
        Self::new(Duration::ZERO)
    }
}

impl Snapshots {
    /// Answers may be so old unless their questions say something else.
    pub(super) fn new(max_age: Duration) -> Self {
        Self { kept: Mutex::default(), lists: Sharing::new(MAX_ROWS), infos: Infos::new(), max_age }
    }

    /// Keeps a list, so that it can be asked for by its id; `false` if it is too large.
    pub(super) fn keep(self: &Arc<Self>, snapshot: &Arc<Snapshot>, clock: Clock) -> bool {
        if snapshot.matching > MAX_ROWS {
            return false;
        }
        let now_ms = clock.now_ms();
        let mut kept = self.lock();
        kept.forget(now_ms);
        // A shared one may be there already.
        kept.snapshots.retain(|(_, known)| !Arc::ptr_eq(known, snapshot));
        kept.snapshots.push_back((now_ms, snapshot.clone()));
        let rows = |kept: &Kept| kept.snapshots.iter().map(|(_, kept)| kept.matching).sum::<usize>();
        while kept.snapshots.len() > MAX_SNAPSHOTS || rows(&kept) > MAX_ROWS {
            kept.snapshots.pop_front();
        }
        if !kept.is_watched
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            kept.is_watched = true;
            runtime.spawn(watch(Arc::downgrade(self), clock));
        }
        true
    }

    /// The snapshot of this id, if it is kept and its maker saw just this.
    pub(super) fn get(&self, id: &str, view: &View, now_ms: u64) -> Option<Arc<Snapshot>> {
        let mut kept = self.lock();
        kept.forget(now_ms);
        let at = kept.snapshots.iter().position(|(_, kept)| kept.id == id && kept.view == *view)?;
        let (_, snapshot) = kept.snapshots.remove(at)?;
        kept.snapshots.push_back((now_ms, snapshot.clone()));
        Some(snapshot)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what nobody asks for any more, although nobody asks for anything; ends when there is nothing left.
async fn watch(snapshots: Weak<Snapshots>, clock: Clock) {
    loop {
        long(|| tokio::time::sleep(KEPT)).await;
        let Some(snapshots) = snapshots.upgrade() else { return };
        let mut kept = snapshots.lock();
        kept.forget(clock.now_ms());
        if kept.snapshots.is_empty() {
            kept.is_watched = false;
            return;
        }
    }
}
