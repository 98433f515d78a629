//! What happened: written down while it happens, judged afterwards.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;

use super::problem::{Problem, Stage};

/// How far a run has come, for whoever watches it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) connected: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) echoes: AtomicU64,
    pub(crate) queries: AtomicU64,
    /// Sessions whose part is over: everything sent and read, or broken before.
    pub(crate) finished: AtomicU64,
}

/// The writing side, shared by all tasks of a run.
#[derive(Debug)]
pub(super) struct Recorder {
    record: Mutex<Record>,
}

/// Everything that is known when a run is over. Histograms are in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// From the moment a session was to connect until its handshake was done.
    pub(crate) handshake: Histogram<u64>,
    /// How late the harness began to connect.
    pub(crate) connect_lag: Histogram<u64>,
    /// How late the harness sent, where nothing but itself held it up.
    pub(crate) send_lag: Histogram<u64>,
    /// Messages later than [`VERY_LATE`] among these.
    pub(crate) very_late: u64,
    /// Messages that were due while the connection was not there yet or took no more: the server's doing.
    pub(crate) held_up: u64,
    /// From the moment a message was due until it had come back.
    pub(crate) echo: Histogram<u64>,
    /// From the moment a question was due until its answer had been read.
    pub(crate) query: Histogram<u64>,
    /// Questions that were due and waited for the one before until it was too late.
    pub(crate) unasked: u64,
    /// How many rows the last answer had.
    pub(crate) query_rows: usize,
    /// From the moment a tab was to come back until its welcome.
    pub(crate) resume: Histogram<u64>,
    pub(crate) churn: Churn,
    /// Messages that came and were no echo.
    pub(crate) other_messages: u64,
    /// Messages without an echo, on connections that had echoed others.
    pub(crate) unanswered: u64,
    /// Messages that open connections had still to send when the run was over, by the harness's own lateness.
    pub(crate) unsent: u64,
    /// The same, because the server took no more.
    pub(crate) unsent_held_up: u64,
    /// The last handshake of the sessions that are there at the start, from the start of the run.
    pub(crate) last_connected: Duration,
    /// The last message, from the start of the run.
    pub(crate) last_sent: Duration,
    /// When no session had anything to send any more, from the start of the run.
    pub(crate) sending_ended: Duration,
    pub(crate) problems: BTreeMap<(Stage, String), Tally>,
}

/// The coming and going so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Churn {
    /// Sessions that left with a close frame before the end.
    pub(crate) left: u64,
    /// Sessions that came in the place of others.
    pub(crate) came: u64,
    /// Sessions that should have come so and were not let in.
    pub(crate) refused: u64,
    /// How often one or all connections of a session vanished.
    pub(crate) dropped: u64,
    /// Connections that came back to their session.
    pub(crate) resumed: u64,
    /// Connections that came back and were given another session.
    pub(crate) not_resumed: u64,
}

/// How often a kind of problem occurred, and what was said the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) said: Option<String>,
}

/// A message later than this is very late.
pub(crate) const VERY_LATE: Duration = Duration::from_millis(50);

impl Record {
    pub(crate) fn new() -> Self {
        // One microsecond to an hour, to three digits.
        let histogram = || Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that are in order");
        Self {
            handshake: histogram(),
            connect_lag: histogram(),
            send_lag: histogram(),
            very_late: 0,
            held_up: 0,
            echo: histogram(),
            query: histogram(),
            unasked: 0,
            query_rows: 0,
            resume: histogram(),
            churn: Churn::default(),
            other_messages: 0,
            unanswered: 0,
            unsent: 0,
            unsent_held_up: 0,
            last_connected: Duration::ZERO,
            last_sent: Duration::ZERO,
            sending_ended: Duration::ZERO,
            problems: BTreeMap::new(),
        }
    }

    pub(crate) fn note(&mut self, problem: Problem) {
        let tally = self.problems.entry((problem.stage, problem.kind)).or_default();
        tally.count += 1;
        tally.said = tally.said.take().or(problem.said);
    }

    /// How many sessions ended between their handshake and the end of the run though nobody had asked for it. Each is
    /// given up with the one problem that ended it.
    pub(crate) fn ended_by_server(&self) -> u64 {
        let ended = self.problems.iter().filter(|((stage, _), _)| *stage == Stage::Session);
        ended.map(|(_, tally)| tally.count).sum()
    }

    /// A message was sent so much after it was due, though nothing held it up.
    pub(crate) fn sent_late_by(&mut self, lag: Duration) {
        add(&mut self.send_lag, lag);
        self.very_late += u64::from(lag > VERY_LATE);
    }
}

/// Adds one measurement; what does not fit counts as the greatest that does.
pub(crate) fn add(histogram: &mut Histogram<u64>, measured: Duration) {
    histogram.saturating_record(u64::try_from(measured.as_micros()).unwrap_or(u64::MAX));
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self { record: Mutex::new(Record::new()) }
    }

    /// For a few stores; never across an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nothing panics while it writes")
    }

    pub(super) fn note(&self, problem: Problem) {
        self.lock().note(problem);
    }

    pub(super) fn read(&self) -> Record {
        self.lock().clone()
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
