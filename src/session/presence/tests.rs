//! Every path through the life of a session, with the time as an argument.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const PATIENCE: Patience = Patience { resume_ms: 30_000, reload_ms: Some(5_000), answer_ms: 2_000 };
const NO_TOKEN: Patience = Patience { reload_ms: None, ..PATIENCE };
const CLOSED: Leaving = Leaving::Closed { going_away: false };
const GOING_AWAY: Leaving = Leaving::Closed { going_away: true };

/// A connection that nothing is told.
#[derive(Debug)]
struct Deaf;

impl Outlet for Deaf {
    fn tell(&self, _: crate::session::Order) -> bool {
        false
    }
}

impl Presence {
    /// A connection leaves; nobody is taken for gone with it.
    fn leave(
        &mut self,
        number: ConnectionNumber,
        how: Leaving,
        patience: Patience,
        now_ms: u64,
    ) -> Option<End> {
        let mut forsaken = Vec::new();
        let end = self.disconnect(number, how, patience, now_ms, &mut forsaken);
        assert!(forsaken.is_empty(), "{forsaken:?}");
        end
    }

    fn come(&mut self, page: &str, now_ms: u64) -> ConnectionNumber {
        self.connect(&page.into(), None, (Arc::new(Deaf), false), now_ms)
    }
}

/// A session with these pages, each on a connection of its own, numbered from 0.
fn with_pages(pages: &[&str]) -> Presence {
    let mut presence = Presence::default();
    for page in pages {
        presence.come(page, 0);
    }
    presence
}

#[track_caller]
fn ends(found: Option<End>, reason: EndReason, pages: &[&str]) {
    let found = found.expect("the session ends");
    let ids: Vec<_> = found.pages.iter().map(|id| &**id).collect();
    assert_eq!((found.reason, &*ids), (reason, pages));
}

#[track_caller]
fn stands(presence: &Presence, found: &Option<End>, pages: &[(&str, bool)]) {
    assert_eq!(*found, None);
    let open: Vec<_> = presence.pages().iter().map(|page| (&*page.id, page.is_connected())).collect();
    assert_eq!(open, pages);
}

#[test]
fn closing_the_last_page_ends_the_session_at_once() {
    let mut presence = with_pages(&["a", "b"]);
    let first = presence.leave(0, CLOSED, PATIENCE, 10);
    stands(&presence, &first, &[("b", true)]);
    ends(presence.leave(1, CLOSED, PATIENCE, 20), EndReason::Closed, &["b"]);
    assert!(presence.is_ended());
    assert_eq!(presence.leave(1, CLOSED, PATIENCE, 30), None);
    assert_eq!(presence.expire(99_999), None);
    assert_eq!(presence.terminate(EndReason::Terminated), None);
}

#[test]
fn a_reload_keeps_the_session_of_whoever_holds_a_token() {
    let mut presence = with_pages(&["a"]);
    let gone = presence.leave(0, GOING_AWAY, PATIENCE, 1_000);
    stands(&presence, &gone, &[]);
    assert_eq!(presence.deadline_ms(), Some(6_000));
    assert_eq!(presence.expire(5_999), None);
    assert_eq!(presence.come("b", 5_999), 1);
    assert_eq!((presence.expire(60_000), presence.deadline_ms()), (None, None));
    presence.leave(1, GOING_AWAY, PATIENCE, 60_000);
    ends(presence.expire(65_000), EndReason::Closed, &["b"]);
}

#[test]
fn without_a_token_going_away_is_closing() {
    ends(with_pages(&["a"]).leave(0, GOING_AWAY, NO_TOKEN, 0), EndReason::Closed, &["a"]);
}

#[test]
fn a_lost_page_stays_listed_and_disconnected_and_then_ends_lost() {
    let mut presence = with_pages(&["a"]);
    let gone = presence.leave(0, Leaving::Lost, NO_TOKEN, 1_000);
    stands(&presence, &gone, &[("a", false)]);
    assert_eq!((presence.connections().len(), presence.deadline_ms()), (0, Some(31_000)));
    let waiting = presence.expire(30_999);
    stands(&presence, &waiting, &[("a", false)]);
    ends(presence.expire(31_000), EndReason::Lost, &["a"]);
}

