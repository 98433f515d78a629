//! Every cap has its refusal or its end, and what it says.

use std::{
    io::Read,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    BINARY, CLOSE, RawSocket, Response, Server, TEXT, UPGRADE, call, dial, eventually, exchange_over, get,
    headcount, request,
};

fn refused(server: &Server, target: &str) -> Response {
    let response = request(server.clients, "GET", target, UPGRADE, "");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    response
}

#[track_caller]
fn is_refused(server: &Server, target: &str, status: u16, code: &str, says: &str) {
    let response = refused(server, target);
    assert_eq!((response.status, &*response.error().0), (status, code), "{target}");
    assert!(response.error().1.contains(says), "{}", response.body);
}

/// Why the newest ended session ended.
fn last_reason(server: &Server) -> Value {
    call(server.admin, "getHistory", &json!({"limit": 1}))["result"]["items"][0]["reason"].clone()
}

#[test]
fn projects_and_sessions_of_nobody_have_limits() {
    let server = Server::start(&["--max-sessions-per-project=1", "--max-unauthenticated=1"]);
    let _first = RawSocket::open(server.clients, "/ws/p");
    is_refused(&server, "/ws/p?username=ann", 429, "too_many_sessions", "this project: the limit is 1");
    is_refused(&server, "/ws/q", 429, "too_many_sessions", "without a user: the limit is 1");
    let _second = RawSocket::open(server.clients, "/ws/q?username=ann");
}

#[test]
fn pages_of_a_session_have_a_limit() {
    let server = Server::start(&["--max-pages-per-session=2"]);
    let target = |page: &str| format!("/ws/p?scope=designer&designerId=d&pageId={page}");
    let _first = RawSocket::open(server.clients, &target("a"));
    let _second = RawSocket::open(server.clients, &target("b"));
    is_refused(&server, &target("c"), 429, "too_many_pages", "the limit is 2");
    let _same = RawSocket::open(server.clients, &target("b"));
}

#[test]
fn connections_from_one_address_have_a_rate() {
    let server = Server::start(&["--max-connect-rate=3"]);
    let _three: Vec<_> = (0..3).map(|_| RawSocket::open(server.clients, "/ws/p")).collect();
    is_refused(&server, "/ws/p", 429, "too_fast", "the limit is 3");
    eventually("a place in the next second", || {
        match request(server.clients, "GET", "/ws/p", UPGRADE, "").status {
            101 => Ok(()),
            status => Err(status),
        }
    });
}

/// A session that may have many connections.
const DESIGNER: &str = "/ws/p?scope=designer&designerId=d&pageId=a";

/// Another connection of it.
fn another(server: &Server) -> Result<TcpStream, Response> {
    let mut stream = dial(server.clients);
    let ask = format!("GET {DESIGNER} HTTP/1.1\r\nHost: {}\r\n{UPGRADE}\r\n", server.clients);
    let response = exchange_over(&mut stream, ask.as_bytes());
    if response.status == 101 { Ok(stream) } else { Err(response) }
}

/// A server that has room for few connections, since it has few descriptors, and all of them.
fn full() -> (Server, Vec<TcpStream>) {
    let command = format!("ulimit -n 64; exec {} serve --max-sessions=0", env!("CARGO_BIN_EXE_headcount"));
    let server = Server::start_by(Command::new("sh").args(["-c", &command]));
    let connections: Vec<_> = std::iter::from_fn(|| another(&server).ok()).collect();
    assert!(connections.len() > 1);
    (server, connections)
}

/// What it has counted.
fn connections(server: &Server) -> Value {
    serde_json::from_str::<Value>(&get(server.admin, "/api/v1/stats").body).unwrap()["connections"].clone()
}

/// They were left in the system's backlog without a word, and so was whoever asked how the server is.
#[test]
fn connections_have_a_limit_beyond_which_they_are_told_so() {
    let (server, mut inside) = full();
    let says = format!("the limit is {}", inside.len());
    // Each makes room for the next, or these were too many.
    for _ in 0..40 {
        is_refused(&server, DESIGNER, 503, "server_full", &says);
    }
    let healthy = get(server.clients, "/healthz");
    assert_eq!((healthy.status, healthy.header("connection")), (200, Some("close")));
    assert_eq!(get(server.clients, "/nope").status, 404);
    inside.pop();
    inside.push(eventually("the place of the one who has left", || another(&server)));
    is_refused(&server, DESIGNER, 503, "server_full", &says);
}

