#[cfg(doc)]
use super::SessionScope;
use super::{Limits, Windows};

/// What a registry goes by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How many there may be.
    pub limits: Limits,
    /// How long what is gone may come back.
    pub windows: Windows,
    /// How many ended sessions are remembered.
    pub max_ended: usize,
    /// Whether one user may have several sessions.
    pub one_session_per_user: OneSessionPerUser,
    /// How long a user may do nothing, in milliseconds and by scope in the order of [`SessionScope::ALL`].
    pub idle_ms: [Option<u64>; 4],
    /// How long a session may go on after its token has expired, in milliseconds.
    pub token_grace_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            windows: Windows::default(),
            max_ended: 10_000,
            one_session_per_user: OneSessionPerUser::Off,
            idle_ms: [None; 4],
            token_grace_ms: 30_000,
        }
    }
}

/// Whether one user may have several sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OneSessionPerUser {
    /// As many as the limits allow.
    #[default]
    Off,
    /// A second login is refused, unless the first has no connection left and only waits for its client.
    Reject,
    /// A newer login ends the older session with 4002.
    Replace,
}

/// Why a connection could not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// `max_sessions` is reached.
    #[error("the server is full: {0} sessions are live")]
    Full(usize),
    /// `max_sessions_per_address` is reached.
    #[error("too many sessions from this address: the limit is {0}")]
    Address(usize),
    /// `max_sessions_per_user` is reached.
    #[error("too many sessions of this user: the limit is {0}")]
    User(usize),
    /// `max_sessions_per_project` is reached.
    #[error("too many sessions in this project: the limit is {0}")]
    Project(usize),
    /// `max_unauthenticated` is reached.
    #[error("too many sessions, or connections, without a user: the limit is {0}")]
    Unauthenticated(usize),
    /// `max_connections_per_session` is reached.
    #[error("too many connections of this session: the limit is {0}")]
    Connections(usize),
    /// `max_pages_per_session` is reached.
    #[error("too many pages of this session: the limit is {0}")]
    Pages(usize),
    /// The id is live under another identity, scope or project.
    #[error("designerId is in use by another user or project")]
    Taken,
}
