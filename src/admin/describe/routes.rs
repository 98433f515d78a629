//! Every path of the admin plane, as the `OpenAPI` document describes it: an entry for a path and a method.

use serde_json::{Map, Value, json};

use super::{
    calls::{ANSWER, history_example, nodes_example},
    items::{self, Designer, Item, SomeOfItem},
    parameters::{DELETED, ENDED, IGNITION_LISTED, LISTED, Parameter, WATCHED},
    refusals::{
        self, DRAINING, IGNITION_NOT_FOUND, NOT_ACCEPTABLE, NOT_FOUND, OVERLOADED, Refused, TIMEOUT,
        TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, UPGRADE_REQUIRED,
    },
};
use crate::{
    admin::{
        actions::Terminated,
        history,
        item::{Column, Fields, NODE, ShownPage},
        listing::{DEFAULT_LIMIT, IgnitionMetadata, Items, Metadata},
        nodes,
        single::{IgnitionPage, PagesMetadata},
        stats::Stats,
    },
    config::tokens::Scope,
    edge::schemas::Schemas,
    session::SessionInfo,
};

/// What a path answers to a method.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// In lower case.
    pub(super) method: &'static str,
    /// Its name for programs that are made from the document.
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) says: &'static str,
    pub(super) needs: Needs,
    pub(super) takes: &'static [Parameter],
    /// The answer with 200 (101 for a WebSocket).
    pub(super) answers: fn(&mut Schemas) -> Value,
    /// Besides those that are for all.
    pub(super) refuses: &'static [&'static Refused],
}

/// What a token must allow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: nobody needs one here.
    NoToken,
    /// Nothing, but there must be one.
    AnyToken,
    Scope(Scope),
}

/// The parts of the document, and what each is about.
pub(super) const TAGS: [(&str, &str); 6] = [
    ("sessions", "Who is connected, and ending that."),
    ("json-rpc", "Every method, over HTTP and over a WebSocket (`/asyncapi.json`)."),
    ("figures", "How much of everything there is."),
    ("ignition", "The paths and shapes of Ignition's own API, for tools that know that one."),
    ("health", "Whether the server is well, for whoever looks after it. No token is needed."),
    ("descriptions", "This document and its sibling."),
];

const READ: Needs = Needs::Scope(Scope::Read);
const KICK: Needs = Needs::Scope(Scope::Kick);

