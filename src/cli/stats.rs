//! How much of everything there is, on a terminal.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use serde_json::Value;
use tokio::time;

use super::{
    Outcome,
    admin::AdminPlane,
    rows::harmless,
    units::{human_bytes, human_ms},
};
use crate::session::text::clean;

/// So many names are shown of the projects and users with the most sessions.
const MOST_NAMES: usize = 5;

/// The server tells how fast it goes since it was asked before, if that is a second ago or more.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1_100);

/// Show how much of everything there is
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Write what getStats answers, in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminPlane,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    super::runtime()?.block_on(super::until_interrupted(show(arguments)))
}

async fn show(arguments: &Arguments) -> Outcome {
    let mut client = arguments.admin.connect().await?;
    let mut stats = client.stats().await?;
    if !arguments.json && stats["rates"].is_null() && stats["project"].is_null() {
        time::sleep(BETWEEN_LOOKS).await;
        stats = client.stats().await?;
    }
    let mut out = io::stdout().lock();
    if arguments.json {
        let text = serde_json::to_string_pretty(&stats).map_err(io::Error::from)?;
        writeln!(out, "{}", harmless(&text))?;
    } else {
        for (title, words) in lines(&stats) {
            writeln!(out, "{title:<13}{words}")?;
        }
    }
    Ok(out.flush()?)
}

/// What is shown to a person. What the server did not tell is left out.
fn lines(stats: &Value) -> Vec<(&'static str, String)> {
    let (sessions, connections, traffic) = (&stats["sessions"], &stats["connections"], &stats["traffic"]);
    let mut lines = Vec::new();
    if let Some(project) = stats["project"].as_str() {
        lines.push(("project", clean(project).into_owned()));
    }
    let of = |keys: &[&str]| {
        let part = |key: &&str| format!("{} {key}", number(&sessions[*key]));
        keys.iter().map(part).collect::<Vec<_>>().join(", ")
    };
    lines.push(("sessions", of(&["live", "connected", "lingering", "authorized"])));
    if !sessions["begun"].is_null() {
        let peak = number(&sessions["peak"]);
        lines.push(("since start", format!("{}, {peak} at a time at most", of(&["begun", "ended"]))));
    }
    lines.push(("scopes", named(&stats["byScope"], "scope", "live", 0)));
    for (title, key, name) in [("projects", "byProject", "project"), ("users", "byUser", "username")] {
        let others = number(&stats[key]["others"]["distinct"]);
        lines.push((title, named(&stats[key]["items"], name, "sessions", others)));
    }
    let way = |messages: &str, bytes: &str| {
        format!("{} of {}", number(&traffic[messages]), human_bytes(number(&traffic[bytes])))
    };
    let (sent, received) = (way("messagesSent", "totalBytesSent"), way("messagesReceived", "bytesReceived"));
    lines.push(("messages", format!("{sent} from clients, {received} to them")));
    if let (Some(messages), Some(bytes)) =
        (stats["rates"]["messagesSent"].as_f64(), stats["rates"]["bytesSent"].as_f64())
    {
        lines.push((
            "now",
            format!("{messages} a second, {} a second from clients", human_bytes(bytes as u64)),
        ));
    }
    if !connections.is_null() {
        let part = |key: &&str| format!("{} {key}", number(&connections[*key]));
        let parts: Vec<_> = ["open", "upgraded", "refused", "dropped"].iter().map(part).collect();
        lines.push(("connections", parts.join(", ")));
    }
    if let Some(bytes) = stats["residentBytes"].as_u64() {
        lines.push(("memory", human_bytes(bytes)));
    }
    lines.push(("up", human_ms(number(&stats["uptime"]))));
    lines
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// The first of a list with their numbers, and how many others there are; a dash if there are none.
fn named(items: &Value, name: &str, count: &str, others: u64) -> String {
    let items: Vec<_> =
        items.as_array().into_iter().flatten().filter(|item| number(&item[count]) > 0).collect();
    let shown = items
        .iter()
        .take(MOST_NAMES)
        .map(|item| format!("{} {}", clean(item[name].as_str().unwrap_or_default()), number(&item[count])));
    let mut parts: Vec<_> = shown.collect();
    let others = others + items.len().saturating_sub(MOST_NAMES) as u64;
    if others > 0 {
        parts.push(format!("and {others} more"));
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_there_is_shown_and_acts_on_no_terminal() {
        let users: Vec<_> =
            (0..7).map(|n| json!({"username": format!("u\u{1b}[2J{n}"), "sessions": 9 - n})).collect();
        let stats = json!({
            "uptime": 187_000, "project": null, "residentBytes": 23 << 20,
            "sessions": {"live": 3, "connected": 2, "lingering": 1, "authorized": 0, "begun": 4, "ended": 1, "peak": 3},
            "byScope": [{"scope": "designer", "live": 0}, {"scope": "ios", "live": 3}],
            "byProject": {"items": [], "others": {"distinct": 0}},
            "byUser": {"items": users, "others": {"distinct": 10}},
            "traffic": {"messagesSent": 7, "totalBytesSent": 2048, "messagesReceived": 1, "bytesReceived": 5},
            "rates": {"messagesSent": 1.5, "bytesSent": 2048.0},
            "connections": {"open": 2, "upgraded": 4, "refused": 5, "dropped": 6},
        });
        let shown: Vec<_> =
            lines(&stats).into_iter().map(|(title, words)| format!("{title}: {words}")).collect();
        let expected = [
            "sessions: 3 live, 2 connected, 1 lingering, 0 authorized",
            "since start: 4 begun, 1 ended, 3 at a time at most",
            "scopes: ios 3",
            "projects: -",
            "users: u[2J0 9, u[2J1 8, u[2J2 7, u[2J3 6, u[2J4 5, and 12 more",
            "messages: 7 of 2.0 KiB from clients, 1 of 5 B to them",
            "now: 1.5 a second, 2.0 KiB a second from clients",
            "connections: 2 open, 4 upgraded, 5 refused, 6 dropped",
            "memory: 23 MiB",
            "up: 3m07s",
        ];
        assert_eq!(shown, expected);
        let of_project = json!({"project": "p", "sessions": {}, "connections": null, "rates": null});
        let titles: Vec<_> = lines(&of_project).into_iter().map(|(title, _)| title).collect();
        assert_eq!(titles, ["project", "sessions", "scopes", "projects", "users", "messages", "up"]);
    }
}
