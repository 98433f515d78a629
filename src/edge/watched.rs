//! What is in files, read again when they change.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task, time};

use super::waits::long;

/// How often the files are looked at. Looking finds a replaced link on any file system.
const POLL: Duration = Duration::from_secs(2);

/// How the files are read: all of them anew, or one line that says what is wrong.
type Read<T> = dyn Fn() -> Result<T, String> + Send + Sync;

/// Says when somebody wants the files read, changed or not.
pub(crate) type ReadAgain = watch::Receiver<()>;

/// What some files hold as they are now.
pub(crate) struct Watched<T> {
    /// What it is, in the plural, for the log.
    what: &'static str,
    paths: Vec<PathBuf>,
    read: Box<Read<T>>,
    current: watch::Sender<Arc<T>>,
    /// What was found when the files were last looked at.
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    /// One a file; `None` if there was none.
    stamps: Vec<Option<Stamp>>,
    is_good: bool,
}

/// What differs when a file has been changed or replaced, or may be read at last: when, its number, its length.
type Stamp = (i64, i64, u64, u64);

impl<T: Default> Watched<T> {
    /// What these files hold. If they cannot be read, which was found out before anything was bound, that is nothing
    /// until they can.
    pub(crate) fn new(
        what: &'static str,
        paths: Vec<PathBuf>,
        read: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        let current = watch::Sender::new(Arc::default());
        let watched = Self { what, paths, read: Box::new(read), current, seen: Mutex::new(None) };
        watched.look();
        watched
    }
}

impl<T> Watched<T> {
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.borrow().clone()
    }

    /// What there is now, and a notice whenever that changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<T>> {
        self.current.subscribe()
    }

    /// Reads the files if one of them has changed. If there is nothing good in them, what was there stays.
    pub(crate) fn look(&self) {
        self.look_as(false);
    }

    /// The same, and with `is_asked` also if none has: whoever asks wants to hear what is in them.
    fn look_as(&self, is_asked: bool) {
        let stamp = |path: &PathBuf| {
            fs::metadata(path).map(|file| (file.ctime(), file.ctime_nsec(), file.ino(), file.len())).ok()
        };
        // Taken before the files are read: what is written meanwhile is seen the next time.
        let stamps: Vec<_> = self.paths.iter().map(stamp).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = !is_asked && seen.as_ref().is_some_and(|seen| seen.stamps == stamps);
        let was_good = seen.as_ref().is_some_and(|seen| seen.is_good);
        if is_same && was_good {
            return;
        }
        let read = (self.read)();
        *seen = Some(Seen { stamps, is_good: read.is_ok() });
        let Self { what, paths, .. } = self;
        match read {
            Ok(found) => {
                tracing::info!(?paths, "{what} were read");
                self.current.send_replace(Arc::new(found));
            }
            Err(problem) if !is_same || was_good => {
                tracing::warn!(%problem, "{what} cannot be read; those of before stay");
            }
            // It has been told.
            Err(_) => {}
        }
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Looks at the files every two seconds, and reads them whenever that is asked for, for ever.
    pub(crate) async fn watch(self: &Arc<Self>, mut read_again: ReadAgain) {
        loop {
            let is_asked = tokio::select! {
                () = long(|| time::sleep(POLL)) => false,
                // An error is that nobody is left who could ask; then there is the clock.
                Ok(()) = read_again.changed() => true,
            };
            let watched = self.clone();
            // A file may be far away, and slow.
            let _ = task::spawn_blocking(move || watched.look_as(is_asked)).await;
        }
    }
}

/// Without what is in the files: it is secret, as a rule.
impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("paths", &self.paths).finish_non_exhaustive()
    }
}
