//! PROTOCOL 3.1 and 3.2: watches over the query socket and as events, and what their watchers make of them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::harness::{
    self, CLOSE, PATIENCE, PING, PONG, RawSocket, Server, TEXT, dial, eventually, frame, get, headcount,
    program, request, say, tool,
};
use crate::tokens::{self, Kinds, Tokens, bearer};

/// What moves although nothing happens.
const MOVING: [&str; 6] = ["uptime", "lastComm", "lastCommAt", "lastActivity", "bytesPerSecond", "rttMs"];

/// Sessions by their ids.
type Known = BTreeMap<String, Value>;

fn steady(items: &Value) -> Vec<(String, Value)> {
    let items = items.as_array().unwrap_or_else(|| panic!("{items}"));
    let steady = |item: &Value| {
        let mut item = item.as_object().unwrap().clone();
        item.retain(|key, _| !MOVING.contains(&&**key));
        (item["id"].as_str().unwrap().to_owned(), Value::from(item))
    };
    items.iter().map(steady).collect()
}

/// What a watcher makes of what it is told.
#[derive(Default)]
pub(crate) struct Fold {
    known: Known,
    revision: u64,
    resyncs: usize,
    /// When each batch came.
    batches: Vec<Instant>,
    opened: usize,
    /// How many were in `closed` that had never been opened.
    short: usize,
}

impl Fold {
    fn begin(&mut self, told: &Value) {
        self.revise(told);
        self.known = steady(&told["items"]).into_iter().collect();
    }

    /// By the order of the protocol; and what is told must fit what is known.
    fn change(&mut self, told: &Value) {
        self.revise(told);
        self.batches.push(Instant::now());
        for closed in told["closed"].as_array().unwrap() {
            if self.known.remove(closed["id"].as_str().unwrap()).is_none() {
                self.short += 1;
            }
        }
        for (id, item) in steady(&told["opened"]) {
            self.opened += 1;
            assert!(self.known.insert(id, item).is_none(), "opened twice: {told}");
        }
        for (id, item) in steady(&told["changed"]) {
            assert!(self.known.insert(id, item).is_some(), "changed and not there: {told}");
        }
    }

    fn revise(&mut self, told: &Value) {
        let revision = told["revision"].as_u64().unwrap();
        assert!(revision > self.revision, "{revision} after {}", self.revision);
        self.revision = revision;
    }

    /// Applies a notification of JSON-RPC.
    fn apply(&mut self, told: &Value) {
        match told["method"].as_str() {
            Some("sessionsChanged") => self.change(&told["params"]),
            Some("resync") => {
                self.resyncs += 1;
                self.begin(&told["params"]);
            }
            _ => panic!("{told}"),
        }
    }
}

fn read(socket: &mut RawSocket) -> Value {
    let (opcode, payload) = socket.receive().expect("a message");
    assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&payload));
    serde_json::from_slice(&payload).unwrap()
}

fn ask(socket: &mut RawSocket, method: &str, params: &Value) {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    socket.send(TEXT, request.to_string().as_bytes());
}

fn call(socket: &mut RawSocket, method: &str, params: &Value) -> Value {
    ask(socket, method, params);
    read(socket)
}

/// The answer, behind whatever is told before it.
pub(crate) fn call_past_news(socket: &mut RawSocket, method: &str, params: &Value) -> Value {
    ask(socket, method, params);
    loop {
        let message = read(socket);
        if message["id"] == 1 {
            return message;
        }
    }
}

/// A socket that watches, and what it begins with.
pub(crate) fn watch(server: &Server, params: &Value) -> (RawSocket, Fold) {
    let mut socket = RawSocket::open(server.admin, "/query");
    let answer = call(&mut socket, "watchSessions", params);
    assert_eq!(answer["result"]["watchId"], "w1", "{answer}");
    let mut fold = Fold::default();
    fold.begin(&answer["result"]);
    (socket, fold)
}

/// The next thing that is told, and its parameters.
#[track_caller]
pub(crate) fn told(socket: &mut RawSocket, method: &str) -> Value {
    let told = read(socket);
    assert_eq!(told["method"], method, "{told}");
    told["params"].clone()
}