#[test]
fn a_lost_page_that_comes_back_is_the_same_page() {
    let mut presence = with_pages(&["a", "b"]);
    presence.leave(0, Leaving::Lost, PATIENCE, 1_000);
    presence.come("a", 2_000);
    let later = presence.expire(99_000);
    stands(&presence, &later, &[("a", true), ("b", true)]);
    assert_eq!(presence.pages()[0].opened_ms, 0);
}

#[test]
fn a_page_that_is_lost_beside_open_ones_goes_alone() {
    let mut presence = with_pages(&["a", "b"]);
    presence.leave(0, Leaving::Lost, PATIENCE, 0);
    let gone = presence.expire(30_000);
    stands(&presence, &gone, &[("b", true)]);
}

#[test]
fn a_lost_page_keeps_the_session_although_the_others_are_closed() {
    let mut presence = with_pages(&["a", "b"]);
    presence.leave(0, Leaving::Lost, PATIENCE, 0);
    let closed = presence.leave(1, CLOSED, PATIENCE, 10);
    stands(&presence, &closed, &[("a", false)]);
    ends(presence.expire(30_000), EndReason::Lost, &["a"]);
}

#[test]
fn a_half_dead_connection_does_not_take_the_page_of_its_successor() {
    let mut presence = with_pages(&["a"]);
    presence.come("a", 1_000);
    let gone = presence.leave(0, Leaving::Lost, PATIENCE, 2_000);
    stands(&presence, &gone, &[("a", true)]);
    ends(presence.leave(1, CLOSED, PATIENCE, 3_000), EndReason::Closed, &["a"]);
}

/// Says when it was last heard.
#[derive(Debug)]
struct HeardAt(AtomicU64);

impl Outlet for HeardAt {
    fn tell(&self, _: crate::session::Order) -> bool {
        true
    }

    fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.0.load(Ordering::Relaxed))
    }
}

/// Connection 0 with page `a` from 0 ms on, and connection 1 that comes to it at 3,000 ms.
fn taken_over() -> (Presence, Arc<HeardAt>) {
    let mut presence = Presence::default();
    let old = Arc::new(HeardAt(AtomicU64::new(0)));
    presence.connect(&"a".into(), None, (old.clone(), false), 0);
    presence.connect(&"a".into(), None, (Arc::new(HeardAt(AtomicU64::new(3_000))), false), 3_000);
    (presence, old)
}

fn numbers(links: &[Link]) -> Vec<ConnectionNumber> {
    links.iter().map(|link| link.number).collect()
}

/// A client whose network broke came back before the server knew, and then closed its page: it stayed listed until the
/// broken connection was given up, and for the resume window after that.
#[test]
fn who_came_back_and_closes_its_page_closes_it_although_its_old_connection_is_still_there() {
    for (how, reason) in [(CLOSED, EndReason::Closed), (Leaving::Ended(EndReason::Idle), EndReason::Idle)] {
        let (mut presence, _) = taken_over();
        let mut forsaken = Vec::new();
        ends(presence.disconnect(1, how, PATIENCE, 5_000, &mut forsaken), reason, &["a"]);
        assert_eq!(numbers(&forsaken), [0]);
    }
    let (mut presence, _) = taken_over();
    presence.open_page(1, &"b".into(), None, 4_000);
    assert_eq!(numbers(&presence.close_page(1, "a", PATIENCE, 5_000).unwrap()), [0]);
    stands(&presence, &None, &[("b", true)]);
    // What it says later is nobody's.
    presence.open_page(0, &"c".into(), None, 6_000);
    assert_eq!(presence.leave(0, CLOSED, PATIENCE, 6_000), None);
    stands(&presence, &None, &[("b", true)]);
    ends(presence.leave(1, CLOSED, PATIENCE, 7_000), EndReason::Closed, &["b"]);
}

#[test]
fn a_tab_that_was_duplicated_keeps_its_page_when_the_copy_is_closed() {
    for heard_ms in [3_000, 3_001, 9_999] {
        let (mut presence, old) = taken_over();
        old.0.store(heard_ms, Ordering::Relaxed);
        let stays = presence.leave(1, CLOSED, PATIENCE, 10_000);
        stands(&presence, &stays, &[("a", true)]);
        ends(presence.leave(0, CLOSED, PATIENCE, 11_000), EndReason::Closed, &["a"]);
    }
}

#[test]
fn who_had_no_time_to_answer_is_not_taken_for_gone() {
    let (mut presence, _) = taken_over();
    let stays = presence.leave(1, CLOSED, PATIENCE, 4_999);
    stands(&presence, &stays, &[("a", true)]);
}

