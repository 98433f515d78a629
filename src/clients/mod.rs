//! The client plane: a stranger's WebSocket becomes a session, and its traffic is counted.
//!
//! In the order a connection goes through it: [`proxy`] reads for whom a proxy connects, [`listener`] reads the request,
//! [`upgrade`] decides whether it may come in, [`address`] finds out where it comes from, [`params`] reads what it says
//! of itself, [`identity`] who it really is, [`connection`] counts until it leaves, [`farewell`] says why. Beside them:
//! [`control`] is what client and tracker tell each other, [`outbox`] is what waits to be sent, [`line`] is how a
//! connection's task is told something, [`heart`] asks all of them whether they are still there, [`stamp`] is how long
//! they took to answer, [`arrival`] is how none of them is counted twice or not at all.

mod address;
mod arrival;
mod connection;
mod control;
mod describe;
mod farewell;
mod heart;
mod identity;
mod line;
mod listener;
mod outbox;
mod pace;
mod params;
mod proxy;
mod stamp;
mod upgrade;

pub(crate) use describe::describe;
pub(crate) use identity::check as check_identity;
pub(crate) use listener::ClientPlane;
