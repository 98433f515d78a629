//! What is told of a run: figures with their units, and what to make of them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    ledger::Ledger,
    plan::Plan,
    problem::{NO_LOCAL_PORT, Stage},
    record::{self, Progress, Record, VERY_LATE},
};
use crate::session::SessionScope;

/// Differences that a report lists; the rest is counted.
const MAX_DIFFERENCES: usize = 1000;

/// A whole run. As JSON it is the program's answer to `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// RFC 3339 in UTC.
    pub(crate) started_at: String,
    pub(crate) run_id: String,
    /// It was ended before its time.
    pub(crate) interrupted: bool,
    pub(crate) plan: Planned,
    /// Those that were to be there at the start.
    pub(crate) sessions: Sessions,
    /// None if nobody was to leave before the end.
    pub(crate) churn: Option<Churn>,
    /// Each from the moment a session was to connect.
    pub(crate) handshake: Latency,
    pub(crate) messages: Messages,
    /// None if nothing came back.
    pub(crate) echo: Option<Echo>,
    /// Messages that came and were no echo.
    pub(crate) other_messages: u64,
    /// None if nothing was asked.
    pub(crate) query: Option<Query>,
    /// How late the harness itself was in sending.
    pub(crate) send_lag: Latency,
    /// How late the harness itself was in connecting.
    pub(crate) connect_lag: Latency,
    pub(crate) errors: Vec<ErrorCount>,
    /// Why the figures may be worth less than they seem.
    pub(crate) warnings: Vec<String>,
    pub(crate) ledger: Option<Ledger>,
    /// Why there is no ledger though it was wanted.
    pub(crate) ledger_error: Option<String>,
    /// No session got as far as speaking to a server.
    #[serde(skip)]
    pub(crate) is_unreachable: bool,
}

