use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Outlet, Page, ResumeToken, SessionInfo, SessionScope, Windows,
    ended::EndedSession,
    presence::{End, Patience, Presence},
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
    /// The cleaned `User-Agent`.
    pub user_agent: Arc<str>,
}

impl Identity {
    /// Whether a connection that names a live session's id may join it: it must be the same user in the same
    /// project and scope (PROTOCOL 2.1, `designerId`).
    fn may_join(&self, live: &Self) -> bool {
        self.username == live.username
            && self.authorized == live.authorized
            && self.project == live.project
            && self.scope == live.scope
    }
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
    /// Whether the client shall get a token of its own.
    pub wants_token: bool,
    /// The way to the connection's task.
    pub outlet: Arc<dyn Outlet>,
}

/// One client's presence in one project, from its first connection to its end.
///
/// Its connections hold it directly, so counting a message looks nothing up. Identity never changes;
/// what does is behind two small locks that are held for a few stores at a time, so a row is never torn:
/// `recentBytesSent` and `totalBytesSent` are always those of the same message.
#[derive(Debug)]
pub struct Session {
    identity: Identity,
    began_ms: u64,
    last_comm_ms: AtomicU64,
    /// Zero until the user did something.
    last_activity_ms: AtomicU64,
    /// When the last of the tokens expires that proved the identity; the greatest number is never.
    expires_ms: AtomicU64,
    traffic: Mutex<Traffic>,
    presence: Mutex<Presence>,
    secret: OnceLock<Secret>,
}

/// Payload bytes, of whole messages only.
#[derive(Debug, Default)]
struct Traffic {
    recent_bytes_sent: u64,
    total_bytes_sent: u64,
    bytes_received: u64,
}

