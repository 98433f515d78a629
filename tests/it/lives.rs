//! PROTOCOL 2.4, 2.5 and the actions of 3.1: how sessions come, stay, come back and end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    BINARY, CLOSE, PING, PONG, RawSocket, Server, TEXT, UPGRADE, call, eventually, frame, get, request,
};

const V1: &str = "Sec-WebSocket-Protocol: headcount.v1\r\n";

/// A client that speaks `headcount.v1`, and its welcome.
pub(crate) fn speaker(server: &Server, target: &str) -> (RawSocket, Value) {
    let mut socket = RawSocket::open_with(server.clients, target, V1);
    let welcome = told(&mut socket);
    assert_eq!(welcome["headcount"], "welcome");
    (socket, welcome)
}

/// The next text message.
fn told(socket: &mut RawSocket) -> Value {
    let (opcode, text) = socket.receive().expect("a message");
    assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&text));
    serde_json::from_slice(&text).unwrap()
}

/// The ended sessions, once there are so many; the newest first.
#[track_caller]
pub(crate) fn history(server: &Server, count: usize) -> Vec<Value> {
    eventually("the history", || {
        let answer = call(server.admin, "getHistory", &json!({"limit": -1}));
        let items = answer["result"]["items"].as_array().unwrap().clone();
        if items.len() == count { Ok(items) } else { Err(answer) }
    })
}

pub(crate) fn close(mut socket: RawSocket, code: u16) {
    socket.send(CLOSE, &code.to_be_bytes());
    assert_eq!(socket.closed_with(), code);
}

/// Resets the connection: a socket that is closed with unread data is.
fn reset(server: &Server, mut socket: RawSocket) {
    // The barrier's pong stays unread.
    socket.send(PING, b"x");
    server.row("ann", |_| true);
    std::thread::sleep(Duration::from_millis(50));
    drop(socket);
}

#[test]
fn the_way_to_a_client_is_as_long_as_its_pongs_take() {
    const LATE: Duration = Duration::from_millis(150);
    let server = Server::start(&["--heartbeat", "400ms"]);
    let mut socket = RawSocket::open(server.clients, "/ws/p?username=ann");
    let rtt = || {
        let list = call(server.admin, "listSessions", &json!({}));
        list["result"]["items"][0]["rttMs"].clone()
    };
    let pinged = |socket: &mut RawSocket| match socket.receive_any() {
        Some((PING, payload)) => payload,
        other => panic!("{other:?}"),
    };
    assert_eq!(rtt(), Value::Null);
    let payload = pinged(&mut socket);
    // What the server did not send tells it nothing.
    for forged in [&b""[..], &[0; 16], &payload[..8]] {
        socket.send(PONG, forged);
    }
    socket.barrier();
    assert_eq!(rtt(), Value::Null);

    std::thread::sleep(LATE);
    socket.send(PONG, &payload);
    let slow = eventually("the answered ping", || rtt().as_u64().ok_or("none"));
    assert!(slow >= LATE.as_millis() as u64, "{slow}");
}

#[test]
fn a_closed_tab_is_gone_and_a_blip_is_not() {
    let server = Server::start(&["--resume-window", "1s"]);
    let (socket, _) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    close(socket, 1000);
    assert!(server.rows("").is_empty());
    let ended = history(&server, 1);
    assert_eq!((&ended[0]["reason"], &ended[0]["pageIds"]), (&json!("closed"), &json!(["p1"])));

    for (n, lose) in [|_: &Server, socket| drop(socket), reset as fn(&Server, RawSocket)].iter().enumerate() {
        let (mut socket, _) = speaker(&server, "/ws/p?username=ann&pageId=p1");
        socket.send(TEXT, b"hello");
        socket.barrier();
        let lost = Instant::now();
        lose(&server, socket);
        std::thread::sleep(Duration::from_millis(300));
        let row = server.row("ann", |_| true);
        assert_eq!((&row["pageIds"], &row["totalBytesSent"]), (&json!(["p1"]), &json!(5)), "it stays listed");
        server.empties();
        assert!(lost.elapsed() >= Duration::from_millis(990), "{:?}", lost.elapsed());
        let ended = &history(&server, n + 2)[0];
        assert_eq!((&ended["reason"], &ended["totalBytesSent"]), (&json!("lost"), &json!(5)));
        assert!(ended["durationMs"].as_u64().unwrap() >= 1000);
    }
}

