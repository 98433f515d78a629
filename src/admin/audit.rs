//! The audit log: what administrators did, and tried to (PROTOCOL 3.1, "Actions"), as JSON lines in a file.
//!
//! One thread writes. Whoever acts hands it a line and goes on: a disk that is slow, or full, holds up nobody.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use tokio::{sync::oneshot, time};
use tracing::field::display;

use super::caller::Caller;
use crate::{edge::clock::Clock, session::text::is_hostile};

/// How many lines may wait for the disk; further ones are lost, and counted.
const MAX_WAITING: usize = 1024;

/// How often, at the most, it is said that lines were lost.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Where actions are written down: in the log of the program, and in a file if there is one.
#[derive(Clone, Debug)]
pub(super) struct Audit {
    lines: Option<SyncSender<Entry>>,
    lost: Arc<AtomicU64>,
}

/// What the thread is handed.
enum Entry {
    Line(String),
    /// Say when everything before this is written.
    Flush(oneshot::Sender<()>),
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
        let json = |value: &Value| display(readable(value));
        // `message` is the name of the sentence itself.
        let words = message.as_ref().map(json);
        let outcome = result.map(json);
        tracing::info!(who, %from, action, target = json(&target), words, result = outcome, error, "an administrator acted");
        let Some(lines) = &self.lines else { return };
        let (time, from) = (Clock::wall_rfc3339(), from.to_string());
        let line =
            Line { time, who, from, action, target: &target, message: message.as_ref(), result, error };
        let line = serde_json::to_string(&line).expect("values are JSON");
        if lines.try_send(Entry::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until the lines so far are written, or the disk has had so long; answers whether they are. If not, that is
    /// logged.
    pub(super) async fn flush(&self, within: Duration) -> bool {
        let Some(lines) = &self.lines else { return true };
        let flushed = async {
            let (done, written) = oneshot::channel();
            let mut entry = Entry::Flush(done);
            while let Err(TrySendError::Full(full)) = lines.try_send(entry) {
                entry = full;
                time::sleep(Duration::from_millis(10)).await;
            }
            // An error is a thread that has ended: whatever it had not written is lost.
            written.await.is_ok()
        };
        let is_written = time::timeout(within, flushed).await.unwrap_or(false);
        if !is_written {
            let message = "lines of the audit log that still wait for the disk are lost";
            tracing::error!(?within, most = MAX_WAITING, "{message}");
        }
        is_written
    }
}

/// JSON for the log of the program: still JSON, and nothing that acts on a screen.
fn readable(value: &Value) -> String {
    let json = value.to_string();
    if !json.contains(is_hostile) {
        return json;
    }
    let escape = |c: char| if is_hostile(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escape).collect()
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
fn write_all(path: &Path, waiting: &Receiver<Entry>, lost: &AtomicU64) {
    let mut log = Log { path, out: None, failing: false, told: None };
    loop {
        // Nothing ticks: it is waited for a moment only if there is something to tell then.
        let entry = match log.until_told(lost, Instant::now()) {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => waiting.recv_timeout(pause),
        };
        match entry {
            Ok(Entry::Line(line)) => log.write(&line, lost),
            Ok(Entry::Flush(done)) => {
                log.tell(lost);
                // Whoever asked may not wait any more.
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if log.until_told(lost, Instant::now()).is_some_and(|pause| pause.is_zero()) {
            log.tell(lost);
        }
    }
    log.tell(lost);
}

/// The file, as far as it could be had.
struct Log<'a> {
    path: &'a Path,
    out: Option<File>,
    failing: bool,
    /// When it was last told that lines are lost.
    told: Option<Instant>,
}

impl Log<'_> {
    /// How long it is until lost lines are told of; `None` if there are none.
    fn until_told(&self, lost: &AtomicU64, now: Instant) -> Option<Duration> {
        let are_lost = lost.load(Ordering::Relaxed) > 0;
        let passed = self.told.map(|told| now.saturating_duration_since(told));
        are_lost.then(|| passed.map_or(Duration::ZERO, |passed| TELL_EVERY.saturating_sub(passed)))
    }

    fn tell(&mut self, lost: &AtomicU64) {
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.told = Some(Instant::now());
            tracing::error!(lost, path = ?self.path, "lines of the audit log were lost");
        }
    }

    fn write(&mut self, line: &str, lost: &AtomicU64) {
        match self.try_write(line) {
            Ok(()) => self.failing = false,
            Err(error) => {
                // Opened anew, it is looked at how it ends.
                self.out = None;
                lost.fetch_add(1, Ordering::Relaxed);
                let is_new = !std::mem::replace(&mut self.failing, true);
                // How many are lost is told later then.
                if is_new && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                    self.told = Some(Instant::now());
                    tracing::error!(%error, path = ?self.path, "the audit log cannot be written");
                }
            }
        }
    }

