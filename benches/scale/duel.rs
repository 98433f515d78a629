//! Two servers side by side: both hold their connections, and they are measured in turns, so that whatever the machine
//! does meanwhile it does to both.

use std::io;

use crate::{
    PASSES,
    floor::{Floor, Kind},
    rig::{held::Held, process::Place, server::Server, stats::median, subject::Subject, work::Work},
};

/// Names a program that takes WebSockets and counts their bytes, to stand beside: see [`Floor::start_named_by`].
const UWS: &str = "HEADCOUNT_BENCH_UWS";

/// How often each of two servers has its turn, beside a first time that counts for nothing.
const ROUNDS: usize = 6;

/// Processor time of a server for one thing of many.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub ns: f64,
    /// How busy the server was meanwhile, and how busy the generator, where that was left to the two.
    pub busy: Option<(f64, f64)>,
}

impl Sample {
    pub fn of(work: Work, things: f64) -> Self {
        Self { ns: work.server_ns / things, busy: Some((work.server_busy, work.generator_busy)) }
    }
}

/// What stands beside ours, or against itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The real program. Its heartbeats, which have a line of their own, are ten minutes apart.
    Ours,
    /// A floor.
    Floor(Kind),
    /// uWebSockets, if there is one.
    Uws,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Floor(Kind::MultiThread) => "raw tokio with worker threads",
            Self::Floor(Kind::CurrentThread) => "raw tokio",
            Self::Floor(Kind::Pings) => "raw tokio that pings",
            Self::Floor(Kind::Accept) => "accept alone",
            Self::Uws => "uWebSockets",
        }
    }

    fn start(self) -> io::Result<Option<Box<dyn Subject>>> {
        Ok(match self {
            Self::Ours => Some(Box::new(Server::start_with(Place::FirstCore, &["--heartbeat", "10m"])?)),
            Self::Floor(kind) => Some(Box::new(Floor::start(kind)?)),
            Self::Uws => Floor::start_named_by(UWS)?.map(|uws| Box::new(uws) as _),
        })
    }
}

/// What two servers took for the same, each time.
#[derive(Debug, Default)]
pub struct Duel {
    ours: Vec<Sample>,
    theirs: Vec<Sample>,
}

impl Duel {
    /// Lets both sides hold so many connections each, and takes a sample of each in turns; all of it anew, with new
    /// servers, as often as every figure is taken. `None` if one of the two is not there.
    pub fn fight(
        sides: [(Side, usize); 2],
        sample: impl Fn(&dyn Subject, &mut Held) -> Result<Sample, String>,
    ) -> Result<Option<Self>, String> {
        let text = |error: io::Error| error.to_string();
        let mut duel = Self::default();
        for _ in 0..PASSES {
            let [Some(ours), Some(theirs)] =
                [sides[0].0.start().map_err(text)?, sides[1].0.start().map_err(text)?]
            else {
                return Ok(None);
            };
            let subjects = [&*ours, &*theirs];
            let mut held = [
                Held::open(subjects[0], 0..sides[0].1).map_err(text)?,
                Held::open(subjects[1], 0..sides[1].1).map_err(text)?,
            ];
            for round in 0..=ROUNDS {
                // Who is second finds the caches otherwise than who is first, so they are that in turns.
                for at in [round % 2, (round + 1) % 2] {
                    subjects[at].process().settle();
                    let sample = sample(subjects[at], &mut held[at])?;
                    if round > 0 {
                        [&mut duel.ours, &mut duel.theirs][at].push(sample);
                    }
                }
            }
            for (held, subject) in held.iter().zip(subjects) {
                held.check(subject)?;
            }
        }
        Ok(Some(duel))
    }

    pub fn ours_ns(&self) -> f64 {
        middle(&self.ours)
    }

    pub fn theirs_ns(&self) -> f64 {
        middle(&self.theirs)
    }

    /// Says so where one of the two had to wait for the generator: it then sleeps and is woken, which is in its figure.
    pub fn doubts(&self, their_name: &str) -> Vec<String> {
        [waited("the server", &self.ours), waited(their_name, &self.theirs)].into_iter().flatten().collect()
    }
}

fn middle(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.ns).collect())
}

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
