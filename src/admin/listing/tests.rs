mod differential;

use std::{collections::BTreeSet, time::Duration};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    admin::{
        audit::Audit,
        caller::Caller,
        figures::Figures,
        item::Keyed,
        select::Question,
        source::Workshop,
        view::{View, tests::token},
    },
    config::tokens::{AdminToken, Scope},
    edge::clock::Clock,
    session::{
        Came, Joining, Membership, Registry, Rules, SessionScope,
        tests::{close, joining},
    },
};

fn methods() -> Methods {
    methods_of(None)
}

/// Of a caller with this token.
fn methods_of(token: Option<AdminToken>) -> Methods {
    Methods {
        registry: Arc::new(Registry::new(Rules::default())),
        clock: Clock::start(),
        workshop: Workshop::new(1, Duration::from_secs(1)),
        snapshots: Arc::default(),
        watches: None,
        caller: Caller::new(([127, 0, 0, 1], 1).into(), token.map(Arc::new)),
        audit: Audit::new(None),
        figures: Figures::nothing(),
        draining: CancellationToken::new(),
    }
}

fn answer(methods: &Methods, params: &Value) -> Result<Value, NoList> {
    let asked: ListSessions = serde_json::from_str(&params.to_string()).unwrap();
    let mut source = list(methods, asked.read()?, Shape::Json)?;
    let mut out = Vec::new();
    loop {
        let mut part = Vec::new();
        let more = source.write_part(&mut part);
        assert!(part.len() < PART_BYTES + 4096, "a part is a part");
        out.extend(part);
        if !more {
            return Ok(serde_json::from_slice(&out).unwrap());
        }
    }
}

