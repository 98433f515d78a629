//! Sessions that have ended (PROTOCOL 3.1, `getHistory`).

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{methods::Methods, rpc::Error};
use crate::{
    edge::clock::Clock,
    session::{EndReason, EndedSession, SessionScope},
};

/// How many items an answer has unless more are asked for.
const DEFAULT_LIMIT: i64 = 100;

/// What is asked for: sessions that ended from then to then, the newest first.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GetHistory {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    limit: Option<i64>,
}

/// An ended session as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    id: &'a str,
    username: &'a str,
    project: &'a str,
    session_scope: SessionScope,
    client_address: IpAddr,
    user_agent: &'a str,
    authorized: bool,
    connected_at: String,
    ended_at: String,
    duration_ms: u64,
    reason: EndReason,
    page_ids: &'a [Arc<str>],
    recent_bytes_sent: u64,
    total_bytes_sent: u64,
    bytes_received: u64,
}

#[derive(Debug, Serialize)]
struct Metadata {
    /// Ended sessions that are remembered.
    total: usize,
    /// Those among them that were asked for.
    matching: usize,
    limit: i64,
    /// Ended sessions that are not remembered any more.
    forgotten: u64,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    items: Vec<Item<'a>>,
    metadata: Metadata,
}

/// Writes the answer to `getHistory`.
pub(super) fn get_history(methods: &Methods, asked: &GetHistory, out: &mut Vec<u8>) -> Result<(), Error> {
    let limit = asked.limit.unwrap_or(DEFAULT_LIMIT);
    let most = match limit {
        -1 => usize::MAX,
        limit => usize::try_from(limit)
            .map_err(|_| Error::invalid_params("limit must be -1 for all, or 0 and more"))?,
    };
    let clock = methods.clock;
    let from_ms = asked.from.map_or(0, |from| clock.ms_of(from));
    let to_ms = asked.to.map_or(u64::MAX, |to| clock.ms_of(to));
    let (ended, forgotten) = methods.registry.ended();
    let total = ended.len();
    let fits = |ended: &&Arc<EndedSession>| (from_ms..=to_ms).contains(&ended.ended_ms);
    let matching: Vec<_> = ended.iter().filter(fits).collect();
    let answer = Answer {
        metadata: Metadata { total, matching: matching.len(), limit, forgotten },
        items: matching.into_iter().take(most).map(|ended| item(ended, clock)).collect(),
    };
    serde_json::to_writer(out, &answer).map_err(|error| Error::new(Error::INTERNAL, error.to_string()))
}

fn item(ended: &EndedSession, clock: Clock) -> Item<'_> {
    let identity = &ended.identity;
    Item {
        id: &identity.id,
        username: &identity.username,
        project: &identity.project,
        session_scope: identity.scope,
        client_address: identity.client_address,
        user_agent: &identity.user_agent,
        authorized: identity.authorized,
        connected_at: clock.rfc3339(ended.began_ms),
        ended_at: clock.rfc3339(ended.ended_ms),
        duration_ms: ended.ended_ms.saturating_sub(ended.began_ms),
        reason: ended.reason,
        page_ids: &ended.page_ids,
        recent_bytes_sent: ended.recent_bytes_sent,
        total_bytes_sent: ended.total_bytes_sent,
        bytes_received: ended.bytes_received,
    }
}
