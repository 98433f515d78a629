//! How many instructions the hot paths take: `cargo bench --bench callgrind`. Fails above a ceiling.
//!
//! Instructions are the same on a busy machine as on an idle one, so unlike time they can be held to a number in
//! CI. `valgrind --tool=callgrind` runs this program once for each path, and counts inside the path's function
//! alone. [`ceilings.txt`](ceilings.txt) says how many there may be, and what to do where there are more.
//!
//! A new path is a function in [`paths`] with its place in `ALL`, and a line in `ceilings.txt`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench prints, is nobody's library, and ends by panicking"
)]

mod paths;
#[path = "../sessions.rs"]
mod sessions;

use std::{
    env,
    process::{Command, ExitCode},
};

const CEILINGS: &str = include_str!("ceilings.txt");
const ADVICE: &str = "benches/callgrind/ceilings.txt says what to do";

/// What `ceilings.txt` allows a path, in instructions for each of its turns.
fn ceiling(path: &str) -> Option<f64> {
    let lines = CEILINGS.lines().filter(|line| !line.starts_with('#'));
    let found = lines.filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == path);
    found.and_then(|(_, most)| most.trim().replace('_', "").parse().ok())
}

fn main() -> ExitCode {
    // As valgrind runs it: one path, and nothing else.
    if let Some(name) = env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        let path = paths::ALL.iter().find(|path| path.name == name).expect("a path");
        (path.run)();
        return ExitCode::SUCCESS;
    }
    let mut fine = true;
    for path in paths::ALL {
        let instructions = match measure(path.name) {
            Ok(all) => all as f64 / path.turns as f64,
            Err(reason) => {
                eprintln!("{}: not measured: {reason}", path.name);
                return ExitCode::FAILURE;
            }
        };
        let verdict = match ceiling(path.name) {
            None => "has no ceiling yet".to_owned(),
            Some(most) if instructions > most => format!("ABOVE the ceiling of {most:.0}: {ADVICE}"),
            Some(most) if instructions < most * 0.75 => {
                format!("far below the ceiling of {most:.0}: lower it")
            }
            Some(most) => format!("of at most {most:.0}"),
        };
        fine &= ceiling(path.name).is_some_and(|most| instructions <= most);
        println!("{:<16} {instructions:>12.0} instructions each, {verdict}", path.name);
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The instructions inside one path's function.
fn measure(name: &str) -> Result<u64, String> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg(format!("--toggle-collect=*paths::{name}*"))
        .arg(env::current_exe().map_err(|error| error.to_string())?)
        .arg(name)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    number.filter(|number| *number > 0).ok_or_else(|| said.trim().to_owned())
}
