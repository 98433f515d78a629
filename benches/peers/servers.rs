//! The peers, each as the one generator sees it.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::Command,
};

use serde::Deserialize;

use crate::{
    rig::{
        frames::{BINARY, Block, PONG, TEXT, masked},
        http::{Http, rows},
        process::{Place, Process},
        server::{LIST_ALL, LIST_ONE, Server},
        subject::{BILLYS, Subject, Tally, await_listening, free_address, user},
    },
    tools,
};

/// A server that can be asked for its connections over HTTP.
pub trait Peer: Subject {
    /// What lists all connections.
    fn list_all(&self) -> &'static str;

    /// What lists those of one user.
    fn list_one(&self) -> &'static str;

    /// How many are in an answer to either.
    fn listed(&self, body: &[u8]) -> io::Result<usize>;
}

impl Peer for Server {
    fn list_all(&self) -> &'static str {
        LIST_ALL
    }

    fn list_one(&self) -> &'static str {
        LIST_ONE
    }

    fn listed(&self, body: &[u8]) -> io::Result<usize> {
        Ok(rows(body)?.len())
    }
}

/// A tracker of `benches/peers` on Node.js.
pub struct Node {
    process: Process,
    clients: SocketAddr,
    admin: SocketAddr,
    dialect: Dialect,
}

/// What its clients speak.
#[derive(Clone, Copy, Debug)]
pub enum Dialect {
    WebSocket,
    SocketIo,
}

impl Node {
    pub fn start(node: &str, dialect: Dialect) -> io::Result<Self> {
        let script = match dialect {
            Dialect::WebSocket => "ws.cjs",
            Dialect::SocketIo => "socketio.cjs",
        };
        let mut command = Command::new(node);
        command.arg(tools::script(script)).env("BENCH_TOOLS", tools::folder());
        let mut process = Process::start(Place::FirstCore, &command)?;
        let mut lines = BufReader::new(process.stdout()).lines();
        let mut address = || {
            let line = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
            line.parse().map_err(io::Error::other)
        };
        let (clients, admin) = (address()?, address()?);
        Ok(Self { process, clients, admin, dialect })
    }
}

impl Subject for Node {
    fn process(&self) -> &Process {
        &self.process
    }

    fn clients(&self) -> SocketAddr {
        self.clients
    }

    fn admin(&self) -> SocketAddr {
        self.admin
    }

    fn target(&self, n: usize) -> String {
        let path = match self.dialect {
            Dialect::WebSocket => "/?",
            Dialect::SocketIo => "/socket.io/?EIO=4&transport=websocket&",
        };
        format!("{path}username={}&pageId=p{n}", user(n))
    }

    fn hello(&self, _n: usize) -> Option<(Vec<u8>, &'static [u8])> {
        match self.dialect {
            Dialect::WebSocket => None,
            Dialect::SocketIo => Some((masked(TEXT, b"40"), b"40{\"sid\"")),
        }
    }

    fn message(&self, payload: usize) -> Block {
        match self.dialect {
            Dialect::WebSocket => Block::one(masked(BINARY, &vec![b'x'; payload]), payload),
            Dialect::SocketIo => {
                let event = format!(r#"42["message","{}"]"#, "x".repeat(payload));
                Block::one(masked(TEXT, event.as_bytes()), payload)
            }
        }
    }

    fn sign_of_life(&self) -> Vec<u8> {
        match self.dialect {
            Dialect::WebSocket => masked(PONG, b""),
            Dialect::SocketIo => masked(TEXT, b"3"),
        }
    }

    fn tally(&self) -> io::Result<Tally> {
        let rows = rows(Http::connect(self.admin)?.get(self.list_all())?)?;
        let payload = rows.iter().map(|row| row.total_bytes_sent).sum();
        Ok(Tally { connections: rows.len() as u64, payload: Some(payload), ..Tally::default() })
    }
}

impl Peer for Node {
    fn list_all(&self) -> &'static str {
        "/sessions"
    }

