//! The language against a plain reading of its definition, on JSON.

use proptest::{collection::vec, option, prelude::*, sample::select};
use regex::Regex;

use super::*;

/// What the protocol says of one condition, on the JSON of a row; a value at a time.
fn by_definition(row: &Json, field: &str, op: &str, wanted: &[Json]) -> bool {
    let have = &row[field];
    let each: Vec<_> = match have {
        Json::Array(texts) if texts.is_empty() => vec![&Json::Null],
        Json::Array(texts) => texts.iter().collect(),
        have => vec![have],
    };
    let any = |op: &str| each.iter().any(|have| wanted.iter().any(|wanted| one(field, have, op, wanted)));
    if op == "ne" { !any("eq") } else { any(op) }
}

fn one(field: &str, have: &Json, op: &str, wanted: &Json) -> bool {
    let address = |json: &Json| match json.as_str().unwrap().parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    if have.is_null() || wanted.is_null() {
        return have == wanted && matches!(op, "eq" | "in");
    }
    let text = || (have.as_str().unwrap(), wanted.as_str().unwrap());
    let order = || match field {
        "ended" => time(have.as_str().unwrap()).cmp(&time(wanted.as_str().unwrap())),
        _ => have.as_i64().unwrap().cmp(&wanted.as_i64().unwrap()),
    };
    match op {
        "eq" | "in" if field == "address" => address(have) == address(wanted),
        "eq" | "in" if field == "ended" => order().is_eq(),
        "eq" | "in" => have == wanted,
        "gt" => order().is_gt(),
        "gte" => order().is_ge(),
        "lt" => order().is_lt(),
        "lte" => order().is_le(),
        "cn" => text().0.contains(text().1),
        "sw" => text().0.starts_with(text().1),
        "ew" => text().0.ends_with(text().1),
        "rgx" => Regex::new(text().1).unwrap().is_match(text().0),
        "glob" => {
            let escaped = regex::escape(text().1).replace(r"\*", ".*").replace(r"\?", ".");
            Regex::new(&format!("(?s)^{escaped}$")).unwrap().is_match(text().0)
        }
        "cidr" => {
            let (network, prefix) = text().1.split_once('/').unwrap_or((text().1, ""));
            let bits = if network.contains(':') { 128 } else { 32 };
            let free = bits - prefix.parse().unwrap_or(bits);
            (address(have) ^ address(&json!(network))) >> free == 0
        }
        op => panic!("{op}"),
    }
}

fn rows() -> impl Strategy<Value = Row> {
    let addresses = select(vec!["10.0.0.1", "10.0.1.1", "::ffff:10.0.0.1", "fd00::1", "::1"]);
    (
        option::weighted(0.8, "[abA. *☃]{0,4}"),
        vec("[ab]{0,2}", 0..3),
        option::weighted(0.8, 0..5_u64),
        option::weighted(0.8, any::<bool>()),
        option::weighted(0.8, addresses),
        option::weighted(0.8, -2..3_i64),
    )
        .prop_map(|(name, pages, bytes, authorized, address, ended)| Row {
            id: "x".into(),
            name,
            pages,
            bytes,
            authorized,
            address: address.map(|address| address.parse().unwrap()),
            ended,
        })
}

fn as_json(row: &Row) -> Json {
    let Row { id, name, pages, bytes, authorized, address, ended } = row;
    json!({"id": id, "name": name, "pages": pages, "bytes": bytes, "authorized": authorized,
        "address": address, "ended": ended.map(rfc3339)})
}

/// A condition that can be read, as `field`, `op` and its values.
fn conditions() -> impl Strategy<Value = (&'static str, Op, Vec<Json>)> {
    let fitting = |(_, name, kind): &(Column, &'static str, Kind)| {
        let (name, kind) = (*name, *kind);
        Op::ALL.into_iter().filter(move |op| op.fits(kind)).map(move |op| (name, kind, op))
    };
    let all: Vec<_> = Column::ALL.iter().flat_map(fitting).collect();
    select(all).prop_flat_map(|(name, kind, op)| {
        let text = || "[abA.☃]{0,2}".prop_map(Json::from).boxed();
        let scalar = match (op, kind) {
            (Op::Cidr, _) => {
                let networks = ["10.0.0.0/24", "10.0.0.1", "fd00::/8", "::ffff:10.0.0.0/119", "::1/128"];
                select(networks.map(Json::from).to_vec()).boxed()
            }
            (Op::Glob, _) => "[ab1.:*?]{0,4}".prop_map(Json::from).boxed(),
            (Op::Rgx, _) => r"\^?(a|b|\.|1|[ab]\*|\(a\|b\)){1,3}\$?".prop_map(Json::from).boxed(),
            (Op::Cn | Op::Sw | Op::Ew, _) => "[ab1.:]{0,2}".prop_map(Json::from).boxed(),
            (_, Kind::Text | Kind::Texts) => text(),
            (_, Kind::Number) => (-1..6_i64).prop_map(Json::from).boxed(),
            (_, Kind::Bool) => any::<bool>().prop_map(Json::from).boxed(),
            (_, Kind::Address) => {
                select(["10.0.0.1", "::ffff:10.0.1.1", "fd00::1"].map(Json::from).to_vec()).boxed()
            }
            (_, Kind::Time) => (-3..4_i64).prop_map(|ms| Json::from(rfc3339(ms))).boxed(),
        };
        let nullable = matches!(op, Op::Eq | Op::Ne | Op::In);
        let scalar = (scalar, prop::bool::weighted(0.1))
            .prop_map(move |(scalar, null)| if null && nullable { Json::Null } else { scalar });
        (Just(name), Just(op), vec(scalar, 1..4))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_agrees_with_the_definition(row in rows(), conditions in vec(conditions(), 0..3)) {
        let mut filter = Map::new();
        for (field, op, values) in &conditions {
            filter.insert(format!("{field}[{op}]"), json!(values));
        }
        let json = as_json(&row);
        let expected = filter.iter().all(|(key, values)| {
            let (field, op) = key.trim_end_matches(']').split_once('[').unwrap();
            by_definition(&json, field, op, values.as_array().unwrap())
        });
        let read = Filter::from_json(&json!(filter).to_string()).unwrap();
        prop_assert_eq!(read.matches(&row), expected, "{}", json!(filter));

        // A query cannot say null where a text is expected; elsewhere it says the same.
        let is_text = |key: &str| ["id", "name", "pages"].iter().any(|field| key.starts_with(field));
        let sayable = filter.iter().all(|(key, values)| {
            !is_text(key) || !values.as_array().unwrap().contains(&Json::Null)
        });
        if sayable {
            let pairs = filter.iter().flat_map(|(key, values)| {
                let said = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                values.as_array().unwrap().iter().map(move |value| (key, said(value)))
            });
            prop_assert_eq!(Filter::from_pairs(pairs).unwrap().matches(&row), expected, "{}", json!(filter));
        }
    }

    #[test]
    fn whatever_is_sent_is_read_or_refused(
        key in r"(id|name|pages|bytes|authorized|address|ended|\PC{0,4})(\[(eq|ne|gt|cidr|rgx|glob|\PC{0,3})\]?)?",
        value in r"\PC{0,12}|[0-9.:/T+-]{0,25}",
    ) {
        if let Ok(filter) = Filter::from_pairs([(&key, &value)]) {
            filter.matches(&billy());
        }
        if let Ok(filter) = Filter::from_json(&json!({key: value}).to_string()) {
            filter.matches(&billy());
        }
    }
}
