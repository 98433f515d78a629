use std::{net::IpAddr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SessionScope;

/// One row of `getSessionInfo`: a session at one moment.
///
/// The thirteen fields, their order and their JSON names are the contract (PROTOCOL 3.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(description = "A live session, with the thirteen keys of `getSessionInfo` in this order.")]
pub struct SessionInfo {
    /// The client's `User-Agent`, cleaned; empty if it sent none.
    pub user_agent: Arc<str>,
    /// A UUID, or the designer's own id.
    pub id: Arc<str>,
    /// The user, or [`UNAUTHENTICATED`](super::UNAUTHENTICATED).
    #[schemars(description = "The user, or `Unauthenticated`.")]
    pub username: Arc<str>,
    /// The project the session runs in.
    pub project: Arc<str>,
    /// Milliseconds since the session began.
    pub uptime: u64,
    /// The client's address, without port.
    pub client_address: IpAddr,
    /// Milliseconds since anything came from the client.
    pub last_comm: u64,
    /// Where the session runs.
    pub session_scope: SessionScope,
    /// How many pages are open: the length of `page_ids`.
    #[schemars(description = "How many pages are open: the length of `pageIds`.")]
    pub active_pages: usize,
    /// Payload bytes of the session's most recent message.
    pub recent_bytes_sent: u64,
    /// Payload bytes of all the session's messages.
    pub total_bytes_sent: u64,
    /// The open pages, in the order opened.
    pub page_ids: Vec<Arc<str>>,
    /// Whether the identity was verified and still holds.
    pub authorized: bool,
}

impl SessionInfo {
    /// The names of the thirteen keys, in their order.
    pub const KEYS: [&str; 13] = [
        "userAgent",
        "id",
        "username",
        "project",
        "uptime",
        "clientAddress",
        "lastComm",
        "sessionScope",
        "activePages",
        "recentBytesSent",
        "totalBytesSent",
        "pageIds",
        "authorized",
    ];
}