    fn list_one(&self) -> &'static str {
        "/sessions?username=billy"
    }

    fn listed(&self, body: &[u8]) -> io::Result<usize> {
        Ok(rows(body)?.len())
    }
}

/// A server that says nothing when it is ready, once it listens on all of these.
fn start_listening(command: &Command, addresses: [SocketAddr; 2]) -> io::Result<Process> {
    let mut process = Process::start(Place::FirstCore, command)?;
    addresses.into_iter().try_for_each(|address| await_listening(address, &mut process))?;
    Ok(process)
}

/// `nats-server` with its WebSocket listener; its monitoring lists connections.
pub struct Nats {
    process: Process,
    clients: SocketAddr,
    admin: SocketAddr,
}

impl Nats {
    pub fn start(program: &Path) -> io::Result<Self> {
        let [clients, admin, plain] = [free_address(), free_address(), free_address()];
        // It lists connections by user only if it knows the users.
        let users: Vec<_> =
            ["billy".to_owned()].into_iter().chain((0..1000).map(|n| user(n + BILLYS))).collect();
        let mut known: Vec<_> = users.iter().map(|user| format!("{{user: {user}, password: x}}")).collect();
        known.dedup();
        let config = format!(
            "listen: \"{plain}\"\nhttp: \"{admin}\"\nwebsocket {{ listen: \"{clients}\", no_tls: true }}\n\
             authorization {{ users: [{}] }}\n",
            known.join(",")
        );
        let file = tools::folder().join("nats.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(file);
        let process = start_listening(&command, [clients, admin])?;
        Ok(Self { process, clients, admin })
    }
}

#[derive(Deserialize)]
struct Varz {
    connections: u64,
    in_msgs: u64,
    in_bytes: u64,
}

#[derive(Deserialize)]
struct Connz {
    connections: Vec<serde::de::IgnoredAny>,
}

impl Subject for Nats {
    fn process(&self) -> &Process {
        &self.process
    }

    fn clients(&self) -> SocketAddr {
        self.clients
    }

    fn admin(&self) -> SocketAddr {
        self.admin
    }

    fn target(&self, _n: usize) -> String {
        "/".to_owned()
    }

    fn hello(&self, n: usize) -> Option<(Vec<u8>, &'static [u8])> {
        let words = format!(
            "CONNECT {{\"verbose\":false,\"user\":\"{}\",\"pass\":\"x\",\"name\":\"p{n}\"}}\r\nPING\r\n",
            user(n)
        );
        Some((masked(BINARY, words.as_bytes()), b"PONG\r\n"))
    }

    fn message(&self, payload: usize) -> Block {
        let words = format!("PUB plant {payload}\r\n{}\r\n", "x".repeat(payload));
        Block::one(masked(BINARY, words.as_bytes()), payload)
    }

    fn sign_of_life(&self) -> Vec<u8> {
        masked(BINARY, b"PONG\r\n")
    }

    fn tally(&self) -> io::Result<Tally> {
        let mut http = Http::connect(self.admin)?;
        let varz: Varz = serde_json::from_slice(http.get("/varz")?).map_err(io::Error::other)?;
        Ok(Tally {
            connections: varz.connections,
            messages: Some(varz.in_msgs),
            payload: Some(varz.in_bytes),
            wire: None,
        })
    }
}

impl Peer for Nats {
    fn list_all(&self) -> &'static str {
        "/connz?auth=true&limit=20000"
    }

    fn list_one(&self) -> &'static str {
        "/connz?auth=true&limit=20000&user=billy"
    }

    fn listed(&self, body: &[u8]) -> io::Result<usize> {
        let connz: Connz = serde_json::from_slice(body).map_err(io::Error::other)?;
        Ok(connz.connections.len())
    }
}

/// `rmqttd`, whose clients speak MQTT over WebSocket; its HTTP API lists them.
pub struct Rmqttd {
    process: Process,
    clients: SocketAddr,
    admin: SocketAddr,
}

