//! WebSocket frames of clients, read where they lie (RFC 6455, 5).
//!
//! A tracker needs a message's length, not its bytes. So nothing is copied: [`Reader::read`] goes through what one
//! read of the socket brought, unmasks in place what must be looked at, and tells of each message, ping, pong and
//! close. Pure: no socket, no clock. Between two reads a connection keeps some forty bytes, and a buffer only while
//! a part of something waits that is wanted whole.
//!
//! ```
//! use headcount::frames::{Event, Keep, Reader, Rules};
//!
//! let rules = Rules { max_message_bytes: 64 * 1024, keep: Keep::Nothing };
//! let mut reader = Reader::default();
//! // RFC 6455, 5.7: "Hello" in one masked frame; here it comes in two reads.
//! let mut first = [0x81, 0x85, 0x37, 0xfa, 0x21];
//! assert!(reader.read(&mut first, rules).next().is_none());
//! let mut second = [0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let mut events = reader.read(&mut second, rules);
//! let message = events.next().unwrap().unwrap();
//! assert_eq!(message, Event::Message { is_text: true, bytes: 5, kept: None });
//! ```
//!
//! It refuses what tungstenite refuses, with errors of tungstenite's, so that [a peer is told the same
//! code](Reader#errors); a test compares the two on valid, damaged and random streams. It differs in when:
//! what a header already gives away ends the connection before the payload has come, and so does the first byte that
//! is no UTF-8. And a close code that must not be sent (RFC 6455, 7.4) is an error here, where tungstenite tells of a
//! close frame with 1002 in it; so is a control frame that is longer than any may be, which tungstenite calls too big if it
//! is over the limit of messages.

mod header;
mod mask;
mod reader;
mod utf8;
mod write;

pub use reader::{Event, Events, Keep, Reader, Rules};
pub use write::put;

#[cfg(test)]
mod tests;
