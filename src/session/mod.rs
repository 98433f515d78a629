//! The model: who is connected, and what is known of each.
//!
//! Pure: no socket, no task, no clock. Time comes in as `now_ms`, whole milliseconds on one monotonic clock.
//!
//! Read in this order: [`SessionInfo`] is the row an administrator sees; [`Session`] is what the server keeps;
//! [`Registry`] is all of them; [`Glob`] picks some; [`text`] keeps hostile input harmless.

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
