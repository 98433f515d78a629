//! The client plane: a stranger's WebSocket becomes a session, and its traffic is counted.
//!
//! In the order a connection goes through it: [`listener`] reads the request, [`upgrade`] decides whether it
//! may come in, [`params`] reads what it says of itself, [`connection`] counts until it leaves, [`farewell`] says why.
//! Beside them: [`control`] is what client and tracker tell each other, [`outbox`] is what waits to be sent, [`line`] is
//! how a connection's task is told something, [`heart`] asks all of them whether they are still there.

mod connection;
mod control;
mod farewell;
mod heart;
mod line;
mod listener;
mod outbox;
mod pace;
mod params;
mod upgrade;

pub(crate) use listener::ClientPlane;
