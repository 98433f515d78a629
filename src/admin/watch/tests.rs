//! Groups and their watchers, who are told when the test says so.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::{
    admin::{
        item::{Column, Fields, Seen},
        listing::NoList,
        source::{Unanswered, Workshop},
        view::{Mask, View},
    },
    edge::clock::Clock,
    session::{
        Came, EndReason, Joining, Leaving, Membership, Registry, Rules,
        filter::Field,
        tests::{close, joining},
    },
};

/// A registry, and who watches it.
struct World {
    registry: Arc<Registry>,
    hub: Arc<Hub>,
    clock: Clock,
}

/// A watcher, and what it makes of what it is told.
struct Watcher {
    params: Value,
    watch: Arc<Watch>,
    known: BTreeMap<String, Value>,
    revision: u64,
    events: Vec<(String, Value)>,
}

fn asked(params: &Value) -> Result<Asked, NoList> {
    let asked: WatchSessions = serde_json::from_str(&params.to_string()).unwrap();
    asked.read(&View::of(None))
}

fn without_what_moves(item: &Value) -> Value {
    let moves =
        |name: &str| Column::ALL.iter().any(|(column, known, _)| *known == name && column.moves_by_itself());
    let item = item.as_object().unwrap_or_else(|| panic!("{item}"));
    item.iter().filter(|(name, _)| !moves(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl World {
    fn new() -> Self {
        Self::with_max_time(Duration::MAX)
    }

    fn with_max_time(max_time: Duration) -> Self {
        let registry = Arc::new(Registry::new(Rules::default()));
        let clock = Clock::start();
        Self { hub: Hub::new(registry.clone(), clock, max_time), registry, clock }
    }

    fn join(&self, id: &str, user: &str) -> Membership {
        self.registry.join(joining(id, user, "p"), self.clock.now_ms()).unwrap()
    }

    fn watch(&self, params: &Value) -> Watcher {
        let watch = self.hub.watch(asked(params).unwrap(), Arc::new(Notify::new())).unwrap();
        let mut watcher = Watcher {
            params: params.clone(),
            watch: Arc::new(watch),
            known: BTreeMap::new(),
            revision: 0,
            events: Vec::new(),
        };
        watcher.hear(Told::first_event(&watcher.watch, &workshop()));
        watcher
    }

    /// What a watcher should know.
    fn truth(&self, params: &Value) -> BTreeMap<String, Value> {
        let Asked { question, .. } = asked(params).unwrap();
        let mut found = BTreeMap::new();
        let seen_by = (&*self.registry, self.clock, &View::of(None));
        question.for_each(seen_by, self.hub.deadline(), |session, _| {
            let mut out = Vec::new();
            Seen::for_row(session, self.clock, self.clock.now_ms(), Mask::Off)
                .write_json(&Fields::all(), &mut out);
            let item: Value = serde_json::from_slice(&out).unwrap();
            found.insert(session.who().id().to_owned(), without_what_moves(&item));
        });
        found
    }
}

fn workshop() -> Workshop {
    Workshop::new(2, Duration::from_secs(5))
}

impl Watcher {
    /// Its group tells what there is to tell.
    fn tell(&mut self) {
        self.watch.group().tell();
    }

    /// Reads all that was told.
    fn listen(&mut self) {
        while let Some(told) = Told::event(&self.watch, &workshop()) {
            self.hear(told);
        }
    }

    fn watch_has_next(&self) -> bool {
        self.watch.has_next()
    }

    fn hear(&mut self, mut told: Told) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut text = String::new();
        loop {
            let mut part = Vec::new();
            let more = runtime.block_on(told.write_part(&mut part)).unwrap();
            text.push_str(str::from_utf8(&part).unwrap());
            if !more {
                break;
            }
        }
        let lines: Vec<_> = text.lines().collect();
        let [event, data, id, ""] = *lines else { panic!("{text}") };
        let (event, data) = (event.strip_prefix("event: ").unwrap(), data.strip_prefix("data: ").unwrap());
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(id, format!("id: {}", data["revision"]));
        let revision = data["revision"].as_u64().unwrap();
        assert!(revision > self.revision, "{revision} after {}", self.revision);
        self.revision = revision;
        if event == "change" {
            self.change(&data);
        } else {
            self.known.clear();
            self.insert(&data["items"], false);
        }
        self.events.push((event.to_owned(), data));
    }

    fn change(&mut self, data: &Value) {
        for closed in data["closed"].as_array().unwrap() {
            self.known.remove(closed["id"].as_str().unwrap());
        }
        self.insert(&data["opened"], false);
        self.insert(&data["changed"], true);
        let lists = ["opened", "changed", "closed"].map(|list| data[list].as_array().unwrap().len());
        assert_ne!(lists, [0; 3], "what says nothing is not said");
    }

    /// What is new must be, and what has changed must be known.
    fn insert(&mut self, items: &Value, is_known: bool) {
        for item in items.as_array().unwrap() {
            let id = item["id"].as_str().unwrap().to_owned();
            let before = self.known.insert(id, without_what_moves(item));
            assert_eq!(before.is_some(), is_known, "{item} in {}", self.params);
        }
    }

    /// Is told, and listens; answers the events that came by that.
    fn next(&mut self) -> Vec<(String, Value)> {
        let before = self.events.len();
        self.tell();
        self.listen();
        self.events[before..].to_vec()
    }
}

fn ids(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// The ids of the one batch that is there.
#[track_caller]
fn lists(events: &[(String, Value)]) -> [Vec<&str>; 3] {
    let [(kind, data)] = events else { panic!("{events:?}") };
    assert_eq!(kind, "change");
    ["opened", "changed", "closed"].map(|list| ids(&data[list]))
}

#[test]
fn a_watcher_is_told_who_came_who_changed_and_who_went() {
    let world = World::new();
    let (quiet, busy) = (world.join("quiet", "ann"), world.join("busy", "ann"));
    let mut watcher = world.watch(&json!({}));
    let (_, first) = &watcher.events[0];
    assert_eq!(ids(&first["items"]).len(), 2);
    let metadata = &first["metadata"];
    let parts = ["total", "matching", "intervalMs", "complete"].map(|key| metadata[key].clone());
    assert_eq!(parts, [json!(2), json!(2), json!(1000), json!(true)]);
    assert!(watcher.next().is_empty(), "nothing happened");
    quiet.heard(world.clock.now_ms() + 60_000);
    assert!(watcher.next().is_empty(), "a pong is nothing");
    let fresh = world.join("fresh", "eve");
    busy.session().message_came(7);
    let told = watcher.next();
    assert_eq!(lists(&told), [vec!["fresh"], vec!["busy"], vec![]]);
    assert_eq!(told[0].1["changed"][0]["totalBytesSent"], 7);
    fresh.session().message_came(5);
    close(fresh);
    close(quiet);
    let told = watcher.next();
    assert_eq!(lists(&told), [vec![], vec![], vec!["fresh", "quiet"]]);
    let closed = &told[0].1["closed"][0];
    let parts = ["reason", "totalBytesSent", "messagesSent", "username"].map(|key| closed[key].clone());
    assert_eq!(parts, [json!("closed"), json!(5), json!(1), json!("eve")]);
    assert!(closed["endedAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(watcher.known, world.truth(&json!({})));
}

#[test]
fn who_came_and_went_between_two_batches_is_in_closed_alone() {
    let world = World::new();
    let mut all = world.watch(&json!({}));
    let mut eves = world.watch(&json!({"filter": {"username": "eve"}}));
    close(world.join("short", "ann"));
    assert_eq!(lists(&all.next()), [vec![], vec![], vec!["short"]]);
    assert!(eves.next().is_empty());
    // Who watches later knows nothing of it.
    close(world.join("before", "eve"));
    let mut late = world.watch(&json!({"filter": {"username[sw]": "e"}}));
    assert!(late.next().is_empty());
    assert_eq!(lists(&eves.next()), [vec![], vec![], vec!["before"]]);
}

/// What one group was told alive, another that is told less often has never heard of: each counts every login.
#[test]
fn who_came_and_went_between_two_batches_is_in_closed_whoever_else_watches() {
    let world = World::new();
    let mut often = world.watch(&json!({"intervalMs": 100}));
    let mut seldom = world.watch(&json!({"intervalMs": 60_000}));
    let short = world.join("short", "ann");
    assert_eq!(lists(&often.next()), [vec!["short"], vec![], vec![]]);
    close(short);
    assert_eq!(lists(&often.next()), [vec![], vec![], vec!["short"]]);
    assert_eq!(lists(&seldom.next()), [vec![], vec![], vec!["short"]]);
    // One that never fitted while it was looked at is nobody's.
    let mut lonely = world.watch(&json!({"filter": {"connected": false}}));
    let seen = world.join("seen", "ann");
    assert!(lonely.next().is_empty());
    close(seen);
    assert!(lonely.next().is_empty());
}

/// News of all sessions is handed out to whoever joins, also to one who asks for a single id: not on a socket's thread.
#[test]
fn joining_is_as_much_work_as_there_are_sessions() {
    let world = World::new();
    let _members: Vec<_> = (0..100).map(|n| world.join(&n.to_string(), "ann")).collect();
    let watcher = world.watch(&json!({"filter": {"id": "7"}}));
    assert_eq!(watcher.known.len(), 1);
    assert_eq!(watcher.watch.group().looks(), 100);
}

/// As a list is, by `--max-list-time`: a costly pattern would hold a core and a place among the makers of answers, and
/// no group behind it would be told anything.
#[tokio::test]
async fn a_watch_that_takes_too_long_to_find_out_who_fits_is_given_up() {
    let world = World::with_max_time(Duration::ZERO);
    let _members: Vec<_> = (0..1_100).map(|n| world.join(&n.to_string(), "ann")).collect();
    let asked = asked(&json!({"filter": {"username[rgx]": "a+n"}})).unwrap();
    let watch = Arc::new(world.hub.watch(asked, Arc::new(Notify::new())).unwrap());
    assert!(watch.join().is_none());
    let workshop = workshop().with_max_time(Duration::ZERO);
    let mut part = Vec::new();
    let told = Told::first_event(&watch, &workshop).write_part(&mut part).await;
    assert_eq!(told, Err(Unanswered::TooCostly(Duration::ZERO)));
    watch.group().tell();
    assert!(!watch.has_next(), "it is none of those who are told");
}

/// Each has to be told something else, so each kept all that changed, times as many as joined within an interval.
#[test]
fn those_who_join_one_after_the_other_keep_no_more_than_they_may_together() {
    let world = World::new();
    let members: Vec<_> = (0..150).map(|n| world.join(&n.to_string(), "ann")).collect();
    let mut first = world.watch(&json!({}));
    let mut others: Vec<_> = (0..80)
        .map(|_| {
            members[0].session().message_came(1);
            world.watch(&json!({}))
        })
        .collect();
    members.iter().for_each(|member| member.session().message_came(2));
    let mut last = world.watch(&json!({}));
    first.tell();
    for watcher in others.iter_mut().chain([&mut first]) {
        watcher.listen();
        assert_eq!(watcher.events.last().unwrap().0, "resync");
        assert_eq!(watcher.known, world.truth(&json!({})));
    }
    last.listen();
    assert_eq!(last.known, world.truth(&json!({})));
}

/// Finding out who fits may take seconds, and one group after the other has its turn.
#[test]
fn a_group_that_somebody_is_joining_holds_up_no_other() {
    let world = World::new();
    let mut watcher = world.watch(&json!({}));
    let _member = world.join("d", "ann");
    let group = watcher.watch.group();
    assert!(!group.while_somebody_joins(|| group.tell()));
    assert!(!watcher.watch_has_next());
    assert!(group.tell());
    watcher.listen();
    assert_eq!(watcher.known, world.truth(&json!({})));
}

#[tokio::test]
async fn the_last_watcher_to_leave_leaves_the_clearing_up_to_others() {
    let world = World::new();
    let watch = world.hub.watch(asked(&json!({})).unwrap(), Arc::new(Notify::new())).unwrap();
    watch.join().unwrap();
    drop(watch);
    for _ in 0..1_000 {
        if world.hub.groups() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.hub.groups(), 0);
    let member = world.join("d", "ann");
    member.session().message_came(1);
    assert!(world.registry.news().changed.is_empty(), "nothing is noted");
}

#[test]
fn an_id_that_ends_and_begins_again_is_closed_before_it_is_opened() {
    let world = World::new();
    let first = world.join("d", "ann");
    let mut watcher = world.watch(&json!({}));
    first.session().message_came(9);
    close(first);
    close(world.join("d", "ann"));
    let _third = world.join("d", "ann");
    assert_eq!(lists(&watcher.next()), [vec!["d"], vec![], vec!["d", "d"]]);
    assert_eq!(watcher.known, world.truth(&json!({})));
    assert_eq!(watcher.known["d"]["totalBytesSent"], 0);
}

#[test]
fn who_does_not_fit_any_more_is_unmatched_and_may_come_back() {
    let world = World::new();
    let mut member = world.join("d", "ann");
    let mut watcher = world.watch(&json!({"filter": {"activePages": 1}}));
    let open = |member: &mut Membership| member.open_page(&"p2".into(), None, 0).unwrap();
    open(&mut member);
    let told = watcher.next();
    assert_eq!(lists(&told), [vec![], vec![], vec!["d"]]);
    let closed = &told[0].1["closed"][0];
    assert_eq!((&closed["reason"], &closed["endedAt"]), (&json!("unmatched"), &Value::Null));
    member.close_page("p2", 0).unwrap();
    assert_eq!(lists(&watcher.next()), [vec!["d"], vec![], vec![]]);
    // There and back again between two batches is a change.
    open(&mut member);
    let mut second = world.watch(&watcher.params.clone());
    assert!(second.known.is_empty());
    member.close_page("p2", 0).unwrap();
    assert_eq!(lists(&watcher.next()), [vec![], vec!["d"], vec![]]);
    second.listen();
    assert_eq!(lists(&second.events[1..]), [vec!["d"], vec![], vec![]]);
    // Out and ended: of that, the first is told.
    open(&mut member);
    assert_eq!(lists(&watcher.next()), [vec![], vec![], vec!["d"]]);
    close(member);
    assert!(watcher.next().is_empty());
}

#[test]
fn a_filter_on_what_moves_is_held_against_everybody_each_time() {
    let world = World::new();
    let params = json!({"filter": {"uptime[gte]": 1000}});
    let member = world.join("d", "ann");
    let mut watcher = world.watch(&params);
    assert!(watcher.known.is_empty() && watcher.next().is_empty());
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(lists(&watcher.next()), [vec!["d"], vec![], vec![]]);
    assert!(watcher.next().is_empty());
    let mut silent = world.watch(&json!({"filter": {"lastComm[gte]": 1000}}));
    assert_eq!(silent.known.len(), 1);
    member.heard(world.clock.now_ms());
    assert_eq!(lists(&silent.next()), [vec![], vec![], vec!["d"]]);
}

#[test]
fn a_hundred_watchers_of_one_filter_cost_one_evaluation_and_one_batch() {
    let world = World::new();
    let params = |n: usize| {
        // Written in two ways.
        let blanks = " ".repeat(n % 2);
        let text = format!(r#"{{"filter":{{"username":{blanks}"ann"}}}}"#);
        serde_json::from_str::<WatchSessions>(&text).unwrap()
    };
    let watches: Vec<_> = (0..100)
        .map(|n| {
            let asked = params(n).read(&View::of(None)).unwrap();
            let watch = world.hub.watch(asked, Arc::new(Notify::new())).unwrap();
            watch.join();
            watch
        })
        .collect();
    assert_eq!(world.hub.groups(), 1);
    let members: Vec<_> = (0..10).map(|n| world.join(&n.to_string(), "ann")).collect();
    let group = watches[0].group();
    group.tell();
    assert_eq!(group.sessions_looked_at(), 10);
    let mut batches = watches.iter().map(|watch| match watch.next() {
        Some(queue::Next::Batch(batch)) => batch,
        other => panic!("{other:?}"),
    });
    let first = batches.next().unwrap();
    assert!(batches.all(|batch| Arc::ptr_eq(&batch, &first)));
    group.tell();
    assert_eq!(group.sessions_looked_at(), 10, "nobody changed");
    members[3].session().message_came(1);
    group.tell();
    assert_eq!(group.sessions_looked_at(), 11);
    let counts = world.hub.tally.counts();
    assert_eq!((counts.live(), counts.groups, counts.evaluations.count()), (100, 1, 3));
    assert_eq!(counts.lag.count(), 0, "they have taken it, and nobody has written it");
    drop(watches);
    assert_eq!(world.hub.groups(), 0);
    let counts = world.hub.tally.counts();
    assert_eq!((counts.live(), counts.begun, counts.groups), (0, 100, 0));
    members[3].session().message_came(1);
    assert!(world.registry.news().changed.is_empty(), "nobody is told, so nothing is noted");
}

#[test]
fn another_interval_or_question_is_another_group() {
    let world = World::new();
    let _watchers: Vec<_> = [
        json!({}),
        json!({"intervalMs": 1000}),
        json!({"filter": {}, "search": ""}),
        json!({"intervalMs": 100}),
        json!({"search": "x"}),
        json!({"filter": {"project": "x", "username": "x"}}),
        json!({"filter": {"username": "x", "project": "x"}}),
    ]
    .iter()
    .map(|params| world.watch(params))
    .collect();
    assert_eq!(world.hub.groups(), 4);
}

#[test]
fn who_joins_between_two_batches_is_told_what_he_does_not_know() {
    let world = World::new();
    let old = world.join("old", "ann");
    let mut first = world.watch(&json!({}));
    let new = world.join("new", "ann");
    old.session().message_came(1);
    let mut second = world.watch(&json!({}));
    assert!(!first.watch_has_next(), "nobody is told out of turn");
    assert_eq!(second.known, world.truth(&json!({})));
    new.session().message_came(2);
    close(old);
    first.tell();
    first.listen();
    second.listen();
    assert_eq!(lists(&first.events[1..]), [vec!["new"], vec![], vec!["old"]]);
    assert_eq!(lists(&second.events[1..]), [vec![], vec!["new"], vec!["old"]]);
    assert_eq!(first.revision, second.revision);
    // From then on they are told the same.
    new.session().message_came(3);
    assert_eq!(lists(&first.next()), [vec![], vec!["new"], vec![]]);
    second.listen();
    assert_eq!(first.known, second.known);
}

#[test]
fn who_does_not_listen_gets_one_fresh_snapshot() {
    let world = World::new();
    let member = world.join("d", "ann");
    let (mut slow, mut quick) = (world.watch(&json!({})), world.watch(&json!({})));
    for n in 0..50 {
        member.session().message_came(n);
        assert_eq!(quick.next().len(), 1);
    }
    let _more = world.join("e", "ann");
    slow.listen();
    let [(kind, data)] = &slow.events[1..] else { panic!("{:?}", slow.events) };
    assert_eq!((&**kind, ids(&data["items"]).len()), ("resync", 2));
    let counts = world.hub.tally.counts();
    assert_eq!(Lost::ALL.map(|why| counts.resyncs(why)), [1, 0]);
    assert_eq!((counts.lag.count(), counts.resyncs_told), (50, 1), "what was thrown away was not told");
    assert!(data["metadata"].is_null());
    assert_eq!(slow.known, world.truth(&json!({})));
    member.session().message_came(1);
    assert_eq!(lists(&slow.next()), [vec![], vec!["d"], vec![]]);
    quick.listen();
    assert_eq!(quick.known, slow.known);
}

#[test]
fn a_large_batch_is_written_in_parts_and_waits_alone() {
    let world = World::new();
    let mut watcher = world.watch(&json!({}));
    let members: Vec<_> = (0..12_000).map(|n| world.join(&n.to_string(), "ann")).collect();
    let told = watcher.next();
    assert_eq!(lists(&told).map(|list| list.len()), [12_000, 0, 0]);
    members.iter().for_each(|member| member.session().message_came(1));
    watcher.tell();
    members[0].session().message_came(1);
    watcher.tell();
    watcher.listen();
    assert_eq!(watcher.events.last().unwrap().0, "resync", "more than may wait");
    assert_eq!(watcher.known.len(), 12_000);
    let mut parts = Vec::new();
    members.into_iter().for_each(close);
    watcher.tell();
    let mut told = Told::event(&watcher.watch, &workshop()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    loop {
        let mut part = Vec::new();
        let more = runtime.block_on(told.write_part(&mut part)).unwrap();
        assert!(part.len() < 80 * 1024, "{}", part.len());
        parts.push(part);
        if !more {
            break;
        }
    }
    assert!(parts.len() > 10);
}

#[test]
fn more_ends_than_are_kept_make_everybody_start_over() {
    let world = World::new();
    let mut watcher = world.watch(&json!({}));
    let _stays = world.join("stays", "ann");
    for n in 0..100_001 {
        close(world.join(&n.to_string(), "ann"));
    }
    watcher.next();
    assert_eq!(watcher.events.last().unwrap().0, "resync");
    assert_eq!(Lost::ALL.map(|why| world.hub.tally.counts().resyncs(why)), [0, 1]);
    assert_eq!(watcher.known, world.truth(&json!({})));
    close(world.join("x", "ann"));
    assert_eq!(lists(&watcher.next()), [vec![], vec![], vec!["x"]]);
}

#[test]
fn watches_have_a_limit() {
    let world = World::new();
    let mut watches: Vec<_> =
        (0..1_024).map(|_| world.hub.watch(asked(&json!({})).unwrap(), Arc::default()).unwrap()).collect();
    let refused = world.hub.watch(asked(&json!({})).unwrap(), Arc::default()).unwrap_err();
    assert!(matches!(refused, NoList::Limit(says) if says.contains("1024 watches already")));
    watches.pop();
    assert!(world.hub.watch(asked(&json!({})).unwrap(), Arc::default()).is_ok());
}

#[test]
fn an_interval_is_between_its_limits() {
    for (params, says) in [
        (json!({"intervalMs": 99}), "intervalMs must be 100 to 60000, not 99"),
        (json!({"intervalMs": -1}), "intervalMs must be 100 to 60000, not -1"),
        (json!({"intervalMs": 60_001}), "not 60001"),
        (json!({"intervalMs": "x"}), "intervalMs must be a whole number, not a string"),
    ] {
        let refused = asked(&params).unwrap_err();
        assert!(matches!(&refused, NoList::Invalid(said) if said.contains(says)), "{refused:?}");
    }
}

/// Whatever happens in whatever order, and whoever joins, is told or lags when: what watchers make of what they are told
/// is what is there.
#[test]
fn what_is_told_adds_up_to_what_is_there() {
    let filters = [
        json!({}),
        json!({"intervalMs": 500}),
        json!({"filter": {"username": "ann"}}),
        json!({"filter": {"username": ["ann", "eve"], "activePages[gte]": 2}}),
        json!({"filter": {"totalBytesSent[lt]": 20}}),
        json!({"filter": {"connected": false}}),
        json!({"filter": {"id": ["d1", "d2", "d3"]}}),
        json!({"search": "p2"}),
        json!({"filter": {"pageIds": "p2", "uptime[gte]": 0}}),
    ];
    for seed in 0..60 {
        let random = &mut StdRng::seed_from_u64(seed);
        let world = World::new();
        let (mut members, mut watchers) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            act(&world, &mut members, random);
            match random.random_range(0..30) {
                0..3 => watchers.push(world.watch(&filters[random.random_range(0..filters.len())])),
                3 if !watchers.is_empty() => {
                    drop(watchers.swap_remove(random.random_range(0..watchers.len())));
                }
                4..8 if !watchers.is_empty() => {
                    let at = random.random_range(0..watchers.len());
                    watchers[at].tell();
                }
                8..12 if !watchers.is_empty() => {
                    let at = random.random_range(0..watchers.len());
                    watchers[at].listen();
                }
                12 => {
                    for watcher in &mut watchers {
                        watcher.next();
                        assert_eq!(watcher.known, world.truth(&watcher.params), "{}, {seed}", watcher.params);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Something happens.
fn act(world: &World, members: &mut Vec<Membership>, random: &mut impl Rng) {
    let now_ms = world.clock.now_ms();
    let user = ["ann", "bob", "eve"][random.random_range(0..3)];
    let id = format!("d{}", random.random_range(0..8));
    let page = format!("p{}", random.random_range(1..4));
    if members.is_empty() || members.len() < 12 && random.random_range(0..4) == 0 {
        let joining = Joining { page_id: page.into(), ..joining(&id, user, "p") };
        members.extend(world.registry.join(joining, now_ms));
        return;
    }
    let at = random.random_range(0..members.len());
    let member = &mut members[at];
    match random.random_range(0..9) {
        0 => member.messages_came(Came { messages: 1, bytes: 3, newest: 3 }),
        // There may be no such page: then nothing happens.
        1 => member.open_page(&page.into(), None, now_ms).unwrap_or_default(),
        2 => member.close_page(&page, now_ms).unwrap_or_default(),
        3 => member.navigate(&page, Some(id.into())).unwrap_or_default(),
        4 => members.swap_remove(at).leave(Leaving::Lost, now_ms),
        5 => members.swap_remove(at).leave(Leaving::Closed { going_away: false }, now_ms),
        6 => {
            world.registry.terminate(&id, EndReason::Terminated, "", now_ms);
        }
        7 => world.registry.expire(now_ms + random.random_range(0..40_000)),
        _ => member.session().messages_went(1, 2),
    }
}