fn ids(answer: &Value) -> Vec<String> {
    answer["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn join(methods: &Methods, id: &str, random: &mut impl Rng) -> Membership {
    const NAMES: [&str; 5] = ["ann", "anna", "Zoë", "billy", "a\"b"];
    let user = NAMES[random.random_range(0..NAMES.len())];
    let project = NAMES[random.random_range(0..3)];
    let mut newcomer = joining(id, user, project);
    newcomer.identity.client_address = [10, 0, random.random_range(0..4), 1].into();
    newcomer.page_id = format!("page{}", random.random_range(0..9)).into();
    let member = methods.registry.join(newcomer, methods.clock.now_ms()).unwrap();
    for _ in 0..random.random_range(0..4) {
        let bytes = random.random_range(0..10);
        member.messages_came(Came { messages: 1, bytes, newest: bytes });
    }
    member
}

/// Whether an item of the full list passes, by other means than the filter's.
fn passes(item: &Value, condition: &str, value: &Value) -> bool {
    let (field, op) = condition.split_once('[').unwrap();
    let (held, op) = (&item[field], op.trim_end_matches(']'));
    let text = || held.as_str().unwrap();
    let wanted = || value.as_str().unwrap();
    match op {
        "eq" => held == value,
        "ne" => held != value,
        "in" => value.as_array().unwrap().contains(held),
        "cn" => text().contains(wanted()),
        "sw" => text().starts_with(wanted()),
        "ew" => text().ends_with(wanted()),
        "gt" => held.as_u64() > value.as_u64(),
        "gte" => held.as_u64() >= value.as_u64(),
        "lt" => held.as_u64() < value.as_u64(),
        "lte" => held.as_u64() <= value.as_u64(),
        "cidr" => text().starts_with("10.0.1."),
        "glob" => text().starts_with('a'),
        "rgx" => text().ends_with('a') || text().ends_with('n'),
        other => unreachable!("{other}"),
    }
}

fn conditions() -> Vec<(&'static str, Value)> {
    vec![
        ("username[eq]", json!("ann")),
        ("username[ne]", json!("ann")),
        ("username[in]", json!(["billy", "Zoë", "billy", "nobody"])),
        ("project[eq]", json!("anna")),
        ("project[in]", json!(["ann", "anna"])),
        ("username[cn]", json!("n")),
        ("username[sw]", json!("a")),
        ("username[ew]", json!("y")),
        ("username[glob]", json!("a*")),
        ("username[rgx]", json!("(a|n)$")),
        ("clientAddress[cidr]", json!("10.0.1.0/24")),
        ("clientAddress[eq]", json!("10.0.1.1")),
        ("clientAddress[ew]", json!(".0")),
        ("userAgent[eq]", json!("")),
        ("totalBytesSent[gt]", json!(10)),
        ("totalBytesSent[lte]", json!(15)),
        ("messagesSent[gte]", json!(2)),
        ("messagesSent[lt]", json!(3)),
        ("id[in]", json!(["s001", "s299", "s001", "gone"])),
        ("authorized[eq]", json!(false)),
        ("connected[eq]", json!(true)),
    ]
}

/// Asks a caller's list this and that.
fn check_questions(methods: &Methods, random: &mut impl Rng) {
    let full = answer(methods, &json!({"limit": -1})).unwrap();
    let full = full["items"].as_array().unwrap();
    let conditions = conditions();
    for round in 0..500 {
        let picked: Vec<_> = (0..random.random_range(0..3))
            .map(|_| &conditions[random.random_range(0..conditions.len())])
            .collect();
        let filter: serde_json::Map<_, _> =
            picked.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let fits = |item: &&Value| filter.iter().all(|(name, value)| passes(item, name, value));
        let mut expected: Vec<&Value> = full.iter().filter(fits).collect();
        let (field, descending) = (
            ["totalBytesSent", "messagesSent", "activePages", "clientAddress", "username"][round % 5],
            random.random_bool(0.5),
        );
        expected.sort_by(|a, b| {
            let by = a[field].as_u64().cmp(&b[field].as_u64());
            let by = by.then_with(|| a[field].as_str().cmp(&b[field].as_str()));
            let by = if descending { by.reverse() } else { by };
            by.then_with(|| a["id"].as_str().cmp(&b["id"].as_str()))
        });
        let (limit, offset) = (random.random_range(-1..40_i64), random.random_range(0..60_usize));
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let page: Vec<_> = expected.iter().skip(offset).take(most).map(|item| item["id"].clone()).collect();
        let direction = if descending { "desc" } else { "asc" };
        let asked = json!({
            "filter": filter, "sortBy": format!("{direction}({field})"), "limit": limit, "offset": offset,
        });
        let found = answer(methods, &asked).unwrap();
        assert_eq!(ids(&found), page, "{asked}");
        let counts = (&found["metadata"]["matching"], &found["metadata"]["total"]);
        assert_eq!(counts, (&json!(expected.len()), &json!(full.len())), "{asked}");
    }
}

#[test]
fn whatever_is_asked_it_is_the_full_list_filtered_sorted_and_cut() {
    let mut random = StdRng::seed_from_u64(7);
    let methods = methods();
    let _members: Vec<_> = (0..300).map(|n| join(&methods, &format!("s{n:03}"), &mut random)).collect();
    let full = answer(&methods, &json!({"limit": -1})).unwrap();
    assert_eq!((&full["metadata"]["total"], &full["metadata"]["snapshotId"]), (&json!(300), &Value::Null));
    check_questions(&methods, &mut random);
    // For whoever sees less, the full list is what they see.
    for (scopes, project) in [
        (&[Scope::Read][..], None),
        (&[Scope::Read, Scope::Pii], Some("anna")),
        (&[Scope::Read], Some("anna")),
    ] {
        let seen = Methods { registry: methods.registry.clone(), ..methods_of(Some(token(scopes, project))) };
        let list = answer(&seen, &json!({"limit": -1})).unwrap();
        for item in list["items"].as_array().unwrap() {
            assert!(project.is_none_or(|own| item["project"] == own), "{item}");
            let is_masked =
                item["userAgent"] == "" && item["clientAddress"].as_str().unwrap().ends_with(".0");
            assert_eq!(is_masked, scopes.len() == 1, "{item}");
        }
        check_questions(&seen, &mut random);
    }
}

#[test]
fn a_row_of_a_snapshot_takes_24_bytes() {
    // Of which there may be `MAX_ROWS`.
    assert_eq!(size_of::<Keyed>(), 24);
}

#[test]
fn a_snapshot_has_everybody_once_although_sessions_come_and_go() {
    let mut random = StdRng::seed_from_u64(8);
    let methods = methods();
    let mut members: Vec<_> = (0..500).map(|n| join(&methods, &format!("s{n:03}"), &mut random)).collect();
    for sort_by in ["", "desc(totalBytesSent)", "asc(username)"] {
        let live: BTreeSet<_> = members.iter().map(|member| member.session().who().id().to_owned()).collect();
        let first = answer(&methods, &json!({"limit": 7, "sortBy": sort_by})).unwrap();
        let snapshot = first["metadata"]["snapshotId"].as_str().unwrap().to_owned();
        let (mut seen, mut ended) = (ids(&first), 0);
        while seen.len() < live.len() {
            for _ in 0..9 {
                close(members.swap_remove(random.random_range(0..members.len())));
                let id = format!("n{}", random.random::<u64>());
                members.push(join(&methods, &id, &mut random));
            }
            let limit = random.random_range(1..60);
            let asked = json!({"limit": limit, "offset": seen.len(), "snapshotId": snapshot});
            let page = answer(&methods, &asked).unwrap();
            assert_eq!(page["metadata"]["matching"], live.len());
            assert_eq!(page["metadata"]["takenAt"], first["metadata"]["takenAt"]);
            let items = page["items"].as_array().unwrap();
            ended +=
                items.iter().filter(|item| item["connected"] == false && item["pages"] == json!([])).count();
            seen.extend(ids(&page));
        }
        assert_eq!(seen.len(), live.len(), "none twice");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), live, "none missed");
        assert!(ended > 0, "those that have left are there");
    }
}

