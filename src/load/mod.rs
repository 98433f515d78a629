//! The load-test harness: many WebSocket sessions on a schedule that is fixed beforehand, and a ledger.
//!
//! Whatever the server does, message *k* of a session is due at the same moment, and latency counts from that
//! moment. A server (or a harness) that stalls therefore shows its stall in every message that was due in it,
//! not in one: nothing is omitted because something else was waited for.
//!
//! The harness keeps its own books. At the end every connection has pinged and been answered, so the server has
//! read all that was sent before; then what it says of each session must be what the session did, to the byte.
//!
//! Sessions may come and go on the schedule too, vanish, and come back. Whoever is about to vanish pings first and
//! waits for the answer: what is under way when a connection is cut may have been read or not, and the ledger
//! would have nothing to compare with. So a drop tests what the server makes of the loss, not of half a message.
//!
//! Read in this order: [`Options`] is what a person asks for; [`Plan`] is the schedule, [`churn`] the coming and
//! going in it; [`run()`] carries it out: each session has its [`life`] over one [`connection`] or several, woken
//! by the [`pacer`], and what happened is written down in [`record`]; [`ledger`] compares; [`Report`] is what is
//! told. The plan, the ledger and the report are pure.
//!
//! [`crowd`] is no part of that: it is the demo's people.

mod churn;
mod connection;
pub(crate) mod crowd;
pub(crate) mod ledger;
mod life;
mod open;
mod options;
mod pacer;
mod plan;
mod problem;
pub(crate) mod record;
mod report;
mod run;

pub(crate) use ledger::{Ended, Ledger, Spread};
pub(crate) use options::{ByteRange, Options, ScopeShares, SourceAddresses, Target};
pub(crate) use plan::Plan;
pub(crate) use record::Progress;
#[cfg(test)]
pub(crate) use report::tests::report as fixed_report;
pub(crate) use report::{Churn, Latency, Report};
pub(crate) use run::{LoadError, run};

#[cfg(test)]
pub(crate) mod tests;
