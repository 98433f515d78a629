//! A live session as `listSessions` shows it: its fields, and the same as JSON.

use std::{borrow::Cow, cell::OnceCell, net::IpAddr, sync::Arc};

use schemars::JsonSchema;
use serde::Serialize;

use super::view::Mask;
use crate::{
    edge::clock::Clock,
    session::{
        Counts, Page, SUBPROTOCOL, Session, Standing, Who,
        filter::{Field, Kind, Record, Texts, Value},
        text::shown,
    },
};

/// The name of this server among others. There are no others yet.
pub(super) const NODE: &str = "local";

/// What there is to know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    UserAgent,
    Id,
    Username,
    Project,
    Uptime,
    ClientAddress,
    LastComm,
    SessionScope,
    ActivePages,
    RecentBytesSent,
    TotalBytesSent,
    PageIds,
    Authorized,
    Connected,
    Connections,
    ConnectedAt,
    LastCommAt,
    LastActivity,
    BytesReceived,
    MessagesSent,
    BytesPerSecond,
    RttMs,
    /// Shown, and no field that can be asked for.
    Pages,
    Node,
    Subprotocol,
    PeerAddress,
}

impl Column {
    /// Whether the value changes although nothing happens to the session but time, and a sign that it is still there.
    pub(super) fn moves_by_itself(self) -> bool {
        matches!(
            self,
            Self::Uptime
                | Self::LastComm
                | Self::LastCommAt
                | Self::LastActivity
                | Self::BytesPerSecond
                | Self::RttMs
        )
    }
}

impl Field for Column {
    const ALL: &'static [(Self, &'static str, Kind)] = &[
        (Self::UserAgent, "userAgent", Kind::Text),
        (Self::Id, "id", Kind::Text),
        (Self::Username, "username", Kind::Text),
        (Self::Project, "project", Kind::Text),
        (Self::Uptime, "uptime", Kind::Number),
        (Self::ClientAddress, "clientAddress", Kind::Address),
        (Self::LastComm, "lastComm", Kind::Number),
        (Self::SessionScope, "sessionScope", Kind::Text),
        (Self::ActivePages, "activePages", Kind::Number),
        (Self::RecentBytesSent, "recentBytesSent", Kind::Number),
        (Self::TotalBytesSent, "totalBytesSent", Kind::Number),
        (Self::PageIds, "pageIds", Kind::Texts),
        (Self::Authorized, "authorized", Kind::Bool),
        (Self::Connected, "connected", Kind::Bool),
        (Self::Connections, "connections", Kind::Number),
        (Self::ConnectedAt, "connectedAt", Kind::Time),
        (Self::LastCommAt, "lastCommAt", Kind::Time),
        (Self::LastActivity, "lastActivity", Kind::Number),
        (Self::BytesReceived, "bytesReceived", Kind::Number),
        (Self::MessagesSent, "messagesSent", Kind::Number),
        (Self::BytesPerSecond, "bytesPerSecond", Kind::Number),
        (Self::RttMs, "rttMs", Kind::Number),
        (Self::Node, "node", Kind::Text),
        (Self::Subprotocol, "subprotocol", Kind::Text),
        (Self::PeerAddress, "peerAddress", Kind::Address),
    ];
}

