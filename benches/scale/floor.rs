//! The floors: servers that do only what no server on tokio can leave out.
//!
//! The bench runs them as child processes of its own program. They take an upgrade and then read, into one buffer
//! per thread, without looking at what comes.

use std::{
    cell::RefCell,
    env,
    future::poll_fn,
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    pin::Pin,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    thread,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    runtime, time,
};

use crate::rig::{
    heartbeats::BEAT,
    process::{Place, Process},
    subject::{Subject, Tally},
};

const MODE: &str = "--floor-server";

/// Which floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads on tokio's multi-thread runtime, as headcount does where it has several cores.
    MultiThread,
    /// Reads on tokio's current-thread runtime, as headcount does where it has one core.
    CurrentThread,
    /// Sends each of its connections a ping in every heartbeat, and reads the pongs away, on the current-thread runtime.
    Pings,
    /// Accepts, and no more.
    Accept,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::MultiThread => "multi-thread",
            Self::CurrentThread => "current-thread",
            Self::Pings => "pings",
            Self::Accept => "accept",
        }
    }
}

/// A floor server, as a child process.
pub struct Floor {
    process: Process,
    clients: SocketAddr,
    admin: SocketAddr,
    upgrades: bool,
    counts: Counts,
}

/// Which bytes a server counts.
#[derive(Clone, Copy, Debug)]
enum Counts {
    Wire,
    Payload,
}

impl Floor {
    pub fn start(kind: Kind) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args([MODE, kind.name()]);
        Ok(Self { upgrades: kind != Kind::Accept, ..Self::start_by(&command, Counts::Wire)? })
    }

    /// A server of WebSockets that somebody built, by the name in this variable of the environment; `None` if it
    /// is not set. The program prints two addresses, a line each: where it takes WebSockets, whatever the path, and
    /// where it says to whoever connects how many it has and how many payload bytes came.
    pub fn start_named_by(variable: &str) -> io::Result<Option<Self>> {
        let Some(program) = env::var_os(variable) else { return Ok(None) };
        Self::start_by(&Command::new(program), Counts::Payload).map(Some)
    }

    fn start_by(command: &Command, counts: Counts) -> io::Result<Self> {
        let mut process = Process::start(Place::FirstCore, command)?;
        let mut lines = BufReader::new(process.stdout()).lines();
        let mut address = || {
            let line = lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
            line.parse().map_err(io::Error::other)
        };
        let (clients, admin) = (address()?, address()?);
        Ok(Self { process, clients, admin, upgrades: true, counts })
    }
}

impl Subject for Floor {
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
        format!("/{n}")
    }

    fn upgrades(&self) -> bool {
        self.upgrades
    }

    fn tally(&self) -> io::Result<Tally> {
        let mut said = String::new();
        std::net::TcpStream::connect(self.admin)?.read_to_string(&mut said)?;
        let mut numbers = said.split_whitespace().map(|number| number.parse().unwrap_or(0));
        let (connections, bytes) = (numbers.next().unwrap_or(0), numbers.next());
        let tally = Tally { connections, ..Tally::default() };
        Ok(match self.counts {
            Counts::Wire => Tally { wire: bytes, ..tally },
            Counts::Payload => Tally { payload: bytes, ..tally },
        })
    }
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Where this process was started to be a floor server, it is one until it is killed.
pub fn become_floor_if_asked() {
    let mut arguments = env::args().skip(1);
    if arguments.next().is_none_or(|first| first != MODE) {
        return;
    }
    let name = arguments.next().unwrap_or_default();
    let mut builder = match &*name {
        "multi-thread" => runtime::Builder::new_multi_thread(),
        _ => runtime::Builder::new_current_thread(),
    };
    // All of it, as every server has that knows deadlines.
    let runtime = builder.enable_all().build().expect("a runtime");
    let served = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        println!("{}", answer_tallies()?);
        if name == Kind::Accept.name() {
            return accept_only(&listener).await;
        }
        let pings = name == Kind::Pings.name();
        if pings {
            tokio::spawn(ping_all());
        }
        // A task of its own, because with several threads the one that blocks is no worker.
        tokio::spawn(serve(listener, pings)).await?
    });
    served.expect("a floor to stand on");
}

/// Says to whoever connects what was counted; a thread of its own, so that nothing is measured of it.
fn answer_tallies() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = write!(&stream, "{} {}", CONNECTIONS.load(Relaxed), BYTES.load(Relaxed));
        }
    });
    Ok(address)
}

async fn accept_only(listener: &TcpListener) -> io::Result<()> {
    let mut held = Vec::new();
    loop {
        held.push(listener.accept().await?.0);
        CONNECTIONS.fetch_add(1, Relaxed);
    }
}

async fn serve(listener: TcpListener, pings: bool) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(upgrade(stream, pings));
    }
}

/// Those that are pinged.
static PINGED: Mutex<Vec<OwnedWriteHalf>> = Mutex::new(Vec::new());

/// Pings everybody once a heartbeat, a sixteenth at a time, as headcount does, and with as many bytes.
async fn ping_all() {
    const TURNS: usize = 16;
    const PING: [u8; 18] = [0x89, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut turns = time::interval(BEAT / TURNS as u32);
    for turn in (0..TURNS).cycle() {
        turns.tick().await;
        for half in PINGED.lock().expect("no panic").iter().skip(turn).step_by(TURNS) {
            assert_eq!(half.try_write(&PING).expect("an idle client takes it"), PING.len());
        }
    }
}

/// Answers what every client of the bench asks, without a look at it; the rest is another task's, which is smaller.
async fn upgrade(mut stream: TcpStream, pings: bool) -> io::Result<()> {
    const ANSWER: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let mut head = [0; 1024];
    let mut read = 0;
    while !head[..read].ends_with(b"\r\n\r\n") {
        match stream.read(&mut head[read..]).await? {
            0 => return Ok(()),
            n => read += n,
        }
    }
    stream.set_nodelay(true)?;
    CONNECTIONS.fetch_add(1, Relaxed);
    stream.write_all(ANSWER).await?;
    if pings {
        let (reader, writer) = stream.into_split();
        PINGED.lock().expect("no panic").push(writer);
        tokio::spawn(read_all_away(reader));
    } else {
        tokio::spawn(read_all_away(stream));
    }
    Ok(())
}

async fn read_all_away(mut stream: impl AsyncRead + Unpin) {
    while poll_fn(|cx| read_away(&mut stream, cx)).await.is_ok_and(|read| read > 0) {}
    CONNECTIONS.fetch_sub(1, Relaxed);
}

fn read_away(stream: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    thread_local! {
        static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 * 1024].into());
    }
    BUFFER.with_borrow_mut(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        BYTES.fetch_add(read as u64, Relaxed);
        Poll::Ready(Ok(read))
    })
}
