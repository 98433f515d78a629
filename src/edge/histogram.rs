//! How long things take: how many took how long at the most.

use std::time::Duration;

/// The upper bounds of the buckets, in seconds: half a millisecond to the time after which a request is given up.
const BOUNDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Durations, each in the lowest bucket that it fits into.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    buckets: [u64; BOUNDS.len()],
    /// Those that are in no bucket among them.
    count: u64,
    sum: Duration,
}

impl Histogram {
    pub(crate) fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[at] += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How long they took together.
    pub(crate) fn sum(&self) -> Duration {
        self.sum
    }

    /// Each upper bound, in seconds, with how many took longer than the bound before and not longer than this one. The
    /// last bound is infinity.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let beyond = self.count - self.buckets.iter().sum::<u64>();
        BOUNDS.into_iter().zip(self.buckets).chain([(f64::INFINITY, beyond)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_one_bucket() {
        let mut histogram = Histogram::default();
        for micros in [0, 500, 501, 5_000_000, 5_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let buckets: Vec<_> = histogram.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(buckets, [(0.0005, 2), (0.001, 1), (5.0, 1), (f64::INFINITY, 1)]);
        assert_eq!((histogram.count(), histogram.sum()), (5, Duration::from_micros(10_001_002)));
    }
}
