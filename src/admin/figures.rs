//! What is counted beside the sessions: the clients' connections, and how long questions take.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use super::watch;
use crate::{
    edge::{
        connections::{Connections, Counts},
        histogram::Histogram,
    },
    session::Traffic,
};

/// The figures of a server that its registry does not know.
#[derive(Debug)]
pub(super) struct Figures {
    connections: Arc<Connections>,
    /// Places for query sockets, and how many there are in all.
    query_places: (Arc<Semaphore>, usize),
    watches: Arc<watch::Tally>,
    queries: Mutex<BTreeMap<String, Queries>>,
    samples: Mutex<VecDeque<(Instant, Traffic)>>,
}

/// The questions that were asked in one way.
#[derive(Clone, Debug, Default)]
pub(super) struct Queries {
    /// How long it took until they were answered, or the first part of the answer was there.
    pub(super) took: Histogram,
    /// Those among them whose answer was an error.
    pub(super) failed: u64,
}

/// How much came and went over a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) over: Duration,
    traffic: Traffic,
}

/// Rates are of so long, where somebody asked as long ago.
const RATES_OVER: Duration = Duration::from_secs(10);

/// What was counted longer ago tells nothing of now.
const SAMPLES_KEPT: Duration = Duration::from_secs(60);

/// Rates of less would be chance.
const RATES_LEAST: Duration = Duration::from_secs(1);

impl Figures {
    /// Nothing was asked yet in any of these ways, and no place for a query socket is taken.
    pub(super) fn new(
        connections: Arc<Connections>,
        query_places: Arc<Semaphore>,
        watches: Arc<watch::Tally>,
        ways: &[&str],
    ) -> Self {
        let places = query_places.available_permits();
        let queries = ways.iter().map(|way| ((*way).to_owned(), Queries::default())).collect();
        Self {
            connections,
            query_places: (query_places, places),
            watches,
            queries: Mutex::new(queries),
            samples: Mutex::default(),
        }
    }

    /// Those of a server that nobody has come to.
    #[cfg(test)]
    pub(super) fn nothing() -> Arc<Self> {
        let connections = Arc::new(Connections::new(&[], &[]));
        Arc::new(Self::new(connections, Arc::new(Semaphore::new(3)), Arc::default(), &["getStats"]))
    }

    /// How many query sockets are open.
    pub(super) fn query_sockets(&self) -> usize {
        let (places, all) = &self.query_places;
        all - places.available_permits()
    }

    /// The clients' connections, all of one moment.
    pub(super) fn connections(&self) -> Counts {
        self.connections.counts()
    }

    /// Who watches, and what they were told, all of one moment.
    pub(super) fn watches(&self) -> watch::Counts {
        self.watches.counts()
    }

    /// A question was asked in this way, of which there are only so many, and answered, if only with an error.
    pub(super) fn asked(&self, way: &str, took: Duration, is_error: bool) {
        let mut ways = lock(&self.queries);
        let of_way = match ways.get_mut(way) {
            Some(of_way) => of_way,
            None => ways.entry(way.to_owned()).or_default(),
        };
        of_way.took.observe(took);
        of_way.failed += u64::from(is_error);
    }

    /// Every way to ask, and what was asked so.
    pub(super) fn queries(&self) -> BTreeMap<String, Queries> {
        lock(&self.queries).clone()
    }

    /// How fast the traffic has grown since somebody asked before: so it costs nothing while nobody does. None if that
    /// was too long ago, or just now.
    pub(super) fn rates(&self, traffic: Traffic, now: Instant) -> Option<Rates> {
        let mut samples = lock(&self.samples);
        let is_old = |at: Instant, age: Duration| now.saturating_duration_since(at) > age;
        // The last one from before the span stays: the span begins with it.
        while samples.get(1).is_some_and(|(at, _)| is_old(*at, RATES_OVER)) {
            samples.pop_front();
        }
        if samples.front().is_some_and(|(at, _)| is_old(*at, SAMPLES_KEPT)) {
            samples.pop_front();
        }
        let rates = samples
            .front()
            .and_then(|(at, before)| Rates::between(*before, traffic, now.checked_duration_since(*at)?));
        if samples.back().is_none_or(|(at, _)| is_old(*at, RATES_LEAST)) {
            samples.push_back((now, traffic));
        }
        rates
    }
}

impl Rates {
    fn between(before: Traffic, now: Traffic, over: Duration) -> Option<Self> {
        // Of two that ask at a time, the one who began to count first may come last.
        let grown = |of: fn(Traffic) -> u64| of(now).saturating_sub(of(before));
        (over >= RATES_LEAST).then(|| Self {
            over,
            traffic: Traffic {
                messages_sent: grown(|traffic| traffic.messages_sent),
                bytes_sent: grown(|traffic| traffic.bytes_sent),
                messages_received: grown(|traffic| traffic.messages_received),
                bytes_received: grown(|traffic| traffic.bytes_received),
            },
        })
    }

    /// One of them a second, to a tenth.
    pub(super) fn a_second(&self, of: fn(&Traffic) -> u64) -> f64 {
        (of(&self.traffic) as f64 / self.over.as_secs_f64() * 10.0).round() / 10.0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(messages_sent: u64) -> Traffic {
        Traffic { messages_sent, ..Traffic::default() }
    }

    #[test]
    fn questions_are_counted_by_the_way_they_are_asked() {
        let figures = Figures::nothing();
        figures.asked("getStats", Duration::from_millis(3), false);
        figures.asked("getStats", Duration::from_millis(3), true);
        figures.asked("GET /metrics", Duration::ZERO, false);
        let queries = figures.queries();
        assert_eq!((queries["getStats"].took.count(), queries["getStats"].failed), (2, 1));
        assert_eq!((queries["GET /metrics"].took.count(), queries.len()), (1, 2));
    }

    #[test]
    fn rates_are_of_the_last_ten_seconds_in_which_somebody_asked() {
        let figures = Figures::nothing();
        let began = Instant::now();
        let rates = |messages, after_s| {
            let asked = figures.rates(sent(messages), began + Duration::from_secs(after_s));
            asked.map(|rates| (rates.over.as_secs(), rates.a_second(|traffic| traffic.messages_sent)))
        };
        assert_eq!(rates(0, 0), None, "nobody asked before");
        assert_eq!(rates(7, 0), None, "too short a while");
        assert_eq!(rates(30, 3), Some((3, 10.0)));
        assert_eq!(rates(30, 12), Some((12, 2.5)), "the last one from before the ten seconds");
        assert_eq!(rates(31, 15), Some((12, 0.1)));
        assert_eq!(rates(130, 55), Some((40, 2.5)));
        assert_eq!(rates(1000, 200), None, "too long ago");
        assert_eq!(rates(1001, 202), Some((2, 0.5)));
        for second in 203..300 {
            rates(1001, second);
        }
        assert!(figures.samples.lock().unwrap().len() <= 13);
    }
}
