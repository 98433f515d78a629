//! What an administrator does to sessions from the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::Value;

use super::{Failure, Outcome, admin::AdminPlane, tell};
use crate::query_client::QueryError;

/// End sessions by their ids
#[derive(Debug, Args)]
pub(super) struct Close {
    /// The ids, as `headcount sessions` shows them
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Words for the clients, in the reason of the close frame
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
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
    payload: Value,
    /// Only to this page
    #[arg(long, value_name = "PAGE")]
    page: Option<String>,
    #[command(flatten)]
    admin: AdminPlane,
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

/// Ends each session; those that are not live are named, and are a failure.
pub(super) fn close(arguments: &Close) -> Outcome {
    let Close { ids, message, yes, admin } = arguments;
    let noun = if ids.len() == 1 { "session" } else { "sessions" };
    if !yes && io::stdin().is_terminal() && !confirmed(&format!("End {} {noun}?", ids.len()))? {
        return Err(Failure::Failed("nothing was ended".to_owned()));
    }
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
        let ended = ids.len() - missing;
        writeln!(io::stdout(), "{ended} {} ended", if ended == 1 { "session" } else { "sessions" })?;
        if missing > 0 { Err(Failure::Failed(format!("{missing} could not be ended"))) } else { Ok(()) }
    }))
}

/// Sends; a message that no client could take is a failure.
pub(super) fn send(arguments: &Send) -> Outcome {
    let Send { id, message_type, payload, page, admin } = arguments;
    super::runtime()?.block_on(super::until_interrupted(async {
        let mut client = admin.connect().await?;
        if client.send_message(id, page.as_deref(), message_type, payload).await? {
            return Ok(writeln!(io::stdout(), "delivered")?);
        }
        let message = "undeliverable: no client of the session speaks headcount.v1, or it takes no more";
        Err(Failure::Failed(message.to_owned()))
    }))
}

fn confirmed(question: &str) -> io::Result<bool> {
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
