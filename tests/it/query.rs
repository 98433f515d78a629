//! PROTOCOL 3: the query socket, POST, and HTTP.

use headcount::config::AdminConfig;
use serde_json::{Value, json};

use crate::crowd::Crowded;
use crate::harness::{
    BINARY, CLOSE, RawSocket, Response, Server, TEXT, UPGRADE, exchange, frame, get, request,
};

/// Asks over an open query socket.
fn ask(socket: &mut RawSocket, text: &str) -> Value {
    socket.send(TEXT, text.as_bytes());
    let (opcode, answer) = socket.receive().expect("an answer");
    assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&answer));
    serde_json::from_slice(&answer).unwrap()
}

fn users(answer: &Value) -> Vec<&str> {
    let rows = answer["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let mut users: Vec<_> = rows.iter().map(|row| row["username"].as_str().unwrap()).collect();
    users.sort_unstable();
    users
}

fn crowd(server: &Server) -> Vec<RawSocket> {
    [("ann", "p"), ("ann", "q"), ("anna", "p"), ("Ann", "p"), ("a*n", "p")]
        .map(|(user, project)| RawSocket::open(server.clients, &format!("/ws/{project}?username={user}")))
        .into()
}

#[test]
fn filters_match_the_whole_value_by_position_and_by_name() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let mut socket = RawSocket::open(server.admin, "/query");
    let mut check = |params: Value, expected: &[&str]| {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "getSessionInfo", "params": params});
        assert_eq!(users(&ask(&mut socket, &request.to_string())), expected, "{params}");
    };
    let all = ["Ann", "a*n", "ann", "ann", "anna"];
    for params in [
        json!([]),
        json!({}),
        json!([null, null]),
        json!(["", ""]),
        json!({"projectFilter": null}),
        json!(["*"]),
    ] {
        check(params, &all);
    }
    check(json!(["ann"]), &["ann", "ann"]);
    check(json!(["ann", "q"]), &["ann"]);
    check(json!({"projectFilter": "q"}), &["ann"]);
    check(json!({"projectFilter": "p", "usernameFilter": "ann*"}), &["ann", "anna"]);
    check(json!(["?nn"]), &["Ann", "ann", "ann"]);
    check(json!([r"a\*n"]), &["a*n"]);
    check(json!(["an"]), &[]);
    check(json!([null, "x"]), &[]);
    let bare = ask(&mut socket, r#"{"jsonrpc":"2.0","id":"x","method":"getSessionInfo"}"#);
    assert_eq!((users(&bare).len(), &bare["id"]), (5, &json!("x")));
}

