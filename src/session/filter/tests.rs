//! The language, word by word.

mod definition;

use std::{net::IpAddr, time::Instant};

use chrono::{DateTime, FixedOffset, SecondsFormat};
use serde_json::{Map, json};

use super::*;

/// A record with a field of every kind, each of which may have no value.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) pages: Vec<String>,
    pub(super) bytes: Option<u64>,
    pub(super) authorized: Option<bool>,
    pub(super) address: Option<IpAddr>,
    pub(super) ended: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Name,
    Pages,
    Bytes,
    Authorized,
    Address,
    Ended,
}

impl Field for Column {
    const ALL: &'static [(Self, &'static str, Kind)] = &[
        (Self::Id, "id", Kind::Text),
        (Self::Name, "name", Kind::Text),
        (Self::Pages, "pages", Kind::Texts),
        (Self::Bytes, "bytes", Kind::Number),
        (Self::Authorized, "authorized", Kind::Bool),
        (Self::Address, "address", Kind::Address),
        (Self::Ended, "ended", Kind::Time),
    ];
}

impl Record for Row {
    type Field = Column;

    fn id(&self) -> &str {
        &self.id
    }

    fn value(&self, column: Column) -> Value<'_> {
        match column {
            Column::Id => Value::Text(&self.id),
            Column::Name => self.name.as_deref().map_or(Value::Null, Value::Text),
            Column::Pages => Value::Texts(&self.pages),
            Column::Bytes => self.bytes.map_or(Value::Null, Value::Number),
            Column::Authorized => self.authorized.map_or(Value::Null, Value::Bool),
            Column::Address => self.address.map_or(Value::Null, Value::Address),
            Column::Ended => self.ended.map_or(Value::Null, Value::Time),
        }
    }
}

/// A record with nothing but an id.
pub(super) fn row(id: &str) -> Row {
    let id = id.to_owned();
    Row { id, name: None, pages: vec![], bytes: None, authorized: None, address: None, ended: None }
}

fn time(text: &str) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(text).unwrap()
}

