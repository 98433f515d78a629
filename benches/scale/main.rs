//! What a session, a message, a handshake and a list cost at scale: `cargo bench --bench scale [-- P2 P3]`.
//!
//! The server is the real program, on one core; the generator is this process, on another. Each figure stands
//! beside its floor, measured in the same run, and its target. Nothing passes or fails by them.
//! [`benches/README.md`](../README.md) has the method.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints, and is nobody's library"
)]

mod duel;
mod fairness;
mod floor;
mod growth;
mod handshakes;
mod listing;
mod memory;
mod messages;
#[path = "../rig/mod.rs"]
mod rig;

use std::{
    env,
    process::{Command, ExitCode},
    time::Instant,
};

use rig::{
    idlers::become_idlers_if_asked,
    process::{become_generator, become_server_if_asked},
    table::{self, Line},
};

/// How often each figure is taken, on a fresh server each time; the table has the medians.
const PASSES: usize = 3;

/// Lines for the table, or why there are none.
type Measured = Result<Vec<Line>, String>;

/// A measurement, by the targets that it is for.
type Measure = (&'static str, fn() -> Measured);

/// Everything that is measured. A new line needs no more than a place here.
const MEASURES: [Measure; 10] = [
    ("P1", memory::measure),
    ("P2", messages::lone),
    ("P3", messages::pipelined),
    ("P4 P5", listing::measure),
    ("P6", handshakes::measure),
    ("P7", fairness::measure),
    ("P7", fairness::measure_in_a_million),
    ("P8", growth::per_message),
    ("P8", growth::lists),
    ("P8", growth::heartbeats),
];

fn main() -> ExitCode {
    become_server_if_asked();
    become_idlers_if_asked();
    floor::become_floor_if_asked();
    let wanted: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let known = |wanted: &String| MEASURES.iter().any(|(ids, _)| ids.contains(&**wanted));
    if let Some(unknown) = wanted.iter().find(|wanted| !known(wanted)) {
        eprintln!("nothing is measured for {unknown}: name some of P1 to P8");
        return ExitCode::from(2);
    }
    if !become_generator() {
        eprintln!("one core for server and generator: no processor figure below means much");
    }
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for (ids, measure) in MEASURES {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| ids.contains(&**wanted)) {
            continue;
        }
        let begun = Instant::now();
        match measure() {
            Ok(found) => lines.extend(found),
            Err(reason) => failures.push(format!("{ids}: {reason}")),
        }
        eprintln!("{ids} took {:.0} s", begun.elapsed().as_secs_f64());
    }
    lines.sort_by_key(|line| line.id);
    table::print(&lines);
    if wanted.is_empty() || wanted.iter().any(|wanted| ["P4", "P5"].contains(&&**wanted)) {
        beyond_sockets();
    }
    for failure in &failures {
        println!("\nnot valid, so not printed: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// P4 and P5 for a million sessions, which no machine has the sockets for: in memory, by the program itself.
fn beyond_sockets() {
    println!("\nP4, P5  a million sessions in memory (headcount bench-registry)");
    if let Err(error) = Command::new(env!("CARGO_BIN_EXE_headcount")).arg("bench-registry").status() {
        eprintln!("headcount bench-registry: {error}");
    }
}
