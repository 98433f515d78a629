//! P8: whether a message or a list costs more where there are more sessions, and what sessions cost that send none.

use std::io;

use crate::{
    Measured,
    duel::{Duel, Sample, Side},
    floor::{Floor, Kind},
    messages::lone_sample,
    rig::{
        heartbeats,
        held::Held,
        http::Http,
        process::Place,
        server::{LIST_ALL, LIST_ONE, Server},
        subject::Subject,
        table::{Line, Target},
        work::work,
    },
};

const FEW: usize = 100;
/// What a list takes for each row of so few rows is not all for the rows.
const THOUSAND: usize = 1_000;
const MANY: usize = 15_000;
/// So many rows are listed of however many sessions, for one sample: ten lists of the largest number.
const ROWS: usize = 150_000;
const QUERIES: usize = 200;
/// So many heartbeats are looked at.
const LOOKS: usize = 5;

const MESSAGE: &str = "What a lone message of 64 B costs with 15,000 connections, divided by what it costs with 100, both \
    servers in turns; floor: the same of raw tokio, whose connections leave the processor's caches too.";
const LIST: &str = "getSessionInfo of 15,000 sessions, and of 1,000, by GET /api/v1/session-info: processor time of the server \
    for each of 150,000 rows, both servers in turns. 1 is linear.";
const ONE: &str = "getSessionInfo(\"billy\") over HTTP, 20 hits of 15,000 sessions, and of 100: processor time of the server, 200 \
    queries of each server in turns. 1 is independent of the total.";
const IDLE: &str = "Processor time of the server while 15,000 sessions do nothing but answer pings, over 15 s, the interval \
    of the heartbeat, the median of five; the clients are on the other core. Floor: raw tokio that sends as many bytes to \
    as many at the same times and reads what comes, watched at the same time; on loopback its send includes what the \
    system does for who receives.";

pub fn per_message() -> Measured {
    let floor = growth(Side::Floor(Kind::CurrentThread), FEW, lone_sample)?;
    Ok(vec![Line {
        floor: Some(floor),
        ..line("a lone message, 15,000 : 100 sessions", growth(Side::Ours, FEW, lone_sample)?, 1.15, MESSAGE)
    }])
}

pub fn lists() -> Measured {
    let rows = growth(Side::Ours, THOUSAND, |subject, held| {
        let lists = ROWS / held.len();
        asked(subject, LIST_ALL, lists, (lists * held.len()) as f64)
    })?;
    let one = growth(Side::Ours, FEW, |subject, _| asked(subject, LIST_ONE, QUERIES, QUERIES as f64))?;
    Ok(vec![
        line("time of a row, 15,000 : 1,000 sessions", rows, 1.15, LIST),
        line("one user's list, 15,000 : 100 sessions", one, 1.15, ONE),
    ])
}

pub fn heartbeats() -> Measured {
    let measured = || {
        let (ours, floor) = (Server::start(Place::FirstCore)?, Floor::start(Kind::Pings)?);
        heartbeats::measure(&[&ours, &floor], Place::SecondCore, MANY, LOOKS)
    };
    let idle = measured().map_err(|error: io::Error| error.to_string())?;
    Ok(vec![Line {
        floor: Some(100.0 * idle[1].share),
        ..line("heartbeats of 15,000, % of a core", 100.0 * idle[0].share, 1.0, IDLE)
    }])
}

fn line(what: &str, ours: f64, most: f64, how: &'static str) -> Line {
    Line { id: "P8", what: what.to_owned(), ours, target: Target::Figure(most), how, ..Line::default() }
}

/// What something costs with many sessions, divided by what it costs with fewer.
fn growth(
    side: Side,
    fewer: usize,
    sample: impl Fn(&dyn Subject, &mut Held) -> Result<Sample, String>,
) -> Result<f64, String> {
    let duel = Duel::fight([(side, MANY), (side, fewer)], sample)?.ok_or("a floor is missing")?;
    Ok(duel.ours_ns() / duel.theirs_ns())
}

/// Asks the same so often, on a connection that is kept meanwhile; for each of so many things.
fn asked(subject: &dyn Subject, target: &str, times: usize, things: f64) -> Result<Sample, String> {
    let ask = || {
        let mut http = Http::connect(subject.admin())?;
        http.get(target)?;
        work(subject.process(), || (0..times).try_for_each(|_| http.get(target).map(drop)))
    };
    let (work, ()) = ask().map_err(|error: io::Error| error.to_string())?;
    Ok(Sample::of(work, things))
}
