use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, frame::coding::CloseCode},
    },
};

use super::listener::ClientPlane;
use crate::{
    edge::{
        clock::Clock,
        websocket::{self, CLOSE_TIMEOUT, close_frame, close_frame_for},
    },
    session::{Membership, Session},
};

/// How a control message begins, exactly (PROTOCOL 2.5). Every other message is the application's.
const CONTROL_PREFIX: &str = r#"{"headcount":"#;

/// Owns one connection from its upgrade to its end, and counts what comes.
///
/// Not cancel-safe, and need not be: dropping it is leaving.
pub(super) async fn run<S>(
    stream: Stamped<S>,
    membership: Membership,
    speaks_headcount: bool,
    plane: &ClientPlane,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let max_message_bytes = plane.config.max_message_bytes;
    let mut socket =
        WebSocketStream::from_raw_socket(stream, Role::Server, Some(websocket::limits(max_message_bytes)))
            .await;
    if speaks_headcount && send(&mut socket, membership.session(), welcome(&membership)).await.is_err() {
        return;
    }
    let ended = tokio::select! {
        biased;
        () = plane.draining.cancelled() => None,
        ended = read(&mut socket, membership.session(), plane.config.echo) => Some(ended),
    };
    match ended {
        // Boxed, like the other ends: they are rare, and a task is as large as its largest way.
        None => Box::pin(say_goodbye(socket, membership)).await,
        Some(Ok(())) => {
            // The page is gone from the moment its close frame was read, before the peer sees the answer.
            drop(membership);
            let _ = time::timeout(CLOSE_TIMEOUT, socket.flush()).await;
        }
        Some(Err(error)) => {
            drop(membership);
            tracing::debug!(%error, "a connection ended without a close frame");
            if let Some(frame) = close_frame_for(&error, max_message_bytes) {
                Box::pin(websocket::fail(socket, frame)).await;
            }
        }
    }
}

type Socket<S> = WebSocketStream<Stamped<S>>;
type Outcome = Result<(), tokio_tungstenite::tungstenite::Error>;

/// Counts every message until the peer's close frame. Cancel-safe without `echo`: a message is counted in the
/// poll that completes it.
async fn read<S>(socket: &mut Socket<S>, session: &Session, echo: bool) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = socket.next().await {
        let message = message?;
        match &message {
            Message::Text(text) => session.message_came(text.len()),
            Message::Binary(bytes) => session.message_came(bytes.len()),
            Message::Close(_) => return Ok(()),
            // `Stamped` has noted that they came; tungstenite answers pings.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        }
        if echo && !is_control(&message) {
            send(socket, session, message).await?;
        }
    }
    Ok(())
}

fn is_control(message: &Message) -> bool {
    matches!(message, Message::Text(text) if text.starts_with(CONTROL_PREFIX))
}

async fn send<S>(socket: &mut Socket<S>, session: &Session, message: Message) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes = message.len();
    socket.send(message).await?;
    session.message_went(bytes);
    Ok(())
}

/// The server drains: sends 1001 and counts what still comes until the peer has answered. The end of the grace
/// period cuts who does not.
async fn say_goodbye<S>(mut socket: Socket<S>, membership: Membership)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = close_frame(CloseCode::Away, "the server is shutting down");
    if socket.close(Some(goodbye)).await.is_ok() {
        let _ = read(&mut socket, membership.session(), false).await;
    }
}

/// The first message to a client that speaks `headcount.v1` (PROTOCOL 2.5).
fn welcome(membership: &Membership) -> Message {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Welcome<'a> {
        headcount: &'static str,
        session_id: &'a str,
        page_id: &'a str,
        resumed: bool,
    }
    let welcome = Welcome {
        headcount: "welcome",
        session_id: &membership.session().identity().id,
        page_id: membership.page_id(),
        resumed: false,
    };
    Message::text(serde_json::to_string(&welcome).expect("a struct of text is JSON"))
}

/// A stream that notes when anything comes: a control frame or a part of a message sets `lastComm` just as a
/// whole message does (PROTOCOL 2.2), and tungstenite does not tell of each.
#[derive(Debug)]
pub(super) struct Stamped<S> {
    inner: S,
    /// What came in one read with the request, before the upgrade.
    already_read: Bytes,
    session: Arc<Session>,
    clock: Clock,
}

impl<S> Stamped<S> {
    pub(super) fn new(inner: S, already_read: Bytes, session: Arc<Session>, clock: Clock) -> Self {
        Self { inner, already_read, session, clock }
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
            self.session.heard(self.clock.now_ms());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stamped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
