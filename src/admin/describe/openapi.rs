//! The document for HTTP (`OpenAPI` 3.1).

use serde_json::{Map, Value, json};

use super::{
    calls::{self, CALLS},
    licence, refusals,
    routes::{Needs, ROUTES, Route, TAGS},
};
use crate::edge::schemas::Schemas;

const SAYS: &str = "Who is connected right now, from where, on which pages, with how much traffic.\n\n\
    Every `GET` but that of `/query` answers `HEAD` too. Parameters that are not listed are refused with 400, with the \
    parameter named; an empty one is as one that is missing. Times are RFC 3339 in UTC with milliseconds; durations are whole milliseconds.\n\n\
    Scopes are written as the roles of a security requirement. `read` without `pii` sees addresses as networks and no \
    user agents; a token of a project sees that project alone.";

/// The ways to bring a token.
const SCHEMES: [&str; 2] = ["bearer", "ignition"];

pub(super) fn document(needs_token: bool) -> Value {
    let mut schemas = Schemas::openapi();
    calls::define(&mut schemas);
    let mut paths = Map::new();
    let mut parameters = Map::new();
    for route in ROUTES {
        let operation = operation(route, needs_token, &mut schemas);
        paths.entry(route.path).or_insert_with(|| json!({}))[route.method] = operation;
        for parameter in route.takes {
            parameters.insert(parameter.key().to_owned(), parameter.describe(&mut schemas));
        }
    }
    let responses: Map<_, _> =
        refusals::ALL.iter().map(|refused| (refused.name.to_owned(), refused.response())).collect();
    let tags = TAGS.map(|(name, says)| json!({"name": name, "description": says}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "headcount",
            "version": env!("CARGO_PKG_VERSION"),
            "description": SAYS,
            "license": licence(),
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.into_components(),
            "parameters": parameters,
            "responses": responses,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `headcount token new`.",
                },
                "ignition": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Ignition-API-Token",
                    "description": "The same, as `<name>:<token>`, for scripts that were written for Ignition.",
                },
            },
        },
    })
}

fn operation(route: &Route, needs_token: bool, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    let status = if route.id == "openQuerySocket" { "101" } else { "200" };
    responses.insert(status.to_owned(), (route.answers)(schemas));
    if route.id == "query" {
        responses.insert("204".to_owned(), json!({"description": "There is nothing to answer."}));
    }
    for refused in route.refusals() {
        let reference = json!({"$ref": format!("#/components/responses/{}", refused.name)});
        responses.insert(refused.status.to_string(), reference);
    }
    let mut operation = json!({
        "operationId": route.id,
        "tags": [route.tag],
        "summary": route.summary,
        "responses": responses,
        "security": security(route.needs, needs_token),
    });
    if !route.says.is_empty() {
        operation["description"] = route.says.into();
    }
    if !route.takes.is_empty() {
        let takes =
            route.takes.iter().map(|parameter| format!("#/components/parameters/{}", parameter.key()));
        operation["parameters"] = takes.map(|parameter| json!({"$ref": parameter})).collect();
    }
    if route.id == "query" {
        operation["requestBody"] = body();
    }
    operation
}

/// Any of these will do; `{}` is no token.
fn security(needs: Needs, needs_token: bool) -> Value {
    let scopes: &[&str] = match &needs {
        Needs::NoToken => return json!([]),
        Needs::AnyToken => &[],
        Needs::Scope(scope) => &[scope.as_str()],
    };
    let token = SCHEMES.map(|scheme| json!({scheme: scopes}));
    if needs_token { json!(token) } else { json!([{}, token[0], token[1]]) }
}

fn body() -> Value {
    let examples = CALLS.iter().map(|call| {
        let example = json!({"summary": call.summary, "value": call.request_example()});
        (call.name.to_owned(), example)
    });
    json!({
        "required": true,
        "content": {
            "application/json": {
                "schema": Schemas::reference(calls::REQUEST),
                "examples": Map::from_iter(examples),
            },
        },
    })
}
