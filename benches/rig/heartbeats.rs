//! What sessions cost that do nothing at all.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::time;

use super::{
    crowd::{self, Crowd},
    process::Place,
    server::Server,
    stats::median,
};

/// Of so many idle sessions with the default heartbeat of 15 s.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Share of one core, the median of the looks.
    pub share: f64,
    pub bytes_each: f64,
}

/// Lets so many clients connect and answer pings, and looks so many times for so long; the clients are in this process.
pub async fn measure(place: Place, clients: usize, looks: usize, each: Duration) -> Result<Idle, String> {
    let server = Server::start(place).map_err(|error| error.to_string())?;
    let crowd = Arc::new(Crowd::default());
    let empty = server.process.resident();
    crowd::gather(&crowd, server.clients, clients).await;
    if !crowd::await_connected(&crowd, clients).await {
        return Err(format!("{} of {clients} connected", crowd.connected.load(Relaxed)));
    }
    time::sleep(Duration::from_secs(2)).await;
    let mut shares = Vec::with_capacity(looks);
    for _ in 0..looks {
        let (before, begun) = (server.process.cpu(), Instant::now());
        time::sleep(each).await;
        shares.push(server.process.cpu().since(&before) as f64 / begun.elapsed().as_nanos() as f64);
    }
    let connected = crowd.connected.load(Relaxed);
    if connected < clients {
        return Err(format!("{connected} of {clients} were still connected at the end"));
    }
    Ok(Idle {
        share: median(shares),
        bytes_each: (server.process.resident() - empty) as f64 / clients as f64,
    })
}
