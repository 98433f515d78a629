//! What the tests stand on: the program as a child process, a socket that can say anything, and patience.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long anything may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The program under test.
pub(crate) fn headcount() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADCOUNT_"))
    {
        command.env_remove(name);
    }
    command
}

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A server on free ports; it ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) clients: SocketAddr,
    pub(crate) admin: SocketAddr,
    said: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_by(headcount().arg("serve").args(arguments))
    }

    /// On free ports, unless the command says otherwise.
    pub(crate) fn start_by(command: &mut Command) -> Self {
        let mut child = command
            .env("HEADCOUNT_LISTEN", "127.0.0.1:0")
            // Tests that are about it say otherwise: the others need not wait for what broke.
            .env("HEADCOUNT_RESUME_WINDOW", "100ms")
            .env("HEADCOUNT_RESUME_WINDOW_MOBILE", "100ms")
            .env("HEADCOUNT_ADMIN_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = || {
            let line = lines.next().expect("the server says where it is").unwrap();
            let rest = line.split_once("://").unwrap_or_else(|| panic!("{line}")).1;
            rest.split('/').next().unwrap().parse().unwrap()
        };
        let (clients, admin) = (address(), address());
        // The pipe stays open for as long as the server may want to say something.
        thread::spawn(move || lines.for_each(drop));
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (child.stderr.take().unwrap(), said.clone());
        let listening = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                *heard.lock().unwrap() += &format!("{}\n", line.unwrap());
            }
        });
        Self { child, clients, admin, said, listening: Some(listening) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.clients)
    }

    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// The rows of `getSessionInfo`, asked over HTTP.
    pub(crate) fn rows(&self, query: &str) -> Vec<Value> {
        let response = get(self.admin, &format!("/api/v1/session-info?{query}"));
        assert_eq!(response.status, 200, "{}", response.body);
        serde_json::from_str(&response.body).unwrap()
    }

    /// The one row of this user, once `ready` likes it.
    #[track_caller]
    pub(crate) fn row(&self, user: &str, ready: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a row of {user}"), || {
            let rows = self.rows(&format!("usernameFilter={user}"));
            assert!(rows.len() < 2, "{rows:?}");
            rows.into_iter().next().filter(&ready).ok_or("none as expected")
        })
    }

    /// Waits until nobody is there.
    #[track_caller]
    pub(crate) fn empties(&self) {
        eventually("an empty server", || {
            let rows = self.rows("");
            if rows.is_empty() { Ok(()) } else { Err(rows) }
        });
    }

    /// Asks the server to end; answers its exit status and what it said on stderr.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.ended()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// How often it has said this on stderr so far.
    pub(crate) fn has_said(&self, words: &str) -> usize {
        self.said.lock().unwrap().matches(words).count()
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        self.listening.take().unwrap().join().unwrap();
        (status, std::mem::take(&mut *self.said.lock().unwrap()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries until it succeeds; fails the test with the last reason when patience ends.
#[track_caller]
pub(crate) fn eventually<T, E: std::fmt::Debug>(what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(reason) if Instant::now() > until => panic!("never saw {what}: {reason:?}"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// An HTTP response, read whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The code and the message of an error.
    #[track_caller]
    pub(crate) fn error(&self) -> (String, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }
}

pub(crate) fn get(address: SocketAddr, target: &str) -> Response {
    request(address, "GET", target, "", "")
}

/// One request on a connection of its own. `headers` end with `\r\n` each; `Host` is there already unless they
/// bring one.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Response {
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let text = format!("{method} {target} HTTP/1.1\r\n{host}{headers}{length}\r\n{body}");
    exchange(address, text.as_bytes())
}

/// Calls a method over HTTP; answers the whole response.
pub(crate) fn call(admin: SocketAddr, method: &str, params: &Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let answer = request(admin, "POST", "/query", "Content-Type: application/json\r\n", &body).body;
    serde_json::from_str(&answer).unwrap()
}

/// Sends bytes and reads one response to them.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Response {
    exchange_over(&mut dial(address), bytes)
}

/// The same over a stream that is there already.
pub(crate) fn exchange_over(stream: &mut (impl Read + Write), bytes: &[u8]) -> Response {
    // A server that refuses early may close before it has read all.
    let _ = stream.write_all(bytes);
    let mut response = read_head(stream);
    let body = if bytes.starts_with(b"HEAD") {
        Vec::new()
    } else if response.header("transfer-encoding") == Some("chunked") {
        read_chunks(stream)
    } else {
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        body
    };
    response.body = String::from_utf8(body).unwrap();
    response
}

/// A body in the chunked coding (RFC 9112, 7.1).
fn read_chunks(stream: &mut impl Read) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let begin = body.len();
        body.resize(begin + size + 2, 0);
        reader.read_exact(&mut body[begin..]).unwrap();
        assert!(body.ends_with(b"\r\n"));
        body.truncate(begin + size);
        if size == 0 {
            return body;
        }
    }
}

