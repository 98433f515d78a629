//! What becomes of the connections to the client plane, counted: each that is accepted once on every level, whatever
//! happens to it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::histogram::Histogram;

/// How a connection ended that never asked for anything that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The peer went before it had asked for anything.
    Gone,
    /// It did not ask in time.
    Timeout,
    /// It did not shake hands where TLS is spoken.
    NoTls,
    /// What it sent is no HTTP.
    NoHttp,
    /// It comes from a proxy that did not say for whom, as it must.
    ProxyHeader,
    /// It asked whether the server is well, and no more.
    Health,
    /// The server ended.
    Cut,
}

impl Dropped {
    pub(crate) const ALL: [Self; 7] =
        [Self::Gone, Self::Timeout, Self::NoTls, Self::NoHttp, Self::ProxyHeader, Self::Health, Self::Cut];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Timeout => "timeout",
            Self::NoTls => "no_tls",
            Self::NoHttp => "no_http",
            Self::ProxyHeader => "proxy_header",
            Self::Health => "health",
            Self::Cut => "cut",
        }
    }
}

/// What a connection came to that became no WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// What it asked for last was refused, with this code.
    Refused(&'static str),
    Dropped(Dropped),
}

/// The connections of the client plane, counted. One lock for all of it, so that the sums hold at every look: it is
/// taken for some nanoseconds twice or thrice in the life of a connection, and never for a message.
#[derive(Debug)]
pub(crate) struct Connections(Mutex<Counts>);

/// The counts of one moment: `accepted` is `arriving`, `refused`, `dropped` and `upgraded` together, `upgraded` is `open`
/// and `closed` together, and every upgrade has its time among the `handshakes`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    /// Those of whom it is not decided yet.
    pub(crate) arriving: u64,
    /// By code. Codes are constants of the program.
    pub(crate) refused: Reasons,
    /// By what it came to.
    pub(crate) dropped: Reasons,
    pub(crate) upgraded: u64,
    pub(crate) open: u64,
    /// The most that were open at a time.
    pub(crate) peak: u64,
    /// By why they ended.
    pub(crate) closed: Reasons,
    /// From being accepted to being granted the upgrade.
    pub(crate) handshakes: Histogram,
}

/// A count for each reason, and a reason is a constant of the program: there are as many as there are.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Reasons(BTreeMap<&'static str, u64>);

impl Reasons {
    /// None yet of any of these.
    fn of(known: &[&'static str]) -> Self {
        Self(known.iter().map(|reason| (*reason, 0)).collect())
    }

    fn add(&mut self, reason: &'static str) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// The count of all.
    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each reason and its count, those that never were among them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

impl Connections {
    /// None yet; these are the codes of refusals and the reasons of ends.
    pub(crate) fn new(refusals: &[&'static str], ends: &[&'static str]) -> Self {
        Self(Mutex::new(Counts {
            refused: Reasons::of(refusals),
            dropped: Reasons::of(&Dropped::ALL.map(Dropped::as_str)),
            closed: Reasons::of(ends),
            ..Counts::default()
        }))
    }

    /// The counts as they are, all of one moment.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    pub(crate) fn accepted(&self) {
        let mut counts = self.lock();
        counts.accepted += 1;
        counts.arriving += 1;
    }

    /// One of the accepted has become no WebSocket.
    pub(crate) fn missed(&self, missed: Missed) {
        let mut counts = self.lock();
        counts.arriving -= 1;
        match missed {
            Missed::Refused(code) => counts.refused.add(code),
            Missed::Dropped(how) => counts.dropped.add(how.as_str()),
        }
    }

    /// One of them has become one, after so long.
    pub(crate) fn upgraded(&self, took: Duration) {
        let mut counts = self.lock();
        counts.arriving -= 1;
        counts.upgraded += 1;
        counts.open += 1;
        counts.peak = counts.peak.max(counts.open);
        counts.handshakes.observe(took);
    }

    /// One of these has ended, for a reason that is a constant.
    pub(crate) fn closed(&self, reason: &'static str) {
        let mut counts = self.lock();
        counts.open -= 1;
        counts.closed.add(reason);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing can panic between two additions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_counted_once_on_each_level() {
        let connections = Connections::new(&["draining", "too_fast"], &["lost"]);
        for _ in 0..4 {
            connections.accepted();
        }
        connections.missed(Missed::Refused("too_fast"));
        connections.missed(Missed::Dropped(Dropped::NoHttp));
        connections.upgraded(Duration::from_millis(3));
        let counts = connections.counts();
        assert_eq!((counts.accepted, counts.arriving, counts.upgraded, counts.open), (4, 1, 1, 1));
        assert_eq!(counts.refused.iter().collect::<Vec<_>>(), [("draining", 0), ("too_fast", 1)]);
        let dropped = &counts.dropped;
        assert_eq!((dropped.iter().count(), dropped.sum()), (Dropped::ALL.len(), 1));
        connections.closed("lost");
        let counts = connections.counts();
        assert_eq!((counts.open, counts.peak, counts.closed.sum()), (0, 1, 1));
        assert_eq!(counts.handshakes.count(), 1);
    }
}
