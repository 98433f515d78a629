//! Lists of live sessions: filtered, sorted, in pages, or all of them as they are written (PROTOCOL 3.1,
//! `listSessions`).

#[cfg(test)]
mod tests;

use std::{sync::Arc, vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::{
    caller::Lacks,
    calls::kind,
    csv,
    describe::takes,
    item::{Column, Fields, NODE, Seen},
    methods::Methods,
    rpc::Error,
    select::Question,
    snapshots::Snapshot,
    source::{PART_BYTES, Source},
};
use crate::{
    config::tokens::Scope,
    session::{
        Page, Session,
        filter::{Filter, Invalid, Record, Value as FieldValue},
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

/// What the pages of one session say of themselves.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PagesMetadata {
    /// How many pages are open.
    total: usize,
}

/// A page as Ignition shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IgnitionPage {
    /// The page's id.
    id: Arc<str>,
    /// When it was opened, in milliseconds since 1970.
    created: i64,
    /// When anything last came from its session, likewise.
    last_keepalive: i64,
    /// Always null: nobody measures it.
    roundtrip: (),
    /// The connections that serve it.
    connect_count: usize,
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
        Ok(Asked { question, written, limit, offset, fields, snapshot_id })
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

fn text(name: &str, value: Option<Value>) -> Result<Option<String>, NoList> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(other) => Err(NoList::Invalid(format!("{name} must be a string or null, not {}", kind(&other)))),
    }
}

fn whole(name: &str, value: Option<Value>) -> Result<Option<i64>, NoList> {
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
    Ok(Box::new(List { methods: methods.clone(), asked, shape, snapshot, begun: None }))
}

struct List {
    methods: Methods,
    asked: Asked,
    shape: Shape,
    /// To read on in.
    snapshot: Option<Arc<Snapshot>>,
    begun: Option<Begun>,
}

/// What is written, once that is known.
struct Begun {
    rows: vec::IntoIter<Arc<Session>>,
    is_first: bool,
    /// What is written after the last row.
    tail: String,
}

impl Source for List {
    fn looks(&self) -> usize {
        /// Looking at a session with a filter, or writing it, takes about so many times as long as a row of
        /// getSessionInfo.
        const DEARER: usize = 4;
        let looks = match (&self.begun, &self.snapshot) {
            (Some(begun), _) => begun.rows.len(),
            (None, Some(snapshot)) => snapshot.matching,
            (None, None) => self.asked.question.looks(&self.methods.registry, self.methods.caller.view()),
        };
        looks.saturating_mul(DEARER)
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        let is_new = self.begun.is_none();
        let mut begun = self.begun.take().unwrap_or_else(|| self.begin());
        let (shape, clock, mask) = (self.shape, self.methods.clock, self.methods.caller.view().mask());
        match shape {
            _ if !is_new => {}
            Shape::Ndjson => {}
            Shape::Csv => csv::write_header(&self.asked.fields, out),
            Shape::Json | Shape::Ignition | Shape::Designers => out.extend_from_slice(b"{\"items\":["),
        }
        let now_ms = clock.now_ms();
        while out.len() < PART_BYTES {
            let Some(session) = begun.rows.next() else {
                out.extend_from_slice(begun.tail.as_bytes());
                return false;
            };
            let seen = Seen::for_row(&session, clock, now_ms, mask);
            let is_first = std::mem::replace(&mut begun.is_first, false);
            if !is_first && !matches!(shape, Shape::Ndjson | Shape::Csv) {
                out.push(b',');
            }
            match shape {
                Shape::Csv => csv::write_row(&seen, &self.asked.fields, out),
                Shape::Designers => write_designer(&seen, out),
                Shape::Ndjson => {
                    seen.write_json(&self.asked.fields, out);
                    out.push(b'\n');
                }
                Shape::Json | Shape::Ignition => seen.write_json(&self.asked.fields, out),
            }
        }
        self.begun = Some(begun);
        true
    }
}

