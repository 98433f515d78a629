//! A report as a person reads it: 80 columns, every figure with its unit.

use std::fmt::Write as _;

use crate::{
    cli::units::human_bytes,
    load::{Latency, Report},
};

/// More differences than these are counted only; `--json` has them.
const SHOWN_DIFFERENCES: usize = 20;

pub(super) fn of(report: &Report) -> String {
    let mut text = String::new();
    figures(&mut text, report);
    latencies(&mut text, report);
    remarks(&mut text, report);
    ledger(&mut text, report);
    text
}

/// Adds a line.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        writeln!($text, $($format)*).expect("a String takes everything")
    };
}

fn figures(text: &mut String, report: &Report) {
    let sessions = &report.sessions;
    let (connected, planned) = (sessions.connected, sessions.planned);
    let (time, rate) = (seconds(sessions.elapsed_ms), rate(sessions.per_second));
    line!(
        text,
        "sessions    {connected} of {planned} connected in {time} ({rate}/s), {} failed",
        sessions.failed
    );
    messages(text, report);
    if let Some(echo) = &report.echo {
        line!(text, "echoes      {} came back, {} did not", echo.came_back, echo.missing);
    }
    if report.other_messages > 0 {
        line!(text, "received    {} messages that were no echo", report.other_messages);
    }
    if let Some(query) = &report.query {
        let (answered, planned, rows) = (query.answered, query.planned, query.rows);
        line!(text, "queries     {answered} of {planned} answered, {rows} rows in the last");
    }
}

fn messages(text: &mut String, report: &Report) {
    let messages = &report.messages;
    let (sent, planned) = (messages.sent, messages.planned);
    let of = if sent == planned { String::new() } else { format!(" of {planned}") };
    line!(
        text,
        "messages    {sent}{of} sent in {} ({}/s), {} ({}/s)",
        seconds(messages.elapsed_ms),
        rate(messages.per_second),
        human_bytes(messages.bytes),
        human_bytes(messages.bytes_per_second as u64),
    );
    if messages.held_up > 0 {
        line!(text, "held up     {} messages: the server was not ready for them", messages.held_up);
    }
}

fn latencies(text: &mut String, report: &Report) {
    let rows = [
        ("handshake", Some(&report.handshake)),
        ("echo", report.echo.as_ref().map(|echo| &echo.round_trip)),
        ("query", report.query.as_ref().map(|query| &query.latency)),
        ("send lag", Some(&report.send_lag)),
    ];
    line!(text, "\n{:<10}{:>12}{:>12}{:>12}{:>12}{:>12}", "latency", "p50", "p90", "p99", "p99.9", "max");
    for (name, latency) in rows {
        let Some(latency) = latency.filter(|latency| latency.count > 0) else { continue };
        let Latency { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = *latency;
        let [p50, p90, p99, p999, max] = [p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(milliseconds);
        line!(text, "{name:<10}{p50:>12}{p90:>12}{p99:>12}{p999:>12}{max:>12}");
    }
}

fn remarks(text: &mut String, report: &Report) {
    if report.interrupted {
        line!(text, "\ninterrupted: these figures are of the part that was run");
    }
    if !report.errors.is_empty() {
        line!(text, "\nerrors");
    }
    for error in &report.errors {
        let said = error.said.as_ref().map_or_else(String::new, |said| format!(" ({said})"));
        line!(text, "{:>10}  {}{said}", error.count, error.kind);
    }
    for warning in &report.warnings {
        line!(text, "\nwarning: {warning}");
    }
}

fn ledger(text: &mut String, report: &Report) {
    let Some(ledger) = &report.ledger else { return };
    let (sessions, messages, bytes, off) = (ledger.sessions, ledger.messages, ledger.bytes, ledger.off);
    line!(text, "\nledger: {sessions} sessions, {messages} messages, {bytes} bytes, {off} off");
    for difference in ledger.differences.iter().take(SHOWN_DIFFERENCES) {
        let (page, field) = (&difference.page_id, difference.field);
        line!(text, "  {page}  {field}: expected {}, found {}", difference.expected, difference.found);
    }
    let more = ledger.differences.len().saturating_sub(SHOWN_DIFFERENCES);
    if more > 0 {
        line!(text, "  and {more} more (--json lists them)");
    }
}

/// Three digits or so.
fn milliseconds(ms: f64) -> String {
    match ms {
        ..9.995 => format!("{ms:.2} ms"),
        ..99.95 => format!("{ms:.1} ms"),
        ..9_999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

fn seconds(ms: f64) -> String {
    format!("{:.1} s", ms / 1000.0)
}

fn rate(per_second: f64) -> String {
    let digits = usize::from(per_second < 99.95);
    format!("{per_second:.digits$}")
}
