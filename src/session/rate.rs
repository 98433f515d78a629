//! How fast a client sends: an average of the last ten seconds, which no message pays for.
//!
//! Time goes in windows of ten seconds. What came in the one before this is remembered, and how much had come in all
//! when this one began; both change with the first read in a new window, and what came since is a difference. Of the
//! window before, the part counts that is still within the last ten seconds, as if it had come evenly.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long a window is, and what the average is of.
const WINDOW_MS: u64 = 10_000;

/// A session is younger than the average is long at first; its first message is not to look like a flood.
const LEAST_MS: u64 = 1_000;

/// What is remembered of the windows that are over. It is written by whoever has the turn of the session's
/// [`Tally`](super::tally::Tally).
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Bytes that had come when the window began in which the client was last heard.
    before: AtomicU64,
    /// Bytes that came in the window before that one.
    previous: AtomicU64,
}

/// What came lately, all of one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// When the client was last heard.
    last_ms: u64,
    /// Bytes that came in the window of that moment.
    current: u64,
    /// Bytes that came in the window before it.
    previous: u64,
}

/// When the window of a moment is over.
#[inline]
pub(super) fn window_end(at_ms: u64) -> u64 {
    (at_ms / WINDOW_MS + 1).saturating_mul(WINDOW_MS)
}

impl Past {
    /// A new session begins.
    pub(super) fn reset(&self) {
        self.before.store(0, Ordering::Relaxed);
        self.previous.store(0, Ordering::Relaxed);
    }

    /// The client is heard, last then and now again; `total` bytes have come until now.
    pub(super) fn pass(&self, last_ms: u64, now_ms: u64, total: u64) {
        // Another connection may have been here already, or have a later time.
        if now_ms < window_end(last_ms) {
            return;
        }
        let (_, previous) = self.flow(last_ms, total).at(now_ms);
        self.previous.store(previous, Ordering::Relaxed);
        self.before.store(total, Ordering::Relaxed);
    }

    pub(super) fn flow(&self, last_ms: u64, total: u64) -> Flow {
        Flow {
            last_ms,
            current: total.wrapping_sub(self.before.load(Ordering::Relaxed)),
            previous: self.previous.load(Ordering::Relaxed),
        }
    }
}

impl Flow {
    /// What has come in the window of this moment and in the one before, if nothing has come since.
    fn at(self, now_ms: u64) -> (u64, u64) {
        match now_ms / WINDOW_MS - self.last_ms / WINDOW_MS {
            0 => (self.current, self.previous),
            1 => (0, self.current),
            _ => (0, 0),
        }
    }