#[test]
fn a_predecessor_keeps_what_it_serves_alone() {
    let (mut presence, _) = taken_over();
    presence.open_page(0, &"own".into(), None, 1_000);
    let stays = presence.leave(1, CLOSED, PATIENCE, 5_000);
    stands(&presence, &stays, &[("own", true)]);
    let lost = presence.leave(0, Leaving::Lost, PATIENCE, 6_000);
    stands(&presence, &lost, &[("own", false)]);
}

#[test]
fn no_window_is_no_waiting() {
    let none = Patience { resume_ms: 0, reload_ms: Some(0), ..PATIENCE };
    ends(with_pages(&["a"]).leave(0, Leaving::Lost, none, 0), EndReason::Lost, &["a"]);
    ends(with_pages(&["a"]).leave(0, GOING_AWAY, none, 0), EndReason::Closed, &["a"]);
}

#[test]
fn the_server_s_reasons_end_at_once() {
    for reason in [EndReason::Protocol, EndReason::TooBig, EndReason::SlowConsumer, EndReason::Drained] {
        let ended = with_pages(&["a"]).leave(0, Leaving::Ended(reason), PATIENCE, 0);
        ends(ended, reason, &["a"]);
    }
    ends(with_pages(&["a", "b"]).terminate(EndReason::Terminated), EndReason::Terminated, &["a", "b"]);
    let mut lost = with_pages(&["a"]);
    lost.leave(0, Leaving::Lost, PATIENCE, 0);
    ends(lost.terminate(EndReason::Terminated), EndReason::Terminated, &["a"]);
}

