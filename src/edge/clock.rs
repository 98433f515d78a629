use std::time::Instant;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// The server's one monotonic clock: whole milliseconds since it was made.
///
/// The model never reads a clock; whoever calls it passes [`now_ms`](Self::now_ms) on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// What the wall said then. Later changes of the wall clock move nothing: times stay in their order.
    wall: DateTime<Utc>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), wall: Utc::now() }
    }

    pub(crate) fn now_ms(self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The wall's time as it is now, in milliseconds since 1970: unlike all else here, it follows the wall's changes.
    /// For comparing with times that others wrote.
    pub(crate) fn wall_unix_ms() -> u64 {
        u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0)
    }

    /// A moment of this clock as the wall shows it: RFC 3339 in UTC, with milliseconds.
    pub(crate) fn rfc3339(self, at_ms: u64) -> String {
        self.at(at_ms).to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// A moment of the wall on this clock; zero for all that was before its start.
    pub(crate) fn ms_of(self, wall: DateTime<Utc>) -> u64 {
        u64::try_from((wall - self.wall).num_milliseconds()).unwrap_or(0)
    }

    /// A moment of this clock in milliseconds since 1970.
    pub(crate) fn unix_ms(self, at_ms: u64) -> i64 {
        self.at(at_ms).timestamp_millis()
    }

    fn at(self, at_ms: u64) -> DateTime<Utc> {
        self.wall + TimeDelta::milliseconds(i64::try_from(at_ms).unwrap_or(i64::MAX / 1_000_000))
    }
}
