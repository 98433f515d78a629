//! PROTOCOL 3.2: `OpenAPI` and `AsyncAPI` describe what is there, all of it and nothing else.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use jsonschema::Draft;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::{
    harness::{RawSocket, Response, Server, TEXT, UPGRADE, eventually, get, request, root, tool, tool_file},
    tokens::{Tokens, bearer, routes, scope_of},
};

/// One of the two documents, its objects closed: a member that is not described is an error.
struct Document {
    whole: Value,
    draft: Draft,
}

impl Document {
    fn openapi(server: &Server) -> Self {
        Self::read(server, "/api/v1/openapi.json", Draft::Draft202012)
    }

    fn asyncapi(server: &Server) -> Self {
        Self::read(server, "/api/v1/asyncapi.json", Draft::Draft7)
    }

    fn read(server: &Server, target: &str, draft: Draft) -> Self {
        let response = get(server.admin, target);
        assert_eq!(response.status, 200, "{}", response.body);
        let mut whole: Value = serde_json::from_str(&response.body).unwrap();
        close(&mut whole);
        Self { whole, draft }
    }

    /// What a value is or refers to.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.resolve(
                self.whole.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} is not there")),
            ),
            None => value,
        }
    }

    #[track_caller]
    fn check(&self, what: &str, schema: &Value, instance: &Value) {
        if let Err(why) = self.fits(schema, instance) {
            panic!("{what}: {why}\n{instance}");
        }
    }

    fn fits(&self, schema: &Value, instance: &Value) -> Result<(), String> {
        let schema = json!({"components": self.whole["components"], "allOf": [schema]});
        let options = jsonschema::options().with_draft(self.draft).should_validate_formats(true);
        options.build(&schema).unwrap().validate(instance).map_err(|error| error.to_string())
    }

    fn component(&self, name: &str) -> Value {
        assert!(self.whole["components"]["schemas"][name].is_object(), "{name} is no component");
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Every operation of an `OpenAPI` document: method, path and what is said of it.
    fn operations(&self) -> Vec<(&str, &str, &Value)> {
        let paths = self.whole["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().iter();
                methods.map(move |(method, operation)| (&**method, &**path, operation))
            })
            .collect()
    }

    /// Holds a response against what is said of its operation.
    #[track_caller]
    fn check_response(&self, (method, path): (&str, &str), response: &Response) {
        let what = format!("{method} {path} answered {}", response.status);
        let operation = &self.whole["paths"][path][method];
        assert!(operation.is_object(), "{what}, and is not described");
        let described = self.resolve(&operation["responses"][response.status.to_string()]);
        assert!(described.is_object(), "{what}, and that is not described");
        self.check_response_as(&what, described, response);
    }

    #[track_caller]
    fn check_response_as(&self, what: &str, described: &Value, response: &Response) {
        for (name, header) in described["headers"].as_object().unwrap_or(&Map::new()) {
            let is_there = response.header(&name.to_lowercase()).is_some();
            assert!(is_there || header["required"] != true, "{what} without {name}");
        }
        let Some(contents) = described["content"].as_object() else {
            assert!(response.body.is_empty(), "{what} with {}", response.body);
            return;
        };
        let kind = response.header("content-type").unwrap().split(';').next().unwrap();
        let schema = &contents.get(kind).unwrap_or_else(|| panic!("{what} with {kind}"))["schema"];
        let body = match kind {
            "application/json" => serde_json::from_str(&response.body).unwrap(),
            _ => response.body.clone().into(),
        };
        self.check(what, schema, &body);
    }
}

