//! The audit log: what administrators did, and tried to (PROTOCOL 3.1, "Actions"), as JSON lines in a file.
//!
//! One thread writes. Whoever acts hands it a line and goes on: a disk that is slow, or full, holds up nobody.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::caller::Caller;
use crate::edge::clock::Clock;

/// How many lines may wait for the disk; further ones are lost, and counted.
const MAX_WAITING: usize = 1024;

/// How often, at the most, it is said that lines were lost.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Where actions are written down: in the log of the program, and in a file if there is one.
#[derive(Clone, Debug)]
pub(super) struct Audit {
    lines: Option<SyncSender<String>>,
    lost: Arc<AtomicU64>,
}

/// One action, or the attempt.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    who: &'a str,
    from: String,
    action: &'a str,
    /// What it was done to: the parameters as they were given, but for the message and the payload.
    target: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Audit {
    /// Writes to this file. That it can be opened was found out before anything was bound.
    pub(super) fn new(file: Option<&Path>) -> Self {
        let lost = Arc::new(AtomicU64::new(0));
        let lines = file.and_then(|file| {
            let (sender, lines) = mpsc::sync_channel(MAX_WAITING);
            let (path, lost) = (file.to_owned(), lost.clone());
            let writer = thread::Builder::new().name("audit".to_owned());
            match writer.spawn(move || write_all(&path, &lines, &lost)) {
                Ok(_) => Some(sender),
                Err(error) => {
                    tracing::error!(%error, "the audit log has no thread");
                    None
                }
            }
        });
        Self { lines, lost }
    }

    /// Writes down what a caller did, or why not. Never waits.
    pub(super) fn note(&self, caller: &Caller, action: &str, asked: Value, result: Result<&Value, &str>) {
        let mut target = asked;
        let message = target.as_object_mut().and_then(|members| {
            members.remove("payload");
            members.remove("message")
        });
        let (who, from, error) = (caller.name(), caller.from(), result.err());
        let result = result.ok();
        // As fields, and escaped there.
        tracing::info!(who, %from, action, %target, message = ?message, ?result, ?error, "an administrator acted");
        let Some(lines) = &self.lines else { return };
        let (time, from) = (Clock::wall_rfc3339(), from.to_string());
        let line =
            Line { time, who, from, action, target: &target, message: message.as_ref(), result, error };
        let line = serde_json::to_string(&line).expect("values are JSON");
        if lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether lines can be written to this file.
///
/// # Errors
///
/// Why not.
pub(super) fn check(file: &Path) -> Result<(), String> {
    open(file).map(drop).map_err(|error| format!("audit-log {} cannot be written: {error}", file.display()))
}

fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(file)
}

/// Writes lines until nobody can send any more.
fn write_all(path: &Path, lines: &Receiver<String>, lost: &AtomicU64) {
    let mut out = None;
    let mut failing = false;
    loop {
        let line = match lines.recv_timeout(TELL_EVERY) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        if let Some(line) = line {
            match write(path, &mut out, &line) {
                Ok(()) => failing = false,
                Err(error) => {
                    out = None;
                    lost.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, ?path, "the audit log cannot be written");
                    }
                    continue;
                }
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(lost, ?path, "lines of the audit log were lost");
        }
    }
}

/// Writes a line to the file that has the name now: whoever rotates logs moves the old one away, and need not say so.
fn write(path: &Path, out: &mut Option<File>, line: &str) -> io::Result<()> {
    let number = |file: std::fs::Metadata| (file.dev(), file.ino());
    if let Some(file) = out
        && std::fs::metadata(path).map(number).ok() != Some(number(file.metadata()?))
    {
        *out = None;
    }
    let file = match out {
        Some(file) => file,
        None => out.insert(open(path)?),
    };
    // In one piece: several servers may write to one file.
    file.write_all(format!("{line}\n").as_bytes())
}
