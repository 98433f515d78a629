//! The model: who is connected, and what is known of each.
//!
//! Pure: no socket, no task, no clock. Time comes in as `now_ms`, whole milliseconds on one monotonic clock.
//!
//! ```
//! use std::sync::Arc;
//! use headcount::session::{
//!     Glob, Identity, Joining, Leaving, Order, Outlet, Registry, Rules, SessionScope,
//! };
//!
//! /// The way to a connection that never listens.
//! #[derive(Debug)]
//! struct Deaf;
//! impl Outlet for Deaf {
//!     fn tell(&self, _: Order) -> bool {
//!         false
//!     }
//! }
//!
//! let registry = Arc::new(Registry::new(Rules::default()));
//! let identity = Identity {
//!     id: "d-1".into(),
//!     username: "billy".into(),
//!     authorized: false,
//!     project: "plant".into(),
//!     scope: SessionScope::Designer,
//!     client_address: "10.0.0.7".parse().unwrap(),
//!     peer_address: "10.0.0.7".parse().unwrap(),
//!     user_agent: "Designer/8".into(),
//! };
//! let joining = Joining {
//!     identity,
//!     page_id: "p1".into(),
//!     page_path: None,
//!     resume: None,
//!     expires_ms: None,
//!     speaks_headcount: false,
//!     outlet: Arc::new(Deaf),
//! };
//! let member = registry.join(joining, 1_000)?;
//! member.session().message_came(5);
//!
//! let rows: Vec<_> = registry.session_info(Some(&Glob::new("bil*")), None, 3_500).collect();
//! assert_eq!((rows[0].uptime, rows[0].total_bytes_sent), (2_500, 5));
//!
//! // With its last page the session ends, and is remembered.
//! member.leave(Leaving::Closed { going_away: false }, 4_000);
//! assert!(registry.is_empty());
//! assert_eq!(registry.ended().0[0].counts.total_bytes_sent, 5);
//! # Ok::<(), headcount::session::JoinError>(())
//! ```
//!
//! Read in this order: [`SessionInfo`] is the row an administrator sees; [`Session`] is what the server keeps;
//! `presence` is its life, as bookkeeping alone; [`Registry`] is all of them; [`Membership`] is one connection's
//! place in one; [`Glob`] picks some, [`filter`] by any field; [`News`] is what has changed; [`text`] keeps hostile
//! input harmless.

mod acts;
mod candidates;
mod census;
mod changes;
mod deadlines;
mod ended;
mod ending;
pub mod filter;
mod glob;
mod index;
mod info;
mod json;
mod listing;
mod mask;
mod membership;
mod outlet;
mod presence;
mod quota;
mod rate;
mod registry;
mod rows;
mod rules;
mod scope;
#[expect(clippy::module_inception, reason = "the module is named for what it holds: one session")]
mod session;
mod shared;
mod tally;
pub mod text;
mod token;
mod who;

pub use candidates::{Candidates, Named};
pub use census::{Census, CensusOf, Names, State, Traffic};
pub use changes::{Gone, News};
pub use deadlines::Alarm;
pub use ended::EndedSession;
pub use ending::{EndReason, Leaving, Windows};
pub use glob::Glob;
pub use info::SessionInfo;
pub use listing::Listing;
pub use mask::network_of;
pub use membership::{Membership, PageError};
pub use outlet::{FromAdministrator, Order, Outlet, SUBPROTOCOL, control_message};
pub use presence::{Page, Standing};
pub use quota::Limits;
pub(crate) use quota::place_of;
pub use registry::Registry;
pub use rules::{JoinError, OneSessionPerUser, Rules};
pub use scope::{SessionScope, UnknownScope};
pub use session::{Identity, Joining, Session};
pub use tally::{Came, Counts};
pub use token::ResumeToken;
pub use who::Who;

#[cfg(test)]
mod model;
#[cfg(test)]
mod stress;
#[cfg(test)]
pub(crate) mod tests;

/// The user name of a session that brought no identity (PROTOCOL 2.3).
pub const UNAUTHENTICATED: &str = "Unauthenticated";
