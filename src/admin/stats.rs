//! `getStats` (PROTOCOL 3.1): how much of everything there is.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    figures::Rates,
    methods::Methods,
    process::Process,
    source::Source,
    watch::{self, Lost},
};
use crate::{
    edge::connections::{Counts, Reasons},
    session::{Census, CensusOf, EndReason, Names, SessionScope, State, Traffic},
};

/// So many projects and users are named, those with the most sessions; the others are counted.
const MOST_NAMES: usize = 100;

/// The answer to `getStats`. What is none of a project's is null for a token of a project.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(description = "How much of everything there is.")]
pub(super) struct Stats<'a> {
    /// Now.
    #[schemars(extend("format" = "date-time"))]
    taken_at: String,
    /// When the server started.
    #[schemars(extend("format" = "date-time"))]
    started_at: String,
    /// Milliseconds in between.
    uptime: u64,
    /// The project of the token; null if it is of all.
    project: Option<&'a str>,
    /// The sessions.
    sessions: Sessions,
    /// Every scope.
    by_scope: Vec<OfScope>,
    /// The projects with the most live sessions.
    by_project: Named<OfProject<'a>>,
    /// The users with the most live sessions; those without a name are none of them.
    by_user: Named<OfUser<'a>>,
    /// Of all sessions since the start; of the live ones for a token of a project.
    traffic: Totals,
    /// Null if nobody asked a minute ago or less, or just now.
    rates: Option<Speeds>,
    /// Of the client plane.
    connections: Option<Connections<'a>>,
    /// Of those who follow changes.
    watches: Option<Watches>,
    /// The memory that the process takes; null also where the system does not tell.
    resident_bytes: Option<u64>,
}

/// Sessions, by how they are.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SessionCounts")]
struct Sessions {
    /// How many there are.
    live: u64,
    /// Those with a connection.
    connected: u64,
    /// Those that wait for somebody to come back.
    lingering: u64,
    /// Those whose identity is verified.
    authorized: u64,
    /// Those without a user name.
    unauthenticated: u64,
    /// The most that were live at a time.
    peak: Option<u64>,
    /// How many have begun since the start.
    begun: Option<u64>,
    /// How many have ended since then.
    ended: Option<u64>,
    /// Every reason, and how many ended for it.
    ended_by_reason: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Those of one scope.
#[derive(Debug, Serialize, JsonSchema)]
struct OfScope {
    /// Where they run.
    scope: SessionScope,
    /// How many there are.
    live: u64,
    /// Those with a connection.
    connected: u64,
    /// Those that wait for somebody to come back.
    lingering: u64,
}

/// Those of one project.
#[derive(Debug, Serialize, JsonSchema)]
struct OfProject<'a> {
    /// The project.
    project: &'a str,
    /// How many are live.
    sessions: u64,
}

/// Those of one user.
#[derive(Debug, Serialize, JsonSchema)]
struct OfUser<'a> {
    /// The user.
    username: &'a str,
    /// How many are live.
    sessions: u64,
}

/// Names with the most sessions first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Named")]
struct Named<T> {
    /// How many there are in all.
    distinct: usize,
    /// The first hundred.
    items: Vec<T>,
    /// Those that are not among the items.
    others: Others,
}

/// What is not named.
#[derive(Debug, Serialize, JsonSchema)]
struct Others {
    /// How many names.
    distinct: usize,
    /// How many sessions they have together.
    sessions: u64,
}

/// As rows count it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Totals {
    /// Messages that came from clients.
    messages_sent: u64,
    /// Their payload bytes.
    total_bytes_sent: u64,
    /// Messages delivered to clients.
    messages_received: u64,
    /// Their payload bytes.
    bytes_received: u64,
}

/// A second.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Speeds {
    /// Over so many milliseconds, since somebody asked before.
    over_ms: u64,
    /// Messages that came from clients, a second.
    messages_sent: f64,
    /// Their payload bytes.
    bytes_sent: f64,
    /// Messages delivered to clients, a second.
    messages_received: f64,
    /// Their payload bytes.
    bytes_received: f64,
}

/// Connections, by what became of them.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ConnectionCounts")]
struct Connections<'a> {
    /// TCP connections, since the start.
    accepted: u64,
    /// Those of whom it is not decided yet.
    arriving: u64,
    /// Those that were answered with a refusal.
    refused: u64,
    /// Those that went before they were answered, or were cut.
    dropped: u64,
    /// Those that became WebSockets.
    upgraded: u64,
    /// WebSockets that are open.
    open: u64,
    /// WebSockets that have ended.
    closed: u64,
    /// The most that were open at a time.
    peak: u64,
    /// By the code of the refusal.
    refused_by_reason: &'a Reasons,
    /// By what it came to.
    dropped_by_reason: &'a Reasons,
    /// By why they ended.
    closed_by_reason: &'a Reasons,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Watches {
    /// Those that go on.
    live: u64,
    /// All since the start.
    begun: u64,
    /// Those of them that have ended.
    ended: u64,
    /// Those who watch the same are one group.
    groups: u64,
    /// What they were told, all of them together.
    notifications: u64,
    /// How often one had to be told everything anew.
    resyncs: u64,
}

