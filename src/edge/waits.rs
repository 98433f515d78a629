//! Long waits, kept by a thread of their own.
//!
//! A runtime that waits for sockets and for a moment as well has the system arm a timer whenever it goes to sleep, and
//! disarm it when something comes: for a lone message in a virtual machine that was a tenth of all it cost (3.4 us, side by
//! side). So whatever is always waited for, by a server that is otherwise quiet, is waited for here.

use std::{
    future,
    pin::Pin,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::runtime::{Builder, Handle};

/// The runtime of that thread, which has nothing to do but to know the time.
static KEEPER: LazyLock<Handle> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime without sockets");
    let keeper = runtime.handle().clone();
    let keep = move || runtime.block_on(future::pending::<()>());
    thread::Builder::new().name("waits".to_owned()).spawn(keep).expect("one more thread");
    keeper
});

/// Makes a `sleep`, a `timeout` or an `interval` of tokio's that is kept there, wherever it is awaited.
///
/// Waking somebody from there is a system call more, so short waits, and those that are given up as a rule, are better
/// kept by the runtime that waits.
pub(crate) fn long<T>(make: impl FnOnce() -> T) -> T {
    let _keeper = KEEPER.enter();
    make()
}

/// hyper's timer, which runs for as long as somebody who may ask again does not.
#[derive(Clone, Debug, Default)]
pub(crate) struct LongTimer(TokioTimer);

impl Timer for LongTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        long(|| self.0.sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        long(|| self.0.sleep_until(deadline))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.0.reset(sleep, deadline);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    /// A runtime whose clock stands still jumps to its next timer when it has nothing else to do, so it shows what is its.
    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_not_on_the_clock_of_who_waits() {
        const PAUSE: Duration = Duration::from_millis(60);
        let begun = Instant::now();
        time::sleep(PAUSE * 1_000).await;
        assert!(begun.elapsed() < PAUSE * 10, "the clock does not stand still");
        for wait in 1..=3_u32 {
            match wait {
                1 => long(|| time::sleep(PAUSE)).await,
                2 => drop(long(|| time::timeout(PAUSE, future::pending::<()>())).await),
                _ => LongTimer::default().sleep(PAUSE).await,
            }
            assert!(begun.elapsed() >= PAUSE * wait, "wait {wait} was over after {:?}", begun.elapsed());
        }
        let mut ticks = long(|| time::interval(PAUSE));
        ticks.tick().await;
        ticks.tick().await;
        assert!(begun.elapsed() >= PAUSE * 4, "{:?}", begun.elapsed());
    }
}
