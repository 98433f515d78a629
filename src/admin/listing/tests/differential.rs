//! Whatever is asked, the answer is the full list filtered, sorted and cut: said again in plain Rust over plain JSON.

use std::{cmp::Ordering, net::IpAddr};

use rand::seq::IndexedRandom;
use serde_json::Map;

use super::*;
use crate::{
    admin::item::Column,
    session::filter::{Field, Kind},
};

/// What goes on while it is asked for: it can be held against bounds that it will not come to, and no others.
const MOVING: [&str; 5] = ["uptime", "lastComm", "lastActivity", "bytesPerSecond", "rttMs"];

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

/// An address as a number; IPv4 as IPv6 has it.
fn bits(text: &str) -> Option<u128> {
    Some(match text.parse().ok()? {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    })
}

fn is_within(address: &str, network: &str) -> bool {
    let (base, prefix) = network.split_once('/').unwrap();
    let all = if base.contains(':') { 128 } else { 32 };
    let free: u32 = all - prefix.parse::<u32>().unwrap();
    bits(address).unwrap() >> free == bits(base).unwrap() >> free
}

fn fits_glob(text: &[char], pattern: &[char]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        (['*', rest @ ..], text) => (0..=text.len()).any(|at| fits_glob(&text[at..], rest)),
        (['?', rest @ ..], [_, text @ ..]) => fits_glob(text, rest),
        ([c, rest @ ..], [first, text @ ..]) => c == first && fits_glob(text, rest),
        _ => false,
    }
}

/// Whether a text ends with some text and one character more: the only regular expression that is asked for here.
fn ends_but_for_one(text: &str, pattern: &str) -> bool {
    let (mut piece, mut escaped) = (String::new(), pattern.strip_suffix(".$").unwrap().chars());
    while let Some(c) = escaped.next() {
        piece.push(if c == '\\' { escaped.next().unwrap() } else { c });
    }
    let mut chars = text.chars();
    chars.next_back().is_some() && chars.as_str().ends_with(&piece)
}

/// Whether one value, or one of a list, passes one wanted value. `ne` is asked as `eq`.
fn passes_one(held: &Value, op: &str, wanted: &Value) -> bool {
    let chars = |value: &Value| text(value).chars().collect::<Vec<_>>();
    match op {
        "eq" | "in" | "ne" => match (held.as_str().and_then(bits), wanted.as_str().and_then(bits)) {
            (Some(held), Some(wanted)) => held == wanted,
            _ => held == wanted,
        },
        _ if held.is_null() => false,
        // Numbers are numbers, and times of one form go by their letters.
        "gt" | "gte" | "lt" | "lte" => {
            let order = match (held.as_i64(), wanted.as_i64()) {
                (Some(held), Some(wanted)) => held.cmp(&wanted),
                _ => text(held).cmp(text(wanted)),
            };
            match op {
                "gt" => order == Ordering::Greater,
                "gte" => order != Ordering::Less,
                "lt" => order == Ordering::Less,
                _ => order != Ordering::Greater,
            }
        }
        "cn" => text(held).contains(text(wanted)),
        "sw" => text(held).starts_with(text(wanted)),
        "ew" => text(held).ends_with(text(wanted)),
        "glob" => fits_glob(&chars(held), &chars(wanted)),
        "rgx" => ends_but_for_one(text(held), text(wanted)),
        "cidr" => is_within(text(held), text(wanted)),
        other => unreachable!("{other}"),
    }
}

