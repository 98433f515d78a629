//! The document for the WebSockets of both planes (`AsyncAPI` 3.0).

use serde_json::{Map, Value, json};

use super::{
    Descriptions,
    calls::{self, CALLS},
    licence,
};
use crate::edge::schemas::{Channel, Schemas, Sender};

const SAYS: &str = "Who is connected right now, from where, on which pages, with how much traffic: what clients and \
    administrators say on their WebSockets. `/api/v1/openapi.json` describes what is to be had over HTTP.";

/// The channels and their operations, as they are gathered.
#[derive(Default)]
struct Gathered {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
}

pub(super) fn document(of: &Descriptions) -> Value {
    let mut schemas = Schemas::asyncapi();
    let mut gathered = Gathered::default();
    gathered.clients((of.clients)(&mut schemas));
    gathered.query(&mut schemas);
    let security =
        if of.needs_token { json!([{"$ref": "#/components/securitySchemes/bearer"}]) } else { json!([]) };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "headcount",
            "version": env!("CARGO_PKG_VERSION"),
            "description": SAYS,
            "license": licence(),
        },
        "defaultContentType": "application/json",
        "servers": {
            "clients": server("127.0.0.1:8080", of.over_tls.clients, "The client plane (`--listen`).", &json!([])),
            "admin": server("127.0.0.1:8081", of.over_tls.admin, "The admin plane (`--admin-listen`).", &security),
        },
        "channels": gathered.channels,
        "operations": gathered.operations,
        "components": {
            "messages": gathered.messages,
            "schemas": schemas.into_components(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `headcount token new`; by a page, the subprotocol \
                                    `headcount.bearer.<token>`.",
                },
            },
        },
    })
}

fn server(host: &str, over_tls: bool, says: &str, security: &Value) -> Value {
    json!({
        "host": "{host}",
        "protocol": if over_tls { "wss" } else { "ws" },
        "description": says,
        "variables": {"host": {"default": host, "description": "Where the plane listens."}},
        "security": security,
    })
}

impl Gathered {
    /// The client plane.
    fn clients(&mut self, channel: Channel) {
        let mut references = Map::new();
        for message in channel.messages {
            let name = &*message.name;
            references.insert(name.to_owned(), json!({"$ref": format!("#/components/messages/{name}")}));
            let operation = json!({
                "action": if message.from == Sender::Client { "receive" } else { "send" },
                "channel": {"$ref": "#/channels/clients"},
                "summary": message.says,
                "messages": [{"$ref": format!("#/channels/clients/messages/{name}")}],
            });
            self.operations.insert(name.to_owned(), operation);
            let described = json!({
                "name": name,
                "summary": message.says,
                "contentType": message.content_type,
                "payload": message.payload,
                "examples": [{"payload": message.example}],
            });
            self.messages.insert(name.to_owned(), described);
        }
        let described = json!({
            "address": channel.address,
            "title": "A client",
            "description": channel.says,
            "servers": [{"$ref": "#/servers/clients"}],
            "parameters": channel.parameters,
            "messages": references,
            "bindings": {"ws": {"method": "GET", "query": channel.query, "bindingVersion": "0.1.0"}},
        });
        self.channels.insert("clients".to_owned(), described);
    }

    /// The query socket.
    fn query(&mut self, schemas: &mut Schemas) {
        calls::define(schemas);
        let mut references = Map::new();
        let mut message = |name: String, says: &str, example: &Value| {
            references.insert(name.clone(), json!({"$ref": format!("#/components/messages/{name}")}));
            let described = json!({
                "name": name,
                "summary": says,
                "payload": Schemas::reference(&name),
                "correlationId": {"location": "$message.payload#/id"},
                "examples": [{"payload": example}],
            });
            self.messages.insert(name, described);
        };
        let error = json!({
            "jsonrpc": "2.0", "id": 1,
            "error": {"code": -32002, "message": "no session \"x\" is live"},
        });
        message(calls::ERROR.to_owned(), "A request was not carried out.", &error);
        for call in CALLS {
            message(call.request(), call.summary, &call.request_example());
            message(call.answer(), "What it answers.", &call.answer_example());
            let reference = |name: &str| json!({"$ref": format!("#/channels/query/messages/{name}")});
            let mut operation = json!({
                "action": "receive",
                "channel": {"$ref": "#/channels/query"},
                "summary": call.summary,
                "description": call.says,
                "messages": [reference(&call.request())],
                "reply": {
                    "channel": {"$ref": "#/channels/query"},
                    "messages": [reference(&call.answer()), reference(calls::ERROR)],
                },
            });
            if let Some(scope) = call.scope() {
                operation["tags"] =
                    json!([{"name": scope.as_str(), "description": "The scope that it needs."}]);
            }
            self.operations.insert(call.name.to_owned(), operation);
        }
        for (name, says, payload) in calls::notifications(schemas) {
            let component = json!({"$ref": format!("#/components/messages/{name}")});
            references.insert(name.to_owned(), component);
            self.messages.insert(name.to_owned(), json!({"name": name, "summary": says, "payload": payload}));
            let operation = json!({
                "action": "send",
                "channel": {"$ref": "#/channels/query"},
                "summary": says,
                "messages": [{"$ref": format!("#/channels/query/messages/{name}")}],
            });
            self.operations.insert(name.to_owned(), operation);
        }
        let described = json!({
            "address": "/query",
            "title": "JSON-RPC 2.0",
            "description": "One request, or a batch of at most 50, a text message. The answers come in the order of \
                            the requests; one of any size is one message, in several frames if it is large. A socket that is \
                            silent is pinged, and cut if no pong comes.",
            "servers": [{"$ref": "#/servers/admin"}],
            "messages": references,
            "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        });
        self.channels.insert("query".to_owned(), described);
    }
}
