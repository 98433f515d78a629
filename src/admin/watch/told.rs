//! What a watcher is told, part by part: a snapshot, or a batch of changes.

use std::{sync::Arc, time::Instant, vec};

use bytes::Bytes;
use serde_json::json;

use super::queue::{Next, Watch};
use crate::{
    admin::{
        item::{Fields, NODE, Seen},
        source::{PART_BYTES, Source, Unanswered, Workshop},
    },
    session::Session,
};

/// A snapshot for one watcher, who joins its group with the first part.
pub(super) struct Snapshot<F> {
    watch: Arc<Watch>,
    /// What is written before the revision.
    head: String,
    has_metadata: bool,
    rows: Option<Rows>,
    /// What is done when it is written.
    done: Option<F>,
}

struct Rows {
    left: vec::IntoIter<Arc<Session>>,
    is_first: bool,
    /// What is written after the last.
    tail: String,
}

impl<F: FnOnce(Arc<Watch>)> Snapshot<F> {
    /// The first one, as the answer to `watchSessions` has it; `head` begins an object.
    pub(super) fn answer(watch: Arc<Watch>, head: String, done: F) -> Self {
        Self { watch, head, has_metadata: true, rows: None, done: Some(done) }
    }

    /// Joins, and writes what comes before the first row; `None` if that has to be tried again.
    fn begin(&self, out: &mut Vec<u8>) -> Option<Rows> {
        let group = self.watch.group();
        let hub = group.hub();
        let taken_ms = hub.clock.now_ms();
        let joined = self.watch.join()?;
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(format!(r#""revision":{},"items":["#, joined.revision).as_bytes());
        let matching = joined.sessions.len();
        let tail = if self.has_metadata {
            // Some may have left since the last was looked at.
            let total = group.view().live(&hub.registry).max(matching);
            let metadata = json!({
                "total": total,
                "matching": matching,
                "intervalMs": u64::try_from(group.interval().as_millis()).unwrap_or(u64::MAX),
                "takenAt": hub.clock.rfc3339(taken_ms),
                "complete": true,
                "nodes": [{"name": NODE, "answered": true, "sessions": total}],
            });
            format!(r#"],"metadata":{metadata}}}"#)
        } else {
            "]}".to_owned()
        };
        Some(Rows { left: joined.sessions.into_iter(), is_first: true, tail })
    }
}

impl<F: FnOnce(Arc<Watch>) + Send> Source for Snapshot<F> {
    fn looks(&self) -> usize {
        /// As for `listSessions`.
        const DEARER: usize = 4;
        let rows = self.rows.as_ref().map_or_else(|| self.watch.group().looks(), |rows| rows.left.len());
        rows.saturating_mul(DEARER)
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(mut rows) = self.rows.take().or_else(|| self.begin(out)) else { return true };
        let group = self.watch.group();
        let (clock, mask) = (group.hub().clock, group.view().mask());
        let (fields, now_ms) = (Fields::all(), clock.now_ms());
        while out.len() < PART_BYTES {
            let Some(session) = rows.left.next() else {
                out.extend_from_slice(rows.tail.as_bytes());
                if let Some(done) = self.done.take() {
                    done(self.watch.clone());
                }
                return false;
            };
            if !std::mem::replace(&mut rows.is_first, false) {
                out.push(b',');
            }
            Seen::for_row(&session, clock, now_ms, mask).write_json(&fields, out);
        }
        self.rows = Some(rows);
        true
    }
}

/// Something that a watcher is told, of any size, with the memory of a part.
pub(in crate::admin) struct Told {
    workshop: Workshop,
    watch: Arc<Watch>,
    kind: Kind,
    /// What is written before the next part.
    head: Vec<u8>,
    short: Bytes,
    source: Option<Box<dyn Source>>,
    is_first: bool,
    /// What is written at the end.
    tail: Tail,
}

#[derive(Clone, Copy)]
enum Kind {
    /// What a watch begins with.
    Snapshot,
    Batch {
        made: Instant,
    },
    Resync,
}

/// What ends it.
enum Tail {
    /// One more brace, after that of the parameters.
    Brace,
    /// The end of an event, with the revision for its id.
    Event,
}

impl Told {
    /// The next notification of JSON-RPC for a watcher, if there is something.
    pub(super) fn notification(watch: &Arc<Watch>, id: &str, workshop: &Workshop) -> Option<Self> {
        let next = watch.next()?;
        let method = if matches!(next, Next::Resync) { "resync" } else { "sessionsChanged" };
        let head = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":"#);
        let params = format!(r#"{{"watchId":"{id}","#);
        Some(Self::next(next, watch, (head, params), workshop, Tail::Brace))
    }

    /// The next event of a stream, if there is something.
    pub(in crate::admin) fn event(watch: &Arc<Watch>, workshop: &Workshop) -> Option<Self> {
        let next = watch.next()?;
        let kind = if matches!(next, Next::Resync) { "resync" } else { "change" };
        let head = format!("event: {kind}\ndata: ");
        Some(Self::next(next, watch, (head, "{".to_owned()), workshop, Tail::Event))
    }

    /// The event that a stream begins with.
    pub(in crate::admin) fn first_event(watch: &Arc<Watch>, workshop: &Workshop) -> Self {
        let view = Snapshot::answer(watch.clone(), "{".to_owned(), drop);
        Self {
            workshop: workshop.clone(),
            watch: watch.clone(),
            kind: Kind::Snapshot,
            head: b"event: snapshot\ndata: ".to_vec(),
            short: Bytes::new(),
            source: Some(Box::new(view)),
            is_first: true,
            tail: Tail::Event,
        }
    }

    fn next(
        next: Next,
        watch: &Arc<Watch>,
        (mut head, params): (String, String),
        workshop: &Workshop,
        tail: Tail,
    ) -> Self {
        let (kind, short, source) = match next {
            Next::Batch(batch) => {
                head.push_str(&params);
                let kind = Kind::Batch { made: batch.made };
                match batch.written() {
                    Ok(short) => (kind, short, None),
                    Err(source) => (kind, Bytes::new(), Some(source)),
                }
            }
            Next::Resync => {
                let view = Snapshot { has_metadata: false, ..Snapshot::answer(watch.clone(), params, drop) };
                (Kind::Resync, Bytes::new(), Some(Box::new(view) as Box<dyn Source>))
            }
        };
        Self {
            workshop: workshop.clone(),
            watch: watch.clone(),
            kind,
            head: head.into_bytes(),
            short,
            source,
            is_first: false,
            tail,
        }
    }

    /// Writes the next part; `false` if it is the last.
    ///
    /// # Errors
    ///
    /// It cannot be finished. If it was the first part of a stream, there may be no place to make it in.
    pub(in crate::admin) async fn write_part(&mut self, out: &mut Vec<u8>) -> Result<bool, Unanswered> {
        out.append(&mut self.head);
        if self.source.is_some() {
            let is_first = std::mem::replace(&mut self.is_first, false);
            self.workshop.make_part(&mut self.source, is_first, out).await?;
            if self.source.is_some() {
                return Ok(true);
            }
        }
        out.extend_from_slice(&self.short);
        match &self.tail {
            Tail::Brace => out.push(b'}'),
            Tail::Event => {
                out.extend_from_slice(format!("\nid: {}\n\n", self.watch.revision()).as_bytes());
            }
        }
        self.count();
        Ok(false)
    }

    /// It is written, and goes to the connection.
    fn count(&self) {
        let tally = &self.watch.group().hub().tally;
        match self.kind {
            // It is an answer, and counted as one.
            Kind::Snapshot => {}
            Kind::Batch { made } => tally.told_batch(made.elapsed()),
            Kind::Resync => tally.told_resync(),
        }
    }
}
