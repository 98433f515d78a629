//! Where clients behind proxies come from, over real sockets.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    harness::{RawSocket, Server, UPGRADE, dial, exchange, get},
    identity::{is, only_row, seen_as, upgrade},
};

#[test]
fn a_trusted_proxy_says_where_its_client_comes_from() {
    let server = Server::start(&["--trusted-proxies=127.0.0.0/8,10.0.0.0/8"]);
    let headers = "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.2.2.2\r\nForwarded: for=6.6.6.6\r\n";
    is(&seen_as(&server, "/ws/p?username=ann", headers), ("ann", "203.0.113.7", false));
    let lines = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: [2001:db8::7]:99\r\n";
    is(&seen_as(&server, "/ws/p", lines), ("Unauthenticated", "2001:db8::7", false));
    let garbage = "X-Forwarded-For: 6.6.6.6, unknown, 10.2.2.2\r\n";
    is(&seen_as(&server, "/ws/p", garbage), ("Unauthenticated", "10.2.2.2", false));
}

#[test]
fn one_header_alone_is_read() {
    let server = Server::start(&["--trusted-proxies=127.0.0.1", "--forwarded-header=forwarded"]);
    let headers =
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6, for=\"[2001:db8::7]:99\";proto=https\r\n";
    assert_eq!(seen_as(&server, "/ws/p", headers).1, "2001:db8::7");
    assert_eq!(seen_as(&server, "/ws/p", "X-Forwarded-For: 6.6.6.6\r\n").1, "127.0.0.1");
    let server = Server::start(&["--trusted-proxies=127.0.0.1", "--forwarded-header=none"]);
    assert_eq!(seen_as(&server, "/ws/p", headers).1, "127.0.0.1");
}

#[test]
fn limits_count_the_client_s_address_and_not_its_proxy_s() {
    let server = Server::start(&[
        "--trusted-proxies=127.0.0.1",
        "--max-sessions-per-address=1",
        "--max-connect-rate=2",
    ]);
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let _clients: Vec<_> = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"]
        .map(|address| RawSocket::open_with(server.clients, "/ws/p", &from(address)))
        .into();
    let refused = upgrade(&server, "/ws/p", &from("203.0.113.4"));
    assert_eq!((refused.status, &*refused.error().0), (429, "too_many_sessions"));
    // A name of its own to the left does not make it another.
    let refused = upgrade(&server, "/ws/p", &from("6.6.6.6, 203.0.113.4"));
    assert_eq!((refused.status, &*refused.error().0), (429, "too_fast"));
}

/// A PROXY protocol header of version 2 for a client at 203.0.113.7, with an extension.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xcb\0\x71\x07\x0a\0\0\x01\x12\x34\0\x50\x04\0\x01x";
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";

fn upgrade_bytes(server: &Server, target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{UPGRADE}{headers}\r\n", server.clients).into_bytes()
}

