//! PROTOCOL 3.1 and 3.2: those who ask the same share an answer, and large ones are limited.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{RawSocket, Response, Server, call, eventually, get};

const PATH: &str = "/api/v1/sessions";

fn open(server: &Server, users: impl IntoIterator<Item = usize>) -> Vec<RawSocket> {
    let open = |n| RawSocket::open(server.clients, &format!("/ws/p?username=user{n:03}"));
    users.into_iter().map(open).collect()
}

fn snapshot(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    answer["metadata"]["snapshotId"].as_str().unwrap().to_owned()
}

#[test]
fn lists_of_the_same_question_are_of_one_snapshot_as_long_as_it_is_young_enough() {
    let server = Server::start(&[]);
    let mut crowd = open(&server, 0..20);
    let target = format!("{PATH}?limit=2&sortBy=asc(username)");
    let shared = format!("{target}&maxAgeMs=10000");
    let ids: Vec<_> = thread::scope(|threads| {
        let asking: Vec<_> =
            (0..32).map(|_| threads.spawn(|| snapshot(&get(server.admin, &shared)))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // Who is in it and where stays; what is told of them is new.
    crowd[0].send(1, b"hello");
    crowd[0].barrier();
    let _newcomer = RawSocket::open(server.clients, "/ws/p?username=a");
    let answer = get(server.admin, &shared);
    let list: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((snapshot(&answer), &list["metadata"]["matching"]), (ids[0].clone(), &json!(20)));
    assert_eq!(
        (&list["items"][0]["username"], &list["items"][0]["totalBytesSent"]),
        (&json!("user000"), &json!(5))
    );
    let by_rpc = json!({"limit": 2, "sortBy": "asc(username)", "maxAgeMs": 10_000});
    let first = call(server.admin, "listSessions", &by_rpc);
    assert_eq!(
        call(server.admin, "listSessions", &by_rpc)["result"]["metadata"],
        first["result"]["metadata"]
    );
    for fresh in [target.clone(), format!("{target}&maxAgeMs=0"), format!("{shared}&project=p")] {
        let answer = get(server.admin, &fresh);
        assert_ne!(snapshot(&answer), ids[0], "{fresh}");
        assert!(answer.body.contains("\"matching\":21"), "{}", answer.body);
    }
    for bad in ["10001", "-1"] {
        let refused = get(server.admin, &format!("{PATH}?maxAgeMs={bad}"));
        assert_eq!(
            refused.error(),
            ("bad_parameter".to_owned(), "maxAgeMs must be 0 to 10000".to_owned()),
            "{bad}"
        );
    }
    let refused = call(server.admin, "listSessions", &json!({"maxAgeMs": "1"}));
    assert_eq!(refused["error"]["message"], "maxAgeMs must be a whole number, not a string");
}

#[test]
fn the_server_may_let_everybody_share_also_the_plain_array() {
    let server = Server::start(&["--snapshot-max-age", "10s"]);
    let mut crowd = open(&server, 0..2);
    let rows = |query: &str| server.rows(query).len();
    assert_eq!((rows(""), rows("usernameFilter=user*")), (2, 2));
    crowd.extend(open(&server, 2..3));
    assert_eq!((rows(""), rows("usernameFilter=user*"), rows("projectFilter=p")), (2, 2, 3));
    assert_eq!(call(server.admin, "getSessionInfo", &json!([]))["result"].as_array().unwrap().len(), 2);
    let matching = |query: &str| -> Value {
        let list: Value = serde_json::from_str(&get(server.admin, &format!("{PATH}?{query}")).body).unwrap();
        list["metadata"]["matching"].clone()
    };
    assert_eq!(matching(""), 3);
    crowd.extend(open(&server, 3..4));
    assert_eq!((matching(""), matching("maxAgeMs=0"), rows("projectFilter=p")), (json!(3), json!(4), 3));
    assert_eq!(get(server.admin, "/api/v1/session-info?maxAgeMs=0").error().0, "bad_parameter");
}

/// Sessions whose user agents, and patterns whose automata, were made for each other: each holds a core for a while.
fn hostile(server: &Server, sessions: usize) -> (Vec<RawSocket>, Value) {
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if state >> 63 == 0 { 'a' } else { 'b' }
    };
    let sockets = (0..sessions).map(|_| {
        let agent: String = (0..512).map(|_| letter()).collect();
        RawSocket::open_with(server.clients, "/ws/p?username=x", &format!("User-Agent: {agent}\r\n"))
    });
    let patterns: Vec<_> = (293..301).map(|n| format!("a[ab]{{{n}}}c")).collect();
    (sockets.collect(), json!({"filter": {"userAgent[rgx]": patterns}}))
}

#[test]
fn a_pattern_that_takes_too_long_is_given_up() {
    let server = Server::start(&["--max-list-time", "30ms"]);
    let (_crowd, asked) = hostile(&server, 60);
    let says = "this took longer than 30ms (max-list-time) to find: ask for certain ids";
    for (method, asked) in [
        ("listSessions", asked.clone()),
        ("closeSession", json!({"filter": asked["filter"], "message": "x"})),
        ("listSessions", json!({"filter": asked["filter"], "limit": -1})),
    ] {
        let refused = call(server.admin, method, &asked);
        assert_eq!(refused["error"]["code"], -32004, "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().starts_with(says), "{refused}");
    }
    let patterns = asked["filter"]["userAgent[rgx]"].as_array().unwrap().iter();
    let query: Vec<_> = patterns
        .map(|pattern| {
            let pattern = pattern.as_str().unwrap().replace('{', "%7B").replace('}', "%7D");
            format!("userAgent[rgx]={pattern}")
        })
        .collect();
    let refused = get(server.admin, &format!("{PATH}?{}", query.join("&")));
    assert_eq!((refused.status, &*refused.error().0), (400, "too_costly"));
    assert_eq!(server.rows("").len(), 60, "nobody was ended");
}

#[test]
fn large_lists_are_limited_and_hold_up_nothing_else() {
    let server = Server::start(&[
        "--max-concurrent-lists",
        "1",
        "--max-list-time",
        "60s",
        "--request-timeout",
        "400ms",
    ]);
    let (_crowd, asked) = hostile(&server, 30);
    let admin = server.admin;
    let (begun, long) = (Instant::now(), thread::spawn(move || call(admin, "listSessions", &asked)));
    let mut refused = 0;
    while !long.is_finished() {
        let asked = Instant::now();
        assert_eq!(get(admin, "/healthz").status, 200);
        assert_eq!(server.rows("usernameFilter=nobody").len(), 0);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        let other = get(admin, &format!("{PATH}?username[rgx]=nobody"));
        if other.status == 503 {
            assert_eq!((&*other.error().0, other.header("retry-after")), ("overloaded", Some("5")));
            refused += 1;
        }
        if refused == 1 {
            let other = call(admin, "listSessions", &json!({"filter": {"username[rgx]": "nobody"}}));
            if other["error"]["code"] != -32003 {
                // It had its turn, since the long one was made meanwhile.
                eventually("the long list", || if long.is_finished() { Ok(()) } else { Err(other.clone()) });
            }
        }
    }
    assert_eq!(long.join().unwrap()["result"]["items"], json!([]));
    assert!(refused > 0, "it took {:?}", begun.elapsed());
    assert_eq!(get(admin, &format!("{PATH}?username[rgx]=nobody")).status, 200, "the place is free again");
}
