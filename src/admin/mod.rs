//! The query plane: administrators ask, over a socket or over HTTP.
//!
//! [`methods`] is what can be asked, [`actions`] what can be done, [`history`] what has been; [`rpc`] and
//! [`calls`] are how it is asked in JSON-RPC, pure text in and text out;
//! [`http`] and [`query_socket`] carry it.

mod actions;
mod bulk;
mod calls;
mod csv;
mod history;
mod http;
mod ignition;
mod item;
mod listener;
mod listing;
mod methods;
mod query_socket;
mod rest;
mod rpc;
mod select;
mod snapshots;
mod source;

pub(crate) use listener::AdminPlane;
