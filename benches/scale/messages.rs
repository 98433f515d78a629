//! P2 and P3: what one message costs, when it comes alone and when it comes with many.

use std::time::Duration;

use rand::seq::SliceRandom;

use crate::{
    Measured, PASSES,
    floor::{Floor, Kind},
    rig::{
        held::Held,
        process::Place,
        server::Server,
        stats::median,
        subject::Subject,
        table::{Line, Target},
        work::{Work, work},
    },
};

/// Names a program that takes WebSockets and counts their bytes, to stand beside: see [`Floor::start_named_by`].
pub const UWS: &str = "HEADCOUNT_BENCH_UWS";

const LONE_CONNECTIONS: usize = 10_000;
const LONE_ROUNDS: usize = 15;
const FULL_CONNECTIONS: usize = 32;
const FULL_FOR: Duration = Duration::from_secs(1);

const LONE: &str = "Processor time of the server for a message of 64 B, binary. 10,000 connections send one at a time, in \
    random order, 150,000 in all, and the bytes listed at the end are those sent. Floor: raw tokio, which reads \
    and looks at nothing.";
const WAITING: &str = "The same messages, but the server stands still while each of the 10,000 connections sends one, and then \
    takes them all: no sleeping and waking is in the figure.";
const PIPELINED: &str = "Processor time of the server for each message while 32 connections are kept full for a second, by \
    writes of 64 KiB; the bytes listed at the end are those sent. Floor: raw tokio, which reads and looks at nothing.";

/// What a message cost.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Nanoseconds of the server's.
    pub ns: f64,
    /// How busy the server was meanwhile, and how busy the generator, where that was left to the two.
    busy: Option<(f64, f64)>,
}

impl Sample {
    fn of(work: Work, messages: f64) -> Self {
        Self { ns: work.server_ns / messages, busy: Some((work.server_busy, work.generator_busy)) }
    }
}

/// One message at a time, each from another connection.
pub fn lone_sample(subject: &dyn Subject, connections: usize, rounds: usize) -> Result<Sample, String> {
    let mut held = Held::open(subject, 0..connections).map_err(|error| error.to_string())?;
    let message = subject.message(64);
    let mut order: Vec<_> = (0..connections).collect();
    // Once before the clock starts, so that everybody has what its first message takes.
    held.send_each(order.iter().copied(), &message).map_err(|error| error.to_string())?;
    subject.process().settle();
    let mut orders = Vec::with_capacity(connections * rounds);
    for _ in 0..rounds {
        order.shuffle(&mut rand::rng());
        orders.extend(&order);
    }
    let messages = orders.len() as f64;
    let done = work(subject.process(), || held.send_each(orders, &message));
    let (work, ()) = done.map_err(|error| error.to_string())?;
    held.check(subject)?;
    Ok(Sample::of(work, messages))
}

/// One message at a time, each from another connection, for a server that is never done: while it stands still, one
/// message comes on every connection.
pub fn waiting_sample(subject: &dyn Subject, connections: usize, rounds: usize) -> Result<Sample, String> {
    let mut held = Held::open(subject, 0..connections).map_err(|error| error.to_string())?;
    let message = subject.message(64);
    let mut order: Vec<_> = (0..connections).collect();
    let process = subject.process();
    held.send_each(order.iter().copied(), &message).map_err(|error| error.to_string())?;
    process.settle();
    let before = process.cpu();
    for _ in 0..rounds {
        order.shuffle(&mut rand::rng());
        process.stand_still();
        held.send_each(order.iter().copied(), &message).map_err(|error| error.to_string())?;
        process.go_on();
        process.settle();
    }
    let server_ns = process.cpu().since(&before) as f64;
    held.check(subject)?;
    Ok(Sample { ns: server_ns / (connections * rounds) as f64, busy: None })
}

/// As many messages as the server takes.
fn full_sample(subject: &dyn Subject, payload: usize) -> Result<Sample, String> {
    let connections = FULL_CONNECTIONS;
    let mut held = Held::open(subject, 0..connections).map_err(|error| error.to_string())?;
    let block = subject.message(payload).filled();
    held.send_each(0..connections, &block).map_err(|error| error.to_string())?;
    subject.process().settle();
    let done = work(subject.process(), || held.flood(connections, &block, FULL_FOR));
    let (work, messages) = done.map_err(|error| error.to_string())?;
    held.check(subject)?;
    Ok(Sample::of(work, messages as f64))
}

