//! Whether whoever has a query socket is still there (PROTOCOL 3.1): a peer that is gone without a word would keep its
//! place for ever.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{self, Sleep},
};

use crate::edge::waits::long;

/// A stream that knows when something came over it last: a request that comes slowly is a sign of life before it is all
/// there.
#[derive(Debug)]
pub(super) struct Heard<S> {
    stream: S,
    at: Instant,
}

/// How long a peer has been silent, and whether it was asked for a sign of life.
#[derive(Debug)]
pub(super) struct Silence {
    beat: Duration,
    /// Since when it is asked, and how many half beats it was waited for.
    asked: Option<(Instant, u32)>,
    /// Until the next look.
    wait: Pin<Box<Sleep>>,
}

/// What a look at a peer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there, or has still time to answer.
    Peer,
    /// It has said nothing for a beat: it is to be asked.
    Silence,
    /// It has not answered for one and a half beats more.
    Nobody,
}

impl Silence {
    /// A peer that is asked after a beat of silence.
    pub(super) fn new(beat: Duration) -> Self {
        Self { beat, asked: None, wait: Box::pin(long(|| time::sleep(beat))) }
    }

    /// Completes when it is time to [look](Self::look). Cancel safe.
    pub(super) async fn lasts(&mut self) {
        self.wait.as_mut().await;
    }

    /// Looks at a peer that was heard then, and sets the time of the next look. What comes in between sets no timer.
    pub(super) fn look(&mut self, heard: Instant) -> Found {
        let now = Instant::now();
        let (found, pause) = self.judge(heard, now);
        self.wait.as_mut().reset(time::Instant::from_std(now + pause));
        found
    }

    /// What a look comes to now, and how long it is to the next one.
    ///
    /// The time to answer is counted in waits that begin one after the other: a server that stood still meanwhile has
    /// waited for one of them, and not for all.
    fn judge(&mut self, heard: Instant, now: Instant) -> (Found, Duration) {
        /// So many half beats a peer has to answer.
        const WAITS: u32 = 3;
        let silent = now.saturating_duration_since(heard);
        if silent < self.beat {
            self.asked = None;
            return (Found::Peer, self.beat - silent);
        }
        let (since, waits) = match self.asked {
            Some((since, waits)) if heard <= since => (since, waits + 1),
            // What it answered may be long ago: it takes an answer of ours in the meantime.
            _ => (now, 0),
        };
        self.asked = Some((since, waits));
        let found = match waits {
            0 => Found::Silence,
            1..WAITS => Found::Peer,
            _ => Found::Nobody,
        };
        (found, self.beat / 2)
    }
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, at: Instant::now() }
    }

    /// When something came last.
    pub(super) fn at(&self) -> Instant {
        self.at
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.at = Instant::now();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(30);

    fn silence() -> Silence {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { Silence::new(BEAT) })
    }

    #[test]
    fn a_peer_is_asked_after_a_beat_and_gone_after_two_and_a_half() {
        let (mut silence, heard) = (silence(), Instant::now());
        let mut now = heard + BEAT;
        for expected in [Found::Silence, Found::Peer, Found::Peer, Found::Nobody] {
            let (found, pause) = silence.judge(heard, now);
            assert_eq!((found, pause), (expected, BEAT / 2), "after {:?}", now - heard);
            now += pause;
        }
        assert_eq!(now - heard, BEAT * 3, "the last look was at two and a half");
    }

    #[test]
    fn whoever_answers_is_asked_again_a_beat_later_and_never_gone() {
        let (mut silence, mut heard) = (silence(), Instant::now());
        for _ in 0..10 {
            let asked = heard + BEAT;
            assert_eq!(silence.judge(heard, asked), (Found::Silence, BEAT / 2));
            heard = asked + BEAT / 10;
            assert_eq!(silence.judge(heard, asked + BEAT / 2), (Found::Peer, BEAT * 6 / 10));
        }
    }

    #[test]
    fn nobody_is_gone_because_the_server_itself_stood_still() {
        let (mut silence, heard) = (silence(), Instant::now());
        let asked = heard + BEAT;
        assert_eq!(silence.judge(heard, asked).0, Found::Silence);
        let goes_on = asked + BEAT * 100;
        assert_eq!(silence.judge(heard, goes_on).0, Found::Peer);
        // It took an answer of many beats after it had answered.
        let answered = asked + BEAT / 10;
        assert_eq!(silence.judge(answered, goes_on).0, Found::Silence);
    }
}
