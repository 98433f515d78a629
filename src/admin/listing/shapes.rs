//! What an answer says beside its rows, and designers as Ignition shows them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::item::{Column, Seen};

/// What a list says of itself, beside its items.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ListMetadata")]
pub(in crate::admin) struct Metadata<'a> {
    /// Sessions that were live at `takenAt`.
    pub(super) total: usize,
    /// How many of them fit.
    pub(super) matching: usize,
    /// The limit that was asked for; -1 is all.
    pub(super) limit: i64,
    /// The offset that was asked for.
    pub(super) offset: usize,
    /// With this, `offset` and `limit` show other parts of the very same list; null if all that fits is here, or if
    /// there is too much of it. It is kept until it was not asked for in 30 s.
    pub(super) snapshot_id: Option<&'a str>,
    /// When the list was made.
    #[schemars(extend("format" = "date-time"))]
    pub(super) taken_at: String,
    /// Whether every node has answered.
    pub(super) complete: bool,
    /// The servers that were asked.
    pub(super) nodes: [Node; 1],
}

/// One server's part in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Node {
    /// The server's name.
    pub(super) name: &'static str,
    /// Whether it has answered.
    pub(super) answered: bool,
    /// How many sessions were live there.
    pub(super) sessions: usize,
}

/// What a list in Ignition's shape says of itself.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::admin) struct IgnitionMetadata {
    /// How many there were.
    pub(in crate::admin) total: usize,
    /// How many of them fit.
    pub(in crate::admin) matching: usize,
    /// The limit that was asked for; -1 is all.
    pub(in crate::admin) limit: i64,
    /// The offset that was asked for.
    pub(in crate::admin) offset: usize,
}

/// Items, and what is to be said of them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}s")]
pub(in crate::admin) struct Items<T, M> {
    pub(in crate::admin) items: Vec<T>,
    pub(in crate::admin) metadata: M,
}

/// The keys of a designer as Ignition shows it. What only its own gateway knows is null.
pub(in crate::admin) const DESIGNER_KEYS: [(&str, Option<Column>); 9] = [
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

pub(super) fn write_designer(seen: &Seen<'_>, out: &mut Vec<u8>) {
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

pub(in crate::admin) fn to_text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("text and numbers are JSON")
}
