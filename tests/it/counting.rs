//! PROTOCOL 2.1 to 2.3: who a client is, and what is counted of it.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::harness::{BINARY, CLOSE, PING, PONG, RawSocket, Server, TEXT, frame, get};

/// The keys of a row, in their order (PROTOCOL 3.1).
pub(crate) const KEYS: [&str; 13] = [
    "userAgent",
    "id",
    "username",
    "project",
    "uptime",
    "clientAddress",
    "lastComm",
    "sessionScope",
    "activePages",
    "recentBytesSent",
    "totalBytesSent",
    "pageIds",
    "authorized",
];

#[test]
fn a_stranger_is_a_session_with_exactly_the_thirteen_keys() {
    let server = Server::start(&[]);
    let _client = RawSocket::open_with(
        server.clients,
        "/ws/plant%201?username=billy&pageId=p1&pagePath=/a",
        "User-Agent: stranger/1\r\n",
    );
    let body = get(server.admin, "/api/v1/session-info").body;
    let keys: Vec<_> = body.split('"').filter(|part| KEYS.contains(part)).collect();
    assert_eq!(keys, KEYS, "in this order: {body}");
    let rows: Vec<Value> = serde_json::from_str(&body).unwrap();
    let row = rows[0].as_object().unwrap();
    assert_eq!(row.len(), 13);
    let id = row["id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 4);
    assert!(row["uptime"].as_u64().unwrap() < 10_000 && row["lastComm"].as_u64().unwrap() < 10_000);
    let expected = json!({
        "userAgent": "stranger/1", "id": id, "username": "billy", "project": "plant 1",
        "uptime": row["uptime"], "clientAddress": "127.0.0.1", "lastComm": row["lastComm"],
        "sessionScope": "browser", "activePages": 1, "recentBytesSent": 0, "totalBytesSent": 0,
        "pageIds": ["p1"], "authorized": false
    });
    assert_eq!(rows[0], expected);
}

#[test]
fn what_a_client_leaves_out_has_its_default() {
    let server = Server::start(&[]);
    let _client = RawSocket::open(server.clients, "/ws/p");
    let row = server.row("Unauthenticated", |_| true);
    let page = row["pageIds"][0].as_str().unwrap();
    assert!(page.len() == 8 && page.chars().all(|c| c.is_ascii_hexdigit()), "{page}");
    assert_eq!((&row["userAgent"], &row["sessionScope"]), (&json!(""), &json!("browser")));
}

#[test]
fn a_scope_comes_from_the_parameter_or_from_the_user_agent() {
    let server = Server::start(&[]);
    let scope = |user: &str, parameter: &str, agent: &str| {
        let target = format!("/ws/p?username={user}{parameter}");
        let agent = format!("User-Agent: {agent}\r\n");
        let _client = RawSocket::open_with(server.clients, &target, &agent);
        server.row(user, |_| true)["sessionScope"].as_str().unwrap().to_owned()
    };
    assert_eq!(scope("a", "", "Mozilla/5.0 (iPhone; …)"), "ios");
    assert_eq!(scope("b", "", "App CFNetwork/1494 Darwin/23"), "ios");
    assert_eq!(scope("c", "", "okhttp/4.12.0"), "android");
    assert_eq!(scope("d", "", "Mozilla/5.0 (X11; Linux)"), "browser");
    assert_eq!(scope("e", "&scope=DeSiGnEr", "okhttp/4.12.0"), "designer");
    assert_eq!(scope("f", "&scope=Browser", "okhttp/4.12.0"), "browser");
}

#[test]
fn every_byte_of_every_whole_message_is_counted_and_nothing_else() {
    let server = Server::start(&[]);
    let mut client = RawSocket::open(server.clients, "/ws/p?username=billy");
    let mut expect = |send: &mut dyn FnMut(&mut RawSocket), recent: u64, total: u64| {
        send(&mut client);
        client.barrier();
        let row = server.row("billy", |_| true);
        assert_eq!((&row["recentBytesSent"], &row["totalBytesSent"]), (&json!(recent), &json!(total)));
    };
    expect(&mut |c| c.send(TEXT, b"hello"), 5, 5);
    expect(&mut |c| c.send(BINARY, &[0; 1000]), 1000, 1005);
    expect(&mut |c| c.send(TEXT, "Zoë ☃".as_bytes()), 8, 1013);
    expect(&mut |c| c.send(TEXT, b""), 0, 1013);
    expect(&mut |c| c.send(TEXT, br#"{"headcount":"activity"}"#), 24, 1037);
    expect(
        &mut |c| {
            c.send(PING, &[7; 125]);
            assert_eq!(c.receive(), Some((PONG, vec![7; 125])));
        },
        24,
        1037,
    );
    expect(&mut |c| c.send(BINARY, &vec![1; 65_536]), 65_536, 66_573);
    // A message in three frames, with a ping between them, is one message of its whole length, once whole.
    expect(&mut |c| c.stream_all(&[frame(1, b"one "), frame(0, b"two ")]), 65_536, 66_573);
    expect(&mut |c| c.stream_all(&[frame(0x80, b"three")]), 13, 66_586);
}

impl RawSocket {
    fn stream_all(&mut self, frames: &[Vec<u8>]) {
        std::io::Write::write_all(&mut self.stream, &frames.concat()).unwrap();
    }
}

#[test]
fn last_comm_restarts_with_every_frame_and_grows_between() {
    let server = Server::start(&[]);
    let mut client = RawSocket::open(server.clients, "/ws/p?username=billy");
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let mut heard = |frame: &[u8]| {
        let before = server.row("billy", |row| number(row, "lastComm") >= 150);
        client.stream_all(&[frame.to_vec()]);
        // However slow this machine is: the silence is shorter than the time that has passed.
        server.row("billy", |row| {
            let passed = number(row, "uptime") - number(&before, "uptime");
            number(row, "lastComm") < number(&before, "lastComm") + passed
        });
    };
    heard(&frame(0x80 | PING, b""));
    heard(&frame(0x80 | PONG, b"an unasked pong"));
    heard(&frame(TEXT, b"the beginning of a message"));
    heard(&frame(0x80, b" and its end"));
}

#[test]
fn times_run_on() {
    let server = Server::start(&[]);
    let _client = RawSocket::open(server.clients, "/ws/p?username=billy");
    let first = server.row("billy", |_| true);
    let later = server.row("billy", |row| row["uptime"].as_u64().unwrap() >= 300);
    let grown = later["uptime"].as_u64().unwrap() - first["uptime"].as_u64().unwrap();
    let silence = later["lastComm"].as_u64().unwrap() - first["lastComm"].as_u64().unwrap();
    assert_eq!(grown, silence, "nothing came, so both clocks ran alike");
}

#[test]
fn a_page_is_gone_before_its_client_sees_the_answer_to_its_close() {
    let server = Server::start(&[]);
    for _ in 0..50 {
        let mut client = RawSocket::open(server.clients, "/ws/p");
        assert_eq!(server.rows("").len(), 1);
        client.send(CLOSE, &1000_u16.to_be_bytes());
        assert_eq!(client.closed_with(), 1000);
        assert_eq!(server.rows(""), [] as [Value; 0]);
    }
}

#[test]
fn a_connection_that_breaks_leaves_nothing() {
    let server = Server::start(&[]);
    let mut client = RawSocket::open(server.clients, "/ws/p");
    client.stream_all(&[frame(TEXT, b"half a mess")]);
    assert_eq!(server.rows("").len(), 1);
    drop(client);
    server.empties();
}

#[test]
fn messages_that_come_with_the_request_are_counted() {
    let server = Server::start(&[]);
    let mut stream = crate::harness::dial(server.clients);
    let head = format!(
        "GET /ws/p?username=eager HTTP/1.1\r\nHost: {}\r\n{}\r\n",
        server.clients,
        crate::harness::UPGRADE
    );
    let eager = [head.as_bytes(), &frame(0x81, b"hello"), &frame(0x82, &[0; 300])].concat();
    std::io::Write::write_all(&mut stream, &eager).unwrap();
    let row = server.row("eager", |row| row["totalBytesSent"] == 305);
    assert_eq!(row["recentBytesSent"], 300);
}

/// More than is read of a connection before it is let in, and more than is read at a time after.
#[test]
fn many_messages_that_come_with_the_request_are_counted() {
    const MESSAGES: usize = 1_000;
    let server = Server::start(&["--max-message-rate", "0", "--max-byte-rate", "0"]);
    let messages: Vec<u8> = (0..MESSAGES).flat_map(|n| frame(0x82, &vec![0; n])).collect();
    for n in 0..20 {
        let mut stream = crate::harness::dial(server.clients);
        let target = format!("/ws/p?username=hasty{n}");
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{}\r\n", server.clients, crate::harness::UPGRADE);
        std::io::Write::write_all(&mut stream, &[head.as_bytes(), &messages].concat()).unwrap();
        server.row(&format!("hasty{n}"), |row| row["totalBytesSent"] == MESSAGES * (MESSAGES - 1) / 2);
    }
}

#[test]
fn a_designer_s_connections_are_one_session_and_nobody_else_s() {
    let server = Server::start(&[]);
    let target = |user: &str, project: &str, page: &str| {
        format!("/ws/{project}?scope=designer&designerId=d.1&username={user}&pageId={page}")
    };
    let mut first = RawSocket::open(server.clients, &target("ann", "p", "p1"));
    let mut second = RawSocket::open(server.clients, &target("ann", "p", "p2"));
    first.send(TEXT, b"123");
    first.barrier();
    second.send(TEXT, b"4567");
    second.barrier();
    let row = server.row("ann", |_| true);
    assert_eq!((&row["id"], &row["pageIds"]), (&json!("d.1"), &json!(["p1", "p2"])));
    assert_eq!((&row["recentBytesSent"], &row["totalBytesSent"]), (&json!(4), &json!(7)));
    for (user, project) in [("eve", "p"), ("ann", "q")] {
        let path = target(user, project, "p3");
        let refused = crate::harness::request(server.clients, "GET", &path, crate::harness::UPGRADE, "");
        assert_eq!((refused.status, &*refused.error().0), (409, "designer_id_in_use"));
    }
    drop(first);
    server.row("ann", |row| row["pageIds"] == json!(["p2"]));
    drop(second);
    server.empties();
    let _another = RawSocket::open(server.clients, &target("eve", "q", "p1"));
    assert_eq!(server.row("eve", |_| true)["totalBytesSent"], 0);
}

#[test]
fn hostile_text_is_made_harmless() {
    let server = Server::start(&[]);
    let target = "/ws/p?username=b%1b%5b31mil%E2%80%AEly%C2%9B&pageId=p%0a1&pagePath=%00";
    let agent = format!("User-Agent: a\tb{}\r\n", "x".repeat(600));
    let _client = RawSocket::open_with(server.clients, target, &agent);
    let row = &server.rows("")[0];
    assert_eq!((&row["username"], &row["pageIds"]), (&json!("b[31milly"), &json!(["p1"])));
    assert_eq!(row["userAgent"], format!("ab{}", "x".repeat(510)));
}

#[test]
fn only_the_one_subprotocol_is_chosen_and_only_its_speaker_is_spoken_to() {
    let server = Server::start(&[]);
    let offer = |offers: &str| {
        let header = format!("Sec-WebSocket-Protocol: {offers}\r\n");
        let header = if offers.is_empty() { String::new() } else { header };
        RawSocket::open_with(server.clients, "/ws/p?pageId=p1&access_token=x.y.z&resumeToken=none", &header)
    };
    for offers in ["", "mqtt", "headcount.v2, headcount.bearer.x.y.z"] {
        let mut plain = offer(offers);
        assert_eq!(plain.response.header("sec-websocket-protocol"), None, "{offers}");
        assert_eq!(plain.response.header("sec-websocket-extensions"), None);
        plain.send(TEXT, b"hello");
        // Nothing comes but the pong.
        plain.barrier();
    }
    let mut speaker = offer("mqtt, headcount.v1,headcount.bearer.x");
    assert_eq!(speaker.response.header("sec-websocket-protocol"), Some("headcount.v1"));
    let (opcode, welcome) = speaker.receive().unwrap();
    let welcome: Value = serde_json::from_slice(&welcome).unwrap();
    assert_eq!(opcode, TEXT);
    let ids: Vec<_> = server.rows("").iter().map(|row| row["id"].clone()).collect();
    assert!(ids.contains(&welcome["sessionId"]), "{welcome}");
    assert_eq!((&welcome["headcount"], &welcome["pageId"]), (&json!("welcome"), &json!("p1")));
    assert_eq!(welcome["resumed"], false);
}

#[test]
fn echo_sends_application_messages_back_and_no_others() {
    let server = Server::start(&["--echo"]);
    let mut client = RawSocket::open(server.clients, "/ws/p?username=billy");
    for (opcode, payload) in [(TEXT, "Zoë".as_bytes()), (BINARY, &[0, 255, 7]), (TEXT, b"")] {
        client.send(opcode, payload);
        assert_eq!(client.receive(), Some((opcode, payload.to_vec())));
    }
    client.send(TEXT, br#"{"headcount":"activity"}"#);
    client.barrier();
    assert_eq!(server.row("billy", |_| true)["totalBytesSent"], 4 + 3 + 24);
}

#[test]
fn no_extension_is_negotiated() {
    let server = Server::start(&[]);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let client = RawSocket::open_with(server.clients, "/ws/p", offer);
    assert_eq!(client.response.header("sec-websocket-extensions"), None);
}

async fn connect(url: &str) -> WebSocketStream<TcpStream> {
    let address = url.trim_start_matches("ws://").split('/').next().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

#[test]
fn what_came_before_a_violation_or_a_close_in_the_same_read_counts() {
    let server = Server::start(&[]);
    let good = [frame(0x81, b"hello"), frame(0x82, &[0; 300])].concat();
    let ends = [
        (frame(0x83, b"x"), 1002, "protocol"),
        (frame(0x81, b"\xff"), 1007, "protocol"),
        (frame(0x88, &1000_u16.to_be_bytes()), 1000, "closed"),
    ];
    for (n, (end, code, reason)) in ends.into_iter().enumerate() {
        let mut client = RawSocket::open(server.clients, "/ws/p");
        // What follows the end is for nobody.
        client.stream_all(&[good.clone(), end, frame(0x81, b"too late")]);
        assert_eq!(client.closed_with(), code);
        let ended = &crate::lives::history(&server, n + 1)[0];
        assert_eq!((&ended["reason"], &ended["totalBytesSent"]), (&json!(reason), &json!(305)), "{code}");
    }
}

#[test]
fn every_one_of_many_that_come_in_one_read_is_counted_and_answered() {
    let server = Server::start(&[]);
    let speaker = "Sec-WebSocket-Protocol: headcount.v1\r\n";
    let mut client = RawSocket::open_with(server.clients, "/ws/p?username=billy", speaker);
    client.receive().expect("a welcome");
    let wrong = br#"{"headcount":"?"}"#;
    client.stream_all(&[[frame(0x89, b"1"), frame(0x81, wrong)].concat().repeat(500)]);
    for _ in 0..500 {
        assert_eq!(client.receive(), Some((PONG, b"1".to_vec())));
        let (opcode, error) = client.receive().unwrap();
        assert_eq!((opcode, &error[..20]), (TEXT, &br#"{"headcount":"error""#[..]));
    }
    assert_eq!(server.row("billy", |_| true)["totalBytesSent"], 500 * wrong.len());
}

/// Many clients at once, each with its own sums.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_counted_to_the_byte() {
    let server = Server::start(&[]);
    let clients = (0..200_usize).map(|n| {
        let url = server.url(&format!("/ws/p{}?username=u{n}", n % 3));
        async move {
            let mut socket = connect(&url).await;
            let mut total = 0;
            for message in 0..50 {
                let bytes = (n * 31 + message * 17) % 3000;
                total += bytes;
                let payload = if message % 2 == 0 {
                    Message::text("x".repeat(bytes))
                } else {
                    Message::binary(vec![7; bytes])
                };
                socket.send(payload).await.unwrap();
            }
            socket.send(Message::Ping("all read?".into())).await.unwrap();
            while !matches!(socket.next().await.unwrap().unwrap(), Message::Pong(_)) {}
            (n, total, socket)
        }
    });
    let clients = futures::future::join_all(clients).await;
    let rows = tokio::task::spawn_blocking(move || (server.rows(""), server)).await.unwrap();
    assert_eq!(rows.0.len(), 200);
    for (n, total, _socket) in &clients {
        let user = format!("u{n}");
        let row = rows.0.iter().find(|row| row["username"] == user).unwrap();
        assert_eq!(row["totalBytesSent"], *total, "{user}");
        assert_eq!(row["recentBytesSent"], (n * 31 + 49 * 17) % 3000, "{user}");
    }
    drop(clients);
    tokio::task::spawn_blocking(move || rows.1.empties()).await.unwrap();
}
