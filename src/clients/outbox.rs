use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

use crate::frames::put;

/// What goes out to one peer. Frames go straight to the system; only what it will not take waits here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Option<Box<Waiting>>,
}

/// Gone as soon as the system has taken all.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// How many of them are sent.
    sent: usize,
    /// The answer to the last ping that came meanwhile: a pong is owed to that one alone (RFC 6455, 5.5.3).
    pong: Option<Vec<u8>>,
}

/// Sent bytes are forgotten in portions of so many.
const FORGET_BYTES: usize = 64 * 1024;

impl Outbox {
    /// Whether the system would not take all; then [`poll_drain`](Self::poll_drain) goes on.
    pub(super) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether more may be [sent](Self::send): no more than so many bytes wait. One long message makes nobody slow.
    pub(super) fn has_room(&self, max_waiting: usize) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| waiting.bytes.len() - waiting.sent <= max_waiting)
    }

    /// Sends whole frames, whose rest waits for the system.
    ///
    /// # Errors
    ///
    /// Those of the stream that do not only say that the peer has gone.
    pub(super) fn send<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        frames: &[u8],
    ) -> io::Result<()> {
        if let Some(waiting) = &mut self.waiting {
            waiting.bytes.extend_from_slice(frames);
            return Ok(());
        }
        let sent = write(stream, cx, frames)?;
        let rest = &frames[sent..];
        if !rest.is_empty() || flush(stream, cx)?.is_pending() {
            self.waiting = Some(Box::new(Waiting { bytes: rest.to_vec(), ..Waiting::default() }));
        }
        Ok(())
    }

    /// Answers a ping once the rest is sent, unless another ping comes before that.
    pub(super) fn pong_later(&mut self, payload: &[u8]) {
        self.waiting.get_or_insert_default().pong = Some(payload.to_vec());
    }

    /// Sends what waits; ready when nothing does.
    pub(super) fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(waiting) = &mut self.waiting {
            waiting.sent += write(stream, cx, &waiting.bytes[waiting.sent..])?;
            if waiting.sent < waiting.bytes.len() {
                if waiting.sent >= FORGET_BYTES {
                    waiting.bytes.drain(..waiting.sent);
                    waiting.sent = 0;
                }
                return Poll::Pending;
            }
            waiting.bytes.clear();
            waiting.sent = 0;
            if let Some(payload) = waiting.pong.take() {
                put(&mut waiting.bytes, OpCode::Control(Control::Pong), &payload);
                continue;
            }
            if flush(stream, cx)?.is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits and then this, the last.
    pub(super) async fn finish<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        last: &[u8],
    ) -> io::Result<()> {
        let waiting = self.waiting.get_or_insert_default();
        waiting.pong = None;
        waiting.bytes.extend_from_slice(last);
        poll_fn(|cx| self.poll_drain(stream, cx)).await
    }
}

/// Writes until all is written or the system takes no more; answers how much that is.
fn write<S: AsyncWrite + Unpin>(stream: &mut S, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match Pin::new(&mut *stream).poll_write(cx, &bytes[sent..]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(more)) => sent += more,
            // A peer that sends its close frame and is gone at once, as browsers do, is no more to be written to,
            // and its frame may still wait to be read. So the reading alone finds out how a connection ended.
            Poll::Ready(Err(error)) if is_gone(&error) => return Ok(bytes.len()),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(sent)
}

fn flush<S: AsyncWrite + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(error)) if !is_gone(&error) => Err(error),
        flushed => Ok(flushed.map(|_| ())),
    }
}

/// Whether an error of writing says that the peer has gone; reading says so too, after what it has sent.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    fn send(outbox: &mut Outbox, stream: &mut DuplexStream, frames: &[u8]) -> io::Result<()> {
        assert!(outbox.has_room(20));
        outbox.send(stream, &mut Context::from_waker(Waker::noop()), frames)
    }

    #[tokio::test]
    async fn what_the_system_does_not_take_waits_within_its_bound_and_then_goes_out_in_order() {
        let (mut ours, mut theirs) = duplex(10);
        let mut outbox = Outbox::default();
        send(&mut outbox, &mut ours, b"0123").unwrap();
        assert!(!outbox.waits(), "it all went");
        send(&mut outbox, &mut ours, b"456789abcdef").unwrap();
        assert!(outbox.waits());
        outbox.pong_later(b"first");
        outbox.pong_later(b"");
        send(&mut outbox, &mut ours, b"ghijklmnopqrst").unwrap();
        send(&mut outbox, &mut ours, b"uv").unwrap();
        assert!(!outbox.has_room(20), "22 wait");
        let mut read = [0; 34];
        let (drained, _) =
            tokio::join!(poll_fn(|cx| outbox.poll_drain(&mut ours, cx)), theirs.read_exact(&mut read));
        drained.unwrap();
        assert!(!outbox.waits());
        assert_eq!(&read, b"0123456789abcdefghijklmnopqrstuv\x8a\0", "one pong, to the last ping");
    }

    #[tokio::test]
    async fn a_peer_that_has_gone_is_no_error_of_writing() {
        let (mut ours, theirs) = duplex(10);
        drop(theirs);
        let mut outbox = Outbox::default();
        send(&mut outbox, &mut ours, b"0123").unwrap();
        outbox.finish(&mut ours, b"4567").await.unwrap();
    }
}
