//! P1: what a session that does nothing keeps, and what is left of a large message.

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
    },
};

const SESSIONS: [usize; 2] = [10_000, 15_000];
const LARGE: usize = 16 * 1024;

const HOW: &str = "Resident memory of the server (smaps_rollup), as the slope from 10,000 to 15,000 sessions: one page, a \
    user name, a User-Agent of 110 bytes each. Then each of the 15,000 sends one message of 16 KiB. Floor: a \
    connection of raw tokio, which knows nothing of its client.";

/// Bytes for each session: idle, and more after the large message.
fn sample(subject: &dyn Subject) -> Result<[f64; 2], String> {
    let [few, many] = SESSIONS;
    let process = subject.process();
    let mut held = Held::open(subject, 0..few).map_err(|error| error.to_string())?;
    process.settle();
    let before = process.resident();
    held.add(subject, few..many).map_err(|error| error.to_string())?;
    process.settle();
    let idle = process.resident();
    held.send_each(0..many, &subject.message(LARGE)).map_err(|error| error.to_string())?;
    process.settle();
    let after = process.resident();
    held.check(subject)?;
    Ok([(idle as f64 - before as f64) / (many - few) as f64, (after as f64 - idle as f64) / many as f64])
}

pub fn measure() -> Measured {
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        let server = Server::start(Place::FirstCore).map_err(|error| error.to_string())?;
        ours.push(sample(&server)?);
        drop(server);
        let server = Floor::start(Kind::MultiThread).map_err(|error| error.to_string())?;
        floor.push(sample(&server)?);
    }
    let middle = |samples: &[[f64; 2]], at: usize| median(samples.iter().map(|sample| sample[at]).collect());
    let line = |what: &str, at, target| Line {
        id: "P1",
        what: what.to_owned(),
        floor: Some(middle(&floor, at)),
        ours: middle(&ours, at),
        target,
        how: HOW,
        doubts: Vec::new(),
    };
    Ok(vec![
        line("memory of an idle session, B", 0, Target::Figure(1280.0)),
        line("growth after 16 KiB, B a session", 1, Target::Figure(16.0)),
    ])
}
