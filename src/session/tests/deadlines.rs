//! What ends in its time: lost sessions, and tokens.

use super::*;

#[test]
fn what_nobody_comes_back_to_ends_in_its_time_and_is_remembered() {
    let registry = registry(Limits::default());
    let mut mobile = joining("m", "ann", "p");
    mobile.identity.scope = SessionScope::Ios;
    let (desktop, mobile) =
        (registry.join(joining("d", "ann", "p"), 0).unwrap(), registry.join(mobile, 0).unwrap());
    desktop.session().message_came(9);
    desktop.leave(Leaving::Lost, 1_000);
    mobile.leave(Leaving::Lost, 1_000);
    let live_at = |now_ms| {
        registry.expire(now_ms);
        registry.len()
    };
    assert_eq!((live_at(30_999), live_at(31_000), live_at(300_999), live_at(301_000)), (2, 1, 1, 0));
    let (ended, forgotten) = registry.ended();
    let told: Vec<_> = ended.iter().map(|ended| (ended.who.id(), ended.reason, ended.ended_ms)).collect();
    assert_eq!(told, [("m", EndReason::Lost, 301_000), ("d", EndReason::Lost, 31_000)]);
    assert_eq!(
        (ended[1].counts.total_bytes_sent, &*ended[1].page_ids, forgotten),
        (9, &["p1".into()][..], 0)
    );
}

/// Every loss once queued a look at the session, and every look that came queued another: a client that lost two
/// pages in turn made the queue longer for ever.
#[test]
fn a_session_that_is_always_half_lost_is_not_looked_at_more_and_more() {
    let registry = registry(Limits::default());
    let join = |page_id, now_ms| registry.join(page(joining("d", "ann", "p"), page_id), now_ms).unwrap();
    let mut member = join("p1", 0);
    for n in 1..=2_000 {
        let next = join(if n % 2 == 0 { "p1" } else { "p2" }, n * 1_000);
        std::mem::replace(&mut member, next).leave(Leaving::Lost, n * 1_000);
        registry.expire(n * 1_000);
        assert!(registry.looks_to_come() <= 1, "{} after {n} losses", registry.looks_to_come());
    }
}

/// A change that came between a deadline and the look at it once put the look off by a millisecond.
#[test]
fn what_is_due_already_is_not_put_off_by_what_happens_in_between() {
    let registry = registry(Limits::default());
    let lost = registry.join(joining("d", "ann", "p"), 0).unwrap();
    let other = registry.join(page(joining("d", "ann", "p"), "p2"), 0).unwrap();
    lost.leave(Leaving::Lost, 0);
    other.leave(Leaving::Closed { going_away: false }, 30_005);
    assert_eq!(registry.len(), 1);
    registry.expire(30_005);
    assert_eq!((registry.len(), registry.looks_to_come()), (0, 0));
}

/// Each life of a designer's id once queued a look of its own, and those of earlier lives queued again for the live
/// one.
#[test]
fn a_designer_that_comes_and_goes_is_not_looked_at_more_and_more() {
    let rules = Rules { idle_ms: [Some(60_000); 4], ..Rules::default() };
    let registry = Arc::new(Registry::new(rules));
    for n in 0..1_000 {
        let member = registry.join(joining("d", "ann", "p"), n * 100).unwrap();
        registry.expire(n * 100);
        assert_eq!((registry.looks_to_come(), registry.len()), (1, 1), "in its life {n}");
        close(member);
        assert_eq!(registry.looks_to_come(), 0);
    }
    let member = registry.join(joining("d", "ann", "p"), 200_000).unwrap();
    member.session().user_acted(250_000);
    registry.expire(309_999);
    assert_eq!(registry.len(), 1, "something was done");
    registry.expire(310_000);
    assert_eq!((registry.len(), registry.looks_to_come()), (0, 0));
    assert_eq!(registry.ended().0[0].reason, EndReason::Idle);
}

