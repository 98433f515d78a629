//! PROTOCOL 3.2: who may ask, and what they see and do.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use crate::harness::{
    CLOSE, RawSocket, Response, Server, TEXT, UPGRADE, eventually, get, headcount, request, root,
};

/// A file of tokens that goes with the test.
struct Tokens(PathBuf);

impl Tokens {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.tokens", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        headcount().arg("token").args(arguments).args(["--file", self.path()]).output().unwrap()
    }

    /// A new token.
    fn add(&self, name: &str, scopes: &str, more: &[&str]) -> String {
        let made = self.run(&[&["new", name, "--scopes", scopes], more].concat());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn server(&self) -> Server {
        Server::start(&["--admin-tokens", self.path()])
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn session_info(server: &Server, headers: &str) -> (u16, Value) {
    let response = request(server.admin, "GET", "/api/v1/session-info", headers, "");
    (response.status, serde_json::from_str(&response.body).unwrap())
}

fn call(server: &Server, token: &str, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let headers = format!("{}Content-Type: application/json\r\n", bearer(token));
    let response = request(server.admin, "POST", "/query", &headers, &body);
    assert_eq!(response.status, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
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
fn without_pii_addresses_and_user_agents_are_masked_and_cannot_be_probed() {
    let tokens = Tokens::new("pii");
    let [plain, full] =
        [("plain", "read"), ("full", "read,pii")].map(|(name, scope)| tokens.add(name, scope, &[]));
    let server = tokens.server();
    let agent = "User-Agent: Panel \"7\"\r\n";
    let mut client = RawSocket::open_with(server.clients, "/ws/p?username=a%22b", agent);
    let shown = |row: &Value| (row["clientAddress"].clone(), row["userAgent"].clone());
    let (masked, open) = ((json!("127.0.0.0"), json!("")), (json!("127.0.0.1"), json!("Panel \"7\"")));
    for (token, expected) in [(&plain, &masked), (&full, &open)] {
        let (_, rows) = session_info(&server, &bearer(token));
        assert_eq!(&shown(&rows[0]), expected);
        assert_eq!((rows[0].as_object().unwrap().len(), &rows[0]["username"]), (13, &json!("a\"b")));
    }
    client.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.closed_with(), 1000);
    let history = |token: &str, filter: Value| {
        let answer = call(&server, token, "getHistory", &json!({"filter": filter}));
        answer["result"]["items"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    };
    for (token, expected) in [(&plain, &masked), (&full, &open)] {
        assert_eq!(&shown(&history(token, json!({}))[0]), expected);
    }
    for (filter, found) in [
        (json!({"clientAddress": "127.0.0.1"}), [0, 1]),
        (json!({"clientAddress[cidr]": "127.0.0.0/30"}), [1, 1]),
        (json!({"clientAddress": "127.0.0.0"}), [1, 0]),
        (json!({"userAgent[cn]": "Panel"}), [0, 1]),
        (json!({"userAgent[rgx]": "^P"}), [0, 1]),
    ] {
        assert_eq!([&plain, &full].map(|token| history(token, filter.clone()).len()), found, "{filter}");
    }
}

#[test]
fn a_token_of_a_project_sees_and_touches_no_other() {
    let tokens = Tokens::new("project");
    let token = tokens.add("lead", "read,kick", &["--project", "a*"]);
    let server = tokens.server();
    let open = |project: &str, id: &str| {
        RawSocket::open(server.clients, &format!("/ws/{project}?scope=designer&designerId={id}&pageId=p1"))
    };
    let (mut own, mut other) = (open("a*", "own"), open("ab", "other"));
    let ids = |query: &str| {
        let target = format!("/api/v1/session-info{query}");
        let rows: Value =
            serde_json::from_str(&request(server.admin, "GET", &target, &bearer(&token), "").body).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(""), ["own"]);
    assert_eq!(ids("?projectFilter=*"), ["own"]);
    assert!(ids("?projectFilter=ab").is_empty());
    for (method, params) in [
        ("closeSession", json!({"sessionId": "other"})),
        ("closeSession", json!({"sessionId": "other", "dryRun": true})),
        ("closePage", json!({"sessionId": "other", "pageId": "p1"})),
        ("sendMessage", json!({"sessionId": "other", "messageType": "x"})),
        ("sendMessage", json!({"sessionId": "other", "pageId": "nope", "messageType": "x"})),
    ] {
        let error = call(&server, &token, method, &params)["error"].clone();
        assert_eq!(error, json!({"code": -32002, "message": "no session \"other\" is live"}), "{method}");
    }
    other.barrier();
    assert_eq!(
        call(&server, &token, "closeSession", &json!({"sessionId": "own"}))["result"]["terminated"],
        1
    );
    assert_eq!(own.closed_with(), 4001);
    other.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(other.closed_with(), 1000);
    let history = call(&server, &token, "getHistory", &json!({}))["result"].clone();
    assert_eq!((history["items"].as_array().unwrap().len(), &history["metadata"]["total"]), (1, &json!(1)));
    assert_eq!(history["items"][0]["id"], "own");
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
        (&["new", "one", "--scopes", "read"][..], 2, "there twice"),
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
    }
    assert_eq!(run(&["close", "d1", "--yes"], &kicker).0, Some(0));
    assert_eq!(run(&sessions, "two words").0, Some(2));
}

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

/// What a call does with the limits of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limits {
    /// It keeps to them, and answers.
    Kept,
    /// It is refused to whoever has some.
    Refused,
    /// It is done to sessions by their ids: those of other projects are not there. Who may not see addresses may.
    ById,
}

/// Every way in by HTTP that needs a token: method, route, what is asked, the scope, and what becomes of limits. `ID` is
/// a designer of the project q.
const PATHS: [(&str, &str, &str, &str, Limits); 17] = {
    use Limits::{ById, Kept, Refused};
    [
        ("GET", "/api/v1/session-info", "", "read", Kept),
        ("GET", "/api/v1/history", "?username[ne]=x", "read", Kept),
        ("GET", "/api/v1/nodes", "", "read", Kept),
        ("GET", "/api/v1/sessions", "", "read", Refused),
        ("GET", "/api/v1/sessions", "?clientAddress=127.0.0.1&limit=1&search=q&fields=id", "read", Refused),
        ("DELETE", "/api/v1/sessions", "?sessionId=ID", "kick", ById),
        ("GET", "/api/v1/sessions/{id}", "", "read", Refused),
        ("GET", "/api/v1/sessions/{id}/pages", "", "read", Refused),
        ("GET", "/data/perspective/api/v1/sessions", "", "read", Refused),
        ("DELETE", "/data/perspective/api/v1/sessions", "?sessionId=ID", "kick", ById),
        ("GET", "/data/perspective/api/v1/sessions/", "?userAgent[cn]=x", "read", Refused),
        ("DELETE", "/data/perspective/api/v1/sessions/", "?sessionId=ID&sessionId=x", "kick", ById),
        ("GET", "/data/perspective/api/v1/session/{id}", "", "read", Refused),
        ("GET", "/data/perspective/api/v1/session/{id}/pages", "", "read", Refused),
        ("GET", "/data/api/v1/designers", "", "read", Refused),
        ("DELETE", "/data/api/v1/designer/{id}", "?message=x", "kick", ById),
        ("GET", "/data/vision/api/v1/clients", "", "read", Refused),
    ]
};

/// Every method of JSON-RPC, and every way to say whom it is for.
fn calls() -> Vec<(&'static str, Value, &'static str, Limits)> {
    use Limits::{ById, Kept, Refused};
    let (mine, all) = (json!({"id": "ID"}), json!({"clientAddress": "127.0.0.1"}));
    vec![
        ("getSessionInfo", json!([]), "read", Kept),
        ("getHistory", json!({}), "read", Kept),
        ("getNodes", json!({}), "read", Kept),
        ("listSessions", json!({}), "read", Refused),
        ("listSessions", json!({"filter": all, "search": "q", "sortBy": "asc(id)"}), "read", Refused),
        ("listSessions", json!({"snapshotId": "SNAPSHOT", "limit": 1}), "read", Refused),
        ("closeSession", json!({"filter": all, "dryRun": true}), "kick", Refused),
        ("closeSession", json!({"filter": {}, "all": true, "dryRun": true}), "kick", Refused),
        ("closeSession", json!({"filter": mine}), "kick", Refused),
        ("sendMessage", json!({"filter": mine, "messageType": "x", "payload": 1}), "kick", Refused),
        ("closeSession", json!({"sessionId": "ID", "dryRun": true}), "kick", ById),
        ("closeSession", json!({"sessionId": "ID"}), "kick", ById),
        ("closePage", json!({"sessionId": "ID", "pageId": "p1"}), "kick", ById),
        ("sendMessage", json!({"sessionId": "ID", "messageType": "x"}), "kick", ById),
    ]
}

/// Tokens of every kind of limit.
struct Kinds {
    reads_not: String,
    kicks_not: String,
    masked: String,
    bound: String,
    full: String,
}

impl Kinds {
    fn new(tokens: &Tokens) -> Self {
        Self {
            reads_not: tokens.add("reads-not", "pii,kick", &[]),
            kicks_not: tokens.add("kicks-not", "read,pii", &[]),
            masked: tokens.add("masked", "read,kick", &[]),
            bound: tokens.add("bound", "read,pii,kick", &["--project", "p"]),
            full: tokens.add("full", "read,pii,kick", &[]),
        }
    }

    /// The one that lacks a scope.
    fn without(&self, scope: &str) -> &str {
        if scope == "read" { &self.reads_not } else { &self.kicks_not }
    }
}

/// The designer that a request is for, there until somebody ends it.
fn designer(server: &Server, project: &str, id: &str) -> RawSocket {
    RawSocket::open(server.clients, &format!("/ws/{project}?scope=designer&designerId={id}&pageId=p1"))
}

#[test]
fn no_path_of_the_admin_plane_forgets_the_limits_of_a_token() {
    let tokens = Tokens::new("paths");
    let kinds = Kinds::new(&tokens);
    let server = tokens.server();
    let _other = designer(&server, "q", "other");
    for (n, (method, route, query, scope, limits)) in PATHS.into_iter().enumerate() {
        let what = format!("{method} {route}{query}");
        let mut client = designer(&server, "q", &format!("d{n}"));
        let ask = |method: &str, headers: &str, id: &str| -> Response {
            let target = route.replace("{id}", id) + &query.replace("ID", id);
            request(server.admin, method, &target, headers, "")
        };
        let id = &format!("d{n}");
        let refused = |token: &str, says: &str| {
            let refused = ask(method, &bearer(token), id);
            assert_eq!((refused.status, &*refused.error().0), (403, "insufficient_scope"), "{what}");
            assert!(refused.error().1.contains(says), "{what}: {}", refused.body);
            assert!(!refused.body.contains(id.as_str()), "{what}: {}", refused.body);
            if method == "GET" {
                assert_eq!(ask("HEAD", &bearer(token), id).status, 403, "HEAD for {what}");
            }
        };
        assert_eq!(ask(method, "", id).status, 401, "{what}");
        refused(kinds.without(scope), &format!("the scope {scope}"));
        match limits {
            Limits::Refused => {
                for token in [&kinds.masked, &kinds.bound] {
                    refused(token, "cannot use this call yet; getSessionInfo can be used");
                }
            }
            Limits::ById => {
                assert_eq!(ask(method, &bearer(&kinds.bound), id).status, 404, "{what}");
                for (token, project, id) in [(&kinds.bound, "p", "own"), (&kinds.masked, "q", "seen")] {
                    let mut client = designer(&server, project, id);
                    assert_eq!(ask(method, &bearer(token), id).status, 200, "{what}");
                    assert_eq!(client.closed_with(), 4001, "{what}");
                }
            }
            Limits::Kept => {
                let masked = ask(method, &bearer(&kinds.masked), id);
                assert!(
                    masked.status == 200 && !masked.body.contains("127.0.0.1"),
                    "{what}: {}",
                    masked.body
                );
                let bound = ask(method, &bearer(&kinds.bound), id);
                assert!(bound.status == 200 && !bound.body.contains("\"q\""), "{what}: {}", bound.body);
            }
        }
        client.barrier();
        assert_eq!(ask(method, &bearer(&kinds.full), id).status, 200, "{what}");
        if method == "DELETE" {
            assert_eq!(client.closed_with(), 4001, "{what}");
        }
    }
}

#[test]
fn every_route_is_in_the_table_with_every_method() {
    let source = std::fs::read_to_string(root().join("src/admin/http.rs")).unwrap();
    let routes: Vec<_> = source.split(".fallback(").next().unwrap().split(".route(").skip(1).collect();
    assert!(routes.len() > 10, "{routes:?}");
    for line in routes {
        let (route, handlers) = line.trim().strip_prefix('"').unwrap().split_once('"').unwrap();
        if matches!(route, "/query" | "/healthz" | "/readyz") {
            continue;
        }
        let methods = ["get", "delete", "post", "put", "patch", "any"];
        let methods: Vec<_> =
            methods.into_iter().filter(|name| handlers.contains(&format!("{name}("))).collect();
        assert!(!methods.is_empty(), "{line}");
        for name in methods {
            let is_there =
                |row: &(&str, &str, &str, &str, Limits)| row.0.eq_ignore_ascii_case(name) && row.1 == route;
            assert!(PATHS.iter().any(is_there), "{name} {route} is not in the table");
        }
    }
}

#[test]
fn no_method_of_json_rpc_forgets_the_limits_of_a_token() {
    let tokens = Tokens::new("methods");
    let kinds = Kinds::new(&tokens);
    let server = tokens.server();
    let _other = designer(&server, "q", "other");
    let headers = "Content-Type: application/json\r\n";
    for (n, (method, params, scope, limits)) in calls().into_iter().enumerate() {
        let (id, what) = (&format!("d{n}"), format!("{method} {params}"));
        let mut client = designer(&server, "q", id);
        let mut snapshot = String::new();
        if params["snapshotId"].is_string() {
            let list = call(&server, &kinds.full, "listSessions", &json!({"limit": 1}));
            list["result"]["metadata"]["snapshotId"].as_str().unwrap().clone_into(&mut snapshot);
        }
        let asked = |id: &str| -> Value {
            let text = params.to_string().replace("ID\"", &format!("{id}\"")).replace("SNAPSHOT", &snapshot);
            serde_json::from_str(&text).unwrap()
        };
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": asked(id)}).to_string();
        assert_eq!(request(server.admin, "POST", "/query", headers, &body).status, 401, "{what}");
        let by_socket = |token: &str| -> Value {
            let mut socket = RawSocket::open_with(server.admin, "/query", &bearer(token));
            socket.send(TEXT, body.as_bytes());
            serde_json::from_slice(&socket.receive().unwrap().1).unwrap()
        };
        let refused = |token: &str, code: i32, says: &str| {
            for answer in [call(&server, token, method, &asked(id)), by_socket(token)] {
                assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
                assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{what}: {answer}");
            }
        };
        refused(kinds.without(scope), -32001, &format!("the scope {scope}"));
        match limits {
            Limits::Refused => {
                for token in [&kinds.masked, &kinds.bound] {
                    refused(token, -32001, "cannot use this call yet; getSessionInfo can be used");
                }
                // Whom a filter picks is told to nobody who may not ask for it.
                refused(&kinds.reads_not, -32001, "the scope read");
            }
            Limits::ById => {
                refused(&kinds.bound, -32002, "no session");
                let own = format!("own{n}");
                let _own = designer(&server, "p", &own);
                assert!(call(&server, &kinds.bound, method, &asked(&own))["result"].is_object(), "{what}");
            }
            Limits::Kept => {
                let masked = call(&server, &kinds.masked, method, &asked(id));
                assert!(masked["error"].is_null() && !masked.to_string().contains("127.0.0.1"), "{masked}");
                let bound = call(&server, &kinds.bound, method, &asked(id)).to_string();
                assert!(!bound.contains("error") && !bound.contains("\"q\""), "{what}: {bound}");
            }
        }
        client.barrier();
        let answer = call(&server, &kinds.full, method, &asked(id));
        assert!(answer["error"].is_null() && !answer["result"].is_null(), "{what}: {answer}");
    }
    // Every method is in the table.
    let unknown = call(&server, &kinds.full, "nope", &json!({}))["error"]["message"].clone();
    let (_, known) = unknown.as_str().unwrap().split_once("there are ").unwrap();
    for name in known.split(", ") {
        assert!(calls().iter().any(|row| row.0 == name), "{name} is not in the table");
    }
}

#[test]
fn what_is_done_by_filter_and_by_delete_is_in_the_audit_log() {
    let (tokens, audit) = (Tokens::new("audit-bulk"), Tokens::new("audit-bulk-log"));
    let kinds = Kinds::new(&tokens);
    let server = Server::start(&["--admin-tokens", tokens.path(), "--audit-log", audit.path()]);
    let _clients = ["a", "b", "c"].map(|id| designer(&server, "q", id));
    let delete = |token: &str, target: &str| request(server.admin, "DELETE", target, &bearer(token), "");
    let filter = json!({"filter": {"id": "a"}, "message": "bye"});
    for token in [&kinds.masked, &kinds.full] {
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
        ("masked", "closeSession", by(json!({"id": "a"})), Some("bye"), Err("without pii cannot use")),
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