impl Session {
    /// A session that begins now, without a connection or a page yet.
    pub(super) fn begin(identity: Identity, now_ms: u64) -> Self {
        Self {
            identity,
            began_ms: now_ms,
            last_comm_ms: AtomicU64::new(now_ms),
            last_activity_ms: AtomicU64::new(0),
            expires_ms: AtomicU64::new(u64::MAX),
            traffic: Mutex::default(),
            presence: Mutex::default(),
            secret: OnceLock::new(),
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Something came from the client: sets `lastComm` to zero (PROTOCOL 2.2).
    pub fn heard(&self, now_ms: u64) {
        // The later of two connections' reads wins, whichever of them stores last.
        self.last_comm_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// When something last came from the client, in milliseconds of the server's clock.
    pub fn last_heard_ms(&self) -> u64 {
        self.last_comm_ms.load(Ordering::Relaxed)
    }

    /// A whole message came from the client: `bytes` of payload, unmasked and reassembled (PROTOCOL 2.2).
    pub fn message_came(&self, bytes: usize) {
        let mut traffic = lock(&self.traffic);
        traffic.recent_bytes_sent = bytes as u64;
        traffic.total_bytes_sent += bytes as u64;
    }

    /// A whole message of `bytes` of payload was delivered to the client.
    pub fn message_went(&self, bytes: usize) {
        lock(&self.traffic).bytes_received += bytes as u64;
    }

    /// Payload bytes delivered to the client, of all messages.
    pub fn bytes_received(&self) -> u64 {
        lock(&self.traffic).bytes_received
    }

    /// The user did something (PROTOCOL 2.5, `activity`).
    pub fn user_acted(&self, now_ms: u64) {
        self.last_activity_ms.fetch_max(now_ms.max(1), Ordering::Relaxed);
    }

    /// When the user last did something, if ever; in milliseconds of the server's clock.
    pub fn last_activity_ms(&self) -> Option<u64> {
        Some(self.last_activity_ms.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// When the user last did something, or came.
    pub(super) fn last_action_ms(&self) -> u64 {
        self.last_activity_ms().unwrap_or(self.began_ms)
    }

    /// Whether the identity was verified and still holds.
    pub fn is_authorized(&self, now_ms: u64) -> bool {
        self.identity.authorized && now_ms < self.expires_ms()
    }

    /// Until when the identity is authorized, if it is; the greatest number is for ever.
    pub(super) fn expires_ms(&self) -> u64 {
        self.expires_ms.load(Ordering::Relaxed)
    }

    /// For `expiry.rs` alone, which keeps a queue in step with it.
    pub(super) fn set_expires_ms(&self, at_ms: u64) {
        self.expires_ms.store(at_ms, Ordering::Relaxed);
    }

    /// The open pages, lost ones among them, in the order opened.
    pub fn pages(&self) -> Vec<Page> {
        lock(&self.presence).pages().to_vec()
    }

    /// How many connections are open; none if the session waits to be resumed.
    pub fn connections(&self) -> usize {
        lock(&self.presence).connections().len()
    }

    /// The row an administrator sees at `now_ms`; `None` once the session has ended.
    pub fn info(&self, now_ms: u64) -> Option<SessionInfo> {
        let Identity { id, username, project, scope, client_address, user_agent, .. } = &self.identity;
        let page_ids: Vec<_> = {
            let presence = lock(&self.presence);
            if presence.is_ended() {
                return None;
            }
            presence.page_ids()
        };
        let (recent_bytes_sent, total_bytes_sent) = {
            let traffic = lock(&self.traffic);
            (traffic.recent_bytes_sent, traffic.total_bytes_sent)
        };
        Some(SessionInfo {
            user_agent: user_agent.clone(),
            id: id.clone(),
            username: username.clone(),
            project: project.clone(),
            // A session may begin, or be heard, after the snapshot took its `now`.
            uptime: now_ms.saturating_sub(self.began_ms),
            client_address: *client_address,
            last_comm: now_ms.saturating_sub(self.last_comm_ms.load(Ordering::Relaxed)),
            session_scope: *scope,
            active_pages: page_ids.len(),
            recent_bytes_sent,
            total_bytes_sent,
            page_ids,
            authorized: self.is_authorized(now_ms),
        })
    }

    /// Whether a connection that names this session's id may join it.
    pub(super) fn may_be_joined_by(&self, newcomer: &Identity) -> bool {
        newcomer.may_join(&self.identity)
    }

    /// Whether a token is this session's, for the same project and identity.
    pub(super) fn may_be_resumed_by(&self, newcomer: &Identity, token: &ResumeToken) -> bool {
        let live = &self.identity;
        self.secret.get().is_some_and(|secret| secret.is(token.secret()))
            && newcomer.project == live.project
            && newcomer.username == live.username
            && newcomer.authorized == live.authorized
    }

    /// The token of this session, made when it is first asked for.
    pub(super) fn token(&self) -> ResumeToken {
        ResumeToken::new(&self.identity.id, *self.secret.get_or_init(Secret::random))
    }

    /// What the session may wait for if it is left now.
    pub(super) fn patience(&self, windows: &Windows) -> Patience {
        let is_mobile = matches!(self.identity.scope, SessionScope::Ios | SessionScope::Android);
        Patience {
            resume_ms: if is_mobile { windows.resume_mobile_ms } else { windows.resume_ms },
            reload_ms: self.secret.get().map(|_| windows.reload_ms),
        }
    }

    /// What is open, for those who change it.
    pub(super) fn presence(&self) -> MutexGuard<'_, Presence> {
        lock(&self.presence)
    }

    /// The session as it is remembered.
    pub(super) fn ended(&self, end: End, now_ms: u64) -> EndedSession {
        let traffic = lock(&self.traffic);
        EndedSession {
            identity: Identity { authorized: self.is_authorized(now_ms), ..self.identity.clone() },
            began_ms: self.began_ms,
            ended_ms: now_ms,
            reason: end.reason,
            page_ids: end.pages,
            recent_bytes_sent: traffic.recent_bytes_sent,
            total_bytes_sent: traffic.total_bytes_sent,
            bytes_received: traffic.bytes_received,
        }
    }
}

/// Nothing that holds these locks can panic between two stores, so a poisoned one still holds whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
