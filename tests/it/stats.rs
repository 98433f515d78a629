//! PROTOCOL 3.1 and 3.3: `getStats` and `/metrics`, and that their figures add up.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::harness::{
    CLOSE, PING, RawSocket, Response, Server, TEXT, UPGRADE, dial, eventually, exchange, get, headcount,
    read_head, request, tool, tool_file,
};
use crate::watching::{self, Events, watch};

const OPEN_METRICS: &str =
    "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n";

fn metrics(server: &Server, headers: &str) -> Response {
    let response = request(server.admin, "GET", "/metrics", headers, "");
    assert_eq!(response.status, 200, "{}", response.body);
    response
}

fn stats(server: &Server) -> Value {
    serde_json::from_str(&get(server.admin, "/api/v1/stats").body).unwrap()
}

/// What one look at `/metrics` shows: each series, as it is written, and its value.
#[derive(Clone, Debug)]
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn of(server: &Server) -> Self {
        Self::read(&metrics(server, OPEN_METRICS).body)
    }

    /// Reads OpenMetrics more strictly than it has to be read: every family has its type and its help before its
    /// samples, is there once, and so is every series; names end as their type wants; labels are of those that there
    /// are.
    #[track_caller]
    fn read(text: &str) -> Self {
        const LABELS: [&str; 8] =
            ["direction", "kind", "le", "method", "reason", "scope", "state", "version"];
        let text = text.strip_suffix("# EOF\n").expect("the end is marked");
        let (mut series, mut families) = (BTreeMap::new(), BTreeMap::new());
        let mut family = ("", "");
        let mut help = None;
        for line in text.lines() {
            if let Some(of) = line.strip_prefix("# HELP ") {
                let (name, words) = of.split_once(' ').unwrap();
                assert!(words.len() > 10, "{line}");
                help = Some(name);
            } else if let Some(of) = line.strip_prefix("# TYPE ") {
                family = of.split_once(' ').unwrap();
                assert_eq!(help.take(), Some(family.0), "{line}");
                assert_eq!(families.insert(family.0.to_owned(), family.1), None, "{line}");
            } else if let Some(of) = line.strip_prefix("# UNIT ") {
                let (name, unit) = of.split_once(' ').unwrap();
                assert!(name == family.0 && name.ends_with(&format!("_{unit}")), "{line}");
            } else {
                let (written, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                let (name, labels) = written.split_once('{').unwrap_or((written, "}"));
                let suffix = name.strip_prefix(family.0).unwrap_or_else(|| panic!("{line} in {family:?}"));
                let suffixes: &[&str] = match family.1 {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    "info" => &["_info"],
                    other => panic!("{other}"),
                };
                assert!(suffixes.contains(&suffix), "{line} in {family:?}");
                let labels = labels.strip_suffix('}').unwrap();
                for label in labels.split("\",").filter(|label| !label.is_empty()) {
                    assert!(LABELS.contains(&label.split_once("=\"").unwrap().0), "{line}");
                }
                let value: f64 = value.parse().unwrap();
                assert!(value >= 0.0, "{line}");
                assert_eq!(series.insert(written.to_owned(), value), None, "{line} twice");
            }
        }
        Self(series)
    }

    #[track_caller]
    fn get(&self, series: &str) -> u64 {
        *self.0.get(series).unwrap_or_else(|| panic!("{series} in {:?}", self.0.keys())) as u64
    }

    /// All series of this name together.
    #[track_caller]
    fn sum(&self, name: &str) -> u64 {
        let of = |series: &&String| series.split('{').next() == Some(name);
        let found: Vec<_> = self.0.keys().filter(of).map(|series| self.get(series)).collect();
        assert!(!found.is_empty(), "{name}");
        found.iter().sum()
    }

    /// The equations of PROTOCOL 3.3 that hold at every look.
    #[track_caller]
    fn adds_up(&self) {
        let connections = |what: &str| self.sum(&format!("headcount_connections_{what}"));
        let came_to = ["arriving", "refused_total", "dropped_total", "upgraded_total"].map(connections);
        assert_eq!(connections("accepted_total"), came_to.iter().sum::<u64>(), "{:?}", self.0);
        assert_eq!(
            connections("upgraded_total"),
            connections("open") + connections("closed_total"),
            "{:?}",
            self.0
        );
        assert_eq!(
            self.get("headcount_handshake_seconds_count"),
            connections("upgraded_total"),
            "{:?}",
            self.0
        );
        assert!(connections("peak") >= connections("open"), "{:?}", self.0);
        let [begun, live, ended] =
            ["_begun_total", "", "_ended_total"].map(|what| self.sum(&format!("headcount_sessions{what}")));
        assert_eq!(begun, live + ended, "{:?}", self.0);
        assert!(self.get("headcount_sessions_peak") >= live, "{:?}", self.0);
        assert_eq!(
            self.get("headcount_watches_begun_total"),
            self.get("headcount_watches") + self.get("headcount_watches_ended_total"),
            "{:?}",
            self.0
        );
        let told = |kind: &str| self.get(&format!("headcount_watch_notifications_total{{kind=\"{kind}\"}}"));
        assert_eq!(told("change"), self.get("headcount_watch_lag_seconds_count"), "{:?}", self.0);
        assert!(told("resync") <= self.sum("headcount_watch_resyncs_total"), "{:?}", self.0);
        for count in self.0.keys().filter(|series| series.contains("_seconds_count")) {
            let (name, labels) = count.split_once('{').unwrap_or((count, "}"));
            let name = name.replace("_count", "_bucket");
            let comma = if labels == "}" { "" } else { "," };
            let all = format!("{name}{{le=\"+Inf\"{comma}{labels}");
            assert_eq!(self.get(&all), self.get(count), "{count}");
        }
    }

    /// Counts are never less than they were.
    #[track_caller]
    fn follows(&self, before: &Self) {
        let counts = |series: &str| {
            ["_total", "_count", "_bucket", "_peak"]
                .iter()
                .any(|end| series.split('{').next().unwrap().ends_with(end))
        };
        for (series, was) in before.0.iter().filter(|(series, _)| counts(series)) {
            let is = self.0.get(series);
            assert!(is.is_some_and(|is| is >= was), "{series} was {was} and is {is:?}");
        }
    }
}