#[test]
fn a_snapshot_is_of_its_question_and_not_for_ever() {
    let mut random = StdRng::seed_from_u64(9);
    let methods = methods();
    let _members: Vec<_> = (0..10).map(|n| join(&methods, &format!("s{n}"), &mut random)).collect();
    let asked = json!({"limit": 1, "sortBy": "asc(id)"});
    let take = || answer(&methods, &asked).unwrap()["metadata"]["snapshotId"].as_str().unwrap().to_owned();
    let first = take();
    let with = |more: Value| {
        let mut asked = json!({"snapshotId": first, "limit": 2, "offset": 8});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        answer(&methods, &asked)
    };
    assert_eq!(ids(&with(json!({})).unwrap()), ["s8", "s9"]);
    assert_eq!(ids(&with(json!({"sortBy": "asc(id)"})).unwrap()), ["s8", "s9"]);
    assert!(matches!(with(json!({"sortBy": "desc(id)"})), Err(NoList::Invalid(_))));
    for _ in 0..16 {
        take();
    }
    assert!(matches!(with(json!({})), Err(NoList::Expired(_))), "newer ones took its place");
    let last = take();
    let kept = |in_ms| methods.snapshots.get(&last, methods.caller.view(), methods.clock.now_ms() + in_ms);
    assert!(kept(29_000).is_some());
    assert!(kept(60_000).is_none());
}

