//! `headcount load`: what it can be told, and what it says.

mod bars;
mod text;
mod values;

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use clap::Args;
use tokio_util::sync::CancellationToken;

use self::values::{Churn, Header, Rate, Seconds, Share};
use super::{Failure, Outcome, admin::AdminPlane, descriptors};
use crate::load::{
    self, ByteRange, LoadError, Options, Plan, Progress, Report, ScopeShares, SourceAddresses, Target,
};

/// Put load on a WebSocket server: many sessions, messages on a fixed schedule, and a ledger of every byte
///
/// Latency counts from the moment something was due, so a stall shows in all that was due in it. With --verify
/// the harness compares its own count of every session with the server's, and exits 1 if one byte is off. It
/// exits 1 as well if the server ended sessions that were to stay.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The server. With no path it is a headcount server; with one it may be any, and is used as it is
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:8080")]
    url: Target,
    /// How many sessions connect
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sessions: u32,
    /// Sessions begun a second
    #[arg(long, value_name = "N", default_value = "1000")]
    connect_rate: Rate,
    /// Messages a second of each session; may be a fraction, or 0 for idle sessions
    #[arg(long, value_name = "N", default_value = "1")]
    rate: Rate,
    /// Payload bytes of a message: a number, or a range of which each is as likely
    #[arg(long, value_name = "N|MIN-MAX", default_value = "16-256")]
    bytes: ByteRange,
    /// Send binary messages, not text
    #[arg(long)]
    binary: bool,
    /// How long messages are sent, once all sessions should be connected
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: Seconds,
    /// How the sessions divide into scopes
    #[arg(long, value_name = "SHARES", default_value = "browser=70,ios=10,android=15,designer=5")]
    scopes: ScopeShares,
    /// How many different users the sessions have [default: a third of the sessions]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    users: Option<u32>,
    /// How many different projects the sessions have
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    projects: u32,
    /// Addresses to connect from in turn; each has some 28,000 ports
    #[arg(long, value_name = "FIRST-LAST")]
    source_addresses: Option<SourceAddresses>,
    /// A header of every handshake, such as "Authorization: Bearer …"; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<Header>,
    /// Ask the admin plane for all sessions so many times a second alongside
    #[arg(long, value_name = "N", default_value = "0")]
    query_rate: Rate,
    /// The admin plane, for --query-rate and --verify
    #[command(flatten)]
    admin: AdminPlane,
    /// At the end, compare the harness's count of every session with the server's; exit 1 if one is off
    #[arg(long)]
    verify: bool,
    /// Sessions that leave a second while messages are sent, each with a new one in its place: a number, or a
    /// share of --sessions such as 2%
    #[arg(long, value_name = "N|SHARE", default_value = "0")]
    churn: Churn,
    /// The share of those who leave that vanish without a close frame, such as 5% or 0.05. First they make sure
    /// that all they sent has been read: of what is under way nobody could say
    #[arg(long, value_name = "SHARE", default_value = "0")]
    drop: Share,
    /// Sessions that vanish, or single tabs of them, come back after 0.1 to 2 seconds, and must be the session
    /// they were
    #[arg(long)]
    resume: bool,
    /// A session has 1 to N connections, each with a page of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    tabs: u32,
    /// When all have left, wait up to so long until the server has no session of the run any more, and look for
    /// each in its history; exit 1 if one is left. Sessions that vanished end when its resume window does
    #[arg(long, value_name = "TIME", requires = "verify")]
    settle: Option<Seconds>,
    /// What the random choices grow from: the same seed makes the same schedule
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Descriptors for all that is not a session: the runtime, the terminal, the admin plane.
const OTHER_DESCRIPTORS: usize = 64;

pub(super) fn run(arguments: Arguments) -> Outcome {
    let json = arguments.json;
    let needed = arguments.descriptors();
    let options = arguments.check(descriptors::raise())?;
    descriptors::make_room(needed);
    let report = super::runtime()?.block_on(carry_out(options))?;
    let text = if json {
        format!("{}\n", serde_json::to_string(&report).expect("figures and text are JSON"))
    } else {
        text::of(&report)
    };
    let printed = io::stdout().write_all(text.as_bytes());
    // What was found out counts whether anybody reads it or not.
    judge(&report)?;
    Ok(printed?)
}

async fn carry_out(options: Options) -> Result<Report, Failure> {
    let plan = Plan::new(options, format!("{:08x}", rand::random::<u32>()));
    let progress = Arc::new(Progress::default());
    let interrupted = CancellationToken::new();
    let interrupt = super::interrupted()?;
    let token = interrupted.clone();
    tokio::spawn(async move {
        interrupt.await;
        token.cancel();
    });
    let bars = bars::Bars::of(&plan);
    let running = load::run(plan, progress.clone(), interrupted);
    Ok(bars::alongside(bars, &progress, running).await?)
}

/// The exit code (PROTOCOL 1). What is wrong has been printed; this is the last line of it.
fn judge(report: &Report) -> Outcome {
    let target = &report.plan.url;
    if report.is_unreachable {
        let why = report.errors.first().map_or("", |error| error.kind.as_str());
        return Err(Failure::Unreachable(format!("nobody could be reached at {target} ({why})")));
    }
    if report.ledger_error.is_some() {
        return Err(Failure::Failed("the ledger could not be made".to_owned()));
    }
    let ended = report.sessions.ended_by_server;
    match &report.ledger {
        Some(ledger) if ledger.off > 0 => Err(Failure::Failed(format!(
            "the ledger is off for {} of {} sessions",
            ledger.off, ledger.sessions
        ))),
        _ if ended > 0 => Err(Failure::Failed(format!(
            "{ended} of the sessions were ended by the server before the run was over"
        ))),
        _ if report.is_failed() => Err(Failure::Failed(format!("no session was let in at {target}"))),
        _ => Ok(()),
    }
}

