//! The books, compared: what every session did, and what the server says of it, while it lives and when it has
//! ended.

mod fields;
mod side;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use self::{
    fields::{ended_fields, live_fields},
    side::Side,
};
use super::problem::Problem;
use crate::{
    query_client::{EndedSession, History},
    session::{SessionInfo, SessionScope},
};

/// What one session did, in the harness's own count. Sessions that never connected have no entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The session's place among all.
    pub(crate) number: u32,
    /// As the server calls it, if it said so.
    pub(crate) session_id: Option<String>,
    /// In the order opened; at least one.
    pub(crate) pages: Vec<String>,
    pub(crate) username: String,
    pub(crate) project: String,
    pub(crate) scope: SessionScope,
    pub(crate) user_agent: &'static str,
    pub(crate) messages: u64,
    pub(crate) total_bytes: u64,
    /// Of the last message; 0 if there was none.
    pub(crate) recent_bytes: u64,
    /// How often a connection of it came back.
    pub(crate) resumed: u64,
    /// Where it was when the server was asked.
    pub(crate) fate: Fate,
    /// By the harness's clock.
    pub(crate) vanished_at: Option<DateTime<Utc>>,
    /// What ended it before its time, so that nobody can say what the server should show.
    pub(crate) broken: Option<Broken>,
}

/// How a session's own part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there until the ledger is made, and closes then.
    Standing,
    /// It has closed its tabs in order: the last one's page was open last.
    Closed,
    /// All its connections vanished. The server lists it as if it were there, until it gives it up.
    Vanished,
}

/// Something that should not have happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    field: &'static str,
    expected: String,
    found: String,
    pub(crate) problem: Option<Problem>,
}

impl Broken {
    pub(crate) fn new(field: &'static str, expected: &str, found: &str) -> Self {
        Self { field, expected: expected.to_owned(), found: found.to_owned(), problem: None }
    }
}

impl From<Problem> for Broken {
    fn from(problem: Problem) -> Self {
        Self { problem: Some(problem.clone()), ..Self::new("connection", "open", &problem.name()) }
    }
}

/// What the server says at one time. The rows are asked for first, so that no session ends unseen between.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) rows: Vec<SessionInfo>,
    /// If ended sessions are to be compared.
    pub(crate) history: Option<History>,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    pub(crate) sessions: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Sessions of which something differs, and rows that belong to no session.
    pub(crate) off: u64,
    /// How often connections came back to a session whose books were then compared.
    pub(crate) resumed: u64,
    /// None if ended sessions were not compared.
    pub(crate) ended: Option<Ended>,
    /// None if it was not waited for.
    pub(crate) settled: Option<Settled>,
    /// Each difference; some of these may be of one session.
    pub(crate) differences: Vec<Difference>,
    /// How many more there are, when the list has been cut.
    pub(crate) differences_omitted: usize,
}

/// Sessions that had ended when the server was asked last, as its history tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ended {
    /// Found, with that reason.
    pub(crate) closed: u64,
    /// Found, with that reason.
    pub(crate) lost: u64,
    /// How long these were kept after they had vanished, by the harness's clock and the server's: a row that goes
    /// too early or too late shows here.
    pub(crate) lost_after: Option<Spread>,
    /// Vanished, and still listed as the protocol wants it until the server gives them up.
    pub(crate) still_listed: u64,
    /// Not found in a history that has forgotten sessions, so nothing can be said of them.
    pub(crate) not_checked: u64,
}

/// From the least to the most, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spread {
    pub(crate) min_ms: f64,
    pub(crate) max_ms: f64,
}

/// What was there when all had left, and had been waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settled {
    /// Sessions of the run that the server still listed.
    pub(crate) left: u64,
    /// Since they were told to leave.
    pub(crate) took_ms: f64,
}

/// One thing that is not as it was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    pub(crate) page_id: String,
    /// The field of the row; `session` for a row as a whole, or `connection`; `ended` for a row of the history,
    /// and `ended.` before its fields.
    pub(crate) field: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// Compares. `prefix` is how the page ids of the run begin: a row of such a page that no entry expects is a
/// difference too. Rows of others are not looked at. `settled` is what the server says when all have left.
pub(crate) fn compare(prefix: &str, entries: &[Entry], at_end: &Books, settled: Option<&Books>) -> Ledger {
    let mut ledger = Ledger {
        sessions: entries.len() as u64,
        messages: entries.iter().map(|entry| entry.messages).sum(),
        bytes: entries.iter().map(|entry| entry.total_bytes).sum(),
        resumed: entries.iter().map(|entry| entry.resumed).sum(),
        ..Ledger::default()
    };
    let times: Vec<_> = [Some(at_end), settled].into_iter().flatten().collect();
    let last = times.len() - 1;
    let mut times: Vec<_> = times.into_iter().map(|books| Index::new(prefix, books)).collect();
    ledger.ended = times[last].history_is_known.then(Ended::default);
    for entry in entries {
        let mut differences = Vec::new();
        for (n, server) in times.iter_mut().enumerate() {
            let (found, state) = server.differences(entry, n > 0);
            if differences.is_empty() {
                differences = found;
            }
            if n == last
                && let Some(ended) = &mut ledger.ended
            {
                ended.count(state);
            }
        }
        ledger.off_by(differences);
    }
    let stray: BTreeMap<_, _> = times.iter().flat_map(Index::stray).collect();
    for (page, (field, found)) in stray {
        ledger.off_by(vec![difference(page, field, "no row", &found)]);
    }
    ledger
}

