use std::{
    net::IpAddr,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    Came, Counts, Outlet, Page, ResumeToken, SessionInfo, SessionScope, Standing, Who, Windows,
    ended::EndedSession,
    json,
    presence::{End, Patience, Presence},
    rows::Place,
    token::Secret,
};

/// Who a session is: fixed when it begins.
#[derive(Clone, Debug)]
pub struct Identity {
    /// A UUID, or the designer's own id.
    pub id: Arc<str>,
    /// The user, or [`UNAUTHENTICATED`](super::UNAUTHENTICATED).
    pub username: Arc<str>,
    /// Whether the user name was verified. Until when that holds, [`Session::is_authorized`] says.
    pub authorized: bool,
    /// The project.
    pub project: Arc<str>,
    /// Where it runs.
    pub scope: SessionScope,
    /// The client's address.
    pub client_address: IpAddr,
    /// The address of whoever made the connection: the client's own, or its proxy's.
    pub peer_address: IpAddr,
    /// The cleaned `User-Agent`.
    pub user_agent: Arc<str>,
}

/// What one connection brings when it joins: who it is, and the page it serves.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The session to begin, or to join if its id is live.
    pub identity: Identity,
    /// The id of the page that the connection serves.
    pub page_id: Arc<str>,
    /// Where that page is in the application.
    pub page_path: Option<Arc<str>>,
    /// The session to come back to, if the token is good; a bad one is a new session.
    pub resume: Option<ResumeToken>,
    /// Until when the identity is authorized, in milliseconds of the server's clock; `None` is for ever.
    pub expires_ms: Option<u64>,
    /// Whether the client speaks `headcount.v1`: then it gets a token of its own.
    pub speaks_headcount: bool,
    /// The way to the connection's task.
    pub outlet: Arc<dyn Outlet>,
}

/// One client's presence in one project, from its first connection to its end.
///
/// Its connections hold it directly, so counting a message looks nothing up. Who it is never changes; what is counted
/// is in a cache line beside those of other sessions (`tally.rs`), and what is open behind a lock of its own.
#[derive(Debug)]
pub struct Session {
    who: Who,
    began_ms: u64,
    place: Place,
    presence: Mutex<Presence>,
    secret: OnceLock<Secret>,
}

/// What is open in a session, for as long as this is held. What is listed of it is brought up to date at the end.
#[derive(Debug)]
pub(super) struct Open<'a> {
    presence: MutexGuard<'a, Presence>,
    place: &'a Place,
}

impl Session {
    /// A session that begins now, without a connection or a page yet.
    pub(super) fn begin(who: Who, place: Place, now_ms: u64) -> Self {
        Self { who, began_ms: now_ms, place, presence: Mutex::default(), secret: OnceLock::new() }
    }