#[test]
fn garbage_never_closes_the_socket() {
    let server = Server::start(&[]);
    let mut socket = RawSocket::open(server.admin, "/query");
    let huge = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "x".repeat(1_100_000));
    let batch = format!("[{}1]", "1,".repeat(50));
    let deep = "[".repeat(200_000);
    let long_filter =
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"getSessionInfo","params":["{}"]}}"#, "*a".repeat(600));
    for (garbage, id, code) in [
        ("", Value::Null, -32700),
        ("hello", Value::Null, -32700),
        ("{\"jsonrpc\":\"2.0\"", Value::Null, -32700),
        (&deep, Value::Null, -32700),
        ("\u{0}", Value::Null, -32700),
        ("1", Value::Null, -32600),
        ("[]", Value::Null, -32600),
        ("{}", Value::Null, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"getSessionInfo"}"#, json!(1), -32600),
        (r#"{"jsonrpc":"2.0","id":{"a":1},"method":"getSessionInfo"}"#, Value::Null, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"getSessionInfo"}"#, Value::Null, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"getsessioninfo"}"#, json!(1), -32601),
        (r#"{"jsonrpc":"2.0","id":"ü","method":"getSessionInfo","params":[1]}"#, json!("ü"), -32602),
        (
            r#"{"jsonrpc":"2.0","id":1.50,"method":"getSessionInfo","params":{"user":"x"}}"#,
            json!(1.5),
            -32602,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo","params":["","",""]}"#, json!(1), -32602),
        (&long_filter, json!(7), -32602),
        (&batch, Value::Null, -32004),
        (&huge, Value::Null, -32004),
    ] {
        let answer = ask(&mut socket, garbage);
        let shown: String = garbage.chars().take(80).collect();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{shown}: {answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
        assert_eq!(answer["jsonrpc"], "2.0");
    }
    socket.send(BINARY, b"{}");
    let (_, answer) = socket.receive().unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("-32600"));
    assert_eq!(
        ask(&mut socket, r#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo"}"#)["result"],
        json!([])
    );
}

#[test]
fn notifications_are_not_answered_and_batches_are_in_one_message() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let mut socket = RawSocket::open(server.admin, "/query");
    socket.send(TEXT, br#"{"jsonrpc":"2.0","method":"getSessionInfo"}"#);
    socket.send(TEXT, br#"[{"jsonrpc":"2.0","method":"nope"}]"#);
    let batch = ask(
        &mut socket,
        r#"[{"jsonrpc":"2.0","id":1,"method":"getSessionInfo","params":["anna"]},
            {"jsonrpc":"2.0","method":"getSessionInfo"},
            {"jsonrpc":"2.0","id":2,"method":"getSessionInfo","params":["x"]}]"#,
    );
    assert_eq!(batch.as_array().unwrap().len(), 2, "the notifications before were not answered: {batch}");
    assert_eq!((users(&batch[0]), &batch[0]["id"]), (vec!["anna"], &json!(1)));
    assert_eq!(batch[1], json!({"jsonrpc": "2.0", "id": 2, "result": []}));
}

/// Once, an answer that began where a part was full already was asked for again and again: nothing was ever added to
/// that part, and nobody was answered. A long id fills one.
#[test]
fn a_batch_of_several_large_answers_comes_whole_and_in_its_order() {
    const SESSIONS: usize = 2_000;
    let server = Crowded::start(SESSIONS, AdminConfig::default());
    let asked = [
        ("listSessions", json!({"limit": -1})),
        ("listSessions", json!({"limit": -1, "sortBy": "asc(id)"})),
        ("getSessionInfo", json!([])),
        ("listSessions", json!({"limit": -1, "sortBy": "asc(id)", "maxAgeMs": 10_000})),
        ("getSessionInfo", json!(["*", "plant"])),
        ("listSessions", json!({"limit": -1, "sortBy": "asc(id)", "maxAgeMs": 10_000})),
    ];
    let mut all: Vec<_> = (0..SESSIONS).map(|n| format!("session-{n}")).collect();
    all.sort_unstable();
    let id = |n: usize, long: usize| n.to_string().repeat(long);
    let check = |way: &str, long: usize, answers: &Value| {
        let answers = answers.as_array().unwrap_or_else(|| panic!("{way}: {answers}"));
        assert_eq!(answers.len(), asked.len(), "{way}");
        for (n, ((method, params), answer)) in asked.iter().zip(answers).enumerate() {
            assert!(answer["id"] == id(n, long), "{way} {n}");
            let rows = if *method == "listSessions" { &answer["result"]["items"] } else { &answer["result"] };
            let rows = rows.as_array().unwrap_or_else(|| panic!("{way} {n}: {}", answer["error"]));
            let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
            if params["sortBy"].is_null() {
                ids.sort_unstable();
            }
            assert!(ids == all, "{way} {n}: {} of {SESSIONS}, or out of order", ids.len());
        }
    };
    for long in [1, 70_000] {
        let request_of = |(n, (method, params)): (usize, &(&str, Value))| json!({"jsonrpc": "2.0", "id": id(n, long), "method": method, "params": params});
        let batch = Value::from_iter(asked.iter().enumerate().map(request_of)).to_string();
        let mut socket = RawSocket::open(server.admin, "/query");
        check("socket", long, &ask(&mut socket, &batch));
        let posted = request(server.admin, "POST", "/query", "Content-Type: application/json\r\n", &batch);
        check("POST", long, &serde_json::from_str(&posted.body).unwrap());
    }
}

#[test]
fn bytes_that_are_no_websocket_end_the_query_socket_in_order() {
    let server = Server::start(&[]);
    let mut socket = RawSocket::open(server.admin, "/query");
    std::io::Write::write_all(&mut socket.stream, &frame(0x83, b"")).unwrap();
    assert_eq!(socket.closed_with(), 1002);
    let mut socket = RawSocket::open(server.admin, "/query");
    socket.send(TEXT, b"\xff");
    assert_eq!(socket.closed_with(), 1007);
    let mut socket = RawSocket::open(server.admin, "/query");
    socket.send(CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(socket.closed_with(), 1000);
}

fn post(server: &Server, kind: &str, body: &str) -> Response {
    request(server.admin, "POST", "/query", &format!("Content-Type: {kind}\r\n"), body)
}

#[test]
fn the_same_is_answered_by_post() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server);
    let question = r#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo","params":{"usernameFilter":"anna"}}"#;
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        let response = post(&server, kind, question);
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
        assert_eq!(users(&serde_json::from_str(&response.body).unwrap()), ["anna"]);
    }
    let notification = post(&server, "application/json", r#"{"jsonrpc":"2.0","method":"getSessionInfo"}"#);
    assert_eq!((notification.status, &*notification.body), (204, ""));
    assert!(post(&server, "application/json", "{").body.contains("-32700"));
    let not_utf8 = [
        format!("POST /query HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", server.admin)
            .as_bytes(),
        b"Content-Length: 4\r\n\r\n\"\xff\xfe\"",
    ]
    .concat();
    assert!(exchange(server.admin, &not_utf8).body.contains("-32700"));
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        assert_eq!(post(&server, kind, question).status, 415, "{kind}");
    }
    assert_eq!(request(server.admin, "POST", "/query", "", question).status, 415);
    let huge = post(&server, "application/json", &" ".repeat(1_100_000));
    assert_eq!((huge.status, &*huge.error().0), (413, "too_large"));
}

#[test]
fn session_info_over_http_is_the_plain_array() {
    let server = Server::start(&[]);
    assert_eq!(get(server.admin, "/api/v1/session-info").body, "[]");
    let _crowd = crowd(&server);
    let count = |query: &str| server.rows(query).len();
    assert_eq!(count(""), 5);
    assert_eq!(count("usernameFilter=&projectFilter="), 5);
    assert_eq!(count("usernameFilter=ann"), 2);
    assert_eq!(count("usernameFilter=ann*&projectFilter=p"), 2);
    assert_eq!(count("usernameFilter=a%5C*n"), 1);
    let head = request(server.admin, "HEAD", "/api/v1/session-info", "", "");
    let full = get(server.admin, "/api/v1/session-info");
    assert_eq!(head.status, 200);
    let lengths = [&head, &full].map(|response| response.header("content-length").unwrap().len());
    assert_eq!(lengths[0], lengths[1]);
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(full.header(name), Some(value));
    }
}

