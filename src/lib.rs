//! **headcount** tells who is connected right now, from where, on which pages, with how much traffic.
//!
//! Placeholder: the architecture page is written below.

mod admin;
pub mod cli;
mod clients;
pub mod config;
mod edge;
mod load;
pub mod query_client;
pub mod server;
pub mod session;