    /// Who it is.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// When it began, in milliseconds of the server's clock.
    pub fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// A small number, which no other session has for as long as this one is held.
    pub fn number(&self) -> u32 {
        self.place.number()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Something came from the client: sets `lastComm` to zero (PROTOCOL 2.2).
    pub fn heard(&self, now_ms: u64) {
        self.place.heard(now_ms);
    }

    /// When something last came from the client, in milliseconds of the server's clock.
    pub fn last_heard_ms(&self) -> u64 {
        self.place.tally().last_comm_ms()
    }

    /// Whole messages came from the client: their payload, unmasked and reassembled (PROTOCOL 2.2).
    pub fn messages_came(&self, came: Came) {
        self.place.came(came);
    }

    /// One whole message of so many bytes came.
    pub fn message_came(&self, bytes: usize) {
        let mut came = Came::default();
        came.add(bytes);
        self.messages_came(came);
    }

    /// Whole messages were delivered to the client, of so many bytes of payload in all.
    pub fn messages_went(&self, messages: u64, bytes: u64) {
        self.place.went(messages, bytes);
    }

    /// Payload bytes delivered to the client, of all messages.
    pub fn bytes_received(&self) -> u64 {
        self.place.tally().counts().bytes_received
    }

    /// How many bytes a second of messages came from the client in the last ten seconds, or since the session began if
    /// that is less: an average that is some per cent off for a client that sends unevenly.
    pub fn bytes_per_second(&self, now_ms: u64) -> u64 {
        self.place.flow().bytes_per_second(self.began_ms, now_ms)
    }

    /// How long the last ping took that was answered, if any was, in milliseconds.
    pub fn rtt_ms(&self) -> Option<u32> {
        self.place.tally().rtt_ms()
    }

    /// The user did something (PROTOCOL 2.5, `activity`).
    pub fn user_acted(&self, now_ms: u64) {
        self.place.tally().acted(now_ms);
        self.place.mark();
    }

    /// When the user last did something, if ever; in milliseconds of the server's clock.
    pub fn last_activity_ms(&self) -> Option<u64> {
        self.place.tally().last_activity_ms()
    }

    /// When the user last did something, or came.
    pub(super) fn last_action_ms(&self) -> u64 {
        self.last_activity_ms().unwrap_or(self.began_ms)
    }

    /// Whether the user name was verified, and the token that did still holds.
    pub fn is_authorized(&self, now_ms: u64) -> bool {
        self.place.tally().is_authorized(&self.who, now_ms)
    }

    /// Until when the identity is authorized, if it is; the greatest number is for ever.
    pub(super) fn expires_ms(&self) -> u64 {
        self.place.tally().expires_ms()
    }

    /// The session has begun with a token that expires then.
    pub(super) fn expires_at(&self, at_ms: u64) {
        self.place.tally().set_expires_ms(at_ms);
    }

    /// A connection of the session brings a token. The one that expires last counts.
    pub(super) fn renew(&self, expires_ms: u64) {
        self.place.tally().renew(expires_ms);
    }

    /// The open pages, lost ones among them, in the order opened.
    pub fn pages(&self) -> Vec<Page> {
        lock(&self.presence).pages().to_vec()
    }

    /// What is open, all of one moment.
    pub fn standing(&self) -> Standing {
        let presence = lock(&self.presence);
        Standing {
            connections: presence.connections().len(),
            speaks_headcount: presence.connections().iter().any(|link| link.speaks_headcount),
            pages: presence.pages().to_vec(),
            ended_ms: presence.ended_ms(),
        }
    }

    /// What is counted, all of one moment.
    pub fn counts(&self) -> Counts {
        self.place.tally().counts()
    }

    /// How many connections are open; none if the session waits to be resumed.
    pub fn connections(&self) -> usize {
        lock(&self.presence).connections().len()
    }

    /// The row an administrator sees at `now_ms`; `None` once the session has ended.
    pub fn info(&self, now_ms: u64) -> Option<SessionInfo> {
        let page_ids: Vec<_> = {
            let presence = lock(&self.presence);
            if presence.is_ended() {
                return None;
            }
            presence.page_ids()
        };
        let (who, tally) = (&self.who, self.place.tally());
        let counts = tally.counts();
        Some(SessionInfo {
            user_agent: who.user_agent().clone(),
            id: who.id().into(),
            username: who.username().into(),
            project: who.project().into(),
            // A session may begin, or be heard, after the snapshot took its `now`.
            uptime: now_ms.saturating_sub(self.began_ms),
            client_address: who.client_address(),
            last_comm: now_ms.saturating_sub(tally.last_comm_ms()),
            session_scope: who.scope(),
            active_pages: page_ids.len(),
            recent_bytes_sent: counts.recent_bytes_sent,
            total_bytes_sent: counts.total_bytes_sent,
            page_ids,
            authorized: tally.is_authorized(who, now_ms),
        })
    }

    /// Writes the row an administrator sees, byte for byte as lists of `getSessionInfo` have it, with these counts and
    /// pages; `is_masked` for those who may not see who somebody is.
    pub fn write_row(&self, now_ms: u64, counts: Counts, pages: &[Page], is_masked: bool, out: &mut Vec<u8>) {
        let tally = self.place.tally();
        let moment = json::Moment::new(tally, counts, &self.who, (self.began_ms, now_ms), is_masked);
        let active_pages = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let page_ids = json::texts(pages.iter().map(|page| &*page.id));
        json::write_row(out, &self.who, &moment, (active_pages, &page_ids));
    }

    /// Whether a token is this session's, for the same project and identity.
    pub(super) fn may_be_resumed_by(&self, newcomer: &Identity, token: &ResumeToken) -> bool {
        self.secret.get().is_some_and(|secret| secret.is(token.secret())) && self.who.is_of(newcomer)
    }

    /// The token of this session, made when it is first asked for.
    pub(super) fn token(&self) -> ResumeToken {
        ResumeToken::new(self.who.id(), *self.secret.get_or_init(Secret::random))
    }

    /// What the session may wait for if it is left now.
    pub(super) fn patience(&self, windows: &Windows) -> Patience {
        let is_mobile = matches!(self.who.scope(), SessionScope::Ios | SessionScope::Android);
        Patience {
            resume_ms: if is_mobile { windows.resume_mobile_ms } else { windows.resume_ms },
            reload_ms: self.secret.get().map(|_| windows.reload_ms),
            answer_ms: windows.answer_ms,
        }
    }

    /// What is open, for those who change it.
    pub(super) fn presence(&self) -> Open<'_> {
        Open { presence: lock(&self.presence), place: &self.place }
    }

    /// The session as it is remembered.
    pub(super) fn ended(&self, end: End, now_ms: u64) -> EndedSession {
        let (counts, messages_received) = self.place.totals();
        EndedSession {
            who: self.who.clone(),
            authorized: self.is_authorized(now_ms),
            began_ms: self.began_ms,
            ended_ms: now_ms,
            reason: end.reason,
            page_ids: end.pages,
            counts,
            messages_received,
        }
    }
}

impl Deref for Open<'_> {
    type Target = Presence;

    fn deref(&self) -> &Presence {
        &self.presence
    }
}

impl DerefMut for Open<'_> {
    fn deref_mut(&mut self) -> &mut Presence {
        &mut self.presence
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // One that has ended keeps its last row until it has none, or it would be seen without its pages.
        if self.presence.take_row_changed() && !self.presence.is_ended() {
            self.place.relist(&self.presence);
        }
        if self.presence.take_changed() {
            self.place.mark();
        }
    }
}

/// Nothing that holds these locks can panic between two stores, so a poisoned one still holds whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