#[test]
fn a_bad_http_request_is_told_what_is_wrong() {
    let server = Server::start(&[]);
    let long = format!("/api/v1/session-info?projectFilter={}", "x".repeat(1025));
    for (method, target, status, code, says) in [
        (
            "GET",
            "/api/v1/session-info?username=x",
            400,
            "bad_parameter",
            "\"username\"; known: usernameFilter, projectFilter",
        ),
        (
            "GET",
            "/api/v1/session-info?usernamefilter=x",
            400,
            "bad_parameter",
            "it is written usernameFilter",
        ),
        (
            "GET",
            "/api/v1/session-info?usernameFilter=%ff",
            400,
            "bad_parameter",
            "usernameFilter is not valid UTF-8",
        ),
        ("GET", &*long, 400, "bad_parameter", "projectFilter must have at most 1024"),
        ("GET", "/healthz?x", 400, "bad_parameter", "\"x\""),
        ("GET", "/readyz?x=1", 400, "bad_parameter", "\"x\""),
        ("GET", "/query", 426, "upgrade_required", "WebSocket"),
        ("GET", "/nope", 404, "not_found", "/api/v1/openapi.json"),
        ("GET", "/api/v1/session-info/", 404, "not_found", "there is nothing here"),
        ("GET", "/ws/p", 404, "not_found", "this is the admin plane: clients connect to the client plane"),
        ("GET", "/ws", 404, "not_found", "this is the admin plane"),
        ("DELETE", "/api/v1/sessions/x", 405, "method_not_allowed", "DELETE /api/v1/sessions?sessionId="),
        (
            "DELETE",
            "/data/perspective/api/v1/session/x",
            405,
            "method_not_allowed",
            "DELETE /data/perspective/api/v1/sessions?sessionId=",
        ),
        ("POST", "/api/v1/session-info", 405, "method_not_allowed", "GET, HEAD"),
        ("DELETE", "/query", 405, "method_not_allowed", "GET, POST"),
        ("PUT", "/readyz", 405, "method_not_allowed", "GET, HEAD"),
    ] {
        let refused = request(server.admin, method, target, "", "");
        assert_eq!((refused.status, &*refused.error().0), (status, code), "{method} {target}");
        assert!(refused.error().1.contains(says), "{target}: {}", refused.body);
        if status == 405 {
            assert!(refused.header("allow").is_some());
        }
    }
    let upgrade = request(server.admin, "GET", "/query?x=1", UPGRADE, "");
    assert_eq!((upgrade.status, &*upgrade.error().0), (400, "bad_parameter"));
}

