use super::*;
use crate::{load::problem::Stage, query_client::HistoryMetadata};

fn entry() -> Entry {
    Entry {
        number: 0,
        session_id: None,
        pages: vec!["load-1-0".to_owned()],
        username: "user-0001".to_owned(),
        project: "project-01".to_owned(),
        scope: SessionScope::Ios,
        user_agent: "iPhone",
        messages: 3,
        total_bytes: 60,
        recent_bytes: 20,
        resumed: 0,
        fate: Fate::Standing,
        vanished_at: None,
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
    let books = Books { rows: rows.to_vec(), history: None };
    let ledger = compare("load-1-", entries, &books, None);
    let differences = ledger.differences.iter();
    let found: Vec<_> =
        differences.map(|d| (d.field.as_str(), d.expected.as_str(), d.found.as_str())).collect();
    assert_eq!(found, expected);
    assert_eq!(ledger.off, u64::from(!expected.is_empty()));
}

#[test]
fn books_that_agree_are_not_off_whoever_else_is_there() {
    let mut other = row();
    other.page_ids = vec!["load-2-0".into()];
    off(&[entry()], &[other, row()], &[]);
    let ledger = compare("load-1-", &[entry()], &Books { rows: vec![row()], history: None }, None);
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
    let closed = Problem::new(Stage::Session, "closed 1009");
    let broken = Entry { broken: Some(closed.into()), ..entry() };
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

fn ended() -> EndedSession {
    EndedSession {
        id: "x".to_owned(),
        username: "user-0001".to_owned(),
        project: "project-01".to_owned(),
        session_scope: SessionScope::Ios,
        user_agent: "iPhone".to_owned(),
        ended_at: "2026-11-21T04:00:30.500Z".to_owned(),
        reason: "closed".to_owned(),
        page_ids: vec!["load-1-0".to_owned()],
        recent_bytes_sent: 20,
        total_bytes_sent: 60,
    }
}

fn with(fate: Fate) -> Entry {
    Entry { fate, ..entry() }
}

fn lost() -> EndedSession {
    EndedSession { reason: "lost".to_owned(), ..ended() }
}

fn books(rows: Vec<SessionInfo>, items: Vec<EndedSession>) -> Books {
    Books { rows, history: Some(History { items, metadata: HistoryMetadata { forgotten: 0 } }) }
}

/// One session, what is said of it while the others stand, and when all have left.
#[track_caller]
fn ends(entry: Entry, at_end: &Books, settled: Option<&Books>, expected: Result<Ended, (&str, &str, &str)>) {
    let ledger = compare("load-1-", &[entry], at_end, settled);
    let differences = ledger.differences.iter();
    let found: Vec<_> =
        differences.map(|d| (d.field.as_str(), d.expected.as_str(), d.found.as_str())).collect();
    match expected {
        Ok(ended) => assert_eq!((found, ledger.ended), (vec![], Some(ended))),
        Err(difference) => assert_eq!(found, [difference]),
    }
}

const NONE: Ended = Ended { closed: 0, lost: 0, lost_after: None, still_listed: 0, not_checked: 0 };

#[test]
fn whoever_closed_is_in_the_history_and_nowhere_else() {
    let closed = || with(Fate::Closed);
    ends(closed(), &books(vec![], vec![ended()]), None, Ok(Ended { closed: 1, ..NONE }));
    ends(closed(), &books(vec![], vec![]), None, Err(("ended", "1 row", "no row")));
    ends(closed(), &books(vec![], vec![ended(), ended()]), None, Err(("ended", "1 row", "2 rows")));
    ends(closed(), &books(vec![row()], vec![]), None, Err(("session", "no row", "1 row")));
    ends(closed(), &books(vec![], vec![lost()]), None, Err(("ended.reason", "closed", "lost")));
    let short = EndedSession { total_bytes_sent: 59, ..ended() };
    ends(closed(), &books(vec![], vec![short]), None, Err(("ended.totalBytesSent", "60", "59")));
    let pages = vec!["load-1-0".to_owned(), "load-1-0-1".to_owned()];
    let two_tabs = Entry { pages, ..closed() };
    let last = EndedSession { page_ids: vec!["load-1-0-1".to_owned()], ..ended() };
    ends(two_tabs, &books(vec![], vec![last]), None, Ok(Ended { closed: 1, ..NONE }));
}

#[test]
fn whoever_vanished_is_listed_until_it_is_in_the_history_as_lost() {
    let vanished = || with(Fate::Vanished);
    ends(vanished(), &books(vec![row()], vec![]), None, Ok(Ended { still_listed: 1, ..NONE }));
    ends(vanished(), &books(vec![], vec![lost()]), None, Ok(Ended { lost: 1, ..NONE }));
    // It ended between the two questions.
    ends(vanished(), &books(vec![row()], vec![lost()]), None, Ok(Ended { lost: 1, ..NONE }));
    ends(vanished(), &books(vec![], vec![]), None, Err(("ended", "1 row", "no row")));
    ends(vanished(), &books(vec![], vec![ended()]), None, Err(("ended.reason", "lost", "closed")));
    let mut wrong = row();
    wrong.total_bytes_sent = 61;
    ends(vanished(), &books(vec![wrong], vec![]), None, Err(("totalBytesSent", "60", "61")));
}

#[test]
fn how_long_lost_sessions_were_kept_is_told() {
    let vanished = |number: u32, at: &str| Entry {
        pages: vec![format!("load-1-{number}")],
        vanished_at: Some(at.parse().unwrap()),
        ..with(Fate::Vanished)
    };
    let entries = [vanished(0, "2026-11-21T04:00:00.500Z"), vanished(1, "2026-11-21T04:00:00.250Z")];
    let lost = |entry: &Entry| EndedSession { page_ids: entry.pages.clone(), ..lost() };
    let lost: Vec<_> = entries
        .iter()
        .map(|entry| EndedSession { id: format!("x{}", entry.pages[0]), ..lost(entry) })
        .collect();
    let ended = compare("load-1-", &entries, &books(vec![], lost), None).ended.unwrap();
    assert_eq!(ended.lost_after, Some(Spread { min_ms: 30_000.0, max_ms: 30_250.0 }));
}

#[test]
fn of_several_tabs_that_vanished_any_may_be_given_up_first() {
    let page = |tab: &str| format!("load-1-0{tab}");
    let vanished = || Entry { pages: ["", "-1", "-2"].map(page).to_vec(), ..with(Fate::Vanished) };
    for (left, is_right) in [(&["", "-1", "-2"][..], true), (&["", "-2"], true), (&["-2", "-1"], false)] {
        let left = EndedSession { page_ids: left.iter().map(|tab| page(tab)).collect(), ..lost() };
        let ledger = compare("load-1-", &[vanished()], &books(vec![], vec![left.clone()]), None);
        assert_eq!(ledger.off == 0, is_right, "{left:?}");
    }
}

#[test]
fn when_all_have_left_each_is_in_the_history_and_none_is_listed() {
    let at_end = books(vec![row()], vec![]);
    let settled = |rows, items| Some(books(rows, items));
    let check = |entry, settled: Option<Books>, expected| ends(entry, &at_end, settled.as_ref(), expected);
    check(entry(), settled(vec![], vec![ended()]), Ok(Ended { closed: 1, ..NONE }));
    check(entry(), settled(vec![], vec![]), Err(("ended", "1 row", "no row")));
    check(entry(), settled(vec![row()], vec![]), Err(("session", "no row", "1 row")));
    check(with(Fate::Vanished), settled(vec![], vec![lost()]), Ok(Ended { lost: 1, ..NONE }));
    check(with(Fate::Vanished), settled(vec![row()], vec![]), Err(("session", "no row", "1 row")));
}

#[test]
fn whoever_stands_and_has_ended_for_the_server_is_a_difference() {
    ends(entry(), &books(vec![], vec![lost()]), None, Err(("session", "1 row", "no row, ended: lost")));
    ends(entry(), &books(vec![row()], vec![lost()]), None, Err(("session", "1 row", "1 row, ended: lost")));
}

#[test]
fn what_a_history_may_have_forgotten_is_not_off_and_said_to_be_unchecked() {
    let mut forgetful = books(vec![], vec![]);
    forgetful.history.as_mut().unwrap().metadata.forgotten = 1;
    for fate in [Fate::Closed, Fate::Vanished] {
        ends(with(fate), &forgetful, None, Ok(Ended { not_checked: 1, ..NONE }));
    }
    ends(entry(), &forgetful, None, Err(("session", "1 row", "no row")));
}

#[test]
fn a_session_that_is_known_by_its_id_must_have_it() {
    let named = |id: &str| Entry { session_id: Some(id.to_owned()), ..entry() };
    off(&[named("x")], &[row()], &[]);
    off(&[named("y")], &[row()], &[("id", "y", "x")]);
}

#[test]
fn an_ended_session_that_nobody_had_is_a_difference() {
    let ledger = compare("load-1-", &[], &books(vec![], vec![ended()]), Some(&books(vec![], vec![ended()])));
    assert_eq!((ledger.off, ledger.differences[0].field.as_str()), (1, "ended"));
}

#[test]
fn a_resume_that_was_refused_is_a_difference_and_what_came_of_it_is_not_another() {
    let refused = Entry { broken: Some(Broken::new("resumed", "true", "false")), ..entry() };
    let other = EndedSession { id: "y".to_owned(), ..lost() };
    ends(refused, &books(vec![row()], vec![other]), None, Err(("resumed", "true", "false")));
}
