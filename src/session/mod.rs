//! The model: who is connected, and what is known of each.
//!
//! Pure: no socket, no task, no clock. Time comes in as `now_ms`, whole milliseconds on one monotonic clock.
//!
//! ```
//! use std::sync::Arc;
//! use headcount::session::{Glob, Identity, Joining, Limits, Registry, SessionScope};
//!
//! let registry = Arc::new(Registry::new(Limits::default()));
//! let identity = Identity {
//!     id: "d-1".into(),
//!     username: "billy".into(),
//!     authorized: false,
//!     project: "plant".into(),
//!     scope: SessionScope::Designer,
//!     client_address: "10.0.0.7".parse().unwrap(),
//!     user_agent: "Designer/8".into(),
//! };
//! let member = registry.join(Joining { identity, page_id: "p1".into(), page_path: None }, 1_000)?;
//! member.session().message_came(5);
//!
//! let rows: Vec<_> = registry.session_info(Some(&Glob::new("bil*")), None, 3_500).collect();
//! assert_eq!((rows[0].uptime, rows[0].total_bytes_sent), (2_500, 5));
//!
//! // Leaving is dropping; with its last connection the session has ended.
//! drop(member);
//! assert!(registry.is_empty());
//! # Ok::<(), headcount::session::JoinError>(())
//! ```
//!
//! Read in this order: [`SessionInfo`] is the row an administrator sees; [`Session`] is what the server keeps;
//! [`Registry`] is all of them; [`Glob`] picks some, [`filter`] by any field; [`text`] keeps hostile input
//! harmless.

pub mod filter;
mod glob;
mod info;
mod registry;
mod scope;
#[expect(clippy::module_inception, reason = "the module is named for what it holds: one session")]
mod session;
pub mod text;

pub use glob::Glob;
pub use info::SessionInfo;
pub use registry::{JoinError, Limits, Membership, Registry};
pub use scope::{SessionScope, UnknownScope};
pub use session::{Identity, Joining, Session};

#[cfg(test)]
pub(crate) mod tests;

/// The user name of a session that brought no identity (PROTOCOL 2.3).
pub const UNAUTHENTICATED: &str = "Unauthenticated";