#[test]
fn both_planes_say_that_they_are_well() {
    let server = Server::start(&[]);
    for address in [server.clients, server.admin] {
        for method in ["GET", "HEAD"] {
            assert_eq!(request(address, method, "/healthz", "", "").status, 200);
        }
    }
    assert_eq!(get(server.admin, "/readyz").body, r#"{"status":"ready"}"#);
}

#[test]
fn no_page_that_an_operator_happens_to_visit_gets_an_answer() {
    let server = Server::start(&[
        "--allowed-hosts",
        "admin.plant",
        "--admin-allowed-origins",
        "https://portal.plant",
        "--allowed-origins",
        "https://hmi.plant",
    ]);
    let info = "/api/v1/session-info";
    let status =
        |method: &str, target: &str, headers: &str| request(server.admin, method, target, headers, "").status;
    for target in [info, "/healthz", "/readyz", "/query", "/nope"] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            assert_eq!(status(method, target, "Origin: https://evil.example\r\n"), 403, "{method} {target}");
            assert_eq!(status(method, target, "Origin: null\r\n"), 403, "{method} {target}");
            assert_eq!(status(method, target, "Host: evil.example\r\n"), 403, "{method} {target}");
        }
    }
    let upgrade = |headers: &str| status("GET", "/query", &format!("{UPGRADE}{headers}"));
    assert_eq!(upgrade("Origin: https://evil.example\r\n"), 403);
    assert_eq!(upgrade("Host: evil.example\r\n"), 403);
    assert_eq!(upgrade("Origin: https://portal.plant\r\n"), 101);
    // The pages of clients are not those of administrators.
    assert_eq!(upgrade("Origin: https://hmi.plant\r\n"), 403);
    // The list of this plane is named, not that of the clients'.
    let refused = request(server.admin, "GET", info, "Origin: https://hmi.plant\r\n", "").error().1;
    assert!(refused.contains("; --admin-allowed-origins"), "{refused}");
    assert_eq!(status("GET", info, "Host: localhost:9\r\n"), 200);
    assert_eq!(status("GET", info, "Host: admin.plant\r\n"), 200);
    assert_eq!(status("GET", info, "Host: admin.plant\r\nOrigin: http://admin.plant\r\n"), 200);
    let rebound = request(server.admin, "GET", info, "Host: evil.example\r\n", "");
    assert_eq!(rebound.error().0, "host_not_allowed");
    let no_host = exchange(server.admin, format!("GET {info} HTTP/1.1\r\n\r\n").as_bytes());
    assert_eq!(no_host.status, 403);
}

