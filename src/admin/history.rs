//! Sessions that have ended (PROTOCOL 3.1, `getHistory`).

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc, time::Instant, vec};

use axum::{
    extract::{Extension, Request},
    http::Uri,
};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, value::RawValue};

use super::{
    describe::takes,
    http,
    listing::{self, DEFAULT_LIMIT, Items, NoList},
    methods::Methods,
    params::{Wrong, kind, text, whole},
    rest,
    source::{Source, a_while},
    view::{Mask, View},
};
use crate::{
    config::tokens::Scope,
    edge::{clock::Clock, refusal::Refusal},
    session::{
        EndReason, EndedSession, Registry, SessionScope,
        filter::{Field, Filter, Kind, Record, Value},
        text::shown,
    },
};

/// The parameters of `getHistory`. Their types are checked by name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetHistory {
    /// Conditions that must all hold.
    #[schemars(with = "Option<takes::EndedFilter>")]
    filter: Option<Box<RawValue>>,
    /// Only those that ended then or later.
    #[schemars(with = "Option<DateTime<Utc>>")]
    from: Option<Json>,
    /// Only those that ended then or earlier.
    #[schemars(with = "Option<DateTime<Utc>>")]
    to: Option<Json>,
    /// How many items are shown; -1 is all.
    #[schemars(with = "Option<i64>", range(min = -1), extend("default" = DEFAULT_LIMIT))]
    limit: Option<Json>,
}

/// What is asked for: sessions that fit and ended from then to then, the newest first.
#[derive(Debug)]
pub(super) struct Asked {
    filter: Filter<Column>,
    /// In milliseconds since 1970, as they are shown: a time may well be before the server's own clock began.
    ended: RangeInclusive<i64>,
    limit: i64,
    most: usize,
}

impl GetHistory {
    /// # Errors
    ///
    /// What is wrong with the question.
    pub(super) fn read(self) -> Result<Asked, NoList> {
        let filter =
            self.filter.as_ref().map_or(Ok(Filter::default()), |raw| Filter::from_json(raw.get()))?;
        let ended = (time("from", self.from)?, time("to", self.to)?);
        Asked::new(filter, ended, whole("limit", self.limit)?)
    }
}

/// A time, as JSON has it.
fn time(name: &str, value: Option<Json>) -> Result<Option<DateTime<Utc>>, Wrong> {
    match value {
        None | Some(Json::Null | Json::String(_)) => {
            text(name, value)?.map(|text| read_time(name, &text)).transpose()
        }
        Some(other) => Err(Wrong(format!("{name} must be an RFC 3339 time, not {}", kind(&other)))),
    }
}

fn read_time(name: &str, text: &str) -> Result<DateTime<Utc>, Wrong> {
    text.parse().map_err(|_| Wrong(format!("{name} must be an RFC 3339 time, not {}", shown(text))))
}

impl Asked {
    fn new(
        filter: Filter<Column>,
        (from, to): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
        limit: Option<i64>,
    ) -> Result<Self, NoList> {
        let (limit, _) = listing::page(limit.unwrap_or(DEFAULT_LIMIT), 0)?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let from = from.map_or(i64::MIN, |from| from.timestamp_millis());
        let to = to.map_or(i64::MAX, |to| to.timestamp_millis());
        Ok(Self { filter, ended: from..=to, limit, most })
    }

    /// Reads the parameters of a URL: `from`, `to`, `limit`, and any `field[op]`.
    fn from_query(uri: &Uri) -> Result<Self, Refusal> {
        let (conditions, mut given) = rest::given::<Column>(uri, &["from", "to", "limit"])?;
        let filter = Filter::from_pairs(conditions).map_err(NoList::from)?;
        let mut time = |name: &str| {
            let read = |value: String| read_time(name, &value).map_err(NoList::from);
            given.remove(name).map(read).transpose()
        };
        let ended = (time("from")?, time("to")?);
        Ok(Self::new(filter, ended, rest::number("limit", given.remove("limit"))?)?)
    }
}

