//! PROTOCOL 3.2: a reader that takes nothing is cut, whichever way its answer goes, and leaves its place to others.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use headcount::config::AdminConfig;

use crate::crowd::Crowded;
use crate::harness::{PATIENCE, RawSocket, TEXT, dial, get};

/// Far more than the system buffers for a reader that takes nothing.
const SESSIONS: usize = 40_000;

const WRITE_TIMEOUT: Duration = Duration::from_millis(400);

/// Asks, takes the beginning of the answer, and then nothing any more.
fn stalled(admin: SocketAddr, head: &str, body: &str) -> TcpStream {
    let mut stream = dial(admin);
    let request = format!("{head}Host: {admin}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).unwrap();
    let mut beginning = [0; 4096];
    stream.read_exact(&mut beginning).unwrap();
    assert!(beginning.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&beginning));
    stream
}

/// What is left to be read of a connection that was cut; it does not end as an answer does.
#[track_caller]
fn assert_cut(mut stream: TcpStream, way: &str) {
    let (mut part, mut end, mut bytes) = (vec![0; 1 << 16], Vec::new(), 0);
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => {
                bytes += count;
                end = part[..count].to_vec();
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{way}: {error}"),
        }
    }
    assert!(bytes < SESSIONS * 500, "{way}: it was all there");
    assert!(!end.ends_with(b"0\r\n\r\n"), "{way}");
}

#[test]
fn a_reader_that_takes_nothing_is_cut_on_every_way_and_its_place_is_free_again() {
    // For one administrator and one large list at a time.
    let server = Crowded::start(
        SESSIONS,
        AdminConfig {
            max_connections: 1,
            max_query_sockets: 1,
            max_concurrent_lists: 1,
            write_timeout: WRITE_TIMEOUT,
            ..AdminConfig::default()
        },
    );
    let admin = server.admin;
    let rpc = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":{params}}}"#);
    let (infos, all) =
        (rpc(r#""getSessionInfo""#), rpc(r#""listSessions","params":{"limit":-1,"sortBy":"desc(id)"}"#));
    let list = |query: &str, accept: &str| {
        (format!("GET /api/v1/sessions?limit=-1{query} HTTP/1.1\r\nAccept: {accept}\r\n"), String::new())
    };
    let post = |text: &str| {
        ("POST /query HTTP/1.1\r\nContent-Type: application/json\r\n".to_owned(), text.to_owned())
    };
    let is_free = |way: &str| {
        // The only place: nobody is answered as long as the stalled reader has it.
        let answer = get(admin, "/api/v1/sessions?limit=1&sortBy=desc(id)");
        assert_eq!(answer.status, 200, "{way}: {}", answer.body);
    };
    for (way, (head, body)) in [
        ("JSON", list("", "application/json")),
        ("JSON in order", list("&sortBy=desc(username)", "application/json")),
        ("JSON of a shared snapshot", list("&sortBy=desc(username)&maxAgeMs=10000", "application/json")),
        ("NDJSON", list("", "application/x-ndjson")),
        ("CSV", list("", "text/csv")),
        ("session-info", ("GET /api/v1/session-info HTTP/1.1\r\n".to_owned(), String::new())),
        ("RPC by POST", post(&infos)),
        ("listSessions by POST", post(&all)),
    ] {
        let stream = stalled(admin, &head, &body);
        is_free(way);
        assert_cut(stream, way);
    }
    for text in [&infos, &all] {
        let mut socket = RawSocket::open(admin, "/query");
        socket.send(TEXT, text.as_bytes());
        let mut beginning = [0; 4096];
        socket.stream.read_exact(&mut beginning).unwrap();
        is_free("RPC by socket");
        assert_cut(socket.stream, "RPC by socket");
    }
    assert!(WRITE_TIMEOUT * 10 < PATIENCE);
}
