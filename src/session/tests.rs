//! The rules of joining, counting and leaving, on the model alone.

mod caps;
mod deadlines;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::*;

/// A connection that nothing is told.
#[derive(Debug)]
pub(crate) struct Deaf;

impl Outlet for Deaf {
    fn tell(&self, _: Order) -> bool {
        false
    }
}

/// Leaves with a close frame.
pub(crate) fn close(member: Membership) {
    member.leave(Leaving::Closed { going_away: false }, 0);
}

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
            peer_address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            user_agent: "test".into(),
        },
        page_id: "p1".into(),
        page_path: None,
        resume: None,
        expires_ms: None,
        speaks_headcount: false,
        outlet: Arc::new(Deaf),
    }
}

fn registry(limits: Limits) -> Arc<Registry> {
    Arc::new(Registry::new(Rules { limits, ..Rules::default() }))
}

fn rows(registry: &Registry, now_ms: u64) -> Vec<SessionInfo> {
    registry.session_info(None, None, now_ms).collect()
}

/// The list of `getSessionInfo` as it is written, in parts of this many bytes.
pub(crate) fn written(registry: &Registry, mut list: Listing, now_ms: u64, part_bytes: usize) -> String {
    let mut out = b"[".to_vec();
    while registry.write_list(&mut list, now_ms, out.len().saturating_add(part_bytes), &mut out) {}
    out.push(b']');
    String::from_utf8(out).unwrap()
}

/// The same, read.
pub(crate) fn listed(
    registry: &Registry,
    username: Option<Glob>,
    project: Option<Glob>,
    now_ms: u64,
) -> Vec<SessionInfo> {
    serde_json::from_str(&written(registry, registry.list(username, project), now_ms, 1000)).unwrap()
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
    close(first);
    assert_eq!(rows(&registry, 110)[0].page_ids, ["p2".into()]);
    close(second);
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
    assert_eq!(session.pages()[0].path.as_deref(), Some("/new"));
    close(first);
    close(third);
    assert_eq!(rows(&registry, 0)[0].active_pages, 1);
    close(second);
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
    session.messages_went(1, 9);
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
                let row = &if seen.is_multiple_of(2) {
                    rows(&registry, 0)
                } else {
                    listed(&registry, None, None, 0)
                }[0];
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
    close(member);
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
                    close(member.unwrap());
                }
            });
        }
    });
    assert!(registry.is_empty() && rows(&registry, 0).is_empty());
    // The places are free again: the limit can be reached anew.
    let members: Vec<_> = (0..64).map(|n| registry.join(joining(&n.to_string(), "billy", "p"), 0)).collect();
    assert!(members.iter().all(Result::is_ok));
}

#[test]
fn a_token_brings_its_own_session_back_and_no_other() {
    let registry = registry(Limits::default());
    let with =
        |joining: Joining, resume: Option<ResumeToken>| Joining { resume, speaks_headcount: true, ..joining };
    let fresh = |user: &str, project: &str| {
        let mut joining = joining(&uuid::Uuid::new_v4().to_string(), user, project);
        joining.identity.scope = SessionScope::Browser;
        joining
    };
    let first = registry.join(with(fresh("ann", "p"), None), 0).unwrap();
    let token = first.token().unwrap();
    let id = first.session().who().id().to_owned();
    first.session().message_came(5);
    first.leave(Leaving::Lost, 1_000);
    let page = &registry.get(&id).unwrap().pages()[0];
    assert!(!page.is_connected(), "listed, and marked");
    for (user, project) in [("eve", "p"), ("ann", "q"), (UNAUTHENTICATED, "p")] {
        let stranger = registry.join(with(fresh(user, project), Some(token.clone())), 2_000).unwrap();
        assert!(!stranger.resumed() && stranger.session().who().id() != id);
    }
    let forged = ResumeToken::read(&format!("{id}.{:032x}", 7)).unwrap();
    assert!(!registry.join(with(fresh("ann", "p"), Some(forged)), 2_000).unwrap().resumed());
    let back = registry.join(with(fresh("ann", "p"), Some(token.clone())), 3_000).unwrap();
    assert!(back.resumed());
    back.session().message_came(7);
    let row = back.session().info(4_000).unwrap();
    assert_eq!((&*row.id, row.total_bytes_sent, row.uptime, row.active_pages), (&*id, 12, 4_000, 1));
    close(back);
    assert!(!registry.join(with(fresh("ann", "p"), Some(token)), 5_000).unwrap().resumed(), "it has ended");
}

#[test]
fn the_ring_forgets_the_oldest_and_says_how_many() {
    let registry = Arc::new(Registry::new(Rules { max_ended: 3, ..Rules::default() }));
    for n in 0..5 {
        close(registry.join(joining(&n.to_string(), "ann", "p"), 0).unwrap());
    }
    let (ended, forgotten) = registry.ended();
    let ids: Vec<_> = ended.iter().map(|ended| ended.who.id()).collect();
    assert_eq!((ids, forgotten), (vec!["4", "3", "2"], 2));
}

#[test]
fn a_task_that_dies_loses_its_connection_and_leaks_no_session() {
    let registry = registry(Limits::default());
    let member = registry.join(joining("d", "ann", "p"), 1_000).unwrap();
    member.session().heard(2_000);
    drop(member);
    assert_eq!(registry.len(), 1);
    registry.expire(32_000);
    assert!(registry.is_empty());
    assert_eq!(registry.ended().0[0].reason, EndReason::Lost);
}

