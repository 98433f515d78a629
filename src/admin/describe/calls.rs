//! Every method of JSON-RPC: what it takes and what it answers. An entry for a method.

use serde_json::{Value, json};

use super::{
    items::{self, Item, SomeOfItem},
    text::list,
};
use crate::{
    admin::{
        actions::{ClosePage, CloseSession, Delivered, SendMessage, Terminated},
        calls::{NoParameters, needed},
        history::{self, GetHistory},
        item::Fields,
        listing::{Items, ListSessions, Metadata},
        methods::SessionInfoFilters,
        nodes, rpc,
        stats::Stats,
        watch::{ClosedItem, UnwatchSessions, WatchSessions},
    },
    config::tokens::Scope,
    edge::schemas::Schemas,
    session::{Glob, SessionInfo},
};

/// The component that is any request, or a batch of them.
pub(super) const REQUEST: &str = "RpcRequests";
/// The component that is any answer, or those of a batch.
pub(super) const ANSWER: &str = "RpcAnswers";
/// The component that is an answer without a result.
pub(super) const ERROR: &str = "RpcError";

/// What a method takes and answers.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) says: &'static str,
    /// Its parameters, by position or by name.
    takes: fn(&mut Schemas) -> Value,
    answers: fn(&mut Schemas) -> Value,
    /// Parameters, and what is answered to them.
    example: fn() -> (Value, Value),
}

/// Every method.
pub(super) const CALLS: &[Call] = &[
    Call {
        name: "getSessionInfo",
        summary: "The live sessions, as a plain array",
        says: "In no particular order, `[]` if nothing matches.",
        takes: session_info_filters,
        answers: |schemas| schemas.written::<Vec<SessionInfo>>(),
        example: || (json!(["bil*", "plant"]), json!([items::example(&Fields::session_info())])),
    },
    Call {
        name: "listSessions",
        summary: "The live sessions: filtered, searched, sorted, in pages",
        says: "With a `snapshotId` further pages show the very same list, none twice and none missed.",
        takes: |schemas| by_name(&schemas.read::<ListSessions>()),
        answers: |schemas| {
            let item = json!({"anyOf": [schemas.written::<Item>(), schemas.written::<SomeOfItem>()]});
            let metadata = schemas.written::<Metadata<'_>>();
            json!({
                "type": "object",
                "properties": {"items": {"type": "array", "items": item}, "metadata": metadata},
                "required": ["items", "metadata"],
            })
        },
        example: || {
            let asked = json!({"filter": {"username[sw]": "bil"}, "sortBy": "desc(uptime)", "limit": 10});
            (asked, super::routes::list_example(10))
        },
    },
    Call {
        name: "watchSessions",
        summary: "The live sessions, and from then on what changes",
        says: "On the WebSocket alone. What changes comes as `sessionsChanged`, at most every `intervalMs`: take out \
               what is closed, then put in what is opened and changed. Whoever is too slow gets one `resync`.",
        takes: |schemas| by_name(&schemas.read::<WatchSessions>()),
        answers: |schemas| {
            let mut answer = watched(schemas, &["watchId", "revision", "items", "metadata"]);
            answer["properties"]["metadata"] = json!({
                "type": "object",
                "properties": {
                    "total": {"type": "integer"}, "matching": {"type": "integer"},
                    "intervalMs": {"type": "integer"}, "takenAt": {"type": "string", "format": "date-time"},
                    "complete": {"type": "boolean"},
                    "nodes": {"type": "array", "items": {"type": "object"}},
                },
                "required": ["total", "matching", "intervalMs", "takenAt", "complete", "nodes"],
            });
            answer
        },
        example: || {
            let mut list = super::routes::list_example(100);
            let metadata = json!({
                "total": 1, "matching": 1, "intervalMs": 1_000, "takenAt": list["metadata"]["takenAt"],
                "complete": true, "nodes": list["metadata"]["nodes"],
            });
            let items = list["items"].take();
            let answer = json!({"watchId": "w1", "revision": 1, "items": items, "metadata": metadata});
            (json!({"filter": {"project": "plant"}}), answer)
        },
    },
    Call {
        name: "unwatchSessions",
        summary: "Ends a watch",
        says: "Nothing is told of it any more.",
        takes: |schemas| by_name(&schemas.read::<UnwatchSessions>()),
        answers: |_| json!({"type": "object", "properties": {"watchId": {"type": "string"}}, "required": ["watchId"]}),
        example: || (json!({"watchId": "w1"}), json!({"watchId": "w1"})),
    },
    Call {
        name: "getNodes",
        summary: "The servers that answer together",
        says: "This one alone.",
        takes: |schemas| by_name(&schemas.read::<NoParameters>()),
        answers: |schemas| schemas.written::<Vec<nodes::Node>>(),
        example: || (json!({}), nodes_example()),
    },
    Call {
        name: "getHistory",
        summary: "Sessions that have ended, the newest first",
        says: "Out of the last `--max-ended`, with the reason and the final totals.",
        takes: |schemas| by_name(&schemas.read::<GetHistory>()),
        answers: |schemas| schemas.written::<Items<history::Item<'_>, history::Metadata>>(),
        example: || (json!({"filter": {"reason": "lost"}, "limit": 1}), history_example()),
    },
    Call {
        name: "getStats",
        summary: "How much of everything there is",
        says: "A token of a project is told of that project alone, and null for what is of all.",
        takes: |schemas| by_name(&schemas.read::<NoParameters>()),
        answers: |schemas| schemas.written::<Stats<'_>>(),
        example: || (json!({}), items::stats_example()),
    },
    Call {
        name: "closeSession",
        summary: "Ends one session, or all that fit",
        says: "The clients get the close code 4001 with the message.",
        takes: |schemas| by_name(&schemas.read::<CloseSession>()),
        answers: |schemas| schemas.written::<Terminated>(),
        example: || {
            (
                json!({"filter": {"username[glob]": "bil*"}, "message": "the shift ends"}),
                json!({"terminated": 1}),
            )
        },
    },
    Call {
        name: "closePage",
        summary: "Closes a page of a session",
        says: "A connection that serves no other page gets the close code 4004.",
        takes: |schemas| by_name(&schemas.read::<ClosePage>()),
        answers: |schemas| schemas.written::<Terminated>(),
        example: || {
            let asked = json!({"sessionId": "42dacef9-563e-4981-99f8-4bad27f57fed", "pageId": "p1"});
            (asked, json!({"terminated": 1}))
        },
    },
    Call {
        name: "sendMessage",
        summary: "Sends a message to one session, a page of it, or all that fit",
        says: "Clients that speak `headcount.v1` take it; the answer counts sessions.",
        takes: |schemas| by_name(&schemas.read::<SendMessage>()),
        answers: |schemas| schemas.written::<Delivered>(),
        example: || {
            let asked =
                json!({"filter": {"project": "plant"}, "messageType": "notice", "payload": {"text": "hi"}});
            (asked, json!({"delivered": 1, "undeliverable": 0}))
        },
    },
];