fn passes(item: &Value, name: &str, wanted: &[Value]) -> bool {
    let (field, op) = name.trim_end_matches(']').split_once('[').unwrap();
    let held: Vec<_> = match &item[field] {
        Value::Array(list) if list.is_empty() => vec![Value::Null],
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let any = held.iter().any(|held| wanted.iter().any(|wanted| passes_one(held, op, wanted)));
    any != (op == "ne")
}

fn is_found(item: &Value, search: &str) -> bool {
    let mut texts = Vec::new();
    for (_, name, kind) in Column::ALL {
        match (kind, &item[*name]) {
            (Kind::Text | Kind::Texts | Kind::Address, Value::String(text)) => {
                texts.push(text.to_lowercase());
            }
            (Kind::Texts, Value::Array(list)) => {
                texts.extend(list.iter().map(|value| text(value).to_lowercase()));
            }
            _ => {}
        }
    }
    search.split_whitespace().all(|term| texts.iter().any(|text| text.contains(&term.to_lowercase())))
}

/// A piece of a text that some item has.
fn piece(text: &str, random: &mut impl Rng) -> String {
    let chars: Vec<char> = text.chars().collect();
    let from = random.random_range(0..=chars.len());
    let to = random.random_range(from..=chars.len().min(from + 3));
    chars[from..to].iter().collect()
}

/// A value that a condition may want: as a rule, what has to do with those that are there.
fn wanted(items: &[Value], (field, kind): (&str, Kind), op: &str, random: &mut impl Rng) -> Value {
    if MOVING.contains(&field) {
        return if op.len() == 2 && op.starts_with(['e', 'n', 'i']) && random.random_bool(0.5) {
            Value::Null
        } else {
            json!([-5, 1_000_000_000_000_i64][random.random_range(0..2)])
        };
    }
    let held = match &items.choose(random).unwrap()[field] {
        Value::Array(list) => list.choose(random).cloned().unwrap_or(Value::Null),
        one => one.clone(),
    };
    let some = |held: &Value| held.as_str().unwrap_or("x").to_owned();
    match op {
        "cn" | "sw" | "ew" => piece(&some(&held), random).into(),
        "glob" => format!("*{}?*", piece(&some(&held), random).replace(['*', '?', '\\'], "")).into(),
        "rgx" => format!("{}.$", regex::escape(&piece(&some(&held), random))).into(),
        "cidr" => {
            let address = if kind == Kind::Address { some(&held) } else { "10.0.0.1".to_owned() };
            let address = if address == "x" { "10.0.0.1".to_owned() } else { address };
            let prefixes: &[u32] = if address.contains(':') { &[16, 64, 128] } else { &[8, 23, 32] };
            format!("{address}/{}", prefixes.choose(random).unwrap()).into()
        }
        "gt" | "gte" | "lt" | "lte" if held.is_null() => match kind {
            Kind::Time => "2026-01-01T00:00:00.000Z".into(),
            _ => 3.into(),
        },
        _ => held,
    }
}

fn operators(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bool => &["eq", "ne", "in"],
        Kind::Number | Kind::Time => &["eq", "ne", "in", "gt", "gte", "lt", "lte"],
        Kind::Text | Kind::Texts => &["eq", "ne", "in", "cn", "sw", "ew", "glob", "rgx"],
        Kind::Address => &["eq", "ne", "in", "cn", "sw", "ew", "glob", "rgx", "cidr"],
    }
}

fn compare(field: &str, descending: bool, a: &Value, b: &Value) -> Ordering {
    // What grows by the clock goes by when it began.
    let (field, descending) = match field {
        "uptime" => ("connectedAt", !descending),
        "lastComm" => ("lastCommAt", !descending),
        same => (same, descending),
    };
    let (held_a, held_b) = (&a[field], &b[field]);
    let by_value = match (held_a, held_b) {
        (Value::Number(a), Value::Number(b)) => a.as_u64().cmp(&b.as_u64()),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
            (Ok(a), Ok(b)) => a.to_canonical().cmp(&b.to_canonical()),
            _ => a.cmp(b),
        },
        _ => Ordering::Equal,
    };
    let by_value = if descending { by_value.reverse() } else { by_value };
    let by_presence = held_a.is_null().cmp(&held_b.is_null());
    by_presence.then(by_value).then_with(|| text(&a["id"]).cmp(text(&b["id"])))
}

/// All kinds of sessions: some with many pages, some with none, some that their clients have lost.
fn crowd(methods: &Methods, random: &mut impl Rng) -> Vec<Membership> {
    const TEXTS: [&str; 6] = ["ann", "Anna", "Zoë", "b*lly", "", "a\"b\\"];
    const ADDRESSES: [&str; 5] = ["10.0.0.1", "10.0.1.2", "10.9.0.1", "fd00::1", "2001:db8::2"];
    (0..200)
        .map(|n| {
            let mut newcomer = joining(&format!("s{n:03}"), TEXTS[n % 4], TEXTS[n % 3]);
            newcomer.identity.scope = SessionScope::ALL[random.random_range(0..4)];
            newcomer.identity.authorized = random.random_bool(0.3);
            newcomer.identity.user_agent = TEXTS[random.random_range(0..6)].into();
            newcomer.identity.client_address = ADDRESSES[random.random_range(0..5)].parse().unwrap();
            newcomer.page_id = format!("p{}", random.random_range(0..9)).into();
            let mut member = methods.registry.join(newcomer, methods.clock.now_ms()).unwrap();
            for page in 0..random.random_range(0..3) {
                member.open_page(&format!("q{page}").into(), None, 0).unwrap();
            }
            for _ in 0..random.random_range(0..4) {
                let bytes = random.random_range(0..10);
                member.messages_came(Came { messages: 1, bytes, newest: bytes });
            }
            member
        })
        .collect()
}

