//! PROTOCOL 3.2: what a token without `pii`, or of one project, sees and touches.

use serde_json::{Value, json};

use crate::{
    gate::session_info,
    harness::{CLOSE, RawSocket, Server, request},
    tokens::{Kinds, Tokens, bearer, call},
};

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

/// A server behind a proxy, and three designers: two of p in one network, one of q in another.
fn behind_a_proxy(tokens: &Tokens) -> (Server, [RawSocket; 3]) {
    let server = Server::start(&["--admin-tokens", tokens.path(), "--trusted-proxies=127.0.0.1"]);
    let clients = [
        ("p", "a", "203.0.113.200", "Alpha/1"),
        ("p", "b", "203.0.113.7", "Beta/1"),
        ("q", "c", "198.51.100.9", "Gamma/1"),
    ]
    .map(|(project, id, address, user_agent)| {
        let headers = format!("X-Forwarded-For: {address}\r\nUser-Agent: {user_agent}\r\n");
        let target = format!("/ws/{project}?scope=designer&designerId={id}&pageId=p1&username={id}");
        RawSocket::open_with(server.clients, &target, &headers)
    });
    (server, clients)
}

fn read(server: &Server, token: &str, target: &str) -> Value {
    let response = request(server.admin, "GET", target, &bearer(token), "");
    assert_eq!(response.status, 200, "{target}: {}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

fn list(server: &Server, token: &str, params: &Value) -> Value {
    let answer = call(server, token, "listSessions", params);
    assert!(answer["error"].is_null(), "{params}: {answer}");
    answer["result"].clone()
}

fn ids(list: &Value) -> String {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    items.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// A row without what time changes.
fn still(row: &Value) -> Value {
    let mut row = row.clone();
    row.as_object_mut().unwrap().retain(|key, _| !matches!(&**key, "uptime" | "lastComm"));
    row
}

#[test]
fn a_list_shows_a_token_without_pii_what_get_session_info_shows() {
    let tokens = Tokens::new("views-rows");
    let kinds = Kinds::new(&tokens);
    let (server, _clients) = behind_a_proxy(&tokens);
    for (token, is_masked) in [(&kinds.masked, true), (&kinds.full, false)] {
        let (_, rows) = session_info(&server, &bearer(token));
        for row in rows.as_array().unwrap() {
            let id = row["id"].as_str().unwrap();
            let same_keys = |item: &Value| {
                let keys = row.as_object().unwrap().keys();
                still(&keys.map(|key| (key.clone(), item[key].clone())).collect())
            };
            for target in
                [format!("/api/v1/sessions?id={id}"), format!("/data/perspective/api/v1/sessions/?id={id}")]
            {
                let list = read(&server, token, &target);
                assert_eq!(same_keys(&list["items"][0]), still(row), "{target}");
            }
            for target in [format!("/api/v1/sessions/{id}"), format!("/data/perspective/api/v1/session/{id}")]
            {
                assert_eq!(same_keys(&read(&server, token, &target)), still(row), "{target}");
            }
            let designers = read(&server, token, &format!("/data/api/v1/designers?id={id}"));
            assert_eq!(designers["items"][0]["address"], row["clientAddress"]);
        }
        for kind in ["application/x-ndjson", "text/csv"] {
            let headers = format!("{}Accept: {kind}\r\n", bearer(token));
            let lines = request(server.admin, "GET", "/api/v1/sessions", &headers, "").body;
            for pii in ["127.0.0.1", "203.0.113.200", "203.0.113.7", "198.51.100.9", "Alpha", "Beta", "Gamma"]
            {
                assert_eq!(lines.contains(pii), !is_masked, "{pii} in {kind}: {lines}");
            }
        }
    }
}

/// A question, and whom a token finds by it without `pii` and with it.
fn probes() -> Vec<(Value, &'static str, &'static str)> {
    let filter = |name: &str, value: &str| json!({"filter": {name: value}});
    vec![
        (filter("clientAddress", "203.0.113.7"), "", "b"),
        (filter("clientAddress", "203.0.113.0"), "a b", ""),
        (filter("clientAddress[ne]", "203.0.113.7"), "a b c", "a c"),
        (filter("clientAddress[cidr]", "203.0.113.0/25"), "a b", "b"),
        (filter("clientAddress[cidr]", "203.0.113.128/25"), "", "a"),
        (filter("clientAddress[cn]", "113.7"), "", "b"),
        (filter("clientAddress[ew]", ".200"), "", "a"),
        (filter("clientAddress[glob]", "*.7"), "", "b"),
        (filter("clientAddress[rgx]", "[.]7$"), "", "b"),
        (filter("peerAddress", "127.0.0.1"), "", "a b c"),
        (filter("peerAddress[cidr]", "127.0.0.1/32"), "", "a b c"),
        (filter("peerAddress", "127.0.0.0"), "a b c", ""),
        (json!({"search": "127.0.0.1"}), "", "a b c"),
        (filter("userAgent[cn]", "Alpha"), "", "a"),
        (filter("userAgent", ""), "a b c", ""),
        (filter("userAgent[ne]", ""), "", "a b c"),
        (json!({"search": "beta"}), "", "b"),
        (json!({"search": "113.7"}), "", "b"),
        (json!({"search": "203.0.113.0"}), "a b", ""),
        (json!({"sortBy": "asc(clientAddress)"}), "c a b", "c b a"),
        (json!({"sortBy": "desc(clientAddress)"}), "a b c", "a b c"),
        (json!({"sortBy": "desc(userAgent)"}), "a b c", "c b a"),
    ]
}

#[test]
fn what_a_token_without_pii_does_not_see_cannot_be_probed() {
    let tokens = Tokens::new("views-probes");
    let kinds = Kinds::new(&tokens);
    let (server, mut clients) = behind_a_proxy(&tokens);
    for (mut asked, masked, full) in probes() {
        let by_id = asked["sortBy"].is_null();
        if by_id {
            asked["sortBy"] = json!("asc(id)");
        }
        for (token, expected) in [(&kinds.masked, masked), (&kinds.full, full)] {
            let found = list(&server, token, &asked);
            assert_eq!(ids(&found), expected, "{asked}");
            let count = expected.split_whitespace().count();
            assert_eq!(found["metadata"]["matching"], count, "{asked}");
            if let Some(filter) = asked.get("filter") {
                let dry = json!({"filter": filter, "dryRun": true});
                let closed = call(&server, token, "closeSession", &dry)["result"].clone();
                assert_eq!(closed, json!({"terminated": count}), "{dry}");
            }
        }
    }
    let close = |filter: Value| {
        call(&server, &kinds.masked, "closeSession", &json!({"filter": filter}))["result"].clone()
    };
    assert_eq!(close(json!({"clientAddress": "203.0.113.7"})), json!({"terminated": 0}));
    assert_eq!(close(json!({"userAgent[cn]": "Gamma"})), json!({"terminated": 0}));
    clients.iter_mut().for_each(RawSocket::barrier);
    assert_eq!(close(json!({"clientAddress": "203.0.113.0"})), json!({"terminated": 2}));
    clients[2].barrier();
}

#[test]
fn a_list_of_a_project_is_all_that_there_is() {
    let tokens = Tokens::new("views-project");
    let kinds = Kinds::new(&tokens);
    let (server, mut clients) = behind_a_proxy(&tokens);
    let sorted = |more: Value| {
        let mut asked = json!({"sortBy": "asc(id)"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        list(&server, &kinds.bound, &asked)
    };
    for (asked, found) in [
        (json!({}), "a b"),
        (json!({"limit": -1}), "a b"),
        (json!({"limit": 1}), "a"),
        (json!({"filter": {"project": ["p", "q"]}}), "a b"),
        (json!({"filter": {"project": "q"}}), ""),
        (json!({"filter": {"project[ne]": "p"}}), ""),
        (json!({"filter": {"id": ["b", "c"]}}), "b"),
        (json!({"filter": {"username": ["a", "c"]}}), "a"),
        (json!({"search": "gamma"}), ""),
        (json!({"search": "designer"}), "a b"),
    ] {
        let list = sorted(asked.clone());
        assert_eq!(ids(&list), found, "{asked}");
        let metadata = &list["metadata"];
        assert_eq!((&metadata["total"], &metadata["nodes"][0]["sessions"]), (&json!(2), &json!(2)), "{list}");
    }
    assert_eq!(sorted(json!({"limit": 1}))["metadata"]["matching"], 2);
    for target in
        ["/data/perspective/api/v1/sessions/?sortBy=asc(id)", "/data/api/v1/designers?sortBy=asc(id)"]
    {
        let list = read(&server, &kinds.bound, target);
        assert_eq!((&*ids(&list), &list["metadata"]["total"]), ("a b", &json!(2)), "{target}");
    }
    // Somebody of another project is not there, and that reads as if there were nobody of that name anywhere.
    for target in
        ["/api/v1/sessions/ID", "/api/v1/sessions/ID/pages", "/data/perspective/api/v1/session/ID/pages"]
    {
        let [other, nobody] = ["c", "x"].map(|id| {
            let answer = request(server.admin, "GET", &target.replace("ID", id), &bearer(&kinds.bound), "");
            (answer.status, answer.body.replace(&format!("\\\"{id}\\\""), "ID"))
        });
        assert_eq!(other, nobody, "{target}");
        assert_eq!(other.0, 404, "{target}");
        read(&server, &kinds.bound, &target.replace("ID", "a"));
    }
    let everybody = json!({"filter": {}, "all": true, "messageType": "x"});
    let sent = call(&server, &kinds.bound, "sendMessage", &everybody)["result"].clone();
    assert_eq!(sent, json!({"delivered": 0, "undeliverable": 2}));
    let closed = call(&server, &kinds.bound, "closeSession", &json!({"filter": {"project[glob]": "*"}}));
    assert_eq!(closed["result"], json!({"terminated": 2}));
    assert_eq!(clients[0].closed_with(), 4001);
    clients[2].barrier();
    assert_eq!(sorted(json!({}))["metadata"]["total"], 0);
}

#[test]
fn a_snapshot_is_for_those_who_see_what_its_maker_saw() {
    let tokens = Tokens::new("views-snapshots");
    let kinds = Kinds::new(&tokens);
    let both = tokens.add("both", "read", &["--project", "p"]);
    let [alike, elsewhere] =
        ["p", "q"].map(|project| tokens.add(&format!("of-{project}"), "read,pii", &["--project", project]));
    let (server, _clients) = behind_a_proxy(&tokens);
    let views = [&kinds.full, &kinds.masked, &kinds.bound, &both, &elsewhere];
    for (maker, token) in views.iter().enumerate() {
        let snapshot = list(&server, token, &json!({"limit": 0}))["metadata"]["snapshotId"].clone();
        for (reader, token) in views.iter().enumerate() {
            let target = format!("/api/v1/sessions?snapshotId={}", snapshot.as_str().unwrap());
            let over_http = request(server.admin, "GET", &target, &bearer(token), "");
            let answer = call(&server, token, "listSessions", &json!({"snapshotId": snapshot}));
            if reader == maker {
                assert_eq!((over_http.status, &answer["error"]), (200, &Value::Null), "{reader}");
                continue;
            }
            assert_eq!(
                (over_http.status, &answer["error"]["code"]),
                (404, &json!(-32002)),
                "{maker} {reader}"
            );
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.starts_with("there is no snapshot"), "{message}");
        }
    }
    let snapshot = list(&server, &kinds.bound, &json!({"limit": 1}))["metadata"]["snapshotId"].clone();
    let rest = list(&server, &alike, &json!({"snapshotId": snapshot, "offset": 1}));
    assert_eq!((ids(&rest).len(), &rest["metadata"]["total"]), (1, &json!(2)));
}
