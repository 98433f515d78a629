//! What a server has to be so that it can be measured with the one generator.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{
    frames::{BINARY, Block, PONG, masked},
    process::Process,
};

/// A running server that takes WebSockets.
pub trait Subject {
    fn process(&self) -> &Process;

    /// Where clients connect.
    fn clients(&self) -> SocketAddr;

    /// Where it is asked for what it has.
    fn admin(&self) -> SocketAddr;

    /// The request target of the n-th client.
    fn target(&self, n: usize) -> String;

    /// Header lines that its clients send beside the usual ones, each with its end.
    fn headers(&self) -> &'static str {
        ""
    }

    /// Whether it answers those who connect at all: the barest floor does not.
    fn upgrades(&self) -> bool {
        true
    }

    /// What a client says first, and what the server's answer to it ends with, where the protocol has that.
    fn hello(&self, _n: usize) -> Option<(Vec<u8>, &'static [u8])> {
        None
    }

    /// A message with so much payload, as it goes over the wire.
    fn message(&self, payload: usize) -> Block {
        Block::one(masked(BINARY, &vec![b'x'; payload]), payload)
    }

    /// What tells the server that a client is alive, and counts as nothing else.
    fn sign_of_life(&self) -> Vec<u8> {
        masked(PONG, b"")
    }

    /// What the server says it holds, and has counted.
    fn tally(&self) -> io::Result<Tally>;
}

/// What a server says that it has; `None` is what it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub connections: u64,
    pub messages: Option<u64>,
    pub payload: Option<u64>,
    /// Bytes as they came over the wire, after the upgrade.
    pub wire: Option<u64>,
}

/// The User-Agent of every client: 110 bytes, as browsers have.
pub const USER_AGENT: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/99.0.0.0 Safari/537.36";
const _: () = assert!(USER_AGENT.len() == 110);

/// How many clients are of the user `billy`; all others are of a thousand users.
pub const BILLYS: usize = 20;

pub fn user(n: usize) -> String {
    if n < BILLYS { "billy".to_owned() } else { format!("user{}", n % 1000) }
}

/// An address that is free now, and may be taken again after this.
pub fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("a free port")
}

/// Waits until somebody listens there.
pub fn await_listening(address: SocketAddr, process: &mut Process) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(15);
    while TcpStream::connect(address).is_err() {
        if !process.lives() || Instant::now() > until {
            return Err(io::Error::other("the server did not start"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
