//! What the benches stand on: servers as child processes, connections that send what they are told, and figures.
//!
//! The generator is one plain thread with blocking sockets and frames that were masked beforehand, because whatever
//! it spends the machine takes from the server.

#![allow(dead_code, reason = "each bench uses its part")]

pub mod crowd;
pub mod frames;
pub mod heartbeats;
pub mod held;
pub mod http;
pub mod idlers;
pub mod process;
pub mod server;
pub mod stats;
pub mod subject;
pub mod table;
pub mod work;