/// Lets no object have members that are not described.
fn close(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let is_schema = members.get("properties").is_some_and(|properties| {
                properties.as_object().is_some_and(|properties| properties.values().all(Value::is_object))
            });
            if is_schema && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

fn rpc(server: &Server, headers: &str, body: &Value) -> Response {
    let headers = format!("{headers}Content-Type: application/json\r\n");
    request(server.admin, "POST", "/query", &headers, &body.to_string())
}

/// A designer with a page and some traffic, and a browser; somebody who has left.
fn crowd(server: &Server) -> Vec<RawSocket> {
    let mut sockets = vec![
        RawSocket::open(
            server.clients,
            "/ws/q?username=zoe&scope=designer&designerId=d-1&pageId=p1&pagePath=/a",
        ),
        RawSocket::open_with(server.clients, "/ws/p?username=ann", "User-Agent: Panel\r\n"),
    ];
    sockets[0].send(TEXT, b"hello");
    sockets[0].send(TEXT, br#"{"headcount":"activity"}"#);
    sockets.iter_mut().for_each(RawSocket::barrier);
    drop(RawSocket::open(server.clients, "/ws/p?username=eve"));
    eventually("the end of eve", || {
        let rows = server.rows("usernameFilter=eve");
        if rows.is_empty() { Ok(()) } else { Err(rows) }
    });
    sockets
}

#[test]
fn every_route_is_described_with_its_scope_and_nothing_else_is() {
    let tokens = Tokens::new("described");
    let token = tokens.add("any", "kick", &[]);
    let server = tokens.server();
    // Any token will do, and there must be one.
    for target in ["/api/v1/openapi.json", "/api/v1/asyncapi.json", "/asyncapi.json"] {
        assert_eq!(get(server.admin, target).status, 401, "{target}");
        let whole = request(server.admin, "GET", target, &bearer(&token), "");
        assert_eq!((whole.status, whole.header("content-type")), (200, Some("application/json")), "{target}");
        let head = request(server.admin, "HEAD", target, &bearer(&token), "");
        assert_eq!((head.status, head.header("content-length")), (200, whole.header("content-length")));
        assert_eq!(request(server.admin, "GET", &format!("{target}?x=1"), &bearer(&token), "").status, 400);
    }
    let document = request(server.admin, "GET", "/api/v1/openapi.json", &bearer(&token), "");
    let document =
        Document { whole: serde_json::from_str(&document.body).unwrap(), draft: Draft::Draft202012 };
    let described: BTreeSet<_> =
        document.operations().iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let there: BTreeSet<_> = routes().iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(described, there);
    for (method, path, operation) in document.operations() {
        let expected = match (path, scope_of(method, path)) {
            ("/healthz" | "/readyz", _) => json!([]),
            (_, Some(scope)) => json!([{"bearer": [scope]}, {"ignition": [scope]}]),
            (_, None) => json!([{"bearer": []}, {"ignition": []}]),
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
    }
    // Without tokens the plane is open, and says so.
    let open = Server::start(&[]);
    let security = &Document::openapi(&open).whole["paths"]["/api/v1/sessions"]["get"]["security"];
    assert_eq!(*security, json!([{}, {"bearer": ["read"]}, {"ignition": ["read"]}]));
}

#[test]
fn every_method_is_described_in_both_documents_and_nothing_else_is() {
    let server = Server::start(&[]);
    let unknown = rpc(&server, "", &json!({"jsonrpc": "2.0", "id": 1, "method": "nope"}));
    let unknown: Value = serde_json::from_str(&unknown.body).unwrap();
    let message = unknown["error"]["message"].as_str().unwrap();
    let there: BTreeSet<_> = message.split_once("there are ").unwrap().1.split(", ").collect();
    let asyncapi = Document::asyncapi(&server).whole;
    let operations = asyncapi["operations"].as_object().unwrap();
    let on_query = operations.iter().filter(|(_, operation)| {
        operation["channel"]["$ref"] == "#/channels/query" && operation["action"] == "receive"
    });
    assert_eq!(on_query.map(|(name, _)| &**name).collect::<BTreeSet<_>>(), there);
    let openapi = Document::openapi(&server);
    let requests = openapi.whole["components"]["schemas"]["RpcRequest"]["anyOf"].as_array().unwrap();
    let described = requests
        .iter()
        .map(|request| openapi.resolve(request)["properties"]["method"]["const"].as_str().unwrap());
    assert_eq!(described.collect::<BTreeSet<_>>(), there);
}

/// The sources of the admin plane and of what it shares, without their tests.
fn sources(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn every_code_of_an_error_is_described_and_nothing_else_is() {
    let server = Server::start(&[]);
    let document = Document::openapi(&server).whole;
    let mut described = BTreeSet::new();
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        let code = "/content/application~1json/schema/properties/error/properties/code/enum";
        let codes = response.pointer(code).and_then(Value::as_array).cloned().unwrap_or_default();
        for code in codes {
            assert!(
                described.insert(code.as_str().unwrap().to_owned()),
                "{code} is in {name} and in another"
            );
        }
    }
    // A status and a code beside it, or the one helper that has its status in itself.
    let code = Regex::new(r#"(?:StatusCode::[A-Z_]+,|unauthorized\()\s*"([a-z_]+)""#).unwrap();
    let there: BTreeSet<_> = ["admin", "edge"]
        .iter()
        .flat_map(|folder| sources(folder))
        .flat_map(|text| code.captures_iter(&text).map(|found| found[1].to_owned()).collect::<Vec<_>>())
        .collect();
    assert_eq!(described, there);

    let code = Regex::new(r"const [A-Z_]+: i32 = (-32\d+);").unwrap();
    let source = fs::read_to_string(root().join("src/admin/rpc.rs")).unwrap();
    let there: BTreeSet<i64> = code.captures_iter(&source).map(|found| found[1].parse().unwrap()).collect();
    let described =
        &document["components"]["schemas"]["RpcError"]["properties"]["error"]["properties"]["code"];
    let described = described["enum"].as_array().unwrap().iter().map(|code| code.as_i64().unwrap());
    assert_eq!(described.collect::<BTreeSet<_>>(), there);
}

#[test]
fn the_parameters_that_are_known_are_those_that_are_described() {
    let server = Server::start(&[]);
    let document = Document::openapi(&server);
    for (method, path, operation) in document.operations() {
        let mut described = BTreeSet::new();
        let mut has_filter = false;
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            let parameter = document.resolve(parameter);
            match parameter["name"].as_str().unwrap() {
                "filter" => has_filter = true,
                name if parameter["in"] == "query" => drop(described.insert(name.to_owned())),
                _ => {}
            }
        }
        let target = format!("{}?nope=1", path.replace("{id}", "x"));
        let headers =
            if path == "/query" && method == "get" { UPGRADE } else { "Content-Type: application/json\r\n" };
        let refused = request(server.admin, &method.to_uppercase(), &target, headers, "");
        let (code, message) = refused.error();
        assert_eq!((refused.status, &*code), (400, "bad_parameter"), "{method} {path}");
        let known = message.split_once("known: ").unwrap_or_else(|| panic!("{method} {path}: {message}")).1;
        let (known, fields) = known.split_once(", and field[op] with a field of ").unwrap_or((known, ""));
        let known: BTreeSet<_> =
            known.split(", ").filter(|name| *name != "none").map(str::to_owned).collect();
        assert_eq!(described, known, "{method} {path}");
        assert_eq!(has_filter, !fields.is_empty(), "{method} {path}");
        let filter = if path == "/api/v1/history" { "EndedFilterInQuery" } else { "LiveFilterInQuery" };
        let patterns = &document.whole["components"]["schemas"][filter]["patternProperties"];
        let patterns = patterns.as_object().unwrap().keys().map(|pattern| Regex::new(pattern).unwrap());
        let patterns: Vec<_> = patterns.collect();
        for field in fields.split(", ").filter(|field| !field.is_empty()) {
            assert!(patterns.iter().any(|pattern| pattern.is_match(field)), "{field} is not in the filter");
        }
    }
}

/// Requests for every path and method, with what goes right and what goes wrong; `{id}` is a designer.
fn requests() -> Vec<(&'static str, &'static str, &'static str, String, String, u16)> {
    let list = "/api/v1/sessions";
    let filtered = "?username[sw]=z&uptime[gte]=0&sortBy=desc(uptime)&search=zo&limit=1&fields=id,pages";
    let accept = |kind: &str| format!("Accept: {kind}\r\n");
    let json = "Content-Type: application/json\r\n".to_owned();
    let none = String::new;
    let notification = r#"{"jsonrpc":"2.0","method":"getSessionInfo"}"#;
    vec![
        ("get", "/query", "", UPGRADE.to_owned(), none(), 101),
        ("get", "/query", "", none(), none(), 426),
        ("get", "/query", "", UPGRADE.replace("13", "12"), none(), 426),
        ("post", "/query", "", json.clone(), notification.to_owned(), 204),
        ("post", "/query", "", json.clone(), "[{}]".to_owned(), 200),
        ("post", "/query", "", json.clone(), "{".to_owned(), 200),
        ("post", "/query", "", none(), "{}".to_owned(), 415),
        ("post", "/query", "", json.clone(), "x".repeat(1 << 20) + "x", 413),
        ("post", "/query", "", format!("{json}Content-Length: 9\r\n"), none(), 408),
        ("get", "/api/v1/session-info", "?usernameFilter=z*", none(), none(), 200),
        ("get", "/api/v1/session-info", "?nope", none(), none(), 400),
        ("get", "/api/v1/session-info", "", "Origin: https://evil.example\r\n".to_owned(), none(), 403),
        ("get", "/api/v1/session-info", "", format!("X: {}\r\n", "x".repeat(40_000)), none(), 431),
        ("get", list, "", none(), none(), 200),
        ("get", list, "?limit=1", none(), none(), 200),
        ("get", list, filtered, none(), none(), 200),
        ("get", list, "", accept("application/x-ndjson"), none(), 200),
        ("get", list, "", accept("text/csv"), none(), 200),
        ("get", list, "", accept("image/png"), none(), 406),
        ("get", list, "?snapshotId=x", none(), none(), 404),
        ("get", list, "?uptime=x", none(), none(), 400),
        ("get", "/api/v1/sessions/{id}", "", none(), none(), 200),
        ("get", "/api/v1/sessions/{id}", "?fields=id,uptime", none(), none(), 200),
        ("get", "/api/v1/sessions/{id}", "?fields=id&fields=id", none(), none(), 400),
        ("get", "/api/v1/sessions/{id}/pages", "", none(), none(), 200),
        ("get", "/api/v1/stats", "", none(), none(), 200),
        ("get", "/api/v1/history", "?reason=lost&limit=5&from=2026-01-31T08:30:00Z", none(), none(), 200),
        ("get", "/api/v1/history", "?from=yesterday", none(), none(), 400),
        ("get", "/api/v1/nodes", "", none(), none(), 200),
        ("get", "/api/v1/events", "?intervalMs=1", none(), none(), 400),
        ("get", "/metrics", "", none(), none(), 200),
        ("get", "/metrics", "", accept("application/openmetrics-text"), none(), 200),
        ("get", "/data/perspective/api/v1/sessions/", "", none(), none(), 200),
        ("get", "/data/perspective/api/v1/sessions", "", none(), none(), 200),
        ("get", "/data/perspective/api/v1/session/{id}", "", none(), none(), 200),
        ("get", "/data/perspective/api/v1/session/{id}/pages", "", none(), none(), 200),
        ("get", "/data/api/v1/designers", "", none(), none(), 200),
        ("get", "/data/vision/api/v1/clients", "", none(), none(), 200),
        ("get", "/healthz", "", none(), none(), 200),
        ("get", "/readyz", "", none(), none(), 200),
        ("get", "/api/v1/openapi.json", "", none(), none(), 200),
        ("get", "/api/v1/asyncapi.json", "", none(), none(), 200),
        ("get", "/asyncapi.json", "", none(), none(), 200),
        ("delete", list, "", none(), none(), 400),
        ("delete", list, "?sessionId=d-1&message=so", none(), none(), 200),
        ("delete", "/data/perspective/api/v1/sessions/", "?sessionId=d-1", none(), none(), 200),
        ("delete", "/data/perspective/api/v1/sessions", "?sessionId=d-1", none(), none(), 200),
        ("delete", "/data/api/v1/designer/{id}", "", none(), none(), 200),
    ]
}

#[test]
fn what_http_answers_is_as_described() {
    let server = Server::start(&["--request-timeout", "1s"]);
    let document = Document::openapi(&server);
    let mut crowd = crowd(&server);
    let mut answered = BTreeSet::new();
    for (method, path, query, headers, body, status) in requests() {
        let ask = |id: &str| {
            let target = path.replace("{id}", id) + query;
            request(server.admin, &method.to_uppercase(), &target, &headers, &body)
        };
        let response = ask("d-1");
        assert_eq!(response.status, status, "{method} {path}{query}: {}", response.body);
        document.check_response((method, path), &response);
        if matches!(status, 101 | 200) {
            answered.insert((method, path));
        }
        if path.contains("{id}") && status == 200 {
            let missing = ask("nobody");
            assert_eq!(missing.status, 404, "{method} {path}");
            document.check_response((method, path), &missing);
        }
        if method == "delete" && status == 200 {
            assert_eq!(crowd.remove(0).closed_with(), 4001);
            let again = "/ws/q?scope=designer&designerId=d-1&pageId=p1";
            crowd.insert(0, RawSocket::open(server.clients, again));
        }
        // What no token and a wrong method are answered is the same everywhere.
        let refused = request(server.admin, "PATCH", &path.replace("{id}", "x"), "", "");
        assert_eq!(refused.status, 405, "{path}");
        let described = &document.whole["components"]["responses"]["MethodNotAllowed"];
        document.check_response_as(path, described, &refused);
        let allowed: BTreeSet<_> = refused.header("allow").unwrap().split(", ").collect();
        let methods = document.whole["paths"][path].as_object().unwrap().keys();
        let mut expected: BTreeSet<_> = methods.map(|method| method.to_uppercase()).collect();
        // The query socket is one for GET alone.
        if expected.contains("GET") && path != "/query" {
            expected.insert("HEAD".to_owned());
        }
        assert_eq!(allowed, expected.iter().map(|method| &**method).collect(), "{path}");
    }
    for (method, path, _) in document.operations() {
        // A stream has no end; tests/it/watching.rs reads it.
        let is_stream = path == "/api/v1/events";
        assert!(is_stream || answered.contains(&(method, path)), "nobody asks {method} {path}");
    }
}

#[test]
fn what_a_token_lacks_is_answered_as_described() {
    let tokens = Tokens::new("lacks");
    let token = tokens.add("none", "pii", &[]);
    let server = tokens.server();
    let read = |target: &str| request(server.admin, "GET", target, &bearer(&token), "");
    let whole = serde_json::from_str(&read("/api/v1/openapi.json").body).unwrap();
    let document = Document { whole, draft: Draft::Draft202012 };
    for (method, path, _) in document.operations() {
        let target = path.replace("{id}", "x");
        let ask = |headers: &str| request(server.admin, &method.to_uppercase(), &target, headers, "");
        if !matches!(path, "/healthz" | "/readyz") {
            let refused = ask("");
            assert_eq!(refused.status, 401, "{method} {path}");
            document.check_response((method, path), &refused);
        }
        if scope_of(method, path).is_some() {
            let refused = ask(&bearer(&token));
            assert_eq!(refused.status, 403, "{method} {path}");
            document.check_response((method, path), &refused);
        }
    }
}

/// Requests for every method, with what goes right and what goes wrong.
fn calls() -> Vec<(&'static str, Value, Option<i64>)> {
    let mine = json!({"id": "d-1"});
    let several =
        json!({"username[in]": ["zoe", null], "uptime[gte]": 0, "clientAddress[cidr]": "127.0.0.0/8"});
    let ids = json!({"sessionId": "d-1"});
    vec![
        ("getSessionInfo", json!(["z*"]), None),
        ("getSessionInfo", json!({"projectFilter": null, "usernameFilter": ""}), None),
        ("getSessionInfo", json!([1]), Some(-32602)),
        ("listSessions", Value::Null, None),
        ("listSessions", json!([{"limit": 1, "offset": 0, "search": "", "snapshotId": null}]), None),
        ("listSessions", json!({"filter": several, "sortBy": "asc(id)", "fields": ["id", "pages"]}), None),
        ("listSessions", json!({"filter": {"uptime[cn]": 1}}), Some(-32602)),
        ("listSessions", json!({"snapshotId": "gone"}), Some(-32002)),
        ("getHistory", json!({"from": "2026-01-31T08:30:00Z", "limit": -1}), None),
        ("getHistory", json!({"filter": {"reason": ["lost", "closed"], "durationMs[lt]": 1e9}}), None),
        ("getHistory", json!({"from": "yesterday"}), Some(-32602)),
        (
            "sendMessage",
            json!({"sessionId": "d-1", "messageType": "notice", "payload": {"text": [1, null]}}),
            None,
        ),
        ("watchSessions", json!({"filter": {"username": "zoe"}, "intervalMs": 60_000}), None),
        ("watchSessions", json!({"intervalMs": 1}), Some(-32602)),
        ("unwatchSessions", json!({"watchId": "w1"}), None),
        ("unwatchSessions", json!({"watchId": "w1"}), Some(-32002)),
        ("getNodes", json!({}), None),
        ("getStats", Value::Null, None),
        ("getStats", json!({"more": 1}), Some(-32602)),
        ("sendMessage", json!({"filter": {}, "all": true, "messageType": "notice"}), None),
        ("sendMessage", json!({"filter": {}, "messageType": "notice"}), Some(-32602)),
        ("sendMessage", json!({"sessionId": "d-1", "pageId": "nope", "messageType": "x"}), Some(-32002)),
        ("closeSession", json!({"filter": mine, "dryRun": true, "message": null}), None),
        ("closeSession", json!({"filter": mine, "sessionId": "d-1"}), Some(-32602)),
        ("closePage", json!({"sessionId": "d-1", "pageId": "nope"}), Some(-32002)),
        ("closePage", json!({"sessionId": "d-1", "pageId": "p1", "message": "so"}), None),
        ("closeSession", ids.clone(), Some(-32002)),
        ("nope", ids, Some(-32601)),
    ]
}

#[test]
fn what_is_answered_to_every_method_is_as_described() {
    let server = Server::start(&[]);
    let [openapi, asyncapi] = [Document::openapi(&server), Document::asyncapi(&server)];
    let _crowd = crowd(&server);
    let mut socket = RawSocket::open(server.admin, "/query");
    for (n, (method, params, error)) in calls().into_iter().enumerate() {
        let asked = json!({"jsonrpc": "2.0", "id": n, "method": method, "params": params});
        let what = format!("{method} {params}");
        socket.send(TEXT, asked.to_string().as_bytes());
        let (opcode, answer) = socket.receive().unwrap();
        assert_eq!(opcode, TEXT);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["error"]["code"].as_i64(), error, "{what}: {answer}");
        let component = match error {
            Some(_) => "RpcError".to_owned(),
            None => format!("{method}.answer"),
        };
        for document in [&openapi, &asyncapi] {
            document.check(&what, &document.component(&component), &answer);
            document.check(&what, &document.component("RpcAnswers"), &json!([answer]));
            let is_described = document.fits(&document.component("RpcRequests"), &asked);
            // What is not described is refused; what is refused for what it says may be described.
            assert!(error.is_some() || is_described.is_ok(), "{what}: {is_described:?}");
            assert!(error != Some(-32601) || is_described.is_err(), "{what}");
        }
    }
    for (method, operation) in asyncapi.whole["operations"].as_object().unwrap() {
        let is_on_query =
            operation["channel"]["$ref"] == "#/channels/query" && operation["action"] == "receive";
        let is_asked = calls().iter().any(|(name, _, error)| name == method && error.is_none());
        assert!(is_asked || !is_on_query, "nobody asks {method}");
    }
}

#[test]
fn what_clients_and_the_tracker_say_is_as_described() {
    let server = Server::start(&["--max-pages-per-session", "2"]);
    let document = Document::asyncapi(&server);
    let speaks = "Sec-WebSocket-Protocol: headcount.v1\r\n";
    let target = "/ws/p?username=zoe&pageId=p1";
    let mut client = RawSocket::open_with(server.clients, target, speaks);
    let heard = |client: &mut RawSocket, what: &str, name: &str| -> Value {
        let (opcode, text) = client.receive().unwrap();
        let message: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((opcode, &message["headcount"]), (TEXT, &json!(name)), "{what}: {message}");
        document.check(what, &document.component(name), &message);
        message
    };
    heard(&mut client, "the first", "welcome");
    for (said, name, refused) in [
        (json!({"headcount": "openPage", "pageId": "p2", "path": "/a"}), "openPage", None),
        (json!({"headcount": "openPage", "pageId": "p3", "path": null}), "openPage", Some("too_many_pages")),
        (json!({"headcount": "navigate", "pageId": "p2", "path": "/b"}), "navigate", None),
        (json!({"headcount": "closePage", "pageId": "p2"}), "closePage", None),
        (json!({"headcount": "closePage", "pageId": "p2"}), "closePage", Some("unknown_page")),
        (json!({"headcount": "activity"}), "activity", None),
        (json!({"headcount": "activity", "more": 1}), "", Some("bad_message")),
        (json!({"headcount": "openPage", "pageId": ""}), "", Some("bad_parameter")),
        (
            json!({"headcount": "navigate", "pageId": "p1", "path": "x".repeat(513)}),
            "",
            Some("bad_parameter"),
        ),
    ] {
        let kinds = ["openPage", "closePage", "navigate", "activity"];
        for kind in kinds {
            let fits = document.fits(&document.component(kind), &said);
            assert_eq!(fits.is_ok(), kind == name, "{said} as {kind}: {fits:?}");
        }
        client.send(TEXT, said.to_string().as_bytes());
        match refused {
            Some(code) => {
                assert_eq!(heard(&mut client, &said.to_string(), "error")["code"], code, "{said}");
            }
            None => client.barrier(),
        }
    }
    let send = json!({
        "jsonrpc": "2.0", "id": 1, "method": "sendMessage",
        "params": {"filter": {"username": "zoe"}, "messageType": "notice", "payload": {"text": "hi"}},
    });
    assert_eq!(rpc(&server, "", &send).status, 200);
    heard(&mut client, "sendMessage", "message");
}

#[test]
fn every_example_is_as_described_and_shaped_as_live_answers_are() {
    let server = Server::start(&[]);
    let [openapi, asyncapi] = [Document::openapi(&server), Document::asyncapi(&server)];
    for (method, path, operation) in openapi.operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            for (kind, content) in openapi.resolve(response)["content"].as_object().unwrap_or(&Map::new()) {
                if content["example"].is_null() {
                    continue;
                }
                let what = format!("the example of {method} {path}, {status}, {kind}");
                openapi.check(&what, &content["schema"], &content["example"]);
            }
        }
        for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
            let parameter = openapi.resolve(parameter);
            openapi.check(&format!("{method} {path}"), &parameter["schema"], &parameter["example"]);
        }
    }
    for (name, message) in asyncapi.whole["components"]["messages"].as_object().unwrap() {
        for example in message["examples"].as_array().unwrap_or(&Vec::new()) {
            asyncapi.check(name, &message["payload"], &example["payload"]);
        }
    }
    // An item of the example has what an item has.
    let _crowd = crowd(&server);
    let example = "/paths/~1api~1v1~1sessions~1{id}/get/responses/200/content/application~1json/example";
    let example = openapi.whole.pointer(example).unwrap();
    let live: Value = serde_json::from_str(&get(server.admin, "/api/v1/sessions/d-1").body).unwrap();
    let keys = |item: &Value| item.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(example), keys(&live));
    openapi.check("a whole item", &openapi.component("Session"), &live);
}