/// The keys that an item shows, in the order of an item.
#[derive(Clone, Debug)]
pub(super) struct Fields(Vec<(Column, &'static str)>);

impl Fields {
    /// Where `pages` stands among the keys.
    const PAGES_AT: usize = 22;
    /// So many keys are those of `getSessionInfo`.
    const INFO: usize = 13;

    /// Every key of an item.
    pub(super) fn all() -> Self {
        let mut keys: Vec<_> = Column::ALL.iter().map(|(column, name, _)| (*column, *name)).collect();
        keys.insert(Self::PAGES_AT, (Column::Pages, "pages"));
        Self(keys)
    }

    /// The thirteen keys of `getSessionInfo`.
    pub(super) fn session_info() -> Self {
        let mut all = Self::all();
        all.0.truncate(Self::INFO);
        all
    }

    /// These keys, in the order of an item, whatever the order of the names.
    ///
    /// # Errors
    ///
    /// A name that is none, and those that are.
    pub(super) fn read<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let Self(all) = Self::all();
        let mut wanted = Vec::new();
        for name in names {
            let Some((column, _)) = all.iter().find(|(_, known)| *known == name) else {
                let shown = shown(name);
                let known: Vec<_> = all.iter().map(|(_, name)| *name).collect();
                return Err(format!("unknown field {shown} in fields; known: {}", known.join(", ")));
            };
            wanted.push(*column);
        }
        if wanted.is_empty() {
            return Err("fields needs at least one name".to_owned());
        }
        Ok(Self(all.into_iter().filter(|(column, _)| wanted.contains(column)).collect()))
    }

    /// Whether the keys of `getSessionInfo` are all there. They are the first then.
    fn has_info(&self) -> bool {
        self.0.get(Self::INFO - 1).is_some_and(|(column, _)| *column == Column::ALL[Self::INFO - 1].0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Column, &'static str)> {
        self.0.iter().copied()
    }
}

/// A page as an item shows it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Page")]
pub(super) struct ShownPage {
    /// The page's id.
    id: Arc<str>,
    /// Where it is in the application, if it said so.
    path: Option<Arc<str>>,
    /// Whether a connection serves it; false while it waits to be resumed.
    connected: bool,
    /// When it was opened.
    #[schemars(extend("format" = "date-time"))]
    opened_at: String,
}

/// A session at one moment, as somebody sees it. What changes is read when it is first asked for, and then stays.
pub(super) struct Seen<'a> {
    session: &'a Session,
    clock: Clock,
    now_ms: u64,
    mask: Mask,
    counts: OnceCell<Counts>,
    standing: OnceCell<Standing>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(session: &'a Session, clock: Clock, now_ms: u64, mask: Mask) -> Self {
        Self { session, clock, now_ms, mask, counts: OnceCell::new(), standing: OnceCell::new() }
    }

    /// As a row shows it: one that has ended, as it was then.
    pub(super) fn for_row(session: &'a Session, clock: Clock, now_ms: u64, mask: Mask) -> Self {
        let standing = session.standing();
        let now_ms = standing.ended_ms.map_or(now_ms, |ended_ms| ended_ms.min(now_ms));
        Self { standing: OnceCell::from(standing), ..Self::new(session, clock, now_ms, mask) }
    }

    pub(super) fn standing(&self) -> &Standing {
        self.standing.get_or_init(|| self.session.standing())
    }

    fn counts(&self) -> &Counts {
        self.counts.get_or_init(|| self.session.counts())
    }

    /// Milliseconds from a moment until now. It may be a little later than now: sessions go on meanwhile.
    fn since(&self, at_ms: u64) -> u64 {
        self.now_ms.saturating_sub(at_ms)
    }

    fn bytes_per_second(&self) -> u64 {
        // Its times stand still at its end, and nothing comes any more.
        let has_ended = self.standing.get().is_some_and(|standing| standing.ended_ms.is_some());
        if has_ended { 0 } else { self.session.bytes_per_second(self.now_ms) }
    }

    /// The session as a JSON object of these keys.
    pub(super) fn write_json(&self, fields: &Fields, out: &mut Vec<u8>) {
        let mut written = 0;
        if fields.has_info() {
            let (pages, is_masked) = (&self.standing().pages, self.mask == Mask::On);
            self.session.write_row(self.now_ms, *self.counts(), pages, is_masked, out);
            // The object goes on.
            out.pop();
            written = Fields::INFO;
        }
        for (n, (column, name)) in fields.iter().enumerate().skip(written) {
            out.extend_from_slice(if n == 0 { b"{\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            self.write_value(column, out);
        }
        out.push(b'}');
    }

    /// One value as JSON.
    pub(super) fn write_value(&self, column: Column, out: &mut Vec<u8>) {
        match self.value(column) {
            _ if column == Column::Pages => write(out, &self.pages()),
            Value::Texts(_) => {
                let ids: Vec<&str> = self.standing().pages.iter().map(|page| &*page.id).collect();
                write(out, &ids);
            }
            Value::Null => out.extend_from_slice(b"null"),
            Value::Text(text) => write(out, text),
            Value::Number(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Value::Bool(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
            Value::Address(_) => write(out, &self.address(column)),
            Value::Time(_) => write(out, &self.time(column)),
        }
    }

    /// An address as it is shown.
    pub(super) fn address(&self, column: Column) -> Cow<'_, str> {
        let who = self.session.who();
        let (text, address): (_, fn(&Who) -> IpAddr) = match column {
            Column::PeerAddress => (who.peer_address_text(), Who::peer_address),
            _ => (who.address_text(), Who::client_address),
        };
        match self.mask {
            Mask::Off => text.into(),
            Mask::On => self.mask.address(address(who)).to_string().into(),
        }
    }

    /// A time as it is shown: RFC 3339.
    pub(super) fn time(&self, column: Column) -> String {
        self.clock.rfc3339(match column {
            Column::LastCommAt => self.session.last_heard_ms(),
            _ => self.session.began_ms(),
        })
    }

    /// The open pages.
    pub(super) fn pages(&self) -> Vec<ShownPage> {
        let page = |page: &Page| ShownPage {
            id: page.id.clone(),
            path: page.path.clone(),
            connected: page.is_connected(),
            opened_at: self.clock.rfc3339(page.opened_ms),
        };
        self.standing().pages.iter().map(page).collect()
    }
}

impl Record for Seen<'_> {
    type Field = Column;

    fn id(&self) -> &str {
        self.session.who().id()
    }

    fn value(&self, column: Column) -> Value<'_> {
        let session = self.session;
        match column {
            Column::Uptime => Value::Number(self.since(session.began_ms())),
            Column::LastComm => Value::Number(self.since(session.last_heard_ms())),
            Column::ActivePages => Value::Number(self.standing().pages.len() as u64),
            Column::RecentBytesSent => Value::Number(self.counts().recent_bytes_sent),
            Column::TotalBytesSent => Value::Number(self.counts().total_bytes_sent),
            Column::PageIds => Value::Texts(self.standing()),
            Column::Authorized => Value::Bool(session.is_authorized(self.now_ms)),
            Column::Connected => Value::Bool(self.standing().connections > 0),
            Column::Connections => Value::Number(self.standing().connections as u64),
            Column::ConnectedAt => Value::Time(self.clock.unix_ms(session.began_ms())),
            Column::LastCommAt => Value::Time(self.clock.unix_ms(session.last_heard_ms())),
            Column::LastActivity => match session.last_activity_ms() {
                Some(at_ms) => Value::Number(self.since(at_ms)),
                None => Value::Null,
            },
            Column::BytesReceived => Value::Number(self.counts().bytes_received),
            Column::MessagesSent => Value::Number(self.counts().messages_sent),
            Column::BytesPerSecond => Value::Number(self.bytes_per_second()),
            Column::RttMs => match session.rtt_ms() {
                Some(ms) => Value::Number(ms.into()),
                None => Value::Null,
            },
            Column::Subprotocol if self.standing().speaks_headcount => Value::Text(SUBPROTOCOL),
            Column::Subprotocol => Value::Null,
            fixed => value_of(session.who(), fixed, self.mask),
        }
    }
}

/// The value of a field that never changes; none for those that do.
fn value_of(who: &Who, column: Column, mask: Mask) -> Value<'_> {
    match column {
        Column::UserAgent => Value::Text(mask.user_agent(who.user_agent())),
        Column::Id => Value::Text(who.id()),
        Column::Username => Value::Text(who.username()),
        Column::Project => Value::Text(who.project()),
        Column::ClientAddress => Value::Address(mask.address(who.client_address())),
        Column::PeerAddress => Value::Address(mask.address(who.peer_address())),
        Column::SessionScope => Value::Text(who.scope().as_str()),
        Column::Node => Value::Text(NODE),
        _ => Value::Null,
    }
}

/// A session that was selected, with what it is sorted by as that was then: an order by what changes while it is made
/// would be none.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    pub(super) session: Arc<Session>,
    key: Key,
}

