//! What an administrator does to sessions from the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::{Value, value::RawValue};

use super::{Failure, Outcome, admin::AdminPlane, tell};
use crate::{query_client::QueryError, session::text::shown};

const NOTHING_ENDED: &str = "nothing was ended";

/// End sessions by their ids, or all of a user or a project
#[derive(Debug, Args)]
pub(super) struct Close {
    /// The ids, as `headcount sessions` shows them
    #[arg(value_name = "ID", conflicts_with_all = ["user", "project", "all"])]
    ids: Vec<String>,
    /// All of these users; * is any run of characters, ? any one
    #[arg(long, value_name = "PATTERN")]
    user: Option<String>,
    /// All in these projects, likewise
    #[arg(long, value_name = "PATTERN")]
    project: Option<String>,
    /// Every session there is
    #[arg(long, conflicts_with_all = ["user", "project"])]
    all: bool,
    /// Say how many there are, and end none
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    /// Words for the clients, in the reason of the close frame
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    admin: AdminPlane,
}

/// Send a message to a session whose client speaks headcount.v1
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The session
    #[arg(value_name = "ID")]
    id: String,
    /// What kind of message it is, for the client to know
    #[arg(value_name = "TYPE")]
    message_type: String,
    /// The message, in JSON
    #[arg(value_name = "JSON", value_parser = json)]
    payload: Box<RawValue>,
    /// Only to this page
    #[arg(long, value_name = "PAGE")]
    page: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    admin: AdminPlane,
}

/// Whoever is at a terminal is asked before clients notice something; a script has said what it wants.
#[derive(Debug, Args)]
struct Consent {
    /// Do not ask; without a terminal nobody is asked
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Called before anything listens for signals, so that Ctrl-C is an answer as well: it ends the program.
    ///
    /// # Errors
    ///
    /// What was not done, if the answer is no.
    fn ask(&self, question: &str, not_done: &str) -> Outcome {
        if self.yes || !io::stdin().is_terminal() {
            return Ok(());
        }
        write!(io::stderr(), "{question} [y/N] ")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::Failed(not_done.to_owned())),
        }
    }
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

/// Ends each session; those that are not live are named, and are a failure.
pub(super) fn close(arguments: &Close) -> Outcome {
    let Close { ids, user, project, all, message, consent, admin, .. } = arguments;
    if user.is_some() || project.is_some() || *all {
        return close_matching(arguments);
    }
    if ids.is_empty() {
        let message = "nothing says which sessions to end: give an ID, or --user, --project or --all";
        return Err(Failure::Usage(message.to_owned()));
    }
    consent.ask(&format!("End {}?", sessions(ids.len() as u64)), NOTHING_ENDED)?;
    super::runtime()?.block_on(super::until_interrupted(async {
        let mut client = admin.connect().await?;
        let mut missing = 0;
        for id in ids {
            match client.close_session(id, message.as_deref()).await {
                Ok(()) => {}
                Err(QueryError::Server { message, .. }) => {
                    tell(message);
                    missing += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        writeln!(io::stdout(), "{} ended", sessions((ids.len() - missing) as u64))?;
        if missing > 0 { Err(Failure::Failed(format!("{missing} could not be ended"))) } else { Ok(()) }
    }))
}

/// Ends those that fit, once it is known and confirmed how many they are.
fn close_matching(arguments: &Close) -> Outcome {
    let Close { user, project, all, dry_run, message, consent, admin, .. } = arguments;
    let patterns = [("username[glob]", user), ("project[glob]", project)];
    let given =
        patterns.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into())));
    let filter = Value::Object(given.collect());
    let runtime = super::runtime()?;
    // Without `until_interrupted`: once the program listens for signals, none ends it while it waits for an answer.
    let count = runtime.block_on(async {
        let mut client = admin.connect().await?;
        Ok::<_, Failure>(client.close_matching(&filter, *all, None, true).await?)
    })?;
    if *dry_run {
        return Ok(writeln!(io::stdout(), "{} would be ended", sessions(count))?);
    }
    consent.ask(&format!("End {}?", sessions(count)), NOTHING_ENDED)?;
    runtime.block_on(super::until_interrupted(async {
        // Another connection: the answer may have taken longer than the first one lives.
        let mut client = admin.connect().await?;
        let ended = client.close_matching(&filter, *all, message.as_deref(), false).await?;
        Ok(writeln!(io::stdout(), "{} ended", sessions(ended))?)
    }))
}

/// Sends; a message that no client could take is a failure.
pub(super) fn send(arguments: &Send) -> Outcome {
    let Send { id, message_type, payload, page, consent, admin } = arguments;
    consent.ask(&format!("Send {} to session {}?", shown(message_type), shown(id)), "nothing was sent")?;
    super::runtime()?.block_on(super::until_interrupted(async {
        let mut client = admin.connect().await?;
        if client.send_message(id, page.as_deref(), message_type, payload).await? {
            return Ok(writeln!(io::stdout(), "delivered")?);
        }
        let message = "undeliverable: no client of the session speaks headcount.v1, or it takes no more";
        Err(Failure::Failed(message.to_owned()))
    }))
}

fn sessions(count: u64) -> String {
    format!("{count} {}", if count == 1 { "session" } else { "sessions" })
}