impl Call {
    /// The name of the component that is a request for it.
    pub(super) fn request(&self) -> String {
        format!("{}.request", self.name)
    }

    /// The name of the component that is an answer with its result.
    pub(super) fn answer(&self) -> String {
        format!("{}.answer", self.name)
    }

    /// What it needs of a token.
    pub(super) fn scope(&self) -> Option<Scope> {
        needed(self.name)
    }

    pub(super) fn request_example(&self) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "method": self.name, "params": (self.example)().0})
    }

    pub(super) fn answer_example(&self) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "result": (self.example)().1})
    }

    /// Makes components of its request and its answer.
    fn define(&self, schemas: &mut Schemas) {
        let params = (self.takes)(schemas);
        let request = json!({
            "title": self.name,
            "description": format!("{}. {}", self.summary, self.says),
            "type": "object",
            "properties": {
                "jsonrpc": {"const": "2.0"},
                "id": {"$ref": "#/components/schemas/RpcId"},
                "method": {"const": self.name},
                "params": params,
            },
            "required": ["jsonrpc", "method"],
        });
        let answer = json!({
            "title": format!("The answer to {}", self.name),
            "type": "object",
            "properties": {
                "jsonrpc": {"const": "2.0"},
                "id": {"$ref": "#/components/schemas/RpcId"},
                "result": (self.answers)(schemas),
            },
            "required": ["jsonrpc", "id", "result"],
        });
        schemas.name(&self.request(), request);
        schemas.name(&self.answer(), answer);
    }
}

/// Makes components of all requests and all answers.
pub(super) fn define(schemas: &mut Schemas) {
    schemas.name(
        "RpcId",
        json!({
            "description": "Comes back as it was written. A request without one is a notification: it is carried out \
                            and not answered.",
            "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}],
        }),
    );
    for call in CALLS {
        call.define(schemas);
    }
    let one: Vec<_> = CALLS.iter().map(|call| Schemas::reference(&call.request())).collect();
    let one = schemas.name("RpcRequest", json!({"description": "A request.", "anyOf": one}));
    let several = json!({"type": "array", "items": one, "minItems": 1, "maxItems": rpc::MAX_BATCH});
    schemas.name(REQUEST, json!({"description": "A request, or a batch.", "anyOf": [one, several]}));

    let mut one: Vec<_> = CALLS.iter().map(|call| Schemas::reference(&call.answer())).collect();
    one.push(schemas.name(ERROR, error()));
    let one = schemas.name("RpcAnswer", json!({"description": "An answer.", "anyOf": one}));
    let several = json!({"type": "array", "items": one, "minItems": 1});
    schemas.name(ANSWER, json!({"description": "An answer, or those of a batch.", "anyOf": [one, several]}));
}