#[derive(Clone, Copy, Debug)]
enum Key {
    /// It never changes, so it is asked for when it is needed.
    Fixed(Mask),
    Null,
    /// The one subprotocol there is: a session has it or not, as its connections come and go.
    Headcount,
    Number(u64),
    Bool(bool),
    Time(i64),
}

impl Keyed {
    /// `session` as it was seen, to be sorted by `column`.
    pub(super) fn new(session: &Arc<Session>, seen: &Seen<'_>, column: Option<Column>) -> Self {
        let key = match column.map(|column| seen.value(column)) {
            Some(Value::Text(_)) if column == Some(Column::Subprotocol) => Key::Headcount,
            None | Some(Value::Text(_) | Value::Address(_)) => Key::Fixed(seen.mask),
            Some(Value::Null | Value::Texts(_)) => Key::Null,
            Some(Value::Number(number)) => Key::Number(number),
            Some(Value::Bool(truth)) => Key::Bool(truth),
            Some(Value::Time(at)) => Key::Time(at),
        };
        Self { session: session.clone(), key }
    }
}

impl Record for Keyed {
    type Field = Column;

    fn id(&self) -> &str {
        self.session.who().id()
    }

    fn value(&self, column: Column) -> Value<'_> {
        match self.key {
            Key::Fixed(mask) => value_of(self.session.who(), column, mask),
            Key::Null => Value::Null,
            Key::Headcount => Value::Text(SUBPROTOCOL),
            Key::Number(number) => Value::Number(number),
            Key::Bool(truth) => Value::Bool(truth),
            Key::Time(at) => Value::Time(at),
        }
    }
}

