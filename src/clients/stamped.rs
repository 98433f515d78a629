use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::Line;
use crate::{edge::clock::Clock, session::Session};

/// A stream that notes when anything comes: a control frame or a part of a message sets `lastComm` just as a
/// whole message does (PROTOCOL 2.2), and tungstenite does not tell of each.
#[derive(Debug)]
pub(super) struct Stamped<S> {
    inner: S,
    /// What came in one read with the request, before the upgrade.
    already_read: Bytes,
    session: Arc<Session>,
    line: Arc<Line>,
    clock: Clock,
}

impl<S> Stamped<S> {
    pub(super) fn new(
        inner: S,
        already_read: Bytes,
        session: Arc<Session>,
        line: Arc<Line>,
        clock: Clock,
    ) -> Self {
        Self { inner, already_read, session, line, clock }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stamped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.already_read.is_empty() {
            std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        } else {
            let n = self.already_read.len().min(buf.remaining());
            buf.put_slice(&self.already_read[..n]);
            self.already_read.advance(n);
        }
        if buf.filled().len() > before {
            let now_ms = self.clock.now_ms();
            self.session.heard(now_ms);
            self.line.heard(now_ms);
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether an error of writing says that the peer has gone; reading says so too, after what it has sent.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stamped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            // A peer that sends its close frame and is gone at once, as browsers do, is no more to be written to,
            // and its frame may still wait to be read. So the reading alone finds out how a connection ended.
            Poll::Ready(Err(error)) if is_gone(&error) => Poll::Ready(Ok(buf.len())),
            written => written,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
