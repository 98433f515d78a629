//! The rules of joining, counting and leaving, on the model alone.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::*;

/// A designer's connection with its page `p1`, from 10.0.0.1.
pub(crate) fn joining(id: &str, username: &str, project: &str) -> Joining {
    Joining {
        identity: Identity {
            id: id.into(),
            username: username.into(),
            authorized: false,
            project: project.into(),
            scope: SessionScope::Designer,
            client_address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            user_agent: "test".into(),
        },
        page_id: "p1".into(),
        page_path: None,
    }
}

fn registry(limits: Limits) -> Arc<Registry> {
    Arc::new(Registry::new(limits))
}

fn rows(registry: &Registry, now_ms: u64) -> Vec<SessionInfo> {
    registry.session_info(None, None, now_ms).collect()
}

fn page(joining: Joining, page_id: &str) -> Joining {
    Joining { page_id: page_id.into(), ..joining }
}

#[test]
fn a_session_lives_from_its_first_connection_to_its_last() {
    let registry = registry(Limits::default());
    let first = registry.join(joining("d", "billy", "p"), 10).unwrap();
    let second = registry.join(page(joining("d", "billy", "p"), "p2"), 20).unwrap();
    assert_eq!(registry.len(), 1);
    let row = &rows(&registry, 110)[0];
    assert_eq!((row.uptime, row.active_pages), (100, 2));
    assert_eq!(row.page_ids.iter().map(|id| &**id).collect::<Vec<_>>(), ["p1", "p2"]);
    drop(first);
    assert_eq!(rows(&registry, 110)[0].page_ids, ["p2".into()]);
    drop(second);
    assert!(registry.is_empty() && rows(&registry, 110).is_empty());
}

#[test]
fn a_page_that_two_connections_serve_stays_until_both_left() {
    let registry = registry(Limits::default());
    let with_path =
        |path: Option<&str>| Joining { page_path: path.map(Into::into), ..joining("d", "billy", "p") };
    let first = registry.join(with_path(Some("/old")), 0).unwrap();
    let second = registry.join(with_path(Some("/new")), 0).unwrap();
    let third = registry.join(with_path(None), 0).unwrap();
    let session = first.session().clone();
    assert_eq!(session.page_paths(), [Some("/new".into())]);
    drop((first, third));
    assert_eq!(rows(&registry, 0)[0].active_pages, 1);
    drop(second);
    assert!(registry.is_empty());
}

#[test]
fn a_live_id_is_its_owner_s() {
    let registry = registry(Limits::default());
    let _owner = registry.join(joining("d", "billy", "p"), 0).unwrap();
    let taken = |joining| registry.join(joining, 0).unwrap_err();
    assert_eq!(taken(joining("d", "eve", "p")), JoinError::Taken);
    assert_eq!(taken(joining("d", "billy", "q")), JoinError::Taken);
    let mut other_scope = joining("d", "billy", "p");
    other_scope.identity.scope = SessionScope::Browser;
    assert_eq!(taken(other_scope), JoinError::Taken);
    assert_eq!(rows(&registry, 0)[0].active_pages, 1);
}

#[test]
fn each_limit_holds_and_frees_its_place_again() {
    let from = |n: u8, id: &str, user: &str| {
        let mut joining = joining(id, user, "p");
        joining.identity.client_address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        joining
    };
    let registry = registry(Limits {
        max_sessions: Some(4),
        max_sessions_per_address: Some(2),
        max_sessions_per_user: Some(1),
        max_connections_per_session: Some(2),
    });
    let a = registry.join(from(1, "a", "billy"), 0).unwrap();
    assert_eq!(registry.join(from(1, "x", "billy"), 0).unwrap_err(), JoinError::User(1));
    let b = registry.join(from(1, "b", UNAUTHENTICATED), 0).unwrap();
    assert_eq!(registry.join(from(1, "x", "eve"), 0).unwrap_err(), JoinError::Address(2));
    let c = registry.join(from(2, "c", UNAUTHENTICATED), 0).unwrap();
    let d = registry.join(from(2, "d", UNAUTHENTICATED), 0).unwrap();
    assert_eq!(registry.join(from(3, "x", "eve"), 0).unwrap_err(), JoinError::Full(4));
    let a2 = registry.join(from(1, "a", "billy"), 0).unwrap();
    assert_eq!(registry.join(from(1, "a", "billy"), 0).unwrap_err(), JoinError::Connections(2));
    drop((a, a2));
    let again = registry.join(from(1, "x", "billy"), 0).unwrap();
    assert_eq!(registry.len(), 4);
    drop((again, b, c, d));
    assert!(registry.is_empty());
}

