//! What this server understands and answers, told to programs: `OpenAPI` for HTTP, `AsyncAPI` for the WebSockets
//! (PROTOCOL 3.2).
//!
//! [`routes`] and [`calls`] have an entry for each path and each method; [`parameters`], [`refusals`], [`items`] and
//! [`takes`] are what these speak of. Schemas come from the types and the tables by which the code itself reads and
//! writes; what must be said by hand is held against live answers by `tests/it/descriptions.rs`.

mod asyncapi;
mod calls;
mod items;
mod openapi;
mod parameters;
mod refusals;
mod routes;
pub(super) mod takes;
mod text;

use std::sync::OnceLock;

use axum::extract::{Request, State};
use bytes::Bytes;

use super::{
    http::{Answer, Connection, ok},
    rest::only,
};
use crate::edge::schemas::{Channel, Schemas};

/// Describes what is said on the client plane.
pub(crate) type DescribeClients = fn(&mut Schemas) -> Channel;

/// Whether the planes speak TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverTls {
    pub(super) clients: bool,
    pub(super) admin: bool,
}

/// The documents; each is made when it is first asked for.
#[derive(Debug)]
pub(super) struct Descriptions {
    clients: DescribeClients,
    /// Whoever asks needs a token.
    needs_token: bool,
    over_tls: OverTls,
    openapi: OnceLock<Bytes>,
    asyncapi: OnceLock<Bytes>,
}

impl Descriptions {
    pub(super) fn new(clients: DescribeClients, needs_token: bool, over_tls: OverTls) -> Self {
        Self { clients, needs_token, over_tls, openapi: OnceLock::new(), asyncapi: OnceLock::new() }
    }

    fn openapi(&self) -> Bytes {
        self.openapi.get_or_init(|| openapi::document(self.needs_token).to_string().into()).clone()
    }

    fn asyncapi(&self) -> Bytes {
        self.asyncapi.get_or_init(|| asyncapi::document(self).to_string().into()).clone()
    }
}

/// What is to be had over HTTP.
pub(super) async fn openapi(State(connection): State<Connection>, request: Request) -> Answer {
    only(request.uri(), &[])?;
    Ok(ok(connection.plane.descriptions.openapi()))
}

/// What is said on the WebSockets.
pub(super) async fn asyncapi(State(connection): State<Connection>, request: Request) -> Answer {
    only(request.uri(), &[])?;
    Ok(ok(connection.plane.descriptions.asyncapi()))
}

/// The licence, as both documents name it.
fn licence() -> serde_json::Value {
    serde_json::json!({"name": env!("CARGO_PKG_LICENSE")})
}
