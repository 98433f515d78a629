//! What watchers of one group have not been told yet, and how it is written.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    admin::{
        item::{Fields, Seen},
        source::{PART_BYTES, Source},
        view::Mask,
    },
    edge::clock::Clock,
    session::{EndedSession, Session},
};

/// A batch of so many changes is written once, for all who are told; each writes a larger one for himself, part by part.
const MOST_SHARED: usize = 1_000;

/// The reason why a session left that has not ended: it does not fit any more.
const UNMATCHED: &str = "unmatched";

/// What has happened since watchers were last told. Sessions are held, so that their numbers are theirs.
#[derive(Debug, Default)]
pub(super) struct Delta {
    opened: BTreeMap<u32, Arc<Session>>,
    changed: BTreeMap<u32, Arc<Session>>,
    unmatched: BTreeMap<u32, Arc<Session>>,
    /// Each with the number that it had.
    ended: Vec<(u32, Arc<EndedSession>)>,
}

impl Delta {
    /// A session fits that did not before.
    pub(super) fn open(&mut self, session: &Arc<Session>) {
        let number = session.number();
        // Whoever is told now has never known that it did not fit for a while.
        let lists =
            if self.unmatched.remove(&number).is_some() { &mut self.changed } else { &mut self.opened };
        lists.insert(number, session.clone());
    }

    /// One that fits has changed.
    pub(super) fn change(&mut self, session: &Arc<Session>) {
        if !self.opened.contains_key(&session.number()) {
            self.changed.insert(session.number(), session.clone());
        }
    }

    /// One does not fit any more.
    pub(super) fn unmatch(&mut self, session: &Arc<Session>) {
        let number = session.number();
        if self.opened.remove(&number).is_none() {
            self.changed.remove(&number);
            self.unmatched.insert(number, session.clone());
        }
    }

    /// One that fitted to its end has ended; one that is told of for the first time so came and went meanwhile.
    pub(super) fn end(&mut self, number: u32, ended: &Arc<EndedSession>) {
        self.opened.remove(&number);
        self.changed.remove(&number);
        self.ended.push((number, ended.clone()));
    }

    /// Takes the ends of these away, which nobody has been told of.
    pub(super) fn forget_ends(&mut self, is_unknown: impl Fn(u32) -> bool) {
        self.ended.retain(|(number, _)| !is_unknown(*number));
    }

    /// How many changes it is.
    pub(super) fn len(&self) -> usize {
        self.opened.len() + self.changed.len() + self.unmatched.len() + self.ended.len()
    }
}

/// One batch of changes, to be told to many.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) revision: u64,
    pub(super) made: Instant,
    clock: Clock,
    mask: Mask,
    opened: Vec<Arc<Session>>,
    changed: Vec<Arc<Session>>,
    closed: Vec<Closed>,
    /// As it is written, if that is short.
    shared: Option<Bytes>,
}

/// A session that is not there any more.
#[derive(Debug)]
enum Closed {
    Ended(Arc<EndedSession>),
    Unmatched(Arc<Session>),
}

/// The same as it is written.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ClosedSession", description = "A session that is not there any more.")]
pub(in crate::admin) struct ClosedItem<'a> {
    /// A UUID, or the designer's own id.
    id: &'a str,
    /// Why it ended; `unmatched` if it has not, and does not fit any more.
    reason: &'static str,
    /// When it ended.
    #[schemars(extend("format" = "date-time"))]
    ended_at: Option<String>,
    /// The user, or `Unauthenticated`.
    username: &'a str,
    /// The project it ran in.
    project: &'a str,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    connected_at: String,
    /// Payload bytes of its last message.
    recent_bytes_sent: u64,
    /// Payload bytes of all its messages.
    total_bytes_sent: u64,
    /// How many messages came from the client.
    messages_sent: u64,
    /// Payload bytes delivered to the client.
    bytes_received: u64,
}

