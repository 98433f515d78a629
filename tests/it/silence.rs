//! PROTOCOL 2.4 and 3.1: connections that are dead without the server knowing, and a server that was dead itself.

use std::{thread, time::Duration};

use headcount::config::AdminConfig;
use serde_json::json;

use crate::{
    crowd::Crowded,
    harness::{PATIENCE, PING, PONG, RawSocket, Server, TEXT, UPGRADE, eventually, request},
    lives::{close, history, speaker},
};

/// A session, its first connection, and one that came back to the same page by its token.
fn come_back(server: &Server) -> (RawSocket, RawSocket) {
    let (first, welcome) = speaker(server, "/ws/p?username=ann&pageId=p1");
    let token = welcome["resumeToken"].as_str().unwrap();
    // The clock that tells them apart has ticks of some milliseconds.
    thread::sleep(Duration::from_millis(50));
    let (mut second, back) = speaker(server, &format!("/ws/p?username=ann&pageId=p1&resumeToken={token}"));
    assert_eq!(back["resumed"], true);
    // So long the first has to answer.
    thread::sleep(Duration::from_millis(2_100));
    second.barrier();
    (first, second)
}

/// The network of a client broke, it came back, and closed its page: for a minute it was still listed, and `lost`.
#[test]
fn a_page_that_is_closed_is_gone_although_its_first_connection_still_seems_to_be_there() {
    let server = Server::start(&[]);
    let (mut dead, alive) = come_back(&server);
    close(alive, 1000);
    assert!(server.rows("").is_empty());
    assert_eq!(history(&server, 1)[0]["reason"], "closed");
    // If it is not dead after all, it hears that it may come again.
    assert_eq!(dead.closed_with(), 1013);
}

#[test]
fn a_page_of_two_living_tabs_stays_until_both_are_closed() {
    let server = Server::start(&["--heartbeat", "1h"]);
    let (mut original, copy) = come_back(&server);
    // Long before the next heartbeat: because the other came.
    let (opcode, payload) = original.receive_any().unwrap();
    assert_eq!(opcode, PING);
    original.send(PONG, &payload);
    original.barrier();
    close(copy, 1000);
    let row = server.row("ann", |_| true);
    assert_eq!(row["pageIds"], json!(["p1"]));
    close(original, 1000);
    assert!(server.rows("").is_empty());
}

/// A server that was stopped for some heartbeats ended all its clients when it went on, and read nothing of what they had
/// sent meanwhile.
#[test]
fn a_server_that_stood_still_loses_nobody_and_reads_what_came() {
    let server = Server::start(&["--heartbeat", "2s", "--resume-window", "0s"]);
    let mut clients: Vec<_> =
        (0..40).map(|n| RawSocket::open(server.clients, &format!("/ws/p?username=u{n}"))).collect();
    server.signal("STOP");
    clients.iter_mut().for_each(|client| client.send(TEXT, b"hello"));
    thread::sleep(Duration::from_secs(6));
    server.signal("CONT");
    clients.iter_mut().for_each(RawSocket::barrier);
    let rows = server.rows("");
    assert_eq!(rows.len(), clients.len());
    assert!(rows.iter().all(|row| row["totalBytesSent"] == 5), "{rows:?}");
    assert!(history(&server, 0).is_empty());
    // And whoever is silent from then on is found as before.
    server.empties();
    assert!(history(&server, 40).iter().all(|ended| ended["reason"] == "lost"));
}

/// Administrators whose machine was switched off kept their places: at the cap every newcomer got 503, for ever.
#[test]
fn an_administrator_who_is_gone_without_a_word_leaves_the_place_and_who_answers_pings_stays() {
    const BEAT: Duration = Duration::from_millis(400);
    let admin = AdminConfig { max_query_sockets: 2, heartbeat: BEAT, ..AdminConfig::default() };
    let server = Crowded::start(1, admin);
    let (mut gone, mut alive) =
        (RawSocket::open(server.admin, "/query"), RawSocket::open(server.admin, "/query"));
    let upgrade = || request(server.admin, "GET", "/query", UPGRADE, "").status;
    assert_eq!(upgrade(), 503, "both places are taken");
    // Twice as long as whoever does not answer may be silent.
    for _ in 0..5 {
        let (opcode, payload) = alive.receive_any().expect("a ping");
        assert_eq!(opcode, PING);
        alive.send(PONG, &payload);
    }
    eventually("a free place", || match upgrade() {
        101 => Ok(()),
        status => Err(status),
    });
    assert_eq!(gone.receive_any().map(|(opcode, _)| opcode), Some(PING));
    assert_eq!(gone.receive_any(), None, "cut without a close frame");
    alive.send(TEXT, br#"{"jsonrpc":"2.0","id":1,"method":"unwatchSessions","params":{"watchId":"w1"}}"#);
    let (opcode, answer) = alive.receive().expect("an answer");
    assert!(opcode == TEXT && String::from_utf8_lossy(&answer).contains("-32002"));
    assert!(BEAT * 20 < PATIENCE);
}
