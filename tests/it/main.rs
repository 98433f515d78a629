//! Everything over real sockets, against the real program.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the verdict")]

mod architecture;
mod audit;
mod autobahn;
mod bad_input;
mod caps;
mod certificates;
mod cli;
mod counting;
mod crowd;
mod descriptions;
mod drain;
mod gate;
mod harness;
mod identity;
mod instructions;
mod life;
mod listing;
mod lives;
mod proxies;
mod query;
mod readme;
mod real_clients;
mod scripting;
mod sharing;
mod silence;
mod stalled;
mod stats;
mod tabs;
mod tls;
mod tokens;
mod views;
mod watching;