#[test]
fn csv_is_quoted_ended_and_safe() {
    let methods = methods();
    let newcomer = joining("d-1", "=1+1", "a \"b\", c");
    let hostile = Joining { page_path: Some("/x".into()), ..newcomer };
    let _member = methods.registry.join(hostile, 0).unwrap();
    let read = serde_json::from_value::<ListSessions>;
    let asked = read(json!({"fields": ["pageIds", "username", "id", "project", "rttMs"]})).unwrap();
    let mut source = list(&methods, asked.read().unwrap(), Shape::Csv).unwrap();
    let mut out = Vec::new();
    assert!(!source.write_part(&mut out));
    let expected = "id,username,project,pageIds,rttMs\r\nd-1,'=1+1,\"a \"\"b\"\", c\",\"[\"\"p1\"\"]\",\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_hostile_pattern_gives_way_and_is_never_held_against_sessions_on_a_socket_s_thread() {
    const LIGHT: usize = 1024;
    let mut random = StdRng::seed_from_u64(10);
    let methods = methods();
    let _members: Vec<_> = (0..200)
        .map(|n| {
            let mut newcomer = joining(&format!("s{n}"), "ann", "plant");
            let letters: String = (0..512).map(|_| if random.random_bool(0.5) { 'a' } else { 'b' }).collect();
            newcomer.identity.user_agent = letters.into();
            methods.registry.join(newcomer, 0).unwrap()
        })
        .collect();
    let source = |filter: Value| {
        let asked: ListSessions = serde_json::from_value(json!({"filter": filter})).unwrap();
        list(&methods, asked.read().unwrap(), Shape::Json).unwrap()
    };
    assert!(source(json!({"userAgent[cn]": "b"})).looks() <= LIGHT, "made where it is asked for");
    // Of the states of its automaton there are more than particles in the universe.
    let hostile = ["a[ab]{300}c", "b[ab]{300}c", "a[ab]{299}c", "b[ab]{299}c"];
    let mut hostile = source(json!({"userAgent[rgx]": hostile}));
    assert!(hostile.looks() > LIGHT);
    let (mut steps, mut out) = (0, Vec::new());
    while hostile.write_part(&mut out) {
        assert!(out.is_empty());
        steps += 1;
    }
    assert!(steps > 3, "{steps}");
    assert!(out.starts_with(br#"{"items":[],"metadata":{"total":200,"matching":0,"#));
}

#[test]
fn a_hundred_who_ask_the_same_at_once_cost_one_selection() {
    let mut random = StdRng::seed_from_u64(11);
    let methods = methods();
    let _members: Vec<_> = (0..600).map(|n| join(&methods, &format!("s{n:03}"), &mut random)).collect();
    let source = |shape, asked: Value| {
        let asked: ListSessions = serde_json::from_value(asked).unwrap();
        list(&methods, asked.read().unwrap(), shape).unwrap()
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let workshop = Workshop::new(2, Duration::from_secs(60));
    let answers = |shape, asked: Value| {
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let (mut source, workshop) = (Some(source(shape, asked.clone())), workshop.clone());
                runtime.spawn(async move {
                    let (mut out, mut is_first) = (Vec::new(), true);
                    while source.is_some() {
                        let mut part = Vec::new();
                        workshop.make_part(&mut source, is_first, &mut part).await.unwrap();
                        out.extend(part);
                        is_first = false;
                    }
                    out
                })
            })
            .collect();
        runtime.block_on(futures::future::join_all(asking)).into_iter().map(Result::unwrap).collect()
    };
    let turns = || methods.snapshots.lists.turns();
    let asked = json!({"sortBy": "desc(totalBytesSent)", "maxAgeMs": 10_000, "limit": 10});
    let pages: Vec<Vec<u8>> = answers(Shape::Json, asked);
    let page: Value = serde_json::from_slice(&pages[0]).unwrap();
    for other in &pages {
        let other: Value = serde_json::from_slice(other).unwrap();
        assert_eq!((ids(&other), &other["metadata"]), (ids(&page), &page["metadata"]));
    }
    assert_eq!((turns(), ids(&page).len()), (1, 10));
    // Of the same question, another form and all of it: the same selection.
    let whole: Vec<Vec<u8>> =
        answers(Shape::Ndjson, json!({"sortBy": "desc(totalBytesSent)", "maxAgeMs": 10_000, "limit": -1}));
    let lines = |text: &Vec<u8>| text.iter().filter(|byte| **byte == b'\n').count();
    assert!(whole.iter().all(|whole| lines(whole) == 600));
    assert_eq!(turns(), 1);
    let _: Vec<Vec<u8>> = answers(Shape::Ndjson, json!({"filter": {"username": "ann"}, "maxAgeMs": 10_000}));
    assert_eq!(turns(), 2, "another question");
    let _: Vec<Vec<u8>> = answers(Shape::Json, json!({"limit": 10}));
    assert_eq!(turns(), 2, "nobody asked for less than the newest");
    let alone = Question::default();
    let of = |project| View::of(Some(&token(&[Scope::Read], project)));
    let keys = [View::of(None), of(None), of(Some("p"))].map(|view| Key::new(&view, &alone, ""));
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "who sees less shares with nobody who sees more");
}

#[test]
fn a_round_trip_is_shown_filtered_and_sorted_by() {
    let methods = methods();
    let members = ["a", "b", "c"].map(|id| methods.registry.join(joining(id, "ann", "p"), 0).unwrap());
    members[0].rtt_was(200);
    members[2].rtt_was(30);
    for (asked, found) in [
        (json!({"sortBy": "asc(rttMs)"}), ["c", "a", "b"].as_slice()),
        (json!({"sortBy": "desc(rttMs)"}), &["a", "c", "b"]),
        (json!({"filter": {"rttMs[gt]": 100}}), &["a"]),
        (json!({"filter": {"rttMs": null}}), &["b"]),
        (json!({"filter": {"rttMs": 30}}), &["c"]),
    ] {
        assert_eq!(ids(&answer(&methods, &asked).unwrap()), found, "{asked}");
    }
    let list = answer(&methods, &json!({"sortBy": "asc(id)"})).unwrap();
    assert_eq!([0, 1, 2].map(|n| list["items"][n]["rttMs"].clone()), [json!(200), Value::Null, json!(30)]);
}
