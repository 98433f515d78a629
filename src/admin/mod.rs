//! The query plane: administrators ask, over a socket or over HTTP.
//!
//! [`methods`] is what can be asked, [`watch`] what is told from then on, [`actions`] what can be done, [`audit`] where that is written down, [`history`] what has been,
//! [`stats`] and [`metrics`] how much of it all there is; [`rpc`] and [`calls`] are how it is asked in JSON-RPC, pure text in and text out;
//! [`http`], [`events`] and [`query_socket`] carry it. [`gate`] says who may ask, [`caller`] what they may
//! do, [`view`] what they see, [`source`] how many are answered at a time, and [`sharing`] who is answered at once;
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
mod process;
mod query_socket;
mod rest;
mod rpc;
mod select;
mod sharing;
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
