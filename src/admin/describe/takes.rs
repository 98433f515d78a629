//! Schemas of what is written in a language of its own: filters, orders, searches, names of fields. They come from the
//! very tables by which it is read.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::{
    admin::{
        history,
        item::{Column, Fields},
    },
    session::{
        Glob,
        filter::{
            Field, Kind, MAX_CONDITIONS, MAX_REGEXES, MAX_SEARCH_CHARS, MAX_SEARCH_TERMS, MAX_VALUES, Op,
        },
    },
};

/// What Unicode calls white space, in a regular expression: `\s` is something else in every language.
const SPACE: &str = r"\t-\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000";

/// How the values of a filter are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// As JSON, in one object.
    Json,
    /// As text, in the query of a URL, where a name may come again.
    Query,
}

/// Makes a type that stands for a schema.
macro_rules! stands_for {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        pub(in crate::admin) enum $name {}

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

stands_for!(
    /// The filter of live sessions, in JSON.
    LiveFilter,
    filter::<Column>(Written::Json)
);
stands_for!(
    /// The same in a URL.
    LiveFilterInQuery,
    filter::<Column>(Written::Query)
);
stands_for!(
    /// The filter of ended sessions, in JSON.
    EndedFilter,
    filter::<history::Column>(Written::Json)
);
stands_for!(
    /// The same in a URL.
    EndedFilterInQuery,
    filter::<history::Column>(Written::Query)
);
stands_for!(
    /// The order of a list.
    LiveOrder,
    order::<Column>()
);
stands_for!(
    /// A key of an item.
    LiveField,
    json_schema!({"type": "string", "enum": Fields::all().iter().map(|(_, name)| name).collect::<Vec<_>>()})
);
stands_for!(
    /// The terms of a search.
    Search,
    json_schema!({
        "type": "string",
        "maxLength": MAX_SEARCH_CHARS,
        // As many words at the most, whatever is between them.
        "pattern": format!("^[{SPACE}]*([^{SPACE}]+[{SPACE}]+){{0,{}}}([^{SPACE}]+[{SPACE}]*)?$", MAX_SEARCH_TERMS - 1),
    })
);

fn filter<F: Field>(written: Written) -> Schema {
    let mut kinds: Vec<Kind> = Vec::new();
    for (_, _, kind) in F::ALL {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    let mut patterns = Map::new();
    for kind in kinds {
        let fields: Vec<_> = F::ALL.iter().filter(|field| field.2 == kind).map(|field| field.1).collect();
        let fields = fields.join("|");
        for (values, operators) in operators(kind, written) {
            let names: Vec<_> = operators.iter().map(|op| op.name()).collect();
            // A field alone is asked for with `eq`.
            let optional = if operators.contains(&Op::Eq) { "?" } else { "" };
            patterns.insert(format!(r"^({fields})(\[({})\]){optional}$", names.join("|")), values);
        }
    }
    json_schema!({
        "description": "Conditions that must all hold: `field[op]` and the value wanted, or several of which any will \
                        do. `field` alone is `field[eq]`.",
        "type": "object",
        "patternProperties": patterns,
        "additionalProperties": false,
        "maxProperties": MAX_CONDITIONS,
    })
}

/// The operators of a kind of fields, those together that take the same values.
fn operators(kind: Kind, written: Written) -> Vec<(Value, Vec<Op>)> {
    let mut found: Vec<(Value, Vec<Op>)> = Vec::new();
    for op in kind.operators() {
        let values = values(op, kind, written);
        match found.iter_mut().find(|(known, _)| *known == values) {
            Some((_, operators)) => operators.push(op),
            None => found.push((values, vec![op])),
        }
    }
    found
}

/// One value, or several of which any will do.
fn values(op: Op, kind: Kind, written: Written) -> Value {
    let mut one = value(op, kind);
    let is_word = written == Written::Query && matches!(op, Op::Cn | Op::Sw | Op::Ew | Op::Glob | Op::Rgx);
    // Where a text is wanted, `null` in a URL is a word like any other.
    if is_word || matches!(op, Op::Eq | Op::Ne | Op::In) {
        one = json!({"anyOf": [one, {"type": "null"}]});
    }
    let most = if op == Op::Rgx { MAX_REGEXES } else { MAX_VALUES };
    // In a URL, no values are no condition.
    let least = u8::from(written == Written::Json);
    let several = json!({"type": "array", "items": one, "minItems": least, "maxItems": most});
    if op == Op::In && written == Written::Json { several } else { json!({"anyOf": [one, several]}) }
}

fn value(op: Op, kind: Kind) -> Value {
    let address = || json!({"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]});
    match op {
        Op::Eq | Op::Ne | Op::In | Op::Gt | Op::Gte | Op::Lt | Op::Lte => match kind {
            Kind::Text | Kind::Texts => json!({"type": "string"}),
            Kind::Number => json!({"type": "integer", "format": "int64"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::Address => address(),
            Kind::Time => json!({"type": "string", "format": "date-time"}),
        },
        Op::Cn | Op::Sw | Op::Ew => json!({"type": "string"}),
        Op::Glob => json!({
            "type": "string",
            "maxLength": Glob::MAX_CHARS,
            "description": "`*` is any run, `?` any one character; `\\` takes the next as it is.",
        }),
        Op::Rgx => json!({
            "type": "string",
            "format": "regex",
            "maxLength": Glob::MAX_CHARS,
            "description": "A regular expression of the Rust crate regex: linear time, without look-around.",
        }),
        Op::Cidr => json!({
            "type": "string",
            "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}, {"pattern": network()}],
            "description": "A network such as `10.0.0.0/8`; an address is the network of itself alone.",
        }),
    }
}

/// A regular expression for networks: there is no format for that.
fn network() -> String {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let group = "[0-9A-Fa-f]{1,4}";
    let mut v6 = vec![
        format!("({group}:){{7}}{group}"),
        format!("({group}:){{1,7}}:"),
        format!(":(:{group}){{1,7}}"),
        "::".to_owned(),
    ];
    // With `::` somewhere in the midst.
    v6.extend((1..=6).map(|after| format!("({group}:){{1,{}}}(:{group}){{1,{after}}}", 7 - after)));
    let v6 = v6.join("|");
    format!(r"^({byte}(\.{byte}){{3}}/(3[0-2]|[12]?[0-9])|({v6})/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))$")
}

fn order<F: Field>() -> Schema {
    let has_order = |field: &&(F, &'static str, Kind)| field.2 != Kind::Texts;
    let fields: Vec<_> = F::ALL.iter().filter(has_order).map(|field| field.1).collect();
    json_schema!({
        "type": "string",
        "pattern": format!(r"^([{SPACE}]*(asc|desc)\([{SPACE}]*({})[{SPACE}]*\)[{SPACE}]*)?$", fields.join("|")),
        "examples": ["desc(id)"],
    })
}