#[test]
fn whoever_came_when_all_connections_were_taken_is_refused_although_one_has_left_and_is_counted() {
    let (server, mut inside) = full();
    let of = |key: &str| connections(&server)[key].as_u64().unwrap();
    let accepted = of("accepted");
    let mut early = dial(server.clients);
    eventually("the newcomer", || if of("accepted") > accepted { Ok(()) } else { Err(accepted) });
    inside.pop();
    let left = inside.len() as u64;
    eventually("one who leaves", || if of("open") == left { Ok(()) } else { Err(left) });
    let ask = format!("GET {DESIGNER} HTTP/1.1\r\nHost: {}\r\n{UPGRADE}\r\n", server.clients);
    let response = exchange_over(&mut early, ask.as_bytes());
    assert_eq!((response.status, &*response.error().0), (503, "server_full"));
    assert_eq!(early.read(&mut [0]).unwrap(), 0, "nothing else can be asked");
    let counted = eventually("that it is counted", || {
        let counted = connections(&server);
        if counted["arriving"] == 0 { Ok(counted) } else { Err(counted) }
    });
    assert_eq!(counted["refusedByReason"]["server_full"], 2, "{counted}");
    let of = |key: &str| counted[key].as_u64().unwrap();
    assert_eq!(of("accepted"), of("refused") + of("dropped") + of("upgraded"), "{counted}");
}

#[test]
fn messages_and_bytes_of_one_connection_have_rates() {
    let server = Server::start(&["--max-message-rate=20", "--max-byte-rate=10KiB"]);
    let mut other = RawSocket::open(server.clients, "/ws/p?username=other");
    for (bytes, times) in [(1, 40), (4000, 5)] {
        let mut socket = RawSocket::open(server.clients, "/ws/p?username=fast");
        for _ in 0..times {
            socket.send(BINARY, &vec![0; bytes]);
        }
        assert_eq!(socket.closed_with(), 1008);
        assert_eq!(last_reason(&server), "rate-limited");
    }
    other.send(TEXT, b"hello");
    other.barrier();
    assert_eq!(server.rows("").len(), 1);
}

#[test]
fn a_second_login_is_refused_while_the_first_is_there() {
    let server = Server::start(&["--one-session-per-user=reject", "--resume-window=60s"]);
    let first = RawSocket::open(server.clients, "/ws/p?username=ann");
    is_refused(&server, "/ws/p?username=ann", 429, "too_many_sessions", "this user: the limit is 1");
    let _others = [RawSocket::open(server.clients, "/ws/p"), RawSocket::open(server.clients, "/ws/p")];
    // A session that only waits for its client is no reason to keep that client out.
    drop(first);
    eventually("the second login", || {
        let response = request(server.clients, "GET", "/ws/p?username=ann", UPGRADE, "");
        if response.status == 101 { Ok(()) } else { Err(response) }
    });
}

#[test]
fn a_newer_login_replaces_the_older() {
    let server = Server::start(&["--one-session-per-user=replace"]);
    let mut older = RawSocket::open(server.clients, "/ws/p?username=ann&pageId=old");
    let _nobody = RawSocket::open(server.clients, "/ws/p");
    let _newer = RawSocket::open(server.clients, "/ws/q?username=ann&pageId=new");
    assert_eq!(server.row("ann", |_| true)["pageIds"], json!(["new"]));
    assert_eq!(older.closed_with(), 4002);
    assert_eq!(last_reason(&server), "replaced");
    assert_eq!(server.rows("").len(), 2);
}

