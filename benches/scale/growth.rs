//! P8: whether a message costs more where there are more sessions, and what sessions cost that send none.

use std::time::Duration;

use crate::{
    Measured,
    duel::{Duel, Side},
    floor::Kind,
    messages::lone_sample,
    rig::{
        heartbeats,
        process::Place,
        table::{Line, Target},
    },
};

const FEW: usize = 100;
const MANY: usize = 15_000;

const HOW: &str = "What a lone message of 64 B costs with 15,000 connections, divided by what it costs with 100; floor: the \
    same of raw tokio, whose connections leave the processor's caches too.";
const IDLE: &str = "Processor time of the server while 15,000 sessions do nothing but answer pings, over 15 s, the interval \
    of the heartbeat, the median of three; the clients are on the other core.";

pub fn per_message() -> Measured {
    let growth = |side| {
        let duel = Duel::fight([(side, MANY), (side, FEW)], lone_sample)?.ok_or("a floor is missing")?;
        Ok::<_, String>(duel.ours_ns() / duel.theirs_ns())
    };
    Ok(vec![Line {
        id: "P8",
        what: "a lone message, 15,000 : 100 sessions".to_owned(),
        floor: Some(growth(Side::Floor(Kind::CurrentThread))?),
        ours: growth(Side::Ours)?,
        target: Target::Figure(1.15),
        how: HOW,
        doubts: Vec::new(),
    }])
}

pub fn heartbeats() -> Measured {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let idle = runtime.block_on(heartbeats::measure(Place::FirstCore, MANY, 3, Duration::from_secs(15)))?;
    Ok(vec![Line {
        id: "P8",
        what: "heartbeats of 15,000, % of a core".to_owned(),
        floor: None,
        ours: 100.0 * idle.share,
        target: Target::Figure(1.0),
        how: IDLE,
        doubts: Vec::new(),
    }])
}
