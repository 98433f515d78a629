//! What can be asked, whichever way it is asked.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, time};

use crate::{
    edge::clock::Clock,
    session::{Glob, Registry, SessionInfo},
};

/// The questions, and what they are answered from.
#[derive(Clone, Debug)]
pub(super) struct Methods {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) heavy: Arc<Semaphore>,
    /// How long an answer may wait for its turn among the heavy ones.
    pub(super) patience: Duration,
}

/// Why a question was understood and still has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    /// Too many heavy questions at a time.
    #[error("too many large answers are being made; ask again in a few seconds")]
    Overloaded,
    /// A fault of ours.
    #[error("the server failed to make the answer; its log says more")]
    Failed,
}

/// The two filters of `getSessionInfo`; `None` matches all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SessionInfoFilters {
    username: Option<Glob>,
    project: Option<Glob>,
}

impl SessionInfoFilters {
    /// The names of the filters, in the order of the positional parameters.
    pub(super) const NAMES: [&'static str; 2] = ["usernameFilter", "projectFilter"];

    /// Reads the filters in the order of [`NAMES`](Self::NAMES); an empty one matches all.
    ///
    /// # Errors
    ///
    /// The filter that is too long, and the limit.
    pub(super) fn read(values: [Option<&str>; 2]) -> Result<Self, String> {
        let read = |at: usize| match values[at] {
            None | Some("") => Ok(None),
            Some(filter) if filter.chars().count() > Glob::MAX_CHARS => {
                Err(format!("{} must have at most {} characters", Self::NAMES[at], Glob::MAX_CHARS))
            }
            Some(filter) => Ok(Some(Glob::new(filter))),
        };
        Ok(Self { username: read(0)?, project: read(1)? })
    }
}

impl Methods {
    /// Writes the plain array of `getSessionInfo`.
    pub(super) fn session_info(&self, filters: &SessionInfoFilters, out: &mut Vec<u8>) {
        let rows = self.registry.session_info(
            filters.username.as_ref(),
            filters.project.as_ref(),
            self.clock.now_ms(),
        );
        write_array(rows, out).expect("rows are plain data and a Vec takes them all");
    }

    /// Makes an answer on the thread that fits its weight: a light one here, a heavy one off the sockets'
    /// threads, as many at a time as [`heavy`](Self::heavy) has places. `asked_bytes` is the
    /// length of the question.
    ///
    /// # Errors
    ///
    /// No place came free in time, or `make` panicked.
    pub(super) async fn answer<T: Send + 'static>(
        &self,
        asked_bytes: usize,
        make: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let guarded =
            |methods: &Self| catch_unwind(AssertUnwindSafe(|| make(methods))).map_err(|_| Unanswered::Failed);
        if !self.is_heavy(asked_bytes) {
            return guarded(self);
        }
        let place = time::timeout(self.patience, self.heavy.clone().acquire_owned());
        let Ok(Ok(place)) = place.await else { return Err(Unanswered::Overloaded) };
        let methods = self.clone();
        let made = tokio::task::spawn_blocking(move || {
            let _place = place;
            guarded(&methods)
        });
        made.await.unwrap_or(Err(Unanswered::Failed))
    }

    /// Whether an answer may take so long that it must not be made on a socket's thread. Longer questions have
    /// more requests, or filters that take longer to hold against a row.
    fn is_heavy(&self, asked_bytes: usize) -> bool {
        /// At about a microsecond a row, so many are about what a thread may be held for.
        const LIGHT_ROWS: usize = 256;
        /// A plain request with a filter has about so many bytes.
        const PLAIN_REQUEST: usize = 100;
        self.registry.rows().saturating_mul(1 + asked_bytes / PLAIN_REQUEST) > 2 * LIGHT_ROWS
    }
}

fn write_array(rows: impl Iterator<Item = SessionInfo>, out: &mut Vec<u8>) -> io::Result<()> {
    out.push(b'[');
    for (n, row) in rows.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &row)?;
    }
    out.push(b']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Membership, Rules, tests::joining};

    fn methods(sessions: usize) -> (Methods, Vec<Membership>) {
        let registry = Arc::new(Registry::new(Rules::default()));
        let members =
            (0..sessions).map(|n| registry.join(joining(&n.to_string(), "billy", "p"), 0).unwrap()).collect();
        let methods = Methods {
            registry,
            clock: Clock::start(),
            heavy: Arc::new(Semaphore::new(1)),
            patience: Duration::from_millis(20),
        };
        (methods, members)
    }

    #[tokio::test]
    async fn a_fault_in_one_answer_is_that_answer_s_alone() {
        for sessions in [1, 1000] {
            let (methods, _members) = methods(sessions);
            let failed = methods.answer(1, |_| -> usize { panic!("a fault on purpose") }).await;
            assert_eq!(failed, Err(Unanswered::Failed));
            assert_eq!(methods.answer(1, |methods| methods.registry.len()).await, Ok(sessions));
        }
    }

    #[tokio::test]
    async fn heavy_answers_wait_for_their_turn_and_not_for_ever() {
        let (methods, _members) = methods(1000);
        let place = methods.heavy.clone().acquire_owned().await.unwrap();
        assert_eq!(methods.answer(1, |_| ()).await, Err(Unanswered::Overloaded));
        drop(place);
        assert_eq!(methods.answer(1, |_| ()).await, Ok(()));
    }
}
