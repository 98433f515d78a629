use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{
    control::{self, ToClient},
    line::{Line, Signal},
    listener::ClientPlane,
    pace::Bucket,
    stamped::Stamped,
};
use crate::{
    config::Rates,
    edge::websocket::{self, CLOSE_TIMEOUT, close_frame, close_frame_for},
    session::{EndReason, Leaving, Membership, Order},
};

/// Owns one connection from its upgrade to its end, and counts what comes.
///
/// Not cancel-safe, and need not be: dropping it is losing the connection.
pub(super) async fn run<S>(
    stream: Stamped<S>,
    membership: Membership,
    page_id: Arc<str>,
    line: Arc<Line>,
    plane: &ClientPlane,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits =
        websocket::limits(plane.config.max_message_bytes).max_write_buffer_size(plane.max_write_buffer());
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(limits)).await;
    let pace = Pace::new(plane);
    let mut connection = Connection { socket, membership, line, plane, pace, unflushed: false };
    let ending = match connection.welcome(&page_id) {
        Ok(()) => connection.converse().await,
        Err(ending) => ending,
    };
    // Boxed: a task is as large as its largest way, and most of its life is the conversation.
    Box::pin(connection.end(ending)).await;
}

struct Connection<'a, S> {
    socket: WebSocketStream<Stamped<S>>,
    membership: Membership,
    line: Arc<Line>,
    plane: &'a ClientPlane,
    pace: Pace,
    /// Something was begun to send and has not been taken by the system yet.
    unflushed: bool,
}

/// What this connection may still send in this second.
#[derive(Default)]
struct Pace {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Pace {
    fn new(plane: &ClientPlane) -> Self {
        let now_ms = plane.clock.now_ms();
        let Rates { messages, bytes, .. } = plane.config.rates;
        Self {
            messages: messages.map(|rate| Bucket::full(rate.into(), now_ms)),
            bytes: bytes.map(|rate| Bucket::full(rate, now_ms)),
        }
    }

    /// Whether a message of this size keeps to the rates. Costs nothing where there are none.
    fn allows(&mut self, bytes: usize, plane: &ClientPlane) -> bool {
        let Rates { messages: message_rate, bytes: byte_rate, .. } = plane.config.rates;
        let take = |bucket: &mut Option<Bucket>, rate: Option<u64>, amount: u64| match (bucket, rate) {
            (Some(bucket), Some(rate)) => bucket.take(amount, rate, plane.clock.now_ms()),
            _ => true,
        };
        take(&mut self.messages, message_rate.map(u64::from), 1)
            && take(&mut self.bytes, byte_rate, bytes as u64)
    }
}

/// How a connection ends.
enum Ending {
    /// More came in a second than may.
    TooFast,
    /// With the peer's close frame.
    Closed(Option<CloseFrame>),
    /// With an error of the stream, or of what came over it.
    Broken(tungstenite::Error),
    /// The peer has been silent for too long.
    Silent,
    /// The peer does not read, and more waits for it than may.
    SlowConsumer,
    /// The session or the page has been ended; this is the frame for the peer.
    Ordered(CloseFrame),
    /// The server ends.
    Drain,
}

enum Event {
    Signal(Signal),
    Came(Message),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// The first message to a client that speaks `headcount.v1`.
    fn welcome(&mut self, page_id: &str) -> Result<(), Ending> {
        if !self.line.speaks_headcount() {
            return Ok(());
        }
        let welcome = ToClient::Welcome {
            session_id: self.membership.session().who().id(),
            page_id,
            resume_token: self.membership.token().map(|token| token.reveal()),
            resumed: self.membership.resumed(),
            heartbeat_ms: self.plane.heart.beat_ms(),
        };
        let text = welcome.to_text();
        self.send(Message::text(text))
    }

    async fn converse(&mut self) -> Ending {
        loop {
            let handled = match poll_fn(|cx| self.poll_event(cx)).await {
                Ok(Event::Signal(signal)) => self.obey(signal),
                Ok(Event::Came(message)) => self.came(message),
                Err(ending) => Err(ending),
            };
            if let Err(ending) = handled {
                return ending;
            }
        }
    }

    /// Writes what waits, and waits for what comes: from the peer, or from others on the line.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Ending>> {
        if self.unflushed
            && let Poll::Ready(flushed) = self.socket.poll_flush_unpin(cx)
        {
            self.unflushed = false;
            if let Err(error) = flushed {
                return Poll::Ready(Err(Ending::Broken(error)));
            }
        }
        if let Poll::Ready(signal) = self.line.poll_signal(cx) {
            return Poll::Ready(Ok(Event::Signal(signal)));
        }
        // A peer that does not read its echo is not read either, rather than remembered.
        if self.unflushed && self.plane.config.echo {
            return Poll::Pending;
        }
        self.socket.poll_next_unpin(cx).map(|came| match came {
            Some(Ok(message)) => Ok(Event::Came(message)),
            Some(Err(error)) => Err(Ending::Broken(error)),
            None => Err(Ending::Broken(tungstenite::Error::ConnectionClosed)),
        })
    }