impl Ledger {
    /// Keeps so many differences at most, and counts the rest.
    pub(crate) fn cut(&mut self, at_most: usize) {
        self.differences_omitted += self.differences.len().saturating_sub(at_most);
        self.differences.truncate(at_most);
    }

    fn off_by(&mut self, differences: Vec<Difference>) {
        self.off += u64::from(!differences.is_empty());
        self.differences.extend(differences);
    }
}

/// Where a session was found.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    Listed,
    StillListed,
    Closed,
    /// So many milliseconds after it vanished.
    Lost(Option<f64>),
    /// Not at all, or not as it should be.
    Nowhere,
    Forgotten,
}

fn spread(so_far: Option<Spread>, ms: Option<f64>) -> Option<Spread> {
    let Some(ms) = ms else { return so_far };
    let Spread { min_ms, max_ms } = so_far.unwrap_or(Spread { min_ms: ms, max_ms: ms });
    Some(Spread { min_ms: min_ms.min(ms), max_ms: max_ms.max(ms) })
}

fn lost_after_ms(entry: &Entry, ended: &EndedSession) -> Option<f64> {
    let ended_at = DateTime::parse_from_rfc3339(&ended.ended_at).ok()?;
    Some(ended_at.signed_duration_since(entry.vanished_at?).num_milliseconds() as f64)
}

impl Ended {
    fn count(&mut self, found: Found) {
        *match found {
            Found::Closed => &mut self.closed,
            Found::Lost(after_ms) => {
                self.lost_after = spread(self.lost_after, after_ms);
                &mut self.lost
            }
            Found::StillListed => &mut self.still_listed,
            Found::Forgotten => &mut self.not_checked,
            Found::Listed | Found::Nowhere => return,
        } += 1;
    }
}

/// What the server says at one time, to be looked up by session.
struct Index<'a> {
    rows: Side<'a, SessionInfo>,
    ended: Side<'a, EndedSession>,
    history_is_known: bool,
    may_have_forgotten: bool,
}

impl<'a> Index<'a> {
    fn new(prefix: &'a str, books: &'a Books) -> Self {
        let history = books.history.as_ref();
        Self {
            rows: Side::new(prefix, &books.rows),
            ended: Side::new(prefix, history.map_or(&[], |history| &history.items)),
            history_is_known: history.is_some(),
            may_have_forgotten: history.is_some_and(|history| history.metadata.forgotten > 0),
        }
    }

    /// Compares one session. `has_left` is whether all sessions had left by then.
    fn differences(&mut self, entry: &Entry, has_left: bool) -> (Vec<Difference>, Found) {
        let (rows, ended) = (self.rows.take(entry), self.ended.take(entry));
        if let Some(Broken { field, expected, found, .. }) = &entry.broken {
            // The server may know or not; what it has read of the last messages, nobody can say.
            return (vec![difference(&entry.pages[0], field, expected, found)], Found::Nowhere);
        }
        match entry.fate {
            Fate::Standing if !has_left => (live(entry, &rows, &ended), Found::Listed),
            Fate::Vanished if ended.is_empty() && !has_left && !rows.is_empty() => {
                (live(entry, &rows, &ended), Found::StillListed)
            }
            Fate::Vanished if !has_left => self.gone(entry, &[], &ended),
            _ => self.gone(entry, &rows, &ended),
        }
    }

    fn gone(
        &self,
        entry: &Entry,
        rows: &[&SessionInfo],
        ended: &[&EndedSession],
    ) -> (Vec<Difference>, Found) {
        let page = &entry.pages[0];
        match (rows, ended) {
            _ if !self.history_is_known => (vec![], Found::Nowhere),
            ([], [ended]) => {
                let found = match entry.fate {
                    Fate::Vanished => Found::Lost(lost_after_ms(entry, ended)),
                    Fate::Standing | Fate::Closed => Found::Closed,
                };
                (ended_fields(entry, ended), found)
            }
            ([], []) if self.may_have_forgotten => (vec![], Found::Forgotten),
            ([], ended) => (vec![difference(page, "ended", &count(1), &count(ended.len()))], Found::Nowhere),
            (rows, _) => (vec![difference(page, "session", &count(0), &count(rows.len()))], Found::Nowhere),
        }
    }

    /// What belongs to the run and to no session of it: its page, and what to say of it.
    fn stray(&self) -> impl Iterator<Item = (&'a str, (&'static str, String))> {
        let rows = self.rows.stray().map(|(page, row)| (page, ("session", &*row.username)));
        let ended = self.ended.stray().map(|(page, row)| (page, ("ended", &*row.username)));
        rows.chain(ended).map(|(page, (field, user))| (page, (field, format!("1 row of user {user}"))))
    }
}

fn live(entry: &Entry, rows: &[&SessionInfo], ended: &[&EndedSession]) -> Vec<Difference> {
    match (rows, ended) {
        ([row], []) => live_fields(entry, row),
        (rows, ended) => {
            let reasons = ended.iter().map(|ended| format!(", ended: {}", ended.reason));
            let found = count(rows.len()) + &reasons.collect::<String>();
            vec![difference(&entry.pages[0], "session", &count(1), &found)]
        }
    }
}

fn count(rows: usize) -> String {
    match rows {
        0 => "no row".to_owned(),
        1 => "1 row".to_owned(),
        n => format!("{n} rows"),
    }
}

fn difference(page_id: &str, field: &str, expected: &str, found: &str) -> Difference {
    Difference {
        page_id: page_id.to_owned(),
        field: field.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests;
