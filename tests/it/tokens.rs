//! PROTOCOL 3.2: no way in to the admin plane forgets the limits of a token. All of them are in two tables here.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};

use crate::harness::{RawSocket, Response, Server, TEXT, headcount, request, root};

/// A file of tokens that goes with the test.
pub(crate) struct Tokens(pub(crate) PathBuf);

impl Tokens {
    pub(crate) fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.tokens", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        headcount().arg("token").args(arguments).args(["--file", self.path()]).output().unwrap()
    }

    /// A new token.
    pub(crate) fn add(&self, name: &str, scopes: &str, more: &[&str]) -> String {
        let made = self.run(&[&["new", name, "--scopes", scopes], more].concat());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn server(&self) -> Server {
        Server::start(&["--admin-tokens", self.path()])
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub(crate) fn call(server: &Server, token: &str, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let headers = format!("{}Content-Type: application/json\r\n", bearer(token));
    let response = request(server.admin, "POST", "/query", &headers, &body);
    assert_eq!(response.status, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

/// Tokens of every kind of limit.
pub(crate) struct Kinds {
    pub(crate) reads_not: String,
    pub(crate) kicks_not: String,
    pub(crate) masked: String,
    pub(crate) bound: String,
    pub(crate) full: String,
}

impl Kinds {
    pub(crate) fn new(tokens: &Tokens) -> Self {
        Self {
            reads_not: tokens.add("reads-not", "pii,kick", &[]),
            kicks_not: tokens.add("kicks-not", "read,pii", &[]),
            masked: tokens.add("masked", "read,kick,metrics", &[]),
            bound: tokens.add("bound", "read,pii,kick,metrics", &["--project", "p"]),
            full: tokens.add("full", "read,pii,kick,metrics", &[]),
        }
    }

    /// The one that lacks a scope.
    fn without(&self, scope: &str) -> &str {
        // The second has not the scope metrics either.
        if scope == "read" { &self.reads_not } else { &self.kicks_not }
    }
}

/// The designer that a request is for, there until somebody ends it.
pub(crate) fn designer(server: &Server, project: &str, id: &str) -> RawSocket {
    RawSocket::open(server.clients, &format!("/ws/{project}?scope=designer&designerId={id}&pageId=p1"))
}

/// What a call does with the limits of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limits {
    /// It shows what the token's holder sees: no address without `pii`, and nobody of another project.
    Shown,
    /// The same, for as long as they stay to be told.
    Watched,
    /// It tells of nobody, but of all projects: whose token is of one is refused.
    Whole,
    /// It is for one session by its id: those of other projects are not there.
    ById,
    /// It is done to those that a filter picks out of what is seen, and so it needs `read` besides.
    ByFilter,
}

/// Every way in by HTTP that needs a token: method, route, what is asked, the scope, and what becomes of limits. `ID` is
/// a designer of the project q.
const PATHS: [(&str, &str, &str, &str, Limits); 20] = {
    use Limits::{ById, Shown, Watched, Whole};
    [
        ("GET", "/api/v1/stats", "", "read", Shown),
        ("GET", "/metrics", "", "metrics", Whole),
        ("GET", "/api/v1/session-info", "", "read", Shown),
        ("GET", "/api/v1/history", "?username[ne]=x", "read", Shown),
        ("GET", "/api/v1/nodes", "", "read", Shown),
        ("GET", "/api/v1/sessions", "", "read", Shown),
        ("GET", "/api/v1/sessions", "?clientAddress=127.0.0.1&limit=1&search=q&fields=id", "read", Shown),
        ("DELETE", "/api/v1/sessions", "?sessionId=ID", "kick", ById),
        ("GET", "/api/v1/sessions/{id}", "", "read", ById),
        ("GET", "/api/v1/sessions/{id}/pages", "", "read", ById),
        ("GET", "/api/v1/events", "?clientAddress=127.0.0.1&search=q", "read", Watched),
        ("GET", "/data/perspective/api/v1/sessions", "", "read", Shown),
        ("DELETE", "/data/perspective/api/v1/sessions", "?sessionId=ID", "kick", ById),
        ("GET", "/data/perspective/api/v1/sessions/", "?userAgent[cn]=x", "read", Shown),
        ("DELETE", "/data/perspective/api/v1/sessions/", "?sessionId=ID&sessionId=x", "kick", ById),
        ("GET", "/data/perspective/api/v1/session/{id}", "", "read", ById),
        ("GET", "/data/perspective/api/v1/session/{id}/pages", "", "read", ById),
        ("GET", "/data/api/v1/designers", "", "read", Shown),
        ("DELETE", "/data/api/v1/designer/{id}", "?message=x", "kick", ById),
        ("GET", "/data/vision/api/v1/clients", "", "read", Shown),
    ]
};

/// Every method of JSON-RPC, and every way to say whom it is for.
fn calls() -> Vec<(&'static str, Value, &'static str, Limits)> {
    use Limits::{ByFilter, ById, Shown, Watched};
    let (mine, all) = (json!({"id": "ID"}), json!({"clientAddress": "127.0.0.1"}));
    vec![
        ("getSessionInfo", json!([]), "read", Shown),
        ("getHistory", json!({}), "read", Shown),
        ("getStats", json!({}), "read", Shown),
        ("getNodes", json!({}), "read", Shown),
        ("listSessions", json!({}), "read", Shown),
        ("listSessions", json!({"filter": all, "search": "1", "sortBy": "asc(id)"}), "read", Shown),
        ("listSessions", json!({"limit": 0}), "read", Shown),
        ("watchSessions", json!({"filter": all, "search": "1"}), "read", Watched),
        ("watchSessions", json!({}), "read", Watched),
        ("unwatchSessions", json!({"watchId": "w1"}), "read", Watched),
        ("closeSession", json!({"filter": all, "dryRun": true}), "kick", ByFilter),
        ("closeSession", json!({"filter": {}, "all": true, "dryRun": true}), "kick", ByFilter),
        ("closeSession", json!({"filter": mine}), "kick", ByFilter),
        ("sendMessage", json!({"filter": mine, "messageType": "x", "payload": 1}), "kick", ByFilter),
        ("closeSession", json!({"sessionId": "ID", "dryRun": true}), "kick", ById),
        ("closeSession", json!({"sessionId": "ID"}), "kick", ById),
        ("closePage", json!({"sessionId": "ID", "pageId": "p1"}), "kick", ById),
        ("sendMessage", json!({"sessionId": "ID", "messageType": "x"}), "kick", ById),
    ]
}

/// Ends a designer's session, unless it has ended already.
fn end(server: &Server, kinds: &Kinds, id: &str) {
    call(server, &kinds.full, "closeSession", &json!({"sessionId": id}));
}

/// Whether an answer shows nobody of the project q.
fn is_of_nobody(answer: &str) -> bool {
    !answer.contains("\"q\"") && !answer.contains("\"other\"")
}

/// To how many an action by filter was done.
fn done_to(result: &Value) -> u64 {
    result.as_object().unwrap().values().filter_map(Value::as_u64).sum()
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
        // What is told has no end to wait for; `watching.rs` says what it shows.
        let method = if limits == Limits::Watched { "HEAD" } else { method };
        if limits == Limits::ById {
            assert_eq!(ask(method, &bearer(&kinds.bound), id).status, 404, "{what}");
            for (token, project, id) in [(&kinds.bound, "p", "own"), (&kinds.masked, "q", "seen")] {
                let mut client = designer(&server, project, id);
                let answer = ask(method, &bearer(token), id);
                assert_eq!(answer.status, 200, "{what}");
                assert!(token == &kinds.bound || !answer.body.contains("127.0.0.1"), "{}", answer.body);
                end(&server, &kinds, id);
                assert_eq!(client.closed_with(), 4001, "{what}");
            }
        } else {
            let masked = ask(method, &bearer(&kinds.masked), id);
            assert!(masked.status == 200 && !masked.body.contains("127.0.0.1"), "{what}: {}", masked.body);
            if limits == Limits::Whole {
                refused(&kinds.bound, "is of one project");
            } else {
                let bound = ask(method, &bearer(&kinds.bound), id);
                assert!(bound.status == 200 && is_of_nobody(&bound.body), "{what}: {}", bound.body);
            }
        }
        client.barrier();
        assert_eq!(ask(method, &bearer(&kinds.full), id).status, 200, "{what}");
        if method == "DELETE" {
            assert_eq!(client.closed_with(), 4001, "{what}");
        }
    }
}

/// Every route of the router, and the methods that it takes, in lower case.
pub(crate) fn routes() -> Vec<(&'static str, String)> {
    let source = std::fs::read_to_string(root().join("src/admin/http.rs")).unwrap();
    let lines: Vec<_> = source.split(".fallback(").next().unwrap().split(".route(").skip(1).collect();
    let mut routes = Vec::new();
    for line in lines {
        let (route, handlers) = line.trim().strip_prefix('"').unwrap().split_once('"').unwrap();
        let methods = ["get", "delete", "post", "put", "patch", "any"];
        let methods: Vec<_> =
            methods.into_iter().filter(|name| handlers.contains(&format!("{name}("))).collect();
        assert!(!methods.is_empty(), "{line}");
        routes.extend(methods.into_iter().map(|method| (method, route.to_owned())));
    }
    assert!(routes.len() > 10, "{routes:?}");
    routes
}

/// The scope that a route needs, if it is one that is in the table.
pub(crate) fn scope_of(method: &str, route: &str) -> Option<&'static str> {
    let is_it =
        |row: &&(&str, &str, &str, &str, Limits)| row.0.eq_ignore_ascii_case(method) && row.1 == route;
    PATHS.iter().find(is_it).map(|row| row.3)
}

#[test]
fn every_route_is_in_the_table_with_every_method() {
    for (method, route) in routes() {
        // What is behind /query is in a table of its own; for the descriptions any token will do.
        let is_else = matches!(&*route, "/query" | "/healthz" | "/readyz") || route.ends_with("api.json");
        assert!(is_else || scope_of(method, &route).is_some(), "{method} {route} is not in the table");
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
        let asked = |id: &str| -> Value {
            serde_json::from_str(&params.to_string().replace("ID\"", &format!("{id}\""))).unwrap()
        };
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": asked(id)}).to_string();
        assert_eq!(request(server.admin, "POST", "/query", headers, &body).status, 401, "{what}");
        let by_socket = |token: &str| -> Value {
            let mut socket = RawSocket::open_with(server.admin, "/query", &bearer(token));
            if method == "unwatchSessions" {
                socket.send(TEXT, br#"{"jsonrpc":"2.0","id":1,"method":"watchSessions"}"#);
                socket.receive().unwrap();
            }
            socket.send(TEXT, body.as_bytes());
            serde_json::from_slice(&socket.receive().unwrap().1).unwrap()
        };
        let answer = |token: &str| match limits {
            Limits::Watched => by_socket(token),
            _ => call(&server, token, method, &asked(id)),
        };
        let refused = |token: &str, code: i32, says: &str| {
            for answer in [call(&server, token, method, &asked(id)), by_socket(token)] {
                assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
                assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{what}: {answer}");
            }
        };
        refused(kinds.without(scope), -32001, &format!("the scope {scope}"));
        let own = || {
            let id = format!("own{n}");
            (designer(&server, "p", &id), call(&server, &kinds.bound, method, &asked(&id))["result"].clone())
        };
        match limits {
            Limits::Shown | Limits::Whole | Limits::Watched => {
                let masked = answer(&kinds.masked);
                assert!(masked["error"].is_null() && !masked.to_string().contains("127.0.0.1"), "{masked}");
                let bound = answer(&kinds.bound).to_string();
                assert!(!bound.contains("error") && is_of_nobody(&bound), "{what}: {bound}");
            }
            Limits::ById => {
                refused(&kinds.bound, -32002, "no session");
                let (_client, done) = own();
                assert!(done.is_object(), "{what}");
            }
            Limits::ByFilter => {
                // Whom a filter picks is told to nobody who may not ask for it.
                refused(&kinds.reads_not, -32001, "the scope read");
                assert_eq!(done_to(&call(&server, &kinds.bound, method, &asked(id))["result"]), 0, "{what}");
                client.barrier();
                let (_client, done) = own();
                assert_eq!(done_to(&done), 1, "{what}");
            }
        }
        end(&server, &kinds, &format!("own{n}"));
        client.barrier();
        let answer = answer(&kinds.full);
        assert!(answer["error"].is_null() && !answer["result"].is_null(), "{what}: {answer}");
    }
    // Every method is in the table.
    let unknown = call(&server, &kinds.full, "nope", &json!({}))["error"]["message"].clone();
    let (_, known) = unknown.as_str().unwrap().split_once("there are ").unwrap();
    for name in known.split(", ") {
        assert!(calls().iter().any(|row| row.0 == name), "{name} is not in the table");
    }
}
