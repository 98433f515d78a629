//! Watches (PROTOCOL 3.1, `watchSessions`; 3.2, `/api/v1/events`): who is there now, and from then on what changes.
//!
//! ```text
//!  session::Registry ── news ──► hub ── inbox ──► group ── batch ──► queue ── told ──► query socket, event stream
//!     marks, ends          to every group    one evaluation      a watcher each
//! ```
//!
//! Watchers that ask the same are a [`group`]: which sessions fit is found out once for all of them, and a batch is
//! written once. The [`hub`] hands out to the groups what the registry tells. What a watcher has not taken yet waits in
//! its [`queue`], which has a bound: beyond it everything is thrown away, and the watcher gets a fresh snapshot.
//! While nobody watches, nothing of this runs.
//!
//! A group may be asked at any moment who fits, and tells its watchers once an interval. Whoever joins in between is a
//! cohort of its own until then: it is not told what its snapshot holds already.

mod asked;
mod batch;
mod group;
mod hub;
mod places;
mod queue;
mod socket;
mod tally;
#[cfg(test)]
mod tests;
mod told;

pub(super) use asked::{Asked, DEFAULT_INTERVAL_MS, INTERVALS_MS, UnwatchSessions, WatchSessions, interval};
pub(super) use batch::ClosedItem;
pub(super) use hub::Hub;
pub(super) use queue::Watch;
pub(super) use socket::Watches;
pub(super) use tally::{Counts, Lost, Tally};
pub(super) use told::Told;