/// Every path with every method, `HEAD` excepted: each `GET` answers that too.
pub(super) const ROUTES: &[Route] = &[
    Route {
        path: "/query",
        method: "get",
        id: "openQuerySocket",
        tag: "json-rpc",
        summary: "JSON-RPC 2.0 over a WebSocket",
        says: "Upgrades to a WebSocket with one request or batch a text message; `/asyncapi.json` describes it.",
        needs: Needs::AnyToken,
        takes: &[],
        answers: |_| json!({"description": "The connection is a WebSocket from here on."}),
        refuses: &[&UPGRADE_REQUIRED, &OVERLOADED],
    },
    Route {
        path: "/query",
        method: "post",
        id: "query",
        tag: "json-rpc",
        summary: "JSON-RPC 2.0 over HTTP: one request, or a batch of at most 50",
        says: "Errors of a request are answered with 200 and an `error` object, as JSON-RPC has it. 204 if there is \
               nothing to answer: all that was asked were notifications.",
        needs: Needs::AnyToken,
        takes: &[],
        answers: |_| ok("The answer, or those of a batch.", Schemas::reference(ANSWER), None),
        refuses: &[&TIMEOUT, &TOO_LARGE, &UNSUPPORTED_MEDIA_TYPE, &OVERLOADED],
    },
    Route {
        path: "/api/v1/session-info",
        method: "get",
        id: "getSessionInfo",
        tag: "sessions",
        summary: "The live sessions, as a plain array",
        says: "In no particular order, `[]` if nothing matches.",
        needs: READ,
        takes: &[Parameter::UsernameFilter, Parameter::ProjectFilter],
        answers: |schemas| {
            let rows = schemas.written::<Vec<SessionInfo>>();
            ok("The sessions that match.", rows, Some(json!([items::example(&Fields::session_info())])))
        },
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/api/v1/sessions",
        method: "get",
        id: "listSessions",
        tag: "sessions",
        summary: "The live sessions: filtered, searched, sorted, in pages, or streamed",
        says: "As JSON in pages; as `application/x-ndjson` or `text/csv`, all that fit, unless there is a `limit`. \
               Answers of any size are made as they are read.",
        needs: READ,
        takes: LISTED,
        answers: list_answer,
        refuses: &[&NOT_FOUND, &NOT_ACCEPTABLE, &OVERLOADED],
    },
    Route {
        path: "/api/v1/sessions",
        method: "delete",
        id: "closeSessions",
        tag: "sessions",
        summary: "Ends sessions by their ids",
        says: "Their clients get the close code 4001 with the message. 404 if none of them was live. What is done, \
               and what is refused, is in the audit log.",
        needs: KICK,
        takes: DELETED,
        answers: terminated,
        refuses: &[&NOT_FOUND],
    },
    Route {
        path: "/api/v1/sessions/{id}",
        method: "get",
        id: "getSession",
        tag: "sessions",
        summary: "One live session",
        says: "With all its keys, or those of `fields`.",
        needs: READ,
        takes: &[Parameter::Id, Parameter::Fields],
        answers: |schemas| {
            let item = item(schemas);
            ok("The session.", item, Some(items::example(&Fields::all())))
        },
        refuses: &[&NOT_FOUND],
    },
    Route {
        path: "/api/v1/sessions/{id}/pages",
        method: "get",
        id: "getSessionPages",
        tag: "sessions",
        summary: "The pages of one live session",
        says: "In the order opened.",
        needs: READ,
        takes: &[Parameter::Id],
        answers: |schemas| {
            let pages = schemas.written::<Items<ShownPage, PagesMetadata>>();
            let example = json!({"items": items::example_value(Column::Pages), "metadata": {"total": 1}});
            ok("The pages.", pages, Some(example))
        },
        refuses: &[&NOT_FOUND],
    },
    Route {
        path: "/api/v1/events",
        method: "get",
        id: "watchSessions",
        tag: "sessions",
        summary: "The live sessions, and from then on what changes, as Server-Sent Events",
        says: "The data of `snapshot`, the first event, is as the answer of watchSessions (`/asyncapi.json`), that of \
               `change` and `resync` as what a watch is told, all without `watchId`; the id of an event is its revision.",
        needs: READ,
        takes: WATCHED,
        answers: |_| {
            let content = json!({"text/event-stream": {"schema": {"type": "string"}}});
            json!({"description": "The events; the stream ends with the server or the token.", "content": content})
        },
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/api/v1/history",
        method: "get",
        id: "getHistory",
        tag: "sessions",
        summary: "Sessions that have ended, the newest first",
        says: "Out of the last `--max-ended`, with the reason and the final totals.",
        needs: READ,
        takes: ENDED,
        answers: |schemas| {
            let list = schemas.written::<Items<history::Item<'_>, history::Metadata>>();
            ok("The sessions that match.", list, Some(history_example()))
        },
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/api/v1/nodes",
        method: "get",
        id: "getNodes",
        tag: "figures",
        summary: "The servers that answer together",
        says: "This one alone.",
        needs: READ,
        takes: &[],
        answers: |schemas| {
            let nodes = schemas.written::<Vec<nodes::Node>>();
            ok("The servers.", nodes, Some(nodes_example()))
        },
        refuses: &[],
    },
    Route {
        path: "/api/v1/stats",
        method: "get",
        id: "getStats",
        tag: "figures",
        summary: "How much of everything there is",
        says: "A token of a project is told of that project alone, and null for what is of all.",
        needs: READ,
        takes: &[],
        answers: |schemas| {
            let stats = schemas.written::<Stats<'_>>();
            ok("The figures.", stats, Some(items::stats_example()))
        },
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/metrics",
        method: "get",
        id: "metrics",
        tag: "figures",
        summary: "Figures without persons, for Prometheus",
        says: "In its text format, or as OpenMetrics, whichever is asked for. A token of a project is refused.",
        needs: Needs::Scope(Scope::Metrics),
        takes: &[],
        answers: |_| {
            let text = json!({"schema": {"type": "string"}});
            let content = json!({"text/plain": text, "application/openmetrics-text": text});
            json!({"description": "The figures.", "content": content})
        },
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/data/perspective/api/v1/sessions/",
        method: "get",
        id: "ignitionSessions",
        tag: "ignition",
        summary: "The live sessions",
        says: "With the thirteen keys of getSessionInfo.",
        needs: READ,
        takes: IGNITION_LISTED,
        answers: ignition_sessions,
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/data/perspective/api/v1/sessions",
        method: "get",
        id: "ignitionSessionsToo",
        tag: "ignition",
        summary: "The live sessions",
        says: "The same without the last slash.",
        needs: READ,
        takes: IGNITION_LISTED,
        answers: ignition_sessions,
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/data/perspective/api/v1/sessions",
        method: "delete",
        id: "ignitionCloseSessions",
        tag: "ignition",
        summary: "Ends sessions by their ids",
        says: "As `DELETE /api/v1/sessions`.",
        needs: KICK,
        takes: DELETED,
        answers: terminated,
        refuses: &[&NOT_FOUND],
    },
    Route {
        path: "/data/perspective/api/v1/sessions/",
        method: "delete",
        id: "ignitionCloseSessionsToo",
        tag: "ignition",
        summary: "Ends sessions by their ids",
        says: "The same with a last slash.",
        needs: KICK,
        takes: DELETED,
        answers: terminated,
        refuses: &[&NOT_FOUND],
    },
    Route {
        path: "/data/perspective/api/v1/session/{id}",
        method: "get",
        id: "ignitionSession",
        tag: "ignition",
        summary: "One live session",
        says: "With the thirteen keys of getSessionInfo.",
        needs: READ,
        takes: &[Parameter::Id],
        answers: |schemas| {
            let row = schemas.written::<SessionInfo>();
            ok("The session.", row, Some(items::example(&Fields::session_info())))
        },
        refuses: &[&IGNITION_NOT_FOUND],
    },
    Route {
        path: "/data/perspective/api/v1/session/{id}/pages",
        method: "get",
        id: "ignitionSessionPages",
        tag: "ignition",
        summary: "The pages of one live session",
        says: "In the order opened.",
        needs: READ,
        takes: &[Parameter::Id],
        answers: |schemas| {
            let pages = schemas.written::<Items<IgnitionPage, IgnitionMetadata>>();
            let page = json!({
                "id": "p1",
                "created": 1_769_848_200_000_u64,
                "lastKeepalive": 1_769_848_204_503_u64,
                "roundtrip": null,
                "connectCount": 1,
            });
            let metadata = json!({"total": 1, "matching": 1, "limit": -1, "offset": 0});
            ok("The pages.", pages, Some(json!({"items": [page], "metadata": metadata})))
        },
        refuses: &[&IGNITION_NOT_FOUND],
    },
    Route {
        path: "/data/api/v1/designers",
        method: "get",
        id: "ignitionDesigners",
        tag: "ignition",
        summary: "The live sessions of designers",
        says: "Those of scope `designer`, with the keys that Ignition has for them.",
        needs: READ,
        takes: IGNITION_LISTED,
        answers: |schemas| {
            let designers = schemas.written::<Items<Designer, IgnitionMetadata>>();
            let designer = json!({
                "id": "d-1", "user": "zoe", "project": "plant", "address": "192.0.2.9", "uptime": 4_500,
                "lastcomm": 608, "timeout": null, "memory": null, "timezone": null,
            });
            ok("The designers that match.", designers, Some(ignition_example(&designer)))
        },
        refuses: &[&OVERLOADED],
    },
    Route {
        path: "/data/api/v1/designer/{id}",
        method: "delete",
        id: "ignitionCloseDesigner",
        tag: "ignition",
        summary: "Ends a designer's session",
        says: "404 if it is none of scope `designer`.",
        needs: KICK,
        takes: &[Parameter::Id, Parameter::Message],
        answers: terminated,
        refuses: &[&IGNITION_NOT_FOUND],
    },
    Route {
        path: "/data/vision/api/v1/clients",
        method: "get",
        id: "ignitionVisionClients",
        tag: "ignition",
        summary: "Always an empty list",
        says: "There are no Vision clients here; tools that ask for every family are told so.",
        needs: READ,
        takes: IGNITION_LISTED,
        answers: |schemas| {
            let none = schemas.written::<Items<SessionInfo, IgnitionMetadata>>();
            let metadata = json!({"total": 0, "matching": 0, "limit": 100, "offset": 0});
            ok("Nobody.", none, Some(json!({"items": [], "metadata": metadata})))
        },
        refuses: &[],
    },
    Route {
        path: "/healthz",
        method: "get",
        id: "health",
        tag: "health",
        summary: "Whether the server answers",
        says: "",
        needs: Needs::NoToken,
        takes: &[],
        answers: |_| status("ok"),
        refuses: &[],
    },
    Route {
        path: "/readyz",
        method: "get",
        id: "readiness",
        tag: "health",
        summary: "Whether new clients may come",
        says: "503 from the moment when the server begins to end.",
        needs: Needs::NoToken,
        takes: &[],
        answers: |_| status("ready"),
        refuses: &[&DRAINING],
    },
    description(
        "/api/v1/openapi.json",
        "openapi",
        "What is to be had over HTTP, as OpenAPI 3.1: this document",
    ),
    description("/api/v1/asyncapi.json", "asyncapi", "What is said on the WebSockets, as AsyncAPI 3.0"),
    description("/asyncapi.json", "asyncapiToo", "What is said on the WebSockets, as AsyncAPI 3.0"),
];