/// Writes a document where the tools find it.
fn saved(server: &Server, target: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, get(server.admin, target).body).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A program of the folder where Schemathesis is, and what validates descriptions.
fn of_schemathesis(name: &str) -> Option<Command> {
    tool("schemathesis", tool_file(&format!("schemathesis/bin/{name}")).map(Command::new))
}

#[track_caller]
fn succeeds(mut command: Command) {
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_documents_are_what_their_specifications_say() {
    let Some(mut python) = of_schemathesis("python") else { return };
    let specs = tool_file("asyncapi/node_modules/@asyncapi/specs/schemas/3.0.0.json");
    let Some(specs) = tool("asyncapi-specs", specs) else { return };
    let server = Server::start(&[]);
    python
        .arg(root().join("tests/descriptions/validate.py"))
        .arg(saved(&server, "/api/v1/openapi.json", "openapi.json"))
        .arg(saved(&server, "/asyncapi.json", "asyncapi.json"))
        .arg(specs);
    succeeds(python);
}

/// Schemathesis asks whatever the document allows, and whatever it does not, with every check that it has.
#[test]
fn schemathesis_finds_nothing() {
    let Some(mut schemathesis) = of_schemathesis("schemathesis") else { return };
    let tokens = Tokens::new("schemathesis");
    let token = tokens.add("all", "read,pii,kick,metrics", &[]);
    // Nobody reads its log meanwhile: it must fit into a pipe.
    let server = Server::start(&["--admin-tokens", tokens.path(), "--heartbeat", "60s", "--log", "error"]);
    // Some of them will be ended.
    let designer = |n| format!("/ws/q?scope=designer&designerId=d-{n}&username=zoe");
    let _crowd: Vec<_> = (0..40).map(|n| RawSocket::open(server.clients, &designer(n))).collect();
    schemathesis
        .arg("--config-file")
        .arg(root().join("tests/descriptions/schemathesis.toml"))
        .args(["run", &format!("{}/api/v1/openapi.json", server.admin_url())])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .env("SCHEMATHESIS_HOOKS", root().join("tests/descriptions/hooks.py"))
        .env("HEADCOUNT_ADMIN_TOKEN", &token)
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    succeeds(schemathesis);
}
