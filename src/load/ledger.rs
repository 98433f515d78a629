//! The books, compared: what every session did, and what the server says of it.

use std::collections::HashMap;

use serde::Serialize;

use crate::session::{SessionInfo, SessionScope};

/// What one session did, in the harness's own count. Sessions that never connected have no entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The session's place among all.
    pub(crate) number: u32,
    pub(crate) page_id: String,
    pub(crate) username: String,
    pub(crate) project: String,
    pub(crate) scope: SessionScope,
    pub(crate) user_agent: &'static str,
    pub(crate) messages: u64,
    pub(crate) total_bytes: u64,
    /// Of the last message; 0 if there was none.
    pub(crate) recent_bytes: u64,
    /// How the connection ended before its time, so that the server has no such session to show.
    pub(crate) broken: Option<String>,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    pub(crate) sessions: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Sessions of which something differs, and rows that belong to no session.
    pub(crate) off: u64,
    /// Each difference; some of these may be of one session.
    pub(crate) differences: Vec<Difference>,
    /// How many more there are, when the list has been cut.
    pub(crate) differences_omitted: usize,
}

/// One thing that is not as it was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    pub(crate) page_id: String,
    /// The field of the row, or `session` for a row as a whole, or `connection`.
    pub(crate) field: &'static str,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// Compares. `prefix` is how the page ids of the run begin: a row of such a page that no entry expects is a
