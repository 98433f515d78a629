//! Clients that others wrote. Each connects as it does by itself, sends messages of known sizes, and must be
//! found exact in getSessionInfo.

use std::{
    io::{BufRead, BufReader, Lines},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    certificates::Authority,
    harness::{Server, program, root, tool, tool_file},
};

/// The payload bytes of the messages that every client sends, in order.
const SENT: [u64; 6] = [5, 13, 1000, 0, 60_000, 5];

/// A client program that holds its connection until its stdin closes.
pub(crate) struct Client {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    pub(crate) fn start(mut command: Command, url: &str) -> Self {
        let mut child = command.arg(url).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { stdin: child.stdin.take(), lines, child }
    }

    /// What the client says of itself once it has sent everything.
    fn ready(&mut self) -> Value {
        let line = self.lines.next().expect("the client says that it is ready").unwrap();
        serde_json::from_str(line.strip_prefix("ready ").unwrap_or_else(|| panic!("{line}"))).unwrap()
    }

    /// The last line, and a good end.
    fn closed(&mut self) -> String {
        let line = self.lines.next().expect("the client says how it was closed").unwrap();
        assert!(self.child.wait().unwrap().success());
        line
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn is_found_exact(name: &str, command: Option<Command>, scope: &str, named: &str) {
    if tool(name, command).is_none() {
        return;
    }
    let server = Server::start(&[]);
    let url = server.url(&format!("/ws/plant?username={name}&pageId=p1"));
    is_found_exact_at(server, &url, name, || self::command(name).unwrap(), (scope, named));
}

/// The same over TLS; `trusts` is the variable that names the file of an authority to the client.
#[track_caller]
fn is_found_exact_over_tls(name: &str, trusts: &str, named: &str) {
    if tool(name, command(name)).is_none() {
        return;
    }
    let authority = Authority::new();
    let server = authority.server(&[]);
    let url = format!("wss://{}/ws/plant?username={name}&pageId=p1", server.clients);
    let command = || {
        let mut command = command(name).unwrap();
        command.env(trusts, authority.ca_file());
        command
    };
    is_found_exact_at(server, &url, name, command, ("browser", named));
}

#[track_caller]
fn is_found_exact_at(
    server: Server,
    url: &str,
    name: &str,
    command: impl Fn() -> Command,
    (scope, named): (&str, &str),
) {
    let mut client = Client::start(command(), url);
    let ready = client.ready();
    assert_eq!(ready["sent"], json!(SENT));
    // A browser and OkHttp can only say that everything is on its way.
    let total: u64 = SENT.iter().sum();
    let row = server.row(name, |row| row["totalBytesSent"] == total);
    assert_eq!(row["recentBytesSent"], 5);
    assert_eq!((&row["project"], &row["pageIds"]), (&json!("plant"), &json!(["p1"])));
    assert_eq!((&row["sessionScope"], &row["activePages"]), (&json!(scope), &json!(1)));
    let agent = ready["userAgent"].as_str().unwrap_or_default();
    assert_eq!(row["userAgent"], agent, "the real one");
    assert!(agent.contains(named), "{agent}");
    drop(client.stdin.take());
    assert_eq!(client.closed(), "closed 1000");
    server.empties();

    // A server that leaves says so, and the client hears it.
    let mut client = Client::start(command(), url);
    client.ready();
    let (status, said) = server.terminate();
    assert!(status.success() && said.contains("1 connections were open, 1 left, 0 were cut"), "{said}");
    assert_eq!(client.closed(), "closed 1001");
}

/// How to start each client; `None` where its tool is missing.
fn command(name: &str) -> Option<Command> {
    let clients = root().join("tests/clients");
    match name {
        "node" => tool_file("node_modules/ws").and_then(|_| node("node-ws.mjs")),
        "python-websockets" => {
            let mut command = Command::new(tool_file("venv/bin/python")?);
            command.arg(clients.join("python-websockets.py"));
            Some(command)
        }
        "chromium" => chromium("chromium-page.mjs"),
        "okhttp" => {
            const JARS: [&str; 2] = ["/usr/share/java/okhttp.jar", "/usr/share/java/okio.jar"];
            let found = JARS.iter().all(|jar| std::path::Path::new(jar).exists());
            let mut command = Command::new(program("java", "-version").filter(|_| found)?);
            command.args(["-cp", &JARS.join(":")]).arg(clients.join("OkHttpClientMain.java"));
            Some(command)
        }
        other => panic!("{other}"),
    }
}

fn node(script: &str) -> Option<Command> {
    let mut command = Command::new(program("node", "--version")?);
    command.arg(root().join("tests/clients").join(script));
    Some(command)
}

/// A program for Node.js that drives Chromium; `None` where either is missing.
pub(crate) fn chromium(script: &str) -> Option<Command> {
    let chromium = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let chromium = chromium.or_else(|| program("chromium", "--version"))?;
    let mut command = node(script)?;
    command.env("CHROMIUM", chromium);
    Some(command)
}

#[test]
fn node_s_ws() {
    is_found_exact("node", command("node"), "browser", "");
}

#[test]
fn python_s_websockets() {
    is_found_exact("python-websockets", command("python-websockets"), "browser", "websockets/");
}

#[test]
fn node_s_ws_over_tls() {
    is_found_exact_over_tls("node", "NODE_EXTRA_CA_CERTS", "");
}

#[test]
fn python_s_websockets_over_tls() {
    is_found_exact_over_tls("python-websockets", "SSL_CERT_FILE", "websockets/");
}

#[test]
fn a_page_in_chromium() {
    is_found_exact("chromium", command("chromium"), "browser", "Chrome/");
}

#[test]
fn okhttp_of_android_apps() {
    is_found_exact("okhttp", command("okhttp"), "android", "okhttp/3");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_tungstenite() {
    let server = Server::start(&[]);
    let stream = tokio::net::TcpStream::connect(server.clients).await.unwrap();
    let url = server.url("/ws/plant?username=tungstenite&pageId=p1");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for bytes in SENT {
        socket.send(Message::binary(vec![1; usize::try_from(bytes).unwrap()])).await.unwrap();
    }
    socket.send(Message::Ping("read?".into())).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Pong(_)))));
    let row = server.row("tungstenite", |_| true);
    assert_eq!(row["totalBytesSent"], SENT.iter().sum::<u64>());
    assert_eq!((&row["recentBytesSent"], &row["sessionScope"]), (&json!(5), &json!("browser")));
    socket.close(None).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    server.empties();
}
