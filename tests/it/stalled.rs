//! PROTOCOL 3.2: a reader that takes nothing is cut, whichever way its answer goes, and leaves its place to others.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use headcount::{
    config::{AdminConfig, Config},
    server::{self, Listeners},
    session::{Identity, Joining, Membership, Order, Outlet, Registry, Rules, SessionScope},
};
use tokio::sync::oneshot;

use crate::harness::{PATIENCE, RawSocket, TEXT, dial, get};

/// Far more than the system buffers for a reader that takes nothing.
const SESSIONS: usize = 40_000;

const WRITE_TIMEOUT: Duration = Duration::from_millis(400);

/// A client that is nowhere.
#[derive(Debug)]
struct Nobody;

impl Outlet for Nobody {
    fn tell(&self, _: Order) -> bool {
        false
    }
}

/// A server within this process, for one administrator and one large list at a time.
struct Narrow {
    admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: Option<thread::JoinHandle<()>>,
    _crowd: Vec<Membership>,
}

impl Narrow {
    fn start() -> Self {
        let registry = Arc::new(Registry::new(Rules::default()));
        let outlet: Arc<dyn Outlet> = Arc::new(Nobody);
        let crowd = (0..SESSIONS).map(|n| registry.join(joining(n, &outlet), 0).unwrap()).collect();
        let admin = AdminConfig {
            max_connections: 1,
            max_query_sockets: 1,
            max_concurrent_lists: 1,
            write_timeout: WRITE_TIMEOUT,
            ..AdminConfig::default()
        };
        let config = Config { admin, ..Config::default() };
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let running = thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let listeners = Listeners::bind(any, any).await.unwrap();
                tell.send(listeners.admin.local_addr().unwrap()).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                server::run_on(registry, listeners, config, stopped).await;
            });
        });
        let admin = told.recv().unwrap();
        Self { admin, stop: Some(stop), running: Some(running), _crowd: crowd }
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

fn joining(n: usize, outlet: &Arc<dyn Outlet>) -> Joining {
    Joining {
        identity: Identity {
            id: format!("session-{n}").into(),
            username: format!("user{}", n % 100).into(),
            authorized: false,
            project: "plant".into(),
            scope: SessionScope::Browser,
            client_address: [10, 0, 0, 1].into(),
            peer_address: [10, 0, 0, 1].into(),
            user_agent: "x".repeat(500).into(),
        },
        page_id: "p1".into(),
        page_path: None,
        resume: None,
        expires_ms: None,
        speaks_headcount: false,
        outlet: outlet.clone(),
    }
}

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
    let server = Narrow::start();
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