/// Everything that may become of a connection, one after the other.
const KINDS: [fn(&Server); 11] = [
    |server| {
        let mut client = RawSocket::open(server.clients, "/ws/p?username=ann");
        (0..3).for_each(|_| client.send(TEXT, b"12345"));
        client.barrier();
        client.send(CLOSE, &1000_u16.to_be_bytes());
        assert_eq!(client.closed_with(), 1000);
    },
    |server| {
        let mut client = RawSocket::open(server.clients, "/ws/q");
        client.send(TEXT, b"1234567");
        client.barrier();
        // A socket that is closed with something unread is reset.
        client.send(PING, b"");
        client.stream.peek(&mut [0]).unwrap();
    },
    |server| {
        let refused = request(server.clients, "GET", "/ws/p?scope=x", UPGRADE, "");
        assert_eq!(refused.error().0, "bad_parameter");
    },
    |server| assert_eq!(get(server.clients, "/nope").error().0, "not_found"),
    |server| {
        let headers = format!("{UPGRADE}Origin: https://evil.example\r\n");
        assert_eq!(request(server.clients, "GET", "/ws/p", &headers, "").error().0, "origin_not_allowed");
    },
    |server| dial(server.clients).write_all(b"GET /ws/p HTTP/1.1\r\nHo").unwrap(),
    |server| {
        let mut stream = dial(server.clients);
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    },
    |server| {
        let mut stream = dial(server.clients);
        stream.write_all(b"GET /ws/p HTTP/1.1\r\nHo").unwrap();
        // Until the server has had enough.
        let _ = stream.read_to_end(&mut Vec::new());
    },
    |server| assert_eq!(get(server.clients, "/healthz").status, 200),
    |server| {
        let mut client = RawSocket::open(server.clients, "/ws/q");
        // Clients mask what they send.
        client.stream.write_all(&[0x81, 1, b'x']).unwrap();
        assert_eq!(client.closed_with(), 1002);
    },
    |server| {
        // What was refused first is let in by its second request.
        let mut stream = dial(server.clients);
        stream
            .write_all(format!("GET /nope HTTP/1.1\r\nHost: {}\r\n\r\n", server.clients).as_bytes())
            .unwrap();
        let refused = read_head(&mut stream);
        let mut body = vec![0; refused.header("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let upgrade = format!("GET /ws/p HTTP/1.1\r\nHost: {}\r\n{UPGRADE}\r\n", server.clients);
        stream.write_all(upgrade.as_bytes()).unwrap();
        let response = read_head(&mut stream);
        assert_eq!((refused.status, response.status), (404, 101));
        let mut client = RawSocket { stream, response };
        client.send(TEXT, b"12");
        client.send(CLOSE, &1000_u16.to_be_bytes());
        assert_eq!(client.closed_with(), 1000);
    },
];

#[test]
fn all_figures_add_up_at_every_look_and_in_the_end_are_what_was_done() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 5;
    let server = Server::start(&["--request-timeout", "1s"]);
    let running = AtomicUsize::new(THREADS);
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (server, running) = (&server, &running);
            scope.spawn(move || {
                for round in 0..ROUNDS * KINDS.len() {
                    KINDS[(round + n) % KINDS.len()](server);
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let mut before = Scrape::of(&server);
        while running.load(Ordering::Acquire) > 0 {
            let scrape = Scrape::of(&server);
            scrape.adds_up();
            scrape.follows(&before);
            before = scrape;
            let stats = stats(&server);
            let sessions = |key: &str| stats["sessions"][key].as_u64().unwrap();
            assert_eq!(sessions("begun"), sessions("live") + sessions("ended"), "{stats}");
            assert_eq!(sessions("live"), sessions("connected") + sessions("lingering"), "{stats}");
            let of_projects: u64 = stats["byProject"]["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["sessions"].as_u64().unwrap())
                .sum();
            assert_eq!(of_projects, sessions("live"), "{stats}");
        }
    });
    let each = (THREADS * ROUNDS) as u64;
    let last = eventually("everybody gone", || {
        let scrape = Scrape::of(&server);
        scrape.adds_up();
        let left = ["headcount_sessions", "headcount_connections_open", "headcount_connections_arriving"];
        if left.iter().all(|name| scrape.sum(name) == 0) { Ok(scrape) } else { Err(scrape) }
    });
    for (series, expected) in [
        ("headcount_connections_accepted_total", 11 * each),
        ("headcount_connections_upgraded_total", 4 * each),
        ("headcount_connections_refused_total{reason=\"bad_parameter\"}", each),
        ("headcount_connections_refused_total{reason=\"not_found\"}", each),
        ("headcount_connections_refused_total{reason=\"origin_not_allowed\"}", each),
        ("headcount_connections_dropped_total{reason=\"gone\"}", each),
        ("headcount_connections_dropped_total{reason=\"no_http\"}", each),
        ("headcount_connections_dropped_total{reason=\"timeout\"}", each),
        ("headcount_connections_dropped_total{reason=\"health\"}", each),
        ("headcount_connections_closed_total{reason=\"closed\"}", 2 * each),
        ("headcount_connections_closed_total{reason=\"lost\"}", each),
        ("headcount_connections_closed_total{reason=\"protocol\"}", each),
        ("headcount_sessions_begun_total", 4 * each),
        ("headcount_sessions_ended_total{reason=\"closed\"}", 2 * each),
        ("headcount_sessions_ended_total{reason=\"lost\"}", each),
        ("headcount_sessions_ended_total{reason=\"protocol\"}", each),
        ("headcount_messages_total{direction=\"in\"}", 5 * each),
        ("headcount_payload_bytes_total{direction=\"in\"}", 24 * each),
    ] {
        assert_eq!(last.get(series), expected, "{series}");
    }
}

#[test]
fn a_proxy_that_says_nothing_and_a_client_that_is_refused_for_too_many_are_counted_as_such() {
    let server =
        Server::start(&["--proxy-protocol", "--trusted-proxies", "127.0.0.0/8", "--max-sessions", "1"]);
    let mut stream = dial(server.clients);
    stream.write_all(b"GET /ws/p HTTP/1.1\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    let ask = format!("PROXY UNKNOWN\r\nGET /ws/p HTTP/1.1\r\nHost: {}\r\n{UPGRADE}\r\n", server.clients);
    let mut first = dial(server.clients);
    first.write_all(ask.as_bytes()).unwrap();
    assert_eq!(read_head(&mut first).status, 101);
    assert_eq!(exchange(server.clients, ask.as_bytes()).error().0, "server_full");
    eventually("both", || {
        let scrape = Scrape::of(&server);
        scrape.adds_up();
        let of = |series: &str| scrape.get(&format!("headcount_connections_{series}"));
        let found = [
            of("dropped_total{reason=\"proxy_header\"}"),
            of("refused_total{reason=\"server_full\"}"),
            of("open"),
        ];
        if found == [1, 1, 1] { Ok(()) } else { Err(found) }
    });
}

#[test]
fn get_stats_tells_how_much_of_everything_there_is() {
    let server = Server::start(&["--resume-window", "1m"]);
    let mut ann = RawSocket::open_with(
        server.clients,
        "/ws/p?username=ann&scope=ios",
        "Sec-WebSocket-Protocol: headcount.v1\r\n",
    );
    let (_, welcome) = ann.receive().unwrap();
    let mut bob = RawSocket::open(server.clients, "/ws/q?username=bob&scope=browser");
    let _nobody = RawSocket::open(server.clients, "/ws/q?scope=browser");
    bob.send(TEXT, b"hello");
    bob.barrier();
    drop(bob);
    let found = eventually("a lost connection", || {
        let stats = stats(&server);
        if stats["sessions"]["lingering"] == 1 { Ok(stats) } else { Err(stats) }
    });
    let sessions = &found["sessions"];
    for (key, value) in [
        ("live", 3),
        ("connected", 2),
        ("authorized", 0),
        ("unauthenticated", 1),
        ("peak", 3),
        ("begun", 3),
        ("ended", 0),
    ] {
        assert_eq!(sessions[key], value, "{key}: {found}");
    }
    assert_eq!(sessions["endedByReason"].as_object().unwrap().len(), 11);
    assert_eq!(found["byScope"][1], json!({"scope": "browser", "live": 2, "connected": 1, "lingering": 1}));
    assert_eq!(found["byScope"][2], json!({"scope": "ios", "live": 1, "connected": 1, "lingering": 0}));
    let none = json!({"distinct": 0, "sessions": 0});
    let projects = json!([{"project": "q", "sessions": 2}, {"project": "p", "sessions": 1}]);
    assert_eq!(found["byProject"], json!({"distinct": 2, "items": projects, "others": none}));
    let users = json!([{"username": "ann", "sessions": 1}, {"username": "bob", "sessions": 1}]);
    assert_eq!(found["byUser"], json!({"distinct": 2, "items": users, "others": none}));
    let traffic = json!({"messagesSent": 1, "totalBytesSent": 5, "messagesReceived": 1, "bytesReceived": welcome.len()});
    assert_eq!(found["traffic"], traffic);
    let connections = &found["connections"];
    for (key, value) in [("upgraded", 3), ("open", 2), ("closed", 1), ("peak", 3), ("refused", 0)] {
        assert_eq!(connections[key], value, "{key}: {found}");
    }
    assert_eq!(connections["closedByReason"]["lost"], 1);
    assert!(found["takenAt"].as_str() >= found["startedAt"].as_str() && found["uptime"].is_u64());
    if cfg!(target_os = "linux") {
        assert!(found["residentBytes"].as_u64().unwrap() > 1 << 20, "{found}");
    }
    let asked = |params: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"getStats","params":{params}}}"#);
        let answer = request(server.admin, "POST", "/query", "Content-Type: application/json\r\n", &text);
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    assert_eq!(asked("[]")["result"]["sessions"], *sessions, "it is the same either way");
    assert_eq!(asked(r#"{"x":1}"#)["error"]["code"], -32602);
    assert_eq!(get(server.admin, "/api/v1/stats?x=1").error().0, "bad_parameter");
    eventually("rates, a second after somebody asked", || {
        let rates = stats(&server)["rates"].clone();
        if rates["overMs"].as_u64() >= Some(1000) { Ok(()) } else { Err(rates) }
    });
}

#[test]
fn watches_and_what_they_are_told_are_counted() {
    let server = Server::start(&[]);
    let watches = |scrape: &Scrape| {
        scrape.adds_up();
        ["watches", "watch_groups", "watches_begun_total", "watches_ended_total", "query_sockets"]
            .map(|what| scrape.get(&format!("headcount_{what}")))
    };
    let first = Scrape::of(&server);
    assert_eq!((watches(&first), first.sum("headcount_watch_notifications_total")), ([0; 5], 0));
    assert_eq!(first.sum("headcount_watch_resyncs_total"), 0);
    let params = json!({"intervalMs": 100});
    let mut sockets = [watch(&server, &params).0, watch(&server, &params).0];
    let mut events = Events::open(&server, "intervalMs=100&username=ann", "");
    assert_eq!(events.next().0, "snapshot");
    assert_eq!(watches(&Scrape::of(&server)), [3, 2, 3, 0, 3]);
    let _ann = RawSocket::open(server.clients, "/ws/p?username=ann");
    let _bob = RawSocket::open(server.clients, "/ws/p?username=bob");
    sockets.iter_mut().for_each(|socket| drop(watching::told(socket, "sessionsChanged")));
    assert_eq!(events.next().0, "change");
    let scrape = Scrape::of(&server);
    scrape.adds_up();
    scrape.follows(&first);
    // The two clients may have come in one batch or in two.
    let told = scrape.get("headcount_watch_notifications_total{kind=\"change\"}");
    assert!((3..=5).contains(&told), "{told}");
    assert!(scrape.get("headcount_watch_evaluation_seconds_count") >= 2);
    let stats = stats(&server)["watches"].clone();
    let of = |key: &str| stats[key].as_u64().unwrap();
    assert_eq!(["live", "begun", "ended", "groups", "resyncs"].map(of), [3, 3, 0, 2, 0]);
    assert!(of("notifications") >= told, "{stats}");
    // A watch ends when that is asked for, with its socket, and when its stream is left.
    let [mut asks, leaves] = sockets;
    watching::call_past_news(&mut asks, "unwatchSessions", &json!({"watchId": "w1"}));
    drop((leaves, events));
    eventually("no watch any more", || {
        // Whoever has left is noticed by telling.
        let _ann = RawSocket::open(server.clients, "/ws/p?username=ann");
        let found = watches(&Scrape::of(&server));
        if found == [0, 0, 3, 3, 1] { Ok(()) } else { Err(found) }
    });
}

#[test]
fn the_command_line_shows_the_same() {
    let server = Server::start(&[]);
    let _client = RawSocket::open(server.clients, "/ws/plant?username=billy");
    let run = |arguments: &[&str]| {
        let output = headcount()
            .arg("stats")
            .args(arguments)
            .env("HEADCOUNT_ADMIN", server.admin_url())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = run(&[]);
    for line in [
        "sessions     1 live, 1 connected, ",
        "projects     plant 1\n",
        "users        billy 1\n",
        "now          0",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let stats: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(stats["byUser"]["items"][0], json!({"username": "billy", "sessions": 1}));
}

/// What a token of a project is told.
#[test]
fn of_a_project_its_own_figures_are_told_and_no_others() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stats-{}.tokens", std::process::id()));
    let _ = fs::remove_file(&path);
    let file = path.to_str().unwrap();
    let new = headcount()
        .args(["token", "new", "lead", "--scopes", "read,metrics", "--project", "p", "--file", file])
        .output();
    let token = String::from_utf8(new.unwrap().stdout).unwrap();
    let server = Server::start(&["--admin-tokens", file]);
    let _sockets =
        ["/ws/p?username=ann", "/ws/q?username=bob"].map(|path| RawSocket::open(server.clients, path));
    let headers = format!("Authorization: Bearer {}\r\n", token.trim());
    let answer = request(server.admin, "GET", "/api/v1/stats", &headers, "");
    let refused = request(server.admin, "GET", "/metrics", &headers, "");
    let nodes = request(server.admin, "GET", "/api/v1/nodes", &headers, "");
    let _ = fs::remove_file(&path);
    assert!(!answer.body.contains("bob"), "{}", answer.body);
    let stats: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&stats["project"], &stats["sessions"]["live"]), (&json!("p"), &json!(1)));
    assert!(nodes.body.contains(r#""sessions":1,"connections":null"#), "{}", nodes.body);
    for key in ["connections", "watches", "rates", "residentBytes"] {
        assert_eq!(stats[key], Value::Null, "{key}");
    }
    for key in ["peak", "begun", "ended", "endedByReason"] {
        assert_eq!(stats["sessions"][key], Value::Null, "{key}");
    }
    assert_eq!((refused.status, refused.error().0), (403, "insufficient_scope".to_owned()));
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for_and_name_nobody() {
    let server = Server::start(&[]);
    let _client = RawSocket::open(
        server.clients,
        "/ws/secret-project?username=secret-user&scope=designer&designerId=secret-id",
    );
    let (text, open) = (
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    );
    for (accept, expected) in [
        ("", text),
        ("Accept: */*\r\n", text),
        ("Accept: text/html\r\n", text),
        (OPEN_METRICS, open),
        // As Prometheus asks.
        (
            "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            open,
        ),
    ] {
        let response = metrics(&server, accept);
        assert_eq!(response.header("content-type"), Some(expected), "{accept}");
        assert_eq!(response.body.ends_with("# EOF\n"), expected == open);
        assert!(
            !response.body.contains("secret") && !response.body.contains("127.0.0.1"),
            "{}",
            response.body
        );
    }
    assert_eq!(get(server.admin, "/metrics?x=1").error().0, "bad_parameter");
    // Whatever is asked: the ways to ask are those that there are.
    for (method, target) in
        [("BREW", "/metrics"), ("GET", "/secret/path"), ("GET", "/api/v1/sessions/secret-id")]
    {
        request(server.admin, method, target, "", "");
    }
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"secretMethod"}"#;
    request(server.admin, "POST", "/query", "Content-Type: application/json\r\n", body);
    let scrape = Scrape::of(&server);
    scrape.adds_up();
    assert!(
        scrape.0.keys().all(|series| !series.contains("secret") && !series.contains("BREW")),
        "{scrape:?}"
    );
    for way in [
        "other /metrics",
        "GET elsewhere",
        "GET /api/v1/sessions/{id}",
        "unknown",
        "getStats",
        "GET /metrics",
    ] {
        scrape.get(&format!("headcount_query_seconds_count{{method=\"{way}\"}}"));
    }
    assert_eq!(scrape.get("headcount_query_errors_total{method=\"unknown\"}"), 1);
    assert_eq!(scrape.get("headcount_sessions{scope=\"designer\",state=\"connected\"}"), 1);
}

#[test]
fn prometheus_reads_the_metrics_in_both_formats() {
    let Some(promtool) = tool("promtool", tool_file("promtool")) else { return };
    let server = Server::start(&[]);
    let mut client = RawSocket::open(server.clients, "/ws/p");
    client.send(TEXT, b"hello");
    client.barrier();
    get(server.admin, "/api/v1/sessions/x");
    let mut child = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics(&server, "").body.as_bytes()).unwrap();
    let checked = child.wait_with_output().unwrap();
    let said =
        [checked.stdout, checked.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(checked.status.success() && said.is_empty(), "{said}");
    // Its check reads the older format alone. The other is read by what fills a database, which wants to know when.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("openmetrics-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let dated =
        |line: &str| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1700000000\n") };
    let text: String = metrics(&server, OPEN_METRICS).body.lines().map(dated).collect();
    fs::write(folder.join("scrape"), text).unwrap();
    let read = Command::new(&promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([folder.join("scrape"), folder.join("blocks")])
        .output()
        .unwrap();
    let _ = fs::remove_dir_all(&folder);
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}
