use std::{fmt::Debug, sync::Arc};

use super::EndReason;

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
        /// The reason of the close frame, cut to what fits.
        reason: Arc<str>,
    },
    /// The server ends: ask the client to leave, and count what it still sends.
    Drain,
}

/// A way to a connection's task. It never waits.
pub trait Outlet: Debug + Send + Sync {
    /// Tells the connection. `false` if it cannot be told: the message is of a kind that the client would not
    /// understand, or too much is waiting already.
    fn tell(&self, order: Order) -> bool;
}

/// The order for a session that ends for this reason, and the words for its client.
pub(super) fn closing(reason: EndReason, words: &str) -> Order {
    Order::Close { code: reason.close_code(), reason: words.into() }
}

/// An administrator's message as its client gets it (PROTOCOL 2.5, `message`).
pub fn control_message(message_type: &str, payload: &serde_json::Value) -> String {
    let message_type = serde_json::Value::from(message_type);
    format!(r#"{{"headcount":"message","messageType":{message_type},"payload":{payload}}}"#)
}
