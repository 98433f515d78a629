//! P6: what it costs to let a client in.

use crate::{
    Measured,
    duel::{Duel, Sample, Side},
    floor::Kind,
    rig::{
        held::Held,
        subject::Subject,
        table::{Line, Target},
    },
};

/// Open before: the first few set up what the runtime and the allocator keep.
const WARM: usize = 500;
/// In each turn of a server.
const CLIENTS: usize = 1_200;

const HOW: &str = "Processor time of the server for each of 1,200 clients, seven times over, each with a TCP connection of its \
    own and the headers of a browser. The server stands still while 100 of them ask, and then takes them all before \
    anybody reads an answer, so that no sleeping and waking is in the figure. The floor is named in the line: raw tokio \
    answers 101 without a look at the request, accept alone answers nothing.";

/// Some more clients.
fn sample(subject: &dyn Subject, held: &mut Held) -> Result<Sample, String> {
    let process = subject.process();
    let (before, clients) = (process.cpu(), held.len()..held.len() + CLIENTS);
    held.add_waiting(subject, clients).map_err(|error| error.to_string())?;
    process.settle();
    Ok(Sample { ns: process.cpu().since(&before) as f64 / CLIENTS as f64, busy: None })
}

pub fn measure() -> Measured {
    let mut lines = Vec::new();
    for (other, target) in [
        (Side::Floor(Kind::CurrentThread), Target::None),
        (Side::Floor(Kind::Accept), Target::None),
        (Side::Uws, Target::Ratio(1.3)),
    ] {
        let Some(duel) = Duel::fight([(Side::Ours, WARM), (other, WARM)], sample)? else { continue };
        lines.push(Line {
            id: "P6",
            what: format!("a handshake, us: {}", other.name()),
            floor: Some(duel.theirs_ns() / 1000.0),
            ours: duel.ours_ns() / 1000.0,
            target,
            how: HOW,
            doubts: Vec::new(),
        });
    }
    Ok(lines)
}