/// difference too. Rows of others are not looked at.
pub(crate) fn compare(prefix: &str, entries: &[Entry], rows: &[SessionInfo]) -> Ledger {
    let mut by_page: HashMap<&str, Vec<&SessionInfo>> = HashMap::new();
    for row in rows {
        for page in row.page_ids.iter().filter(|page| page.starts_with(prefix)) {
            by_page.entry(page).or_default().push(row);
        }
    }
    let mut ledger = Ledger {
        sessions: entries.len() as u64,
        messages: entries.iter().map(|entry| entry.messages).sum(),
        bytes: entries.iter().map(|entry| entry.total_bytes).sum(),
        ..Ledger::default()
    };
    for entry in entries {
        let rows = by_page.remove(entry.page_id.as_str()).unwrap_or_default();
        ledger.off_by(differences(entry, &rows));
    }
    let mut stray: Vec<_> = by_page.into_iter().collect();
    stray.sort_unstable_by_key(|&(page, _)| page);
    for (page, rows) in stray {
        let found = format!("{} of user {}", count(rows.len()), rows[0].username);
        ledger.off_by(vec![difference(page, "session", "no row", &found)]);
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

fn differences(entry: &Entry, rows: &[&SessionInfo]) -> Vec<Difference> {
    if let Some(how) = &entry.broken {
        // The server may know or not; what it has read of the last messages, nobody can say.
        return vec![difference(&entry.page_id, "connection", "open", how)];
    }
    match rows {
        [row] => fields(entry, row),
        rows => vec![difference(&entry.page_id, "session", &count(1), &count(rows.len()))],
    }
}

fn fields(entry: &Entry, row: &SessionInfo) -> Vec<Difference> {
    let pages = |ids: &[&str]| format!("{ids:?}");
    let page_ids: Vec<&str> = row.page_ids.iter().map(AsRef::as_ref).collect();
    [
        ("totalBytesSent", entry.total_bytes.to_string(), row.total_bytes_sent.to_string()),
        ("recentBytesSent", entry.recent_bytes.to_string(), row.recent_bytes_sent.to_string()),
        ("pageIds", pages(&[entry.page_id.as_str()]), pages(&page_ids)),
        ("activePages", "1".to_owned(), row.active_pages.to_string()),
        ("username", entry.username.clone(), row.username.to_string()),
        ("project", entry.project.clone(), row.project.to_string()),
        ("sessionScope", entry.scope.to_string(), row.session_scope.to_string()),
        ("userAgent", entry.user_agent.to_owned(), row.user_agent.to_string()),
    ]
    .into_iter()
    .filter(|(_, expected, found)| expected != found)
    .map(|(field, expected, found)| Difference { page_id: entry.page_id.clone(), field, expected, found })
    .collect()
}

fn count(rows: usize) -> String {
    match rows {
        0 => "no row".to_owned(),
        1 => "1 row".to_owned(),
        n => format!("{n} rows"),
    }
}

fn difference(page_id: &str, field: &'static str, expected: &str, found: &str) -> Difference {
    Difference { page_id: page_id.to_owned(), field, expected: expected.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            number: 0,
            page_id: "load-1-0".to_owned(),
            username: "user-0001".to_owned(),
            project: "project-01".to_owned(),
            scope: SessionScope::Ios,
            user_agent: "iPhone",
            messages: 3,
            total_bytes: 60,
            recent_bytes: 20,
            broken: None,
        }
    }

    fn row() -> SessionInfo {
        SessionInfo {
            user_agent: "iPhone".into(),
            id: "x".into(),
            username: "user-0001".into(),
            project: "project-01".into(),
            uptime: 5,
            client_address: [127, 0, 0, 1].into(),
            last_comm: 5,
            session_scope: SessionScope::Ios,
            active_pages: 1,
            recent_bytes_sent: 20,
            total_bytes_sent: 60,
            page_ids: vec!["load-1-0".into()],
            authorized: false,
        }
    }

    #[track_caller]
    fn off(entries: &[Entry], rows: &[SessionInfo], expected: &[(&str, &str, &str)]) {
        let ledger = compare("load-1-", entries, rows);
        let differences = ledger.differences.iter();
        let found: Vec<_> = differences.map(|d| (d.field, d.expected.as_str(), d.found.as_str())).collect();
        assert_eq!(found, expected);
        assert_eq!(ledger.off, u64::from(!expected.is_empty()));
    }

    #[test]
    fn books_that_agree_are_not_off_whoever_else_is_there() {
        let mut other = row();
        other.page_ids = vec!["load-2-0".into()];
        off(&[entry()], &[other, row()], &[]);
        let ledger = compare("load-1-", &[entry()], &[row()]);
        assert_eq!((ledger.sessions, ledger.messages, ledger.bytes), (1, 3, 60));
        off(&[], &[], &[]);
    }

    #[test]
    fn every_field_is_compared() {
        type Change = fn(&mut SessionInfo);
        let cases: [(Change, (&str, &str, &str)); 8] = [
            (|row| row.total_bytes_sent = 59, ("totalBytesSent", "60", "59")),
            (|row| row.recent_bytes_sent = 21, ("recentBytesSent", "20", "21")),
            (|row| row.page_ids.push("p".into()), ("pageIds", r#"["load-1-0"]"#, r#"["load-1-0", "p"]"#)),
            (|row| row.active_pages = 2, ("activePages", "1", "2")),
            (|row| row.username = "billy".into(), ("username", "user-0001", "billy")),
            (|row| row.project = "plant".into(), ("project", "project-01", "plant")),
            (|row| row.session_scope = SessionScope::Browser, ("sessionScope", "ios", "browser")),
            (|row| row.user_agent = "".into(), ("userAgent", "iPhone", "")),
        ];
        for (change, expected) in cases {
            let mut row = row();
            change(&mut row);
            off(&[entry()], &[row], &[expected]);
        }
    }

    #[test]
    fn a_session_that_is_missing_or_there_twice_is_a_difference() {
        off(&[entry()], &[], &[("session", "1 row", "no row")]);
        off(&[entry()], &[row(), row()], &[("session", "1 row", "2 rows")]);
    }

    #[test]
    fn a_row_that_nobody_expects_is_a_difference() {
        let found = "1 row of user user-0001";
        off(&[], &[row()], &[("session", "no row", found)]);
    }

    #[test]
    fn a_broken_connection_is_a_difference_whether_its_row_is_there_or_not() {
        let broken = Entry { broken: Some("session: closed 1009".to_owned()), ..entry() };
        let expected = [("connection", "open", "session: closed 1009")];
        off(std::slice::from_ref(&broken), &[], &expected);
        off(&[broken], &[row()], &expected);
    }

    #[test]
    fn several_differences_of_one_session_are_one_session_off() {
        let mut row = row();
        (row.total_bytes_sent, row.recent_bytes_sent) = (0, 0);
        off(&[entry()], &[row], &[("totalBytesSent", "60", "0"), ("recentBytesSent", "20", "0")]);
    }
}