const fn description(path: &'static str, id: &'static str, summary: &'static str) -> Route {
    Route {
        path,
        method: "get",
        id,
        tag: "descriptions",
        summary,
        says: "",
        needs: Needs::AnyToken,
        takes: &[],
        answers: |_| ok("The document.", json!({"type": "object"}), None),
        refuses: &[],
    }
}

impl Route {
    /// Everything that may be answered but the answer, by status.
    pub(super) fn refusals(&self) -> impl Iterator<Item = &'static Refused> {
        let token = (self.needs != Needs::NoToken).then_some(&refusals::UNAUTHORIZED);
        refusals::ALWAYS.into_iter().chain(token).chain(self.refuses.iter().copied())
    }
}

/// An answer in JSON.
fn ok(says: &str, schema: Value, example: Option<Value>) -> Value {
    let mut json = Map::from_iter([("schema".to_owned(), schema)]);
    json.extend(example.map(|example| ("example".to_owned(), example)));
    json!({"description": says, "content": {"application/json": json}})
}

fn status(word: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"status": {"const": word}}, "required": ["status"]});
    ok("It is so.", schema, Some(json!({"status": word})))
}

/// An item with all its keys, or with some.
fn item(schemas: &mut Schemas) -> Value {
    json!({"anyOf": [schemas.written::<Item>(), schemas.written::<SomeOfItem>()]})
}

