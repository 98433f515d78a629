//! What is said on a client's WebSocket, told to programs (`/asyncapi.json`).

use serde_json::{Map, Value, json};

use super::{
    control::{FromClient, ToClient},
    params::{KNOWN, MAX_DESIGNER_ID_CHARS, MAX_PAGE_ID_CHARS, MAX_PAGE_PATH_CHARS, MAX_USERNAME_CHARS},
};
use crate::{
    edge::schemas::{Channel, Message, Schemas, Sender},
    session::{FromAdministrator, SUBPROTOCOL, SessionScope, text::MAX_PROJECT_CHARS},
};

/// The member that tells control messages apart.
const TAG: &str = "headcount";

pub(crate) fn describe(schemas: &mut Schemas) -> Channel {
    let mut messages = vec![Message {
        name: "application".to_owned(),
        from: Sender::Client,
        says: "Any message of the application, text or binary: its payload is counted.".to_owned(),
        content_type: "application/octet-stream",
        payload: json!({}),
        example: json!("hello"),
    }];
    let mut control = |from: Sender, variants: Vec<(String, Value)>, schemas: &mut Schemas| {
        for (name, mut variant) in variants {
            let says = variant["description"].as_str().unwrap_or_default().to_owned();
            variant["title"] = name.clone().into();
            let payload = schemas.name(&name, variant);
            let example = example(&name);
            messages.push(Message { name, from, says, content_type: "application/json", payload, example });
        }
    };
    let variants = schemas.variants::<FromClient>(Sender::Client, TAG);
    control(Sender::Client, variants, schemas);
    let variants = schemas.variants::<ToClient<'_>>(Sender::Server, TAG);
    control(Sender::Server, variants, schemas);
    let variants = schemas.variants::<FromAdministrator<'_>>(Sender::Server, TAG);
    control(Sender::Server, variants, schemas);
    Channel {
        address: "/ws/{project}",
        says: format!(
            "One client's presence: any WebSocket client is a session at once, without a first message. Text \
             messages that begin with exactly `{{\"headcount\":` are for the tracker; every other message is the \
             application's. Only clients that offer the subprotocol `{SUBPROTOCOL}` are sent messages. A refusal \
             before the upgrade is `{{\"error\":{{\"code\",\"message\"}}}}`."
        ),
        parameters: json!({
            "project": {
                "description": format!(
                    "The project, percent-encoded: 1 to {MAX_PROJECT_CHARS} characters, no control characters, no /."
                ),
            },
        }),
        query: query(),
        messages,
    }
}

/// The query of the address. What is not here is the application's.
fn query() -> Value {
    let described = KNOWN.map(|name| {
        let (says, limits) = parameter(name);
        let mut schema = json!({"type": "string", "description": says});
        if let (Some(schema), Value::Object(limits)) = (schema.as_object_mut(), limits) {
            schema.extend(limits);
        }
        (name.to_owned(), schema)
    });
    json!({"type": "object", "properties": Map::from_iter(described)})
}

fn parameter(name: &str) -> (&'static str, Value) {
    match name {
        "pageId" => (
            "The page that this connection serves; 8 random hex digits if it is missing.",
            json!({"minLength": 1, "maxLength": MAX_PAGE_ID_CHARS}),
        ),
        "pagePath" => ("Where that page is in the application.", json!({"maxLength": MAX_PAGE_PATH_CHARS})),
        "scope" => (
            "Where the session runs, in any letter case; the User-Agent tells if it is missing.",
            json!({"examples": SessionScope::ALL}),
        ),
        "username" => (
            "The claimed user name, heeded with `--identity open` alone.",
            json!({"maxLength": MAX_USERNAME_CHARS}),
        ),
        "resumeToken" => ("Joins or resumes the session that the token belongs to.", json!({})),
        "designerId" => (
            "With `scope=designer`: the designer's own id, used as the session id.",
            json!({"pattern": format!("^[A-Za-z0-9_.-]{{1,{MAX_DESIGNER_ID_CHARS}}}$")}),
        ),
        "access_token" => ("A JWT, for clients that can set neither header nor subprotocol.", json!({})),
        _ => ("", json!({})),
    }
}

fn example(name: &str) -> Value {
    match name {
        "openPage" => json!({"headcount": "openPage", "pageId": "p2", "path": "/alarms"}),
        "closePage" => json!({"headcount": "closePage", "pageId": "p2"}),
        "navigate" => json!({"headcount": "navigate", "pageId": "p1", "path": "/trends"}),
        "activity" => json!({"headcount": "activity"}),
        "welcome" => json!({
            "headcount": "welcome",
            "sessionId": "42dacef9-563e-4981-99f8-4bad27f57fed",
            "pageId": "p1",
            "resumeToken": "42dacef9-563e-4981-99f8-4bad27f57fed.0f8fad5bd9cb469fa165708677289502",
            "resumed": false,
            "heartbeatMs": 15_000,
        }),
        "message" => json!({"headcount": "message", "messageType": "notice", "payload": {"text": "hi"}}),
        "error" => json!({
            "headcount": "error",
            "code": "unknown_page",
            "message": "the session has no page \"p2\"",
        }),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_and_every_message_is_described() {
        for name in KNOWN {
            assert!(parameter(name).0.len() > 10, "{name}");
        }
        let described = describe(&mut Schemas::asyncapi());
        let names: Vec<_> = described.messages.iter().map(|message| &*message.name).collect();
        assert_eq!(
            names,
            ["application", "openPage", "closePage", "navigate", "activity", "welcome", "error", "message"]
        );
        for Message { name, says, example, .. } in &described.messages {
            assert!(says.len() > 10 && !example.is_null(), "{name}");
        }
    }
}
