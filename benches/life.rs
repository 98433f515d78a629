//! What idle sessions cost, and how a storm of returning clients goes: `cargo bench --bench life`.
//!
//! One machine, loopback: the clients are in this process, the server is the real program. Figures are printed, and
//! nothing passes or fails by them.

#![allow(missing_docs, unreachable_pub, clippy::print_stdout, reason = "a bench prints")]

mod clients;
mod server;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use clients::Crowd;
use headcount::query_client::QueryClient;
use server::Server;
use tokio::time;

const IDLE: usize = 15_000;
const STORM: usize = 10_000;
const OBSERVED: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    heartbeats().await;
    storm().await;
}

/// Idle sessions with the default heartbeat of 15 s: processor time and memory of the server.
async fn heartbeats() {
    let server = Server::start();
    time::sleep(Duration::from_millis(500)).await;
    let crowd = Arc::new(Crowd::default());
    let empty_kib = server.memory_kib("VmRSS");
    clients::gather(&crowd, server.clients, IDLE).await;
    if !clients::await_connected(&crowd, IDLE).await {
        println!("heartbeats  not measured: {} of {IDLE} connected", crowd.connected.load(Relaxed));
        return;
    }
    time::sleep(Duration::from_secs(2)).await;
    let (before, begun) = (server.cpu_ms(), Instant::now());
    time::sleep(OBSERVED).await;
    let used_ms = server.cpu_ms() - before;
    let share = 100.0 * used_ms as f64 / begun.elapsed().as_millis() as f64;
    let each_kib = (server.memory_kib("VmRSS") - empty_kib) as f64 / IDLE as f64;
    println!("heartbeats  {IDLE} idle sessions: {share:.2} % of one core, {each_kib:.1} KiB each");
}

/// The server is killed and started again: how long until everybody is back, and how much it takes at the most.
async fn storm() {
    let mut server = Server::start();
    let (clients, admin) = (server.clients, server.admin);
    time::sleep(Duration::from_millis(500)).await;
    let crowd = Arc::new(Crowd::default());
    clients::gather(&crowd, clients, STORM).await;
    if !clients::await_connected(&crowd, STORM).await {
        println!("storm       not measured: {} of {STORM} connected", crowd.connected.load(Relaxed));
        return;
    }
    let attempts = crowd.attempts.load(Relaxed);
    server.kill();
    while crowd.connected.load(Relaxed) > 0 {
        time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    let server = Server::start_at(clients, admin);
    let all_back = clients::await_connected(&crowd, STORM).await;
    let took = begun.elapsed().as_secs_f64();
    let listed = match QueryClient::connect(&admin.to_string()).await {
        Ok(mut client) => client.session_info(None, None).await.map_or(0, |rows| rows.len()),
        Err(_) => 0,
    };
    let peak_mib = server.memory_kib("VmHWM") / 1024;
    let attempts = crowd.attempts.load(Relaxed) - attempts;
    println!(
        "storm       {STORM} sessions cut by kill -9: {} back in {took:.1} s ({attempts} attempts), \
         {listed} listed, server's peak {peak_mib} MiB",
        if all_back { "all" } else { "not all" }
    );
}