#[test]
fn filters_take_the_user_and_the_project() {
    let registry = registry(Limits::default());
    let _members: Vec<_> = [("a", "billy", "p"), ("b", "billy", "q"), ("c", "bill", "p")]
        .map(|(id, user, project)| registry.join(joining(id, user, project), 0).unwrap())
        .into();
    let count = |user: Option<&str>, project: Option<&str>| {
        let [user, project] = [user, project].map(|filter| filter.map(Glob::new));
        registry.session_info(user.as_ref(), project.as_ref(), 0).count()
    };
    assert_eq!(count(None, None), 3);
    assert_eq!(count(Some("billy"), None), 2);
    assert_eq!(count(Some("bill*"), Some("p")), 2);
    assert_eq!(count(Some("billy"), Some("x")), 0);
}

#[test]
fn messages_and_silence_are_counted() {
    let registry = registry(Limits::default());
    let member = registry.join(joining("d", "billy", "p"), 1_000).unwrap();
    let session = member.session();
    let counts = |now_ms| {
        let row = session.info(now_ms).unwrap();
        (row.recent_bytes_sent, row.total_bytes_sent, row.last_comm)
    };
    assert_eq!(counts(1_500), (0, 0, 500));
    session.message_came(7);
    session.heard(1_600);
    assert_eq!(counts(1_600), (7, 7, 0));
    session.message_came(0);
    assert_eq!(counts(1_650), (0, 7, 50));
    session.heard(1_620);
    session.heard(1_610);
    assert_eq!(counts(1_620), (0, 7, 0));
    // A snapshot that took its `now` before the newest read shows no negative silence.
    assert_eq!(counts(1_000), (0, 7, 0));
    session.message_went(9);
    assert_eq!((session.bytes_received(), counts(1_620)), (9, (0, 7, 0)));
}

/// The promise of PROTOCOL 2.2 under fire: two connections of one session write while snapshots are taken.
/// One sends only 3 bytes at a time, the other only 5, so a torn row would show.
#[test]
fn a_row_is_never_torn() {
    const MESSAGES: u64 = 200_000;
    let registry = registry(Limits::default());
    let member = registry.join(joining("d", "billy", "p"), 0).unwrap();
    let session = member.session();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        let writers = [3, 5]
            .map(|bytes| threads.spawn(move || (0..MESSAGES).for_each(|_| session.message_came(bytes))));
        let reader = threads.spawn(|| {
            let (mut last, mut seen) = (0, 0_u64);
            while !done.load(Ordering::Relaxed) {
                let row = &rows(&registry, 0)[0];
                let (recent, total) = (row.recent_bytes_sent, row.total_bytes_sent);
                assert!(recent <= total && total >= last, "{recent} {total} {last}");
                assert!(matches!(recent, 3 | 5) || (recent, total) == (0, 0), "{recent} {total}");
                assert_eq!(recent == 0, total == 0);
                (last, seen) = (total, seen + 1);
            }
            seen
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(session.info(0).unwrap().total_bytes_sent, MESSAGES * 8);
}

/// A snapshot copies handles out and reads them afterwards; a session that ended in between once came back as a
/// row without a page.
#[test]
fn a_session_that_has_ended_has_no_row() {
    let registry = registry(Limits::default());
    let member = registry.join(joining("d", "billy", "p"), 0).unwrap();
    let selected = registry.select(None, None);
    assert!(selected[0].info(0).is_some());
    drop(member);
    assert_eq!(selected[0].info(0), None);
}

/// Joins and leaves of the same ids from several threads: nothing is left behind, nothing is counted twice.
#[test]
fn churn_leaves_nothing_behind() {
    let registry = registry(Limits {
        max_sessions_per_address: Some(64),
        max_sessions_per_user: Some(64),
        ..Limits::default()
    });
    thread::scope(|threads| {
        for thread in 0..4 {
            let registry = &registry;
            threads.spawn(move || {
                for n in 0..5_000 {
                    let id = ((n + thread) % 7).to_string();
                    let member = registry.join(page(joining(&id, "billy", "p"), &n.to_string()), n);
                    let rows: Vec<_> = registry.session_info(None, None, n).collect();
                    assert!(rows.len() <= 7 && rows.iter().all(|row| row.active_pages > 0));
                    drop(member.unwrap());
                }
            });
        }
    });
    assert!(registry.is_empty() && rows(&registry, 0).is_empty());
    // The places are free again: the limit can be reached anew.
    let members: Vec<_> = (0..64).map(|n| registry.join(joining(&n.to_string(), "billy", "p"), 0)).collect();
    assert!(members.iter().all(Result::is_ok));
}