/// What was to be done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Planned {
    pub(crate) url: String,
    pub(crate) sessions: u32,
    pub(crate) connects_per_second: f64,
    pub(crate) messages_per_second_and_session: f64,
    pub(crate) min_message_bytes: u32,
    pub(crate) max_message_bytes: u32,
    pub(crate) binary: bool,
    pub(crate) duration_ms: f64,
    pub(crate) scopes: BTreeMap<SessionScope, u32>,
    pub(crate) users: u32,
    pub(crate) projects: u32,
    pub(crate) source_addresses: Vec<IpAddr>,
    pub(crate) queries_per_second: f64,
    pub(crate) leavings_per_second: f64,
    /// Of those who leave, of 1.
    pub(crate) drop_share: f64,
    pub(crate) resume: bool,
    pub(crate) max_tabs: u32,
    pub(crate) seed: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sessions {
    pub(crate) planned: u64,
    pub(crate) connected: u64,
    pub(crate) failed: u64,
    /// Those that were connected, newcomers too, and ended by the server before the run was over.
    pub(crate) ended_by_server: u64,
    /// Until the last was connected.
    pub(crate) elapsed_ms: f64,
    pub(crate) per_second: f64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Churn {
    /// Sessions that closed before the end.
    pub(crate) left: u64,
    /// Sessions that came in the place of others.
    pub(crate) came: u64,
    /// Sessions that should have and were not let in.
    pub(crate) refused: u64,
    /// How often a session vanished, or one tab of it did.
    pub(crate) dropped: u64,
    /// Connections that came back to their session.
    pub(crate) resumed: u64,
    /// Connections that came back and were given another session.
    pub(crate) not_resumed: u64,
    /// Each from the moment a connection was to come back until its welcome.
    pub(crate) resume: Latency,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Messages {
    pub(crate) planned: u64,
    pub(crate) sent: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed_ms: f64,
    pub(crate) per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// Sent late, or not at all, because the connection was not there yet or took no more.
    pub(crate) held_up: u64,
    /// Not sent by the end, though their connection was open.
    pub(crate) unsent: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Echo {
    pub(crate) came_back: u64,
    /// Of the connections that echoed at all.
    pub(crate) missing: u64,
    /// Each from the moment a message was due.
    pub(crate) round_trip: Latency,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    pub(crate) planned: u64,
    /// The others have an error, were not asked in time, or the run ended before.
    pub(crate) answered: u64,
    /// In the last answer.
    pub(crate) rows: usize,
    /// Each from the moment a question was due until its answer had been read.
    pub(crate) latency: Latency,
}

/// A distribution, in milliseconds. All 0 if nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    /// 99.9 of 100.
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorCount {
    pub(crate) kind: String,
    pub(crate) count: u64,
    /// What the server said the first time.
    pub(crate) said: Option<String>,
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        started_at: DateTime<Utc>,
        interrupted: bool,
        progress: &Progress,
        record: &Record,
        ledger: Option<Result<Ledger, String>>,
    ) -> Self {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let connected = read(&progress.connected);
        let echo = (!record.echo.is_empty()).then(|| Echo {
            came_back: read(&progress.echoes),
            missing: record.unanswered,
            round_trip: (&record.echo).into(),
        });
        let query = (plan.options.query_rate > 0.0).then(|| Query {
            planned: plan.planned_queries(),
            answered: read(&progress.queries),
            rows: record.query_rows,
            latency: (&record.query).into(),
        });
        let messages = Messages::new(plan, progress, record);
        let (ledger, ledger_error) = match ledger {
            Some(Ok(mut ledger)) => {
                ledger.cut(MAX_DIFFERENCES);
                (Some(ledger), None)
            }
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        Self {
            started_at: started_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            run_id: plan.run_id.clone(),
            interrupted,
            plan: plan.into(),
            sessions: Sessions {
                planned: u64::from(plan.options.sessions),
                connected,
                failed: read(&progress.failed),
                ended_by_server: record.ended_by_server(),
                elapsed_ms: milliseconds(record.last_connected),
                per_second: per_second(connected, record.last_connected),
            },
            churn: (plan.options.churn > 0.0).then(|| record.into()),
            handshake: (&record.handshake).into(),
            other_messages: record.other_messages,
            send_lag: (&record.send_lag).into(),
            connect_lag: (&record.connect_lag).into(),
            errors: errors(record),
            warnings: warnings(record, &messages),
            messages,
            echo,
            query,
            ledger,
            ledger_error,
            is_unreachable: connected == 0
                && !record.problems.is_empty()
                && record.problems.keys().all(|(stage, _)| *stage == Stage::Connect),
        }
    }

    /// Whether the run found the server wanting: nobody got in, it ended sessions that were to stay, or the books differ.
    pub(crate) fn is_failed(&self) -> bool {
        let nobody = self.sessions.connected == 0 && !self.interrupted;
        nobody
            || self.sessions.ended_by_server > 0
            || self.ledger_error.is_some()
            || self.ledger.as_ref().is_some_and(|ledger| ledger.off > 0)
    }
}

impl From<&Record> for Churn {
    fn from(record: &Record) -> Self {
        let record::Churn { left, came, refused, dropped, resumed, not_resumed } = record.churn;
        let resume = (&record.resume).into();
        Self { left, came, refused, dropped, resumed, not_resumed, resume }
    }
}

impl Messages {
    fn new(plan: &Plan, progress: &Progress, record: &Record) -> Self {
        let (sent, bytes) = (progress.messages.load(Relaxed), progress.bytes.load(Relaxed));
        let since_begin = |at: Duration| at.saturating_sub(plan.options.messages_begin());
        // The last message is due a while before the end, but the run is as long as it was asked to be, if
        // nothing ended it earlier.
        let ran = since_begin(record.sending_ended).min(plan.options.duration);
        let elapsed = since_begin(record.last_sent).max(ran);
        Self {
            planned: plan.planned_messages(),
            sent,
            bytes,
            elapsed_ms: milliseconds(elapsed),
            per_second: per_second(sent, elapsed),
            bytes_per_second: per_second(bytes, elapsed),
            held_up: record.held_up + record.unsent_held_up,
            unsent: record.unsent + record.unsent_held_up,
        }
    }
}

fn errors(record: &Record) -> Vec<ErrorCount> {
    let problems = record.problems.iter();
    let mut errors: Vec<_> = problems
        .map(|((stage, kind), tally)| ErrorCount {
            kind: stage.of(kind),
            count: tally.count,
            said: tally.said.clone(),
        })
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    errors
}

/// Later than this is too late for one message in a hundred.
const LATE_MS: f64 = 10.0;

/// When the harness itself was not up to its schedule, its figures are not the server's.
fn warnings(record: &Record, messages: &Messages) -> Vec<String> {
    let mut warnings = Vec::new();
    let lag = Latency::from(&record.send_lag);
    if lag.p99_ms > LATE_MS || record.very_late * 100 > lag.count {
        warnings.push(format!(
            "the harness fell behind: 1 % of its messages were sent {:.1} ms late or later ({:.1} ms at most, \
             {} over {} ms); this is in the round trips. Give it more processors, or a lower --rate",
            lag.p99_ms,
            lag.max_ms,
            record.very_late,
            VERY_LATE.as_millis(),
        ));
    }
    let connect = Latency::from(&record.connect_lag);
    if connect.p99_ms > LATE_MS {
        warnings.push(format!(
            "the harness fell behind in connecting: 1 % of its sessions were begun {:.1} ms late or later \
             ({:.1} ms at most); this is in the handshakes. Lower --connect-rate",
            connect.p99_ms, connect.max_ms,
        ));
    }
    if record.unsent > 0 {
        warnings.push(format!(
            "the harness did not get to {} of {} messages before the end",
            record.unsent, messages.planned
        ));
    }
    if record.unasked > 0 {
        warnings.push(format!(
            "{} questions that were due by the end were not asked: each waits for the answer before. \
             Lower --query-rate",
            record.unasked,
        ));
    }
    if record.problems.keys().any(|(_, kind)| kind == NO_LOCAL_PORT) {
        warnings.push("the local ports ran out: connect from more --source-addresses".to_owned());
    }
    warnings
}

impl From<&Plan> for Planned {
    fn from(plan: &Plan) -> Self {
        let options = &plan.options;
        let scopes = SessionScope::ALL.into_iter().zip(options.scopes.divide(options.sessions));
        Self {
            url: options.target.url.clone(),
            sessions: options.sessions,
            connects_per_second: options.connect_rate,
            messages_per_second_and_session: options.rate,
            min_message_bytes: options.bytes.min,
            max_message_bytes: options.bytes.max,
            binary: options.binary,
            duration_ms: milliseconds(options.duration),
            scopes: scopes.collect(),
            users: options.users,
            projects: options.projects,
            source_addresses: options.source_addresses.clone(),
            queries_per_second: options.query_rate,
            leavings_per_second: options.churn,
            drop_share: options.drop,
            resume: options.resume,
            max_tabs: options.tabs,
            seed: options.seed,
        }
    }
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    let rate = if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() };
    (rate * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(crate) mod tests;