#[test]
fn a_user_who_does_nothing_is_ended_by_scope() {
    let server = Server::start(&["--idle-timeout", "browser=1s"]);
    let mut idle = RawSocket::open(server.clients, "/ws/p?username=idle");
    let mut busy = RawSocket::open(server.clients, "/ws/p?username=busy");
    let _designer = RawSocket::open(server.clients, "/ws/p?username=d&scope=designer");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1600) {
        // Traffic is no activity; the message that says so is.
        idle.send(TEXT, b"still here");
        busy.send(TEXT, br#"{"headcount":"activity"}"#);
        std::thread::sleep(Duration::from_millis(100));
        if server.rows("usernameFilter=idle").is_empty() {
            break;
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(990), "{:?}", begun.elapsed());
    assert_eq!(idle.closed_with(), 4003);
    assert_eq!(last_reason(&server), "idle");
    assert_eq!(server.rows("").len(), 2);
}

#[test]
fn leaving_is_spread_and_bounded() {
    let mut server = Server::start(&["--drain-spread=1s"]);
    let mut clients: Vec<_> = (0..50).map(|_| RawSocket::open(server.clients, "/ws/p")).collect();
    server.signal("TERM");
    let told = |clients: &[RawSocket]| {
        let has_come = |client: &&RawSocket| {
            client.stream.set_nonblocking(true).unwrap();
            let came = client.stream.peek(&mut [0]).is_ok();
            client.stream.set_nonblocking(false).unwrap();
            came
        };
        clients.iter().filter(has_come).count()
    };
    // Some are told while others are not: it takes a second until all are.
    let some = eventually("the first ten", || match told(&clients) {
        few @ 0..10 => Err(few),
        some => Ok(some),
    });
    assert!(some < 45, "{some} at once");
    for client in &mut clients {
        assert_eq!(client.receive().unwrap().0, CLOSE);
        client.send(CLOSE, &1001_u16.to_be_bytes());
    }
    assert_eq!(server.ended().0.code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_server_now() {
    let mut server = Server::start(&["--grace-period=60s"]);
    let _stubborn = RawSocket::open(server.clients, "/ws/p");
    let begun = Instant::now();
    server.signal("TERM");
    eventually("the drain", || match get(server.admin, "/readyz").status {
        503 => Ok(()),
        status => Err(status),
    });
    server.signal("INT");
    let (status, said) = server.ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("second signal"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn sessions_are_ended_and_told_things_from_the_terminal() {
    let server = Server::start(&[]);
    let run = |arguments: &[&str]| {
        let output = headcount().args(arguments).env("HEADCOUNT_ADMIN", server.admin_url()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let v1 = "Sec-WebSocket-Protocol: headcount.v1\r\n";
    let mut socket = RawSocket::open_with(server.clients, "/ws/p?username=ann&pageId=p1", v1);
    socket.receive().unwrap();
    let _plain = RawSocket::open(server.clients, "/ws/p?username=plain");
    let id = |user: &str| server.row(user, |_| true)["id"].as_str().unwrap().to_owned();
    let (ann, plain) = (id("ann"), id("plain"));
    // What a client gets is what was typed: no number is rounded, and no key moved.
    let payload = r#"{"text":"hi","n":12345678901234567890123,"a":2.50}"#;
    assert_eq!(run(&["send", &ann, "notice", payload]), (0, "delivered\n".into(), String::new()));
    let (_, message) = socket.receive().unwrap();
    assert_eq!(
        String::from_utf8(message).unwrap(),
        format!(r#"{{"headcount":"message","messageType":"notice","payload":{payload}}}"#)
    );
    let (code, _, said) = run(&["send", &plain, "notice", "1"]);
    assert!(code == 1 && said.contains("undeliverable"), "{said}");
    assert_eq!(run(&["send", &ann, "notice", "{"]).0, 2);
    let (code, _, said) = run(&["send", &ann, "notice", "1", "--page", "nope"]);
    assert!(code == 1 && said.contains("no page"), "{said}");
    let (code, out, said) = run(&["close", &ann, "nobody", "--message", "shift ends"]);
    assert_eq!((code, &*out), (1, "1 session ended\n"), "{said}");
    assert!(said.contains("no session \"nobody\" is live"), "{said}");
    let (opcode, payload) = socket.receive().unwrap();
    assert_eq!((opcode, &payload[2..]), (CLOSE, &b"shift ends"[..]));
    assert_eq!(run(&["close", &plain, "--yes"]).0, 0);
    assert!(server.rows("").is_empty());
}