fn listed(server: &Server, params: &Value) -> Known {
    let mut params = params.clone();
    params.as_object_mut().unwrap().remove("intervalMs");
    params["limit"] = json!(-1);
    let answer = harness::call(server.admin, "listSessions", &params);
    steady(&answer["result"]["items"]).into_iter().collect()
}

fn designer(server: &Server, id: &str) -> RawSocket {
    RawSocket::open(server.clients, &format!("/ws/p?scope=designer&designerId={id}&pageId=p1"))
}

#[test]
fn a_watch_tells_what_changes_and_nothing_else() {
    let server = Server::start(&["--heartbeat", "2s"]);
    let mut first = designer(&server, "first");
    let (mut socket, _) = watch(&server, &json!({"intervalMs": 100, "filter": {"project": "p"}}));
    let second = designer(&server, "second");
    let batch = told(&mut socket, "sessionsChanged");
    assert_eq!(batch["opened"][0]["id"], "second");
    assert_eq!(batch["opened"][0].as_object().unwrap().len(), 26);
    assert_eq!(
        (&batch["watchId"], &batch["changed"], &batch["closed"]),
        (&json!("w1"), &json!([]), &json!([]))
    );
    first.send(TEXT, b"hello");
    let batch = told(&mut socket, "sessionsChanged");
    assert_eq!(batch["changed"][0]["totalBytesSent"], 5);
    first.send(CLOSE, &1000_u16.to_be_bytes());
    let batch = told(&mut socket, "sessionsChanged");
    let closed = &batch["closed"][0];
    let facts = ["id", "reason", "totalBytesSent", "project"].map(|key| closed[key].clone());
    assert_eq!(facts, [json!("first"), json!("closed"), json!(5), json!("p")]);
    // Pings and pongs go on; nobody is told of them. Others get their answers.
    let mut second = second;
    second.stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        assert_eq!(second.receive(), None, "nothing but pings, which are answered");
    }
    assert_eq!(call(&mut socket, "getSessionInfo", &json!([]))["result"][0]["id"], "second");
    assert_eq!(
        call(&mut socket, "unwatchSessions", &json!({"watchId": "w1"}))["result"],
        json!({"watchId": "w1"})
    );
    drop(second);
    server.empties();
    thread::sleep(Duration::from_millis(300));
    let gone = call(&mut socket, "unwatchSessions", &json!({"watchId": "w1"}));
    assert_eq!(gone["error"], json!({"code": -32002, "message": "this socket has no watch \"w1\""}));
}

#[test]
fn what_cannot_be_watched_says_why() {
    let server = Server::start(&[]);
    let mut socket = RawSocket::open(server.admin, "/query");
    for (params, code, says) in [
        (json!({"intervalMs": 50}), -32602, "intervalMs must be 100 to 60000, not 50"),
        (json!({"filter": {"nope": 1}}), -32602, "unknown field"),
        (json!({"sortBy": "asc(id)"}), -32602, "unknown parameter \"sortBy\""),
    ] {
        let refused = call(&mut socket, "watchSessions", &params)["error"].clone();
        assert_eq!(refused["code"], code);
        assert!(refused["message"].as_str().unwrap().contains(says), "{refused}");
    }
    for n in 1..=32 {
        let answer = call(&mut socket, "watchSessions", &json!({}));
        assert_eq!(answer["result"]["watchId"], format!("w{n}"));
    }
    let refused = call(&mut socket, "watchSessions", &json!({}))["error"].clone();
    assert_eq!(refused, json!({"code": -32004, "message": "there are 32 watches of this socket already"}));
    call(&mut socket, "unwatchSessions", &json!({"watchId": "w7"}));
    assert!(call(&mut socket, "watchSessions", &json!({}))["result"].is_object());
    for method in ["watchSessions", "unwatchSessions"] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"watchId": "w1"}});
        let body = if method == "watchSessions" {
            json!({"params": {}, "jsonrpc": "2.0", "id": 1, "method": method})
        } else {
            body
        };
        let answer =
            request(server.admin, "POST", "/query", "Content-Type: application/json\r\n", &body.to_string());
        assert!(answer.body.contains("-32601") && answer.body.contains("/api/v1/events"), "{}", answer.body);
    }
    for (query, says) in [
        ("intervalMs=50", "intervalMs must be 100 to 60000"),
        ("intervalMs=x", "intervalMs must be a whole number, not \"x\""),
        ("limit=1", "unknown parameter \"limit\"; known: search, intervalMs, and field[op]"),
        ("username[nope]=1", "unknown operator"),
    ] {
        let refused = get(server.admin, &format!("/api/v1/events?{query}"));
        assert_eq!((refused.status, &*refused.error().0), (400, "bad_parameter"));
        assert!(refused.error().1.contains(says), "{}", refused.body);
    }
}

