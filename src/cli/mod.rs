//! The command line: the only place that reads arguments and the environment, prints, and exits.

mod act;
mod admin;
mod bench_registry;
mod demo;
mod descriptors;
mod environment;
mod load;
mod rows;
mod screen;
mod serve;
mod sessions;
mod settings;
mod stats;
mod table;
mod token;
mod units;

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    future::Future,
    io::{self, IsTerminal, Write},
    num::{IntErrorKind, ParseIntError},
    process::ExitCode,
};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::query_client::QueryError;

/// Who is connected right now, from where, on which pages, with how much traffic.
#[derive(Debug, Parser)]
#[command(name = "headcount", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(hide = true)]
    BenchRegistry(bench_registry::Arguments),
    Close(act::Close),
    Demo(demo::Arguments),
    Load(load::Arguments),
    Send(act::Send),
    Serve(Box<serve::Arguments>),
    Sessions(sessions::Arguments),
    Stats(stats::Arguments),
    Token(token::Arguments),
}

/// Why a command failed: what to say in one line, and the program's exit code (PROTOCOL 1).
#[derive(Debug)]
enum Failure {
    /// 0: whoever read our output has read enough.
    ReaderGone,
    /// 1: it was tried and did not work.
    Failed(String),
    /// 2: it cannot be meant so.
    Usage(String),
    /// 3: the server will not have us.
    NotAuthorised(String),
    /// 4: nobody answers, or nobody who can show that they are who was asked for.
    Unreachable(String),
}

type Outcome = Result<(), Failure>;

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotAuthorised(_) => 3,
            Self::Unreachable(_) => 4,
        }
    }

    fn message(&self) -> Option<&str> {
        match self {
            Self::ReaderGone => None,
            Self::Failed(message)
            | Self::Usage(message)
            | Self::NotAuthorised(message)
            | Self::Unreachable(message) => Some(message),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Address(_) => Self::Usage(message),
            QueryError::Unreachable { .. } | QueryError::Untrusted { .. } => Self::Unreachable(message),
            QueryError::NotAuthorised { .. } => Self::NotAuthorised(message),
            QueryError::Server { .. } | QueryError::Garbled(_) => Self::Failed(message),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Runs the program with these arguments, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed: Vec<_> = arguments.into_iter().collect();
    let parsed = grammar().try_get_matches_from(&typed);
    let arguments = match parsed.and_then(|found| Arguments::from_arg_matches(&found)) {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error, &typed),
    };
    let outcome = match arguments.command {
        Command::BenchRegistry(arguments) => bench_registry::run(&arguments),
        Command::Close(arguments) => act::close(&arguments),
        Command::Send(arguments) => act::send(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Load(arguments) => load::run(arguments),
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Sessions(arguments) => sessions::run(arguments),
        Command::Stats(arguments) => stats::run(&arguments),
        Command::Token(arguments) => token::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                tell(message);
            }
            ExitCode::from(failure.code())
        }
    }
}

/// The arguments with a help that can be read: what holds for every setting is said once.
fn grammar() -> clap::Command {
    const FOOTER: &str = "Each setting may also be given in the environment, as HEADCOUNT_LISTEN for \
        --listen, and in the file, as listen = \"127.0.0.1:8080\".\n\
        Times are written 250ms, 30s or 5m, sizes 65536, 64KiB or 16MiB.";
    Arguments::command().mut_subcommand("serve", |serve| {
        // With a number that is negative they are told that it must not be.
        let plain =
            |arg: clap::Arg| arg.hide_env(true).hide_possible_values(true).allow_negative_numbers(true);
        serve.after_help(FOOTER).mut_args(plain)
    })
}

/// The runtime of the commands that need one. Where there is one core, threads that take work from each other only cost.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let is_alone = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
    let mut builder = if is_alone {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

/// Completes with Ctrl-C or SIGTERM. Call it inside the runtime, before there is anything to end.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Does something unless a signal ends it first, which is no failure.
async fn until_interrupted(work: impl Future<Output = Outcome>) -> Outcome {
    let stop = interrupted()?;
    tokio::select! {
        outcome = work => outcome,
        () = stop => Ok(()),
    }
}

/// Words for a person, on stderr. Nobody may be there to read them; that is no failure.
fn tell(words: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "headcount: {words}");
}

/// Whether colours may be sent there (https://no-color.org).
fn is_colourful(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Help as clap shows it; an error as one line that names what is wrong.
fn explain(error: &clap::Error, typed: &[OsString]) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
    }
    let text = error.to_string();
    let said: Vec<_> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_start_matches("error: "))
        .collect();
    tell(format_args!("{} (see headcount --help)", in_words(error, &said.join("; "), typed)));
    ExitCode::from(2)
}

/// What clap says of a value, with the variable that holds it, if it was not typed, and without the standard library's
/// words on numbers, which speak of digits.
fn in_words(error: &clap::Error, said: &str, typed: &[OsString]) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let number = error.source().and_then(|source| source.downcast_ref::<ParseIntError>());
    let said = number.map_or_else(
        || said.to_owned(),
        |number| {
            let must_be = match number.kind() {
                IntErrorKind::PosOverflow => "it is too large",
                _ if text(ContextKind::InvalidValue).starts_with('-') => {
                    "it must be a whole number, 0 or more"
                }
                _ => "it must be a whole number",
            };
            said.replace(&number.to_string(), must_be)
        },
    );
    let argument = text(ContextKind::InvalidArg);
    let flag = argument.split([' ', '[', '=']).next().unwrap_or_default();
    match environment::variable_of(flag, typed) {
        Some(variable) => said.replace(&format!("'{argument}'"), &format!("{variable} ({flag})")),
        None => said,
    }
}