fn rfc3339(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn billy() -> Row {
    Row {
        id: "d-1".into(),
        name: Some("Billy Joe".into()),
        pages: vec!["p1".into(), "alarms/2".into()],
        bytes: Some(1000),
        authorized: Some(true),
        address: "10.1.2.3".parse().ok(),
        ended: Some(time("2026-01-31T08:30:00.250Z").timestamp_millis()),
    }
}

/// One condition, on a row with all values and on one with none.
#[track_caller]
fn check(key: &str, hits: &[Json], misses: &[Json]) {
    let passes = |wanted: &Json| {
        let filter = Filter::from_json(&json!({key: wanted}).to_string());
        filter.unwrap_or_else(|error| panic!("{error}")).matches(&billy())
    };
    for wanted in hits {
        assert!(passes(wanted), "{key} {wanted} should hold");
    }
    for wanted in misses {
        assert!(!passes(wanted), "{key} {wanted} should not hold");
    }
}

#[track_caller]
fn check_pairs(row: &Row, pairs: &[(&str, &str)], expected: bool) {
    let filter = Filter::from_pairs(pairs.iter().copied()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(filter.matches(row), expected, "{pairs:?}");
}

#[test]
fn eq_and_in_are_any_of_and_ne_is_none_of_for_every_kind() {
    let cases = [
        ("name", json!("Billy Joe"), json!("billy joe")),
        ("name", json!("Billy Joe"), json!("Billy")),
        ("pages", json!("p1"), json!("p2")),
        ("pages", json!("alarms/2"), json!("alarms")),
        ("bytes", json!(1000), json!(1001)),
        ("bytes", json!(1e3), json!(-1000)),
        ("authorized", json!(true), json!(false)),
        ("address", json!("10.1.2.3"), json!("10.1.2.4")),
        ("address", json!("::ffff:10.1.2.3"), json!("::10.1.2.3")),
        ("ended", json!("2026-01-31T08:30:00.25Z"), json!("2026-01-31T08:30:00Z")),
        ("ended", json!("2026-01-31T10:00:00.250+01:30"), json!("2026-01-31T08:30:00.2500001Z")),
    ];
    for (field, hit, miss) in cases {
        let both = json!([miss, hit]);
        check(field, &[hit.clone(), both.clone()], &[miss.clone(), json!([miss]), json!(null)]);
        check(&format!("{field}[eq]"), &[hit.clone(), both.clone()], &[miss.clone(), json!(null)]);
        check(&format!("{field}[in]"), &[json!([hit]), both.clone()], &[json!([miss]), json!([null])]);
        let ne = format!("{field}[ne]");
        check(&ne, &[miss.clone(), json!([miss]), json!(null)], &[hit.clone(), both, json!([hit, null])]);
    }
}

#[test]
fn parts_and_patterns_are_of_texts_lists_and_addresses() {
    check("name[cn]", &[json!("lly J"), json!(""), json!(["x", "Joe"])], &[json!("joe"), json!(["x", "z"])]);
    check("name[sw]", &[json!("Bil"), json!(["x", "Billy Joe"])], &[json!("bil"), json!("Joe")]);
    check("name[ew]", &[json!("Joe"), json!(["x", "e"])], &[json!("Billy"), json!("JOE")]);
    check("name[glob]", &[json!("Billy*"), json!(["x", "*J?e"])], &[json!("Billy"), json!(r"Billy\*")]);
    check("name[rgx]", &[json!("^B.*e$"), json!("y J"), json!(["x", r"\bJ"])], &[json!("^J"), json!("joe")]);
    check("name[rgx]", &[json!("(?i)JOE")], &[json!("a{2}")]);
    check("pages[cn]", &[json!("larm"), json!("1")], &[json!("p1a"), json!("x")]);
    check("pages[sw]", &[json!("p"), json!("alarms/")], &[json!("1")]);
    check("pages[ew]", &[json!("1"), json!("/2")], &[json!("p")]);
    check("pages[glob]", &[json!("p?"), json!("*/*")], &[json!("?")]);
    check("pages[rgx]", &[json!("^p[0-9]$")], &[json!("^p$")]);
    check("address[sw]", &[json!("10.1.")], &[json!("0.1.")]);
    check("address[ew]", &[json!(".3")], &[json!(".30")]);
    check("address[cn]", &[json!("1.2")], &[json!("/")]);
    check("address[glob]", &[json!("10.*.3")], &[json!("10.*.4")]);
    check("address[rgx]", &[json!(r"^10\.(1|2)\.")], &[json!(":")]);
}

#[test]
fn greater_and_less_are_of_numbers_and_times() {
    check("bytes[gt]", &[json!(999), json!(-1), json!([5000, 1])], &[json!(1000), json!([1000, u64::MAX])]);
    check("bytes[gte]", &[json!(1000)], &[json!(1001)]);
    check("bytes[lt]", &[json!(1001), json!([1, u64::MAX])], &[json!(1000), json!(i64::MIN)]);
    check("bytes[lte]", &[json!(1000)], &[json!(999)]);
    let at = |millis: &str| json!(format!("2026-01-31T08:30:00.{millis}Z"));
    check("ended[gt]", &[at("249"), at("2499")], &[at("250"), at("2501")]);
    check("ended[gte]", &[at("250"), at("249")], &[at("251"), at("2501")]);
    check("ended[lt]", &[at("251"), at("2501")], &[at("250"), at("2499")]);
    check("ended[lte]", &[at("250"), at("251")], &[at("249"), at("2499")]);
    check("ended[lt]", &[json!("2026-01-31T08:00:00-01:00")], &[json!("2026-01-31T09:00:00+01:00")]);
    let before_1970 = Row { ended: Some(-1), ..row("x") };
    check_pairs(&before_1970, &[("ended[eq]", "1969-12-31T23:59:59.999Z")], true);
    check_pairs(&before_1970, &[("ended[gt]", "1969-12-31T23:59:59.9989Z")], true);
    check_pairs(&before_1970, &[("ended[lt]", "1970-01-01T00:00:00Z")], true);
}

#[test]
fn networks_hold_their_addresses() {
    let all = json!("0.0.0.0/0");
    check("address[cidr]", &[json!("10.0.0.0/8"), json!("10.9.9.9/8"), all], &[json!("10.0.0.0/16")]);
    check("address[cidr]", &[json!("10.1.2.3"), json!("::ffff:10.1.2.3")], &[json!("10.1.2.4")]);
    check("address[cidr]", &[json!(["fd00::/8", "10.1.2.2/31"])], &[json!(["fd00::/8", "11.0.0.0/8"])]);
    check("address[cidr]", &[json!("::ffff:10.0.0.0/104")], &[json!("::/0"), json!("::ffff:11.0.0.0/104")]);
    let from = |address: &str| Row { address: address.parse().ok(), ..row("x") };
    check_pairs(&from("fd12::1"), &[("address[cidr]", "fd00::/8")], true);
    check_pairs(&from("fd12::1"), &[("address[cidr]", "fd12::1")], true);
    check_pairs(&from("fd12::1"), &[("address[cidr]", "0.0.0.0/0")], false);
    check_pairs(&from("::ffff:10.1.2.3"), &[("address[cidr]", "10.0.0.0/8")], true);
    check_pairs(&from("::ffff:10.1.2.3"), &[("address", "10.1.2.3")], true);
    let long = "1111:2222:3333:4444:5555:6666:7777:8888";
    check_pairs(&from(long), &[("address[glob]", long)], true);
    check_pairs(&from("::ffff:255.255.255.255"), &[("address[ew]", ".255.255.255")], true);
}

#[test]
fn what_has_no_value_equals_null_and_nothing_else() {
    for (_, field, kind) in &Column::ALL[1..] {
        let holds = |op: &str, wanted: Json| {
            let filter = Filter::from_json(&json!({format!("{field}[{op}]"): wanted}).to_string());
            filter.unwrap().matches(&row("x"))
        };
        assert!(holds("eq", json!(null)) && holds("in", json!([null])) && !holds("ne", json!(null)));
        let wanted = match kind {
            Kind::Text | Kind::Texts => json!("null"),
            Kind::Number => json!(0),
            Kind::Bool => json!(false),
            Kind::Address => json!("0.0.0.0"),
            Kind::Time => json!("1970-01-01T00:00:00Z"),
        };
        assert!(!holds("eq", wanted.clone()) && holds("ne", wanted.clone()), "{field}");
        assert!(holds("eq", json!([wanted, null])) && !holds("ne", json!([wanted, null])), "{field}");
    }
    let nothing =
        [("name[cn]", ""), ("name[glob]", "*"), ("name[rgx]", ""), ("pages[cn]", ""), ("bytes[gte]", "0")];
    for condition in nothing.into_iter().chain([("address[cidr]", "0.0.0.0/0"), ("address[cn]", "")]) {
        check_pairs(&row("x"), &[condition], false);
    }
}

#[test]
fn all_conditions_must_hold_and_none_is_passed_by_all() {
    let both = |bytes: u64| {
        let filter = json!({"name[sw]": "Billy", "bytes[gt]": bytes, "pages": ["p1", "p9"]});
        Filter::from_json(&filter.to_string()).unwrap().matches(&billy())
    };
    assert!(both(999) && !both(1000));
    let empty = Filter::<Column>::from_json("{}").unwrap();
    assert!(empty.is_empty() && empty.matches(&billy()) && Filter::default().matches(&billy()));
    assert!(!Filter::<Column>::from_json(r#"{"id":"x"}"#).unwrap().is_empty());
}

#[test]
fn a_query_gives_values_again_and_as_text() {
    let billy = billy();
    check_pairs(&billy, &[("bytes[gt]", "999"), ("authorized", "true")], true);
    check_pairs(&billy, &[("bytes[gt]", "999"), ("authorized", "false")], false);
    check_pairs(&billy, &[("id[in]", "x"), ("bytes", "1000"), ("id[in]", "d-1")], true);
    check_pairs(&billy, &[("id", "x"), ("id[eq]", "d-1")], true);
    check_pairs(&billy, &[("id[ne]", "x"), ("id[ne]", "d-1")], false);
    check_pairs(&billy, &[("name[cn]", "a,Joe")], false);
    check_pairs(&billy, &[("bytes", "null")], false);
    check_pairs(&row("x"), &[("bytes", "null"), ("address", "null"), ("ended", "null")], true);
    check_pairs(&row("x"), &[("name", "null")], false);
    check_pairs(&Row { name: Some("null".into()), ..row("x") }, &[("name", "null")], true);
}

#[track_caller]
fn fails(filter: &Json, expected: &str) {
    assert_eq!(Filter::<Column>::from_json(&filter.to_string()).unwrap_err().to_string(), expected);
}

#[track_caller]
fn fails_pair(key: &str, value: &str, expected: &str) {
    assert_eq!(Filter::<Column>::from_pairs([(key, value)]).unwrap_err().to_string(), expected);
}

#[test]
fn what_is_no_filter_says_so() {
    let none = "filter must be a JSON object of conditions";
    for wrong in [json!([]), json!("name"), json!(null), json!(1)] {
        fails(&wrong, none);
    }
    let broken = Filter::<Column>::from_json("{").unwrap_err().to_string();
    assert!(broken.starts_with(&format!("{none}: EOF")), "{broken}");
    let twice = Filter::<Column>::from_json(r#"{"id":"a","id[eq]":"b"}"#).unwrap_err();
    assert_eq!(twice.to_string(), "id[eq] is given twice");
    let deep = format!("{{\"id\":{}", "[".repeat(10_000));
    assert!(Filter::<Column>::from_json(&deep).is_err());
}

#[test]
fn a_key_that_is_none_lists_those_that_are() {
    let known = "known: id, name, pages, bytes, authorized, address, ended";
    fails(&json!({"nme[eq]": 1}), &format!("unknown field \"nme\" in filter; {known}"));
    fails(&json!({"": 1}), &format!("unknown field \"\" in filter; {known}"));
    let long = "x".repeat(64);
    fails(&json!({format!("{long}yz"): 1}), &format!("unknown field \"{long}\" in filter; {known}"));
    fails(
        &json!({"\u{202e}\u{1b}": 1}),
        &format!("unknown field \"\\u{{202e}}\\u{{1b}}\" in filter; {known}"),
    );
    fails_pair("NAME[eq]", "x", "unknown field \"NAME\" in filter: it is written name");
    for key in ["name[eq", "name[eq]x", "name["] {
        fails_pair(key, "x", &format!("a condition is written field[op], not {key:?}"));
    }
    let text = "eq, ne, cn, sw, ew, rgx, in, glob";
    fails_pair("name[like]", "x", &format!("unknown operator \"like\" for name, which takes {text}"));
    fails_pair("name[]", "x", &format!("unknown operator \"\" for name, which takes {text}"));
    fails_pair("name[EQ]", "x", &format!("unknown operator \"EQ\" for name, which takes {text}"));
    fails_pair("name[gt]", "x", &format!("gt does not fit name: a text takes {text}"));
    fails_pair("pages[cidr]", "x", &format!("cidr does not fit pages: a list of texts takes {text}"));
    let number = "eq, ne, gt, gte, lt, lte, in";
    fails_pair("bytes[rgx]", "x", &format!("rgx does not fit bytes: a number takes {number}"));
    fails_pair("ended[sw]", "x", &format!("sw does not fit ended: a time takes {number}"));
    fails_pair("authorized[gt]", "x", "gt does not fit authorized: a boolean takes eq, ne, in");
    let address = "an address takes eq, ne, cn, sw, ew, rgx, in, cidr, glob";
    fails_pair("address[lt]", "x", &format!("lt does not fit address: {address}"));
}

#[test]
fn a_value_of_the_wrong_kind_says_what_it_must_be() {
    fails(&json!({"name": 1}), "name[eq] must be a string, not 1");
    fails(&json!({"name[cn]": null}), "name[cn] must be a string, not null");
    fails(&json!({"pages[in]": ["a", ["b"]]}), "pages[in] must be a string, not an array");
    fails(&json!({"name[glob]": {"a": 1}}), "name[glob] must be a string, not an object");
    for (wrong, shown) in [(json!("1000"), "\"1000\""), (json!(1.5), "1.5"), (json!(1e300), "1e+300")] {
        fails(&json!({"bytes[gt]": wrong}), &format!("bytes[gt] must be a whole number, not {shown}"));
    }
    fails(&json!({"bytes[lt]": null}), "bytes[lt] must be a whole number, not null");
    fails_pair("bytes[gt]", "1k", "bytes[gt] must be a whole number, not \"1k\"");
    fails_pair("bytes[gt]", "null", "bytes[gt] must be a whole number, not \"null\"");
    fails_pair(
        "bytes",
        "99999999999999999999",
        "bytes[eq] must be a whole number, not \"99999999999999999999\"",
    );
    fails(&json!({"authorized": "true"}), "authorized[eq] must be true or false, not \"true\"");
    fails_pair("authorized", "yes", "authorized[eq] must be true or false, not \"yes\"");
    fails_pair("address", "10.0.0.0/8", "address[eq] must be an IP address, not \"10.0.0.0/8\"");
    let network = "address[cidr] must be an IP address or a network such as 10.0.0.0/8, not";
    fails_pair("address[cidr]", "10.0.0.0/33", &format!("{network} \"10.0.0.0/33\""));
    fails(&json!({"address[cidr]": 10}), &format!("{network} 10"));
    let rfc3339 = "must be an RFC 3339 time such as 2026-01-31T08:30:00Z, not";
    fails_pair("ended[gt]", "2026-01-31", &format!("ended[gt] {rfc3339} \"2026-01-31\""));
    fails(&json!({"ended": 1_769_848_200_000_i64}), &format!("ended[eq] {rfc3339} 1769848200000"));
    fails(&json!({"id[in]": "a"}), "id[in] takes an array");
    fails(&json!({"id[ne]": []}), "id[ne] needs at least one value");
    let not_regex = "name[rgx] must be a regular expression, not";
    fails_pair("name[rgx]", "a(b", &format!("{not_regex} \"a(b\": unclosed group"));
    fails_pair("name[rgx]", r"(a)\1", &format!("{not_regex} \"(a)\\\\1\": backreferences are not supported"));
}

#[test]
fn every_size_has_a_limit() {
    let columns = ["id", "name", "pages", "address"];
    let ops = ["eq", "ne", "cn", "sw", "ew", "in", "glob", "rgx"];
    let keys: Vec<_> = columns.iter().flat_map(|field| ops.map(|op| format!("{field}[{op}]"))).collect();
    assert_eq!(keys.len(), MAX_CONDITIONS);
    let mut filter: Map<_, _> = keys.into_iter().map(|key| (key, json!(["10.0.0.1"]))).collect();
    assert!(Filter::<Column>::from_json(&json!(filter).to_string()).is_ok());
    filter.insert("bytes".to_owned(), json!(1));
    fails(&json!(filter), "a filter has at most 32 conditions");

    let values = |n: usize| json!({"bytes[in]": (0..n).collect::<Vec<_>>()});
    assert!(Filter::<Column>::from_json(&values(1000).to_string()).is_ok());
    fails(&values(1001), "bytes[in] has at most 1000 values");
    let pairs = vec![("id", "x"); 1001];
    let error = Filter::<Column>::from_pairs(pairs).unwrap_err();
    assert_eq!(error.to_string(), "id[eq] has at most 1000 values");

    for op in ["glob", "rgx"] {
        let pattern = |n| json!({format!("name[{op}]"): "é".repeat(n)});
        assert!(Filter::<Column>::from_json(&pattern(1024).to_string()).is_ok());
        fails(&pattern(1025), &format!("a pattern of name[{op}] has at most 1024 characters, not 1025"));
    }
    let many = |op: &str, pattern: &str, n: usize| json!({format!("name[{op}]"): vec![pattern; n]});
    assert!(Filter::<Column>::from_json(&many("rgx", "x", 8).to_string()).is_ok());
    fails(&many("rgx", "x", 9), "a filter has at most 8 rgx patterns in all");
    let half = "?".repeat(1024);
    assert!(Filter::<Column>::from_json(&many("glob", &half, 8).to_string()).is_ok());
    let in_all = "the glob patterns of a filter have at most 8192 characters in all";
    fails(&many("glob", &half, 9), in_all);
}

#[test]
fn a_hostile_regular_expression_is_refused_or_stays_cheap() {
    let began = Instant::now();
    for pattern in ["(a{1000}){1000}", r"\pL{1000}", "((a{0,1000}){0,1000}){0,1000}", r"(?i)\w{1000}"] {
        let too_large = "name[rgx] is too large a pattern: ";
        let expected = format!("{too_large}{pattern:?} needs more than 512 KiB");
        fails(&json!({"name[rgx]": pattern}), &expected);
    }
    let classes = r"\pL\pN".repeat(170);
    assert!(Filter::<Column>::from_json(&json!({"name[rgx]": classes}).to_string()).is_err());
    let nested = "(".repeat(500) + &")".repeat(500);
    assert!(Filter::<Column>::from_json(&json!({"name[rgx]": nested}).to_string()).is_err());
    let hostile = Row { name: Some("a".repeat(512) + "!"), ..row("x") };
    for pattern in
        ["^(a+)+$", "^(a|aa)+$", "^(.*?,){11}P", "(a?){100}a{100}$", r"^[\w.]+@([\w-]+\.)+\w{2,6}$"]
    {
        check_pairs(&hostile, &[("name[rgx]", pattern)], false);
    }
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}