/// A connection whose session was ended under it leaves a little later. A designer that came again in between has a
/// new session under the same id, and was once thrown out of it: connections are numbered per session.
#[test]
fn a_connection_leaves_its_own_session_and_not_the_next_of_that_id() {
    let registry = registry(Limits::default());
    let stale = registry.join(joining("d", "ann", "p"), 0).unwrap();
    assert!(registry.terminate("d", EndReason::Terminated, "bye", 10));
    let next = registry.join(joining("d", "ann", "p"), 20).unwrap();
    stale.leave(Leaving::Ended(EndReason::Terminated), 30);
    let row = next.session().info(40).expect("it is live");
    assert_eq!((row.uptime, row.active_pages, next.session().connections(), registry.len()), (20, 1, 1, 1));
    let lost = registry.join(joining("d", "ann", "p"), 40).unwrap();
    assert!(registry.terminate("d", EndReason::Terminated, "bye", 50));
    let last = registry.join(joining("d", "ann", "p"), 60).unwrap();
    drop((lost, next));
    assert!(last.session().pages()[0].is_connected());
    close(last);
    let reasons: Vec<_> = registry.ended().0.iter().map(|ended| ended.reason).collect();
    assert_eq!(reasons, [EndReason::Closed, EndReason::Terminated, EndReason::Terminated]);
}

#[test]
fn a_session_that_has_ended_opens_no_page() {
    let registry = registry(Limits::default());
    let mut member = registry.join(joining("d", "ann", "p"), 0).unwrap();
    registry.terminate("d", EndReason::Terminated, "bye", 10);
    assert_eq!(member.open_page(&"p2".into(), None, 20), Ok(()));
    assert!(member.session().pages().is_empty());
}

/// Ann, proven by a token that expires then.
#[test]
fn a_page_is_closed_of_the_session_that_was_meant_and_of_no_later_one() {
    let registry = registry(Limits::default());
    let first = registry.join(joining("d1", "ann", "p"), 0).unwrap();
    let meant = first.session().clone();
    assert_eq!(registry.close_page(&meant, "nope", "bye", 0), Some(false));
    close(first);
    // Another designer of the same id begins where the caller may see nothing.
    let later = registry.join(joining("d1", "eve", "q"), 0).unwrap();
    assert_eq!(registry.close_page(&meant, "p1", "bye", 0), None);
    assert_eq!(later.session().pages().len(), 1);
    assert_eq!(registry.close_page(later.session(), "p1", "bye", 0), Some(true));
    assert_eq!(registry.close_page(later.session(), "p1", "bye", 0), None);
}

#[test]
fn sessions_are_counted_by_project_too() {
    let registry = registry(Limits::default());
    let _p = ["a", "b"].map(|id| registry.join(joining(id, "ann", "p"), 0).unwrap());
    let q = registry.join(joining("c", "ann", "q"), 0).unwrap();
    assert_eq!(["p", "q", "r"].map(|project| registry.len_in(project)), [2, 1, 0]);
    close(q);
    assert_eq!(["p", "q"].map(|project| registry.len_in(project)), [2, 0]);
}

#[test]
fn a_round_trip_is_known_from_the_first_pong_to_the_end() {
    let registry = registry(Limits::default());
    let first = registry.join(joining("d", "ann", "p"), 0).unwrap();
    let session = first.session().clone();
    assert_eq!(session.rtt_ms(), None);
    for (measured, kept) in [(0, 0), (42, 42), (u64::from(u32::MAX) + 7, u32::MAX - 1)] {
        first.rtt_was(measured);
        assert_eq!(session.rtt_ms(), Some(kept));
    }
    close(first);
    assert_eq!(session.rtt_ms(), Some(u32::MAX - 1));
    drop(session);
    // Whoever has its place after it begins with nothing.
    let second = registry.join(joining("d", "ann", "p"), 0).unwrap();
    assert_eq!(second.session().rtt_ms(), None);
}

#[test]
fn a_peer_that_is_the_client_takes_no_memory() {
    let registry = registry(Limits::default());
    let join = |id: &str, peer: &str| {
        let mut joining = joining(id, "ann", "p");
        joining.identity.peer_address = peer.parse().unwrap();
        registry.join(joining, 0).unwrap()
    };
    let members = ["10.0.0.1", "192.0.2.7", "2001:db8::7"].map(|peer| (join(peer, peer), peer));
    for (member, peer) in &members {
        let who = member.session().who();
        assert_eq!((who.id(), who.username(), who.project()), (*peer, "ann", "p"));
        assert_eq!(
            (who.client_address().to_string(), who.peer_address().to_string()),
            ("10.0.0.1".into(), (*peer).into())
        );
        let own = peer.len() + "ann".len() + "p".len() + "10.0.0.1".len();
        let of_peer = if *peer == "10.0.0.1" { 0 } else { peer.len() };
        assert_eq!(who.bytes(), own + of_peer);
    }
    assert_eq!(size_of::<Who>(), 48);
    // Rows show the client's.
    assert!(rows(&registry, 0).iter().all(|row| row.client_address.to_string() == "10.0.0.1"));
    assert_eq!(listed(&registry, None, None, 0).len(), 3);
}
