use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{
    super::{
        Came, EndReason, Leaving, Rules,
        tests::{close, joining},
    },
    *,
};

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(Rules::default()))
}

fn ids(sessions: &[Arc<Session>]) -> Vec<&str> {
    sessions.iter().map(|session| session.who().id()).collect()
}

#[test]
fn what_changes_is_told_once_and_what_does_nothing_never() {
    let registry = registry();
    let mut quiet = registry.join(joining("quiet", "ann", "p"), 0).unwrap();
    registry.begin_news();
    let busy = registry.join(joining("busy", "ann", "p"), 0).unwrap();
    assert_eq!(ids(&registry.news().changed), ["busy"]);
    assert!(registry.news().changed.is_empty());
    // Being heard, as with a pong, is no change.
    quiet.heard(5);
    assert!(registry.news().changed.is_empty());
    for change in [
        &|| busy.messages_came(Came { messages: 1, bytes: 2, newest: 2 }),
        &|| busy.session().messages_went(1, 3),
        &|| busy.session().user_acted(4),
        &|| busy.session().messages_came(Came { messages: 1, bytes: 2, newest: 2 }),
    ] as [&dyn Fn(); 4]
    {
        change();
        change();
        assert_eq!(ids(&registry.news().changed), ["busy"]);
    }
    quiet.open_page(&"p2".into(), None, 6).unwrap();
    assert_eq!(ids(&registry.news().changed), ["quiet"]);
    quiet.navigate("p2", Some("/x".into())).unwrap();
    assert_eq!(ids(&registry.news().changed), ["quiet"]);
    quiet.navigate("p2", Some("/x".into())).unwrap();
    quiet.close_page("p9", 0).unwrap_err();
    assert!(registry.news().changed.is_empty(), "it is where it was");
    quiet.close_page("p2", 0).unwrap();
    let second = registry.join(joining("quiet", "ann", "p"), 7).unwrap();
    assert_eq!(ids(&registry.news().changed), ["quiet"]);
    close(second);
    assert_eq!(ids(&registry.news().changed), ["quiet"]);
    busy.leave(Leaving::Closed { going_away: false }, 8);
    let News { changed, ended, .. } = registry.news();
    assert!(changed.is_empty());
    let [gone] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(gone.ended.counts.total_bytes_sent, 8);
    registry.end_news();
    close(quiet);
    registry.begin_news();
    assert!(registry.news().ended.is_empty());
}

#[test]
fn an_end_tells_whether_it_began_since_a_turn() {
    let registry = registry();
    let before = registry.join(joining("before", "ann", "p"), 0).unwrap();
    registry.begin_news();
    let since = registry.turn();
    close(before);
    close(registry.join(joining("short", "ann", "p"), 0).unwrap());
    let News { changed, ended, .. } = registry.news();
    assert!(changed.is_empty());
    let told: Vec<_> = ended.iter().map(|gone| (gone.ended.who.id(), gone.turn >= since)).collect();
    assert_eq!(told, [("before", false), ("short", true)]);
}

#[test]
fn a_number_is_nobody_else_s_while_the_end_is_held() {
    let registry = registry();
    registry.begin_news();
    let first = registry.join(joining("a", "ann", "p"), 0).unwrap();
    let number = first.session().number();
    close(first);
    let second = registry.join(joining("b", "ann", "p"), 0).unwrap();
    assert_ne!(second.session().number(), number);
    drop(registry.news());
    let third = registry.join(joining("c", "ann", "p"), 0).unwrap();
    assert_eq!(third.session().number(), number);
    assert_eq!(ids(&registry.numbered([number].into_iter())), ["c"]);
}

#[test]
fn a_token_that_expires_is_a_change() {
    let registry = registry();
    registry.begin_news();
    let mut with_token = joining("a", "ann", "p");
    with_token.identity.authorized = true;
    with_token.expires_ms = Some(1_000);
    let member = registry.join(with_token, 0).unwrap();
    registry.news();
    registry.expire(999);
    assert!(registry.news().changed.is_empty());
    registry.expire(1_000);
    assert_eq!(ids(&registry.news().changed), ["a"]);
    assert!(!member.session().is_authorized(1_000));
    registry.expire(1_001);
    assert!(registry.news().changed.is_empty());
}

