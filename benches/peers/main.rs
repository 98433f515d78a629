//! headcount beside servers that do a comparable job, all in one run: `cargo bench --bench peers [-- nats ws]`.
//!
//! Each server is alone on the first core; the generator is this process, on the second, and the same for all.
//! [`benches/README.md`](../README.md) has the method.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints, and is nobody's library"
)]

#[path = "../rig/mod.rs"]
mod rig;
mod servers;
mod tools;

use std::{
    env, io,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use rig::{
    held::Held,
    http::Http,
    process::{Place, become_generator, become_server_if_asked},
    server::Server,
    stats::median,
    subject::BILLYS,
    table::{print_rows, short},
    work::work,
};
use servers::{Dialect, Nats, Node, Peer, Rmqttd};

const CONNECTIONS: usize = 10_000;
/// How many messages a connection sends at a time, and how often: a million in all.
const AT_ONCE: usize = 10;
const ROUNDS: usize = 10;
const LISTS: usize = 5;
const QUERIES: usize = 200;
const PASSES: usize = 3;

const COLUMNS: [&str; 8] = [
    "hold, B each",
    "message, us",
    "million, s",
    "list all, ms",
    "CPU, ms",
    "list one, ms",
    "CPU, ms",
    "handshake, us",
];

/// What one server took, by the columns.
type Figures = [f64; COLUMNS.len()];

/// A server, by the name that the command line has for it, and how it is started.
type Entry = (&'static str, fn() -> Result<Box<dyn Peer>, String>);

const SERVERS: [Entry; 5] = [
    ("headcount", || Ok(Box::new(Server::start(Place::FirstCore).map_err(text)?))),
    ("nats", || Ok(Box::new(Nats::start(&tools::nats()?).map_err(text)?))),
    ("ws", || node("ws", tools::WS, Dialect::WebSocket)),
    ("socket.io", || node("socket.io", tools::SOCKET_IO, Dialect::SocketIo)),
    ("rmqttd", rmqttd),
];

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: io::Error) -> String {
    error.to_string()
}

fn node(package: &str, version: &str, dialect: Dialect) -> Result<Box<dyn Peer>, String> {
    let node = tools::npm(package, version)?;
    Ok(Box::new(Node::start(node, dialect).map_err(text)?))
}

fn rmqttd() -> Result<Box<dyn Peer>, String> {
    let program = Path::new("rmqttd");
    Command::new(program).arg("--version").output().map_err(|_| "not installed".to_owned())?;
    Ok(Box::new(Rmqttd::start(program).map_err(text)?))
}

fn main() -> ExitCode {
    become_server_if_asked();
    let wanted: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !become_generator() {
        eprintln!("one core for server and generator: no processor figure below means much");
    }
    println!("headcount {}, {}", env!("CARGO_PKG_VERSION"), versions());
    let mut found: Vec<(&str, Figures)> = Vec::new();
    for (name, start) in SERVERS {
        if name != "headcount" && !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let begun = Instant::now();
        match (0..PASSES).map(|_| sample(&*start()?)).collect::<Result<Vec<_>, _>>() {
            Ok(samples) => found.push((name, medians(&samples))),
            Err(reason) => println!("left out: {name}, {reason}"),
        }
        eprintln!("{name} took {:.0} s", begun.elapsed().as_secs_f64());
    }
    print(&found);
    if found.first().is_some_and(|(name, _)| *name == "headcount") {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn versions() -> String {
    let node = Command::new("node").arg("--version").output();
    let node =
        node.map_or("none".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("nats-server {}, ws {}, socket.io {}, Node.js {node}", tools::NATS, tools::WS, tools::SOCKET_IO)
}

/// Everything of one server, which then ends.
fn sample(peer: &dyn Peer) -> Result<Figures, String> {
    let process = peer.process();
    process.settle();
    let empty = process.resident();
    let (opening, mut held) = work(process, || Held::open(peer, 0..CONNECTIONS)).map_err(text)?;
    let each = (process.resident() as f64 - empty as f64) / CONNECTIONS as f64;

    let message = peer.message(64).times(AT_ONCE);
    let (taking, ()) =
        work(process, || (0..ROUNDS).try_for_each(|_| held.send_each(0..CONNECTIONS, &message)))
            .map_err(text)?;
    process.settle();
    process.stand_still();
    let sent = (0..ROUNDS).try_for_each(|_| held.send_each(0..CONNECTIONS, &message));
    let (catching_up, ()) = work(process, || {
        process.go_on();
        sent
    })
    .map_err(text)?;
    held.check(peer)?;
    held.show_life(peer).map_err(text)?;
    process.settle();
    let (all, all_cpu) = list(peer, peer.list_all(), LISTS, CONNECTIONS)?;
    let (one, one_cpu) = list(peer, peer.list_one(), QUERIES, BILLYS)?;
    let messages = (CONNECTIONS * ROUNDS * AT_ONCE) as f64;
    Ok([
        each,
        taking.server_ns / 1000.0 / messages,
        catching_up.until_done,
        all,
        all_cpu,
        one,
        one_cpu,
        opening.server_ns / 1000.0 / CONNECTIONS as f64,
    ])
}

/// Lists again and again: how long one takes (the median) and what processor time, both in milliseconds.
fn list(peer: &dyn Peer, target: &str, times: usize, expected: usize) -> Result<(f64, f64), String> {
    let mut http = Http::connect(peer.admin()).map_err(text)?;
    let listed = peer.listed(http.get(target).map_err(text)?).map_err(text)?;
    if listed != expected {
        return Err(format!("{target} lists {listed} connections, not {expected}"));
    }
    let mut took = Vec::new();
    let (listing, ()) = work(peer.process(), || {
        (0..times).try_for_each(|_| {
            let begun = Instant::now();
            http.get(target)?;
            took.push(begun.elapsed().as_secs_f64() * 1000.0);
            Ok(())
        })
    })
    .map_err(text)?;
    Ok((median(took), listing.server_ns / 1e6 / times as f64))
}

fn medians(samples: &[Figures]) -> Figures {
    std::array::from_fn(|at| median(samples.iter().map(|figures| figures[at]).collect()))
}

fn print(found: &[(&str, Figures)]) {
    let row = |name: &str, cells: [String; COLUMNS.len()]| {
        let mut cells = cells.into_iter();
        std::array::from_fn::<_, { COLUMNS.len() + 1 }, _>(|at| {
            if at == 0 { name.to_owned() } else { cells.next().unwrap_or_default() }
        })
    };
    let head = row("", COLUMNS.map(str::to_owned));
    let rows = found.iter().map(|(name, figures)| row(name, figures.map(short)));
    println!();
    print_rows(&std::iter::once(head.clone()).chain(rows).collect::<Vec<_>>(), 1);
    let [("headcount", ours), peers @ ..] = found else { return };
    println!("\nTimes what headcount takes (below 1 that server is ahead):");
    let ratios = peers.iter().map(|(name, figures)| {
        row(name, std::array::from_fn(|at| format!("{} x", short(figures[at] / ours[at]))))
    });
    print_rows(&std::iter::once(head).chain(ratios).collect::<Vec<_>>(), 1);
    println!(
        "\nHold: resident memory for each of {CONNECTIONS} idle connections. Message: processor time for each of a \
         million of 64 B, {AT_ONCE} at a time\non each connection in turn. Million: as many more, that wait in \
         the\nsockets while the server stands still; from letting it go on to its last one. List: over HTTP, wall and \
         processor time,\nall and {BILLYS} of one user. Medians of \
         {PASSES} passes; each server listed all connections and counted every message, or every byte, that was sent."
    );
}