/// What happens to a session, in the order written; connections are numbered from 0 as they come.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A connection comes with this page.
    Comes(&'static str),
    Opens(ConnectionNumber, &'static str),
    Closes(ConnectionNumber, &'static str),
    Leaves(ConnectionNumber, Leaving),
    /// An administrator closes the page.
    Removed(&'static str),
    Ended(EndReason),
    /// The clock is set, and what is due is given up.
    At(u64),
}

impl Presence {
    fn step(&mut self, step: Step, patience: Patience, now_ms: &mut u64) -> Option<End> {
        match step {
            Step::Comes(page) => {
                self.come(page, *now_ms);
                None
            }
            Step::Opens(number, page) => {
                self.open_page(number, &page.into(), None, *now_ms);
                None
            }
            Step::Closes(number, page) => {
                assert!(self.close_page(number, page, patience, *now_ms).is_some());
                None
            }
            Step::Removed(page) => {
                assert!(self.remove_page(page).is_some());
                None
            }
            Step::Leaves(number, how) => self.leave(number, how, patience, *now_ms),
            Step::Ended(reason) => self.terminate(reason),
            Step::At(at_ms) => {
                *now_ms = at_ms;
                self.expire(at_ms)
            }
        }
    }
}

/// The session begins with page `a` on connection 0 at 0 ms. It must end with the last of the steps and not
/// before, with this reason and these last pages, and nothing may end it again.
#[track_caller]
fn path(patience: Patience, steps: &[Step], reason: EndReason, pages: &[&str]) {
    let mut presence = with_pages(&["a"]);
    let mut now_ms = 0;
    let (last, before) = steps.split_last().expect("a path has a step");
    for step in before {
        assert_eq!(presence.step(*step, patience, &mut now_ms), None, "at {step:?} of {steps:?}");
    }
    ends(presence.step(*last, patience, &mut now_ms), reason, pages);
    assert!(presence.is_ended() && presence.pages().is_empty() && presence.connections().is_empty());
    assert_eq!(presence.deadline_ms(), None);
    for number in 0..4 {
        assert_eq!(presence.leave(number, Leaving::Lost, patience, now_ms), None);
    }
    assert_eq!((presence.expire(u64::MAX), presence.terminate(EndReason::Terminated)), (None, None));
}

/// Every path through PROTOCOL 2.4, each with its end reason.
#[test]
fn every_path_ends_once_and_for_its_reason() {
    use EndReason::{Closed, Drained, Idle, Lost, Replaced, Terminated, TokenExpired};
    use Step::*;
    const LOST: Leaving = Leaving::Lost;
    // Closed by the client.
    path(PATIENCE, &[Leaves(0, CLOSED)], Closed, &["a"]);
    path(PATIENCE, &[Comes("b"), Leaves(0, CLOSED), Leaves(1, CLOSED)], Closed, &["b"]);
    path(PATIENCE, &[Comes("a"), Leaves(0, CLOSED), Leaves(1, CLOSED)], Closed, &["a"]);
    path(PATIENCE, &[Opens(0, "b"), Leaves(0, CLOSED)], Closed, &["a", "b"]);
    path(PATIENCE, &[Opens(0, "b"), Closes(0, "a"), Leaves(0, CLOSED)], Closed, &["b"]);
    path(PATIENCE, &[Closes(0, "a"), At(99_999), Leaves(0, CLOSED)], Closed, &[]);
    // A reload: with a token it waits, and whoever comes is the same session.
    path(NO_TOKEN, &[Leaves(0, GOING_AWAY)], Closed, &["a"]);
    path(PATIENCE, &[Leaves(0, GOING_AWAY), At(4_999), At(5_000)], Closed, &["a"]);
    path(
        PATIENCE,
        &[Leaves(0, GOING_AWAY), At(4_999), Comes("b"), At(9_999), Leaves(1, CLOSED)],
        Closed,
        &["b"],
    );
    path(PATIENCE, &[Comes("b"), Leaves(0, GOING_AWAY), At(9_999), Leaves(1, CLOSED)], Closed, &["b"]);
    path(PATIENCE, &[Comes("b"), Leaves(0, CLOSED), Leaves(1, GOING_AWAY), At(5_000)], Closed, &["b"]);
    path(PATIENCE, &[Closes(0, "a"), Leaves(0, GOING_AWAY), At(5_000)], Closed, &[]);
    // Lost: with and without a token it waits, listed; the same page or another may come.
    path(NO_TOKEN, &[Leaves(0, LOST), At(29_999), At(30_000)], Lost, &["a"]);
    path(PATIENCE, &[Opens(0, "b"), Leaves(0, LOST), At(30_000)], Lost, &["a", "b"]);
    path(PATIENCE, &[Leaves(0, LOST), At(29_999), Comes("a"), At(99_999), Leaves(1, CLOSED)], Closed, &["a"]);
    path(PATIENCE, &[Leaves(0, LOST), Comes("b"), At(30_000), Leaves(1, CLOSED)], Closed, &["b"]);
    path(PATIENCE, &[Leaves(0, LOST), Comes("b"), Leaves(1, CLOSED), At(30_000)], Lost, &["a"]);
    path(PATIENCE, &[Leaves(0, LOST), Comes("b"), Opens(1, "a"), Leaves(1, CLOSED)], Closed, &["a", "b"]);
    path(
        PATIENCE,
        &[Comes("b"), Leaves(0, LOST), At(9), Leaves(1, LOST), At(30_000), At(30_009)],
        Lost,
        &["b"],
    );
    path(
        PATIENCE,
        &[Comes("b"), Leaves(0, LOST), At(30_000), Leaves(1, GOING_AWAY), At(35_000)],
        Closed,
        &["b"],
    );
    path(PATIENCE, &[Comes("a"), Leaves(0, LOST), At(99_999), Leaves(1, CLOSED)], Closed, &["a"]);
    path(PATIENCE, &[Closes(0, "a"), Leaves(0, LOST), At(29_999), At(30_000)], Lost, &[]);
    // From outside: whatever it is doing.
    for reason in [Terminated, Replaced, Idle, TokenExpired, Drained] {
        path(PATIENCE, &[Comes("b"), Ended(reason)], reason, &["a", "b"]);
        path(PATIENCE, &[Leaves(0, LOST), Ended(reason)], reason, &["a"]);
        path(PATIENCE, &[Leaves(0, GOING_AWAY), Ended(reason)], reason, &["a"]);
        path(PATIENCE, &[Closes(0, "a"), Ended(reason)], reason, &[]);
    }
    path(PATIENCE, &[Removed("a"), Leaves(0, Leaving::Ended(Terminated))], Terminated, &[]);
    path(PATIENCE, &[Comes("b"), Leaves(0, LOST), Removed("a"), Leaves(1, CLOSED)], Closed, &["b"]);
    path(PATIENCE, &[Comes("b"), Leaves(0, LOST), Removed("b"), Leaves(1, CLOSED), At(30_000)], Lost, &["a"]);
}

/// A page that was lost beside them once kept them from being waited for at all.
#[test]
fn a_reload_and_a_connection_without_a_page_are_waited_for_beside_a_lost_page_as_long_as_alone() {
    use EndReason::{Closed, Lost, Terminated};
    use Step::*;
    const LOST: Leaving = Leaving::Lost;
    path(
        PATIENCE,
        &[Comes("b"), Leaves(0, LOST), At(29_000), Leaves(1, GOING_AWAY), At(30_000), At(33_999), At(34_000)],
        Closed,
        &["b"],
    );
    path(
        PATIENCE,
        &[Comes("b"), Leaves(0, LOST), At(29_000), Leaves(1, GOING_AWAY), At(99_999)],
        Closed,
        &["b"],
    );
    path(PATIENCE, &[Comes("b"), Leaves(0, LOST), At(9), Leaves(1, GOING_AWAY), At(30_000)], Lost, &["a"]);
    path(
        PATIENCE,
        &[Comes("b"), Closes(1, "b"), Leaves(0, LOST), At(20_000), Leaves(1, LOST), At(49_999), At(50_000)],
        Lost,
        &[],
    );
    path(
        PATIENCE,
        &[Comes("b"), Leaves(0, LOST), At(29_000), Leaves(1, GOING_AWAY), At(31_000), Ended(Terminated)],
        Terminated,
        &["b"],
    );
}

#[test]
fn a_connection_that_the_server_ends_ends_the_session_if_it_is_the_last() {
    use EndReason::{Closed, Drained, Lost, Protocol, RateLimited, SlowConsumer, TooBig};
    use Step::*;
    for reason in [Protocol, TooBig, SlowConsumer, RateLimited, Drained] {
        let ended = Leaving::Ended(reason);
        path(PATIENCE, &[Leaves(0, ended)], reason, &["a"]);
        path(PATIENCE, &[Comes("b"), Leaves(0, CLOSED), Leaves(1, ended)], reason, &["b"]);
        // Others stay, and what is lost may still come back.
        path(PATIENCE, &[Comes("b"), Leaves(0, ended), Leaves(1, CLOSED)], Closed, &["b"]);
        if reason == Drained {
            path(PATIENCE, &[Comes("b"), Leaves(0, Leaving::Lost), Leaves(1, ended)], Drained, &["a", "b"]);
        } else {
            path(
                PATIENCE,
                &[Comes("b"), Leaves(0, Leaving::Lost), Leaves(1, ended), At(30_000)],
                Lost,
                &["a"],
            );
        }
    }
}

#[test]
fn a_page_is_taken_from_all_that_serve_it() {
    let mut presence = with_pages(&["a", "a", "b"]);
    presence.open_page(1, &"c".into(), None, 0);
    let idle = |links: Option<Vec<Link>>| links.map(|links| links.iter().map(|link| link.number).collect());
    assert_eq!(idle(presence.remove_page("a")), Some(vec![0]), "1 serves c");
    assert_eq!(idle(presence.remove_page("a")), None);
    stands(&presence, &None, &[("b", true), ("c", true)]);
    assert_eq!((presence.serving("c").count(), presence.serving("a").count()), (1, 0));
    presence.leave(2, Leaving::Lost, PATIENCE, 0);
    assert_eq!(idle(presence.remove_page("b")), Some(vec![]), "lost");
}

#[test]
fn one_connection_may_serve_several_pages() {
    let mut presence = with_pages(&["a"]);
    presence.open_page(0, &"b".into(), Some("/b".into()), 5);
    presence.open_page(0, &"b".into(), None, 6);
    assert_eq!(presence.pages()[1].path.as_deref(), Some("/b"));
    assert!(presence.navigate("b", Some("/c".into())) && !presence.navigate("x", None));
    assert_eq!(presence.pages()[1].path.as_deref(), Some("/c"));
    assert!(
        presence.close_page(0, "a", PATIENCE, 7).is_some()
            && presence.close_page(0, "a", PATIENCE, 7).is_none()
    );
    stands(&presence, &None, &[("b", true)]);
    assert!(presence.close_page(0, "b", PATIENCE, 7).is_some());
    // Connected and without a page: it stands, and when it is lost it may come back.
    let lost = presence.leave(0, Leaving::Lost, PATIENCE, 1_000);
    stands(&presence, &lost, &[]);
    ends(presence.expire(31_000), EndReason::Lost, &[]);
}
