//! The servers that answer together (PROTOCOL 3.1, `getNodes`): this one alone.

use axum::extract::{Extension, Request};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    http::{Answer, ok},
    item::NODE,
    methods::Methods,
    rest::only,
};
use crate::config::tokens::Scope;

/// A server among those that answer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Server")]
pub(super) struct Node {
    /// Its name.
    name: &'static str,
    /// Whether it has answered.
    answered: bool,
    /// The version of its program.
    version: &'static str,
    /// When it started.
    #[schemars(extend("format" = "date-time"))]
    started_at: String,
    /// How long ago that is, in milliseconds.
    uptime_ms: u64,
    /// Whether it ends, and lets nobody in any more.
    draining: bool,
    /// Those that the caller sees.
    sessions: usize,
    /// Clients' WebSockets that are open, of whatever project: none of those who see one alone are told.
    connections: Option<u64>,
}

/// Every server there is.
pub(super) fn get_nodes(methods: &Methods) -> Vec<Node> {
    let Methods { registry, clock, caller, figures, draining, .. } = methods;
    let view = caller.view();
    vec![Node {
        name: NODE,
        answered: true,
        version: env!("CARGO_PKG_VERSION"),
        started_at: clock.rfc3339(0),
        uptime_ms: clock.now_ms(),
        draining: draining.is_cancelled(),
        sessions: view.live(registry),
        connections: view.project().is_none().then(|| figures.connections().open),
    }]
}

/// The same over HTTP.
pub(super) async fn nodes(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    methods.caller.must_have(Scope::Read)?;
    only(request.uri(), &[])?;
    let nodes = serde_json::to_vec(&get_nodes(&methods)).expect("nodes are plain data");
    Ok(ok(nodes))
}
