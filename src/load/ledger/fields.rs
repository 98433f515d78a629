//! A row, compared field by field with what its session did.

use super::{Difference, Entry, Fate, difference, side::Row as _};
use crate::{
    query_client::EndedSession,
    session::{SessionInfo, SessionScope},
};

pub(super) fn live_fields(entry: &Entry, row: &SessionInfo) -> Vec<Difference> {
    let pages: Vec<&str> = row.pages().collect();
    let expected = entry.expected_pages(&pages, false);
    let mut compared = Compared { entry, prefix: "", differences: Vec::new() };
    compared.field("totalBytesSent", &entry.total_bytes, &row.total_bytes_sent);
    compared.field("recentBytesSent", &entry.recent_bytes, &row.recent_bytes_sent);
    compared.field("pageIds", &format!("{expected:?}"), &format!("{pages:?}"));
    compared.field("activePages", &expected.len(), &row.active_pages);
    compared.identity(&row.id, &row.username, &row.project, row.session_scope, &row.user_agent);
    compared.differences
}

pub(super) fn ended_fields(entry: &Entry, row: &EndedSession) -> Vec<Difference> {
    let pages: Vec<&str> = row.pages().collect();
    let expected = entry.expected_pages(&pages, true);
    let reason = if entry.fate == Fate::Vanished { "lost" } else { "closed" };
    let mut compared = Compared { entry, prefix: "ended.", differences: Vec::new() };
    compared.field("reason", reason, &row.reason);
    compared.field("totalBytesSent", &entry.total_bytes, &row.total_bytes_sent);
    compared.field("recentBytesSent", &entry.recent_bytes, &row.recent_bytes_sent);
    compared.field("pageIds", &format!("{expected:?}"), &format!("{pages:?}"));
    compared.identity(&row.id, &row.username, &row.project, row.session_scope, &row.user_agent);
    compared.differences
}

impl Entry {
    /// The pages that a row should have. When several tabs have vanished, each is given up for itself, so any
    /// of them may be gone already: what is `found` is then right if it is some of them, in order.
    fn expected_pages<'a>(&'a self, found: &[&'a str], has_ended: bool) -> Vec<&'a str> {
        let all: Vec<&str> = self.pages.iter().map(AsRef::as_ref).collect();
        if self.fate != Fate::Vanished {
            return if has_ended { all[all.len() - 1..].to_vec() } else { all };
        }
        let mut rest = all.iter();
        let is_part = !found.is_empty() && found.iter().all(|page| rest.any(|known| known == page));
        if is_part { found.to_vec() } else { all }
    }
}

struct Compared<'a> {
    entry: &'a Entry,
    prefix: &'static str,
    differences: Vec<Difference>,
}

impl Compared<'_> {
    fn field<E: ToString + ?Sized, F: ToString + ?Sized>(&mut self, name: &str, expected: &E, found: &F) {
        let (expected, found) = (expected.to_string(), found.to_string());
        if expected != found {
            let field = format!("{}{name}", self.prefix);
            self.differences.push(difference(&self.entry.pages[0], &field, &expected, &found));
        }
    }

    fn identity(&mut self, id: &str, username: &str, project: &str, scope: SessionScope, user_agent: &str) {
        let entry = self.entry;
        self.field("id", entry.session_id.as_deref().unwrap_or(id), id);
        self.field("username", &entry.username, username);
        self.field("project", &entry.project, project);
        self.field("sessionScope", &entry.scope, &scope);
        self.field("userAgent", entry.user_agent, user_agent);
    }
}
