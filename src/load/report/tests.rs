use serde_json::json;

use super::*;
use crate::load::{ledger::Difference, options::Options, problem::Problem, record::add, tests::options};

fn plan() -> Plan {
    Plan::new(options(), "0badcafe".to_owned())
}

/// A hundred sessions of which two were refused, a thousand messages, and a ledger with one difference.
pub(crate) fn report() -> Report {
    let progress = Progress::default();
    progress.connected.store(98, Relaxed);
    progress.failed.store(2, Relaxed);
    progress.messages.store(980, Relaxed);
    progress.bytes.store(133_280, Relaxed);
    progress.echoes.store(979, Relaxed);
    let mut record = Record::new();
    record.last_connected = Duration::from_millis(100);
    record.last_sent = Duration::from_millis(10_095);
    record.sending_ended = Duration::from_millis(10_100);
    record.unanswered = 1;
    for ms in 1..=100 {
        add(&mut record.handshake, Duration::from_micros(10 * ms));
        add(&mut record.echo, Duration::from_millis(ms));
        record.sent_late_by(Duration::from_micros(90));
    }
    for _ in 0..2 {
        record.note(Problem::new(Stage::Handshake, "http 503").saying("the server is full"));
    }
    let ledger = Ledger {
        sessions: 98,
        messages: 980,
        bytes: 133_280,
        off: 1,
        resumed: 0,
        ended: None,
        settled: None,
        differences_omitted: 0,
        differences: vec![Difference {
            page_id: "load-0badcafe-7".to_owned(),
            field: "totalBytesSent".to_owned(),
            expected: "1361".to_owned(),
            found: "1360".to_owned(),
        }],
    };
    let started_at = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
    Report::new(&plan(), started_at, false, &progress, &record, Some(Ok(ledger)))
}

#[test]
fn every_figure_has_its_unit_in_its_name() {
    let json = serde_json::to_value(report()).unwrap();
    assert_eq!(json["startedAt"], "2023-11-14T22:13:20.123Z");
    assert_eq!(
        json["sessions"],
        json!({"planned": 100, "connected": 98, "failed": 2, "endedByServer": 0, "elapsedMs": 100.0,
            "perSecond": 980.0})
    );
    assert_eq!(
        json["messages"],
        json!({"planned": 1000, "sent": 980, "bytes": 133_280, "elapsedMs": 10_000.0, "perSecond": 98.0,
            "bytesPerSecond": 13_328.0, "heldUp": 0, "unsent": 0})
    );
    assert_eq!(
        json["handshake"],
        json!({"count": 100, "p50Ms": 0.5, "p90Ms": 0.9, "p99Ms": 0.99, "p999Ms": 1.0, "maxMs": 1.0})
    );
    assert_eq!(
        json["errors"],
        json!([{"kind": "handshake: http 503", "count": 2, "said": "the server is full"}])
    );
    assert_eq!(
        json["ledger"],
        json!({"sessions": 98, "messages": 980, "bytes": 133_280, "off": 1, "resumed": 0, "ended": null,
            "settled": null, "differencesOmitted": 0,
            "differences": [{"pageId": "load-0badcafe-7", "field": "totalBytesSent", "expected": "1361",
                "found": "1360"}]})
    );
    assert_eq!(json["plan"]["scopes"], json!({"designer": 5, "browser": 70, "ios": 10, "android": 15}));
    assert_eq!(json["warnings"], json!([]));
}

#[test]
fn who_came_and_went_is_told_when_somebody_was_to() {
    let plan = Plan::new(Options { churn: 1.0, ..options() }, "0badcafe".to_owned());
    let mut record = Record::new();
    record.churn = record::Churn { left: 9, came: 8, refused: 1, dropped: 2, resumed: 2, not_resumed: 0 };
    add(&mut record.resume, Duration::from_millis(1));
    let report = Report::new(&plan, Utc::now(), false, &Progress::default(), &record, None);
    let json = serde_json::to_value(report).unwrap();
    let latency = json!({"count": 1, "p50Ms": 1.0, "p90Ms": 1.0, "p99Ms": 1.0, "p999Ms": 1.0, "maxMs": 1.0});
    assert_eq!(
        json["churn"],
        json!({"left": 9, "came": 8, "refused": 1, "dropped": 2, "resumed": 2, "notResumed": 0,
            "resume": latency})
    );
    assert_eq!(json["plan"]["leavingsPerSecond"], 1.0);
}

#[track_caller]
fn warns(change: impl FnOnce(&mut Record), expected: &str) {
    let mut record = Record::new();
    change(&mut record);
    let report = Report::new(&plan(), Utc::now(), false, &Progress::default(), &record, None);
    assert!(report.warnings.iter().any(|warning| warning.contains(expected)), "{:?}", report.warnings);
}

#[test]
fn a_harness_that_falls_behind_says_so_and_by_how_much() {
    let late = |record: &mut Record, ms, times| {
        (0..times).for_each(|_| record.sent_late_by(Duration::from_millis(ms)));
    };
    warns(
        |record| {
            late(record, 0, 980);
            late(record, 12, 20);
        },
        "fell behind: 1 % of its messages were sent 12.0 ms late or later (12.0 ms at most, 0 over 50 ms)",
    );
    warns(
        |record| {
            late(record, 0, 98);
            late(record, 60, 2);
        },
        "2 over 50 ms",
    );
    warns(
        |record| add(&mut record.connect_lag, Duration::from_millis(20)),
        "fell behind in connecting: 1 % of its sessions were begun 20.0 ms late",
    );
    warns(|record| record.unsent = 7, "did not get to 7 of 1000 messages");
    warns(|record| record.unasked = 3, "3 questions that were due by the end were not asked");
    warns(|record| record.note(Problem::new(Stage::Connect, NO_LOCAL_PORT)), "--source-addresses");
}

#[test]
fn nobody_reached_is_not_the_same_as_nobody_let_in() {
    let of = |stage| {
        let mut record = Record::new();
        record.note(Problem::timed_out(stage));
        Report::new(&plan(), Utc::now(), false, &Progress::default(), &record, None)
    };
    let (connect, handshake) = (of(Stage::Connect), of(Stage::Handshake));
    assert!(connect.is_unreachable && connect.is_failed());
    assert!(!handshake.is_unreachable && handshake.is_failed());
}

/// A run whose sessions were all closed with 1009 was once as good as any.
#[test]
fn a_server_that_ends_sessions_which_were_to_stay_is_found_wanting() {
    let of = |stages: &[Stage]| {
        let progress = Progress::default();
        progress.connected.store(9, Relaxed);
        let mut record = Record::new();
        for stage in stages {
            record.note(Problem::new(*stage, "closed 1009"));
        }
        Report::new(&plan(), Utc::now(), false, &progress, &record, None)
    };
    let report = of(&[Stage::Session, Stage::Session]);
    assert_eq!((report.sessions.ended_by_server, report.is_failed()), (2, true));
    let others = [Stage::Connect, Stage::Handshake, Stage::Barrier, Stage::Close, Stage::Query];
    assert_eq!((of(&others).sessions.ended_by_server, of(&others).is_failed()), (0, false));
}

#[test]
fn a_long_list_of_differences_is_cut_and_counted() {
    let difference = report().ledger.unwrap().differences[0].clone();
    let ledger = Ledger { off: 1500, differences: vec![difference; 1500], ..Ledger::default() };
    let report =
        Report::new(&plan(), Utc::now(), false, &Progress::default(), &Record::new(), Some(Ok(ledger)));
    let ledger = report.ledger.unwrap();
    assert_eq!((ledger.differences.len(), ledger.differences_omitted), (1000, 500));
}
