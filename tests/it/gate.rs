//! PROTOCOL 3.2: who may ask: tokens, how they are given, and the file they are kept in.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::{
    harness::{RawSocket, Server, TEXT, UPGRADE, eventually, get, headcount, request},
    tokens::{Tokens, bearer, call},
};

pub(crate) fn session_info(server: &Server, headers: &str) -> (u16, Value) {
    let response = request(server.admin, "GET", "/api/v1/session-info", headers, "");
    (response.status, serde_json::from_str(&response.body).unwrap())
}

#[test]
fn with_tokens_everything_but_health_needs_one() {
    let tokens = Tokens::new("needs");
    let token = tokens.add("grafana", "read,pii", &[]);
    let server = tokens.server();
    for target in ["/healthz", "/readyz"] {
        assert_eq!(get(server.admin, target).status, 200, "{target}");
    }
    for (method, target) in [
        ("GET", "/api/v1/session-info"),
        ("POST", "/query"),
        ("GET", "/nope"),
        ("PUT", "/healthz/"),
        ("GET", "/query"),
    ] {
        let refused = request(server.admin, method, target, "", "");
        assert_eq!((refused.status, &*refused.error().0), (401, "token_required"), "{method} {target}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(request(server.admin, "GET", "/query", UPGRADE, "").status, 401);
    let ignition = |name: &str, token: &str| format!("X-Ignition-API-Token: {name}:{token}\r\n");
    for headers in [bearer(&token), ignition("grafana", &token)] {
        assert_eq!(session_info(&server, &headers), (200, json!([])), "{headers}");
    }
    for headers in [
        bearer(&token[1..]),
        bearer(&token.to_uppercase()),
        bearer(""),
        ignition("Grafana", &token),
        ignition("", &token),
        format!("X-Ignition-API-Token: {token}\r\n"),
    ] {
        let (status, answer) = session_info(&server, &headers);
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("token_invalid")), "{headers}");
        assert!(!answer.to_string().contains("grafana"), "{answer}");
    }
    let (status, answer) = session_info(&server, &(bearer(&token) + &ignition("grafana", &token)));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("several_tokens")));
    // A parameter of the client plane was named here, which the admin plane has not.
    let offered = format!("{}Sec-WebSocket-Protocol: headcount.bearer.{token}\r\n", bearer(&token));
    let twice = request(server.admin, "GET", "/query", &(UPGRADE.to_owned() + &offered), "");
    assert_eq!((twice.status, &*twice.error().0), (400, "several_tokens"));
    let said = twice.error().1;
    assert!(said.contains("X-Ignition-API-Token") && !said.contains("access_token"), "{said}");
    // A page of another site gets nothing, whatever it brings.
    assert_eq!(session_info(&server, &(bearer(&token) + "Origin: https://evil.example\r\n")).0, 403);
}

#[test]
fn a_browser_brings_its_token_as_a_subprotocol_that_is_never_chosen() {
    let tokens = Tokens::new("browser");
    let token = tokens.add("page", "read", &[]);
    let server = tokens.server();
    let offers = |what: &str| format!("Sec-WebSocket-Protocol: {what}\r\n");
    let offered = offers(&format!("headcount.v1, headcount.bearer.{token}"));
    let socket = RawSocket::open_with(server.admin, "/query", &offered);
    assert_eq!(socket.response.header("sec-websocket-protocol"), Some("headcount.v1"));
    let socket = RawSocket::open_with(server.admin, "/query", &offers(&format!("headcount.bearer.{token}")));
    assert_eq!(socket.response.header("sec-websocket-protocol"), None);
    let bad =
        request(server.admin, "GET", "/query", &(UPGRADE.to_owned() + &offers("headcount.bearer.x")), "");
    assert_eq!(bad.status, 401);
}

#[test]
fn a_scope_that_lacks_is_named_and_nothing_is_done() {
    let tokens = Tokens::new("scopes");
    let [reader, kicker] =
        [("reader", "read"), ("kicker", "kick")].map(|(name, scope)| tokens.add(name, scope, &[]));
    let server = tokens.server();
    let mut client = RawSocket::open(server.clients, "/ws/p?scope=designer&designerId=d1");
    let close = json!({"sessionId": "d1", "message": "bye"});
    for (token, method, params, lacks) in [
        (&reader, "closeSession", &close, "kick"),
        (&reader, "closePage", &json!({"sessionId": "d1", "pageId": "x"}), "kick"),
        (&reader, "sendMessage", &json!({"sessionId": "d1", "messageType": "x"}), "kick"),
        (&kicker, "getSessionInfo", &json!([]), "read"),
        (&kicker, "getHistory", &json!({}), "read"),
    ] {
        let error = &call(&server, token, method, params)["error"];
        assert_eq!(error["code"], -32001, "{method}: {error}");
        assert!(error["message"].as_str().unwrap().ends_with(&format!("the scope {lacks}")), "{error}");
    }
    let (status, answer) = session_info(&server, &bearer(&kicker));
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("insufficient_scope")));
    client.barrier();
    assert_eq!(call(&server, &kicker, "closeSession", &close)["result"], json!({"terminated": 1}));
    assert_eq!(client.closed_with(), 4001);
}

