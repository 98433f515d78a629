//! P7: who has to wait while a list is read, and while messages come faster than the server takes them.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::setpriority_process;

use crate::{
    Measured,
    rig::{
        held::{Held, Pinger},
        http::Http,
        process::Place,
        server::{LIST_ALL, LIST_ONE, Server},
        stats::quantile,
        subject::Subject,
        table::{Line, Target},
    },
};

const SESSIONS: usize = 15_000;
/// Most of a million sessions have no socket; so many have.
const AMONG_A_MILLION: usize = 5_000;
const FULL_CONNECTIONS: usize = 32;
const EACH: Duration = Duration::from_secs(4);
/// Messages a second while pings are timed.
const MODERATE: usize = 20_000;

const PING: &str = "Ping to pong of one client, a ping every 2 ms for 4 s, while all connections together send 20,000 messages of \
    64 B a second. Ours: an administrator reads getSessionInfo of all without a pause. Of 1,000,000 sessions 5,000 are \
    connected. Floor: nobody reads. The rest of the \
    generator gives way to the client that pings (nice 19).";
const QUERY: &str = "getSessionInfo(\"billy\") over HTTP, one every 5 ms for 4 s, while 32 connections are always full with \
    messages of 64 B. Floor: nothing is sent.";
const INGEST: &str = "Messages of 64 B taken from 32 full connections in 4 s while getSessionInfo of all is read without a \
    pause, against the same with no list: the part that is lost.";

/// Lets the timing threads go first on the generator's core.
fn give_way() {
    let _ = setpriority_process(None, 19);
}

/// Runs something beside the rest until the rest is done.
fn beside<T>(
    background: impl FnOnce(&AtomicBool) -> io::Result<u64> + Send,
    foreground: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, u64)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let background = scope.spawn(|| {
            give_way();
            background(&over)
        });
        let done = foreground();
        over.store(true, Relaxed);
        let count = background.join().map_err(|_| io::Error::other("a thread of the generator panicked"))?;
        Ok((done?, count?))
    })
}

/// Lists everybody until told to stop; answers how often.
fn list_all(server: &Server, over: &AtomicBool) -> io::Result<u64> {
    let mut http = Http::connect(server.admin)?;
    let mut lists = 0;
    while !over.load(Relaxed) {
        http.skip(LIST_ALL)?;
        lists += 1;
    }
    Ok(lists)
}

/// Sends a moderate number of messages until told to stop; answers how many.
fn send_some(server: &Server, held: &mut Held, over: &AtomicBool) -> io::Result<u64> {
    let message = server.message(64);
    let mut connections = (0..held.len()).cycle();
    let (begun, mut sent) = (Instant::now(), 0);
    while !over.load(Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * MODERATE as f64) as usize;
        held.send_each(connections.by_ref().take(due - sent), &message)?;
        sent = due;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(sent as u64)
}

/// Does something again and again, and answers what it took each time.
fn timed(every: Duration, mut once: impl FnMut() -> io::Result<f64>) -> io::Result<Vec<f64>> {
    let until = Instant::now() + EACH;
    let mut took = Vec::new();
    while Instant::now() < until {
        took.push(once()?);
        thread::sleep(every);
    }
    Ok(took)
}

/// Pings under moderate load, in milliseconds; with a list read meanwhile, or not. And how many lists were.
fn pings(server: &Server, held: &mut Held, listing: bool) -> io::Result<(Vec<f64>, u64)> {
    let mut pinger = Pinger::open(server, held.len())?;
    let mut ping = || timed(Duration::from_millis(2), || Ok(pinger.ping()? / 1000.0));
    let mut loaded = || beside(|over| send_some(server, held, over), &mut ping).map(|(took, _)| took);
    let pinged = if listing { beside(|over| list_all(server, over), loaded)? } else { (loaded()?, 0) };
    pinger.close()?;
    Ok(pinged)
}

/// Queries for one user, in milliseconds; while connections are kept full, or not.
fn queries(server: &Server, held: &mut Held, flooding: bool) -> io::Result<Vec<f64>> {
    let mut http = Http::connect(server.admin)?;
    let mut query = || {
        timed(Duration::from_millis(5), || {
            let begun = Instant::now();
            http.get(LIST_ONE)?;
            Ok(begun.elapsed().as_secs_f64() * 1000.0)
        })
    };
    if flooding { beside(|over| flood(server, held, over), query).map(|(took, _)| took) } else { query() }
}

fn flood(server: &Server, held: &mut Held, over: &AtomicBool) -> io::Result<u64> {
    let block = server.message(64).filled();
    let mut messages = 0;
    while !over.load(Relaxed) {
        messages += held.flood(FULL_CONNECTIONS, &block, Duration::from_millis(10))?;
    }
    Ok(messages)
}

/// Messages that were taken in a while of a full server; with a list read meanwhile, or not.
fn ingest(server: &Server, held: &mut Held, listing: bool) -> io::Result<f64> {
    let block = server.message(64).filled();
    let mut flood = || held.flood(FULL_CONNECTIONS, &block, EACH);
    let messages = if listing { beside(|over| list_all(server, over), flood)?.0 } else { flood()? };
    server.process.settle();
    Ok(messages as f64)
}

pub fn measure() -> Measured {
    measure_in("15,000", Server::start(Place::FirstCore), SESSIONS)
}

pub fn measure_in_a_million() -> Measured {
    measure_in(
        "1,000,000",
        Server::start_among(Place::FirstCore, 1_000_000 - AMONG_A_MILLION),
        AMONG_A_MILLION,
    )
}

fn measure_in(sessions: &str, server: io::Result<Server>, connected: usize) -> Measured {
    let server = server.map_err(|error| error.to_string())?;
    let mut held = Held::open(&server, 0..connected).map_err(|error| error.to_string())?;
    let all = all(sessions, &server, &mut held).map_err(|error| error.to_string())?;
    held.check(&server)?;
    Ok(all)
}

fn all(sessions: &str, server: &Server, held: &mut Held) -> io::Result<Vec<Line>> {
    let (alone, _) = pings(server, held, false)?;
    let (listed, lists) = pings(server, held, true)?;
    held.show_life(server)?;
    let calm = queries(server, held, false)?;
    let flooded = queries(server, held, true)?;
    server.process.settle();
    held.show_life(server)?;
    let full = ingest(server, held, false)?;
    let shared = ingest(server, held, true)?;
    held.show_life(server)?;
    let line = |what: &str, floor, ours, target, how, doubts| Line {
        id: "P7",
        what: format!("{sessions}: {what}"),
        floor,
        ours,
        target,
        how,
        doubts,
    };
    let few = (lists < 10).then(|| format!("only {lists} lists were read meanwhile")).into_iter().collect();
    let p = |figures: &[f64], part| quantile(figures.to_vec(), part);
    Ok(vec![
        line(
            "ping while lists are read, p50, ms",
            Some(p(&alone, 0.5)),
            p(&listed, 0.5),
            Target::None,
            PING,
            few,
        ),
        line("the same, p99", Some(p(&alone, 0.99)), p(&listed, 0.99), Target::Figure(1.0), PING, vec![]),
        line(
            "one user's list under full ingest, p50, ms",
            Some(p(&calm, 0.5)),
            p(&flooded, 0.5),
            Target::None,
            QUERY,
            vec![],
        ),
        line("the same, p99", Some(p(&calm, 0.99)), p(&flooded, 0.99), Target::Figure(20.0), QUERY, vec![]),
        line(
            "ingest lost while lists are read, %",
            None,
            100.0 * (1.0 - shared / full),
            Target::Figure(20.0),
            INGEST,
            vec![],
        ),
    ])
}
