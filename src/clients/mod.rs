//! The client plane: a stranger's WebSocket becomes a session, and its traffic is counted.
//!
//! In the order a connection goes through it: [`listener`] reads the request, [`upgrade`] decides whether it
//! may come in, [`params`] reads what it says of itself, [`connection`] counts until it leaves.

mod connection;
mod listener;
mod params;
mod upgrade;

pub(crate) use listener::ClientPlane;