impl Arguments {
    fn check(self, descriptors: usize) -> Result<Options, Failure> {
        if self.verify && !self.url.is_headcount {
            return Err(Failure::Usage(format!(
                "--verify needs a headcount server, written without a path: at {} the harness cannot say which \
                 session is which, and so not compare them",
                self.url.url
            )));
        }
        if self.connect_rate.0 <= 0.0 || self.duration.0.is_zero() {
            return Err(Failure::Usage("--connect-rate and --duration must be more than 0".to_owned()));
        }
        self.check_churn()?;
        let needed = self.descriptors();
        if needed > descriptors {
            return Err(Failure::Usage(format!(
                "--sessions {}{} needs {needed} open files and the system allows {descriptors}: raise it with \
                 ulimit -n, or run the rest from another process",
                self.sessions,
                if self.tabs > 1 { format!(" --tabs {}", self.tabs) } else { String::new() },
            )));
        }
        Ok(Options {
            target: self.url,
            sessions: self.sessions,
            connect_rate: self.connect_rate.0,
            rate: self.rate.0,
            bytes: self.bytes,
            binary: self.binary,
            duration: self.duration.0,
            scopes: self.scopes,
            users: self.users.unwrap_or(self.sessions.div_ceil(3)),
            projects: self.projects,
            source_addresses: self.source_addresses.map_or_else(Vec::new, |addresses| addresses.0),
            headers: self.headers.into_iter().map(|Header(name, value)| (name, value)).collect(),
            query_rate: self.query_rate.0,
            admin: self.admin.check()?,
            verify: self.verify,
            churn: self.churn.of(self.sessions),
            drop: self.drop.0,
            resume: self.resume,
            tabs: self.tabs,
            settle: self.settle.map(|settle| settle.0),
            seed: self.seed,
        })
    }
}

impl Arguments {
    /// What only makes sense together.
    fn check_churn(&self) -> Result<(), Failure> {
        let refuse = |why: &str| Err(Failure::Usage(why.to_owned()));
        if self.drop.0 > 0.0 && self.churn.of(self.sessions) <= 0.0 {
            return refuse("--drop is a share of those who leave: say with --churn how many do");
        }
        if self.resume && self.drop.0 <= 0.0 {
            return refuse("--resume is for sessions that vanish: say with --drop how many do");
        }
        if self.churn.of(self.sessions) > f64::from(self.sessions) {
            return refuse("--churn is more than --sessions: each would stay less than a second");
        }
        if (self.resume || self.tabs > 1) && !self.url.is_headcount {
            return refuse("--resume and --tabs need a headcount server, written without a path");
        }
        Ok(())
    }

    /// How many the run may need. A newcomer may come before the system has put the other's away.
    fn descriptors(&self) -> usize {
        let coming = self.churn.of(self.sessions).ceil() as usize;
        (self.sessions as usize + coming) * self.tabs as usize + OTHER_DESCRIPTORS
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let message = error.to_string();
        match error {
            LoadError::Address { .. } => Self::Unreachable(message),
            LoadError::Query(error) => error.into(),
            LoadError::Trust(_) | LoadError::System(_) => Self::Failed(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn check(line: &str, descriptors: usize) -> Result<Options, String> {
        let words = std::iter::once("load").chain(line.split_whitespace());
        let program = Program::try_parse_from(words).map_err(|error| error.to_string())?;
        program
            .arguments
            .check(descriptors)
            .map_err(|failure| failure.message().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn refused(line: &str, expected: &str) {
        let message = check(line, 20_000).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_first_run_needs_no_flag() {
        let options = check("", 1024).unwrap();
        assert_eq!(options.target.authority, "127.0.0.1:8080");
        assert_eq!((options.sessions, options.users, options.projects), (100, 34, 5));
        assert_eq!(options.duration, Duration::from_secs(10));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        refused(
            "ws://127.0.0.1:9/chat --verify",
            "--verify needs a headcount server, written without a path",
        );
        refused("--connect-rate 0", "must be more than 0");
        refused("--duration 0", "must be more than 0");
        refused("--rate -1", "unexpected argument");
        refused("--rate nan", "is no rate");
        refused("--sessions 0", "0 is not in 1..=1000000");
        refused("--sessions 19990", "needs 20054 open files and the system allows 20000");
        refused("--drop 5%", "say with --churn");
        refused("--churn 5 --resume", "say with --drop");
        refused("--churn 5 --drop 5", "write it like 5% or 0.05");
        refused("--churn 101", "each would stay less than a second");
        refused("ws://127.0.0.1:9/chat --tabs 2", "need a headcount server");
        refused("--settle 60s", "--verify");
        refused("--sessions 5000 --churn 10% --tabs 4", "--tabs 4 needs 22064 open files");
        refused("--header secret", "a header is written like");
    }

    #[test]
    fn churn_is_a_number_or_a_share_of_the_sessions() {
        let options = check("--sessions 500 --churn 2% --drop 0.05", 1024).unwrap();
        assert_eq!((options.churn, options.drop), (10.0, 0.05));
        assert_eq!(check("--churn 2.5", 1024).unwrap().churn, 2.5);
    }
}
