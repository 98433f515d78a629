//! The client plane: a stranger's WebSocket becomes a session, and its traffic is counted.
//!
//! In the order a connection goes through it: [`listener`] accepts it, and drains at the end; [`proxy`] reads for whom
//! a proxy connects; [`greeting`] takes a request that comes whole in one read, which [`request`] reads, [`http`] any other, by way of
//! [`rewound`]: what was read already, once more; [`upgrade`] decides whether it may come in, [`address`] finds out
//! where it comes from, [`params`] reads what it says of itself, [`identity`] who it really is, [`connection`] counts
//! until it leaves, [`farewell`] says why. Beside them: [`control`] is what client and tracker tell each other,
//! [`replies`] is what one turn has to send, [`outbox`] what waits to be sent, [`line`] is how a connection's task is told something, [`heart`] asks all of
//! them whether they are still there, [`stamp`] is how long they took to answer, [`pace`] is how fast they may come
//! and send, [`arrival`] is how none of them is counted twice or not at all, and [`describe`](mod@describe) tells
//! programs what is said here.

mod address;
mod arrival;
mod connection;
mod control;
mod describe;
mod farewell;
mod greeting;
mod heart;
mod http;
mod identity;
mod line;
mod listener;
mod outbox;
mod pace;
mod params;
mod proxy;
mod replies;
mod request;
mod rewound;
mod stamp;
mod upgrade;

pub(crate) use describe::describe;
pub(crate) use listener::ClientPlane;

use crate::{config::ClientsConfig, edge::tls};

/// Whether the plane can run by this: whether the files that it names hold what they should.
///
/// # Errors
///
/// The file, and what is wrong with it.
pub(crate) fn check(config: &ClientsConfig) -> Result<(), String> {
    config.tls.as_ref().map_or(Ok(()), |files| tls::check(&files.certificate, &files.key))?;
    identity::check(&config.identity)
}
