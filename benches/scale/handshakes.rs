//! P6: what it costs to let a client in.

use crate::{
    Measured, PASSES,
    floor::{Floor, Kind},
    messages::UWS,
    rig::{
        held::Held,
        process::Place,
        server::Server,
        stats::median,
        subject::Subject,
        table::{Line, Target},
    },
};

const WARM: usize = 500;
const CLIENTS: usize = 8_000;

const HOW: &str = "Processor time of the server for each of 8,000 clients, each with a TCP connection of its own and the \
    headers of a browser. The server stands still while 100 of them ask, and then takes them all before anybody reads \
    an answer, so that no sleeping and waking is in the figure. The floor is named in the \
    line: raw tokio answers 101 without a look at the request, accept alone answers nothing.";

/// Microseconds for each client.
fn sample(subject: &dyn Subject) -> Result<f64, String> {
    let process = subject.process();
    // The first few set up what the runtime and the allocator keep.
    let mut held = Held::open(subject, 0..WARM).map_err(|error| error.to_string())?;
    process.settle();
    let before = process.cpu();
    held.add_waiting(subject, WARM..WARM + CLIENTS).map_err(|error| error.to_string())?;
    process.settle();
    let ns = process.cpu().since(&before) as f64;
    held.check(subject)?;
    Ok(ns / 1000.0 / CLIENTS as f64)
}

pub fn measure() -> Measured {
    let start = |error: std::io::Error| error.to_string();
    let [mut ours, mut raw, mut accept, mut uws] = [const { Vec::new() }; 4];
    for _ in 0..PASSES {
        ours.push(sample(&Server::start(Place::FirstCore).map_err(start)?)?);
        raw.push(sample(&Floor::start(Kind::MultiThread).map_err(start)?)?);
        accept.push(sample(&Floor::start(Kind::Accept).map_err(start)?)?);
        if let Some(server) = Floor::start_named_by(UWS).map_err(start)? {
            uws.push(sample(&server)?);
        }
    }
    let ours = median(ours);
    let line = |floor: &str, figures: Vec<f64>, target| Line {
        id: "P6",
        what: format!("a handshake, us: {floor}"),
        floor: Some(median(figures)),
        ours,
        target,
        how: HOW,
        doubts: Vec::new(),
    };
    let mut lines = vec![line("raw tokio", raw, Target::None), line("accept alone", accept, Target::None)];
    if !uws.is_empty() {
        lines.push(line("uWebSockets", uws, Target::Ratio(1.3)));
    }
    Ok(lines)
}
