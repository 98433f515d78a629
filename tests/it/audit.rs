//! PROTOCOL 3.1, "Audit": who did what to whom, and with which result.

use std::{os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};

use crate::{
    harness::{RawSocket, Server, eventually, headcount, request},
    tokens::{Kinds, Tokens, bearer, call, designer},
};

#[test]
fn every_action_and_every_refused_one_is_in_the_audit_log() {
    let (tokens, audit) = (Tokens::new("audit"), Tokens::new("audit-log"));
    let [reader, kicker] =
        [("reader", "read"), ("kicker", "kick")].map(|(name, scope)| tokens.add(name, scope, &[]));
    let server = Server::start(&["--admin-tokens", tokens.path(), "--audit-log", audit.path()]);
    let _client = RawSocket::open(server.clients, "/ws/p?scope=designer&designerId=d1");
    let lines = |count: usize| {
        eventually("lines of the audit log", || {
            let text = std::fs::read_to_string(&audit.0).unwrap_or_default();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if lines.len() == count { Ok(lines) } else { Err(text) }
        })
    };
    let close = json!({"sessionId": "d1", "message": "bye\n"});
    call(&server, &reader, "closeSession", &close);
    call(
        &server,
        &kicker,
        "sendMessage",
        &json!({"sessionId": "x", "messageType": "m", "payload": "secret"}),
    );
    call(&server, &kicker, "closeSession", &json!({"nonsense": 1}));
    let found = lines(3);
    let facts =
        |line: &Value| [&line["who"], &line["action"], &line["target"], &line["error"]].map(Value::clone);
    assert_eq!(
        facts(&found[0]),
        [
            json!("reader"),
            json!("closeSession"),
            json!({"sessionId": "d1"}),
            json!("the token reader has not the scope kick")
        ]
    );
    assert_eq!(found[0]["message"], "bye\n");
    assert!(found[0]["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(found[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(found[1]["target"], json!({"sessionId": "x", "messageType": "m"}));
    assert_eq!(
        (&found[1]["error"], &found[2]["who"]),
        (&json!("no session \"x\" is live"), &json!("kicker"))
    );
    assert_eq!(std::fs::metadata(&audit.0).unwrap().permissions().mode() & 0o777, 0o600);
    // Moved away, as logs are rotated.
    let moved = Tokens(audit.0.with_extension("1"));
    std::fs::rename(&audit.0, &moved.0).unwrap();
    call(&server, &kicker, "closeSession", &close);
    assert_eq!(lines(1)[0]["result"], json!({"terminated": 1}));
    // In the program's own log: words for a person, where values of Rust stood, `None` and all.
    let (_, said) = server.terminate();
    let acted: Vec<_> = said.lines().filter(|line| line.contains("an administrator acted")).collect();
    assert_eq!(acted.len(), 4, "{said}");
    assert!(acted[0].contains(r#"error="the token reader has not the scope kick""#), "{said}");
    assert!(acted[1].contains(r#"target={"messageType":"m","sessionId":"x"}"#), "{said}");
    assert!(acted[3].ends_with(r#"words="bye\n" result={"terminated":1}"#), "{said}");
    assert!(!said.contains("None") && !said.contains("Some("), "{said}");
}

#[test]
fn what_is_done_by_filter_and_by_delete_is_in_the_audit_log() {
    let (tokens, audit) = (Tokens::new("audit-bulk"), Tokens::new("audit-bulk-log"));
    let kinds = Kinds::new(&tokens);
    let server = Server::start(&["--admin-tokens", tokens.path(), "--audit-log", audit.path()]);
    let _clients = ["a", "b", "c"].map(|id| designer(&server, "q", id));
    let delete = |token: &str, target: &str| request(server.admin, "DELETE", target, &bearer(token), "");
    let filter = json!({"filter": {"id": "a"}, "message": "bye"});
    for token in [&kinds.reads_not, &kinds.full] {
        call(&server, token, "closeSession", &filter);
    }
    call(
        &server,
        &kinds.full,
        "sendMessage",
        &json!({"filter": {"id": "b"}, "messageType": "m", "payload": "secret"}),
    );
    for (token, target) in [
        (&kinds.kicks_not, "/api/v1/sessions?sessionId=b&message=so"),
        (&kinds.bound, "/api/v1/sessions?sessionId=b"),
        (&kinds.full, "/api/v1/sessions?sessionId=b&sessionId=x"),
        (&kinds.full, "/api/v1/sessions"),
        (&kinds.kicks_not, "/data/api/v1/designer/c"),
        (&kinds.full, "/data/api/v1/designer/c?message=so"),
    ] {
        delete(token, target);
    }
    let found = eventually("lines of the audit log", || {
        let text = std::fs::read_to_string(&audit.0).unwrap_or_default();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if lines.len() == 9 { Ok(lines) } else { Err(text) }
    });
    let ids = |ids: Value| json!({"sessionId": ids});
    let by = |filter: Value| json!({"filter": filter});
    let done = json!({"terminated": 1});
    let sent = json!({"delivered": 0, "undeliverable": 1});
    let lacks = "the token kicks-not has not the scope kick";
    for (line, (who, action, target, message, outcome)) in found.iter().zip([
        ("reads-not", "closeSession", by(json!({"id": "a"})), Some("bye"), Err("the scope read")),
        ("full", "closeSession", by(json!({"id": "a"})), Some("bye"), Ok(&done)),
        ("full", "sendMessage", json!({"filter": {"id": "b"}, "messageType": "m"}), None, Ok(&sent)),
        ("kicks-not", "closeSession", ids(json!(["b"])), Some("so"), Err(lacks)),
        ("bound", "closeSession", ids(json!(["b"])), None, Err("no session \"b\" is live")),
        ("full", "closeSession", ids(json!(["b", "x"])), None, Ok(&done)),
        ("full", "closeSession", ids(json!([])), None, Err("sessionId is needed")),
        ("kicks-not", "closeSession", ids(json!(["c"])), None, Err(lacks)),
        ("full", "closeSession", ids(json!(["c"])), Some("so"), Ok(&done)),
    ]) {
        assert_eq!((&line["who"], &line["action"], &line["target"]), (&json!(who), &json!(action), &target));
        assert_eq!(line["message"].as_str(), message, "{line}");
        match outcome {
            Ok(result) => assert_eq!((&line["result"], &line["error"]), (result, &Value::Null), "{line}"),
            Err(says) => {
                assert!(line["result"].is_null() && line["error"].as_str().unwrap().contains(says), "{line}");
            }
        }
    }
}

#[test]
fn an_audit_log_that_cannot_be_written_is_told_at_the_start_and_holds_up_nobody_later() {
    let refused = headcount().args(["serve", "--audit-log", "/nowhere/audit.log"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("audit-log /nowhere/audit.log cannot be written"), "{said}");
    if !Path::new("/dev/full").exists() {
        return;
    }
    let server = Server::start(&["--audit-log", "/dev/full"]);
    let _client = RawSocket::open(server.clients, "/ws/p?scope=designer&designerId=d1");
    assert_eq!(call(&server, "", "closeSession", &json!({"sessionId": "d1"}))["result"]["terminated"], 1);
    let (_, said) = server.terminate();
    assert_eq!(said.matches("the audit log cannot be written").count(), 1, "{said}");
}
