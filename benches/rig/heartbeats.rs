//! What sessions cost that do nothing at all.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use super::{
    idlers::Idlers,
    process::{Cpu, Place},
    stats::median,
    subject::Subject,
};

/// The default heartbeat: in so long each of the sessions is pinged once.
pub const BEAT: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server takes for so many idle sessions.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Share of one core, the median of the looks.
    pub share: f64,
    pub bytes_each: f64,
}

/// Lets so many clients connect to each of the servers and answer its pings, and looks at all of them so many times for
/// one heartbeat.
pub fn measure(
    servers: &[&dyn Subject],
    place: Place,
    clients: usize,
    looks: usize,
) -> io::Result<Vec<Idle>> {
    let empty: Vec<_> = servers.iter().map(|server| server.process().resident()).collect();
    let mut idlers = Vec::new();
    for server in servers {
        idlers.push(Idlers::start(place, server.clients(), clients)?);
        await_connected(*server, clients)?;
    }
    thread::sleep(Duration::from_secs(2));
    let cpu = || servers.iter().map(|server| server.process().cpu()).collect::<Vec<Cpu>>();
    let mut shares = vec![Vec::with_capacity(looks); servers.len()];
    for _ in 0..looks {
        let (before, begun) = (cpu(), Instant::now());
        thread::sleep(BEAT);
        let took = begun.elapsed().as_nanos() as f64;
        for ((shares, before), now) in shares.iter_mut().zip(before).zip(cpu()) {
            shares.push(now.since(&before) as f64 / took);
        }
    }
    for server in servers {
        await_connected(*server, clients)?;
    }
    let found = servers.iter().zip(shares).zip(empty).map(|((server, shares), empty)| Idle {
        share: median(shares),
        bytes_each: (server.process().resident() as f64 - empty as f64) / clients as f64,
    });
    Ok(found.collect())
}

fn await_connected(server: &dyn Subject, clients: usize) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let connected = server.tally()?.connections;
        if connected == clients as u64 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::Error::other(format!("{connected} of {clients} connected")));
        }
        thread::sleep(Duration::from_millis(300));
    }
}
