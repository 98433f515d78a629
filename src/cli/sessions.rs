use std::{
    env,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use clap::{Args, ValueEnum};
use crossterm::terminal;
use serde_json::{Map, Value};
use tokio::time::{self, Instant};

use super::{Failure, Outcome, admin::AdminPlane, is_colourful, rows, screen::Screen, table, units::Span};
use crate::{
    query_client::{QueryClient, Watched},
    session::SessionInfo,
};

/// Show who is connected
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this user's sessions: the whole name, with * for any run and ? for any one character
    #[arg(long, value_name = "FILTER")]
    user: Option<String>,
    /// Only this project's sessions, by the same rules
    #[arg(long, value_name = "FILTER")]
    project: Option<String>,
    /// How to write them
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Show them again after every so long, such as 2s, until Ctrl-C
    #[arg(long, value_name = "TIME")]
    watch: Option<Span>,
    #[command(flatten)]
    admin: AdminPlane,
}

/// What the rows are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people: fits the terminal
    Table,
    /// One array
    Json,
    /// One object a line
    Ndjson,
    /// For spreadsheets
    Csv,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let Arguments { user, project, output, watch, admin } = arguments;
    let every = watch.map(|span| span.0);
    if every.is_some_and(|every| every < Duration::from_millis(100)) {
        return Err(Failure::Usage("watch must be at least 100ms".to_owned()));
    }
    let question = Question { user, project };
    super::runtime()?.block_on(super::until_interrupted(show(&admin, &question, output, every)))
}

async fn show(admin: &AdminPlane, question: &Question, output: Output, every: Option<Duration>) -> Outcome {
    let mut client = admin.connect().await?;
    match every {
        Some(every) => watch_sessions(&mut client, question, output, every).await,
        None => {
            let rows = question.ask(&mut client).await?;
            write(&rows, output, true, &mut io::stdout().lock())
        }
    }
}

/// Whose sessions are asked for.
#[derive(Debug, Default)]
pub(super) struct Question {
    user: Option<String>,
    project: Option<String>,
}

impl Question {
    /// The rows, in the order a person looks for.
    async fn ask(&self, client: &mut QueryClient) -> Result<Vec<SessionInfo>, Failure> {
        let mut rows = client.session_info(self.user.as_deref(), self.project.as_deref()).await?;
        rows.sort_by(table::by_user);
        Ok(rows)
    }

    /// The same as a filter.
    fn filter(&self) -> Value {
        let asked = [("username[glob]", &self.user), ("project[glob]", &self.project)];
        let given = asked.into_iter().filter_map(|(name, filter)| Some((name, filter.as_deref()?)));
        let conditions: Map<_, _> = given
            .filter(|(_, filter)| !filter.is_empty())
            .map(|(name, filter)| (name.to_owned(), filter.into()))
            .collect();
        conditions.into()
    }
}

/// Rows that are shown again and again. What changes is told by the server; nothing else is asked for, but now and then
/// who was heard last.
struct Live<'a> {
    client: &'a mut QueryClient,
    question: &'a Question,
    watched: Watched,
    ticks: time::Interval,
    asked: Instant,
}

impl<'a> Live<'a> {
    /// A heartbeat is no change, so nobody tells of it. This is as often as there is one.
    const ASK_AGAIN: Duration = Duration::from_secs(15);

    /// What is shown is not much older than the picture, and is not told much more often than shown.
    const TOLD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

    async fn begin(
        client: &'a mut QueryClient,
        question: &'a Question,
        every: Duration,
    ) -> Result<Self, Failure> {
        let (least, most) = Self::TOLD;
        let watched = client.watch(&question.filter(), (every / 2).clamp(least, most)).await?;
        let mut ticks = time::interval(every);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        Ok(Self { client, question, watched, ticks, asked: Instant::now() })
    }

    /// The rows when it is time to show them, in the order a person looks for.
    async fn rows(&mut self) -> Result<Vec<SessionInfo>, Failure> {
        loop {
            tokio::select! {
                _ = self.ticks.tick() => break,
                followed = self.client.follow(&mut self.watched) => followed?,
            }
        }
        if self.asked.elapsed() >= Self::ASK_AGAIN {
            self.watched.refresh(&self.question.ask(self.client).await?);
            self.asked = Instant::now();
        }
        let mut rows = self.watched.rows();
        rows.sort_by(table::by_user);
        Ok(rows)
    }
}

async fn watch_sessions(
    client: &mut QueryClient,
    question: &Question,
    output: Output,
    every: Duration,
) -> Outcome {
    if output == Output::Table {
        return watch_table(client, question, every, "headcount sessions").await;
    }
    let mut live = Live::begin(client, question, every).await?;
    for n in 0_u64.. {
        write(&live.rows().await?, output, n == 0, &mut io::stdout().lock())?;
    }
    Ok(())
}

/// Shows the table again and again: in place on a terminal, one after the other elsewhere.
pub(super) async fn watch_table(
    client: &mut QueryClient,
    question: &Question,
    every: Duration,
    headline: &str,
) -> Outcome {
    let mut screen = if io::stdout().is_terminal() { Some(Screen::take()?) } else { None };
    let mut live = Live::begin(client, question, every).await?;
    loop {
        let rows = live.rows().await?;
        match &mut screen {
            Some(screen) => {
                let headline = format!("{headline}  ·  every {}  ·  Ctrl-C ends", Span(every));
                screen.draw(&headline, &rows)?;
            }
            None => {
                let mut out = io::stdout().lock();
                write(&rows, Output::Table, true, &mut out)?;
                writeln!(out)?;
            }
        }
    }
}

fn write(rows: &[SessionInfo], output: Output, first: bool, out: &mut impl Write) -> Outcome {
    match output {
        Output::Table => write_table(rows, out)?,
        Output::Json => rows::json(rows, out)?,
        Output::Ndjson => rows::ndjson(rows, out)?,
        Output::Csv => rows::csv(rows, first, out)?,
    }
    Ok(out.flush()?)
}

fn write_table(rows: &[SessionInfo], out: &mut impl Write) -> io::Result<()> {
    let stdout = io::stdout();
    let width = if stdout.is_terminal() {
        terminal::size().ok().map(|(width, _)| width)
    } else {
        // Exported by somebody who wants a table of that width in a pipe or a file.
        env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok())
    };
    let width = width.filter(|width| *width > 0);
    let bold = |line: &str| {
        if is_colourful(&stdout) { format!("\x1b[1m{line}\x1b[0m") } else { line.to_owned() }
    };
    let lines = table::lines(rows, width);
    if let Some((header, rest)) = lines.split_first() {
        writeln!(out, "{}", bold(header))?;
        rest.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    writeln!(out, "\n{}", bold(&table::totals(rows)))
}
