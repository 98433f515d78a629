//! Single sessions: as items, their pages, and both as Ignition shows them.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    item::{Column, Fields, Seen},
    listing::{IgnitionMetadata, Items, to_text},
    methods::Methods,
};
use crate::session::{
    Page, Session,
    filter::{Record, Value},
};

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
        Value::Time(at) => at,
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
