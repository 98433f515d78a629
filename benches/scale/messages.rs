//! P2 and P3: what one message costs, when it comes alone and when it comes with many.

use std::time::Duration;

use rand::seq::SliceRandom;

use crate::{
    Measured,
    duel::{Duel, Sample, Side},
    floor::Kind,
    rig::{
        held::Held,
        subject::Subject,
        table::{Line, Target},
        work::work,
    },
};

/// Two servers hold so many at the same time, which is what one process has descriptors for.
const LONE_CONNECTIONS: usize = 9_800;
/// So many messages are one sample.
const LONE_MESSAGES: usize = 9_800;
const FULL_CONNECTIONS: usize = 32;
const FULL_FOR: Duration = Duration::from_millis(300);

/// Who stands beside ours: first the floor that is measured by, which has the same runtime as ours on one core.
const BESIDE: [Side; 3] = [Side::Floor(Kind::CurrentThread), Side::Floor(Kind::MultiThread), Side::Uws];

const LONE: &str = "Processor time of the server for a message of 64 B, binary. Of 9,800 connections one sends at a time, in \
    random order. Both servers of a line hold their connections at the same time, and have their turns of 9,800 messages \
    one after the other; the bytes listed at the end are those sent. Floor: raw tokio, which reads and looks at nothing.";
const WAITING: &str = "The same messages, but the server stands still while each of the 9,800 connections sends one, and then \
    takes them all: no sleeping and waking is in the figure.";
const PIPELINED: &str = "Processor time of the server for each message while 32 connections are kept full for 0.3 s, by \
    writes of 64 KiB, both servers in turns; the bytes listed at the end are those sent. Floor: raw tokio, which reads and \
    looks at nothing.";

/// One message at a time, each from another connection.
pub fn lone_sample(subject: &dyn Subject, held: &mut Held) -> Result<Sample, String> {
    let message = subject.message(64);
    let mut order: Vec<_> = (0..held.len()).collect();
    let mut orders = Vec::new();
    while orders.len() < LONE_MESSAGES {
        order.shuffle(&mut rand::rng());
        orders.extend(&order);
    }
    let messages = orders.len() as f64;
    let done = work(subject.process(), || held.send_each(orders, &message));
    let (work, ()) = done.map_err(|error| error.to_string())?;
    Ok(Sample::of(work, messages))
}

/// One message at a time, each from another connection, for a server that is never done: while it stands still, one
/// message comes on every connection.
fn waiting_sample(subject: &dyn Subject, held: &mut Held) -> Result<Sample, String> {
    let message = subject.message(64);
    let mut order: Vec<_> = (0..held.len()).collect();
    order.shuffle(&mut rand::rng());
    let (process, messages) = (subject.process(), order.len());
    let before = process.cpu();
    process.stand_still();
    held.send_each(order, &message).map_err(|error| error.to_string())?;
    process.go_on();
    process.settle();
    Ok(Sample { ns: process.cpu().since(&before) as f64 / messages as f64, busy: None })
}

/// As many messages as the server takes.
fn full_sample(subject: &dyn Subject, held: &mut Held, payload: usize) -> Result<Sample, String> {
    let block = subject.message(payload).filled();
    let connections = held.len();
    let done = work(subject.process(), || held.flood(connections, &block, FULL_FOR));
    let (work, messages) = done.map_err(|error| error.to_string())?;
    Ok(Sample::of(work, messages as f64))
}

/// Ours against each of the others; the targets are those against raw tokio and uWebSockets.
fn lines(
    (id, what, how): (&'static str, &str, &'static str),
    connections: usize,
    [floor, uws]: [f64; 2],
    sample: impl Fn(&dyn Subject, &mut Held) -> Result<Sample, String>,
) -> Measured {
    let mut lines = Vec::new();
    for other in BESIDE {
        let sides = [(Side::Ours, connections), (other, connections)];
        let Some(duel) = Duel::fight(sides, &sample)? else { continue };
        lines.push(Line {
            id,
            what: format!("{what}: {}", other.name()),
            floor: Some(duel.theirs_ns()),
            ours: duel.ours_ns(),
            target: match other {
                Side::Uws => Target::Ratio(uws),
                Side::Floor(Kind::CurrentThread) => Target::Ratio(floor),
                _ => Target::None,
            },
            how,
            doubts: duel.doubts(other.name()),
        });
    }
    Ok(lines)
}

pub fn lone() -> Measured {
    let targets = [1.15, 1.3];
    let mut all = lines(("P2", "a lone message of 64 B, ns", LONE), LONE_CONNECTIONS, targets, lone_sample)?;
    let waiting = ("P2", "the same, waiting its turn, ns", WAITING);
    all.extend(lines(waiting, LONE_CONNECTIONS, targets, waiting_sample)?);
    Ok(all)
}

pub fn pipelined() -> Measured {
    let mut all = Vec::new();
    for (payload, what, most) in
        [(64, "a pipelined message of 64 B, ns", 3.0), (1024, "a pipelined message of 1 KiB, ns", 1.6)]
    {
        all.extend(lines(("P3", what, PIPELINED), FULL_CONNECTIONS, [most, 1.0], |subject, held| {
            full_sample(subject, held, payload)
        })?);
    }
    Ok(all)
}
