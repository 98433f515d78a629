//! One registry under many threads at once: whatever meets whatever, each session ends once.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::{
    tests::{Deaf, joining},
    *,
};

/// A row of the history and a session are the same one if they share the very id: an id may have lived before.
fn is_of(ended: &EndedSession, session: &Session) -> bool {
    ended.who.is_same(session.who())
}

struct Crowd {
    registry: Arc<Registry>,
    now_ms: AtomicU64,
    tokens: Mutex<Vec<ResumeToken>>,
    /// Every session that anybody was let into.
    seen: Mutex<Vec<Arc<Session>>>,
    done: AtomicBool,
}

impl Crowd {
    fn new() -> Self {
        let limits = Limits {
            max_sessions_per_address: Some(1_000),
            max_sessions_per_user: Some(1_000),
            ..Limits::default()
        };
        let windows = Windows { resume_ms: 20, resume_mobile_ms: 60, reload_ms: 5, answer_ms: 5 };
        Self {
            registry: Arc::new(Registry::new(Rules {
                limits,
                windows,
                max_ended: 100_000,
                ..Rules::default()
            })),
            now_ms: AtomicU64::new(1_000),
            tokens: Mutex::default(),
            seen: Mutex::default(),
            done: AtomicBool::new(false),
        }
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn join(&self) -> Membership {
        let resume = {
            let tokens = self.tokens.lock().unwrap();
            let recent = tokens.len().saturating_sub(8)..tokens.len();
            (!recent.is_empty() && any(2) == 0).then(|| tokens[recent.start + any(recent.len())].clone())
        };
        let mut joining = Joining {
            page_id: format!("p{}", any(4)).into(),
            resume,
            speaks_headcount: any(2) == 0,
            outlet: Arc::new(Deaf),
            ..joining(&format!("d{}", any(5)), "ann", "plant")
        };
        if any(2) == 0 {
            joining.identity.scope = [SessionScope::Browser, SessionScope::Ios][any(2)];
            joining.identity.id = uuid::Uuid::new_v4().to_string().into();
        }
        let member = self.registry.join(joining, self.now_ms()).unwrap();
        self.tokens.lock().unwrap().extend(member.token());
        self.seen.lock().unwrap().push(member.session().clone());
        member
    }

    /// Joins, leaves, ends and gives up, in no order; answers what it holds at last.
    fn act(&self, steps: usize) -> Vec<Membership> {
        let mut members = Vec::new();
        for _ in 0..steps {
            let now_ms = self.now_ms.fetch_add(any(2) as u64, Ordering::Relaxed);
            if members.len() < 6 && any(5) < 2 {
                members.push(self.join());
                continue;
            }
            let id = format!("d{}", any(5));
            match any(8) {
                0 => {
                    self.registry.terminate(&id, EndReason::Terminated, "bye", now_ms);
                }
                1 => {
                    if let Some(session) = self.registry.get(&id) {
                        self.registry.close_page(&session, &format!("p{}", any(4)), "bye", now_ms);
                    }
                }
                2 => self.registry.expire(now_ms),
                3 if any(10) == 0 => self.registry.drain_waiting(now_ms),
                _ if members.is_empty() => {}
                4 => {
                    let member = &mut members[0];
                    member.session().message_came(any(9));
                    let _ = member.open_page(&"p5".into(), None, now_ms);
                    let _ = member.close_page(&format!("p{}", any(4)), now_ms);
                }
                5 => drop(members.swap_remove(any(members.len()))),
                way => {
                    let how = match any(3) {
                        0 => Leaving::Lost,
                        1 => Leaving::Ended(EndReason::Protocol),
                        _ => Leaving::Closed { going_away: way == 6 },
                    };
                    members.swap_remove(any(members.len())).leave(how, now_ms);
                }
            }
        }
        members
    }

    /// What holds at every moment, whoever is at work.
    fn watch(&self) {
        let rows: Vec<_> = self.registry.session_info(None, None, self.now_ms()).collect();
        let ids: HashSet<_> = rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), rows.len(), "no session twice");
        for row in &rows {
            let pages: HashSet<_> = row.page_ids.iter().collect();
            assert!(row.active_pages == row.page_ids.len() && pages.len() == row.active_pages);
            assert!(row.recent_bytes_sent <= row.total_bytes_sent);
        }
        // Never neither: who was live and is not is remembered.
        let is_live = |session: &Arc<Session>| {
            self.registry.get(session.who().id()).is_some_and(|live| Arc::ptr_eq(&live, session))
        };
        let mut gone = self.registry.select(None, None);
        thread::yield_now();
        gone.retain(|session| !is_live(session));
        let (ended, _) = self.registry.ended();
        for session in gone {
            assert!(ended.iter().any(|ended| is_of(ended, &session)), "{session:?} is nowhere");
        }
        // Never both: who is remembered is not live.
        for ended in ended.iter().take(20) {
            let live = self.registry.get(ended.who.id());
            assert!(live.is_none_or(|live| !is_of(ended, &live)), "{ended:?} lives on");
        }
    }
}

/// A number below `count`.
fn any(count: usize) -> usize {
    rand::random_range(0..count)
}

#[test]
fn threads_that_meet_end_each_session_once() {
    let crowd = Crowd::new();
    let members: Vec<_> = thread::scope(|threads| {
        let watchers: Vec<_> = (0..2)
            .map(|_| {
                threads.spawn(|| {
                    let mut rounds = 0;
                    while !crowd.done.load(Ordering::Relaxed) {
                        crowd.watch();
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        let actors: Vec<_> = (0..4).map(|_| threads.spawn(|| crowd.act(15_000))).collect();
        let members = actors.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>();
        crowd.done.store(true, Ordering::Relaxed);
        assert!(watchers.into_iter().map(|watcher| watcher.join().unwrap()).sum::<usize>() > 0);
        members.into_iter().flat_map(Result::unwrap).collect()
    });
    // All leave, at once again; what was lost is given up.
    thread::scope(|threads| {
        for member in members {
            threads.spawn(|| member.leave(Leaving::Closed { going_away: true }, crowd.now_ms()));
        }
    });
    crowd.registry.expire(crowd.now_ms() + 1_000);
    assert!(crowd.registry.is_empty() && crowd.registry.select(None, None).is_empty());

    let seen = crowd.seen.into_inner().unwrap();
    let begun: HashSet<_> = seen.iter().map(|session| session.who().token()).collect();
    let (ended, forgotten) = crowd.registry.ended();
    let remembered: HashSet<_> = ended.iter().map(|ended| ended.who.token()).collect();
    assert_eq!((ended.len(), forgotten), (remembered.len(), 0), "none twice");
    assert_eq!(remembered, begun, "each of them");
    // The limits count nobody any more.
    let members: Vec<_> = (0..1_000)
        .map(|n| crowd.registry.join(joining(&n.to_string(), "ann", "plant"), 0).unwrap())
        .collect();
    assert_eq!(crowd.registry.join(joining("x", "ann", "plant"), 0).unwrap_err(), JoinError::Address(1_000));
    drop(members);
}