impl Rmqttd {
    /// With all that comes with it but the rules of who may publish what.
    pub fn start(program: &Path) -> io::Result<Self> {
        let [clients, admin, plain, nodes] = [free_address(), free_address(), free_address(), free_address()];
        let plugins = tools::folder().join("rmqttd");
        fs::create_dir_all(&plugins)?;
        fs::write(
            plugins.join("rmqtt-http-api.toml"),
            format!("http_laddr = \"{admin}\"\nmax_row_limit = 20000\n"),
        )?;
        let config = plugins.join("rmqtt.toml");
        fs::write(
            &config,
            format!(
                "[rpc]\nserver_addr = \"{nodes}\"\n[log]\nto = \"off\"\n\
                 [plugins]\ndir = \"{}\"\ndisabled_default_startups = [\"rmqtt-acl\"]\n\
                 [listener.tcp.plain]\naddr = \"{plain}\"\n\
                 [listener.ws.clients]\naddr = \"{clients}\"\nallow_anonymous = true\n\
                 max_handshaking_limit = 20000\nnodelay = true\n",
                plugins.display()
            ),
        )?;
        let mut command = Command::new(program);
        command.arg("-f").arg(config);
        let process = start_listening(&command, [clients, admin])?;
        Ok(Self { process, clients, admin })
    }
}

/// A packet of MQTT 3.1.1 with so many bytes, all of which are fewer than 128.
fn mqtt(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u8::try_from(body.len()).ok().filter(|length| *length < 128).expect("a short packet");
    [&[kind, length], &body[..]].concat()
}

/// A text as MQTT has it.
fn mqtt_text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(rename = "messages.publish")]
    published: u64,
}

impl Subject for Rmqttd {
    fn process(&self) -> &Process {
        &self.process
    }

    fn clients(&self) -> SocketAddr {
        self.clients
    }

    fn admin(&self) -> SocketAddr {
        self.admin
    }

    fn target(&self, _n: usize) -> String {
        "/mqtt".to_owned()
    }

    fn headers(&self) -> &'static str {
        "Sec-WebSocket-Protocol: mqtt\r\n"
    }

    fn hello(&self, n: usize) -> Option<(Vec<u8>, &'static [u8])> {
        const CLEAN_WITH_USERNAME: u8 = 0x82;
        const NEVER_SILENT_FOR: [u8; 2] = [0xff, 0xff]; // seconds
        let words = mqtt(
            0x10,
            &[
                &mqtt_text("MQTT"),
                &[4, CLEAN_WITH_USERNAME],
                &NEVER_SILENT_FOR,
                &mqtt_text(&format!("p{n}")),
                &mqtt_text(&user(n)),
            ],
        );
        Some((masked(BINARY, &words), b"\x20\x02\x00\x00"))
    }

    fn message(&self, payload: usize) -> Block {
        let words = mqtt(0x30, &[&mqtt_text("plant"), &vec![b'x'; payload]]);
        Block::one(masked(BINARY, &words), payload)
    }

    fn sign_of_life(&self) -> Vec<u8> {
        masked(BINARY, &mqtt(0xc0, &[]))
    }

    fn tally(&self) -> io::Result<Tally> {
        let mut http = Http::connect(self.admin)?;
        let connections = self.listed(http.get(self.list_all())?)? as u64;
        let metrics: Metrics =
            serde_json::from_slice(http.get("/api/v1/metrics/sum")?).map_err(io::Error::other)?;
        Ok(Tally { connections, messages: Some(metrics.published), ..Tally::default() })
    }
}

impl Peer for Rmqttd {
    fn list_all(&self) -> &'static str {
        "/api/v1/clients?_limit=20000"
    }

    fn list_one(&self) -> &'static str {
        "/api/v1/clients?_limit=20000&username=billy"
    }

    fn listed(&self, body: &[u8]) -> io::Result<usize> {
        let clients: Vec<serde::de::IgnoredAny> = serde_json::from_slice(body).map_err(io::Error::other)?;
        Ok(clients.len())
    }
}