#[test]
fn a_token_that_is_removed_closes_its_sockets_and_no_others() {
    let tokens = Tokens::new("remove");
    let [gone, stays] = ["gone", "stays"].map(|name| tokens.add(name, "read", &[]));
    let server = tokens.server();
    let open = |token: &str| RawSocket::open_with(server.admin, "/query", &bearer(token));
    let (mut first, mut second) = (open(&gone), open(&stays));
    // A file that cannot be meant takes nothing away.
    let good = std::fs::read_to_string(&tokens.0).unwrap();
    std::fs::write(&tokens.0, format!("{good}garbage\n")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    assert_eq!(session_info(&server, &bearer(&gone)).0, 200);
    std::fs::write(&tokens.0, good).unwrap();
    assert!(tokens.run(&["remove", "gone"]).status.success());
    assert_eq!(first.closed_with(), 4005);
    assert_eq!(session_info(&server, &bearer(&gone)).0, 401);
    second.send(TEXT, br#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo"}"#);
    assert_eq!(second.receive().unwrap().1, br#"{"jsonrpc":"2.0","id":1,"result":[]}"#);
    let late = tokens.add("late", "read", &[]);
    eventually("a token that was added", || match session_info(&server, &bearer(&late)).0 {
        200 => Ok(()),
        other => Err(other),
    });
}

#[test]
fn the_file_holds_no_token_and_nobody_else_may_read_it() {
    let tokens = Tokens::new("file");
    let token = tokens.add("one", "kick,read,read", &["--project", "p"]);
    assert_eq!(token.len(), 64);
    std::fs::set_permissions(&tokens.0, PermissionsExt::from_mode(0o644)).unwrap();
    tokens.add("two", "metrics", &[]);
    let mode = std::fs::metadata(&tokens.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&tokens.0).unwrap().contains(&token));
    let list = String::from_utf8(tokens.run(&["list"]).stdout).unwrap();
    assert_eq!(list, "one  read,kick  project \"p\"\ntwo  metrics  all projects\n");
    for (arguments, code, says) in [
        (
            &["new", "one", "--scopes", "read"][..],
            2,
            "already; to replace it, first say headcount token remove one",
        ),
        (&["new", "x", "--scopes", "read", "--project", "a/b"], 2, "the project of the token x has a /"),
        (&["new", "loopback", "--scopes", "read"], 2, "is taken"),
        (&["new", "x", "--scopes", "admin"], 2, "no scope"),
        (&["new", "x"], 2, "--scopes"),
        (&["remove", "three"], 1, "no token \"three\""),
    ] {
        let refused = tokens.run(arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
    }
    std::fs::write(&tokens.0, "garbage\n").unwrap();
    let refused = headcount().args(["serve", "--admin-tokens", tokens.path()]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("line 1") && said.contains(tokens.path()), "{said}");
}

#[test]
fn the_command_line_takes_a_token_from_a_file_or_the_environment() {
    let tokens = Tokens::new("cli");
    let [reader, kicker] =
        [("reader", "read"), ("kicker", "kick")].map(|(name, scope)| tokens.add(name, scope, &[]));
    let server = tokens.server();
    let _client = RawSocket::open(server.clients, "/ws/p?scope=designer&designerId=d1");
    let run = |arguments: &[&str], token: &str| {
        let output = headcount()
            .args(arguments)
            .env("HEADCOUNT_ADMIN", server.admin_url())
            .env("HEADCOUNT_ADMIN_TOKEN", token)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let sessions = ["sessions", "-o", "csv"];
    let (code, rows, _) = run(&sessions, &reader);
    assert_eq!((code, rows.lines().count()), (Some(0), 2));
    let file = Tokens(tokens.0.with_extension("token"));
    std::fs::write(&file.0, format!("{reader}\n")).unwrap();
    assert_eq!(run(&[&sessions[..], &["--token-file", file.path()]].concat(), "").0, Some(0));
    for (arguments, token, says) in [
        (&sessions[..], "", "needs an admin token"),
        (&sessions, "wrong", "not valid"),
        (&sessions, &kicker, "the scope read"),
        (&["close", "d1", "--yes"], &reader, "the scope kick"),
        (&["send", "d1", "x", "1"], &reader, "the scope kick"),
        (
            &["load", &server.url(""), "--verify", "--sessions", "1", "--duration", "1"],
            "",
            "needs an admin token",
        ),
    ] {
        let (code, _, said) = run(arguments, token);
        assert_eq!(code, Some(3), "{arguments:?}: {said}");
        assert!(said.contains(says) && (token.is_empty() || !said.contains(token)), "{said}");
        // Over an open query socket too, where once it was "the open query socket" that refused.
        assert!(said.contains(&format!("the admin plane at {} refused: ", server.admin)), "{said}");
    }
    assert_eq!(run(&["close", "d1", "--yes"], &kicker).0, Some(0));
    assert_eq!(run(&sessions, "two words").0, Some(2));
}
