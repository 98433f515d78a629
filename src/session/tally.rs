use std::{
    hint,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
    thread,
};

use super::{
    Who,
    rate::{Flow, Past, window_end},
};

/// What is counted of one session, in a cache line of its own.
///
/// It is a sequence lock: a writer makes the turn odd, stores, and makes it even again; who reads sees an even turn
/// before and the same one after, or reads again. So counting costs one exchange and a few stores, whoever reads,
/// and reading writes nothing: a list of all sessions leaves their memory clean.
///
/// There is one writer, as a rule. A session with several connections has several, who wait for each other here.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Tally {
    turn: AtomicU32,
    /// One more than the milliseconds of the last round trip; zero until there was one.
    rtt: AtomicU32,
    recent_bytes_sent: AtomicU64,
    total_bytes_sent: AtomicU64,
    messages_sent: AtomicU64,
    bytes_received: AtomicU64,
    // Beside the turn: each of them is whole by itself.
    last_comm_ms: AtomicU64,
    /// Zero until the user did something.
    last_activity_ms: AtomicU64,
    /// When the last of the tokens expires that proved the identity; the greatest number is never.
    expires_ms: AtomicU64,
}

/// Whole messages that came in one read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// How many.
    pub messages: u64,
    /// Their payload bytes in all.
    pub bytes: u64,
    /// The payload bytes of the newest.
    pub newest: u64,
}

impl Came {
    /// One more message, of `bytes` of payload.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
        self.newest = bytes as u64;
    }
}

/// Payload bytes, of whole messages only, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the newest message from the client.
    pub recent_bytes_sent: u64,
    /// Of all messages from the client.
    pub total_bytes_sent: u64,
    /// How many messages came from the client.
    pub messages_sent: u64,
    /// Of all messages delivered to the client.
    pub bytes_received: u64,
}

impl Tally {
    /// A new session takes the place: nothing is counted yet.
    pub(super) fn reset(&self, past: &Past, now_ms: u64) {
        self.write(|| {
            past.reset();
            for count in
                [&self.recent_bytes_sent, &self.total_bytes_sent, &self.messages_sent, &self.bytes_received]
            {
                count.store(0, Ordering::Relaxed);
            }
        });
        self.last_comm_ms.store(now_ms, Ordering::Relaxed);
        self.last_activity_ms.store(0, Ordering::Relaxed);
        self.rtt.store(0, Ordering::Relaxed);
        self.expires_ms.store(u64::MAX, Ordering::Relaxed);
    }

    /// Has the line fetched from memory, beside whatever else is fetched at this time.
    pub(super) fn touch(&self) {
        hint::black_box(self.turn.load(Ordering::Relaxed));
    }

    /// Whole messages came. `note` is called once whoever reads the counts would wait.
    #[inline]
    pub(super) fn came(&self, came: Came, note: impl FnOnce()) {
        if came.messages == 0 {
            return;
        }
        self.write(|| {
            note();
            self.recent_bytes_sent.store(came.newest, Ordering::Relaxed);
            add(&self.total_bytes_sent, came.bytes);
            add(&self.messages_sent, came.messages);
        });
    }

    /// Whole messages were delivered; `note` as above.
    pub(super) fn went(&self, bytes: u64, note: impl FnOnce()) {
        self.write(|| {
            note();
            add(&self.bytes_received, bytes);
        });
    }

    /// The counts, all of one moment.
    pub(super) fn counts(&self) -> Counts {
        self.read(|| self.load())
    }

    /// The counts and something else that is only stored in the turns of [`went`](Self::went), all of one moment.
    pub(super) fn counts_with<T>(&self, more: impl Fn() -> T) -> (Counts, T) {
        self.read(|| (self.load(), more()))
    }

    fn load(&self) -> Counts {
        Counts {
            recent_bytes_sent: self.recent_bytes_sent.load(Ordering::Relaxed),
            total_bytes_sent: self.total_bytes_sent.load(Ordering::Relaxed),
            messages_sent: self.messages_sent.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
        }
    }

    /// What came lately.
    pub(super) fn flow(&self, past: &Past) -> Flow {
        self.read(|| past.flow(self.last_comm_ms(), self.total_bytes_sent.load(Ordering::Relaxed)))
    }

