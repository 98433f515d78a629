//! The query plane: administrators ask, over a socket or over HTTP.
//!
//! Asking: [`listener`] accepts, [`gate`] says who may ask, [`caller`] what they may do, [`view`] what they see, and
//! [`methods`] is what one caller's questions are answered from. [`http`] has the paths: [`rest`] those of sessions,
//! [`ignition`] those of Ignition, [`events`] a watch as a stream, [`query_socket`] the WebSocket, whose peer
//! [`silence`] finds gone; [`accept`] picks the form that a client likes best. [`rpc`] is JSON-RPC, pure text in and text out, [`calls`] has its methods, and
//! [`params`] reads what they are given.
//!
//! What is asked: [`infos`] is the plain array, [`listing`] lists, [`single`] one session, [`history`] what has been,
//! [`watch`] what is told from then on, [`stats`] and [`metrics`] how much of it all there is, [`nodes`] which servers
//! there are. [`actions`] is what can be done, [`bulk`] the same to many, [`audit`] where that is written down.
//!
//! Answering: [`select`] finds sessions and orders them, [`item`] shows one, [`csv`] as a row; [`source`] makes
//! answers part by part, so many at a time, [`sharing`] one for all who ask the same, and [`snapshots`] keeps lists to
//! read on in. [`figures`] is what is counted beside the sessions, [`process`] what the system says of us, and
//! [`describe`] tells programs what there is.

mod accept;
mod actions;
mod audit;
mod bulk;
mod caller;
mod calls;
mod csv;
mod describe;
mod events;
mod figures;
mod gate;
mod history;
mod http;
mod ignition;
mod infos;
mod item;
mod listener;
mod listing;
mod methods;
mod metrics;
mod nodes;
mod params;
mod process;
mod query_socket;
mod rest;
mod rpc;
mod select;
mod sharing;
mod silence;
mod single;
mod snapshots;
mod source;
mod stats;
mod view;
mod watch;

use std::path::Path;

pub(crate) use listener::AdminPlane;

use crate::{
    config::{AdminConfig, tokens::AdminTokens},
    edge::tls,
};

/// Whether the plane can run by this: whether the files that it names hold what they should.
///
/// # Errors
///
/// The file, and what is wrong with it.
pub(crate) fn check(config: &AdminConfig) -> Result<(), String> {
    config.tls.as_ref().map_or(Ok(()), |files| tls::check(&files.certificate, &files.key))?;
    config.tokens.as_deref().map_or(Ok(()), |file: &Path| AdminTokens::read(file).map(drop))?;
    config.audit_log.as_deref().map_or(Ok(()), audit::check)
}
