//! The WebSocket around the frames: the limits, and an orderly end.

use std::{io, time::Duration};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Error,
        error::ProtocolError,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// How long a peer has to answer a close frame, and then to take what was sent to it.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

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