fn list_answer(schemas: &mut Schemas) -> Value {
    let example = items::example(&Fields::all());
    let list = json!({
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": item(schemas)},
            "metadata": schemas.written::<Metadata<'_>>(),
        },
        "required": ["items", "metadata"],
    });
    let list = schemas.name("Sessions", list);
    let lines = format!("{example}\n");
    let mut answer = ok("The sessions that match.", list, Some(list_example(DEFAULT_LIMIT)));
    answer["content"]["application/x-ndjson"] = json!({
        "schema": {"type": "string", "description": "A session a line, each as in `items`."},
        "example": lines,
    });
    answer["content"]["text/csv"] = json!({
        "schema": {
            "type": "string",
            "description": "RFC 4180 with a line of names first. No value is an empty cell, a list is JSON in its \
                            cell; no cell can be taken for a formula.",
        },
        "example": "id,username,uptime\r\n42dacef9-563e-4981-99f8-4bad27f57fed,billy,4600\r\n",
    });
    answer
}

/// A list of one session.
pub(super) fn list_example(limit: i64) -> Value {
    let metadata = json!({
        "total": 1, "matching": 1, "limit": limit, "offset": 0, "snapshotId": null,
        "takenAt": "2026-01-31T08:30:04.600Z", "complete": true,
        "nodes": [{"name": NODE, "answered": true, "sessions": 1}],
    });
    json!({"items": [items::example(&Fields::all())], "metadata": metadata})
}

fn ignition_sessions(schemas: &mut Schemas) -> Value {
    let list = schemas.written::<Items<SessionInfo, IgnitionMetadata>>();
    ok("The sessions that match.", list, Some(ignition_example(&items::example(&Fields::session_info()))))
}

fn ignition_example(item: &Value) -> Value {
    json!({"items": [item], "metadata": {"total": 1, "matching": 1, "limit": 100, "offset": 0}})
}

fn terminated(schemas: &mut Schemas) -> Value {
    ok("How many were ended.", schemas.written::<Terminated>(), Some(json!({"terminated": 1})))
}
