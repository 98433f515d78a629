//! Lists of live sessions: filtered, sorted, in pages, or all of them as they are written (PROTOCOL 3.1,
//! `listSessions`).

mod asked;
mod rows;
mod shapes;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use futures::future::BoxFuture;

pub(super) use self::{
    asked::{Asked, DEFAULT_LIMIT, ListSessions, NoList, max_age, page, written},
    shapes::{DESIGNER_KEYS, IgnitionMetadata, Items, Metadata, to_text},
};
use self::{
    rows::{Next, Rows},
    shapes::{Node, write_designer},
};
use super::{
    csv,
    item::{NODE, Seen},
    methods::Methods,
    select::Selecting,
    sharing::Share,
    snapshots::{Key, Selects, Snapshot},
    source::{PART_BYTES, Source, a_while},
};
use crate::{
    config::tokens::Scope,
    session::{SessionScope, text::shown},
};

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{items, metadata}`, with a snapshot to read on in.
    Json,
    /// An item a line.
    Ndjson,
    /// A line of names, and an item a line.
    Csv,
    /// `{items, metadata}` as Ignition has it.
    Ignition,
    /// The same, of designers, with other keys.
    Designers,
}

/// The answer, part by part, of what the caller sees.
pub(super) fn list(methods: &Methods, asked: Asked, shape: Shape) -> Result<Box<dyn Source>, NoList> {
    methods.caller.must_have(Scope::Read)?;
    let snapshot = match &asked.snapshot_id {
        None => None,
        Some(id) => {
            let kept = methods.snapshots.get(id, methods.caller.view(), methods.clock.now_ms());
            let snapshot = kept.ok_or_else(|| {
                let shown = shown(id);
                NoList::Expired(format!(
                    "there is no snapshot {shown}: it was not asked for in 30 s, or made room for newer ones; \
                     list again without snapshotId"
                ))
            })?;
            if !asked.written.is_empty() && asked.written != snapshot.asked {
                let message = "snapshotId is of another filter, search or sortBy; leave them out, or repeat \
                               what it was made with";
                return Err(NoList::Invalid(message.to_owned()));
            }
            Some(snapshot)
        }
    };
    let stage = match snapshot {
        Some(snapshot) => Stage::Kept(snapshot),
        None => Stage::New,
    };
    let asked_ms = methods.clock.now_ms();
    Ok(Box::new(List { methods: methods.clone(), asked, shape, asked_ms, stage }))
}

struct List {
    methods: Methods,
    asked: Asked,
    shape: Shape,
    asked_ms: u64,
    stage: Stage,
}

/// How far a list has come.
enum Stage {
    New,
    /// It is to be read on in.
    Kept(Arc<Snapshot>),
    /// Others ask the same, and it was selected for them.
    Shared(Arc<Snapshot>),
    /// Its sessions are being selected; maybe for others too.
    Selecting(Selecting, Option<Selects>),
    Writing(Begun),
}

/// What is written, once that is known.
struct Begun {
    rows: Rows,
    /// How many have been.
    written: usize,
    /// How many sessions were live, and how many of them fit; `None` if that is seen when they are all written.
    counts: Option<(usize, usize)>,
    snapshot_id: Option<String>,
    taken_ms: u64,
}

impl Source for List {
    fn waits_for(&mut self) -> Option<BoxFuture<'static, ()>> {
        let Methods { registry, clock, snapshots, caller, .. } = &self.methods;
        let max_age = self.asked.max_age.unwrap_or(snapshots.max_age);
        if max_age.is_zero() || !matches!(self.stage, Stage::New) {
            return None;
        }
        let key = Key::new(caller.view(), &self.asked.question, &self.asked.written);
        match snapshots.lists.ask(&key, max_age, (self.asked_ms, clock.now_ms())) {
            Share::Wait(other) => return Some(other),
            Share::Alone => {}
            Share::Found(snapshot) => self.stage = Stage::Shared(snapshot),
            Share::Make(turn) => {
                let selecting = self.asked.question.select(registry, caller.view(), turn.began_ms);
                self.stage = Stage::Selecting(selecting, Some(turn));
            }
        }
        None
    }

    fn looks(&self) -> usize {
        /// Writing a session takes about so many times as long as a row of getSessionInfo.
        const DEARER: usize = 4;
        match &self.stage {
            Stage::New | Stage::Selecting(..) => {
                self.asked.question.looks(&self.methods.registry, self.methods.caller.view())
            }
            Stage::Kept(snapshot) | Stage::Shared(snapshot) => snapshot.matching.saturating_mul(DEARER),
            Stage::Writing(begun) => match begun.rows.left() {
                Some(rows) => rows.saturating_mul(DEARER),
                None => self.asked.question.looks(&self.methods.registry, self.methods.caller.view()),
            },
        }
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        let until = a_while();
        let Some(mut begun) = self.begin(until) else { return true };
        let more = self.write_rows(&mut begun, until, out);
        if more {
            self.stage = Stage::Writing(begun);
        } else {
            if begun.written == 0 {
                self.write_head(out);
            }
            out.extend_from_slice(self.tail(&begun).as_bytes());
        }
        more
    }
}

impl List {
    /// What is to be written; `None` if that is not known by then.
    fn begin(&mut self, until: Instant) -> Option<Begun> {
        let Methods { registry, clock, caller, .. } = &self.methods;
        let (question, view) = (&self.asked.question, caller.view());
        let (mut selecting, turn) = match std::mem::replace(&mut self.stage, Stage::New) {
            Stage::Writing(begun) => return Some(begun),
            Stage::Kept(snapshot) => return Some(self.page_of(snapshot, true)),
            Stage::Shared(snapshot) => return Some(self.shared(snapshot)),
            Stage::Selecting(selecting, turn) => (selecting, turn),
            // Nothing has to be known of all before the first can be written.
            Stage::New if self.is_whole(usize::MAX) && !question.is_ordered() => {
                return Some(Begun::new(Rows::found(question.find(registry, view)), None, clock.now_ms()));
            }
            Stage::New => (question.select(registry, view, clock.now_ms()), None),
        };
        if selecting.go_on(question, (registry, *clock, view), until) {
            self.stage = Stage::Selecting(selecting, turn);
            return None;
        }
        let taken_ms = selecting.taken_ms;
        let selected = selecting.into_ordered(question);
        // Some may have left since the last was looked at.
        let total = view.live(registry).max(selected.len());
        if turn.is_none() && !self.is_to_be_kept(selected.len()) {
            let counts = Some((total, selected.len()));
            let rows = selected.into_page(self.asked.offset, self.most());
            return Some(Begun::new(Rows::these(rows), counts, taken_ms));
        }
        let snapshot = Snapshot::new((total, selected), taken_ms, (view, &self.asked.written));
        if let Some(turn) = turn {
            turn.made(snapshot.clone(), snapshot.matching);
        }
        Some(self.shared(snapshot))
    }

    fn most(&self) -> usize {
        usize::try_from(self.asked.limit).unwrap_or(usize::MAX)
    }

    /// Whether the answer has all of so many that fit.
    fn is_whole(&self, matching: usize) -> bool {
        self.asked.offset == 0 && self.most() >= matching
    }

    /// Whether somebody may want to read on.
    fn is_to_be_kept(&self, matching: usize) -> bool {
        self.shape == Shape::Json && !self.is_whole(matching)
    }

    /// What is asked for of a snapshot that may not be kept yet.
    fn shared(&self, snapshot: Arc<Snapshot>) -> Begun {
        let is_kept = self.is_to_be_kept(snapshot.matching)
            && self.methods.snapshots.keep(&snapshot, self.methods.clock);
        self.page_of(snapshot, is_kept)
    }

    fn page_of(&self, snapshot: Arc<Snapshot>, is_kept: bool) -> Begun {
        let (counts, taken_ms) = ((snapshot.total, snapshot.matching), snapshot.taken_ms);
        let snapshot_id = is_kept.then(|| snapshot.id.clone());
        let rows = Rows::kept(snapshot, self.asked.offset, self.most());
        Begun { snapshot_id, ..Begun::new(rows, Some(counts), taken_ms) }
    }

    /// Writes a part of the rows, or as many as are found by then; `false` if there are no more.
    fn write_rows(&self, begun: &mut Begun, until: Instant, out: &mut Vec<u8>) -> bool {
        let (shape, fields, clock) = (self.shape, &self.asked.fields, self.methods.clock);
        let (now_ms, mask) = (clock.now_ms(), self.methods.caller.view().mask());
        while out.len() < PART_BYTES {
            let session = match begun.rows.next(&self.asked.question, &self.methods, until) {
                Next::Row(session) => session,
                Next::NotYet => return true,
                Next::End => return false,
            };
            // Not before there is a row: until then it can be said that none can be found in time.
            if begun.written == 0 {
                self.write_head(out);
            } else if !matches!(shape, Shape::Ndjson | Shape::Csv) {
                out.push(b',');
            }
            begun.written += 1;
            let seen = Seen::for_row(&session, clock, now_ms, mask);
            match shape {
                Shape::Csv => csv::write_row(&seen, fields, out),
                Shape::Designers => write_designer(&seen, out),
                Shape::Ndjson => {
                    seen.write_json(fields, out);
                    out.push(b'\n');
                }
                Shape::Json | Shape::Ignition => seen.write_json(fields, out),
            }
        }
        true
    }

    /// Writes what comes before the first row.
    fn write_head(&self, out: &mut Vec<u8>) {
        match self.shape {
            Shape::Ndjson => {}
            Shape::Csv => csv::write_header(&self.asked.fields, out),
            Shape::Json | Shape::Ignition | Shape::Designers => out.extend_from_slice(b"{\"items\":["),
        }
    }

    /// What is written after the last row.
    fn tail(&self, begun: &Begun) -> String {
        let Asked { limit, offset, .. } = &self.asked;
        let live = || self.methods.caller.view().live(&self.methods.registry);
        let counts = || (live().max(begun.written), begun.written);
        let (total, matching) = begun.counts.unwrap_or_else(counts);
        let (limit, offset) = (*limit, *offset);
        let metadata = match self.shape {
            Shape::Ndjson | Shape::Csv => return String::new(),
            Shape::Ignition => to_text(&IgnitionMetadata { total, matching, limit, offset }),
            Shape::Designers => {
                let Methods { registry, clock, caller, .. } = &self.methods;
                // Others are no designers, and whoever pages by `total` would never come to its end.
                let designers = caller.view().live_of(SessionScope::Designer, registry, clock.now_ms());
                to_text(&IgnitionMetadata { total: designers.max(matching), matching, limit, offset })
            }
            Shape::Json => {
                let taken_at = self.methods.clock.rfc3339(begun.taken_ms);
                let nodes = [Node { name: NODE, answered: true, sessions: total }];
                let (snapshot_id, complete) = (begun.snapshot_id.as_deref(), true);
                to_text(&Metadata { total, matching, limit, offset, snapshot_id, taken_at, complete, nodes })
            }
        };
        format!(r#"],"metadata":{metadata}}}"#)
    }
}

impl Begun {
    fn new(rows: Rows, counts: Option<(usize, usize)>, taken_ms: u64) -> Self {
        Self { rows, written: 0, counts, snapshot_id: None, taken_ms }
    }
}
