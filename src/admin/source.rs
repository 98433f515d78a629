//! Answers that are made part by part, so that one of any size needs the memory of a part.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{Stream, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task, time,
};

/// How large a part is, about.
pub(super) const PART_BYTES: usize = 64 * 1024;

/// A result that is written part by part.
pub(super) trait Source: Send {
    /// How many rows are looked at for the rest of it, or as many as take as long.
    fn looks(&self) -> usize;

    /// What has to happen before its first part can be made, if that is somebody else's to do, such as making an answer
    /// that is shared; then it is asked again. It is asked where the question came in, and takes no time.
    fn waits_for(&mut self) -> Option<BoxFuture<'static, ()>> {
        None
    }

    /// Whether it does something besides answering: then it is asked for its first part even when nobody wants to
    /// know.
    fn has_effect(&self) -> bool {
        false
    }

    /// Writes a part, or as much of it as there is after [a while](a_while) of looking, if it is nothing too; `false` if
    /// it was the last.
    fn write_part(&mut self, out: &mut Vec<u8>) -> bool;

    /// Whether every part takes some hundred microseconds at the most, however many rows there are.
    fn is_smooth(&self) -> bool {
        false
    }
}

/// Why a question was understood and still has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    /// Too many heavy answers at a time.
    #[error("too many large answers are being made; ask again in a few seconds")]
    Overloaded,
    /// What is asked for cannot be found in a reasonable time.
    #[error(
        "this took longer than {0:?} (max-list-time) to find: ask for certain ids, user names or projects, or with \
         simpler patterns"
    )]
    TooCostly(Duration),
    /// A fault of ours.
    #[error("the server failed to make the answer; its log says more")]
    Failed,
}

/// Where parts are made: those of a light or a smooth source on the socket's own thread, others off it; heavy ones so
/// many at a time.
///
/// Between two parts of a smooth source all sockets have their turn. So a list takes what they leave, and no more: on a
/// thread of its own it took half of a busy core from them, since the system shares between threads, not between a list
/// and ten thousand clients (measured, with one core: 41 % of the messages were lost to a list that is read without a
/// pause, and pings took 2 ms at p99).
///
/// A place is held while a part is made, and not while its reader takes it: a slow reader is in nobody's way.
#[derive(Clone, Debug)]
pub(super) struct Workshop {
    places: Arc<Semaphore>,
    /// How long the first part of an answer may wait for its turn.
    patience: Duration,
    /// How long a part may take to make.
    max_time: Duration,
}

impl Workshop {
    pub(super) fn new(max_at_a_time: usize, patience: Duration) -> Self {
        let places = Arc::new(Semaphore::new(max_at_a_time.min(Semaphore::MAX_PERMITS)));
        Self { places, patience, max_time: Duration::MAX }
    }

    /// The same with a limit to how long a part may take to make.
    pub(super) fn with_max_time(self, max_time: Duration) -> Self {
        Self { max_time, ..self }
    }

