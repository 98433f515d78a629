//! PROTOCOL 3.1 and 3.2: `listSessions`, its forms over HTTP, and what is done to those that a filter picks.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::counting::KEYS;
use crate::harness::{CLOSE, RawSocket, Response, Server, call, dial, eventually, get, headcount, request};

const PATH: &str = "/api/v1/sessions";

fn accepting(server: &Server, accept: &str, target: &str) -> Response {
    request(server.admin, "GET", target, &format!("Accept: {accept}\r\n"), "")
}

fn users(items: &Value) -> Vec<&str> {
    let items = items["items"].as_array().unwrap_or_else(|| panic!("{items}"));
    items.iter().map(|item| item["username"].as_str().unwrap()).collect()
}

/// Ann on a phone, Bob in a browser with two pages, and a designer.
fn crowd(server: &Server) -> Vec<RawSocket> {
    let mut sockets: Vec<_> = [
        "/ws/p?username=ann&scope=ios&pageId=a1&pagePath=/alarms",
        "/ws/q?username=bob&scope=browser&pageId=b1",
        "/ws/q?username=zoe&scope=designer&designerId=d-1&pageId=z1",
    ]
    .map(|target| RawSocket::open(server.clients, target))
    .into();
    sockets[1].send(1, b"hello");
    sockets[1].send(1, br#"{"headcount":"openPage","pageId":"b2","path":"/x"}"#);
    sockets[2].send(1, br#"{"headcount":"activity"}"#);
    sockets.iter_mut().for_each(RawSocket::barrier);
    sockets
}

#[test]
fn an_item_has_the_thirteen_keys_and_then_its_own() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let answer = get(server.admin, &format!("{PATH}?sortBy=asc(username)"));
    let own = [
        "connected",
        "connections",
        "connectedAt",
        "lastCommAt",
        "lastActivity",
        "bytesReceived",
        "messagesSent",
        "bytesPerSecond",
        "rttMs",
        "pages",
        "node",
        "subprotocol",
        "peerAddress",
    ];
    let order: Vec<_> = KEYS
        .into_iter()
        .chain(own)
        .map(|key| {
            answer.body.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key}: {}", answer.body))
        })
        .collect();
    assert!(order.is_sorted(), "{}", answer.body);
    let list: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(users(&list), ["ann", "bob", "zoe"]);
    let (ann, bob, zoe) = (&list["items"][0], &list["items"][1], &list["items"][2]);
    assert_eq!(ann["pages"][0]["path"], "/alarms");
    assert_eq!(
        (&bob["connected"], &bob["connections"], &bob["messagesSent"]),
        (&json!(true), &json!(1), &json!(2))
    );
    assert_eq!(ann["bytesPerSecond"], 0);
    // 58 bytes came in less than twenty seconds.
    assert!(bob["bytesPerSecond"].as_u64().unwrap() > 0, "{bob}");
    assert_eq!((&bob["activePages"], &bob["pages"][1]["id"]), (&json!(2), &json!("b2")));
    assert_eq!(
        (&bob["lastActivity"], &bob["rttMs"], &bob["node"]),
        (&Value::Null, &Value::Null, &json!("local"))
    );
    assert!(zoe["lastActivity"].is_u64() && zoe["connectedAt"].as_str().unwrap().ends_with('Z'));
    let metadata = &list["metadata"];
    for (key, value) in
        [("total", json!(3)), ("matching", json!(3)), ("limit", json!(100)), ("offset", json!(0))]
    {
        assert_eq!(metadata[key], value);
    }
    assert_eq!((&metadata["complete"], &metadata["snapshotId"]), (&json!(true), &Value::Null));
    assert_eq!(metadata["nodes"], json!([{"name": "local", "answered": true, "sessions": 3}]));
    let few = get(server.admin, &format!("{PATH}?fields=project,id&username=zoe"));
    assert!(few.body.starts_with(r#"{"items":[{"id":"d-1","project":"q"}],"metadata""#), "{}", few.body);
    let one: Value = serde_json::from_str(&get(server.admin, &format!("{PATH}/d-1")).body).unwrap();
    assert_eq!(one["username"], "zoe");
    let pages: Value = serde_json::from_str(&get(server.admin, &format!("{PATH}/d-1/pages")).body).unwrap();
    assert_eq!((&pages["items"][0]["id"], &pages["metadata"]["total"]), (&json!("z1"), &json!(1)));
    for path in ["/nope", "/nope/pages"] {
        assert_eq!(get(server.admin, &format!("{PATH}{path}")).error().0, "not_found");
    }
}

#[test]
fn every_operator_and_type_picks_the_same_both_ways() {
    // Nobody is pinged meanwhile, so nobody has a round trip.
    let server = Server::start(&["--heartbeat", "1h"]);
    let _crowd = crowd(&server);
    for (condition, value, expected) in [
        ("username", json!("ann"), "ann"),
        ("username[eq]", json!("bob"), "bob"),
        ("username[ne]", json!("ann"), "bob zoe"),
        ("username[in]", json!(["ann", "zoe"]), "ann zoe"),
        ("username[cn]", json!("o"), "bob zoe"),
        ("project[sw]", json!("q"), "bob zoe"),
        ("username[ew]", json!("nn"), "ann"),
        ("username[glob]", json!("?o*"), "bob zoe"),
        ("username[rgx]", json!("^[ab]"), "ann bob"),
        ("sessionScope", json!("designer"), "zoe"),
        ("totalBytesSent[gt]", json!(0), "bob zoe"),
        ("messagesSent[gte]", json!(2), "bob"),
        ("messagesSent[lt]", json!(1), "ann"),
        ("activePages[lte]", json!(1), "ann zoe"),
        ("uptime[gte]", json!(0), "ann bob zoe"),
        ("bytesPerSecond", json!(0), "ann"),
        ("bytesPerSecond[gt]", json!(0), "bob zoe"),
        ("bytesPerSecond[gte]", json!(100_000), ""),
        ("lastActivity", json!(null), "ann bob"),
        ("rttMs[ne]", json!(null), ""),
        ("connectedAt[gt]", json!("2001-01-01T00:00:00Z"), "ann bob zoe"),
        ("lastCommAt[lt]", json!("2001-01-01T00:00:00Z"), ""),
        ("authorized", json!(true), ""),
        ("connected", json!(true), "ann bob zoe"),
        ("pageIds", json!("b2"), "bob"),
        ("pageIds[sw]", json!("z"), "zoe"),
        ("clientAddress[cidr]", json!("127.0.0.0/8"), "ann bob zoe"),
        ("clientAddress", json!("10.0.0.1"), ""),
        ("node", json!("local"), "ann bob zoe"),
    ] {
        let answer = call(
            server.admin,
            "listSessions",
            &json!({"filter": {condition: value}, "sortBy": "asc(username)"}),
        );
        assert_eq!(users(&answer["result"]).join(" "), expected, "{condition} {value}");
        let values = value.as_array().cloned().unwrap_or(vec![value]);
        let pairs: Vec<_> = values
            .iter()
            .map(|value| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{condition}={}", text.replace('^', "%5E"))
            })
            .collect();
        let target = format!("{PATH}?sortBy=asc(username)&{}", pairs.join("&"));
        let answer: Value = serde_json::from_str(&get(server.admin, &target).body).unwrap();
        assert_eq!(users(&answer).join(" "), expected, "{target}");
    }
    let found = get(server.admin, &format!("{PATH}?search=BO+b2"));
    assert_eq!(users(&serde_json::from_str(&found.body).unwrap()), ["bob"]);
}

#[test]
fn a_session_has_the_subprotocol_that_any_of_its_connections_speaks() {
    let server = Server::start(&[]);
    let designer = |id: &str, page: &str, headers: &str| {
        let target = format!("/ws/p?username={id}&scope=designer&designerId={id}&pageId={page}");
        RawSocket::open_with(server.clients, &target, headers)
    };
    let v1 = "Sec-WebSocket-Protocol: headcount.v1\r\n";
    let (_ann, _bob, _zoe) =
        (designer("ann", "p1", ""), designer("bob", "p1", v1), designer("zoe", "p1", ""));
    let mut second = designer("zoe", "p2", v1);
    let list = |more: Value| {
        let mut asked = json!({"sortBy": "asc(username)"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call(server.admin, "listSessions", &asked)["result"].clone()
    };
    let spoken = list(json!({}))["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["subprotocol"].clone())
        .collect::<Vec<_>>();
    assert_eq!(spoken, [Value::Null, json!("headcount.v1"), json!("headcount.v1")]);
    for (asked, found) in [
        (json!({"filter": {"subprotocol": "headcount.v1"}}), "bob zoe"),
        (json!({"filter": {"subprotocol[glob]": "*.v1"}}), "bob zoe"),
        (json!({"filter": {"subprotocol": null}}), "ann"),
        (json!({"filter": {"subprotocol[ne]": "headcount.v1"}}), "ann"),
        (json!({"search": "headcount.v1"}), "bob zoe"),
        (json!({"sortBy": "desc(subprotocol)"}), "bob zoe ann"),
    ] {
        assert_eq!(users(&list(asked.clone())).join(" "), found, "{asked}");
    }
    second.receive().expect("a welcome");
    second.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(second.closed_with(), 1000);
    assert_eq!(users(&list(json!({"filter": {"subprotocol": "headcount.v1"}}))), ["bob"]);
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    let server = Server::start(&[]);
    for (query, says) in [
        (
            "nope=1",
            "unknown parameter \"nope\"; known: limit, offset, sortBy, search, fields, snapshotId, maxAgeMs, and field[op]",
        ),
        ("Limit=1", "it is written limit"),
        ("limit=x", "limit must be a whole number"),
        ("limit=-2", "limit must be -1 for all"),
        ("offset=-1", "offset must be 0 or more"),
        ("limit=1&limit=2", "limit is given twice"),
        ("fields=id,nope", "unknown field \"nope\" in fields; known: userAgent"),
        ("nope[eq]=1", "unknown field \"nope\" in filter; known: userAgent"),
        ("username[nope]=1", "unknown operator \"nope\" for username, which takes eq"),
        ("totalBytesSent[gt]=x", "totalBytesSent[gt] must be a whole number"),
        ("sortBy=nope", "sortBy must be asc(field)"),
        ("sortBy=asc(nope)", "unknown field \"nope\" in sortBy; known"),
    ] {
        let refused = get(server.admin, &format!("{PATH}?{query}"));
        assert_eq!((refused.status, &*refused.error().0), (400, "bad_parameter"), "{query}");
        assert!(refused.error().1.contains(says), "{query}: {}", refused.body);
    }
    for (params, says) in [
        (json!({"nope": 1}), "unknown parameter \"nope\"; known: filter, search"),
        (json!({"limit": "x"}), "limit must be a whole number, not a string"),
        (json!({"fields": "id"}), "fields must be an array of names"),
        (json!({"filter": {"username[gt]": "x"}}), "gt does not fit username"),
        (json!({"search": 1}), "search must be a string or null"),
    ] {
        let answer = call(server.admin, "listSessions", &params);
        assert_eq!(answer["error"]["code"], -32602, "{params}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{params}: {answer}");
    }
    let gone = call(server.admin, "listSessions", &json!({"snapshotId": "gone"}));
    assert_eq!(gone["error"]["code"], -32002, "{gone}");
    assert_eq!(get(server.admin, &format!("{PATH}?snapshotId=gone")).error().0, "not_found");
}

#[test]
fn lists_come_in_the_form_that_is_liked_best() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    for (accept, kind) in [
        ("*/*", "application/json"),
        ("text/csv", "text/csv; charset=utf-8; header=present"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/html, application/x-ndjson;q=0.5, text/csv;q=0.1", "application/x-ndjson"),
        ("application/*", "application/json"),
    ] {
        let answer = accepting(&server, accept, PATH);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{accept}");
    }
    assert_eq!(accepting(&server, "text/html", PATH).error().0, "not_acceptable");
    assert_eq!(accepting(&server, "text/csv;q=0", PATH).status, 406);
    let lines =
        accepting(&server, "application/x-ndjson", &format!("{PATH}?fields=username&sortBy=desc(username)"));
    assert_eq!(lines.body, "{\"username\":\"zoe\"}\n{\"username\":\"bob\"}\n{\"username\":\"ann\"}\n");
    let cells = accepting(&server, "text/csv", &format!("{PATH}?fields=username,project&username=ann"));
    assert_eq!(cells.body, "username,project\r\nann,p\r\n");
    assert_eq!(request(server.admin, "HEAD", PATH, "", "").status, 200);
}

#[test]
fn a_filter_picks_whom_an_action_is_for() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let close = |params: Value| call(server.admin, "closeSession", &params);
    for (params, says) in [
        (json!({}), "sessionId or filter is needed"),
        (json!({"sessionId": "d-1", "filter": {"username": "ann"}}), "both given"),
        (json!({"filter": {}}), "say all:true"),
        (json!({"filter": {"nope": 1}}), "unknown field"),
        (json!({"sessionId": "d-1", "all": true}), "all goes with a filter"),
    ] {
        let refused = close(params);
        assert_eq!(refused["error"]["code"], -32602);
        assert!(refused["error"]["message"].as_str().unwrap().contains(says), "{refused}");
    }
    assert_eq!(
        close(json!({"filter": {"project": "q"}, "dryRun": true}))["result"],
        json!({"terminated": 2})
    );
    assert_eq!(server.rows("").len(), 3);
    assert_eq!(close(json!({"filter": {"username[glob]": "b*"}}))["result"], json!({"terminated": 1}));
    let sent = call(
        server.admin,
        "sendMessage",
        &json!({"filter": {"project": "q"}, "messageType": "x", "payload": 1}),
    );
    assert_eq!(sent["result"], json!({"delivered": 0, "undeliverable": 1}));
    // A notification is carried out, although nobody wants to know.
    let notification = r#"{"jsonrpc":"2.0","method":"closeSession","params":{"filter":{"username":"ann"}}}"#;
    let answer = request(server.admin, "POST", "/query", "Content-Type: application/json\r\n", notification);
    assert_eq!(answer.status, 204);
    assert_eq!(server.rows("").len(), 1);
    assert_eq!(close(json!({"filter": {}, "all": true}))["result"], json!({"terminated": 1}));
    assert!(server.rows("").is_empty());
}

#[test]
fn sessions_are_ended_over_http() {
    let server = Server::start(&[]);
    let mut crowd = crowd(&server);
    let delete = |target: &str| request(server.admin, "DELETE", target, "", "");
    assert_eq!(delete(PATH).error().0, "bad_parameter");
    assert_eq!(delete(&format!("{PATH}?id=x")).status, 400);
    assert_eq!(delete(&format!("{PATH}?sessionId=x&sessionId=y")).error().0, "not_found");
    let rows = server.rows("usernameFilter=ann");
    let ann = rows[0]["id"].as_str().unwrap();
    let ended = delete(&format!("{PATH}?sessionId={ann}&sessionId=d-1&sessionId=x&message=bye+now"));
    assert_eq!((ended.status, &*ended.body), (200, r#"{"terminated":2}"#));
    let (_, farewell) = crowd[0].receive().unwrap();
    assert_eq!(&farewell[2..], b"bye now");
    assert_eq!(request(server.admin, "POST", PATH, "", "").header("allow"), Some("GET, HEAD, DELETE"));
}

#[test]
fn tools_for_ignition_find_what_they_know() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let read = |target: &str| -> Value { serde_json::from_str(&get(server.admin, target).body).unwrap() };
    for target in ["/data/perspective/api/v1/sessions/", "/data/perspective/api/v1/sessions"] {
        let list = read(&format!("{target}?sortBy=asc(username)&limit=2&project[ne]=x"));
        assert_eq!(users(&list), ["ann", "bob"]);
        assert_eq!(list["items"][0].as_object().unwrap().len(), 13);
        assert_eq!(list["metadata"], json!({"total": 3, "matching": 3, "limit": 2, "offset": 0}));
    }
    assert_eq!(get(server.admin, "/data/perspective/api/v1/sessions/?fields=id").status, 400);
    let one = read("/data/perspective/api/v1/session/d-1");
    assert_eq!((one.as_object().unwrap().len(), &one["username"]), (13, &json!("zoe")));
    let pages = read("/data/perspective/api/v1/session/d-1/pages");
    let keys: Vec<_> = pages["items"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["connectCount", "created", "id", "lastKeepalive", "roundtrip"]);
    let missing = get(server.admin, "/data/perspective/api/v1/session/x");
    assert_eq!((missing.status, &*missing.body), (404, r#"{"message":"no session \"x\" is live"}"#));
    let designers = read("/data/api/v1/designers");
    let keys = get(server.admin, "/data/api/v1/designers").body;
    assert!(
        keys.starts_with(
            r#"{"items":[{"id":"d-1","user":"zoe","project":"q","address":"127.0.0.1","uptime":"#
        )
    );
    // Of all three sessions, whose number tools paged by.
    assert_eq!(designers["metadata"], json!({"total": 1, "matching": 1, "limit": 100, "offset": 0}));
    let in_order = read("/data/api/v1/designers?sortBy=asc(id)&limit=0");
    assert_eq!(in_order["metadata"], json!({"total": 1, "matching": 1, "limit": 0, "offset": 0}));
    let none = read("/data/api/v1/designers?user=x");
    assert_eq!(none["error"]["code"], "bad_parameter");
    let none = read("/data/api/v1/designers?username=x");
    assert_eq!(none["metadata"], json!({"total": 1, "matching": 0, "limit": 100, "offset": 0}));
    assert_eq!(read("/data/vision/api/v1/clients")["items"], json!([]));
    let delete = |target: &str| request(server.admin, "DELETE", target, "", "");
    let bob = server.rows("usernameFilter=bob")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(delete(&format!("/data/api/v1/designer/{bob}")).status, 404, "no designer");
    assert_eq!(delete("/data/api/v1/designer/d-1").body, r#"{"terminated":1}"#);
    assert_eq!(delete("/data/api/v1/designer/d-1").status, 404);
    let ended = delete(&format!("/data/perspective/api/v1/sessions?sessionId={bob}"));
    assert_eq!(ended.body, r#"{"terminated":1}"#);
}

#[test]
fn a_snapshot_is_read_page_by_page_while_sessions_come_and_go() {
    let server = Server::start(&[]);
    let open = |n: usize| RawSocket::open(server.clients, &format!("/ws/p?username=user{n}"));
    let mut crowd: Vec<_> = (0..120).map(open).collect();
    for sort_by in ["", "asc(username)", "desc(connectedAt)"] {
        let mut live: Vec<_> =
            server.rows("").iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        let sort_by = if sort_by.is_empty() { String::new() } else { format!("&sortBy={sort_by}") };
        let page = |query: &str| -> Value {
            let answer = get(server.admin, &format!("{PATH}?limit=17{sort_by}{query}"));
            assert_eq!(answer.status, 200, "{}", answer.body);
            serde_json::from_str(&answer.body).unwrap()
        };
        let mut list = page("");
        let snapshot = list["metadata"]["snapshotId"].as_str().unwrap().to_owned();
        let (mut seen, mut ended) = (Vec::new(), 0);
        loop {
            let items = list["items"].as_array().unwrap();
            if items.is_empty() {
                break;
            }
            ended += items.iter().filter(|item| item["connected"] == false).count();
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            for _ in 0..12 {
                let mut leaver = crowd.remove(crowd.len() / 3);
                leaver.send(CLOSE, &1000_u16.to_be_bytes());
                assert_eq!(leaver.closed_with(), 1000);
                crowd.push(open(1000 + seen.len()));
            }
            list = page(&format!("&snapshotId={snapshot}&offset={}", seen.len()));
            assert_eq!(list["metadata"]["matching"], live.len());
        }
        assert!(ended > 0, "those that have left since are there");
        seen.sort_unstable();
        live.sort_unstable();
        assert_eq!(seen, live, "each once");
    }
}

#[test]
fn history_and_nodes_are_there_over_http_as_by_their_methods() {
    let server = Server::start(&[]);
    let mut crowd = crowd(&server);
    let mut leaver = crowd.remove(0);
    leaver.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(leaver.closed_with(), 1000);
    call(server.admin, "closeSession", &json!({"sessionId": "d-1"}));
    let read = |query: &str| -> Value {
        let answer = get(server.admin, &format!("/api/v1/history?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    };
    assert_eq!(read(""), call(server.admin, "getHistory", &json!({}))["result"]);
    assert_eq!(users(&read("")), ["zoe", "ann"], "the newest first");
    for (query, expected) in [
        ("limit=1", &["zoe"][..]),
        ("reason=terminated", &["zoe"]),
        ("username[in]=ann&username[in]=x&totalBytesSent[lte]=9", &["ann"]),
        ("username[in]=x,ann,zoe", &["zoe", "ann"]),
        ("username[in]=x&username[in]=y,ann", &["ann"]),
        ("username[eq]=ann,zoe", &[]),
        ("from=2001-01-01T00:00:00Z&to=2999-01-01T00:00:00%2B02:00&limit=-1", &["zoe", "ann"]),
        ("to=2001-01-01T00:00:00Z", &[]),
    ] {
        assert_eq!(users(&read(query)), expected, "{query}");
    }
    for (query, says) in [
        ("limit=-2", "limit must be -1 for all"),
        ("limit=x", "limit must be a whole number, not \"x\""),
        ("from=today", "from must be an RFC 3339 time, not \"today\""),
        ("to=&to=2001-01-01T00:00:00Z", "to is given twice"),
        (
            "offset=1",
            "unknown parameter \"offset\"; known: from, to, limit, and field[op] with a field of id,",
        ),
        ("From=1", "it is written from"),
        ("nope[eq]=1", "unknown field \"nope\" in filter; known: id, username"),
        ("reason[gt]=1", "gt does not fit reason"),
    ] {
        let refused = get(server.admin, &format!("/api/v1/history?{query}"));
        assert_eq!((refused.status, &*refused.error().0), (400, "bad_parameter"), "{query}");
        assert!(refused.error().1.contains(says), "{query}: {}", refused.body);
    }
    let nodes: Value = serde_json::from_str(&get(server.admin, "/api/v1/nodes").body).unwrap();
    let by_rpc = &call(server.admin, "getNodes", &json!([]))["result"];
    for nodes in [&nodes, by_rpc] {
        let node = &nodes[0];
        assert_eq!(
            (&node["name"], &node["answered"], &node["sessions"]),
            (&json!("local"), &json!(true), &json!(1))
        );
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!((node["draining"].as_bool(), node["connections"].is_u64()), (Some(false), true), "{node}");
        assert!(node["uptimeMs"].is_u64() && node["startedAt"].as_str().unwrap().ends_with('Z'), "{node}");
    }
    assert_eq!(get(server.admin, "/api/v1/nodes?x=1").error().0, "bad_parameter");
    assert_eq!(call(server.admin, "getNodes", &json!({"x": 1}))["error"]["code"], -32602);
}

#[test]
fn the_command_line_ends_those_that_fit() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let close = |arguments: &[&str]| {
        let mut command = headcount();
        command.arg("close").args(arguments).args(["--admin", &server.admin_url()]).stdin(Stdio::null());
        let ran = command.output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
    };
    assert_eq!(close(&[]).0, Some(2));
    assert_eq!(close(&["d-1", "--user", "ann"]).0, Some(2));
    let said = |words: &str| (Some(0), format!("{words}\n"));
    assert_eq!(close(&["--project", "q", "--dry-run"]), said("2 sessions would be ended"));
    assert_eq!(close(&["--user", "b*", "--project", "q"]), said("1 session ended"));
    assert_eq!(close(&["--all", "--message", "bye"]), said("2 sessions ended"));
    assert!(server.rows("").is_empty());
}

fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A list of any size is made as it is read: not more of it is in memory than a slow reader has room for.
#[test]
fn a_slow_reader_of_a_long_list_costs_a_part_of_it() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (clients, admin): (SocketAddr, SocketAddr) = (free(), free());
    let mut child = headcount()
        .args(["bench-registry", "--serve", "--sessions", "200000"])
        .args(["--listen", &clients.to_string(), "--admin-listen", &admin.to_string()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the server", || std::net::TcpStream::connect(admin).map(drop));
    // A short one first, so that the program's own pages for it are there: 20 sessions out of an index.
    let short =
        request(admin, "GET", &format!("{PATH}?username=billy"), "Accept: application/x-ndjson\r\n", "");
    assert_eq!(short.body.lines().count(), 20);
    let before = resident_kib(child.id());
    let mut stream = dial(admin);
    let head = format!("GET {PATH} HTTP/1.1\r\nHost: {admin}\r\nAccept: application/x-ndjson\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut part, mut most) = (vec![0; 64 * 1024], before);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        stream.read_exact(&mut part).unwrap();
        most = most.max(resident_kib(child.id()));
        std::thread::sleep(Duration::from_millis(62));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    crate::harness::say(&format!("a slow reader cost {} KiB", most - before));
    assert!(most - before < 16 * 1024, "{} KiB", most - before);
}
