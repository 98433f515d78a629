use tokio::{
    io::{AsyncRead, AsyncWrite},
    time,
};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use super::connection::{Connection, Ending, put_close};
use crate::{
    edge::websocket::{CLOSE_TIMEOUT, close_frame, close_frame_for, hang_up},
    session::{EndReason, Leaving},
};

/// What a peer is told last.
enum LastWord {
    /// Nothing: it is gone, or does not listen.
    None,
    /// Nothing more than what waits for it already.
    Waiting,
    /// The answer to its close frame.
    Answer(Option<CloseFrame>),
    /// Why the connection fails.
    Failure(CloseFrame),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Leaves the session, and then the peer, in the order that this ending wants. The page is gone before the
    /// peer can see an answer.
    pub(super) async fn end(self, ending: Ending) {
        let (leaving, last_word) = self.parting(ending);
        let Self { mut stream, mut outbox, membership, plane, task, .. } = self;
        membership.leave(leaving, plane.clock.now_ms());
        let farewell = match last_word {
            LastWord::None => None,
            LastWord::Waiting => Some((false, None)),
            LastWord::Answer(frame) => Some((false, Some(frame))),
            LastWord::Failure(frame) => Some((true, Some(Some(frame)))),
        };
        if let Some((fails, frame)) = farewell {
            let mut last = Vec::new();
            if let Some(frame) = frame {
                put_close(&mut last, frame);
            }
            let farewell = async {
                outbox.finish(&mut stream, &last).await?;
                if fails { hang_up(stream).await } else { plane.part_from(&mut stream).await }
            };
            // Whether the peer took it or not, this is the end.
            let _ = plane.cut.run_until_cancelled(time::timeout(CLOSE_TIMEOUT, farewell)).await;
        }
        plane.close(leaving.reason());
        drop(task);
    }

    /// How the session is left, and what the peer is told.
    fn parting(&self, ending: Ending) -> (Leaving, LastWord) {
        let fail =
            |reason, code, words: &str| (Leaving::Ended(reason), LastWord::Failure(close_frame(code, words)));
        match ending {
            Ending::Closed(frame) => {
                let going_away = frame.as_ref().is_some_and(|frame| frame.code == CloseCode::Away);
                (Leaving::Closed { going_away }, LastWord::Answer(frame))
            }
            Ending::Broken(error) => {
                tracing::debug!(%error, "a connection ended without a close frame");
                let Some(frame) = close_frame_for(&error, self.plane.config.max_message_bytes) else {
                    return (Leaving::Lost, LastWord::None);
                };
                let is_too_big = frame.code == CloseCode::Size;
                let reason = if is_too_big { EndReason::TooBig } else { EndReason::Protocol };
                (Leaving::Ended(reason), LastWord::Failure(frame))
            }
            Ending::Silent => {
                let silent_ms = self.line.silent_ms(self.plane.clock.now_ms());
                tracing::debug!(silent_ms, "a peer fell silent");
                (Leaving::Lost, LastWord::None)
            }
            Ending::Cut => {
                let session = self.membership.session().who().id();
                tracing::debug!(session, "cut at the end of the grace period");
                (Leaving::Ended(EndReason::Drained), LastWord::None)
            }
            Ending::TooFast => {
                fail(EndReason::RateLimited, CloseCode::Policy, "you send more than is allowed in a second")
            }
            Ending::SlowConsumer => {
                fail(EndReason::SlowConsumer, CloseCode::Policy, "you do not read what is sent to you")
            }
            Ending::Ordered(frame) => {
                let reason = EndReason::of_close_code(frame.code.into());
                (Leaving::Ended(reason), LastWord::Failure(frame))
            }
            Ending::Drained => (Leaving::Ended(EndReason::Drained), LastWord::Waiting),
        }
    }
}
