//! What one turn of a connection has for its peer, until that is sent.

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::connection::READ_BYTES;
use crate::{frames, session::Session};

/// They are sent when so much has gathered, and after each read.
const ENOUGH_BYTES: usize = 16 * 1024;

/// Frames that go out together, and how many messages they are: those count as delivered when they are sent, or wait within the bound.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pub(super) frames: Vec<u8>,
    messages: u64,
    payload_bytes: u64,
}

impl Replies {
    pub(super) fn control(&mut self, opcode: Control, payload: &[u8]) {
        frames::put(&mut self.frames, OpCode::Control(opcode), payload);
    }

    pub(super) fn message(&mut self, opcode: Data, payload: &[u8]) {
        frames::put(&mut self.frames, OpCode::Data(opcode), payload);
        self.messages += 1;
        self.payload_bytes += payload.len() as u64;
    }

    /// A message of the tracker or an administrator.
    pub(super) fn text(&mut self, text: &str) {
        self.message(Data::Text, text.as_bytes());
    }

    /// Whether they should not wait for more.
    pub(super) fn are_enough(&self) -> bool {
        self.frames.len() >= ENOUGH_BYTES
    }

    /// They are about to be sent.
    pub(super) fn count_for(&self, session: &Session) {
        if self.messages > 0 {
            session.messages_went(self.messages, self.payload_bytes);
        }
    }

    /// Begins anew. The thread keeps what many use, not what one has used once.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.frames.shrink_to(READ_BYTES);
        (self.messages, self.payload_bytes) = (0, 0);
    }
}
