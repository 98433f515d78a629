#[cfg(target_os = "linux")]
use std::time::Duration;

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Timelike, Utc};

/// The server's one monotonic clock: whole milliseconds since it was made.
///
/// The model never reads a clock; whoever calls it passes [`now_ms`](Self::now_ms) on.
///
/// On Linux it is the kernel's coarse clock: it moves with the kernel's tick, every 4 ms where `CONFIG_HZ` is 250 (10 ms
/// at 100, 1 ms at 1000), and is read once for everything that one read of a socket brings. Reading it takes 3.5 ns
/// instead of the 24 of [`Instant`](std::time::Instant), and nothing has to tick for it while nobody does anything.
/// Two moments are in their order, but as much as a tick may be missing between them: measure what is shorter
/// with something else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Moment,
    /// What the wall said then. Later changes of the wall clock move nothing: times stay in their order.
    wall: DateTime<Utc>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Moment::now(), wall: Utc::now() }
    }

    pub(crate) fn now_ms(self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The wall's time as it is now, in milliseconds since 1970: unlike all else here, it follows the wall's changes.
    /// For comparing with times that others wrote.
    pub(crate) fn wall_unix_ms() -> u64 {
        u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0)
    }

    /// The wall's time as it is now, likewise, as RFC 3339 in UTC with milliseconds.
    pub(crate) fn wall_rfc3339() -> String {
        Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// A moment of this clock as the wall shows it: RFC 3339 in UTC, with milliseconds.
    pub(crate) fn rfc3339(self, at_ms: u64) -> String {
        rfc3339(self.at(at_ms))
    }

    /// A moment of this clock in milliseconds since 1970.
    pub(crate) fn unix_ms(self, at_ms: u64) -> i64 {
        self.at(at_ms).timestamp_millis()
    }

    fn at(self, at_ms: u64) -> DateTime<Utc> {
        self.wall + TimeDelta::milliseconds(i64::try_from(at_ms).unwrap_or(i64::MAX / 1_000_000))
    }
}

/// As chrono writes it, in a tenth of the time: lists have some three times a row.
fn rfc3339(time: DateTime<Utc>) -> String {
    let year = match u32::try_from(time.year()) {
        Ok(year) if year < 10_000 => year,
        _ => return time.to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    let mut text = *b"0000-00-00T00:00:00.000Z";
    // A leap second is the thousandth millisecond and those after it, in the second before.
    let (second, millis) = match time.timestamp_subsec_millis() {
        leap @ 1000.. => (time.second() + 1, leap - 1000),
        millis => (time.second(), millis),
    };
    for (at, digits, number) in [
        (0, 4, year),
        (5, 2, time.month()),
        (8, 2, time.day()),
        (11, 2, time.hour()),
        (14, 2, time.minute()),
        (17, 2, second),
        (20, 3, millis),
    ] {
        let mut left = number;
        for digit in text[at..at + digits].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
    String::from_utf8(text.into()).expect("digits are text")
}

#[cfg(not(target_os = "linux"))]
use std::time::Instant as Moment;

/// A moment of the kernel's coarse monotonic clock, since it was booted.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
struct Moment(Duration);

#[cfg(target_os = "linux")]
impl Moment {
    fn now() -> Self {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        Self(Duration::try_from(since_boot).unwrap_or_default())
    }

    fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn is_written_as_chrono_writes_it(time: DateTime<Utc>) {
        assert_eq!(rfc3339(time), time.to_rfc3339_opts(SecondsFormat::Millis, true));
    }

    proptest! {
        #[test]
        fn any_time_is_written_as_chrono_writes_it(ms in -99_999_999_999_999..999_999_999_999_999_i64) {
            is_written_as_chrono_writes_it(DateTime::from_timestamp_millis(ms).unwrap());
        }
    }

    #[test]
    fn the_edges_of_time_are_written_as_chrono_writes_them() {
        for text in [
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999Z",
            "+10000-01-01T00:00:00Z",
            "-0001-12-31T23:59:59.999Z",
            "2024-02-29T12:00:00.5Z",
            "2016-12-31T23:59:60.25Z",
        ] {
            is_written_as_chrono_writes_it(text.parse().unwrap());
        }
    }

    #[test]
    fn the_clock_keeps_up_with_a_finer_one() {
        let (fine, clock) = (Instant::now(), Clock::start());
        let mut last_ms = 0;
        while fine.elapsed() < Duration::from_millis(300) {
            let now_ms = clock.now_ms();
            assert!(now_ms >= last_ms, "it never goes back");
            last_ms = now_ms;
            thread::sleep(Duration::from_millis(1));
        }
        // Two ticks of the slowest kernel; later is this machine's business.
        assert!(clock.now_ms() >= 280, "{last_ms}");
    }
}
