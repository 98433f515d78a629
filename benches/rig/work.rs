//! What the server spent on something, and whether the generator was able to keep it busy.

use std::{io, time::Instant};

use super::process::{Process, own_cpu_ns};

/// The cost of something that was driven.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Processor time of the server, until it had no more to do.
    pub server_ns: f64,
    /// How long the driving took.
    pub seconds: f64,
    /// How long until the server had no more to do.
    pub until_done: f64,
    /// How much of the driving the server was busy; 1 is one core.
    pub server_busy: f64,
    /// The same of the generator's thread.
    pub generator_busy: f64,
}

/// Drives the server, and waits until it has done all that came of it.
pub fn work<T>(server: &Process, drive: impl FnOnce() -> io::Result<T>) -> io::Result<(Work, T)> {
    let (before, own_before, begun) = (server.cpu(), own_cpu_ns(), Instant::now());
    let driven = drive()?;
    let seconds = begun.elapsed().as_secs_f64();
    let share = |ns: u64| ns as f64 / seconds / 1e9;
    let (server_busy, generator_busy) =
        (share(server.cpu().since(&before)), share(own_cpu_ns() - own_before));
    let until_done = server.settle().duration_since(begun).as_secs_f64();
    let server_ns = server.cpu().since(&before) as f64;
    Ok((Work { server_ns, seconds, until_done, server_busy, generator_busy }, driven))
}
