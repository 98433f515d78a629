//! P4 and P5: what a list costs, whole and for one user.

use std::{hint::black_box, io, time::Instant};

use crate::{
    Measured,
    rig::{
        held::Held,
        http::{Http, rows},
        process::Place,
        server::{LIST_ALL, LIST_ONE, Server},
        stats::median,
        subject::{BILLYS, Subject},
        table::{Line, Target},
        work::work,
    },
};

/// A socket's worth of sessions: `bench-registry` has a million.
const SESSIONS: usize = 15_000;
const LISTS: usize = 10;
const QUERIES: usize = 200;

const ROW: &str = "getSessionInfo of 15,000 sessions by GET /api/v1/session-info, ten times: processor time of the server for \
    each row, sockets and HTTP included; the target is for writing alone, which is under the table. Floor: memcpy of the \
    same bytes, warm, in this process.";
const TOUCHED: &str = "What memory the server touches first while the list is read for the first time, by its page faults: so much it \
    grows at the most.";
const QUERY: &str = "getSessionInfo(\"billy\") over HTTP, 200 times on a kept connection, 20 hits: processor time of the \
    server for each. Floor: GET /healthz on the same connection.";
/// What was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    list_ns_per_row: f64,
    list_wall_ms: f64,
    list_bytes: usize,
    list_touched: u64,
    query_us: f64,
    health_us: f64,
}

fn ask(server: &Server) -> io::Result<Found> {
    let process = server.process();
    let mut http = Http::connect(server.admin)?;
    process.settle();
    let before = process.touched();
    let list_bytes = http.get(LIST_ALL)?.len();
    let list_touched = process.touched() - before;

    process.settle();
    let (listed, ()) = work(process, || (0..LISTS).try_for_each(|_| http.get(LIST_ALL).map(drop)))?;
    let (queried, ()) = work(process, || (0..QUERIES).try_for_each(|_| http.get(LIST_ONE).map(drop)))?;
    let (healthy, ()) = work(process, || (0..QUERIES).try_for_each(|_| http.get("/healthz").map(drop)))?;

    if rows(http.get(LIST_ONE)?)?.len() != BILLYS || rows(http.get(LIST_ALL)?)?.len() != SESSIONS {
        return Err(io::Error::other("the list is not of those who are there"));
    }
    Ok(Found {
        list_ns_per_row: listed.server_ns / (LISTS * SESSIONS) as f64,
        list_wall_ms: listed.seconds * 1000.0 / LISTS as f64,
        list_bytes,
        list_touched,
        query_us: queried.server_ns / 1000.0 / QUERIES as f64,
        health_us: healthy.server_ns / 1000.0 / QUERIES as f64,
    })
}

/// Nanoseconds to copy so many bytes to where bytes were before.
fn memcpy_ns(bytes: usize) -> f64 {
    let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
    let once = |_| {
        let begun = Instant::now();
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
        begun.elapsed().as_nanos() as f64
    };
    median((0..20).map(once).collect())
}

pub fn measure() -> Measured {
    let server = Server::start(Place::FirstCore).map_err(|error| error.to_string())?;
    let asked = || {
        let mut held = Held::open(&server, 0..SESSIONS)?;
        held.send_each(0..SESSIONS, &server.message(64))?;
        Ok((ask(&server)?, held))
    };
    let (found, held) = asked().map_err(|error: io::Error| error.to_string())?;
    held.check(&server)?;
    let copy = memcpy_ns(found.list_bytes) / SESSIONS as f64;
    let line = |id, what: String, floor, ours, target, how| Line {
        id,
        what,
        floor,
        ours,
        target,
        how,
        doubts: Vec::new(),
    };
    Ok(vec![
        line("P4", "a row of a whole list, ns".into(), Some(copy), found.list_ns_per_row, Target::None, ROW),
        line("P4", "the whole list, 15,000 rows, ms".into(), None, found.list_wall_ms, Target::None, ROW),
        line(
            "P4",
            "its transient memory, KiB".into(),
            None,
            found.list_touched as f64 / 1024.0,
            Target::Figure(256.0),
            TOUCHED,
        ),
        line(
            "P5",
            "one user's list, 20 hits of 15,000, us".into(),
            Some(found.health_us),
            found.query_us,
            Target::Figure(60.0),
            QUERY,
        ),
    ])
}
