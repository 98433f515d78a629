//! Answers that are made part by part, so that one of any size needs the memory of a part.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use tokio::{sync::Semaphore, task, time};

/// How large a part is, about.
pub(super) const PART_BYTES: usize = 64 * 1024;

/// A result that is written part by part.
pub(super) trait Source: Send {
    /// How many rows are looked at for the rest of it, or as many as take as long.
    fn looks(&self) -> usize;

    /// Whether it does something besides answering: then it is asked for its first part even when nobody wants to
    /// know.
    fn has_effect(&self) -> bool {
        false
    }

    /// Writes a part, or as much of it as there is after a while of looking; `false` if it was the last.
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
}

impl Workshop {
    pub(super) fn new(max_at_a_time: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(max_at_a_time)), patience }
    }

    /// Makes the next part of a source; takes the source away with its last.
    ///
    /// # Errors
    ///
    /// No place came free in time, or the source panicked; then there is no source any more.
    pub(super) async fn make_part(
        &self,
        source: &mut Option<Box<dyn Source>>,
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unanswered> {
        /// At a tenth of a microsecond a row, this is how long a socket's thread may be held.
        const LIGHT_ROWS: usize = 1024;
        let Some(making) = source.take() else { return Ok(()) };
        if making.looks() <= LIGHT_ROWS {
            *source = guarded(making, out)?;
            return Ok(());
        }
        if making.is_smooth() {
            *source = smooth_part(making, out).await?;
            return Ok(());
        }
        let places = self.places.clone();
        let place = async { places.acquire_owned().await.expect("never closed") };
        let place = if is_first {
            time::timeout(self.patience, place).await.map_err(|_| Unanswered::Overloaded)?
        } else {
            place.await
        };
        let mut part = std::mem::take(out);
        let made = task::spawn_blocking(move || {
            let _place = place;
            let made = guarded(making, &mut part);
            (made, part)
        });
        let (made, part) = made.await.map_err(|_| Unanswered::Failed)?;
        *out = part;
        *source = made?;
        Ok(())
    }
}

/// Writes a part of a smooth source; answers the source if there is more.
async fn smooth_part(
    mut source: Box<dyn Source>,
    out: &mut Vec<u8>,
) -> Result<Option<Box<dyn Source>>, Unanswered> {
    loop {
        task::yield_now().await;
        match guarded(source, out)? {
            Some(rest) if out.len() < PART_BYTES => source = rest,
            rest => return Ok(rest),
        }
    }
}

/// Writes a part; answers the source if there is more. A fault in one answer is that answer's alone.
fn guarded(mut source: Box<dyn Source>, out: &mut Vec<u8>) -> Result<Option<Box<dyn Source>>, Unanswered> {
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