    /// Something came. `past` is asked for once in ten seconds.
    pub(super) fn heard<'a>(&self, now_ms: u64, past: impl FnOnce() -> &'a Past) {
        // The later of two connections' reads wins, whichever of them stores last. The clock is coarse, so that most
        // reads have nothing to store.
        let last_ms = self.last_comm_ms.load(Ordering::Relaxed);
        if last_ms >= now_ms {
            return;
        }
        if now_ms < window_end(last_ms) {
            self.last_comm_ms.fetch_max(now_ms, Ordering::Relaxed);
        } else {
            self.heard_in_next_window(past(), now_ms);
        }
    }

    /// Whoever reads what came lately sees all of this or nothing.
    #[cold]
    fn heard_in_next_window(&self, past: &Past, now_ms: u64) {
        self.write(|| {
            past.pass(self.last_comm_ms(), now_ms, self.total_bytes_sent.load(Ordering::Relaxed));
            self.last_comm_ms.fetch_max(now_ms, Ordering::Relaxed);
        });
    }

    pub(super) fn last_comm_ms(&self) -> u64 {
        self.last_comm_ms.load(Ordering::Relaxed)
    }

    /// The user did something.
    pub(super) fn acted(&self, now_ms: u64) {
        self.last_activity_ms.fetch_max(now_ms.max(1), Ordering::Relaxed);
    }

    pub(super) fn last_activity_ms(&self) -> Option<u64> {
        Some(self.last_activity_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// A ping was answered after so long.
    pub(super) fn set_rtt_ms(&self, rtt_ms: u64) {
        let rtt = u32::try_from(rtt_ms).unwrap_or(u32::MAX).saturating_add(1);
        self.rtt.store(rtt, Ordering::Relaxed);
    }

    pub(super) fn rtt_ms(&self) -> Option<u32> {
        self.rtt.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Whether the session of this place is authorized then.
    pub(super) fn is_authorized(&self, who: &Who, now_ms: u64) -> bool {
        who.authorized() && now_ms < self.expires_ms()
    }

    pub(super) fn expires_ms(&self) -> u64 {
        self.expires_ms.load(Ordering::Relaxed)
    }

    pub(super) fn set_expires_ms(&self, at_ms: u64) {
        self.expires_ms.store(at_ms, Ordering::Relaxed);
    }

    pub(super) fn renew(&self, expires_ms: u64) {
        self.expires_ms.fetch_max(expires_ms, Ordering::Relaxed);
    }

    /// Loads what is all of one moment.
    fn read<T>(&self, load: impl Fn() -> T) -> T {
        let mut tries = 0;
        loop {
            let before = self.turn.load(Ordering::Acquire);
            let loaded = load();
            // No load above may be done after the one below.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == before {
                return loaded;
            }
            wait(&mut tries);
        }
    }

    /// Stores while nobody else does.
    #[inline]
    fn write(&self, store: impl FnOnce()) {
        let turn = self.turn.load(Ordering::Relaxed);
        let turn = if self.takes(turn) { turn } else { self.wait_for_turn() };
        // No store below may be seen before the odd turn is.
        fence(Ordering::Release);
        store();
        self.turn.store(turn.wrapping_add(2), Ordering::Release);
    }

    /// Whether this turn is the writer's from now on.
    #[inline]
    fn takes(&self, turn: u32) -> bool {
        // Acquire: what the last writer stored is what is added to. And in one order with the marks that are made while
        // the turn is odd (`changes.rs`).
        let odd = turn.wrapping_add(1);
        turn.is_multiple_of(2)
            && self.turn.compare_exchange_weak(turn, odd, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Another connection of the session writes at this moment.
    #[cold]
    fn wait_for_turn(&self) -> u32 {
        let mut tries = 0;
        loop {
            let turn = self.turn.load(Ordering::Relaxed);
            if self.takes(turn) {
                return turn;
            }
            wait(&mut tries);
        }
    }
}

/// For the one writer of this moment.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// A writer is at work: it needs a few nanoseconds, unless the system has taken its processor away.
fn wait(tries: &mut u32) {
    *tries += 1;
    if tries.is_multiple_of(64) {
        thread::yield_now();
    } else {
        hint::spin_loop();
    }
}