impl Batch {
    pub(super) fn new(revision: u64, delta: Delta, clock: Clock, mask: Mask) -> Arc<Self> {
        let Delta { opened, changed, unmatched, ended } = delta;
        let ended = ended.into_iter().map(|(_, ended)| Closed::Ended(ended));
        let mut batch = Self {
            revision,
            made: Instant::now(),
            clock,
            mask,
            opened: opened.into_values().collect(),
            changed: changed.into_values().collect(),
            closed: ended.chain(unmatched.into_values().map(Closed::Unmatched)).collect(),
            shared: None,
        };
        if batch.len() <= MOST_SHARED {
            let (mut at, mut out) = (0, Vec::new());
            while batch.write(&mut at, &mut out, usize::MAX) {}
            batch.shared = Some(out.into());
        }
        Arc::new(batch)
    }

    pub(super) fn len(&self) -> usize {
        self.opened.len() + self.changed.len() + self.closed.len()
    }

    /// What is written behind the watch's id: all of it, or where it comes from.
    pub(super) fn written(self: &Arc<Self>) -> Result<Bytes, Box<dyn Source>> {
        self.shared.clone().ok_or_else(|| Box::new(Writing { batch: self.clone(), at: 0 }) as Box<dyn Source>)
    }

    /// Writes the steps from `at` on, until `out` has so many bytes; `false` if that was the last.
    fn write(&self, at: &mut usize, out: &mut Vec<u8>, bytes: usize) -> bool {
        let fields = Fields::all();
        let now_ms = self.clock.now_ms();
        // Three lists, each with a step before it, and a step at the end.
        let (opened, changed) = (self.opened.len(), self.changed.len());
        let changed_at = opened + 1;
        let closed_at = changed_at + changed + 1;
        while out.len() < bytes {
            let step = *at;
            *at += 1;
            let item = |first: usize, out: &mut Vec<u8>| {
                if step > first {
                    out.push(b',');
                }
                step - first
            };
            if step == 0 {
                out.extend_from_slice(format!(r#""revision":{},"opened":["#, self.revision).as_bytes());
            } else if step < changed_at {
                let session = &self.opened[item(1, out)];
                Seen::for_row(session, self.clock, now_ms, self.mask).write_json(&fields, out);
            } else if step == changed_at {
                out.extend_from_slice(br#"],"changed":["#);
            } else if step < closed_at {
                let session = &self.changed[item(changed_at + 1, out)];
                Seen::for_row(session, self.clock, now_ms, self.mask).write_json(&fields, out);
            } else if step == closed_at {
                out.extend_from_slice(br#"],"closed":["#);
            } else if step <= closed_at + self.closed.len() {
                self.closed[item(closed_at + 1, out)].write(self.clock, out);
            } else {
                out.extend_from_slice(b"]}");
                return false;
            }
        }
        true
    }
}

impl Closed {
    fn write(&self, clock: Clock, out: &mut Vec<u8>) {
        let (who, began_ms, counts, end) = match self {
            Self::Ended(ended) => (&ended.who, ended.began_ms, ended.counts, Some(ended)),
            Self::Unmatched(session) => (session.who(), session.began_ms(), session.counts(), None),
        };
        let item = ClosedItem {
            id: who.id(),
            reason: end.map_or(UNMATCHED, |end| end.reason.as_str()),
            ended_at: end.map(|end| clock.rfc3339(end.ended_ms)),
            username: who.username(),
            project: who.project(),
            connected_at: clock.rfc3339(began_ms),
            recent_bytes_sent: counts.recent_bytes_sent,
            total_bytes_sent: counts.total_bytes_sent,
            messages_sent: counts.messages_sent,
            bytes_received: counts.bytes_received,
        };
        serde_json::to_writer(out, &item).expect("a Vec takes plain data");
    }
}

/// A batch that is written part by part, each session as it is then.
struct Writing {
    batch: Arc<Batch>,
    at: usize,
}

impl Source for Writing {
    fn looks(&self) -> usize {
        /// As for `listSessions`.
        const DEARER: usize = 4;
        self.batch.len().saturating_mul(DEARER)
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        self.batch.write(&mut self.at, out, PART_BYTES)
    }
}