/// `getHistory` over HTTP.
pub(super) async fn history(Extension(methods): Extension<Methods>, request: Request) -> http::Answer {
    methods.caller.must_have(Scope::Read)?;
    let asked = Asked::from_query(request.uri())?;
    http::made(&methods, get_history(&methods, asked)).await
}

/// An ended session as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EndedSession")]
pub(super) struct Item<'a> {
    /// A UUID, or the designer's own id.
    id: &'a str,
    /// The user, or `Unauthenticated`.
    username: &'a str,
    /// The project the session ran in.
    project: &'a str,
    /// Where the session ran.
    session_scope: SessionScope,
    /// The client's address, without port; without the scope `pii` its network.
    client_address: IpAddr,
    /// The client's `User-Agent`, cleaned; empty if it sent none, and without the scope `pii`.
    user_agent: &'a str,
    /// Whether the identity was verified and held to the end.
    authorized: bool,
    /// When the session began.
    #[schemars(extend("format" = "date-time"))]
    connected_at: String,
    /// When it ended.
    #[schemars(extend("format" = "date-time"))]
    ended_at: String,
    /// How long it was there, in milliseconds.
    duration_ms: u64,
    /// Why it ended.
    reason: EndReason,
    /// The pages that were open last.
    page_ids: &'a [Arc<str>],
    /// Payload bytes of its last message.
    recent_bytes_sent: u64,
    /// Payload bytes of all its messages.
    total_bytes_sent: u64,
    /// Payload bytes delivered to the client.
    bytes_received: u64,
}

/// An ended session as a filter sees it: with the wall's times.
struct Seen<'a> {
    ended: &'a EndedSession,
    clock: Clock,
    /// A filter is held against what is shown: it finds out no more.
    mask: Mask,
}

/// The fields that a filter may name: those of [`Item`], by the same names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Column {
    Id,
    Username,
    Project,
    SessionScope,
    ClientAddress,
    UserAgent,
    Authorized,
    ConnectedAt,
    EndedAt,
    DurationMs,
    Reason,
    PageIds,
    RecentBytesSent,
    TotalBytesSent,
    BytesReceived,
}

impl Field for Column {
    const ALL: &'static [(Self, &'static str, Kind)] = &[
        (Self::Id, "id", Kind::Text),
        (Self::Username, "username", Kind::Text),
        (Self::Project, "project", Kind::Text),
        (Self::SessionScope, "sessionScope", Kind::Text),
        (Self::ClientAddress, "clientAddress", Kind::Address),
        (Self::UserAgent, "userAgent", Kind::Text),
        (Self::Authorized, "authorized", Kind::Bool),
        (Self::ConnectedAt, "connectedAt", Kind::Time),
        (Self::EndedAt, "endedAt", Kind::Time),
        (Self::DurationMs, "durationMs", Kind::Number),
        (Self::Reason, "reason", Kind::Text),
        (Self::PageIds, "pageIds", Kind::Texts),
        (Self::RecentBytesSent, "recentBytesSent", Kind::Number),
        (Self::TotalBytesSent, "totalBytesSent", Kind::Number),
        (Self::BytesReceived, "bytesReceived", Kind::Number),
    ];
}

