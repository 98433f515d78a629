//! Clients that do nothing but answer pings, in a process of their own: one process has no descriptors for the clients of
//! two servers.

use std::{env, io, net::SocketAddr, process::Command};

use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    task,
};

use super::{
    frames::{PING, PONG, masked},
    held::request,
    process::{Place, Process},
    server::target,
};

const MODE: &str = "--idlers";
/// So many connect at once.
const AT_ONCE: usize = 100;

/// Idle clients of one server; they leave when this is dropped.
pub struct Idlers {
    _process: Process,
}

impl Idlers {
    /// Begins so many; the server knows when they are there.
    pub fn start(place: Place, server: SocketAddr, clients: usize) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args([MODE, &server.to_string(), &clients.to_string()]);
        Ok(Self { _process: Process::start(place, &command)? })
    }
}

/// What each `main` that uses [`Idlers`] calls first: where this process was started to be that, it is until it is killed.
pub fn become_idlers_if_asked() {
    let mut arguments = env::args().skip(1);
    if arguments.next().is_none_or(|first| first != MODE) {
        return;
    }
    let server = arguments.next().and_then(|server| server.parse().ok()).expect("an address");
    let clients = arguments.next().and_then(|clients| clients.parse().ok()).expect("how many");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let all: Vec<_> = (0..clients).collect();
        let mut idle = Vec::with_capacity(clients);
        for some in all.chunks(AT_ONCE) {
            for stream in join_all(some.iter().map(|n| connect(server, *n))).await {
                let (stream, early) = stream.expect("the server takes all of them");
                idle.push(task::spawn(answer_pings(stream, early)));
            }
        }
        join_all(idle).await;
    });
}

/// Answers the connection, and what came after the upgrade.
async fn connect(server: SocketAddr, n: usize) -> io::Result<(TcpStream, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    stream.write_all(request(server, &target(n), "").as_bytes()).await?;
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = read.windows(END.len()).position(|some| some == END) {
            return Ok((stream, read.split_off(at + END.len())));
        }
    }
}

/// The frames of a server that sends pings alone: two bytes, and a short payload without a mask.
async fn answer_pings(mut stream: TcpStream, mut read: Vec<u8>) -> io::Result<()> {
    loop {
        while let [head, length, payload @ ..] = &read[..]
            && let Some(payload) = payload.get(..usize::from(*length))
        {
            assert_eq!(*head, 0x80 | PING, "an idle client is told nothing");
            stream.write_all(&masked(PONG, payload)).await?;
            read.drain(..2 + payload.len());
        }
        // No memory is kept for who is idle, so that the clients do not crowd the caches that the server shares.
        read.shrink_to_fit();
        stream.readable().await?;
        let mut buffer = [0; 256];
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => read.extend(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