fn error() -> Value {
    let codes = rpc::Error::CODES.map(|(code, _)| code);
    let says = rpc::Error::CODES.iter().map(|(code, when)| format!("`{code}`: {when}"));
    json!({
        "title": "An error",
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"$ref": "#/components/schemas/RpcId"},
            "error": {
                "type": "object",
                "properties": {
                    "code": {
                        "type": "integer",
                        "enum": codes,
                        "description": format!("For programs.{}", list(says)),
                    },
                    "message": {"type": "string", "description": "For people: what is wrong, and what would be right."},
                },
                "required": ["code", "message"],
            },
        },
        "required": ["jsonrpc", "id", "error"],
    })
}

/// Parameters that are one object, which may also be the only one by position; absent is empty.
fn by_name(object: &Value) -> Value {
    json!({"anyOf": [object, {"type": "array", "items": object, "maxItems": 1}, {"type": "null"}]})
}

fn session_info_filters(schemas: &mut Schemas) -> Value {
    let filter = json!({
        "description": "The whole value, with `*`, `?` and `\\`; null and empty match all.",
        "anyOf": [{"type": "string", "maxLength": Glob::MAX_CHARS}, {"type": "null"}],
    });
    let filter = schemas.name("SessionInfoFilter", filter);
    let names = SessionInfoFilters::NAMES;
    let properties = serde_json::Map::from_iter(names.map(|name| (name.to_owned(), filter.clone())));
    let named = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let by_position = json!({"type": "array", "items": filter, "maxItems": names.len()});
    json!({"anyOf": [by_position, named, {"type": "null"}]})
}

/// What a watcher is told, with these members.
fn watched(schemas: &mut Schemas, members: &[&str]) -> Value {
    let items = json!({"type": "array", "items": schemas.written::<Item>()});
    let closed = schemas.written::<Vec<ClosedItem<'_>>>();
    let properties = members.iter().map(|name| {
        let schema = match *name {
            "watchId" => json!({"type": "string", "description": "The watch, on this socket."}),
            "revision" => json!({"type": "integer", "description": "It grows; not every number is used."}),
            "closed" => closed.clone(),
            _ => items.clone(),
        };
        ((*name).to_owned(), schema)
    });
    json!({"type": "object", "properties": serde_json::Map::from_iter(properties), "required": members})
}

/// The notifications that a watcher gets: the name of each, what it is, and its schema.
pub(super) fn notifications(schemas: &mut Schemas) -> [(&'static str, &'static str, Value); 2] {
    let mut notification = |name: &'static str, members: &[&str]| {
        let params = watched(schemas, members);
        let schema = json!({
            "type": "object",
            "properties": {"jsonrpc": {"const": "2.0"}, "method": {"const": name}, "params": params},
            "required": ["jsonrpc", "method", "params"],
        });
        schemas.name(name, schema)
    };
    [
        (
            "sessionsChanged",
            "What has changed since the last.",
            notification("sessionsChanged", &["watchId", "revision", "opened", "changed", "closed"]),
        ),
        (
            "resync",
            "Everything, for a watcher that was too slow.",
            notification("resync", &["watchId", "revision", "items"]),
        ),
    ]
}

/// The answer to `getNodes`.
pub(super) fn nodes_example() -> Value {
    json!([{
        "name": "local", "answered": true, "version": "0.1.0", "startedAt": "2026-01-31T08:29:58.012Z",
        "uptimeMs": 6_588, "draining": false, "sessions": 1, "connections": 1,
    }])
}

/// A list of one session that has ended.
pub(super) fn history_example() -> Value {
    let item = json!({
        "id": "42dacef9-563e-4981-99f8-4bad27f57fed", "username": "billy", "project": "plant",
        "sessionScope": "browser", "clientAddress": "192.0.2.7", "userAgent": "", "authorized": false,
        "connectedAt": "2026-01-31T08:30:00.000Z", "endedAt": "2026-01-31T08:32:04.503Z", "durationMs": 124_503,
        "reason": "lost", "pageIds": ["p1"], "recentBytesSent": 5, "totalBytesSent": 1_018, "bytesReceived": 0,
    });
    json!({"items": [item], "metadata": {"total": 12, "matching": 3, "limit": 1, "forgotten": 0}})
}
