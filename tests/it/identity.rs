//! Who a client is and where it comes from, by its own word or by others', over real sockets.

use serde_json::Value;

use crate::harness::{RawSocket, Response, Server, UPGRADE, request};

fn upgrade(server: &Server, target: &str, headers: &str) -> Response {
    request(server.clients, "GET", target, &format!("{UPGRADE}{headers}"), "")
}

/// The one session's name, address, and whether it is authorized.
#[track_caller]
fn only_row(server: &Server) -> (String, String, bool) {
    let rows = server.rows("");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let text = |key: &str| rows[0][key].as_str().unwrap().to_owned();
    (text("username"), text("clientAddress"), rows[0]["authorized"] == Value::Bool(true))
}

/// What is known of a client that brings these headers.
#[track_caller]
fn seen_as(server: &Server, target: &str, headers: &str) -> (String, String, bool) {
    server.empties();
    let _client = RawSocket::open_with(server.clients, target, headers);
    only_row(server)
}

#[track_caller]
fn is(found: &(String, String, bool), expected: (&str, &str, bool)) {
    assert_eq!((&*found.0, &*found.1, found.2), expected);
}

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
fn headers_of_whoever_is_not_trusted_are_not_heeded() {
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-User: root\r\n";
    for arguments in [
        &[][..],
        &["--trusted-proxies=10.0.0.0/8"],
        &["--trusted-proxies=10.0.0.0/8", "--identity=header"],
        &["--trusted-proxies=127.0.0.2", "--identity=header", "--forwarded-header=forwarded"],
    ] {
        let server = Server::start(arguments);
        is(&seen_as(&server, "/ws/p", spoofed), ("Unauthenticated", "127.0.0.1", false));
    }
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

#[test]
fn a_trusted_proxy_names_the_user() {
    let server = Server::start(&["--trusted-proxies=127.0.0.1", "--identity=header"]);
    let claimed = "/ws/p?username=eve";
    let named = seen_as(&server, claimed, "X-Forwarded-User: Zo\u{eb}\r\nX-Forwarded-For: 203.0.113.7\r\n");
    is(&named, ("Zo\u{eb}", "203.0.113.7", true));
    is(&seen_as(&server, claimed, "X-Forwarded-User: \r\n"), ("Unauthenticated", "127.0.0.1", false));
    is(&seen_as(&server, claimed, ""), ("Unauthenticated", "127.0.0.1", false));
    for (headers, problem) in [
        ("X-Forwarded-User: ann\r\nX-Forwarded-User: eve\r\n".to_owned(), "is given twice"),
        (format!("X-Forwarded-User: {}\r\n", "x".repeat(257)), "is too long"),
    ] {
        let refused = upgrade(&server, claimed, &headers);
        assert_eq!((refused.status, &*refused.error().0), (400, "bad_identity"));
        assert!(refused.error().1.contains(problem), "{}", refused.body);
    }
}

#[test]
fn a_named_user_may_be_required() {
    let server = Server::start(&[
        "--trusted-proxies=127.0.0.1",
        "--identity=header",
        "--identity-header=Remote-User",
        "--require-identity",
    ]);
    for headers in ["", "X-Forwarded-User: ann\r\n", "Remote-User: Unauthenticated\r\n"] {
        let refused = upgrade(&server, "/ws/p?username=ann", headers);
        assert_eq!((refused.status, &*refused.error().0), (403, "identity_required"), "{headers}");
    }
    is(&seen_as(&server, "/ws/p", "remote-user: ann\r\n"), ("ann", "127.0.0.1", true));
}
