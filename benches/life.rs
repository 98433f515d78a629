//! What idle sessions cost, and how a storm of returning clients goes: `cargo bench --bench life`.
//!
//! One machine, loopback: the clients are in this process, the server is the real program. Figures are printed, and
//! nothing passes or fails by them.

#![allow(missing_docs, unreachable_pub, clippy::print_stdout, reason = "a bench prints")]

mod rig;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use headcount::query_client::QueryClient;
use rig::{
    crowd::{self, Crowd},
    heartbeats,
    idlers::become_idlers_if_asked,
    process::{Place, become_server_if_asked},
    server::Server,
};
use tokio::time;

const IDLE: usize = 15_000;
const STORM: usize = 10_000;
/// So many heartbeats are looked at.
const LOOKS: usize = 3;

fn main() {
    become_server_if_asked();
    become_idlers_if_asked();
    idle();
    tokio::runtime::Runtime::new().expect("a runtime").block_on(storm());
}

/// On whatever core; `scale` has the same on a core of its own, beside a floor.
fn idle() {
    let server = Server::start(Place::Anywhere).expect("the server starts");
    match heartbeats::measure(&[&server], Place::Anywhere, IDLE, LOOKS) {
        Ok(idle) => println!(
            "heartbeats  {IDLE} idle sessions: {:.2} % of one core, {:.1} KiB each",
            100.0 * idle[0].share,
            idle[0].bytes_each / 1024.0
        ),
        Err(reason) => println!("heartbeats  not measured: {reason}"),
    }
}

/// The server is killed and started again: how long until everybody is back, and how much it takes at the most.
async fn storm() {
    let mut server = Server::start(Place::Anywhere).expect("the server starts");
    let (clients, admin) = (server.clients, server.admin);
    let crowd = Arc::new(Crowd::default());
    crowd::gather(&crowd, clients, STORM).await;
    if !crowd::await_connected(&crowd, STORM).await {
        println!("storm       not measured: {} of {STORM} connected", crowd.connected.load(Relaxed));
        return;
    }
    let attempts = crowd.attempts.load(Relaxed);
    server.process.kill();
    while crowd.connected.load(Relaxed) > 0 {
        time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    let server = Server::start_at(Place::Anywhere, [clients, admin], &[]).expect("the server starts");
    let all_back = crowd::await_connected(&crowd, STORM).await;
    let took = begun.elapsed().as_secs_f64();
    let listed = match QueryClient::connect(&admin.to_string()).await {
        Ok(mut client) => client.session_info(None, None).await.map_or(0, |rows| rows.len()),
        Err(_) => 0,
    };
    let peak_mib = server.process.peak() >> 20;
    let attempts = crowd.attempts.load(Relaxed) - attempts;
    println!(
        "storm       {STORM} sessions cut by kill -9: {} back in {took:.1} s ({attempts} attempts), \
         {listed} listed, server's peak {peak_mib} MiB",
        if all_back { "all" } else { "not all" }
    );
}
