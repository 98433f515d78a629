//! The query socket: JSON-RPC over a WebSocket, one request or batch a text message.

use std::{future::Future, io, time::Duration};

use axum::{
    body::Body,
    extract::{Extension, Request, State},
    response::Response,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

use super::{
    http::Connection,
    methods::Methods,
    rpc::{self, Error},
    silence::{Found, Heard, Silence},
    source::Unanswered,
    watch::Told,
};
use crate::{
    config::AdminConfig,
    edge::{
        query::{Query, Unknown},
        refusal::Refusal,
        switching::{self, Switching},
        websocket::{self, CLOSE_TIMEOUT, close_frame, close_frame_for},
    },
    session::SUBPROTOCOL,
};

/// A request over the limit is answered, not cut off; one this many times over is.
const HARD_LIMIT_FACTOR: usize = 4;

/// The close code of a socket whose token was removed: as for clients whose token has expired (PROTOCOL 2.5).
const TOKEN_GONE: u16 = 4005;

/// Turns `GET /query` into a query socket.
pub(super) async fn upgrade(
    State(connection): State<Connection>,
    Extension(methods): Extension<Methods>,
    mut request: Request,
) -> Result<Response, Refusal> {
    let mut switching = Switching::for_request(&request)?;
    // A browser that offers its token has to be answered with something else that it offered.
    if switching::offers(request.headers(), SUBPROTOCOL) {
        switching.choose(SUBPROTOCOL);
    }
    Query::parse(request.uri().query(), &[], Unknown::Refuse)?;
    let on_upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| Refusal::bad_parameter("this connection cannot be upgraded"))?;
    let plane = connection.plane.clone();
    let query_place = plane.query_place()?;
    let methods = Methods { watches: Some(plane.watches()), ..methods };
    plane.connections.clone().spawn(async move {
        let Ok(upgraded) = on_upgrade.await else { return };
        let ending = async {
            tokio::select! {
                biased;
                () = plane.closing.cancelled() => close_frame(CloseCode::Away, "the server is shutting down"),
                () = plane.gate.revoked(&methods.caller) => {
                    close_frame(CloseCode::Library(TOKEN_GONE), "the admin token was removed or changed")
                }
            }
        };
        let serve = serve(TokioIo::new(upgraded), &plane.config, &methods, ending);
        plane.cut.run_until_cancelled(serve).await;
        drop((connection, query_place));
    });
    Ok(switching.to_response().map(Body::new))
}

/// Answers until the administrator leaves, or has to.
async fn serve<S>(
    stream: S,
    config: &AdminConfig,
    methods: &Methods,
    ending: impl Future<Output = CloseFrame>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let max = config.max_request_bytes.saturating_mul(HARD_LIMIT_FACTOR);
    let stream = Heard::new(stream);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(socket_limits(max))).await;
    let answering = answer_all(&mut socket, config, methods);
    let ended = tokio::select! {
        biased;
        goodbye = ending => Err(goodbye),
        ended = answering => Ok(ended),
    };
    match ended {
        Err(goodbye) => websocket::fail(socket, goodbye).await,
        Ok(Ok(())) => {
            let farewell = async {
                socket.flush().await?;
                // The end of TLS, where there is one, as for clients.
                socket.get_mut().shutdown().await.map_err(tungstenite::Error::from)
            };
            let _ = time::timeout(CLOSE_TIMEOUT, farewell).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a query socket ended without a close frame");
            if let Some(frame) = close_frame_for(&error, max) {
                websocket::fail(socket, frame).await;
            }
        }
    }
}

async fn answer_all<S>(
    socket: &mut WebSocketStream<Heard<S>>,
    config: &AdminConfig,
    methods: &Methods,
) -> Result<(), tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let max = config.max_request_bytes;
    let mut silence = Silence::new(config.heartbeat);
    loop {
        // Whatever is begun is finished before there is a look at what is next, so nothing is told of a watch before its
        // answer.
        let next = tokio::select! {
            biased; // What came is read before anybody is taken for gone.
            next = next(socket, methods) => next,
            () = silence.lasts() => {
                match silence.look(socket.get_ref().at()) {
                    Found::Peer => {}
                    Found::Silence => socket.send(Message::Ping(Bytes::new())).await?,
                    Found::Nobody => return Err(gone(config.heartbeat)),
                }
                continue;
            }
        };
        let message = match next {
            Next::Message(message) => message,
            Next::Told(told) => {
                send(socket, told).await?;
                continue;
            }
        };
        let Some(message) = message else { return Ok(()) };
        let refused = match message? {
            Message::Text(text) if text.len() > max => rpc::failure(&Error::too_large(text.len(), max)),
            Message::Text(text) => {
                send(socket, rpc::Answer::to(methods.clone(), text).await).await?;
                continue;
            }
            Message::Binary(_) => rpc::failure(&Error::invalid_request("a request is a text message")),
            Message::Close(_) => return Ok(()),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        socket.send(Message::text(to_text(refused))).await?;
    }
}

/// What a query socket goes on with.
enum Next {
    /// The administrator has said this, or has ended the stream.
    Message(Option<Result<Message, tungstenite::Error>>),
    /// A watch has this to say.
    Told(Told),
}

/// What comes next: what has something to say takes turns with what asks. Cancel safe.
async fn next<S>(socket: &mut WebSocketStream<S>, methods: &Methods) -> Next
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        message = socket.next() => Next::Message(message),
        told = told(methods) => Next::Told(told),
    }
}

/// Nobody is left to be told why, as with a client that fell silent.
fn gone(beat: Duration) -> tungstenite::Error {
    let message = format!("nothing came for {:?}, although it was asked for", beat * 5 / 2);
    io::Error::new(io::ErrorKind::TimedOut, message).into()
}

/// What the watches of this socket have to say next.
async fn told(methods: &Methods) -> Told {
    match &methods.watches {
        Some(watches) => watches.next().await,
        None => std::future::pending().await,
    }
}

/// Something that is made part by part.
trait InParts {
    /// Writes the next part; `false` if it is the last.
    async fn write_part(&mut self, out: &mut Vec<u8>) -> Result<bool, Unanswered>;
}

impl InParts for rpc::Answer<Methods> {
    async fn write_part(&mut self, out: &mut Vec<u8>) -> Result<bool, Unanswered> {
        self.write_part(out).await
    }
}

impl InParts for Told {
    async fn write_part(&mut self, out: &mut Vec<u8>) -> Result<bool, Unanswered> {
        self.write_part(out).await
    }
}

/// Sends an answer or a notification as one message: in one frame if it is small, and else in one a part (RFC 6455, 5.4).
async fn send<S>(socket: &mut WebSocketStream<S>, mut answer: impl InParts) -> Result<(), tungstenite::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut kind = Data::Text;
    loop {
        let mut part = Vec::new();
        let more = answer.write_part(&mut part).await.map_err(io::Error::other)?;
        let is_all = !more && kind == Data::Text;
        if is_all && part.is_empty() {
            return Ok(());
        }
        let message = if is_all {
            Message::text(to_text(part))
        } else {
            Message::Frame(Frame::message(part, OpCode::Data(kind), !more))
        };
        socket.send(message).await?;
        if !more {
            return Ok(());
        }
        kind = Data::Continue;
    }
}

fn to_text(answer: Vec<u8>) -> String {
    String::from_utf8(answer).expect("JSON made from text is text")
}

/// An answer may be of any size: it is one message that is awaited before the next is made.
fn socket_limits(max_request_bytes: usize) -> WebSocketConfig {
    websocket::limits(max_request_bytes).max_write_buffer_size(usize::MAX)
}
