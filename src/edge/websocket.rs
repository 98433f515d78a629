//! The WebSocket around the frames: the upgrade (RFC 6455, 4.2) over an HTTP request that hyper has read, the
//! limits, and an orderly end.

use std::{io, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Error,
        error::ProtocolError,
        handshake::server::create_response_with_body,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::refusal::{Body, Refusal};

/// How long a peer has to answer a close frame, and then to take what was sent to it.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The 101 for a request that asks for a WebSocket as RFC 6455 wants it asked.
///
/// # Errors
///
/// 405, 426 or 400: what the request lacks.
pub(crate) fn upgrade<B>(request: &Request<B>) -> Result<Response<Body>, Refusal> {
    let headers = request.headers();
    let lacks = |what: &str| {
        let message = format!("this path speaks WebSocket (RFC 6455): {what}");
        Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
            .with(header::UPGRADE, "websocket"))
    };
    if request.method() != Method::GET {
        return Err(Refusal::method_not_allowed("GET"));
    }
    if request.version() < Version::HTTP_11 {
        return lacks("ask with HTTP/1.1");
    }
    if !lists(headers, header::UPGRADE, "websocket") {
        return lacks("ask with Upgrade: websocket");
    }
    if !lists(headers, header::CONNECTION, "upgrade") {
        return lacks("ask with Connection: Upgrade");
    }
    let mut created = create_response_with_body(request, Body::default);
    if let Err(Error::Protocol(
        ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader,
    )) = created
    {
        created = create_response_with_body(&plain(headers), Body::default);
    }
    created.map_err(|error| match error {
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            let message = "Sec-WebSocket-Version must be 13";
            Refusal::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
                .with(header::SEC_WEBSOCKET_VERSION, "13")
        }
        _ => {
            let message = "Sec-WebSocket-Key must be 16 bytes in base64";
            Refusal::new(StatusCode::BAD_REQUEST, "bad_handshake", message)
        }
    })
}

/// The request as tungstenite reads it, which looks at the first line of each list only.
fn plain(headers: &HeaderMap) -> Request<()> {
    let mut plain = Request::get("/").body(()).expect("a request of constants");
    plain.headers_mut().extend([
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
    ]);
    for name in [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION] {
        if let Some(value) = headers.get(&name) {
            plain.headers_mut().insert(name, value.clone());
        }
    }
    plain
}

/// Whether a header that is a list, over however many lines, has this word in any letter case.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whether the client offers this subprotocol.
pub(crate) fn offers(headers: &HeaderMap, subprotocol: &str) -> bool {
    offered(headers).any(|offered| offered == subprotocol)
}

/// The subprotocols that the client offers.
pub(crate) fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    items(headers, header::SEC_WEBSOCKET_PROTOCOL)
}

/// Chooses a subprotocol in the answer.
pub(crate) fn choose(response: &mut Response<Body>, subprotocol: &'static str) {
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
}

/// Every limit of tungstenite's that matters, set: its defaults allocate 128 KiB a connection, take messages
/// of 64 MiB and queue without end.
pub(crate) fn limits(max_message_bytes: usize) -> WebSocketConfig {
    const READ_BUFFER: usize = 4 * 1024;
    // Room for one message of the greatest size on its way out, and for the control frames beside it.
    const BESIDE: usize = 16 * 1024;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(max_message_bytes.saturating_add(BESIDE))
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
        .accept_unmasked_frames(false)
}

/// A close frame of ours.
pub(crate) fn close_frame(code: CloseCode, reason: impl Into<String>) -> CloseFrame {
    CloseFrame { code, reason: reason.into().into() }
}

/// The close code that a peer is owed for what it sent (RFC 6455, 7.4.1); none if the connection is gone.
pub(crate) fn close_frame_for(error: &Error, max_message_bytes: usize) -> Option<CloseFrame> {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing)
        | Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => None,
        Error::Utf8(_) => Some(close_frame(CloseCode::Invalid, "text is not valid UTF-8")),
        Error::Capacity(_) => Some(close_frame(
            CloseCode::Size,
            format!("a message may have {max_message_bytes} bytes at most"),
        )),
        error => {
            let mut reason = error.to_string();
            reason.truncate(reason.floor_char_boundary(123));
            Some(close_frame(CloseCode::Protocol, reason))
        }
    }
}

/// Fails the connection: sends the close frame, then [hangs up](hang_up). Bounded by [`CLOSE_TIMEOUT`].
pub(crate) async fn fail<S>(mut socket: WebSocketStream<S>, frame: CloseFrame)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let farewell = async {
        socket.close(Some(frame)).await?;
        hang_up(socket.into_inner()).await?;
        Ok::<(), tungstenite::Error>(())
    };
    // Whether the peer took it or not, this is the end.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
}

/// Ends a stream after its last frame: reads on without heeding what comes, so that the frame is not lost to the
/// reset which unread data would cause (RFC 6455, 7.1.1). The caller bounds it.
pub(crate) async fn hang_up<S>(mut stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.shutdown().await?;
    // On the heap: this is part of a connection's future, and most never come here.
    let mut sink = vec![0; 4096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}