/// Reads up to the blank line, and nothing beyond it.
pub(crate) fn read_head(stream: &mut impl Read) -> Response {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the head of a response");
        head.push(byte[0]);
    }
    parse(&String::from_utf8(head).unwrap())
}

pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn parse(head: &str) -> Response {
    let mut lines = head.trim_end().lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Response { status, headers, body: String::new() }
}

/// A WebSocket that keeps no rule of its own: whatever it is told to send, it sends.
pub(crate) struct RawSocket<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) response: Response,
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The headers of an upgrade, without `Host`.
pub(crate) const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

impl RawSocket {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, target: &str) -> Self {
        Self::open_with(address, target, "")
    }

    #[track_caller]
    pub(crate) fn open_with(address: SocketAddr, target: &str, headers: &str) -> Self {
        Self::over(dial(address), &address.to_string(), target, headers)
    }
}

impl<S: Read + Write> RawSocket<S> {
    /// Over a stream that is there already.
    #[track_caller]
    pub(crate) fn over(mut stream: S, host: &str, target: &str, headers: &str) -> Self {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let response = read_head(&mut stream);
        assert_eq!(response.status, 101, "{response:?}");
        Self { stream, response }
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&frame(0x80 | opcode, payload)).unwrap();
    }

    /// The next frame: opcode and payload; `None` at the end of the stream. The server's pings are answered.
    pub(crate) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut message = None;
        loop {
            match (self.receive_frame()?, &mut message) {
                ((_, PING, payload), _) => self.send(PONG, &payload),
                ((is_last, 0, payload), Some((opcode, whole))) => {
                    Vec::extend(whole, payload);
                    if is_last {
                        return Some((*opcode, std::mem::take(whole)));
                    }
                }
                ((true, opcode, payload), None) => return Some((opcode, payload)),
                ((false, opcode, payload), None) => message = Some((opcode, payload)),
                ((_, opcode, _), Some(_)) => panic!("a frame of {opcode} within a message"),
            }
        }
    }

    /// The next frame, pings among them, which then nobody answers.
    pub(crate) fn receive_any(&mut self) -> Option<(u8, Vec<u8>)> {
        self.receive_frame().map(|(_, opcode, payload)| (opcode, payload))
    }

    /// Whether it is the last of its message, its opcode and its payload.
    fn receive_frame(&mut self) -> Option<(bool, u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length).unwrap();
                usize::try_from(u64::from_be_bytes(length)).unwrap()
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        Some((head[0] & 0x80 != 0, head[0] & 0x0f, payload))
    }

    /// The code of the close frame, which must be the next, and the end of the stream after it.
    #[track_caller]
    pub(crate) fn closed_with(&mut self) -> u16 {
        let (opcode, payload) = self.receive().expect("a close frame");
        assert_eq!(opcode, CLOSE, "{:?}", String::from_utf8_lossy(&payload));
        assert!(payload.len() <= 125);
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        assert_eq!(self.receive(), None);
        code
    }

    /// Asks the server to say that it has read everything so far.
    #[track_caller]
    pub(crate) fn barrier(&mut self) {
        self.send(PING, b"read?");
        let answer = self.receive().expect("a pong");
        assert_eq!(answer, (PONG, b"read?".to_vec()));
    }
}

/// A masked frame; `first` is its first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | u8::try_from(n).unwrap()),
        n @ 126..=65535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A tool that `tests/run` installs. Where it is missing, a test is left out, says so past the capture, and
/// fails if the tool was promised.
pub(crate) fn tool<T>(name: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        let promised = std::env::var("HEADCOUNT_TEST_REQUIRE").unwrap_or_default();
        assert!(!promised.split_whitespace().any(|tool| tool == name), "{name} was promised and is missing");
        say(&format!("left out: {name} is not here; tests/run installs it"));
    }
    found
}

/// A file under the folder where `tests/run` put the tools.
pub(crate) fn tool_file(path: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("HEADCOUNT_TEST_TOOLS")?;
    Some(Path::new(&tools).join(path)).filter(|path| path.exists())
}

/// A program that answers to `--version`.
pub(crate) fn program(name: &str, version: &str) -> Option<PathBuf> {
    let ran = Command::new(name).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success()).then(|| PathBuf::from(name))
}

/// Says something although the test passes.
pub(crate) fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
