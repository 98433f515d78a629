//! Connections that are held, and send what they are told: blocking sockets, all of one thread.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use super::{
    frames::{Block, CLOSE, PING, masked},
    subject::{Subject, Tally, USER_AGENT},
};

/// How many are opened before the first answer is read, so that the server never waits for the generator.
const AT_ONCE: usize = 128;
/// How many may wait for a server that stands still: a listener has 128 wait at the least.
const WAITING: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);

/// Open connections to one server, and what has been sent over them.
#[derive(Default)]
pub struct Held {
    streams: Vec<TcpStream>,
    messages: u64,
    payload: u64,
    wire: u64,
}

impl Held {
    /// Opens one connection for each client of the range.
    pub fn open(subject: &dyn Subject, clients: Range<usize>) -> io::Result<Self> {
        let mut held = Self::default();
        held.add(subject, clients)?;
        Ok(held)
    }

    pub fn add(&mut self, subject: &dyn Subject, clients: Range<usize>) -> io::Result<()> {
        for at in clients.clone().step_by(AT_ONCE) {
            self.add_at_once(subject, at..(at + AT_ONCE).min(clients.end), false)?;
        }
        Ok(())
    }

    /// Opens them while the server stands still, a hundred at a time, so that it never waits for the generator; and
    /// takes the answers when it is done, so that it wakes nobody.
    pub fn add_waiting(&mut self, subject: &dyn Subject, clients: Range<usize>) -> io::Result<()> {
        for at in clients.clone().step_by(WAITING) {
            self.add_at_once(subject, at..(at + WAITING).min(clients.end), true)?;
        }
        Ok(())
    }

    fn add_at_once(&mut self, subject: &dyn Subject, some: Range<usize>, waiting: bool) -> io::Result<()> {
        if waiting {
            subject.process().stand_still();
        }
        let opened: io::Result<Vec<_>> = some.clone().map(|n| ask(subject, n)).collect();
        if waiting {
            subject.process().go_on();
            subject.process().catch_up();
        }
        let mut opened = opened?;
        if subject.upgrades() {
            for (n, (stream, read)) in some.clone().zip(&mut opened) {
                read_upgrade(stream, read)?;
                if let Some((words, _)) = subject.hello(n) {
                    stream.write_all(&words)?;
                }
            }
        } else {
            subject.process().settle();
        }
        for (n, (mut stream, mut read)) in some.zip(opened) {
            if let Some((_, answer)) = subject.hello(n) {
                read_until(&mut stream, &mut read, answer)?;
            }
            self.streams.push(stream);
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Sends one block on each of these connections, in this order.
    pub fn send_each(&mut self, order: impl IntoIterator<Item = usize>, block: &Block) -> io::Result<()> {
        for at in order {
            self.streams[at].write_all(&block.wire)?;
            self.messages += block.messages;
            self.payload += block.payload;
            self.wire += block.wire.len() as u64;
        }
        Ok(())
    }

    /// Keeps so many connections full for so long; answers how many messages that took.
    pub fn flood(&mut self, connections: usize, block: &Block, lasting: Duration) -> io::Result<u64> {
        let (before, until) = (self.messages, Instant::now() + lasting);
        while Instant::now() < until {
            self.send_each(0..connections, block)?;
        }
        Ok(self.messages - before)
    }

    /// Says that everybody is still there, so that the server takes nobody for lost.
    pub fn show_life(&mut self, subject: &dyn Subject) -> io::Result<()> {
        let sign = subject.sign_of_life();
        self.wire += (sign.len() * self.streams.len()) as u64;
        self.streams.iter_mut().try_for_each(|stream| stream.write_all(&sign))
    }

    /// Whether the server has exactly what was sent, soon: else what is wrong.
    pub fn check(&self, subject: &dyn Subject) -> Result<(), String> {
        let sent = Tally {
            connections: self.len() as u64,
            messages: Some(self.messages),
            payload: Some(self.payload),
            wire: Some(self.wire),
        };
        let until = Instant::now() + PATIENCE;
        loop {
            let counted = subject.tally().map_err(|error| format!("the server cannot be asked: {error}"))?;
            let known = Tally {
                messages: counted.messages.and(sent.messages),
                payload: counted.payload.and(sent.payload),
                wire: counted.wire.and(sent.wire),
                ..sent
            };
            if counted == known {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("the server counted {counted:?}, but it was {known:?}"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// One connection on which a client waits for the answers to its pings.
pub struct Pinger(TcpStream);

impl Pinger {
    pub fn open(subject: &dyn Subject, n: usize) -> io::Result<Self> {
        let (mut stream, mut read) = ask(subject, n)?;
        read_upgrade(&mut stream, &mut read)?;
        Ok(Self(stream))
    }

    /// Leaves, so that the server does not keep the session as one that is lost.
    pub fn close(mut self) -> io::Result<()> {
        self.0.write_all(&masked(CLOSE, &1000_u16.to_be_bytes()))?;
        self.0.read_to_end(&mut Vec::new()).map(drop)
    }

    /// How long the pong took, in microseconds.
    pub fn ping(&mut self) -> io::Result<f64> {
        let begun = Instant::now();
        self.0.write_all(&masked(PING, b"are you?"))?;
        // The server's own pings come between; all frames of a server that is pinged are short.
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head)?;
            let mut payload = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut payload)?;
            if payload == b"are you?" {
                return Ok(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
}

/// Connects the n-th client, and asks for the upgrade.
fn ask(subject: &dyn Subject, n: usize) -> io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = connect(subject.clients())?;
    if subject.upgrades() {
        let request = request(subject.clients(), &subject.target(n), subject.headers());
        stream.write_all(request.as_bytes())?;
    }
    Ok((stream, Vec::new()))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What a client asks with, of a server at this address.
pub(super) fn request(server: SocketAddr, target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: {USER_AGENT}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// Reads the whole head of the answer, which must be a 101; some of what follows may be read with it.
fn read_upgrade(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<()> {
    read_until(stream, read, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(read).to_lowercase();
    // The answer to the key of RFC 6455, section 1.3, which every client here sends.
    if !head.starts_with("http/1.1 101 ") || !head.contains("s3pplmbitxaq9kygzzhzrbk+xoo=") {
        return Err(io::Error::other(format!("no upgrade: {}", head.lines().next().unwrap_or_default())));
    }
    let end = read.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    read.drain(..end);
    Ok(())
}

fn read_until(stream: &mut TcpStream, read: &mut Vec<u8>, end: &[u8]) -> io::Result<()> {
    while !read.windows(end.len()).any(|some| some == end) {
        let mut buffer = [0; 2048];
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => read.extend(&buffer[..n]),
        }
    }
    Ok(())
}
