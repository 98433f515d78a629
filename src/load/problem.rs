//! What goes wrong, by kind: few enough to count, plain enough to act on.

use std::io;

use tokio_tungstenite::tungstenite::{self, error::ProtocolError, protocol::CloseFrame};

use crate::session::text;

/// Where in a session's life it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// No TCP connection came about.
    Connect,
    /// A connection, but no WebSocket.
    Handshake,
    /// Between the handshake and the end of the run.
    Session,
    /// At the end, when the server was to show that it had read everything.
    Barrier,
    /// When the connection was to be closed.
    Close,
    /// A question to the admin plane.
    Query,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Session => "session",
            Self::Barrier => "barrier",
            Self::Close => "close",
            Self::Query => "query",
        }
    }

    /// A kind with the stage before it.
    pub(super) fn of(self, kind: &str) -> String {
        format!("{}: {kind}", self.name())
    }
}

/// Something that went wrong once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) stage: Stage,
    /// The same for all that are to be counted together.
    pub(crate) kind: String,
    /// What the other side said about this one.
    pub(crate) said: Option<String>,
}

/// So much of what a server says is kept.
const MAX_SAID_CHARS: usize = 200;

/// The kind of problem that more source addresses would solve.
pub(super) const NO_LOCAL_PORT: &str = "no free local port";

impl Problem {
    pub(super) fn new(stage: Stage, kind: impl Into<String>) -> Self {
        Self { stage, kind: kind.into(), said: None }
    }

    /// Keeps what the other side said, made harmless for a terminal.
    pub(super) fn saying(self, said: &str) -> Self {
        let said: String = text::clean(said).trim().chars().take(MAX_SAID_CHARS).collect();
        Self { said: Some(said).filter(|said| !said.is_empty()), ..self }
    }

    pub(super) fn timed_out(stage: Stage) -> Self {
        Self::new(stage, "timed out")
    }

    pub(super) fn io(stage: Stage, error: &io::Error) -> Self {
        let kind = error.kind().to_string();
        // Two kinds say nothing; "too many open files" is one of them.
        let says_nothing = matches!(kind.as_str(), "other error" | "uncategorized error");
        Self::new(stage, if says_nothing { error.to_string() } else { kind })
    }

    pub(super) fn websocket(stage: Stage, error: &tungstenite::Error) -> Self {
        use tungstenite::Error;
        match error {
            Error::Io(error) => Self::io(stage, error),
            Error::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                Self::new(stage, format!("http {}", response.status().as_u16())).saying(&refusal(body))
            }
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::cut(stage),
            Error::Protocol(ProtocolError::HandshakeIncomplete) => Self::new(stage, "cut off"),
            error => Self::new(stage, text::clean(&error.to_string()).chars().take(80).collect::<String>()),
        }
    }

    pub(super) fn cut(stage: Stage) -> Self {
        Self::new(stage, "cut without a close frame")
    }

    pub(super) fn closed(stage: Stage, frame: Option<&CloseFrame>) -> Self {
        match frame {
            Some(frame) => {
                Self::new(stage, format!("closed {}", u16::from(frame.code))).saying(&frame.reason)
            }
            None => Self::new(stage, "closed without a code"),
        }
    }

    /// The kind with the stage before it.
    pub(crate) fn name(&self) -> String {
        self.stage.of(&self.kind)
    }
}

/// What a refusing server says: headcount's own words, or the first line of whatever it is.
fn refusal(body: &[u8]) -> String {
    let ours = || {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        value["error"]["message"].as_str().map(str::to_owned)
    };
    ours().unwrap_or_else(|| String::from_utf8_lossy(body).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use tungstenite::protocol::frame::coding::CloseCode;

    use super::*;

    #[test]
    fn what_a_server_says_is_kept_short_and_harmless() {
        let frame = CloseFrame { code: CloseCode::Size, reason: "too\x1b[31m big".into() };
        let problem = Problem::closed(Stage::Session, Some(&frame));
        assert_eq!(problem.name(), "session: closed 1009");
        assert_eq!(problem.said.as_deref(), Some("too[31m big"));
        assert_eq!(Problem::closed(Stage::Session, None).name(), "session: closed without a code");
        assert_eq!(Problem::cut(Stage::Barrier).saying("").said, None);
    }

    #[test]
    fn a_refusal_is_read_from_its_body_if_it_is_ours() {
        assert_eq!(refusal(br#"{"error":{"code":"server_full","message":"full"}}"#), "full");
        assert_eq!(refusal(b"Bad Gateway\nby nginx"), "Bad Gateway");
        assert_eq!(refusal(b""), "");
    }

    #[test]
    fn the_system_s_errors_are_counted_by_kind() {
        let kind = |kind: io::ErrorKind| Problem::io(Stage::Connect, &kind.into()).name();
        assert_eq!(kind(io::ErrorKind::ConnectionRefused), "connect: connection refused");
        let too_many = io::Error::from_raw_os_error(24);
        let name = Problem::io(Stage::Connect, &too_many).name();
        assert!(name.contains("open files"), "{name}");
    }
}
