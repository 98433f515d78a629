//! The file of keys, read again when it changes.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use super::keys::Keys;
use crate::config::KeyFile;

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(2);

/// The keys of a file as they are now.
#[derive(Debug)]
pub(super) struct WatchedKeys {
    file: KeyFile,
    keys: RwLock<Arc<Keys>>,
    /// What was found when the file was last looked at.
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// `None` if there was no file.
    stamp: Option<Stamp>,
    is_good: bool,
}

/// What differs when a file has been changed or replaced, or may be read at last: when, its number, its length.
type Stamp = (i64, i64, u64, u64);

impl WatchedKeys {
    /// The keys of this file. If it cannot be read, which was found out before anything was bound, there are none
    /// until it can.
    pub(super) fn new(file: KeyFile) -> Self {
        let watched = Self { file, keys: RwLock::default(), seen: Mutex::new(None) };
        watched.look();
        watched
    }

    pub(super) fn current(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the file every two seconds, for ever.
    pub(super) async fn watch(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(POLL).await;
            let watched = self.clone();
            // A file may be far away, and slow.
            let _ = tokio::task::spawn_blocking(move || watched.look()).await;
        }
    }

    /// Reads the file if it has changed. If there is nothing good in it, the keys stay.
    fn look(&self) {
        let (KeyFile::Secret(path) | KeyFile::Public(path)) = &self.file;
        // Taken before the file is read: what is written meanwhile is seen the next time.
        let stamp =
            fs::metadata(path).map(|file| (file.ctime(), file.ctime_nsec(), file.ino(), file.len())).ok();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = seen.is_some_and(|seen| seen.stamp == stamp);
        let was_good = seen.is_some_and(|seen| seen.is_good);
        if is_same && was_good {
            return;
        }
        let read = Keys::read(&self.file);
        *seen = Some(Seen { stamp, is_good: read.is_ok() });
        match read {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), ?path, "the keys of tokens were read");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
            }
            Err(problem) if !is_same || was_good => {
                tracing::warn!(%problem, "the keys of tokens cannot be read; those of before stay");
            }
            // It has been told.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::*;
    use crate::clients::identity::fixtures::fixture;

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_takes_nothing_away() {
        let file = std::env::temp_dir().join(format!("headcount-watched-{}", std::process::id()));
        let write = |text: &str| {
            // Renamed into its place, as whoever rotates keys does.
            let fresh = file.with_extension("new");
            std::fs::write(&fresh, text).unwrap();
            std::fs::rename(&fresh, &file).unwrap();
        };
        write(&fixture("rsa-public"));
        let watched = WatchedKeys::new(KeyFile::Public(file.clone()));
        let algorithms = || {
            watched.look();
            watched.current().algorithms()
        };
        assert_eq!(algorithms(), [Algorithm::RS256]);
        for bad in ["", "garbage", &fixture("rsa-private")] {
            write(bad);
            assert_eq!(algorithms(), [Algorithm::RS256]);
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(algorithms(), [Algorithm::RS256]);
        write(&fixture("ec-public"));
        assert_eq!(algorithms(), [Algorithm::ES256]);
        std::fs::remove_file(&file).unwrap();
    }
}