/// The same sample of ours, of both floors, and of the server beside us, in turns.
#[derive(Default)]
pub struct Samples {
    ours: Vec<Sample>,
    multi_thread: Vec<Sample>,
    current_thread: Vec<Sample>,
    uws: Vec<Sample>,
}

impl Samples {
    pub fn take(sample: impl Fn(&dyn Subject) -> Result<Sample, String>) -> Result<Self, String> {
        let start = |error: std::io::Error| error.to_string();
        let mut all = Self::default();
        for _ in 0..PASSES {
            all.ours.push(sample(&Server::start(Place::FirstCore).map_err(start)?)?);
            all.multi_thread.push(sample(&Floor::start(Kind::MultiThread).map_err(start)?)?);
            all.current_thread.push(sample(&Floor::start(Kind::CurrentThread).map_err(start)?)?);
            if let Some(uws) = Floor::start_named_by(UWS).map_err(start)? {
                all.uws.push(sample(&uws)?);
            }
        }
        Ok(all)
    }

    /// What a message cost ours, the median in nanoseconds.
    pub fn ours_ns(&self) -> f64 {
        middle(&self.ours)
    }

    /// What it cost raw tokio on the same runtime.
    pub fn floor_ns(&self) -> f64 {
        middle(&self.multi_thread)
    }

    /// Ours against each of the others; the targets are those against raw tokio and uWebSockets.
    fn lines(&self, id: &'static str, what: &str, how: &'static str, targets: [f64; 2]) -> Vec<Line> {
        let line = |what: String, floor: &[Sample], target, doubts: &[Option<String>]| Line {
            id,
            what,
            floor: Some(middle(floor)),
            ours: middle(&self.ours),
            target,
            how,
            doubts: doubts.iter().flatten().cloned().collect(),
        };
        let (ours, floor) = (waited("the server", &self.ours), waited("the floor", &self.multi_thread));
        let mut lines = vec![
            line(what.to_owned(), &self.multi_thread, Target::Ratio(targets[0]), &[ours, floor]),
            line(
                format!("{what}: floor on one thread"),
                &self.current_thread,
                Target::None,
                &[waited("the floor", &self.current_thread)],
            ),
        ];
        if !self.uws.is_empty() {
            let doubt = waited("uWebSockets", &self.uws);
            lines.push(line(format!("{what}: uWebSockets"), &self.uws, Target::Ratio(targets[1]), &[doubt]));
        }
        lines
    }
}

fn middle(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.ns).collect())
}

/// Says so where the server had to wait for the generator: it then sleeps and is woken, which is in its figure.
fn waited(name: &str, samples: &[Sample]) -> Option<String> {
    let busy = |of: fn((f64, f64)) -> f64| median(samples.iter().filter_map(|s| s.busy.map(of)).collect());
    let (server, generator) = (busy(|(server, _)| server), busy(|(_, generator)| generator));
    let all_known = samples.iter().all(|sample| sample.busy.is_some());
    (all_known && server < 0.95).then(|| {
        format!(
            "the generator was the bottleneck ({:.0} % of its core): {name} was busy for {:.0} % of its own, and its \
             sleeping and waking is in the figure",
            100.0 * generator,
            100.0 * server
        )
    })
}

pub fn lone() -> Measured {
    let samples = Samples::take(|subject| lone_sample(subject, LONE_CONNECTIONS, LONE_ROUNDS))?;
    let mut lines = samples.lines("P2", "a lone message of 64 B, ns", LONE, [1.15, 1.3]);
    let samples = Samples::take(|subject| waiting_sample(subject, LONE_CONNECTIONS, LONE_ROUNDS))?;
    lines.extend(samples.lines("P2", "the same, waiting its turn, ns", WAITING, [1.15, 1.3]));
    Ok(lines)
}

pub fn pipelined() -> Measured {
    let mut lines = Vec::new();
    for (payload, what, most) in
        [(64, "a pipelined message of 64 B, ns", 3.0), (1024, "a pipelined message of 1 KiB, ns", 1.6)]
    {
        let samples = Samples::take(|subject| full_sample(subject, payload))?;
        lines.extend(samples.lines("P3", what, PIPELINED, [most, 1.0]));
    }
    Ok(lines)
}