#[test]
fn every_operator_on_every_field_picks_orders_and_cuts_as_plain_code_does() {
    let mut random = StdRng::seed_from_u64(12);
    let methods = methods();
    let _members = crowd(&methods, &mut random);
    let full = answer(&methods, &json!({"limit": -1})).unwrap();
    let items = full["items"].as_array().unwrap();
    assert_eq!(items.len(), 200);
    let asked: Vec<_> = Column::ALL
        .iter()
        .flat_map(|(_, field, kind)| operators(*kind).iter().map(move |op| (*field, *kind, *op)))
        .collect();
    let mut some_fit = 0;
    for round in 0..4 * asked.len() {
        let mut filter = Map::new();
        // Each in its turn, and sometimes another beside it.
        let others = asked.choose(&mut random).filter(|_| round % 3 == 0);
        for (field, kind, op) in [&asked[round % asked.len()]].into_iter().chain(others) {
            let values: Vec<_> = (0..random.random_range(1..4))
                .map(|_| wanted(items, (*field, *kind), op, &mut random))
                .collect();
            filter.insert(format!("{field}[{op}]"), json!(values));
        }
        let search = if round % 5 == 0 { ["ANN", "10.0 q", "zoë p1"][round % 3] } else { "" };
        let fits = |item: &&Value| {
            let is_held = |(name, wanted): (&String, &Value)| passes(item, name, wanted.as_array().unwrap());
            filter.iter().all(is_held) && is_found(item, search)
        };
        let mut expected: Vec<&Value> = items.iter().filter(fits).collect();
        some_fit += usize::from(!expected.is_empty() && expected.len() < items.len());
        let sortable: Vec<_> = Column::ALL
            .iter()
            .filter(|(_, name, kind)| *kind != Kind::Texts && !["bytesPerSecond", "rttMs"].contains(name))
            .collect();
        let (_, sort_by, _) = sortable[round % sortable.len()];
        let descending = random.random_bool(0.5);
        expected.sort_by(|a, b| compare(sort_by, descending, a, b));
        let (limit, offset) = (random.random_range(-1..40_i64), random.random_range(0..20_usize));
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let page: Vec<_> = expected.iter().skip(offset).take(most).map(|item| text(&item["id"])).collect();
        let direction = if descending { "desc" } else { "asc" };
        let question = json!({
            "filter": filter, "search": search, "sortBy": format!("{direction}({sort_by})"),
            "limit": limit, "offset": offset, "fields": ["project", "id"],
        });
        let found = answer(&methods, &question).unwrap();
        assert_eq!(ids(&found), page, "{question}");
        assert_eq!(found["metadata"]["matching"], expected.len(), "{question}");
        assert!(found["items"].as_array().unwrap().iter().all(|item| item.as_object().unwrap().len() == 2));
    }
    assert!(some_fit > asked.len(), "conditions that tell apart: {some_fit} of {}", 4 * asked.len());
}

#[test]
fn pages_of_a_snapshot_are_in_one_order_however_they_are_turned() {
    let mut random = StdRng::seed_from_u64(13);
    let methods = methods();
    let _members = crowd(&methods, &mut random);
    let ordered = |limit: i64| json!({"limit": limit, "sortBy": "desc(totalBytesSent)"});
    let all = ids(&answer(&methods, &ordered(-1)).unwrap());
    for _ in 0..40 {
        let first = answer(&methods, &ordered(1)).unwrap();
        let snapshot = &first["metadata"]["snapshotId"];
        let (mut offset, mut end) = (0, 0);
        for _ in 0..20 {
            // On from where it was, back, or anywhere.
            offset = match random.random_range(0..3) {
                0 => end,
                1 => offset / 2,
                _ => random.random_range(0..220_usize),
            };
            let limit = random.random_range(0..70_usize);
            let asked = json!({"snapshotId": snapshot, "offset": offset, "limit": limit});
            let expected: Vec<_> = all.iter().skip(offset).take(limit).cloned().collect();
            end = offset + expected.len();
            assert_eq!(ids(&answer(&methods, &asked).unwrap()), expected, "{asked}");
        }
    }
}
