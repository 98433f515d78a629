//! Schemas and examples of the rows that a hand-made encoder writes, from the table of columns that it goes by.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::{
    admin::{
        item::{Column, Fields, NODE, ShownPage},
        listing::DESIGNER_KEYS,
    },
    session::{
        SUBPROTOCOL, SessionInfo,
        filter::{Field, Kind},
    },
};

/// A live session as `listSessions` shows it, with all its keys.
pub(super) enum Item {}

/// The same with those keys alone that were asked for.
pub(super) enum SomeOfItem {}

/// A designer as Ignition shows it.
pub(super) enum Designer {}

impl JsonSchema for Item {
    fn schema_name() -> Cow<'static, str> {
        "Session".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = SomeOfItem::json_schema(generator);
        let names: Vec<_> = Fields::all().iter().map(|(_, name)| name).collect();
        schema.insert("description".to_owned(), "A live session.".into());
        schema.insert("required".to_owned(), names.into());
        schema
    }
}

impl JsonSchema for SomeOfItem {
    fn schema_name() -> Cow<'static, str> {
        "SessionFields".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let properties: Map<_, _> = Fields::all()
            .iter()
            .map(|(column, name)| (name.to_owned(), property(column, name, generator)))
            .collect();
        json_schema!({
            "description": "A live session, with those keys alone that were asked for.",
            "type": "object",
            "properties": properties,
        })
    }
}

impl JsonSchema for Designer {
    fn schema_name() -> Cow<'static, str> {
        "Designer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let named = |column: Column| Fields::all().iter().find(|(known, _)| *known == column);
        let properties = DESIGNER_KEYS.map(|(key, column)| {
            let property = match column.and_then(named) {
                Some((column, name)) => property(column, name, generator),
                None => json!({"type": "null", "description": "Always null: only a gateway knows it."}),
            };
            (key.to_owned(), property)
        });
        json_schema!({
            "description": "A session of scope designer, as Ignition shows it.",
            "type": "object",
            "properties": Map::from_iter(properties),
            "required": DESIGNER_KEYS.map(|(key, _)| key),
        })
    }
}

/// One value of a row: as [`SessionInfo`] has it, if it is one of its thirteen.
fn property(column: Column, name: &str, generator: &mut SchemaGenerator) -> Value {
    let info = SessionInfo::json_schema(generator);
    if let Some(property) = info.get("properties").and_then(|properties| properties.get(name)) {
        return property.clone();
    }
    let kind = Column::ALL.iter().find(|(known, _, _)| *known == column).map(|(_, _, kind)| *kind);
    let mut schema = match kind {
        Some(Kind::Text) => json_schema!({"type": "string"}),
        Some(Kind::Texts) => json_schema!({"type": "array", "items": {"type": "string"}}),
        Some(Kind::Number) => json_schema!({"type": "integer", "format": "uint64", "minimum": 0}),
        Some(Kind::Bool) => json_schema!({"type": "boolean"}),
        Some(Kind::Address) => json_schema!({"type": "string", "format": "ip"}),
        Some(Kind::Time) => json_schema!({"type": "string", "format": "date-time"}),
        None => Vec::<ShownPage>::json_schema(generator),
    };
    let (is_nullable, says) = about(column);
    if is_nullable {
        schema = json_schema!({"anyOf": [schema, {"type": "null"}]});
    }
    schema.insert("description".to_owned(), says.into());
    schema.to_value()
}

/// Whether a column may be null, and what it holds; those of [`SessionInfo`] are described there.
fn about(column: Column) -> (bool, &'static str) {
    match column {
        Column::UserAgent
        | Column::Id
        | Column::Username
        | Column::Project
        | Column::Uptime
        | Column::ClientAddress
        | Column::LastComm
        | Column::SessionScope
        | Column::ActivePages
        | Column::RecentBytesSent
        | Column::TotalBytesSent
        | Column::PageIds
        | Column::Authorized => (false, ""),
        Column::Connected => (false, "Whether it has a connection; false while it waits to be resumed."),
        Column::Connections => (false, "How many connections it has."),
        Column::ConnectedAt => (false, "When the session began."),
        Column::LastCommAt => (false, "When anything last came from the client."),
        Column::LastActivity => {
            (true, "Milliseconds since the user last did something, as `activity` messages tell.")
        }
        Column::BytesReceived => (false, "Payload bytes delivered to the client."),
        Column::MessagesSent => (false, "How many messages came from the client."),
        Column::BytesPerSecond => {
            (false, "Payload bytes a second of messages from the client, an average of the last 10 seconds.")
        }
        Column::RttMs => (true, "How long the last ping took that was answered, in milliseconds."),
        Column::Pages => (false, "The open pages, in the order opened."),
        Column::Node => (false, "The server that holds the session."),
        Column::Subprotocol => {
            (true, "`headcount.v1` if any of its connections speaks it, so that sendMessage can reach it.")
        }
        Column::PeerAddress => (
            false,
            "The address, without port, of whoever made its first connection: the client, or the proxy before this \
             server.",
        ),
    }
}

