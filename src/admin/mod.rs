//! The query plane: administrators ask, over a socket or over HTTP.
//!
//! [`methods`] is what can be asked; [`rpc`] is how it is asked in JSON-RPC, pure text in and text out;
//! [`http`] and [`query_socket`] carry it.

mod http;
mod listener;
mod methods;
mod query_socket;
mod rpc;

pub(crate) use listener::AdminPlane;
