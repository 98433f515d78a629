//! How fast clients may come and send: buckets that hold a second's worth and fill as time passes.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use crate::{config::Rates, session::place_of};

/// A bucket of so much a second. It holds one second's worth, so a burst of that size is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Thousandths, so that a millisecond fills a whole number.
    level: u64,
    filled_ms: u64,
}

impl Bucket {
    /// A full one.
    pub(super) fn full(per_second: u64, now_ms: u64) -> Self {
        Self { level: per_second.saturating_mul(1000), filled_ms: now_ms }
    }

    /// Takes so much out; `false` if there is not so much.
    pub(super) fn take(&mut self, amount: u64, per_second: u64, now_ms: u64) -> bool {
        // Two threads may come in another order than they read their clocks: no millisecond fills twice.
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        let filled = self.level.saturating_add(passed_ms.saturating_mul(per_second));
        self.level = filled.min(per_second.saturating_mul(1000));
        match self.level.checked_sub(amount.saturating_mul(1000)) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }
}

/// What one connection may still send in this second.
#[derive(Debug)]
pub(super) struct Pace {
    messages: Option<(Bucket, u64)>,
    bytes: Option<(Bucket, u64)>,
}

impl Pace {
    /// Nothing where there are no rates, so that it costs nothing there.
    pub(super) fn new(rates: Rates, now_ms: u64) -> Option<Box<Self>> {
        let full = |rate: u64| (Bucket::full(rate, now_ms), rate);
        let pace =
            Self { messages: rates.messages.map(|rate| full(rate.into())), bytes: rates.bytes.map(full) };
        (pace.messages.is_some() || pace.bytes.is_some()).then(|| Box::new(pace))
    }

    /// Whether a message of this size keeps to the rates.
    pub(super) fn allows(&mut self, bytes: usize, now_ms: u64) -> bool {
        let take = |bucket: &mut Option<(Bucket, u64)>, amount| match bucket {
            Some((bucket, rate)) => bucket.take(amount, *rate, now_ms),
            None => true,
        };
        take(&mut self.messages, 1) && take(&mut self.bytes, bytes as u64)
    }
}

/// A bucket for each address that came within the last second, and some more.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    of: HashMap<IpAddr, Bucket>,
    /// Above so many addresses, those that have not come for a second are forgotten, unless there are few.
    sweep_above: usize,
}

/// So many addresses are few.
const SWEEP_ABOVE: usize = 4096;

impl Gate {
    /// Whether this address may come now.
    pub(super) fn lets_in(&self, address: IpAddr, per_second: u32, now_ms: u64) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { of, sweep_above } = &mut *buckets;
        if of.len() > SWEEP_ABOVE.max(*sweep_above) {
            of.retain(|_, bucket| bucket.filled_ms + 1000 > now_ms);
            // Twice as many as are left, so that sweeping costs each newcomer a step or two.
            *sweep_above = 2 * of.len();
        }
        let per_second = u64::from(per_second);
        let bucket = of.entry(place_of(address)).or_insert_with(|| Bucket::full(per_second, now_ms));
        bucket.take(1, per_second, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_its_rate() {
        let mut bucket = Bucket::full(10, 0);
        let taken = |bucket: &mut Bucket, now_ms| (0..100).take_while(|_| bucket.take(1, 10, now_ms)).count();
        assert_eq!(taken(&mut bucket, 0), 10);
        assert_eq!(taken(&mut bucket, 99), 0);
        assert_eq!(taken(&mut bucket, 100), 1);
        assert_eq!(taken(&mut bucket, 60_000), 10, "it holds no more than a second's worth");
        assert!(!bucket.take(11, 10, 120_000), "more than it can ever hold");
    }

    #[test]
    fn a_connection_without_rates_keeps_none_and_one_with_rates_keeps_to_both() {
        assert!(Pace::new(Rates::default(), 0).is_none());
        let rates = Rates { messages: Some(3), bytes: Some(10), ..Rates::default() };
        let mut pace = Pace::new(rates, 0).unwrap();
        assert_eq!([5, 5, 0, 0].map(|bytes| pace.allows(bytes, 0)), [true, true, true, false]);
        assert_eq!([10, 1].map(|bytes| pace.allows(bytes, 1_000)), [true, false]);
    }

    #[test]
    fn addresses_are_paced_each_for_itself_and_a_slash_64_as_one() {
        let gate = Gate::default();
        let came = |address: &str| gate.lets_in(address.parse().unwrap(), 2, 0);
        assert_eq!([came("10.0.0.1"), came("10.0.0.1"), came("10.0.0.1")], [true, true, false]);
        assert!(came("10.0.0.2"));
        assert_eq!([came("fd00::1"), came("fd00::2"), came("fd00::3")], [true, true, false]);
        assert!(came("fd00:0:0:1::1"));
    }

    #[test]
    fn addresses_that_came_long_ago_are_forgotten_and_not_looked_for_whenever_one_comes() {
        let gate = Gate::default();
        // So many new ones come, and how many are known then.
        let come = |numbers: std::ops::RangeInclusive<usize>, now_ms| {
            for n in numbers {
                gate.lets_in(std::net::Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into(), 1, now_ms);
            }
            gate.0.lock().unwrap().of.len()
        };
        // When these were looked through all of them were young, so the next time is when there are twice as many.
        let looked_through = SWEEP_ABOVE + 1;
        assert_eq!(come(1..=looked_through + 1, 0), looked_through + 1);
        let most = 2 * looked_through;
        assert_eq!(
            come(looked_through + 2..=most + 1, 5_000),
            most + 1,
            "old ones are there, but nobody looks"
        );
        assert_eq!(come(most + 2..=most + 2, 5_500), most - looked_through + 1, "the old ones are forgotten");
        assert_eq!(
            come(most + 3..=most + 3, 9_000),
            most - looked_through + 2,
            "and nobody looks again so soon"
        );
    }
}