impl List {
    /// Selects, and keeps the selection if there is more of it than is shown.
    fn begin(&self) -> Begun {
        let Methods { registry, clock, snapshots, caller, .. } = &self.methods;
        let view = caller.view();
        let Asked { question, limit, offset, .. } = &self.asked;
        let most = usize::try_from(*limit).unwrap_or(usize::MAX);
        if let Some(snapshot) = &self.snapshot {
            return self.kept(snapshot, most);
        }
        let taken_ms = clock.now_ms();
        if *offset == 0 && most == usize::MAX {
            let rows = question.select_all(registry, *clock, view);
            let tail = self.tail((view.live(registry).max(rows.len()), rows.len()), None, taken_ms);
            return Begun { rows: rows.into_iter(), is_first: true, tail };
        }
        let selected = question.select(registry, *clock, view);
        let matching = selected.len();
        // Some may have left since the last was looked at.
        let total = view.live(registry).max(matching);
        let is_all = *offset == 0 && most >= matching;
        let rows = if self.shape != Shape::Json || is_all {
            selected.into_page(*offset, most)
        } else {
            match snapshots.keep((total, selected), (view, &self.asked.written), *clock) {
                Ok(snapshot) => return self.kept(&snapshot, most),
                Err(selected) => selected.into_page(*offset, most),
            }
        };
        let tail = self.tail((total, matching), None, taken_ms);
        Begun { rows: rows.into_iter(), is_first: true, tail }
    }

    fn kept(&self, snapshot: &Snapshot, most: usize) -> Begun {
        let rows = snapshot.page(self.asked.offset, most);
        let counts = (snapshot.total, snapshot.matching);
        let tail = self.tail(counts, Some(&snapshot.id), snapshot.taken_ms);
        Begun { rows: rows.into_iter(), is_first: true, tail }
    }

    fn tail(&self, (total, matching): (usize, usize), snapshot_id: Option<&str>, taken_ms: u64) -> String {
        let Asked { limit, offset, .. } = &self.asked;
        let (limit, offset) = (*limit, *offset);
        let metadata = match self.shape {
            Shape::Ndjson | Shape::Csv => return String::new(),
            Shape::Ignition | Shape::Designers => {
                to_text(&IgnitionMetadata { total, matching, limit, offset })
            }
            Shape::Json => {
                let taken_at = self.methods.clock.rfc3339(taken_ms);
                let nodes = [Node { name: NODE, answered: true, sessions: total }];
                let complete = true;
                to_text(&Metadata { total, matching, limit, offset, snapshot_id, taken_at, complete, nodes })
            }
        };
        format!(r#"],"metadata":{metadata}}}"#)
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

/// One session as the caller sees it at this moment.
fn seen<'a>(methods: &Methods, session: &'a Session) -> Seen<'a> {
    let clock = methods.clock;
    Seen::for_row(session, clock, clock.now_ms(), methods.caller.view().mask())
}

/// One session with these keys.
pub(super) fn item(methods: &Methods, session: &Session, fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    seen(methods, session).write_json(fields, &mut out);
    out
}

/// The pages of one session, each with the keys that an item has for it.
pub(super) fn pages(methods: &Methods, session: &Session) -> Vec<u8> {
    let items = seen(methods, session).pages();
    let metadata = PagesMetadata { total: items.len() };
    to_text(&Items { items, metadata }).into_bytes()
}

/// The pages of one session as Ignition shows them.
pub(super) fn ignition_pages(methods: &Methods, session: &Session) -> Vec<u8> {
    let clock = methods.clock;
    let seen = seen(methods, session);
    let heard = match seen.value(Column::LastCommAt) {
        FieldValue::Time(at) => at,
        _ => 0,
    };
    let page = |page: &Page| IgnitionPage {
        id: page.id.clone(),
        created: clock.unix_ms(page.opened_ms),
        last_keepalive: heard,
        roundtrip: (),
        connect_count: page.connections(),
    };
    let items: Vec<_> = seen.standing().pages.iter().map(page).collect();
    let metadata = IgnitionMetadata { total: items.len(), matching: items.len(), limit: -1, offset: 0 };
    to_text(&Items { items, metadata }).into_bytes()
}

fn to_text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("text and numbers are JSON")
}
