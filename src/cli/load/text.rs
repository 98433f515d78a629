//! A report as a person reads it: 80 columns, every figure with its unit.

use std::fmt::Write as _;

use crate::{
    cli::units::human_bytes,
    load::{Churn, Ended, Latency, Ledger, Report, Spread},
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
    if sessions.ended_by_server > 0 {
        line!(text, "ended       {} by the server, before the run was over", sessions.ended_by_server);
    }
    if let Some(churn) = &report.churn {
        self::churn(text, churn);
    }
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

fn churn(text: &mut String, churn: &Churn) {
    let Churn { left, came, refused, dropped, resumed, not_resumed, .. } = churn;
    let refused = if *refused > 0 { format!(", {refused} were refused") } else { String::new() };
    line!(text, "churn       {left} left, {dropped} dropped, {came} came{refused}");
    if resumed + not_resumed > 0 {
        line!(text, "resumed     {resumed} of {} connections that came back", resumed + not_resumed);
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
        ("resume", report.churn.as_ref().map(|churn| &churn.resume)),
        ("echo", report.echo.as_ref().map(|echo| &echo.round_trip)),
        ("query", report.query.as_ref().map(|query| &query.latency)),
        ("send lag", Some(&report.send_lag)),
    ];
    if rows.iter().all(|(_, latency)| latency.is_none_or(|latency| latency.count == 0)) {
        return;
    }
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
        line!(text, "\n{}", wrapped(&format!("warning: {warning}")));
    }
}

fn ledger(text: &mut String, report: &Report) {
    if let Some(error) = &report.ledger_error {
        line!(text, "\n{}", wrapped(&format!("ledger: not made: {error}")));
    }
    let Some(ledger) = &report.ledger else { return };
    let (sessions, messages, bytes, off) = (ledger.sessions, ledger.messages, ledger.bytes, ledger.off);
    line!(text, "\nledger: {sessions} sessions, {messages} messages, {bytes} bytes, {off} off");
    endings(text, ledger);
    for difference in ledger.differences.iter().take(SHOWN_DIFFERENCES) {
        let (page, field) = (&difference.page_id, &difference.field);
        line!(text, "  {page}  {field}: expected {}, found {}", difference.expected, difference.found);
    }
    let more = ledger.differences.len().saturating_sub(SHOWN_DIFFERENCES) + ledger.differences_omitted;
    if more > 0 {
        line!(text, "  and {more} more (--json lists them)");
    }
}

/// What the ledger says of sessions that are no more.
fn endings(text: &mut String, ledger: &Ledger) {
    if let Some(Ended { closed, lost, lost_after, still_listed, not_checked }) = ledger.ended {
        let mut found = format!("{closed} closed");
        if lost > 0 {
            found += &format!(", {lost} lost");
        }
        if let Some(Spread { min_ms, max_ms }) = lost_after {
            found += &format!(" after {} to {}", seconds(min_ms), seconds(max_ms));
        }
        if still_listed > 0 {
            found += &format!(", {still_listed} still listed");
        }
        line!(text, "  ended     {found}");
        if not_checked > 0 {
            line!(
                text,
                "  unchecked {not_checked}: they have left the server's history, which keeps the latest"
            );
        }
    }
    if let Some(settled) = ledger.settled {
        let (left, took) = (settled.left, seconds(settled.took_ms));
        let left = if left == 0 { "no".to_owned() } else { left.to_string() };
        line!(text, "  settled   {left} sessions left on the server {took} after the end");
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
    let digits = if ms < 995.0 { 2 } else { 1 };
    format!("{:.digits$} s", ms / 1000.0)
}

/// Broken between words, where a line would be longer than 80 characters; further lines are indented.
fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 80 {
            wrapped.push_str("\n        ");
            column = 8;
        }
        if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped
}

fn rate(per_second: f64) -> String {
    let digits = usize::from(per_second < 99.95);
    format!("{per_second:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{
        fixed_report,
        ledger::Settled,
        record::{Churn as ChurnCounts, Record},
    };

    #[test]
    fn a_report_is_readable_in_eighty_columns() {
        let mut report = fixed_report();
        report.warnings.push(
            "the harness fell behind: 1 % of its messages were sent 12.0 ms late or later; this is in the \
             round trips. Give it more processors"
                .to_owned(),
        );
        let expected = "\
sessions    98 of 100 connected in 0.10 s (980/s), 2 failed
messages    980 of 1000 sent in 10.0 s (98.0/s), 130 KiB (13 KiB/s)
echoes      979 came back, 1 did not

latency            p50         p90         p99       p99.9         max
handshake      0.50 ms     0.90 ms     0.99 ms     1.00 ms     1.00 ms
echo           50.0 ms     90.0 ms     99.0 ms      100 ms      100 ms
send lag       0.09 ms     0.09 ms     0.09 ms     0.09 ms     0.09 ms

errors
         2  handshake: http 503 (the server is full)

warning: the harness fell behind: 1 % of its messages were sent 12.0 ms late or
         later; this is in the round trips. Give it more processors

ledger: 98 sessions, 980 messages, 133280 bytes, 1 off
  load-0badcafe-7  totalBytesSent: expected 1361, found 1360
";
        let text = of(&report);
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn what_came_and_went_is_told_with_what_the_history_says_of_it() {
        let mut report = fixed_report();
        let record = Record { churn: counts(), ..Record::new() };
        report.churn = Some((&record).into());
        let ledger = report.ledger.as_mut().unwrap();
        let lost_after = Some(Spread { min_ms: 30_010.0, max_ms: 30_260.0 });
        ledger.ended = Some(Ended { closed: 400, lost: 20, lost_after, still_listed: 5, not_checked: 3 });
        ledger.settled = Some(Settled { left: 0, took_ms: 31_250.0 });
        let text = of(&report);
        for expected in [
            "churn       428 left, 25 dropped, 425 came, 3 were refused\nresumed     7 of 8 connections that came back\n",
            "1 off\n  ended     400 closed, 20 lost after 30.0 s to 30.3 s, 5 still listed\n",
            "  unchecked 3: they have left the server's history, which keeps the latest\n",
            "  settled   no sessions left on the server 31.2 s after the end\n  load-0badcafe-7  total",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn sessions_that_the_server_ended_are_told_with_the_others() {
        let mut report = fixed_report();
        report.sessions.ended_by_server = 5;
        let text = of(&report);
        assert!(text.contains(" 2 failed\nended       5 by the server, before the run was over\n"), "{text}");
    }

    fn counts() -> ChurnCounts {
        ChurnCounts { left: 428, came: 425, refused: 3, dropped: 25, resumed: 7, not_resumed: 1 }
    }

    #[test]
    fn times_keep_three_digits() {
        for (ms, expected) in [
            (0.0, "0.00 ms"),
            (9.994, "9.99 ms"),
            (9.996, "10.0 ms"),
            (99.96, "100 ms"),
            (9999.0, "9999 ms"),
            (10_000.0, "10.0 s"),
        ] {
            assert_eq!(milliseconds(ms), expected);
        }
    }
}