/// `getStats`, made when its turn comes: of everything, or of the project of the token.
pub(super) fn get_stats(methods: &Methods) -> Box<dyn Source> {
    Box::new(GetStats(methods.clone()))
}

struct GetStats(Methods);

impl Source for GetStats {
    fn looks(&self) -> usize {
        /// Counting a session by its names takes about so many times as long as writing its row of getSessionInfo.
        const DEARER: usize = 2;
        self.0.registry.len().saturating_mul(DEARER)
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        let Methods { registry, clock, figures, caller, .. } = &self.0;
        let project = caller.view().project();
        let now_ms = clock.now_ms();
        let of = project.map_or(CensusOf::EverybodyByName, CensusOf::Project);
        let census = registry.census(of, now_ms);
        let is_all = project.is_none();
        let connections = is_all.then(|| figures.connections());
        let rates = if is_all { figures.rates(census.traffic(), Instant::now()) } else { None };
        // The peak was looked up last, or somebody who came meanwhile would be above it.
        let peak = is_all.then(|| registry.peak() as u64);
        let stats = Stats {
            taken_at: clock.rfc3339(now_ms),
            started_at: clock.rfc3339(0),
            uptime: now_ms,
            project,
            sessions: Sessions::of(&census, peak),
            by_scope: SessionScope::ALL.map(|scope| OfScope::of(&census, scope)).into(),
            by_project: Named::of(census.projects(), |project, sessions| OfProject { project, sessions }),
            by_user: Named::of(census.users(), |username, sessions| OfUser { username, sessions }),
            traffic: census.traffic().into(),
            rates: rates.map(Speeds::from),
            connections: connections.as_ref().map(Connections::from),
            watches: is_all.then(|| Watches::from(figures.watches())),
            resident_bytes: is_all.then(Process::now).and_then(|process| process.resident_bytes),
        };
        serde_json::to_writer(out, &stats).expect("figures are plain data");
        false
    }
}

impl Sessions {
    fn of(census: &Census, peak: Option<u64>) -> Self {
        let by_reason = |reason: EndReason| (reason.as_str().to_owned(), census.ended_by(reason).into());
        Self {
            live: census.live(),
            connected: census.in_state(State::Connected),
            lingering: census.in_state(State::Lingering),
            authorized: census.authorized(),
            unauthenticated: census.unauthenticated(),
            peak,
            begun: peak.map(|_| census.begun()),
            ended: peak.map(|_| census.ended()),
            ended_by_reason: peak.map(|_| EndReason::ALL.into_iter().map(by_reason).collect()),
        }
    }
}

impl OfScope {
    fn of(census: &Census, scope: SessionScope) -> Self {
        let [connected, lingering] = State::ALL.map(|state| census.live_in(scope, state));
        Self { scope, live: connected + lingering, connected, lingering }
    }
}

impl<T> Named<T> {
    fn of<'a>(names: Option<&'a Names>, item: impl Fn(&'a str, u64) -> T) -> Self {
        let top = names.map_or_else(Vec::new, |names| names.top(MOST_NAMES));
        let (distinct, sessions) = names.map_or((0, 0), |names| (names.len(), names.sessions()));
        let shown: u64 = top.iter().map(|(_, sessions)| sessions).sum();
        let others = Others { distinct: distinct - top.len(), sessions: sessions - shown };
        Self {
            distinct,
            items: top.into_iter().map(|(name, sessions)| item(name, sessions)).collect(),
            others,
        }
    }
}

impl From<Traffic> for Totals {
    fn from(traffic: Traffic) -> Self {
        let Traffic { messages_sent, bytes_sent, messages_received, bytes_received } = traffic;
        Self { messages_sent, total_bytes_sent: bytes_sent, messages_received, bytes_received }
    }
}

impl From<Rates> for Speeds {
    fn from(rates: Rates) -> Self {
        Self {
            over_ms: u64::try_from(rates.over.as_millis()).unwrap_or(u64::MAX),
            messages_sent: rates.a_second(|traffic| traffic.messages_sent),
            bytes_sent: rates.a_second(|traffic| traffic.bytes_sent),
            messages_received: rates.a_second(|traffic| traffic.messages_received),
            bytes_received: rates.a_second(|traffic| traffic.bytes_received),
        }
    }
}

impl<'a> From<&'a Counts> for Connections<'a> {
    fn from(counts: &'a Counts) -> Self {
        Self {
            accepted: counts.accepted,
            arriving: counts.arriving,
            refused: counts.refused.sum(),
            dropped: counts.dropped.sum(),
            upgraded: counts.upgraded,
            open: counts.open,
            closed: counts.closed.sum(),
            peak: counts.peak,
            refused_by_reason: &counts.refused,
            dropped_by_reason: &counts.dropped,
            closed_by_reason: &counts.closed,
        }
    }
}

impl From<watch::Counts> for Watches {
    fn from(counts: watch::Counts) -> Self {
        Self {
            live: counts.live(),
            begun: counts.begun,
            ended: counts.ended,
            groups: counts.groups,
            notifications: counts.told(),
            resyncs: Lost::ALL.map(|why| counts.resyncs(why)).iter().sum(),
        }
    }
}
