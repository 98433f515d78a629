//! What both planes share at the edge of the network: accepting, the HTTP around a WebSocket, the answers to
//! those who may not come in, what is counted of all that, and the clock.

pub(crate) mod accept;
pub(crate) mod bearer;
pub(crate) mod clock;
pub(crate) mod connections;
pub(crate) mod histogram;
pub(crate) mod origin;
pub(crate) mod query;
pub(crate) mod refusal;
pub(crate) mod schemas;
pub(crate) mod switching;
pub(crate) mod tls;
pub(crate) mod waits;
pub(crate) mod watched;
pub(crate) mod websocket;
