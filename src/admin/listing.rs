//! Lists of live sessions: filtered, sorted, in pages, or all of them as they are written (PROTOCOL 3.1,
//! `listSessions`).

mod rows;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use self::rows::{Next, Rows};
use super::{
    caller::Lacks,
    calls::kind,
    csv,
    describe::takes,
    item::{Column, Fields, NODE, Seen},
    methods::Methods,
    rpc::Error,
    select::{Question, Selecting},
    sharing::Share,
    snapshots::{Key, Selects, Snapshot},
    source::{PART_BYTES, Source, a_while},
};
use crate::{
    config::MAX_SNAPSHOT_AGE,
    config::tokens::Scope,
    session::{
        filter::{Filter, Invalid},
        text::shown,
    },
};

/// How many items an answer has unless more are asked for.
pub(super) const DEFAULT_LIMIT: i64 = 100;

/// The parameters of `listSessions`. Their types are checked by name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ListSessions {
    /// Conditions that must all hold.
    #[schemars(with = "Option<takes::LiveFilter>")]
    filter: Option<Box<RawValue>>,
    /// Terms, with spaces between them, that must all occur in some text, whatever the case of their letters.
    #[schemars(with = "Option<takes::Search>")]
    search: Option<Value>,
    /// The order; those that are equal go by their ids. Without it there is none in particular.
    #[schemars(with = "Option<takes::LiveOrder>")]
    sort_by: Option<Value>,
    /// How many items are shown; -1 is all.
    #[schemars(with = "Option<i64>", range(min = -1), extend("default" = DEFAULT_LIMIT))]
    limit: Option<Value>,
    /// How many are left out before them.
    #[schemars(with = "Option<i64>", range(min = 0), extend("default" = 0))]
    offset: Option<Value>,
    /// The keys that the items show, in the order of an item; without it, all.
    #[schemars(with = "Option<Vec<takes::LiveField>>", length(min = 1))]
    fields: Option<Value>,
    /// A list that was answered before, to show another part of the very same sessions.
    #[schemars(with = "Option<String>")]
    snapshot_id: Option<Value>,
    /// The list may be shared with others who asked so many milliseconds ago or less.
    #[schemars(with = "Option<i64>", range(min = 0, max = MAX_SNAPSHOT_AGE.as_millis() as i64))]
    max_age_ms: Option<Value>,
}

/// What a list says of itself, beside its items.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ListMetadata")]
pub(super) struct Metadata<'a> {
    /// Sessions that were live at `takenAt`.
    total: usize,
    /// How many of them fit.
    matching: usize,
    /// The limit that was asked for; -1 is all.
    limit: i64,
    /// The offset that was asked for.
    offset: usize,
    /// With this, `offset` and `limit` show other parts of the very same list; null if all that fits is here, or if
    /// there is too much of it. It is kept until it was not asked for in 30 s.
    snapshot_id: Option<&'a str>,
    /// When the list was made.
    #[schemars(extend("format" = "date-time"))]
    taken_at: String,
    /// Whether every node has answered.
    complete: bool,
    /// The servers that were asked.
    nodes: [Node; 1],
}

/// One server's part in a list.
#[derive(Debug, Serialize, JsonSchema)]
struct Node {
    /// The server's name.
    name: &'static str,
    /// Whether it has answered.
    answered: bool,
    /// How many sessions were live there.
    sessions: usize,
}

/// What a list in Ignition's shape says of itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct IgnitionMetadata {
    /// How many there were.
    pub(super) total: usize,
    /// How many of them fit.
    pub(super) matching: usize,
    /// The limit that was asked for; -1 is all.
    pub(super) limit: i64,
    /// The offset that was asked for.
    pub(super) offset: usize,
}

/// Items, and what is to be said of them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}s")]
pub(super) struct Items<T, M> {
    pub(super) items: Vec<T>,
    pub(super) metadata: M,
}

/// What is asked for, whichever way it is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    /// How the question was written, if it was: a snapshot is of one question.
    pub(super) written: String,
    /// -1 is all.
    pub(super) limit: i64,
    pub(super) offset: usize,
    pub(super) fields: Fields,
    pub(super) snapshot_id: Option<String>,
    /// How old the selection may be, if that was said.
    pub(super) max_age: Option<Duration>,
}

/// Why there is no list.
#[derive(Debug)]
pub(super) enum NoList {
    /// The question is none.
    Invalid(String),
    /// There is no such snapshot any more.
    Expired(String),
    /// The caller may not see it.
    Refused(Lacks),
    /// There are too many already.
    Limit(String),
}

impl From<Lacks> for NoList {
    fn from(lacks: Lacks) -> Self {
        Self::Refused(lacks)
    }
}