impl Texts for Standing {
    fn any(&self, fits: &mut dyn FnMut(&str) -> bool) -> bool {
        self.pages.iter().any(|page| fits(&page.id))
    }
}

fn write(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a Vec takes plain data");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Joining, Registry, Rules, tests::joining};

    /// The thirteen keys of `getSessionInfo` are written together, by the writer of its lists.
    #[test]
    fn an_item_is_what_its_values_are_one_by_one() {
        let registry = Arc::new(Registry::new(Rules::default()));
        let hostile = "a\"b\\c\u{1}\u{7f}☃\u{2028}🙂/";
        for (address, text) in [("10.1.2.3", "plain"), ("2001:db8::1", hostile), ("127.0.0.1", "")] {
            let Joining { mut identity, .. } = joining(&format!("id {text}"), text, text);
            identity.client_address = address.parse().unwrap();
            identity.user_agent = text.into();
            let joining = Joining { identity, page_id: text.into(), ..joining("", "", "") };
            let member = registry.join(joining, 1_000).unwrap();
            member.session().message_came(1_234);
            for mask in [Mask::Off, Mask::On] {
                let seen = Seen::new(member.session(), Clock::start(), 61_000, mask);
                for fields in [Fields::all(), Fields::session_info()] {
                    let mut values = Vec::new();
                    for (column, name) in fields.iter() {
                        values.extend_from_slice(format!(",\"{name}\":").as_bytes());
                        seen.write_value(column, &mut values);
                    }
                    values[0] = b'{';
                    values.push(b'}');
                    let mut item = Vec::new();
                    seen.write_json(&fields, &mut item);
                    assert_eq!(String::from_utf8(item), String::from_utf8(values));
                }
            }
        }
    }
}