impl Record for Seen<'_> {
    type Field = Column;

    fn id(&self) -> &str {
        self.ended.who.id()
    }

    fn value(&self, column: Column) -> Value<'_> {
        let Self { ended, clock, mask } = self;
        let who = &ended.who;
        match column {
            Column::Id => Value::Text(who.id()),
            Column::Username => Value::Text(who.username()),
            Column::Project => Value::Text(who.project()),
            Column::SessionScope => Value::Text(who.scope().as_str()),
            Column::ClientAddress => Value::Address(mask.address(who.client_address())),
            Column::UserAgent => Value::Text(mask.user_agent(who.user_agent())),
            Column::Authorized => Value::Bool(ended.authorized),
            Column::ConnectedAt => Value::Time(clock.unix_ms(ended.began_ms)),
            Column::EndedAt => Value::Time(clock.unix_ms(ended.ended_ms)),
            Column::DurationMs => Value::Number(ended.ended_ms.saturating_sub(ended.began_ms)),
            Column::Reason => Value::Text(ended.reason.as_str()),
            Column::PageIds => Value::Texts(&ended.page_ids),
            Column::RecentBytesSent => Value::Number(ended.counts.recent_bytes_sent),
            Column::TotalBytesSent => Value::Number(ended.counts.total_bytes_sent),
            Column::BytesReceived => Value::Number(ended.counts.bytes_received),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HistoryMetadata")]
pub(super) struct Metadata {
    /// Ended sessions that are remembered.
    total: usize,
    /// Those among them that were asked for.
    matching: usize,
    /// The limit that was asked for; -1 is all.
    limit: i64,
    /// Ended sessions that are not remembered any more.
    forgotten: u64,
}

/// The answer to `getHistory`, made when its turn comes.
struct History {
    registry: Arc<Registry>,
    clock: Clock,
    view: View,
    asked: Asked,
    looking: Option<Looking>,
}

/// How far the search has come.
#[derive(Default)]
struct Looking {
    ended: vec::IntoIter<Arc<EndedSession>>,
    total: usize,
    forgotten: u64,
    /// The first so many that fit.
    found: Vec<Arc<EndedSession>>,
    matching: usize,
}

/// The answer to `getHistory`.
pub(super) fn get_history(methods: &Methods, asked: Asked) -> Box<dyn Source> {
    let (registry, view) = (methods.registry.clone(), methods.caller.view().clone());
    Box::new(History { registry, clock: methods.clock, view, asked, looking: None })
}

impl Source for History {
    fn looks(&self) -> usize {
        /// Holding a filter against an ended session and writing it take about so many times as long as a row of
        /// getSessionInfo.
        const DEARER: usize = 16;
        const ROWS_PER_US: usize = 10;
        let each = DEARER.saturating_add(ROWS_PER_US * self.asked.filter.worst_us());
        self.registry.remembered().saturating_mul(each)
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        let (clock, mask, asked, until) = (self.clock, self.view.mask(), &self.asked, a_while());
        let mut looking = self.looking.take().unwrap_or_else(|| self.begin());
        for ended in &mut looking.ended {
            if asked.ended.contains(&clock.unix_ms(ended.ended_ms))
                && asked.filter.matches(&Seen { ended: &ended, clock, mask })
            {
                looking.matching += 1;
                if looking.found.len() < asked.most {
                    looking.found.push(ended);
                }
            }
            if Instant::now() >= until {
                self.looking = Some(looking);
                return true;
            }
        }
        let Looking { total, forgotten, matching, .. } = looking;
        let metadata = Metadata { total, matching, limit: asked.limit, forgotten };
        let items: Vec<_> = looking.found.iter().map(|ended| item(ended, clock, mask)).collect();
        serde_json::to_writer(out, &Items { items, metadata }).expect("rows are plain data");
        false
    }
}

impl History {
    fn begin(&self) -> Looking {
        let (mut ended, forgotten) = self.registry.ended();
        ended.retain(|ended| self.view.sees(&ended.who));
        Looking { total: ended.len(), ended: ended.into_iter(), forgotten, ..Looking::default() }
    }
}

fn item<'a>(ended: &'a EndedSession, clock: Clock, mask: Mask) -> Item<'a> {
    let who = &ended.who;
    Item {
        id: who.id(),
        username: who.username(),
        project: who.project(),
        session_scope: who.scope(),
        client_address: mask.address(who.client_address()),
        user_agent: mask.user_agent(who.user_agent()),
        authorized: ended.authorized,
        connected_at: clock.rfc3339(ended.began_ms),
        ended_at: clock.rfc3339(ended.ended_ms),
        duration_ms: ended.ended_ms.saturating_sub(ended.began_ms),
        reason: ended.reason,
        page_ids: &ended.page_ids,
        recent_bytes_sent: ended.counts.recent_bytes_sent,
        total_bytes_sent: ended.counts.total_bytes_sent,
        bytes_received: ended.counts.bytes_received,
    }
}
