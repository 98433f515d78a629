use std::{fmt::Debug, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{EndReason, presence::Link};

/// The one subprotocol: clients that offer it are spoken to (PROTOCOL 2.1).
pub const SUBPROTOCOL: &str = "headcount.v1";

/// What a connection is told from outside its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Pass this text on to the client.
    Send(Arc<str>),
    /// End the connection: the session, or the connection's last page, has been ended already.
    Close {
        /// The close code (PROTOCOL 2.5).
        code: u16,
        /// The reason of the close frame.
        reason: Arc<str>,
    },
    /// The server ends: ask the client to leave, and count what it still sends.
    Drain,
}

impl Order {
    /// A close frame holds so many bytes of a reason: 125, two of which are the code (RFC 6455, 5.5).
    pub const MAX_REASON_BYTES: usize = 123;

    /// Ends the connection with these words, cut to what fits before they wait anywhere.
    pub(super) fn close(code: u16, words: &str) -> Self {
        Self::Close { code, reason: words[..words.floor_char_boundary(Self::MAX_REASON_BYTES)].into() }
    }
}

/// A way to a connection's task. It never waits.
pub trait Outlet: Debug + Send + Sync {
    /// Tells the connection. `false` if it cannot be told: the message is of a kind that the client would not
    /// understand, or too much is waiting already, or the connection has been told to end. That itself is always taken.
    fn tell(&self, order: Order) -> bool;

    /// For how long nothing has come over the connection, in milliseconds. Who does not know says 0: a peer is not
    /// taken for gone by mistake.
    fn silent_ms(&self, _now_ms: u64) -> u64 {
        0
    }

    /// Asks the peer for a sign of life.
    fn ping(&self) {}
}

/// The order for a session that ends for this reason, and the words for its client.
pub(super) fn closing(reason: EndReason, words: &str) -> Order {
    Order::close(reason.close_code(), words)
}

/// Tells all of these the same.
pub(super) fn tell(links: &[Link], order: &Order) {
    for link in links {
        link.outlet.tell(order.clone());
    }
}

/// Somebody else has come to the page of these: whether they are still there decides whose it is when he leaves it.
pub(super) fn challenge(links: &[Link]) {
    links.iter().for_each(|link| link.outlet.ping());
}

/// These serve nothing any more, and have most likely gone. If not, they may come back.
pub(super) fn part_from(links: &[Link]) {
    if !links.is_empty() {
        let words = "taken for gone: another connection had your page, and left it";
        tell(links, &closing(EndReason::Lost, words));
    }
}

/// What an administrator has for a client (PROTOCOL 2.5).
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "headcount", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FromAdministrator<'a> {
    /// What `sendMessage` was given.
    Message {
        /// What kind of message it is, for the application to know.
        message_type: &'a str,
        /// Any JSON, as the administrator wrote it.
        payload: &'a RawValue,
    },
}

/// An administrator's message as its client gets it (PROTOCOL 2.5, `message`).
pub fn control_message(message_type: &str, payload: &RawValue) -> String {
    let message = FromAdministrator::Message { message_type, payload };
    serde_json::to_string(&message).expect("text and JSON are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of a megabyte waited whole for each of thousands of connections.
    #[test]
    fn words_are_cut_to_what_a_close_frame_holds_before_they_wait() {
        let reason = |words: &str| match Order::close(4001, words) {
            Order::Close { code: 4001, reason } => reason.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason("shift ends"), "shift ends");
        assert_eq!(reason(&"é".repeat(500_000)), "é".repeat(61));
    }
}
