//! Everything that can be wrong with what comes in, and what is said about it. Nothing of it may harm others:
//! each table runs beside a bystander whose counts must not move.

use std::{io::Write, net::SocketAddr, time::Instant};

use serde_json::json;

use crate::harness::{
    BINARY, CLOSE, PING, RawSocket, Response, Server, TEXT, UPGRADE, dial, exchange, frame, get, request,
};

fn upgrade(server: &Server, target: &str, headers: &str) -> Response {
    request(server.clients, "GET", target, &format!("{UPGRADE}{headers}"), "")
}

/// The bystander: a session that sent five bytes, and must have sent five bytes afterwards.
fn bystander(server: &Server) -> RawSocket {
    let mut client = RawSocket::open(server.clients, "/ws/p?username=bystander");
    client.send(TEXT, b"hello");
    client.barrier();
    client
}

#[track_caller]
fn unharmed(server: &Server, mut bystander: RawSocket) {
    bystander.barrier();
    let row = server.row("bystander", |_| true);
    assert_eq!((&row["totalBytesSent"], &row["activePages"]), (&json!(5), &json!(1)));
    crate::harness::eventually("the others gone", || match server.rows("").len() {
        1 => Ok(()),
        n => Err(n),
    });
}

#[test]
fn a_bad_upgrade_is_refused_with_the_parameter_and_its_limit() {
    let server = Server::start(&[]);
    let standing_by = bystander(&server);
    let long = |n| "x".repeat(n);
    let cases: Vec<(String, u16, &str, String)> = [
        ("/ws/", 400, "bad_project", "project is empty"),
        (&format!("/ws/{}", long(129)), 400, "bad_project", "project has 129 characters: it has 1 to 128"),
        (
            &format!("/ws/{}", long(10_000)),
            400,
            "bad_project",
            "project has 10000 characters: it has 1 to 128",
        ),
        ("/ws/a%00b", 400, "bad_project", "control character"),
        ("/ws/a%1fb", 400, "bad_project", "control character"),
        ("/ws/a%C2%85b", 400, "bad_project", "control character"),
        ("/ws/a%2Fb", 400, "bad_project", "has a /"),
        ("/ws/%ff%fe", 400, "bad_project", "not valid UTF-8"),
        ("/ws/p?pageId=", 400, "bad_parameter", "pageId must have 1 to 128 characters, not 0"),
        (
            &format!("/ws/p?pageId={}", long(129)),
            400,
            "bad_parameter",
            "pageId must have 1 to 128 characters, not 129",
        ),
        ("/ws/p?pageId=%00", 400, "bad_parameter", "pageId must have 1 to 128"),
        ("/ws/p?pageId=%ff", 400, "bad_parameter", "pageId is not valid UTF-8"),
        ("/ws/p?pageId=a&pageId=b", 400, "bad_parameter", "pageId is given twice"),
        ("/ws/p?PageID=a", 400, "bad_parameter", "it is written pageId"),
        (&format!("/ws/p?pagePath={}", long(513)), 400, "bad_parameter", "pagePath must have at most 512"),
        ("/ws/p?scope=desktop", 400, "bad_parameter", "scope must be designer, browser, ios or android"),
        (&format!("/ws/p?username={}", long(257)), 400, "bad_parameter", "username must have at most 256"),
        ("/ws/p?designerId=d", 400, "bad_parameter", "designerId needs scope=designer"),
        ("/ws/p?scope=designer&designerId=a%20b", 400, "bad_parameter", "designerId must be 1 to 64"),
        (
            &format!("/ws/p?scope=designer&designerId={}", long(65)),
            400,
            "bad_parameter",
            "designerId must be 1 to 64",
        ),
        ("/", 404, "not_found", "/ws/{project}"),
        ("/ws", 404, "not_found", "/ws/{project}"),
        ("/ws/a/b", 404, "not_found", "/ws/{project}"),
        ("/query", 404, "not_found", "this is the client plane, connect a WebSocket to /ws/{project}"),
        ("/api/v1/sessions", 404, "not_found", "administrators ask the admin plane"),
    ]
    .map(|(target, status, code, message): (&str, u16, &str, &str)| {
        (target.to_owned(), status, code, message.to_owned())
    })
    .into();
    for (target, status, code, message) in cases {
        let refused = upgrade(&server, &target, "");
        assert_eq!((refused.status, &*refused.error().0), (status, code), "{target}");
        assert!(refused.error().1.contains(&message), "{target}: {}", refused.body);
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
    unharmed(&server, standing_by);
}

#[test]
fn an_application_s_own_parameters_are_no_error() {
    let server = Server::start(&[]);
    let _client = RawSocket::open(server.clients, "/ws/p?v=2&username=billy&EIO=4&%ff=%ff&&=");
    server.row("billy", |_| true);
}

#[test]
fn a_request_that_is_no_upgrade_is_told_what_it_lacks() {
    let server = Server::start(&[]);
    let clients = server.clients;
    let plain = get(clients, "/ws/p");
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
        let refused = request(clients, method, "/ws/p", UPGRADE, "");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET")), "{method}");
    }
    let without = |line: &str, instead: &str| {
        assert!(UPGRADE.contains(line));
        let headers = UPGRADE.replace(line, instead);
        exchange(clients, format!("GET /ws/p HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes())
    };
    let version = without("Version: 13", "Version: 8");
    assert_eq!((version.status, version.header("sec-websocket-version")), (426, Some("13")));
    let no_key = without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
    assert_eq!((no_key.status, &*no_key.error().0), (400, "bad_handshake"));
    assert_eq!(without("dGhlIHNhbXBsZSBub25jZQ==", "short").status, 400);
    assert_eq!(without("Upgrade: websocket\r\n", "Upgrade: h2c\r\n").status, 426);
    assert_eq!(without("Connection: Upgrade", "Connection: close").status, 426);
    // Both are lists, over as many lines as the client likes (RFC 9110, 5.3).
    for (line, instead) in [
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        ("Connection: Upgrade", "Connection: keep-alive,\tuPgRaDe"),
        ("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
        ("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
    ] {
        assert_eq!(without(line, instead).status, 101, "{instead}");
    }
    let no_connection = without("Connection: Upgrade\r\n", "");
    assert!(no_connection.error().1.contains("ask with Connection: Upgrade"), "{no_connection:?}");
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let refused = exchange(clients, format!("GET /ws/p HTTP/1.1\r\n{hosts}{UPGRADE}\r\n").as_bytes());
        assert_eq!((refused.status, &*refused.error().0), (400, "bad_handshake"), "{hosts:?}");
    }
    let old = exchange(clients, format!("GET /ws/p HTTP/1.0\r\nHost: x\r\n{UPGRADE}\r\n").as_bytes());
    assert_eq!(old.status, 426);
    assert!(old.error().1.contains("HTTP/1.1"), "{old:?}");
}

#[test]
fn a_page_of_another_host_may_not_connect() {
    let server = Server::start(&["--allowed-origins", "https://hmi.example,http://other.example:8"]);
    let status = |origin: &str| upgrade(&server, "/ws/p", &format!("Origin: {origin}\r\n")).status;
    assert_eq!(status("http://127.0.0.1:5173"), 101);
    assert_eq!(status("https://hmi.example"), 101);
    assert_eq!(status("http://other.example:8"), 101);
    assert_eq!(status("http://other.example"), 403);
    assert_eq!(status("https://evil.example"), 403);
    assert_eq!(status("null"), 403);
    let refused = upgrade(&server, "/ws/p", "Origin: https://evil.example\r\n");
    assert_eq!(refused.error().0, "origin_not_allowed");
    assert!(refused.error().1.contains("https://evil.example"), "{}", refused.body);
    let health = request(server.clients, "GET", "/healthz", "Origin: https://evil.example\r\n", "");
    assert_eq!(health.status, 403, "on every path and method");
}

#[test]
fn a_limit_of_sessions_is_told_with_when_to_try_again() {
    let server =
        Server::start(&["--max-sessions=3", "--max-sessions-per-address=2", "--max-sessions-per-user=1"]);
    let refused = |target: &str| {
        let response = upgrade(&server, target, "");
        assert!(response.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        (response.status, response.error().1)
    };
    let first = RawSocket::open(server.clients, "/ws/p?username=ann");
    let (status, message) = refused("/ws/p?username=ann");
    assert_eq!(status, 429);
    assert!(message.contains("this user: the limit is 1"), "{message}");
    let _second = RawSocket::open(server.clients, "/ws/p");
    let (status, message) = refused("/ws/p");
    assert_eq!(status, 429);
    assert!(message.contains("this address: the limit is 2"), "{message}");
    drop(first);
    crate::harness::eventually("a free place", || match server.rows("").len() {
        1 => Ok(()),
        n => Err(n),
    });
    let _again = RawSocket::open(server.clients, "/ws/p?username=ann");
}

#[test]
fn one_designer_cannot_take_all_places() {
    let server = Server::start(&["--max-connections-per-session=3"]);
    let target = |n| format!("/ws/p?scope=designer&designerId=x&pageId=p{n}");
    let _three: Vec<_> = (0..3).map(|n| RawSocket::open(server.clients, &target(n))).collect();
    let refused = upgrade(&server, &target(3), "");
    assert_eq!((refused.status, &*refused.error().0), (429, "too_many_connections"));
    assert!(refused.error().1.contains("the limit is 3") && refused.header("retry-after").is_some());
}

#[test]
fn a_full_server_says_so() {
    let server = Server::start(&["--max-sessions=1"]);
    let _first = RawSocket::open(server.clients, "/ws/p");
    let refused = upgrade(&server, "/ws/p", "");
    assert_eq!((refused.status, &*refused.error().0), (503, "server_full"));
    assert!(refused.header("retry-after").is_some());
}

/// A frame, or several, and the close code that the sender is owed.
fn bad_frames() -> Vec<(&'static str, Vec<u8>, u16)> {
    let unmasked = [&[0x81, 5][..], b"hello"].concat();
    let declared = |first: u8, length: &[u8]| [&[first][..], length, &[0; 4]].concat();
    vec![
        ("an unmasked frame", unmasked, 1002),
        ("a ping of 126 bytes", frame(0x80 | PING, &[0; 126]), 1002),
        ("a close of 126 bytes", frame(0x80 | CLOSE, &[0; 126]), 1002),
        ("a ping in fragments", frame(PING, b""), 1002),
        ("a reserved opcode", frame(0x83, b"x"), 1002),
        ("a reserved control opcode", frame(0x8b, b""), 1002),
        ("a reserved bit", frame(0xc1, b"x"), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a message within a message", [frame(1, b"x"), frame(0x81, b"y")].concat(), 1002),
        ("a close code that may not be sent", frame(0x88, &1005_u16.to_be_bytes()), 1002),
        ("a close of one byte", frame(0x88, b"x"), 1002),
        ("text that is no UTF-8", frame(0x81, b"a\xff"), 1007),
        ("half a character at the end", frame(0x81, b"a\xe2\x98"), 1007),
        ("a surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("no UTF-8 in fragments", [frame(1, b"a\xff"), frame(0x80, b"b")].concat(), 1007),
        ("a message of 70,000 bytes", frame(0x82, &[0; 70_000]), 1009),
        ("70,000 bytes in fragments", [frame(2, &[0; 40_000]), frame(0x80, &[0; 30_000])].concat(), 1009),
        ("65,537 bytes", frame(0x81, &[b'x'; 65_537]), 1009),
        ("a length of 2^62 and nothing of it", declared(0x82, &[0xff, 0x40, 0, 0, 0, 0, 0, 0, 0]), 1009),
    ]
}

#[test]
fn a_bad_frame_gets_its_close_code_and_ends_only_its_own_connection() {
    let server = Server::start(&[]);
    let standing_by = bystander(&server);
    for (what, bytes, code) in bad_frames() {
        let mut client = RawSocket::open(server.clients, "/ws/p?username=bad");
        client.send(TEXT, b"good so far");
        client.barrier();
        client.stream.write_all(&bytes).unwrap();
        let (opcode, payload) = client.receive().unwrap_or_else(|| panic!("{what}: no close frame"));
        let got = u16::from_be_bytes([payload[0], payload[1]]);
        let reason = String::from_utf8_lossy(&payload[2..]);
        assert_eq!((opcode, got), (CLOSE, code), "{what}: {reason}");
        assert!(!reason.is_empty(), "{what}: an error teaches");
        assert_eq!(client.receive(), None, "{what}");
    }
    unharmed(&server, standing_by);
}

#[test]
fn the_close_frame_arrives_although_more_was_on_its_way() {
    // A server that closes a socket with unread data resets it, and the reset may overtake the close frame.
    let server = Server::start(&[]);
    for _ in 0..20 {
        let mut client = RawSocket::open(server.clients, "/ws/p");
        let flood = [frame(0x82, &vec![0; 70_000]), frame(0x82, &vec![0; 60_000]).repeat(4)].concat();
        client.stream.write_all(&flood).unwrap();
        assert_eq!(client.closed_with(), 1009);
    }
}

#[test]
fn a_raised_limit_is_heeded() {
    let server = Server::start(&["--max-message-bytes", "128KiB", "--echo"]);
    let mut client = RawSocket::open(server.clients, "/ws/p");
    client.send(BINARY, &vec![7; 131_072]);
    assert_eq!(client.receive(), Some((BINARY, vec![7; 131_072])));
    client.send(BINARY, &vec![7; 131_073]);
    assert_eq!(client.closed_with(), 1009);
}

/// Sends the pieces with pauses between; answers how long the server bore it.
fn dawdle(address: SocketAddr, piece: &[u8], pause_ms: u64) -> std::time::Duration {
    let mut stream = dial(address);
    let begun = Instant::now();
    let mut byte = [0];
    stream.set_read_timeout(Some(std::time::Duration::from_millis(pause_ms))).unwrap();
    while begun.elapsed().as_secs() < 15 {
        if stream.write_all(piece).is_err() {
            break;
        }
        match std::io::Read::read(&mut stream, &mut byte) {
            Ok(0) => break,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
            _ => {}
        }
    }
    begun.elapsed()
}

#[test]
fn whoever_does_not_finish_the_request_in_time_is_closed() {
    let server = Server::start(&["--request-timeout", "1s"]);
    for address in [server.clients, server.admin] {
        for (what, piece) in [
            ("silence", &b""[..]),
            ("a byte at a time", b"G"),
            ("endless headers", b"GET /ws/p HTTP/1.1\r\nA"),
        ] {
            let borne = dawdle(address, piece, 100).as_millis();
            assert!((900..3000).contains(&borne), "{what} was borne {borne} ms");
        }
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::start(&["--request-timeout", "1s"]);
    let head = format!(
        "POST /query HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{",
        server.admin
    );
    let begun = Instant::now();
    let answer = exchange(server.admin, head.as_bytes());
    assert_eq!((answer.status, &*answer.error().0), (408, "timeout"));
    assert!((900..3000).contains(&begun.elapsed().as_millis()));
}

#[test]
fn whoever_only_asks_and_never_joins_is_closed_in_the_end() {
    let server = Server::start(&["--request-timeout", "200ms"]);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.clients);
    let borne = dawdle(server.clients, request.as_bytes(), 50).as_millis();
    assert!((700..3000).contains(&borne), "borne {borne} ms");
}

#[test]
fn the_request_timeout_is_five_seconds_unless_told_otherwise() {
    let server = Server::start(&[]);
    let borne = dawdle(server.clients, b"", 100).as_millis();
    assert!((4900..7000).contains(&borne), "borne {borne} ms");
}

#[test]
fn garbage_instead_of_http_is_answered_or_closed_and_nothing_more() {
    let server = Server::start(&[]);
    let standing_by = bystander(&server);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 5000],
        &[b'A'; 100_000],
    ] {
        for address in [server.clients, server.admin] {
            let mut stream = dial(address);
            let _ = stream.write_all(garbage);
            let mut answer = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    }
    unharmed(&server, standing_by);
}

#[test]
fn a_huge_request_head_is_refused() {
    let server = Server::start(&[]);
    let header = format!("X-Padding: {}\r\n", "x".repeat(100_000));
    assert!(matches!(upgrade(&server, "/ws/p", &header).status, 400 | 431));
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(upgrade(&server, "/ws/p", &many).status, 431);
}

#[test]
fn who_asks_late_may_ask_again_in_his_time() {
    let server = Server::start(&["--request-timeout", "1s"]);
    let mut stream = dial(server.clients);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.clients);
    for pause_ms in [800, 600] {
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
        let answer = crate::harness::exchange_over(&mut stream, request.as_bytes());
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn who_begins_late_has_no_longer() {
    let server = Server::start(&["--request-timeout", "1s"]);
    let mut stream = dial(server.clients);
    let begun = Instant::now();
    std::thread::sleep(std::time::Duration::from_millis(800));
    stream.write_all(b"GET /ws/p HTTP/1.1\r\n").unwrap();
    let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    assert!((900..1600).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

/// A whole request that comes at once is read in another way than one that comes in pieces.
#[test]
fn a_request_is_answered_alike_however_it_comes() {
    let server = Server::start(&["--max-connect-rate", "0"]);
    let host = format!("Host: {}\r\n", server.clients);
    let offer = format!("{UPGRADE}Sec-WebSocket-Protocol: chat, headcount.v1\r\n");
    let heads = [
        format!("GET /ws/p HTTP/1.1\r\n{host}{UPGRADE}\r\n"),
        format!("GET /ws/p?username=ann HTTP/1.1\r\n{host}{offer}\r\n"),
        format!("GET http://{}/ws/p HTTP/1.1\r\n{host}{UPGRADE}\r\n", server.clients),
        format!("GET /ws/p HTTP/1.1\r\n{host}{UPGRADE}Content-Length: 0\r\n\r\n"),
        format!("GET /ws/p HTTP/1.1\r\n{host}{UPGRADE}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("GET /ws/p HTTP/1.1\r\n{host}{UPGRADE}Origin: http://evil.example\r\n\r\n"),
        format!("GET /ws/p HTTP/1.1\r\n{host}{host}{UPGRADE}\r\n"),
        format!("GET /ws/p HTTP/1.1\r\n{UPGRADE}\r\n"),
        format!("GET /ws/p HTTP/1.1\r\n{host}\r\n"),
        format!("GET /ws/p?scope=x HTTP/1.1\r\n{host}{UPGRADE}\r\n"),
        format!("GET /ws/p HTTP/1.0\r\n{host}{UPGRADE}\r\n"),
        format!("get /ws/p HTTP/1.1\r\n{host}{UPGRADE}\r\n"),
        format!("POST /ws/p HTTP/1.1\r\n{host}{UPGRADE}\r\n"),
        format!("GET /ws/p HTTP/1.1\r\n{host}{UPGRADE}No colon\r\n\r\n"),
        format!("GET /ws/p HTTP/1.1\r\n{host}{UPGRADE}{}\r\n", "X-Y: z\r\n".repeat(110)),
        format!("GET /healthz HTTP/1.1\r\n{host}\r\n"),
        format!("GET /nowhere HTTP/1.1\r\n{host}\r\n"),
    ];
    let told = |mut response: Response| {
        response.headers.retain(|(name, _)| name != "date");
        response.headers.sort();
        (response.status, response.headers, response.body)
    };
    for head in heads {
        let at_once = exchange(server.clients, head.as_bytes());
        let mut stream = dial(server.clients);
        let (first, rest) = head.as_bytes().split_at(7);
        stream.write_all(first).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let in_pieces = crate::harness::exchange_over(&mut stream, rest);
        assert_eq!(told(at_once), told(in_pieces), "{head}");
    }
}

/// What was wrong with a parameter was told with a line and a column, and without its name.
#[test]
fn a_bad_parameter_of_a_method_is_named_with_what_it_must_be() {
    let server = Server::start(&[]);
    let mut socket = RawSocket::open(server.admin, "/query");
    for (method, params, says) in [
        ("getHistory", r#"{"from":"x"}"#, r#"from must be an RFC 3339 time, not "x""#),
        ("getHistory", r#"{"to":5}"#, "to must be an RFC 3339 time, not a number"),
        ("getHistory", r#"{"limit":"5"}"#, "limit must be a whole number, not a string"),
        ("getHistory", r#"{"filter":1}"#, "filter must be a JSON object of conditions"),
        ("closeSession", r#"{"sessionId":["d1"]}"#, "sessionId must be a string or null, not an array"),
        (
            "closeSession",
            r#"{"sessionId":"d1","dryRun":"yes"}"#,
            "dryRun must be true or false, not a string",
        ),
        ("closeSession", r#"{"filter":{},"all":1}"#, "all must be true or false, not a number"),
        (
            "closeSession",
            r#"{"sessionId":"d1","message":{}}"#,
            "message must be a string or null, not an object",
        ),
        ("closeSession", r#"{"all":true}"#, "say filter:{} and all:true"),
        ("closeSession", r#"{"filter":{"uptime[gt]":1e400}}"#, "filter must be a JSON object of conditions"),
        ("closePage", r#"{"sessionId":"d1"}"#, "pageId is needed"),
        ("closePage", r#"{"sessionId":"d1","pageId":true}"#, "pageId must be a string, not a boolean"),
        ("sendMessage", r#"{"sessionId":"d1"}"#, "messageType is needed"),
        (
            "sendMessage",
            r#"{"sessionId":"d1","messageType":5}"#,
            "messageType must be a string, not a number",
        ),
        (
            "sendMessage",
            r#"{"sessionId":"d1","messageType":"m","x":1}"#,
            r#"unknown parameter "x"; known: sessionId, filter, all, pageId, messageType, payload"#,
        ),
        ("unwatchSessions", r#"{"watchId":1}"#, "watchId must be a string, not a number"),
        ("unwatchSessions", "{}", "watchId is needed"),
        ("listSessions", r#"{"limit":1e400}"#, "limit cannot be read: number out of range"),
        ("getStats", r#"{"project":"p"}"#, r#"unknown parameter "project"; known: none"#),
        ("getSessionInfo", "[1e400]", "usernameFilter cannot be read: number out of range"),
    ] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        socket.send(TEXT, request.as_bytes());
        let answer: serde_json::Value = serde_json::from_slice(&socket.receive().unwrap().1).unwrap();
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{params}: {answer}"));
        assert_eq!(answer["error"]["code"], -32602, "{params}: {message}");
        assert!(message.contains(says), "{params}: {message}");
        assert!(!message.contains("column"), "{params}: {message}");
    }
}