    /// The average of a session that began then.
    pub(super) fn bytes_per_second(self, began_ms: u64, now_ms: u64) -> u64 {
        // The client may have been heard after whoever asks took the time.
        let now_ms = now_ms.max(self.last_ms);
        let (current, previous) = self.at(now_ms);
        let window_began = now_ms - now_ms % WINDOW_MS;
        // A session may have begun within the window before, and only then have sent.
        let from_ms = window_began.saturating_sub(WINDOW_MS).max(began_ms);
        let still_from_ms = now_ms.saturating_sub(WINDOW_MS).max(from_ms);
        let share = |ms: u64| u128::from(window_began.saturating_sub(ms));
        let still = u128::from(previous) * share(still_from_ms) / share(from_ms).max(1);
        let age_ms = now_ms.saturating_sub(began_ms).clamp(LEAST_MS, WINDOW_MS);
        let per_second = (u128::from(current) + still) * 1_000 / u128::from(age_ms);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicU64, Ordering},
        },
        thread,
    };

    use crate::session::{Membership, Registry, Rules, tests::joining};

    fn begin(now_ms: u64) -> Membership {
        Arc::new(Registry::new(Rules::default())).join(joining("d", "ann", "p"), now_ms).unwrap()
    }

    fn send(member: &Membership, bytes: usize, now_ms: u64) {
        member.heard(now_ms);
        member.session().message_came(bytes);
    }

    #[track_caller]
    fn check_near(found: u64, expected: u64, per_cent: u64) {
        assert!(found.abs_diff(expected) * 100 <= expected * per_cent, "{found}, not {expected}");
    }

    #[test]
    fn whoever_sends_evenly_is_as_fast_as_that() {
        for began_ms in [0, 1, 3_700, 9_000, 9_999, 10_000, 123_456] {
            let member = begin(began_ms);
            for sent in 1..=600 {
                let now_ms = began_ms + sent * 100;
                send(&member, 100, now_ms);
                let found = member.session().bytes_per_second(now_ms);
                if sent >= 10 {
                    check_near(found, 1_000, 2);
                } else {
                    // Of less than a second it is what came.
                    assert_eq!(found, sent * 100);
                }
            }
        }
    }

    #[test]
    fn a_change_of_pace_is_seen_within_ten_seconds() {
        let member = begin(0);
        for tenth in 1..=250 {
            send(&member, 100, tenth * 100);
        }
        let mut found = 0;
        for tenth in 251..=450 {
            send(&member, 500, tenth * 100);
            found = member.session().bytes_per_second(tenth * 100);
            assert!((1_000..=5_100).contains(&found), "{found} after {tenth} tenths");
        }
        check_near(found, 5_000, 2);
    }

    #[test]
    fn silence_is_no_pace_after_twenty_seconds() {
        for last_ms in [30_000, 34_567, 39_999] {
            let member = begin(0);
            for at_ms in (last_ms % 100..=last_ms).step_by(100) {
                send(&member, 100, at_ms);
            }
            let paces: Vec<_> =
                (0..=40).map(|n| member.session().bytes_per_second(last_ms + n * 500)).collect();
            check_near(paces[0], 1_000, 2);
            check_near(paces[10], 500, 3);
            assert!(paces.is_sorted_by(|a, b| a >= b), "{paces:?}");
            assert_eq!(paces[40], 0);
            // A pong breaks the silence, and brings nothing.
            member.heard(last_ms + 60_000);
            assert_eq!(member.session().bytes_per_second(last_ms + 60_000), 0);
        }
    }

    #[test]
    fn a_place_that_somebody_had_before_begins_with_nothing() {
        let registry = Arc::new(Registry::new(Rules::default()));
        let first = registry.join(joining("d", "ann", "p"), 0).unwrap();
        send(&first, 1_000_000, 9_000);
        send(&first, 1_000_000, 11_000);
        drop(first);
        registry.expire(u64::MAX - 1);
        let second = registry.join(joining("d", "ann", "p"), 12_000).unwrap();
        assert_eq!(second.session().bytes_per_second(12_000), 0);
        send(&second, 10, 13_000);
        assert_eq!(second.session().bytes_per_second(13_000), 10);
    }

    #[test]
    fn whatever_times_they_are_the_average_is_no_more_than_what_came() {
        let member = begin(5_000);
        send(&member, 1_000, 25_000);
        // An older time, as another connection or a list may have it, and the last there is.
        send(&member, 1_000, 6_000);
        for now_ms in [0, 5_000, 6_000, 25_000, u64::MAX] {
            assert!(member.session().bytes_per_second(now_ms) <= 2_000, "{now_ms}");
        }
        member.heard(u64::MAX);
        assert_eq!(member.session().bytes_per_second(u64::MAX), 0);
    }

    /// Two connections of one session pass from window to window at the same time, and count.
    #[test]
    fn an_average_is_never_torn() {
        const BYTES: u64 = 100_000;
        let (member, done) = (begin(0), AtomicBool::new(false));
        let (member, clock) = (&member, AtomicU64::new(0));
        thread::scope(|threads| {
            let writers = [0, 1].map(|_| {
                threads.spawn(|| {
                    for _ in 0..BYTES {
                        send(member, 1, clock.fetch_add(777, Ordering::Relaxed));
                    }
                })
            });
            let reader = threads.spawn(|| {
                let mut seen = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let found = member.session().bytes_per_second(clock.load(Ordering::Relaxed));
                    assert!(found <= 2 * BYTES, "{found}");
                    seen += 1;
                }
                seen
            });
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            assert!(reader.join().unwrap() > 0);
        });
        assert_eq!(member.session().counts().total_bytes_sent, 2 * BYTES);
    }
}