    fn obey(&mut self, signal: Signal) -> Result<(), Ending> {
        match signal {
            Signal::Ping => self.post(Message::Ping(bytes::Bytes::new())),
            Signal::Silent => Err(Ending::Silent),
            Signal::Order(Order::Send(text)) => self.send(Message::text(&*text)),
            Signal::Order(Order::Close { code, reason }) => {
                let mut reason = reason.to_string();
                // A control frame holds 125 bytes, two of which are the code (RFC 6455, 5.5).
                reason.truncate(reason.floor_char_boundary(123));
                Err(Ending::Ordered(close_frame(code.into(), reason)))
            }
            Signal::Order(Order::Drain) => Err(Ending::Drain),
        }
    }

    fn came(&mut self, message: Message) -> Result<(), Ending> {
        let session = self.membership.session();
        match &message {
            Message::Text(text) => session.message_came(text.len()),
            Message::Binary(bytes) => session.message_came(bytes.len()),
            // `Stamped` has noted that they came; tungstenite answers pings.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
            Message::Close(_) => {
                let Message::Close(frame) = message else { unreachable!("just seen") };
                return Err(Ending::Closed(frame));
            }
        }
        if !self.pace.allows(message.len(), self.plane) {
            return Err(Ending::TooFast);
        }
        match &message {
            Message::Text(text) if control::is_control(text) => self.control_came(text),
            _ if self.plane.config.echo => self.send(message),
            _ => Ok(()),
        }
    }

    fn control_came(&mut self, text: &Utf8Bytes) -> Result<(), Ending> {
        let now_ms = self.plane.clock.now_ms();
        match control::obey(text, &mut self.membership, now_ms) {
            Err((code, message)) if self.line.speaks_headcount() => {
                self.send(Message::text(ToClient::Error { code, message }.to_text()))
            }
            _ => Ok(()),
        }
    }

    /// Sends a message of the application or the tracker, and counts it as delivered.
    fn send(&mut self, message: Message) -> Result<(), Ending> {
        let bytes = message.len();
        self.post(message)?;
        self.membership.session().message_went(bytes);
        Ok(())
    }

    /// Hands a frame over without waiting: what the system does not take at once waits in a buffer with a bound.
    fn post(&mut self, message: Message) -> Result<(), Ending> {
        self.unflushed = true;
        self.socket.start_send_unpin(message).map_err(|error| match error {
            tungstenite::Error::WriteBufferFull(_) => Ending::SlowConsumer,
            error => Ending::Broken(error),
        })
    }

    /// Leaves the session, and then the peer, in the order that this ending wants. The page is gone before the
    /// peer can see an answer.
    async fn end(self, ending: Ending) {
        let Self { mut socket, membership, line, plane, .. } = self;
        let now_ms = plane.clock.now_ms();
        let max_message_bytes = plane.config.max_message_bytes;
        match ending {
            Ending::Closed(frame) => {
                let going_away = frame.is_some_and(|frame| frame.code == CloseCode::Away);
                membership.leave(Leaving::Closed { going_away }, now_ms);
                let _ = time::timeout(CLOSE_TIMEOUT, socket.flush()).await;
            }
            Ending::Broken(error) => {
                tracing::debug!(%error, "a connection ended without a close frame");
                let Some(frame) = close_frame_for(&error, max_message_bytes) else {
                    return membership.leave(Leaving::Lost, now_ms);
                };
                let is_too_big = frame.code == CloseCode::Size;
                let reason = if is_too_big { EndReason::TooBig } else { EndReason::Protocol };
                membership.leave(Leaving::Ended(reason), now_ms);
                websocket::fail(socket, frame).await;
            }
            Ending::Silent => {
                tracing::debug!(silent_ms = line.silent_ms(now_ms), "a peer fell silent");
                membership.leave(Leaving::Lost, now_ms);
            }
            Ending::TooFast => {
                membership.leave(Leaving::Ended(EndReason::RateLimited), now_ms);
                let frame = close_frame(CloseCode::Policy, "you send more than is allowed in a second");
                websocket::fail(socket, frame).await;
            }
            Ending::SlowConsumer => {
                membership.leave(Leaving::Ended(EndReason::SlowConsumer), now_ms);
                let frame = close_frame(CloseCode::Policy, "you do not read what is sent to you");
                websocket::fail(socket, frame).await;
            }
            Ending::Ordered(frame) => {
                membership.leave(Leaving::Ended(EndReason::Terminated), now_ms);
                websocket::fail(socket, frame).await;
            }
            Ending::Drain => say_goodbye(socket, membership, plane).await,
        }
    }
}

/// The server ends: sends 1001 and counts what still comes until the peer has answered. The end of the grace
/// period cuts who does not.
async fn say_goodbye<S>(mut socket: WebSocketStream<Stamped<S>>, membership: Membership, plane: &ClientPlane)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let session = membership.session();
    let goodbye = close_frame(CloseCode::Away, "the server is shutting down");
    if socket.close(Some(goodbye)).await.is_ok() {
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(text) => session.message_came(text.len()),
                Message::Binary(bytes) => session.message_came(bytes.len()),
                Message::Close(_) => break,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
    membership.leave(Leaving::Ended(EndReason::Drained), plane.clock.now_ms());
    let _ = time::timeout(CLOSE_TIMEOUT, socket.flush()).await;
}
