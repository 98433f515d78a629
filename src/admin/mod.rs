//! The query plane: administrators ask, over a socket or over HTTP.
//!
//! [`methods`] is what can be asked, [`actions`] what can be done, [`history`] what has been; [`rpc`] and
//! [`calls`] are how it is asked in JSON-RPC, pure text in and text out;
//! [`http`] and [`query_socket`] carry it.

mod actions;
mod calls;
mod history;
mod http;
mod listener;
mod methods;
mod query_socket;
mod rpc;
mod source;

pub(crate) use listener::AdminPlane;
