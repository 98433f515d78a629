//! How many sessions and connections there may be, and of whom.

use std::{net::Ipv6Addr, sync::Barrier};

use super::*;

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
        max_pages_per_session: Some(2),
        ..Limits::default()
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
    [a, a2].into_iter().for_each(close);
    let again = registry.join(from(1, "x", "billy"), 0).unwrap();
    assert_eq!(registry.len(), 4);
    [again, b, c, d].into_iter().for_each(close);
    assert!(registry.is_empty());
}

/// Two first logins of a user at the same instant were once both let in.
#[test]
fn of_two_logins_at_once_one_is_refused() {
    for n in 0..500 {
        let rules = Rules { one_session_per_user: OneSessionPerUser::Reject, ..Rules::default() };
        let registry = Arc::new(Registry::new(rules));
        let joined = thread::scope(|threads| {
            let logins = ["a", "b"].map(|id| {
                let registry = &registry;
                threads.spawn(move || registry.join(joining(id, "ann", "p"), n))
            });
            logins.map(|login| login.join().unwrap())
        });
        assert_eq!(joined.iter().filter(|joined| joined.is_ok()).count(), 1, "in round {n}");
        assert_eq!(registry.len(), 1);
    }
}

/// Two newer logins at the same instant once ended each other, or the older of the two the newer.
#[test]
fn of_two_logins_at_once_that_replace_one_stands() {
    for n in 0..500 {
        let rules = Rules { one_session_per_user: OneSessionPerUser::Replace, ..Rules::default() };
        let registry = Arc::new(Registry::new(rules));
        let _oldest = registry.join(joining("oldest", "ann", "p"), n).unwrap();
        let start = Barrier::new(3);
        let _joined = thread::scope(|threads| {
            let logins = ["a", "b", "c"].map(|id| {
                let (registry, start) = (&registry, &start);
                threads.spawn(move || {
                    start.wait();
                    registry.join(joining(id, "ann", "p"), n).unwrap()
                })
            });
            logins.map(|login| login.join().unwrap())
        });
        assert_eq!(registry.len(), 1, "in round {n}");
        let (ended, _) = registry.ended();
        assert!(ended.iter().all(|ended| ended.reason == EndReason::Replaced) && ended.len() == 3);
        assert!(registry.get("oldest").is_none());
    }
}

/// A user at his cap could not log in anew, although the older session was to make way for the newer.
#[test]
fn a_session_that_makes_way_takes_nobody_s_place() {
    let one = Some(1);
    let caps = [
        Limits { max_sessions: one, ..Limits::default() },
        Limits { max_sessions_per_user: one, ..Limits::default() },
        Limits { max_sessions_per_address: one, ..Limits::default() },
        Limits { max_sessions_per_project: one, ..Limits::default() },
    ];
    for limits in caps {
        let rules = Rules { limits, one_session_per_user: OneSessionPerUser::Replace, ..Rules::default() };
        let registry = Arc::new(Registry::new(rules));
        let _older = registry.join(joining("a", "ann", "p"), 0).unwrap();
        let _newer = registry.join(joining("b", "ann", "p"), 1).unwrap();
        assert_eq!((registry.len(), registry.get("b").is_some()), (1, true), "{limits:?}");
        if limits.max_sessions_per_user.is_none() {
            registry.join(joining("c", "bob", "p"), 2).unwrap_err();
        }
        // Where a second login is refused, one that only waits to come back makes way too.
        let rules = Rules { one_session_per_user: OneSessionPerUser::Reject, ..rules };
        let registry = Arc::new(Registry::new(rules));
        let older = registry.join(joining("a", "ann", "p"), 0).unwrap();
        registry.join(joining("b", "ann", "p"), 1).unwrap_err();
        older.leave(Leaving::Lost, 2);
        let _newer = registry.join(joining("b", "ann", "p"), 3).unwrap();
        assert_eq!((registry.len(), registry.get("b").is_some()), (1, true), "{limits:?}");
    }
}

/// One that came back by its token, or a designer's by its id, was not counted.
#[test]
fn whoever_has_no_user_has_a_limit_of_connections_too() {
    let registry = registry(Limits { max_unauthenticated: Some(2), ..Limits::default() });
    let nobody = |page_id: &str| page(joining("d", UNAUTHENTICATED, "p"), page_id);
    let first = registry.join(nobody("1"), 0).unwrap();
    let second = registry.join(nobody("2"), 0).unwrap();
    assert_eq!(registry.len(), 1);
    assert_eq!(registry.join(nobody("3"), 0).unwrap_err(), JoinError::Unauthenticated(2));
    let _named = registry.join(joining("e", "ann", "p"), 0).unwrap();
    close(second);
    // Whoever is refused for something else takes no place.
    for _ in 0..5 {
        let taken = registry.join(joining("d", UNAUTHENTICATED, "q"), 0);
        assert_eq!(taken.unwrap_err(), JoinError::Taken);
    }
    let third = registry.join(nobody("3"), 0).unwrap();
    [first, third].into_iter().for_each(close);
    let _both = ["1", "2"].map(|page_id| registry.join(nobody(page_id), 0).unwrap());
}

#[test]
fn sessions_of_one_slash_64_are_of_one_address() {
    let registry = registry(Limits { max_sessions_per_address: Some(1), ..Limits::default() });
    let from = |id: &str, network: u16, host: u16| {
        let mut joining = joining(id, "ann", "p");
        joining.identity.client_address = Ipv6Addr::new(0xfd00, 0, 0, network, 0, 0, 0, host).into();
        joining
    };
    let _one = registry.join(from("a", 1, 1), 0).unwrap();
    assert_eq!(registry.join(from("b", 1, 2), 0).unwrap_err(), JoinError::Address(1));
    let _other = registry.join(from("b", 2, 1), 0).unwrap();
}