/// Browsers send a close frame and close the stream at once. Whatever the server was just writing to them then
/// failed, and the frame that it had not read yet was overlooked: the tab stayed listed as lost.
#[test]
fn a_close_frame_is_heeded_although_the_peer_takes_no_more() {
    let server = Server::start(&["--resume-window", "60s"]);
    for n in 1..=20 {
        let (mut socket, _) = speaker(&server, "/ws/p?username=ann");
        let mistakes = frame(0x81, br#"{"headcount":"dance"}"#).repeat(3);
        let pings = frame(0x80 | PING, b"x").repeat(3);
        let bytes = [mistakes, pings, frame(0x80 | CLOSE, &1000_u16.to_be_bytes())].concat();
        std::io::Write::write_all(&mut socket.stream, &bytes).unwrap();
        drop(socket);
        assert_eq!(history(&server, n)[0]["reason"], "closed");
    }
}

#[test]
fn mobile_clients_have_longer_to_come_back() {
    let server = Server::start(&["--resume-window=100ms", "--resume-window-mobile=1500ms"]);
    let open = |scope: &str| RawSocket::open(server.clients, &format!("/ws/p?scope={scope}"));
    let begun = Instant::now();
    for scope in ["ios", "android", "browser", "designer"] {
        drop(open(scope));
    }
    let left = eventually("the others gone", || {
        let rows = server.rows("");
        if rows.len() == 2 { Ok(rows) } else { Err(rows.len()) }
    });
    assert!(left.iter().all(|row| row["sessionScope"] == "ios" || row["sessionScope"] == "android"));
    server.empties();
    assert!(begun.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn a_token_brings_back_the_session_with_all_its_counts() {
    let server = Server::start(&["--resume-window", "5s"]);
    let (mut socket, welcome) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    let token = welcome["resumeToken"].as_str().unwrap().to_owned();
    assert_eq!((&welcome["resumed"], &welcome["pageId"]), (&json!(false), &json!("p1")));
    assert_eq!(welcome["heartbeatMs"], 15_000);
    socket.send(TEXT, b"hello");
    socket.barrier();
    drop(socket);
    let target = format!("/ws/p?username=ann&pageId=p1&resumeToken={token}");
    let (mut socket, back) = speaker(&server, &target);
    assert_eq!((&back["resumed"], &back["sessionId"]), (&json!(true), &welcome["sessionId"]));
    socket.send(BINARY, &[0; 100]);
    socket.barrier();
    // A second tab, and a third that is no speaker of ours: the token is enough.
    let (mut tab, _) = speaker(&server, &format!("/ws/p?username=ann&pageId=p2&resumeToken={token}"));
    tab.send(TEXT, b"1234567");
    tab.barrier();
    let _plain =
        RawSocket::open(server.clients, &format!("/ws/p?username=ann&pageId=p3&resumeToken={token}"));
    let row = server.row("ann", |_| true);
    assert_eq!((&row["pageIds"], &row["totalBytesSent"]), (&json!(["p1", "p2", "p3"]), &json!(112)));
    assert_eq!((&row["recentBytesSent"], &row["id"]), (&json!(7), &welcome["sessionId"]));
    close(tab, 1000);
    assert_eq!(server.row("ann", |_| true)["pageIds"], json!(["p1", "p3"]));
}

#[test]
fn a_bad_token_is_a_new_session_and_never_an_error() {
    let server = Server::start(&[]);
    let (_socket, welcome) = speaker(&server, "/ws/p?username=ann");
    let token = welcome["resumeToken"].as_str().unwrap();
    let (id, secret) = token.rsplit_once('.').unwrap();
    assert_eq!((id, secret.len()), (welcome["sessionId"].as_str().unwrap(), 32));
    let forged = format!("{id}.{:032x}", 1);
    for target in [
        format!("/ws/p?username=eve&resumeToken={token}"),
        format!("/ws/q?username=ann&resumeToken={token}"),
        format!("/ws/p?resumeToken={token}"),
        format!("/ws/p?username=ann&resumeToken={forged}"),
        "/ws/p?username=ann&resumeToken=%00%ff".replace("%ff", "x"),
        "/ws/p?username=ann&resumeToken=".to_owned(),
    ] {
        let (_other, other) = speaker(&server, &target);
        assert_eq!(other["resumed"], false, "{target}");
        assert_ne!(other["sessionId"], welcome["sessionId"], "{target}");
    }
    let listed = server.rows("").iter().map(Value::to_string).collect::<String>();
    assert!(!listed.contains(secret), "a token is never listed");
}

#[test]
fn a_reload_keeps_the_session_of_whoever_holds_a_token() {
    let server = Server::start(&["--reload-grace", "1s"]);
    let (socket, welcome) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    close(socket, 1001);
    let row = server.row("ann", |_| true);
    assert_eq!((&row["activePages"], &row["pageIds"]), (&json!(0), &json!([])));
    let token = welcome["resumeToken"].as_str().unwrap();
    let (socket, back) = speaker(&server, &format!("/ws/p?username=ann&pageId=p2&resumeToken={token}"));
    assert_eq!(back["resumed"], true);
    close(socket, 1001);
    server.empties();
    assert_eq!(history(&server, 1)[0]["reason"], "closed");
    // Without a token there is nothing to wait for.
    close(RawSocket::open(server.clients, "/ws/p"), 1001);
    assert!(server.rows("").is_empty());
}

#[test]
fn a_peer_that_vanished_is_found_by_pings_and_a_living_one_is_kept() {
    let server = Server::start(&["--heartbeat", "400ms", "--resume-window", "300ms"]);
    let mut dead = RawSocket::open(server.clients, "/ws/p?username=dead");
    let mut alive = RawSocket::open(server.clients, "/ws/p?username=alive");
    let begun = Instant::now();
    let mut pings = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let (opcode, payload) = alive.receive_any().unwrap();
        assert_eq!(opcode, PING);
        alive.send(PONG, &payload);
        pings += 1;
    }
    assert!((6..=9).contains(&pings), "one a heartbeat: {pings} in 3 s");
    assert_eq!(server.rows("").len(), 1);
    let ended = &history(&server, 1)[0];
    assert_eq!((&ended["username"], &ended["reason"]), (&json!("dead"), &json!("lost")));
    // Two and a half heartbeats of silence, and the window.
    let lived = ended["durationMs"].as_u64().unwrap();
    assert!((1300..1900).contains(&lived), "{lived} ms");
    while dead.receive_any().is_some() {}
}

#[test]
fn control_messages_open_close_and_move_pages() {
    let server = Server::start(&[]);
    let (mut socket, _) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    let mut pages = |message: &Value| {
        let text = json!(message).to_string();
        // The first key must be `headcount`, and serde_json sorts.
        socket.send(TEXT, text.as_bytes());
        socket.barrier();
        server.row("ann", |_| true)["pageIds"].clone()
    };
    assert_eq!(
        pages(&json!({"headcount": "openPage", "pageId": "p2", "path": "/alarms"})),
        json!(["p1", "p2"])
    );
    assert_eq!(pages(&json!({"headcount": "openPage", "pageId": "p2"})), json!(["p1", "p2"]));
    assert_eq!(pages(&json!({"headcount": "navigate", "pageId": "p1", "path": "/x"})), json!(["p1", "p2"]));
    assert_eq!(pages(&json!({"headcount": "activity"})), json!(["p1", "p2"]));
    assert_eq!(pages(&json!({"headcount": "closePage", "pageId": "p1"})), json!(["p2"]));
    assert_eq!(pages(&json!({"headcount": "closePage", "pageId": "p2"})), json!([]));
}

#[test]
fn a_malformed_control_message_counts_changes_nothing_and_is_explained_to_speakers() {
    let server = Server::start(&["--max-pages-per-session", "2"]);
    let (mut socket, _) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    let mut plain = RawSocket::open(server.clients, "/ws/p?username=plain&pageId=p1");
    let long = "x".repeat(129);
    for (text, code, says) in [
        (r#"{"headcount":"#.to_owned(), "bad_message", "EOF"),
        (r#"{"headcount":"dance"}"#.to_owned(), "bad_message", "dance"),
        (r#"{"headcount":"openPage"}"#.to_owned(), "bad_message", "pageId"),
        (r#"{"headcount":"openPage","pageId":7}"#.to_owned(), "bad_message", "string"),
        (r#"{"headcount":"openPage","pageId":"a","size":1}"#.to_owned(), "bad_message", "size"),
        (format!(r#"{{"headcount":"openPage","pageId":"{long}"}}"#), "bad_parameter", "1 to 128"),
        (r#"{"headcount":"closePage","pageId":"nope"}"#.to_owned(), "unknown_page", "serves no such page"),
        (r#"{"headcount":"navigate","pageId":"nope","path":"/"}"#.to_owned(), "unknown_page", "no such page"),
        (r#"{"headcount":"navigate","pageId":"p1"}"#.to_owned(), "bad_message", "missing field `path`"),
    ] {
        let before = server.row("ann", |_| true);
        socket.send(TEXT, text.as_bytes());
        let error = told(&mut socket);
        assert_eq!((&error["headcount"], &error["code"]), (&json!("error"), &json!(code)), "{text}");
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        let after = server.row("ann", |_| true);
        assert_eq!(after["pageIds"], before["pageIds"], "{text}");
        assert_eq!(after["recentBytesSent"], text.len(), "{text}");
        plain.send(TEXT, text.as_bytes());
        plain.barrier();
    }
    socket.send(TEXT, br#"{"headcount":"openPage","pageId":"p2"}"#);
    socket.send(TEXT, br#"{"headcount":"openPage","pageId":"p3"}"#);
    assert_eq!(told(&mut socket)["code"], "too_many_pages");
}

#[test]
fn an_administrator_closes_a_session_with_words() {
    let server = Server::start(&[]);
    let (mut socket, welcome) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    let id = welcome["sessionId"].clone();
    let dry = call(server.admin, "closeSession", &json!({"sessionId": id, "dryRun": true}));
    assert_eq!(dry["result"], json!({"terminated": 1}));
    assert_eq!(server.rows("").len(), 1);
    // 123 bytes fit, and no character is cut in two.
    let words = "é".repeat(100);
    let done = call(server.admin, "closeSession", &json!({"sessionId": id, "message": words}));
    assert_eq!(done["result"], json!({"terminated": 1}));
    assert!(server.rows("").is_empty(), "it has ended when the answer is there");
    let (opcode, payload) = socket.receive().unwrap();
    assert_eq!((opcode, u16::from_be_bytes([payload[0], payload[1]])), (CLOSE, 4001));
    assert_eq!(std::str::from_utf8(&payload[2..]), Ok(&*"é".repeat(61)));
    assert_eq!(socket.receive(), None);
    let ended = &history(&server, 1)[0];
    assert_eq!((&ended["reason"], &ended["pageIds"]), (&json!("terminated"), &json!(["p1"])));
    for (method, params) in [
        ("closeSession", json!({"sessionId": id})),
        ("closePage", json!({"sessionId": id, "pageId": "p1"})),
        ("sendMessage", json!({"sessionId": id, "messageType": "x"})),
    ] {
        assert_eq!(call(server.admin, method, &params)["error"]["code"], -32002, "{method}");
        assert_eq!(call(server.admin, method, &json!({}))["error"]["code"], -32602, "{method}");
        assert_eq!(call(server.admin, method, &json!({"sessionID": 1}))["error"]["code"], -32602, "{method}");
    }
}

#[test]
fn an_administrator_closes_one_page() {
    let server = Server::start(&[]);
    let (mut first, welcome) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    let token = welcome["resumeToken"].as_str().unwrap();
    let (mut second, _) = speaker(&server, &format!("/ws/p?username=ann&pageId=p2&resumeToken={token}"));
    first.send(TEXT, br#"{"headcount":"openPage","pageId":"p3"}"#);
    first.barrier();
    let close_page = |page: &str| {
        let params = json!({"sessionId": welcome["sessionId"], "pageId": page, "message": "bye"});
        call(server.admin, "closePage", &params)
    };
    assert_eq!(close_page("p1")["result"], json!({"terminated": 1}));
    first.barrier();
    assert_eq!(close_page("p2")["result"], json!({"terminated": 1}));
    assert_eq!(second.closed_with(), 4004);
    assert_eq!(server.row("ann", |_| true)["pageIds"], json!(["p3"]));
    assert_eq!(close_page("p2")["error"]["code"], -32002);
    assert_eq!(close_page("p3")["result"], json!({"terminated": 1}));
    assert_eq!(first.closed_with(), 4004);
    let ended = &history(&server, 1)[0];
    assert_eq!((&ended["reason"], &ended["pageIds"]), (&json!("terminated"), &json!(["p3"])));
}

#[test]
fn a_message_reaches_those_who_understand_it_and_is_undeliverable_to_others() {
    let server = Server::start(&[]);
    let (mut socket, welcome) = speaker(&server, "/ws/p?username=ann&pageId=p1");
    let _plain = RawSocket::open(server.clients, "/ws/p?username=plain&pageId=p1");
    let plain = server.row("plain", |_| true)["id"].clone();
    let send = |id: &Value, page: Value| {
        let payload = json!({"text": "shift ends", "n": [1, null]});
        let params = json!({"sessionId": id, "pageId": page, "messageType": "notice", "payload": payload});
        call(server.admin, "sendMessage", &params)
    };
    for page in [Value::Null, json!("p1")] {
        assert_eq!(send(&welcome["sessionId"], page)["result"], json!({"delivered": 1, "undeliverable": 0}));
        let message = told(&mut socket);
        assert_eq!(message["headcount"], "message");
        assert_eq!(
            (&message["messageType"], &message["payload"]["text"]),
            (&json!("notice"), &json!("shift ends"))
        );
    }
    assert_eq!(send(&welcome["sessionId"], json!("p9"))["error"]["code"], -32002);
    assert_eq!(send(&plain, Value::Null)["result"], json!({"delivered": 0, "undeliverable": 1}));
}

/// Large numbers came rounded, keys in another order, and of equal ones the last alone.
#[test]
fn a_payload_arrives_byte_for_byte_as_it_was_given() {
    let server = Server::start(&[]);
    let (mut socket, welcome) = speaker(&server, "/ws/p?username=ann");
    let target = welcome["sessionId"].as_str().unwrap();
    for payload in [
        "12345678901234567890123",
        "0.1000000000000000055511151231257827",
        "1e400",
        r#"{"b":1,"a":2, "b" : [ 1.0,-0 ]}"#,
        r#""\u00e9 \/ é""#,
        "null",
    ] {
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"sendMessage",
                "params":{{"payload": {payload} ,"sessionId":"{target}","messageType":"m"}}}}"#
        );
        let json = "Content-Type: application/json\r\n";
        let answer = crate::harness::request(server.admin, "POST", "/query", json, &request).body;
        assert!(answer.contains(r#""delivered":1"#), "{payload}: {answer}");
        let (_, text) = socket.receive().unwrap();
        let expected = format!(r#"{{"headcount":"message","messageType":"m","payload":{payload}}}"#);
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }
}

#[test]
fn a_client_that_does_not_read_is_ended_and_nobody_else_notices() {
    let server = Server::start(&["--max-send-buffer-bytes", "64KiB"]);
    let (mut deaf, welcome) = speaker(&server, "/ws/p?username=deaf");
    let (mut other, _) = speaker(&server, "/ws/p?username=other");
    let payload = "x".repeat(100_000);
    let params = json!({"sessionId": welcome["sessionId"], "messageType": "m", "payload": payload});
    eventually("the end of the deaf one", || {
        let answer = call(server.admin, "sendMessage", &params);
        if answer["error"]["code"] == -32002 { Ok(()) } else { Err(answer) }
    });
    let ended = &history(&server, 1)[0];
    assert_eq!((&ended["username"], &ended["reason"]), (&json!("deaf"), &json!("slow-consumer")));
    // What waited still goes out, and nothing else counts as delivered.
    let mut received = welcome.to_string().len() as u64;
    loop {
        match deaf.receive().expect("a close frame") {
            (TEXT, message) => received += message.len() as u64,
            (opcode, frame) => {
                assert_eq!((opcode, &frame[..2]), (CLOSE, &1008_u16.to_be_bytes()[..]));
                break;
            }
        }
    }
    assert_eq!(ended["bytesReceived"], received);
    eventually("its connection among those that did not read", || {
        let figures = get(server.admin, "/metrics").body;
        let counted = figures.contains("\nheadcount_connections_closed_total{reason=\"slow-consumer\"} 1\n");
        if counted { Ok(()) } else { Err(figures) }
    });
    other.barrier();
    assert_eq!(server.rows("").len(), 1);
}

#[test]
fn a_client_that_reads_is_not_slow_because_a_message_is_long() {
    let server = Server::start(&["--max-send-buffer-bytes", "1KiB"]);
    let (mut socket, welcome) = speaker(&server, "/ws/p?username=ann");
    for _ in 0..3 {
        let payload = "x".repeat(1_000_000);
        let params = json!({"sessionId": welcome["sessionId"], "messageType": "m", "payload": payload});
        assert_eq!(call(server.admin, "sendMessage", &params)["result"]["delivered"], 1);
        assert_eq!(told(&mut socket)["payload"], payload);
        socket.barrier();
    }
    assert_eq!(server.rows("").len(), 1);
}

#[test]
fn a_client_that_does_not_read_its_echo_is_slow_and_not_lost() {
    let server = Server::start(&["--echo", "--heartbeat", "500ms"]);
    let mut socket = RawSocket::open(server.clients, "/ws/p?username=ann");
    socket.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let message = frame(0x80 | BINARY, &[b'x'; 60_000]);
    // Until nothing more is taken.
    while std::io::Write::write_all(&mut socket.stream, &message).is_ok() {}
    assert_eq!(history(&server, 1)[0]["reason"], "slow-consumer");
}

#[test]
fn every_end_has_its_reason() {
    let server = Server::start(&[]);
    let reason = |bytes: Vec<u8>| {
        let mut socket = RawSocket::open(server.clients, "/ws/p?pageId=p1");
        std::io::Write::write_all(&mut socket.stream, &bytes).unwrap();
        while socket.receive().is_some() {}
        server.empties();
        let answer = call(server.admin, "getHistory", &json!({"limit": 1}));
        answer["result"]["items"][0]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(frame(0x88, &1000_u16.to_be_bytes())), "closed");
    assert_eq!(reason(frame(0x88, b"")), "closed");
    assert_eq!(reason(frame(0x83, b"")), "protocol");
    assert_eq!(reason(frame(0x81, b"\xff")), "protocol");
    assert_eq!(reason(frame(0x82, &[0; 70_000])), "too-big");
}

#[test]
fn the_history_is_cut_counted_and_dated() {
    let server = Server::start(&["--max-ended", "3"]);
    for n in 0..5 {
        close(RawSocket::open(server.clients, &format!("/ws/p?username=u{n}")), 1000);
    }
    let ask = |params: Value| call(server.admin, "getHistory", &params);
    let all = ask(json!({}));
    assert_eq!(all["result"]["metadata"], json!({"total": 3, "matching": 3, "limit": 100, "forgotten": 2}));
    let users: Vec<_> =
        all["result"]["items"].as_array().unwrap().iter().map(|item| item["username"].clone()).collect();
    assert_eq!(users, ["u4", "u3", "u2"], "the newest first");
    let last = all["result"]["items"][0]["endedAt"].as_str().unwrap();
    assert!(last.ends_with('Z') && last.len() == "2026-01-01T00:00:00.000Z".len(), "{last}");
    assert_eq!(ask(json!({"limit": 1}))["result"]["items"].as_array().unwrap().len(), 1);
    assert_eq!(ask(json!({"from": "2100-01-01T00:00:00Z"}))["result"]["metadata"]["matching"], 0);
    assert_eq!(ask(json!([{"to": "2000-01-01T00:00:00Z"}]))["result"]["metadata"]["matching"], 0);
    for bad in
        [json!({"limit": -2}), json!({"from": "yesterday"}), json!({"since": 1}), json!([1]), json!([{}, {}])]
    {
        assert_eq!(ask(bad.clone())["error"]["code"], -32602, "{bad}");
    }
}

#[test]
fn a_drained_session_is_remembered_as_such_by_those_who_still_ask() {
    let server = Server::start(&["--grace-period", "3s"]);
    let (_stubborn, _) = speaker(&server, "/ws/p?username=stubborn");
    let (mut good, _) = speaker(&server, "/ws/p?username=good");
    server.signal("TERM");
    let (opcode, payload) = good.receive().unwrap();
    assert_eq!((opcode, u16::from_be_bytes([payload[0], payload[1]])), (CLOSE, 1001));
    good.send(CLOSE, &1001_u16.to_be_bytes());
    assert_eq!(history(&server, 1)[0]["reason"], "drained");
    let late = request(server.clients, "GET", "/ws/p", &format!("{UPGRADE}{V1}"), "");
    assert_eq!(late.status, 503);
}