    /// Makes the next part of a source; takes the source away with its last.
    ///
    /// # Errors
    ///
    /// No place came free in time, or the part took too long, or the source panicked; then there is no source any more.
    pub(super) async fn make_part(
        &self,
        source: &mut Option<Box<dyn Source>>,
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unanswered> {
        /// At a tenth of a microsecond a row, this is how long a socket's thread may be held.
        const LIGHT_ROWS: usize = 1024;
        let Some(mut making) = source.take() else { return Ok(()) };
        let deadline = time::Instant::now() + self.patience;
        while is_first && let Some(other) = making.waits_for() {
            time::timeout_at(deadline, other).await.map_err(|_| Unanswered::Overloaded)?;
        }
        *source = if making.looks() <= LIGHT_ROWS {
            light_part(making, out)?
        } else if making.is_smooth() {
            smooth_part(making, out).await?
        } else {
            let place = async { self.places.clone().acquire_owned().await.expect("never closed") };
            let place = if is_first {
                time::timeout_at(deadline, place).await.map_err(|_| Unanswered::Overloaded)?
            } else {
                place.await
            };
            self.heavy_part(making, place, out).await?
        };
        Ok(())
    }

    /// Writes a part off the sockets' threads, however often it pauses before there is one. In a pause it may be seen that
    /// nobody wants it any more.
    async fn heavy_part(
        &self,
        mut making: Box<dyn Source>,
        mut place: OwnedSemaphorePermit,
        out: &mut Vec<u8>,
    ) -> Made {
        let (enough, mut spent) = (enough(out), Duration::ZERO);
        loop {
            let mut part = std::mem::take(out);
            let making_on = task::spawn_blocking(move || {
                let begun = Instant::now();
                let made = guarded(making, &mut part);
                (made, part, place, begun.elapsed())
            });
            let (made, part, kept, took) = making_on.await.map_err(|_| Unanswered::Failed)?;
            (*out, place) = (part, kept);
            spent += took;
            match made? {
                Some(rest) if out.len() < enough && spent <= self.max_time => making = rest,
                Some(_) if out.len() < enough => return Err(Unanswered::TooCostly(self.max_time)),
                rest => return Ok(rest),
            }
        }
    }
}

/// When a part that has to look for what it shows should pause: so that it can be stopped, if nobody wants it any more.
pub(super) fn a_while() -> Instant {
    const WHILE: Duration = Duration::from_millis(20);
    Instant::now() + WHILE
}

/// The source, if there is more of it.
type Made = Result<Option<Box<dyn Source>>, Unanswered>;

/// How long an answer must be for a part to be made: longer than it was, unless that is a part already.
fn enough(out: &[u8]) -> usize {
    (out.len() + 1).min(PART_BYTES)
}

fn light_part(mut source: Box<dyn Source>, out: &mut Vec<u8>) -> Made {
    let enough = enough(out);
    loop {
        match guarded(source, out)? {
            Some(rest) if out.len() < enough => source = rest,
            rest => return Ok(rest),
        }
    }
}

async fn smooth_part(mut source: Box<dyn Source>, out: &mut Vec<u8>) -> Made {
    loop {
        task::yield_now().await;
        match guarded(source, out)? {
            Some(rest) if out.len() < PART_BYTES => source = rest,
            rest => return Ok(rest),
        }
    }
}

/// Writes a part, or nothing yet. A fault in one answer is that answer's alone.
fn guarded(mut source: Box<dyn Source>, out: &mut Vec<u8>) -> Made {
    let written = catch_unwind(AssertUnwindSafe(|| source.write_part(out)));
    match written {
        Ok(true) => Ok(Some(source)),
        Ok(false) => Ok(None),
        Err(_) => Err(Unanswered::Failed),
    }
}

/// Room for a part, and for the row that goes beyond it.
pub(super) fn part_buffer() -> Vec<u8> {
    Vec::with_capacity(PART_BYTES + PART_BYTES / 8)
}

/// The parts of an answer that is left, one after the other, each made when it is asked for.
pub(super) fn into_parts(
    workshop: Workshop,
    source: Option<Box<dyn Source>>,
) -> impl Stream<Item = Result<Bytes, Unanswered>> {
    futures::stream::unfold((workshop, source), |(workshop, mut source)| async {
        source.as_ref()?;
        let mut out = part_buffer();
        let made = workshop.make_part(&mut source, false, &mut out).await;
        Some((made.map(|()| out.into()), (workshop, source)))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    /// A source that looks and looks, and finds nothing before its time has come.
    struct Searching {
        steps_left: usize,
        steps: Arc<AtomicUsize>,
    }

    impl Source for Searching {
        fn looks(&self) -> usize {
            usize::MAX
        }

        fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
            self.steps.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
            self.steps_left -= 1;
            if self.steps_left == 0 {
                out.extend_from_slice(b"found");
            }
            self.steps_left > 0
        }
    }

    fn searching(steps_left: usize) -> (Option<Box<dyn Source>>, Arc<AtomicUsize>) {
        let steps = Arc::new(AtomicUsize::new(0));
        (Some(Box::new(Searching { steps_left, steps: steps.clone() })), steps)
    }

    fn workshop(max_time: Duration) -> Workshop {
        Workshop::new(1, Duration::from_millis(50)).with_max_time(max_time)
    }

    #[tokio::test]
    async fn a_part_is_looked_for_until_it_is_found_or_its_time_is_over() {
        let (patient, mut out) = (workshop(Duration::MAX), Vec::new());
        patient.make_part(&mut searching(7).0, true, &mut out).await.unwrap();
        assert_eq!(out, b"found");
        let limit = Duration::from_millis(40);
        let (mut source, steps) = searching(10_000);
        let stopped = workshop(limit).make_part(&mut source, true, &mut Vec::new()).await;
        assert_eq!((stopped, source.is_none()), (Err(Unanswered::TooCostly(limit)), true));
        assert!(steps.load(Ordering::Relaxed) <= 9, "each takes 5 ms at the least");
    }

    #[tokio::test]
    async fn a_place_is_held_until_a_part_is_made_and_is_free_once_nobody_wants_it() {
        let workshop = workshop(Duration::MAX);
        let (mut source, steps) = searching(usize::MAX);
        let long = {
            let workshop = workshop.clone();
            tokio::spawn(async move { workshop.make_part(&mut source, true, &mut Vec::new()).await })
        };
        while steps.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        let refused = workshop.make_part(&mut searching(1).0, true, &mut Vec::new()).await;
        assert_eq!(refused, Err(Unanswered::Overloaded));
        long.abort();
        assert!(long.await.unwrap_err().is_cancelled());
        let patient = Workshop { patience: Duration::from_secs(10), ..workshop };
        patient.make_part(&mut searching(1).0, true, &mut Vec::new()).await.unwrap();
        let then = steps.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(steps.load(Ordering::Relaxed), then, "nobody looks on");
    }
}