fn proven(expires_ms: u64) -> Joining {
    let mut joining = joining("d", "ann", "p");
    joining.identity.authorized = true;
    Joining { expires_ms: Some(expires_ms), ..joining }
}

#[test]
fn a_token_authorizes_until_it_expires_and_the_session_ends_after_the_grace() {
    let registry = registry(Limits::default());
    let member = registry.join(proven(5_000), 0).unwrap();
    let authorized = |now_ms| rows(&registry, now_ms)[0].authorized;
    assert_eq!((authorized(4_999), authorized(5_000)), (true, false));
    let live_at = |now_ms| {
        registry.expire(now_ms);
        registry.len()
    };
    assert_eq!((live_at(34_999), live_at(35_000)), (1, 0));
    let ended = &registry.ended().0[0];
    assert_eq!((ended.reason, ended.authorized), (EndReason::TokenExpired, false));
    drop(member);
    assert_eq!(registry.looks_to_come(), 0);
}

#[test]
fn a_newer_token_renews_and_an_older_one_takes_nothing_away() {
    let registry = registry(Limits::default());
    let _first = registry.join(proven(5_000), 0).unwrap();
    // In the grace: what is authorized no more may become so again.
    let _newer = registry.join(page(proven(60_000), "p2"), 20_000).unwrap();
    let _older = registry.join(page(proven(30_000), "p3"), 20_000).unwrap();
    registry.expire(59_999);
    assert!(rows(&registry, 59_999)[0].authorized);
    registry.expire(89_999);
    assert_eq!((registry.len(), registry.looks_to_come()), (1, 1));
    registry.expire(90_000);
    assert!(registry.is_empty());
}

#[test]
fn a_token_is_watched_once_however_often_its_client_comes() {
    let registry = registry(Limits::default());
    for n in 0..1_000 {
        let member = registry.join(proven(1_000_000 + n % 3), 0).unwrap();
        let tab = registry.join(page(proven(1_000_000 + n), "p2"), 0).unwrap();
        assert_eq!(registry.looks_to_come(), 1);
        close(tab);
        close(member);
        assert_eq!(registry.looks_to_come(), 0);
    }
}

#[test]
fn whoever_is_proven_without_a_token_stays_so() {
    let registry = registry(Limits::default());
    let _member = registry.join(Joining { expires_ms: None, ..proven(0) }, 0).unwrap();
    registry.expire(u64::MAX);
    assert!(rows(&registry, u64::MAX - 1)[0].authorized);
}

/// A client whose network broke shortly before its token expired could not come back with a new one, although it was
/// listed as one that may.
#[test]
fn a_session_that_waits_for_its_client_does_not_end_by_its_token() {
    let registry = registry(Limits::default());
    let resumes = |expires_ms, resume| Joining { resume, speaks_headcount: true, ..proven(expires_ms) };
    let member = registry.join(resumes(5_000, None), 0).unwrap();
    let token = member.token();
    member.leave(Leaving::Lost, 10_000);
    registry.expire(39_999);
    assert_eq!(registry.len(), 1);
    let back = registry.join(resumes(90_000, token), 39_999).unwrap();
    assert!(back.resumed());
    registry.expire(119_999);
    assert_eq!(registry.len(), 1);
    // But whoever is there has to have one that holds.
    registry.expire(120_000);
    assert_eq!(registry.ended().0[0].reason, EndReason::TokenExpired);
    drop(back);
}

/// All that a network had lost were ended in one go, and nobody else had a turn meanwhile.
#[test]
fn of_many_that_are_due_some_are_dealt_with_at_a_time() {
    let registry = registry(Limits::default());
    for n in 0..250 {
        registry.join(joining(&n.to_string(), "ann", "p"), 0).unwrap().leave(Leaving::Lost, 0);
    }
    assert!(!registry.expire_some(29_999));
    let left = [(); 3].map(|()| (registry.expire_some(30_000), registry.len()));
    assert_eq!(left, [(true, 150), (true, 50), (false, 0)]);
}