#[test]
fn full_of_query_sockets_it_says_so_and_still_answers_http() {
    // Few descriptors make few places: an eighth of them for administrators.
    let command = format!("ulimit -n 256; exec {} serve", env!("CARGO_BIN_EXE_headcount"));
    let server = Server::start_by(std::process::Command::new("bash").args(["-c", &command]));
    let _sockets: Vec<_> = (0..24).map(|_| RawSocket::open(server.admin, "/query")).collect();
    let refused = request(server.admin, "GET", "/query", UPGRADE, "");
    assert_eq!((refused.status, &*refused.error().0), (503, "too_many_query_sockets"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(get(server.admin, "/healthz").status, 200);
}

#[test]
fn silent_connections_on_one_plane_leave_the_other_alone() {
    let command = format!("ulimit -n 256; exec {} serve", env!("CARGO_BIN_EXE_headcount"));
    let server = Server::start_by(std::process::Command::new("bash").args(["-c", &command]));
    let _silent: Vec<_> = (0..300).map(|_| crate::harness::dial(server.clients)).collect();
    assert_eq!(get(server.admin, "/healthz").status, 200);
}

#[test]
fn a_peer_that_has_said_everything_still_gets_its_answer() {
    let server = Server::start(&[]);
    for address in [server.clients, server.admin] {
        let mut stream = crate::harness::dial(address);
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
}

/// Rows of sessions that had ended once came back without a page.
#[test]
fn under_churn_every_row_is_of_a_live_session() {
    let server = Server::start(&[]);
    let _standing: Vec<_> =
        (0..50).map(|n| RawSocket::open(server.clients, &format!("/ws/p?username=s{n}"))).collect();
    // The clients go on until this is dropped, be it by a failure.
    let asking = std::sync::Arc::new(());
    std::thread::scope(|threads| {
        for _ in 0..4 {
            let over = std::sync::Arc::downgrade(&asking);
            let clients = server.clients;
            threads.spawn(move || {
                while over.strong_count() > 0 {
                    let mut client = RawSocket::open(clients, "/ws/p?username=churn");
                    client.send(TEXT, b"hello");
                    client.send(CLOSE, &1000_u16.to_be_bytes());
                    client.closed_with();
                }
            });
        }
        let _asking = asking;
        let mut socket = RawSocket::open(server.admin, "/query");
        for _ in 0..1500 {
            let answer = ask(&mut socket, r#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo"}"#);
            let rows = answer["result"].as_array().unwrap();
            let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), rows.len(), "no session twice");
            assert_eq!(rows.iter().filter(|row| row["username"] != "churn").count(), 50, "none missed");
            for row in rows {
                assert_eq!((&row["activePages"], row["pageIds"].as_array().unwrap().len()), (&json!(1), 1));
                assert!(row["recentBytesSent"].as_u64() <= row["totalBytesSent"].as_u64());
            }
        }
    });
}

#[test]
fn thousands_of_rows_come_whole() {
    // Over the weight at which an answer is made off the sockets' threads.
    let server = Server::start(&[]);
    let _clients: Vec<_> = (0..1_500)
        .map(|n| RawSocket::open(server.clients, &format!("/ws/p?username=u{n}&pageId={}", "p".repeat(128))))
        .collect();
    assert_eq!(server.rows("").len(), 1_500);
    let mut socket = RawSocket::open(server.admin, "/query");
    let answer = ask(&mut socket, r#"{"jsonrpc":"2.0","id":1,"method":"getSessionInfo"}"#);
    assert_eq!(users(&answer).len(), 1_500);
    assert_eq!(ask(&mut socket, r#"{"jsonrpc":"2.0","id":1}"#)["error"]["code"], -32600);
}
