use std::time::Instant;

/// The server's one monotonic clock: whole milliseconds since it was made.
///
/// The model never reads a clock; whoever calls it passes [`now_ms`](Self::now_ms) on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
