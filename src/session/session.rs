use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{JoinError, SessionInfo, SessionScope};

/// Who a session is: fixed when it begins.
#[derive(Clone, Debug)]
pub struct Identity {
    /// A UUID, or the designer's own id.
    pub id: Arc<str>,
    /// The user, or [`UNAUTHENTICATED`](super::UNAUTHENTICATED).
    pub username: Arc<str>,
    /// Whether the user name was verified.
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
    traffic: Mutex<Traffic>,
    presence: Mutex<Presence>,
}

/// Payload bytes, of whole messages only.
#[derive(Debug, Default)]
struct Traffic {
    recent_bytes_sent: u64,
    total_bytes_sent: u64,
    bytes_received: u64,
}

/// What is open: the connections, and the pages that they serve.
#[derive(Debug, Default)]
struct Presence {
    connections: u32,
    /// In the order opened.
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    id: Arc<str>,
    path: Option<Arc<str>>,
    connections: u32,
}

impl Session {
    /// A session that begins now, without a connection or a page yet.
    pub(super) fn begin(identity: Identity, now_ms: u64) -> Self {
        Self {
            identity,
            began_ms: now_ms,
            last_comm_ms: AtomicU64::new(now_ms),
            traffic: Mutex::default(),
            presence: Mutex::default(),
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

    /// The paths of the open pages, in the order opened; `None` where the client did not say.
    pub fn page_paths(&self) -> Vec<Option<Arc<str>>> {
        lock(&self.presence).pages.iter().map(|page| page.path.clone()).collect()
    }

    /// The row an administrator sees at `now_ms`; `None` once the session has ended.
    pub fn info(&self, now_ms: u64) -> Option<SessionInfo> {
        let Identity { id, username, authorized, project, scope, client_address, user_agent } =
            &self.identity;
        let page_ids: Vec<_> = {
            let presence = lock(&self.presence);
            if presence.connections == 0 {
                return None;
            }
            presence.pages.iter().map(|page| page.id.clone()).collect()
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
            authorized: *authorized,
        })
    }

    pub(super) fn may_be_joined_by(&self, newcomer: &Identity) -> bool {
        newcomer.may_join(&self.identity)
    }

    /// Adds a connection that serves a page; a page that is open already gains one more connection.
    ///
    /// # Errors
    ///
    /// `max` connections are there already.
    pub(super) fn connect(
        &self,
        page_id: &Arc<str>,
        path: Option<Arc<str>>,
        max: Option<usize>,
    ) -> Result<(), JoinError> {
        let mut presence = lock(&self.presence);
        if let Some(max) = max
            && presence.connections as usize >= max
        {
            return Err(JoinError::Connections(max));
        }
        presence.connections += 1;
        match presence.pages.iter_mut().find(|page| page.id == *page_id) {
            Some(page) => {
                page.connections += 1;
                page.path = path.or_else(|| page.path.take());
            }
            None => presence.pages.push(Page { id: page_id.clone(), path, connections: 1 }),
        }
        Ok(())
    }

    /// Takes a connection away, and its page if no other connection serves that one.
    /// Answers whether it was the session's last connection.
    pub(super) fn disconnect(&self, page_id: &str) -> bool {
        let mut presence = lock(&self.presence);
        presence.connections -= 1;
        if let Some(at) = presence.pages.iter().position(|page| &*page.id == page_id) {
            presence.pages[at].connections -= 1;
            if presence.pages[at].connections == 0 {
                presence.pages.remove(at);
            }
        }
        presence.connections == 0
    }
}

/// Nothing that holds these locks can panic between two stores, so a poisoned one still holds whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