impl From<Invalid> for NoList {
    fn from(error: Invalid) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<NoList> for Error {
    fn from(why: NoList) -> Self {
        match why {
            NoList::Invalid(message) => Self::invalid_params(message),
            NoList::Expired(message) => Self::new(Self::NOT_FOUND, message),
            NoList::Refused(lacks) => lacks.into(),
            NoList::Limit(message) => Self::new(Self::LIMIT, message),
        }
    }
}

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

impl ListSessions {
    /// # Errors
    ///
    /// The parameter that cannot be meant so.
    pub(super) fn read(self) -> Result<Asked, NoList> {
        let [search, sort_by, snapshot_id] =
            [("search", self.search), ("sortBy", self.sort_by), ("snapshotId", self.snapshot_id)]
                .map(|(name, value)| text(name, value));
        let (search, sort_by, snapshot_id) = (search?, sort_by?, snapshot_id?);
        let filter = self.filter.as_ref().map_or("{}", |filter| filter.get());
        let written = written(filter, search.as_deref(), sort_by.as_deref());
        let filter = Filter::from_json(filter)?;
        let question = Question::read(filter, search.as_deref(), sort_by.as_deref())?;
        let limit = whole("limit", self.limit)?.unwrap_or(DEFAULT_LIMIT);
        let offset = whole("offset", self.offset)?.unwrap_or(0);
        let (limit, offset) = page(limit, offset)?;
        let fields = names(self.fields)?;
        let max_age = whole("maxAgeMs", self.max_age_ms)?.map(max_age).transpose()?;
        Ok(Asked { question, written, limit, offset, fields, snapshot_id, max_age })
    }
}

/// How a question is written, for telling it from another; empty if nothing is asked.
pub(super) fn written(filter: &str, search: Option<&str>, sort_by: Option<&str>) -> String {
    if matches!(filter, "{}" | "") && search.is_none() && sort_by.is_none() {
        return String::new();
    }
    json!([filter, search, sort_by]).to_string()
}

/// # Errors
///
/// A page that is none.
pub(super) fn page(limit: i64, offset: i64) -> Result<(i64, usize), NoList> {
    if limit < -1 {
        return Err(NoList::Invalid("limit must be -1 for all, or 0 and more".to_owned()));
    }
    let offset =
        usize::try_from(offset).map_err(|_| NoList::Invalid("offset must be 0 or more".to_owned()))?;
    Ok((limit, offset))
}

/// # Errors
///
/// Negative, or longer than anything is shared.
pub(super) fn max_age(ms: i64) -> Result<Duration, NoList> {
    let age = u64::try_from(ms).map(Duration::from_millis).ok().filter(|age| *age <= MAX_SNAPSHOT_AGE);
    age.ok_or_else(|| NoList::Invalid(format!("maxAgeMs must be 0 to {}", MAX_SNAPSHOT_AGE.as_millis())))
}

pub(super) fn text(name: &str, value: Option<Value>) -> Result<Option<String>, NoList> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(other) => Err(NoList::Invalid(format!("{name} must be a string or null, not {}", kind(&other)))),
    }
}

pub(super) fn whole(name: &str, value: Option<Value>) -> Result<Option<i64>, NoList> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_i64() {
        Some(number) => Ok(Some(number)),
        None if value.is_number() => {
            Err(NoList::Invalid(format!("{name} must be a whole number, not {value}")))
        }
        None => Err(NoList::Invalid(format!("{name} must be a whole number, not {}", kind(&value)))),
    }
}

fn names(value: Option<Value>) -> Result<Fields, NoList> {
    let wrong = || NoList::Invalid("fields must be an array of names".to_owned());
    let list = match value {
        None | Some(Value::Null) => return Ok(Fields::all()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong()),
    };
    let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    Fields::read(names.ok_or_else(wrong)?).map_err(NoList::Invalid)
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
            Shape::Ignition | Shape::Designers => {
                to_text(&IgnitionMetadata { total, matching, limit, offset })
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

/// The keys of a designer as Ignition shows it. What only its own gateway knows is null.
pub(super) const DESIGNER_KEYS: [(&str, Option<Column>); 9] = [
    ("id", Some(Column::Id)),
    ("user", Some(Column::Username)),
    ("project", Some(Column::Project)),
    ("address", Some(Column::ClientAddress)),
    ("uptime", Some(Column::Uptime)),
    ("lastcomm", Some(Column::LastComm)),
    ("timeout", None),
    ("memory", None),
    ("timezone", None),
];

fn write_designer(seen: &Seen<'_>, out: &mut Vec<u8>) {
    for (n, (name, column)) in DESIGNER_KEYS.into_iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"{\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match column {
            Some(column) => seen.write_value(column, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

pub(super) fn to_text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("text and numbers are JSON")
}