#[test]
fn batches_keep_their_interval_and_a_notification_is_no_watch() {
    let server = Server::start(&[]);
    let mut client = designer(&server, "d");
    let (mut socket, mut fold) = watch(&server, &json!({"intervalMs": 400}));
    // A request that nobody wants an answer to begins none.
    socket.send(TEXT, br#"{"jsonrpc":"2.0","method":"watchSessions","params":{"intervalMs":100}}"#);
    let done = Arc::new(AtomicBool::new(false));
    let busy = done.clone();
    let sending = thread::spawn(move || {
        while !busy.load(Ordering::Relaxed) {
            client.send(TEXT, b"x");
            thread::sleep(Duration::from_millis(5));
        }
    });
    while fold.batches.len() < 6 {
        fold.apply(&read(&mut socket));
    }
    done.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    let took = *fold.batches.last().unwrap() - fold.batches[0];
    assert!(took >= Duration::from_millis(5 * 400 - 100), "{took:?}");
}

/// One of many clients that come and go.
fn come(server: SocketAddr, random: &mut StdRng) -> RawSocket {
    let number = |random: &mut StdRng, most: u32| random.random_range(0..most);
    let project = ["plant", "office", "lab"][number(random, 3) as usize];
    let scope = ["browser", "ios", "android", "designer"][number(random, 4) as usize];
    let (user, page) = (number(random, 30), number(random, 9));
    // Designers meet: an id that ends and begins again, and sessions of several connections.
    let designer = if scope == "designer" {
        format!("&designerId={project}-{}", number(random, 40))
    } else {
        String::new()
    };
    // All of one designer are one user.
    let user = if scope == "designer" { 99 } else { user };
    let target = format!("/ws/{project}?username=user{user}&scope={scope}&pageId=page{page}{designer}");
    RawSocket::open(server, &target)
}

/// Something happens to one of these clients, and the server has noticed when this returns.
fn live(server: SocketAddr, clients: &mut [Option<RawSocket>], random: &mut StdRng) {
    let at = random.random_range(0..clients.len());
    let Some(client) = &mut clients[at] else {
        clients[at] = Some(come(server, random));
        return;
    };
    if !is_there(client) {
        clients[at] = None;
        return;
    }
    match random.random_range(0..6) {
        0 | 1 => client.send(TEXT, &b"abcdefgh"[..random.random_range(0..8)]),
        2 => {
            let page = random.random_range(0..9);
            let open = format!(r#"{{"headcount":"openPage","pageId":"page{page}","path":"/{page}"}}"#);
            client.send(TEXT, open.as_bytes());
        }
        3 => client.send(TEXT, br#"{"headcount":"activity"}"#),
        4 => {
            // As a cable that is cut.
            clients[at] = None;
            return;
        }
        _ => {
            client.send(CLOSE, &1000_u16.to_be_bytes());
            assert_eq!(client.closed_with(), 1000);
            clients[at] = None;
            return;
        }
    }
    client.barrier();
}

/// Between two acts they answer no pings, so one may be taken for gone with another that had the same page (PROTOCOL 2.4).
fn is_there(client: &mut RawSocket) -> bool {
    if client.stream.write_all(&frame(0x80 | PING, b"there?")).is_err() {
        return false;
    }
    match client.receive() {
        Some((CLOSE, payload)) => {
            assert_eq!(u16::from_be_bytes([payload[0], payload[1]]), 1013);
            false
        }
        None => false,
        pong => {
            assert_eq!(pong, Some((PONG, b"there?".to_vec())));
            true
        }
    }
}

/// Twenty questions, of every kind.
fn questions() -> Vec<Value> {
    [
        json!({}),
        json!({"username": "user1"}),
        json!({"username": ["user2", "user3", "user4"]}),
        json!({"username[glob]": "user1?"}),
        json!({"username[rgx]": "[05]$"}),
        json!({"project": "plant"}),
        json!({"project[ne]": "plant", "sessionScope": "ios"}),
        json!({"sessionScope": ["designer"]}),
        json!({"sessionScope": "designer", "connections[gte]": 2}),
        json!({"activePages[gt]": 1}),
        json!({"pageIds": "page3"}),
        json!({"totalBytesSent[lt]": 10}),
        json!({"totalBytesSent[gte]": 10, "messagesSent[lte]": 5}),
        json!({"recentBytesSent": 0}),
        json!({"connected": false}),
        json!({"lastActivity[ne]": null}),
        json!({"id[sw]": "plant-1"}),
        json!({"id": ["lab-1", "lab-2", "office-3"]}),
    ]
    .into_iter()
    .map(|filter| json!({"filter": filter, "intervalMs": 100}))
    .chain([json!({"search": "android page1", "intervalMs": 100}), json!({"intervalMs": 250})])
    .collect()
}

/// How much of it there is: the whole takes a minute or more, so that there is a small one for every day.
struct Churn {
    clients: usize,
    moments: usize,
    between: Duration,
}

/// Twenty watchers of different questions, and clients that come, live and go. At moments of no choice all clients stand
/// still, and then every watcher must come to know what `listSessions` answers to its question, without anything else
/// happening: what was lost, or told twice, would stay wrong.
#[test]
fn what_watchers_fold_is_what_is_listed() {
    let churn = match std::env::var("HEADCOUNT_WATCH_CHURN").as_deref() {
        Ok("full") => Churn { clients: 2_000, moments: 50, between: Duration::from_millis(600) },
        _ => Churn { clients: 300, moments: 8, between: Duration::from_millis(300) },
    };
    let server = Server::start(&[]);
    let folds: Vec<_> = questions().iter().map(|params| following(&server, params)).collect();
    let (still, done, acts) = (RwLock::new(()), AtomicBool::new(false), AtomicUsize::new(0));
    let mut random = StdRng::seed_from_u64(7);
    thread::scope(|threads| {
        for n in 0..2_u64 {
            let (still, done, acts, clients) = (&still, &done, &acts, server.clients);
            let count = churn.clients / 2;
            threads.spawn(move || {
                let mut random = StdRng::seed_from_u64(n);
                let mut crowd: Vec<_> = (0..count).map(|_| Some(come(clients, &mut random))).collect();
                while !done.load(Ordering::Relaxed) {
                    let _moving = still.read().unwrap();
                    live(clients, &mut crowd, &mut random);
                    acts.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stop = Stop(&done);
        for moment in 0..churn.moments {
            thread::sleep(churn.between.mul_f64(random.random_range(0.2..1.8)));
            let _still = still.write().unwrap();
            for (params, fold) in questions().iter().zip(&folds) {
                agree(&server, params, fold, moment);
            }
        }
        drop(stop);
    });
    let sum = |of: fn(&Fold) -> usize| folds.iter().map(|fold| of(&fold.lock().unwrap())).sum::<usize>();
    let (batches, opened) = (sum(|fold| fold.batches.len()), sum(|fold| fold.opened));
    let (short, resyncs) = (sum(|fold| fold.short), sum(|fold| fold.resyncs));
    say(&format!(
        "{} acts, {batches} batches, {opened} opened, {short} that came and went, {resyncs} resyncs",
        acts.load(Ordering::Relaxed)
    ));
    assert!(batches > 100 && opened > 100, "{batches} {opened}");
}

/// Lets the others end, however this one does.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A watcher that applies all that it is told, on a thread of its own, until its socket is closed.
fn following(server: &Server, params: &Value) -> Arc<Mutex<Fold>> {
    let (mut socket, fold) = watch(server, params);
    let fold = Arc::new(Mutex::new(fold));
    let followed = fold.clone();
    socket.stream.set_read_timeout(None).unwrap();
    thread::spawn(move || {
        while let Some((TEXT, told)) = socket.receive() {
            followed.lock().unwrap().apply(&serde_json::from_slice(&told).unwrap());
        }
    });
    fold
}

/// Waits until a watcher knows what is listed.
#[track_caller]
fn agree(server: &Server, params: &Value, fold: &Mutex<Fold>, moment: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let listed = listed(server, params);
        let known = fold.lock().expect("the watcher could apply all it was told").known.clone();
        if known == listed {
            return;
        }
        if Instant::now() > until {
            let differs = |id: &&String| known.get(*id) != listed.get(*id);
            let ids: Vec<_> = known.keys().chain(listed.keys()).filter(differs).collect();
            panic!("{params} at moment {moment}: {} known, {} listed, {ids:?}", known.len(), listed.len());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sessions of many pages, so that a batch of their changes is large.
fn large_sessions(server: &Server, count: usize) -> Vec<RawSocket> {
    let mut clients: Vec<_> = (0..count).map(|n| designer(server, &format!("d{n}"))).collect();
    for client in &mut clients {
        for n in 0..150 {
            let page = format!("{n:0>128}");
            client.send(TEXT, format!(r#"{{"headcount":"openPage","pageId":"{page}"}}"#).as_bytes());
        }
        client.barrier();
    }
    clients
}

/// The figures tell of one watcher that was too slow.
#[track_caller]
fn was_slow_once(server: &Server) {
    let figures = get(server.admin, "/metrics").body;
    for (series, count) in [
        ("resyncs_total{reason=\"slow\"}", 1),
        ("resyncs_total{reason=\"overflow\"}", 0),
        ("notifications_total{kind=\"resync\"}", 1),
    ] {
        let line = format!("\nheadcount_watch_{series} {count}\n");
        assert!(figures.contains(&line), "{line} in {figures}");
    }
}

#[test]
fn a_watcher_that_stops_reading_gets_one_resync_and_is_right_afterwards() {
    let server = Server::start(&[]);
    let mut clients = large_sessions(&server, 20);
    let params = json!({"intervalMs": 100});
    let (mut socket, mut fold) = watch(&server, &params);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        for client in &mut clients {
            client.send(TEXT, b"x");
            client.barrier();
        }
    }
    clients.pop();
    // It is asked behind all that waits, and answered in spite of it.
    ask(&mut socket, "getSessionInfo", &json!(["nobody"]));
    let mut answered = false;
    let until = Instant::now() + PATIENCE;
    while !answered || fold.resyncs == 0 || fold.known != listed(&server, &params) {
        assert!(Instant::now() < until, "{answered} {}", fold.resyncs);
        let told = read(&mut socket);
        if told["id"] == 1 {
            assert_eq!(told["result"], json!([]));
            answered = true;
        } else {
            fold.apply(&told);
        }
    }
    assert_eq!(fold.resyncs, 1);
    was_slow_once(&server);
    clients[0].send(TEXT, b"yz");
    // A batch may still be on its way that tells nothing new any more.
    loop {
        let batch = told(&mut socket, "sessionsChanged");
        fold.change(&batch);
        if batch["changed"][0]["recentBytesSent"] == 2 {
            break;
        }
    }
    assert_eq!(fold.known, listed(&server, &params));
}

/// A stream of events, read as it comes.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) fn open(server: &Server, query: &str, headers: &str) -> Self {
        let mut stream = dial(server.admin);
        let host = server.admin;
        let head = format!("GET /api/v1/events?{query} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut line, mut head) = (String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            head.push_str(&line.to_lowercase());
        }
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream") && head.contains("no-store"), "{head}");
        Self(reader)
    }

    /// The next chunk; `None` at the end.
    fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.0.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// The next event: its name and its data, of which the id is the revision.
    #[track_caller]
    pub(crate) fn next(&mut self) -> (String, Value) {
        let mut text = self.chunk().expect("an event");
        while !text.ends_with("\n\n") {
            text.push_str(&self.chunk().expect("the rest of an event"));
        }
        let lines: Vec<_> = text.lines().collect();
        let [event, data, id, ""] = *lines else { panic!("{text}") };
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(id, format!("id: {}", data["revision"]));
        (event.strip_prefix("event: ").unwrap().to_owned(), data)
    }
}

#[test]
fn events_tell_what_a_watch_does() {
    let server = Server::start(&["--resume-window", "2s"]);
    let mut client = designer(&server, "d1");
    let head = request(server.admin, "HEAD", "/api/v1/events", "", "");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("content-length"), None, "the answer to GET has no length, least of all 0");
    let evil = request(server.admin, "GET", "/api/v1/events", "Origin: https://evil.example\r\n", "");
    assert_eq!(evil.status, 403);
    let mut events = Events::open(&server, "intervalMs=100&id[sw]=d&search=P1", "");
    let (kind, snapshot) = events.next();
    assert_eq!((&*kind, &snapshot["items"][0]["id"]), ("snapshot", &json!("d1")));
    assert_eq!(snapshot["metadata"]["matching"], 1);
    client.send(TEXT, b"hello");
    let (kind, change) = events.next();
    assert_eq!((&*kind, &change["changed"][0]["totalBytesSent"]), ("change", &json!(5)));
    assert!(change["revision"].as_u64() > snapshot["revision"].as_u64() && change["watchId"].is_null());
    drop(client);
    assert_eq!(events.next().1["changed"][0]["connected"], false);
    assert_eq!(events.next().1["closed"][0]["reason"], "lost");
    // The server ends, and the stream with it.
    server.signal("TERM");
    assert_eq!(events.chunk(), None);
}

#[test]
fn watchers_see_what_their_tokens_show() {
    let tokens = Tokens::new("watching");
    let kinds = Kinds::new(&tokens);
    let server = tokens.server();
    let (mut own, mut other) =
        (tokens::designer(&server, "p", "own"), tokens::designer(&server, "q", "other"));
    let [mut masked, mut bound] = [&kinds.masked, &kinds.bound].map(|token| {
        let mut socket = RawSocket::open_with(server.admin, "/query", &bearer(token));
        let answer = call(&mut socket, "watchSessions", &json!({"intervalMs": 100}));
        (socket, answer["result"].clone())
    });
    let mut events = Events::open(&server, "intervalMs=100", &bearer(&kinds.masked));
    let streamed = events.next().1;
    let ids = |items: &Value| steady(items).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    for told in [&masked.1, &streamed] {
        assert_eq!(ids(&told["items"]).len(), 2);
        assert!(!told.to_string().contains("127.0.0.1"), "{told}");
    }
    assert_eq!((ids(&bound.1["items"]), &bound.1["metadata"]["total"]), (vec!["own".to_owned()], &json!(1)));
    other.send(TEXT, b"x");
    other.barrier();
    let _third = tokens::designer(&server, "q", "third");
    own.send(TEXT, b"hello");
    let batch = told(&mut bound.0, "sessionsChanged");
    assert_eq!((ids(&batch["changed"]), ids(&batch["opened"])), (vec!["own".to_owned()], vec![]));
    for batch in [told(&mut masked.0, "sessionsChanged"), events.next().1] {
        assert!(!batch.to_string().contains("127.0.0.1"), "{batch}");
        assert!(batch.to_string().contains("127.0.0.0"), "{batch}");
    }
    // A token that is removed ends what it has begun.
    assert!(tokens.run(&["remove", "masked"]).status.success());
    let until = Instant::now() + PATIENCE;
    while events.chunk().is_some() {
        assert!(Instant::now() < until);
    }
    loop {
        match masked.0.receive() {
            Some((TEXT, _)) => {}
            Some((CLOSE, code)) => break assert_eq!(code[..2], 4005_u16.to_be_bytes()),
            other => panic!("{other:?}"),
        }
    }
    own.send(TEXT, b"still");
    assert_eq!(told(&mut bound.0, "sessionsChanged")["changed"][0]["totalBytesSent"], 10);
}

#[test]
fn a_reader_of_events_that_stops_gets_its_resync() {
    let server = Server::start(&[]);
    let mut clients = large_sessions(&server, 20);
    let mut events = Events::open(&server, "intervalMs=100", "");
    assert_eq!(events.next().0, "snapshot");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        for client in &mut clients {
            client.send(TEXT, b"x");
            client.barrier();
        }
    }
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until);
        let (kind, data) = events.next();
        if kind == "resync" {
            assert_eq!(data["items"].as_array().unwrap().len(), 20);
            was_slow_once(&server);
            return;
        }
        assert_eq!(kind, "change");
    }
}

#[test]
fn curl_reads_the_events() {
    let Some(curl) = tool("curl", program("curl", "--version")) else { return };
    let server = Server::start(&[]);
    let url = format!("{}/api/v1/events?intervalMs=100", server.admin_url());
    let mut child =
        std::process::Command::new(curl).args(["-sN", &url]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "event: snapshot");
    let _client = designer(&server, "d1");
    let opened = lines.find(|line| line.contains(r#""opened":[{"#)).unwrap();
    assert!(opened.starts_with("data: {") && opened.contains(r#""id":"d1""#), "{opened}");
    server.terminate();
    assert_eq!(child.wait().unwrap().code(), Some(0), "the stream ended in good order");
}

#[test]
fn node_reads_the_events() {
    let Some(node) = tool("node", program("node", "--version")) else { return };
    let server = Server::start(&[]);
    let url = format!("{}/api/v1/events?intervalMs=100", server.admin_url());
    let script = format!(
        "const answer = await fetch('{url}');
         const decoder = new TextDecoder();
         let text = '';
         for await (const part of answer.body) {{
             text += decoder.decode(part, {{stream: true}});
             const events = text.split('\\n\\n');
             text = events.pop();
             for (const event of events) console.log(event.split('\\n')[0]);
         }}"
    );
    let mut child = std::process::Command::new(node)
        .args(["--input-type=module", "-e", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "event: snapshot");
    let _client = designer(&server, "d1");
    assert_eq!(lines.next().unwrap(), "event: change");
    server.terminate();
    assert!(child.wait().unwrap().success());
}

#[test]
fn watching_on_the_command_line_shows_what_changes() {
    let server = Server::start(&[]);
    let mut client = RawSocket::open(server.clients, "/ws/p?username=ann");
    let _other = RawSocket::open(server.clients, "/ws/p?username=bob");
    let mut child = headcount()
        .args([
            "sessions",
            "--admin",
            &server.admin_url(),
            "-o",
            "ndjson",
            "--watch",
            "200ms",
            "--user",
            "a*",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut rows = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let first = rows.next().unwrap();
    assert_eq!((&first["username"], &first["totalBytesSent"]), (&json!("ann"), &json!(0)));
    // Time goes on in between.
    let second = rows.next().unwrap();
    assert!(second["uptime"].as_u64() >= first["uptime"].as_u64().map(|ms| ms + 150), "{first} {second}");
    assert!(second["lastComm"].as_u64() > first["lastComm"].as_u64());
    client.send(TEXT, b"hello");
    let third = rows.find(|row| row["totalBytesSent"] == 5).unwrap();
    assert_eq!(third["recentBytesSent"], 5);
    let _third = RawSocket::open(server.clients, "/ws/p?username=anna");
    assert!(rows.any(|row| row["username"] == "anna"));
    drop(rows);
    server.terminate();
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn the_end_of_the_server_and_of_a_socket_ends_the_watches() {
    let server = Server::start(&[]);
    let (mut socket, _) = watch(&server, &json!({"intervalMs": 100}));
    // Many come and go, and leave no watch behind.
    for _ in 0..40 {
        let mut socket = RawSocket::open(server.admin, "/query");
        for _ in 0..32 {
            assert!(call(&mut socket, "watchSessions", &json!({}))["result"].is_object());
        }
        drop(socket);
        eventually("room for as many again", || {
            let mut socket = RawSocket::open(server.admin, "/query");
            let answer = call(&mut socket, "watchSessions", &json!({}));
            if answer["result"].is_object() { Ok(()) } else { Err(answer) }
        });
    }
    server.signal("TERM");
    assert_eq!(socket.closed_with(), 1001);
}