/// An item with these keys, as the server wrote it once.
pub(super) fn example(fields: &Fields) -> Value {
    fields.iter().map(|(column, name)| (name.to_owned(), example_value(column))).collect::<Map<_, _>>().into()
}

pub(super) fn example_value(column: Column) -> Value {
    match column {
        Column::UserAgent => json!("Mozilla/5.0 (X11; Linux x86_64) Chrome/126.0.0.0"),
        Column::Id => json!("42dacef9-563e-4981-99f8-4bad27f57fed"),
        Column::Username => json!("billy"),
        Column::Project => json!("plant"),
        Column::Uptime => json!(4_600),
        Column::ClientAddress | Column::PeerAddress => json!("192.0.2.7"),
        Column::LastComm => json!(97),
        Column::SessionScope => json!("browser"),
        Column::ActivePages | Column::Connections => json!(1),
        Column::RecentBytesSent => json!(5),
        Column::TotalBytesSent => json!(1_018),
        Column::PageIds => json!(["p1"]),
        Column::Authorized => json!(false),
        Column::Connected => json!(true),
        Column::ConnectedAt => json!("2026-01-31T08:30:00.000Z"),
        Column::LastCommAt => json!("2026-01-31T08:30:04.503Z"),
        Column::LastActivity | Column::RttMs => Value::Null,
        Column::BytesPerSecond => json!(221),
        Column::Subprotocol => json!(SUBPROTOCOL),
        Column::BytesReceived => json!(0),
        Column::MessagesSent => json!(3),
        Column::Pages => json!([
            {"id": "p1", "path": "/alarms", "connected": true, "openedAt": "2026-01-31T08:30:00.000Z"}
        ]),
        Column::Node => json!(NODE),
    }
}

/// The answer to `getStats`, as a server of one session wrote it once.
pub(super) fn stats_example() -> Value {
    let one = |key: &str, name: &str| {
        json!({
            "distinct": 1,
            "items": [{key: name, "sessions": 1}],
            "others": {"distinct": 0, "sessions": 0},
        })
    };
    json!({
        "takenAt": "2026-01-31T08:30:04.600Z", "startedAt": "2026-01-31T08:29:58.012Z", "uptime": 6_588,
        "project": null,
        "sessions": {
            "live": 1, "connected": 1, "lingering": 0, "authorized": 0, "unauthenticated": 0, "peak": 2,
            "begun": 2, "ended": 1, "endedByReason": {"closed": 1, "lost": 0},
        },
        "byScope": [{"scope": "browser", "live": 1, "connected": 1, "lingering": 0}],
        "byProject": one("project", "plant"),
        "byUser": one("username", "billy"),
        "traffic": {"messagesSent": 3, "totalBytesSent": 1_018, "messagesReceived": 0, "bytesReceived": 0},
        "rates": null,
        "connections": {
            "accepted": 3, "arriving": 0, "refused": 1, "dropped": 0, "upgraded": 2, "open": 1, "closed": 1,
            "peak": 2, "refusedByReason": {"bad_parameter": 1}, "droppedByReason": {}, "closedByReason": {"closed": 1},
        },
        "watches": {"live": 1, "begun": 1, "ended": 0, "groups": 1, "notifications": 3, "resyncs": 0},
        "residentBytes": 9_437_184,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::schemas::Schemas;

    #[test]
    fn what_session_info_has_is_what_the_table_says() {
        let mut schemas = Schemas::openapi();
        schemas.written::<SessionInfo>();
        let components = schemas.into_components();
        let info = &components["SessionInfo"];
        let names: Vec<_> = Fields::session_info().iter().map(|(_, name)| name).collect();
        assert_eq!(info["required"], json!(names), "the same keys in the same order");
        for (_, name, kind) in Column::ALL {
            let Some(property) = info["properties"].get(name) else { continue };
            let expected = match kind {
                Kind::Text | Kind::Address | Kind::Time => json!("string"),
                Kind::Texts => json!("array"),
                Kind::Number => json!("integer"),
                Kind::Bool => json!("boolean"),
            };
            let is_scope = property.pointer("/$ref") == Some(&json!("#/components/schemas/SessionScope"));
            assert!(is_scope || property["type"] == expected, "{name}: {property}");
        }
    }

    #[test]
    fn every_column_is_described() {
        let mut schemas = Schemas::openapi();
        schemas.written::<Item>();
        let components = schemas.into_components();
        let properties = components["Session"]["properties"].as_object().unwrap();
        assert_eq!(properties.len(), Fields::all().iter().count());
        for (name, property) in properties {
            assert!(
                property["description"].as_str().is_some_and(|says| says.len() > 10),
                "{name}: {property}"
            );
        }
    }
}
