//! Rows for programs: JSON, NDJSON and CSV.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use crate::session::{
    SessionInfo,
    text::{clean, is_hostile, spreadsheet_safe},
};

/// One array, as `getSessionInfo` answers it, laid out for reading.
pub(super) fn json(rows: &[SessionInfo], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", harmless(&serde_json::to_string_pretty(rows)?))
}

/// One object a line.
pub(super) fn ndjson(rows: &[SessionInfo], out: &mut impl Write) -> io::Result<()> {
    rows.iter().try_for_each(|row| writeln!(out, "{}", harmless(&serde_json::to_string(row)?)))
}

/// The thirteen keys as columns; `pageIds` is a JSON array in its cell.
pub(super) fn csv(rows: &[SessionInfo], with_header: bool, out: &mut impl Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    if with_header {
        csv.write_record(SessionInfo::KEYS).map_err(as_io)?;
    }
    for row in rows {
        let texts =
            [&row.user_agent, &row.id, &row.username, &row.project].map(|text| spreadsheet_safe(text));
        let numbers = [row.recent_bytes_sent, row.total_bytes_sent].map(|number| number.to_string());
        let [user_agent, id, username, project] = &texts;
        let [recent, total] = &numbers;
        csv.write_record([
            &**user_agent,
            id,
            username,
            project,
            &row.uptime.to_string(),
            &row.client_address.to_string(),
            &row.last_comm.to_string(),
            row.session_scope.as_str(),
            &row.active_pages.to_string(),
            recent,
            total,
            &clean(&serde_json::to_string(&row.page_ids)?),
            &row.authorized.to_string(),
        ])
        .map_err(as_io)?;
    }
    csv.flush()
}

/// The cause itself: a reader that has gone must be known as such.
fn as_io(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Writes what could act on a terminal as `\u….`: the same JSON value, in plain sight.
///
/// JSON has such characters only inside strings, and its own line breaks are kept.
pub(super) fn harmless(json: &str) -> Cow<'_, str> {
    let acts = |c: char| c != '\n' && is_hostile(c);
    if !json.contains(acts) {
        return Cow::Borrowed(json);
    }
    let escape = |c: char| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::session::SessionScope;

    fn hostile() -> SessionInfo {
        SessionInfo {
            user_agent: "=cmd|'/c calc'!A1".into(),
            id: "d-1".into(),
            username: "a\u{9b}31m\"b\", \u{202e}c\nd".into(),
            project: "p".into(),
            uptime: 1,
            client_address: Ipv4Addr::LOCALHOST.into(),
            last_comm: 2,
            session_scope: SessionScope::Designer,
            active_pages: 1,
            recent_bytes_sent: 3,
            total_bytes_sent: 4,
            page_ids: vec!["a,b".into()],
            authorized: true,
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_holds_the_same_value_and_nothing_that_acts() {
        let rows = [hostile(), hostile()];
        let text = written(|out| json(&rows, out));
        assert!(!text.contains(|c| c != '\n' && is_hostile(c)), "{text}");
        assert_eq!(serde_json::from_str::<Vec<SessionInfo>>(&text).unwrap(), rows);
    }

    #[test]
    fn ndjson_is_one_row_a_line() {
        let text = written(|out| ndjson(&[hostile(), hostile()], out));
        let rows: Vec<SessionInfo> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows, [hostile(), hostile()]);
    }

    #[test]
    fn csv_is_quoted_and_safe_in_a_spreadsheet() {
        let text = written(|out| csv(&[hostile()], true, out));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], SessionInfo::KEYS.join(","));
        assert_eq!(
            lines[1],
            r#"'=cmd|'/c calc'!A1,d-1,"a31m""b"", cd",p,1,127.0.0.1,2,designer,1,3,4,"[""a,b""]",true"#
        );
        assert_eq!(written(|out| csv(&[], false, out)), "");
    }
}