/// Sends this, in pieces of so many bytes; answers the row that comes of it.
#[track_caller]
fn row_after(server: &Server, bytes: &[u8], piece: usize) -> (String, String, bool) {
    server.empties();
    let mut stream = dial(server.clients);
    for piece in bytes.chunks(piece) {
        stream.write_all(piece).unwrap();
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    only_row(server)
}

#[test]
fn a_proxy_protocol_header_names_the_client_however_it_is_cut() {
    let server = Server::start(&["--trusted-proxies=127.0.0.1", "--proxy-protocol"]);
    let asked = upgrade_bytes(&server, "/ws/p?username=ann", "X-Forwarded-For: 6.6.6.6\r\n");
    for header in [V1, V2] {
        for piece in [1, 7, usize::MAX] {
            is(&row_after(&server, &[header, &asked].concat(), piece), ("ann", "203.0.113.7", false));
        }
    }
    let local: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert_eq!(row_after(&server, &[local, &asked].concat(), 1).1, "6.6.6.6", "the proxy's own request");
    assert_eq!(row_after(&server, &[b"PROXY UNKNOWN\r\n", &*asked].concat(), 1).1, "127.0.0.1");
}

#[test]
fn the_proxy_protocol_comes_first_and_then_the_headers() {
    let server = Server::start(&[
        "--trusted-proxies=127.0.0.1,203.0.113.0/24",
        "--proxy-protocol",
        "--identity=header",
    ]);
    let headers = "X-Forwarded-For: 6.6.6.6, 198.51.100.9\r\nX-Forwarded-User: ann\r\n";
    let asked = upgrade_bytes(&server, "/ws/p", headers);
    is(&row_after(&server, &[V1, &asked].concat(), 1), ("ann", "198.51.100.9", true));
    let stranger = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
    is(&row_after(&server, &[stranger, &*asked].concat(), 1), ("Unauthenticated", "192.0.2.1", false));
}

/// The addresses of the one session that this list finds, the client's and the peer's; none if it finds nobody.
fn addresses(server: &Server, query: &str) -> Option<[String; 2]> {
    let answer = get(server.admin, &format!("/api/v1/sessions?{query}"));
    let list: Value = serde_json::from_str(&answer.body).unwrap();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    assert!(items.len() < 2, "{list}");
    let text = |key: &str| items[0][key].as_str().unwrap().to_owned();
    (!items.is_empty()).then(|| ["clientAddress", "peerAddress"].map(text))
}

#[test]
fn the_peer_of_a_session_is_its_client_or_the_proxy_that_connected() {
    let server = Server::start(&[]);
    let _client = RawSocket::open_with(server.clients, "/ws/p", "X-Forwarded-For: 203.0.113.7\r\n");
    assert_eq!(addresses(&server, ""), Some(["127.0.0.1", "127.0.0.1"].map(str::to_owned)));
    let both = Some(["203.0.113.7", "127.0.0.1"].map(str::to_owned));
    let server = Server::start(&["--trusted-proxies=127.0.0.1"]);
    let _client = RawSocket::open_with(server.clients, "/ws/p", "X-Forwarded-For: 203.0.113.7\r\n");
    for (query, found) in [
        ("", &both),
        ("peerAddress=127.0.0.1", &both),
        ("peerAddress[cidr]=127.0.0.0/8", &both),
        ("peerAddress[ew]=.0.1&clientAddress[ew]=.7", &both),
        ("search=127.0.0.1+203.0.113.7", &both),
        ("sortBy=desc(peerAddress)", &both),
        ("peerAddress=203.0.113.7", &None),
        ("peerAddress[ne]=127.0.0.1", &None),
        ("clientAddress=127.0.0.1", &None),
    ] {
        assert_eq!(addresses(&server, query), *found, "{query}");
    }
    let server = Server::start(&["--trusted-proxies=127.0.0.1,203.0.113.0/24", "--proxy-protocol"]);
    let asked = upgrade_bytes(&server, "/ws/p", "X-Forwarded-For: 198.51.100.9\r\n");
    let mut stream = dial(server.clients);
    stream.write_all(&[V2, &asked].concat()).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(addresses(&server, ""), Some(["198.51.100.9", "127.0.0.1"].map(str::to_owned)));
}

#[test]
fn a_proxy_that_does_not_say_whom_it_connects_for_is_not_served() {
    let server = Server::start(&["--trusted-proxies=127.0.0.1", "--proxy-protocol", "--request-timeout=1s"]);
    let asked = upgrade_bytes(&server, "/ws/p", "");
    let ends = |bytes: &[u8]| {
        let mut stream = dial(server.clients);
        let _ = stream.write_all(bytes);
        let begun = Instant::now();
        // A reset is an end, too.
        let got = stream.read(&mut [0]).unwrap_or(0);
        (got == 0).then(|| begun.elapsed()).expect("no answer")
    };
    for bytes in [&asked[..], b"PROXY TCP4 nonsense\r\n", &[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat()]
    {
        assert!(ends(bytes) < Duration::from_millis(900), "at once");
    }
    for begun in [&b""[..], &V1[..20], &V2[..20]] {
        let borne = ends(begun).as_millis();
        assert!((900..3000).contains(&borne), "{borne} ms");
    }
    assert!(server.rows("").is_empty());
}

#[test]
fn a_proxy_protocol_header_of_whoever_is_not_trusted_is_no_request() {
    let server = Server::start(&["--trusted-proxies=10.0.0.0/8", "--proxy-protocol"]);
    let asked = upgrade_bytes(&server, "/ws/p", "");
    assert_eq!(exchange(server.clients, &[V1, &asked].concat()).status, 400);
    is(&row_after(&server, &asked, 1), ("Unauthenticated", "127.0.0.1", false));
}