    /// Writes a line to the file that has the name now: whoever rotates logs moves the old one away, and need not say so.
    fn try_write(&mut self, line: &str) -> io::Result<()> {
        let number = |file: Metadata| (file.dev(), file.ino());
        if let Some(file) = &self.out
            && fs::metadata(self.path).map(number).ok() != Some(number(file.metadata()?))
        {
            self.out = None;
        }
        let (file, break_first) = match &mut self.out {
            Some(file) => (file, ""),
            None => {
                let file = self.out.insert(open(self.path)?);
                let is_whole = ends_with_a_line(self.path, file);
                (file, if is_whole { "" } else { "\n" })
            }
        };
        // In one piece: several servers may write to one file.
        file.write_all(format!("{break_first}{line}\n").as_bytes())
    }
}

/// Whether what is written next begins a line. A disk that was full took the beginning of one, as did a server that died.
fn ends_with_a_line(path: &Path, file: &File) -> bool {
    // Of what is no file, nothing can be read that was written.
    if !file.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) {
        return true;
    }
    let mut last = [b'\n'];
    // Who may write and not read cannot know.
    let _ = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)
    });
    last == [b'\n']
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, process::Command};

    use serde_json::json;

    use super::*;

    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("headcount-audit-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    fn note(audit: &Audit, action: &str) {
        let caller = Caller::new(([127, 0, 0, 1], 1).into(), None);
        audit.note(&caller, action, json!({"sessionId": "x".repeat(200)}), Ok(&json!({"terminated": 1})));
    }

    fn flush(audit: &Audit, within: Duration) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(audit.flush(within))
    }

    /// A disk that was full for a while took the beginning of a line, and the next good one was joined to it.
    #[test]
    fn a_line_never_joins_what_was_left_of_another() {
        let path = path("fragment");
        fs::write(&path, r#"{"time":"20"#).unwrap();
        let audit = Audit::new(Some(&path));
        note(&audit, "first");
        note(&audit, "second");
        assert!(flush(&audit, Duration::from_secs(5)));
        let text = fs::read_to_string(&path).unwrap();
        let _ = fs::remove_file(&path);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (3, r#"{"time":"20"#), "{text}");
        for line in &lines[1..] {
            serde_json::from_str::<Value>(line).unwrap();
        }
    }

    /// Up to 1,024 lines that waited for the disk when the server ended were lost without a word.
    #[test]
    fn what_waits_for_the_disk_is_written_before_the_end() {
        let path = path("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Kept open by us, so that nobody waits for a reader. It takes 64 KiB, and we read late.
        let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let audit = Audit::new(Some(&path));
        for _ in 0..1_000 {
            note(&audit, "closeSession");
        }
        assert!(!flush(&audit, Duration::from_millis(100)), "a disk that takes nothing is not waited for");
        let reading = thread::spawn(move || {
            let (mut lines, mut part) = (0, vec![0; 4096]);
            while lines < 1_000 {
                let count = pipe.read(&mut part).unwrap();
                lines += part[..count].iter().filter(|byte| **byte == b'\n').count();
            }
        });
        assert!(flush(&audit, Duration::from_secs(10)));
        reading.join().unwrap();
        let _ = fs::remove_file(&path);
    }

    /// It was told anew with every line that was written.
    #[test]
    fn that_lines_were_lost_is_told_once_in_a_while() {
        let path = path("told");
        let mut log = Log { path: &path, out: None, failing: false, told: None };
        let (lost, now) = (AtomicU64::new(0), Instant::now());
        assert_eq!(log.until_told(&lost, now), None, "nothing to tell");
        lost.store(1, Ordering::Relaxed);
        assert_eq!(log.until_told(&lost, now), Some(Duration::ZERO));
        log.told = Some(now);
        assert_eq!(log.until_told(&lost, now + TELL_EVERY / 5), Some(TELL_EVERY * 4 / 5));
        assert_eq!(log.until_told(&lost, now + TELL_EVERY * 2), Some(Duration::ZERO));
        log.tell(&lost);
        assert!(lost.load(Ordering::Relaxed) == 0 && log.told > Some(now));
    }

    #[test]
    fn what_is_logged_is_json_that_acts_on_no_screen() {
        assert_eq!(readable(&json!({"terminated": 8})), r#"{"terminated":8}"#);
        let hostile = json!({"message": "a\n\u{1b}[31m\u{9b}\u{202e}é"});
        let shown = readable(&hostile);
        assert_eq!(shown, r#"{"message":"a\n\u001b[31m\u009b\u202eé"}"#);
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), hostile);
    }
}