/// A look that was queued for something else is late, and finds the token expired as well.
#[test]
fn a_token_that_expires_shortly_after_something_else_is_due_is_a_change() {
    let rules = Rules { idle_ms: [Some(990); 4], token_grace_ms: 5_000, ..Rules::default() };
    let registry = Arc::new(Registry::new(rules));
    registry.begin_news();
    let mut with_token = joining("a", "ann", "p");
    with_token.identity.authorized = true;
    with_token.expires_ms = Some(1_000);
    let member = registry.join(with_token.clone(), 0).unwrap();
    member.session().user_acted(900);
    registry.news();
    registry.expire(1_020);
    assert_eq!(ids(&registry.news().changed), ["a"]);
    // So does a newer one, long before the first would have ended the session.
    with_token.expires_ms = Some(1_500);
    let _second = registry.join(with_token, 1_100).unwrap();
    assert_eq!(ids(&registry.news().changed), ["a"]);
    registry.expire(1_499);
    assert!(registry.news().changed.is_empty());
    registry.expire(1_500);
    assert_eq!(ids(&registry.news().changed), ["a"]);
}

#[test]
fn more_ends_than_are_kept_are_told_as_such() {
    let changes = Changes::default();
    let registry = registry();
    let member = registry.join(joining("a", "ann", "p"), 0).unwrap();
    let session = member.session().clone();
    registry.terminate("a", EndReason::Terminated, "", 1);
    let gone = Gone { session, ended: registry.ended().0[0].clone(), turn: 0 };
    changes.is_asked.store(true, Ordering::SeqCst);
    for _ in 0..=MAX_ENDED {
        changes.end(|| gone.clone());
    }
    let ends = changes.lock();
    assert!(ends.is_incomplete && ends.gone.len() == MAX_ENDED);
}

/// Whoever takes what is there first, and then the news one after the other, knows at last what there is: with who
/// joins, counts and leaves on other threads all the time, also while he begins.
#[test]
fn no_change_is_lost_between_threads() {
    const ROUNDS: usize = 40;
    let registry = registry();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        for n in 0..4 {
            let (registry, done) = (&registry, &done);
            threads.spawn(move || {
                let mut round = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    round += 1;
                    let member = registry.join(joining(&format!("d{}", n % 3), "ann", "p"), 0).unwrap();
                    for bytes in 0..round % 50 {
                        member.session().message_came(usize::try_from(bytes).unwrap());
                    }
                    close(member);
                }
            });
        }
        for _ in 0..ROUNDS {
            let mut known: HashMap<u32, (Arc<Session>, u64)> = HashMap::new();
            let counted = |session: Arc<Session>| {
                (session.number(), (session.clone(), session.counts().total_bytes_sent))
            };
            registry.begin_news();
            known.extend(registry.select(None, None).into_iter().map(counted));
            for _ in 0..50 {
                let News { changed, ended, is_incomplete } = registry.news();
                assert!(!is_incomplete);
                known.extend(changed.into_iter().map(counted));
                for gone in ended {
                    known.remove(&gone.session.number());
                }
                let mut ids: Vec<_> = known.values().map(|(session, _)| session.who().id()).collect();
                ids.sort_unstable();
                ids.dedup();
                assert_eq!(ids.len(), known.len(), "no id twice");
            }
            // What is not told now has its last counts.
            let told = registry.news();
            let untold = |number: &u32| told.changed.iter().all(|session| session.number() != *number);
            for (number, (session, bytes)) in known.iter().filter(|(number, _)| untold(number)) {
                let is_gone = told.ended.iter().any(|gone| gone.session.number() == *number);
                let live = registry.numbered([*number].into_iter());
                let is_live = live.first().is_some_and(|live| Arc::ptr_eq(live, session));
                if !is_gone && is_live && session.counts().total_bytes_sent != *bytes {
                    let late = registry.news();
                    let is_told = late.changed.iter().any(|late| late.number() == *number);
                    let is_gone = late.ended.iter().any(|gone| gone.session.number() == *number);
                    assert!(is_told || is_gone, "{number}");
                    break;
                }
            }
            registry.end_news();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(registry.is_empty());
}
