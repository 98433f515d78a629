//! Clients that hold a connection, and come back when it breaks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::StreamExt;
use tokio::{net::TcpStream, time};
use tokio_tungstenite::{client_async_with_config, tungstenite::protocol::WebSocketConfig};

/// How many are connected at this moment, and how often any has tried.
#[derive(Debug, Default)]
pub struct Crowd {
    pub connected: AtomicUsize,
    pub attempts: AtomicUsize,
}

/// Begins so many clients, a few hundred in each tenth of a second.
pub async fn gather(crowd: &Arc<Crowd>, server: SocketAddr, clients: usize) {
    for n in 0..clients {
        tokio::spawn(live(crowd.clone(), server, n));
        if n % 200 == 199 {
            time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Connects, answers pings until the connection breaks, and connects again with full-jitter backoff.
async fn live(crowd: Arc<Crowd>, server: SocketAddr, n: usize) {
    const BASE: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    let mut failures = 0;
    loop {
        crowd.attempts.fetch_add(1, Relaxed);
        let url = format!("ws://{server}/ws/storm?username=u{}&pageId=p{n}", n % 1000);
        let limits = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
        let opened = async {
            let stream = TcpStream::connect(server).await?;
            client_async_with_config(url, stream, Some(limits)).await
        };
        if let Ok((mut socket, _)) = opened.await {
            failures = 0;
            crowd.connected.fetch_add(1, Relaxed);
            while let Some(Ok(_)) = socket.next().await {}
            crowd.connected.fetch_sub(1, Relaxed);
        }
        let longest = BASE.saturating_mul(1 << failures.min(10)).min(LONGEST);
        time::sleep(longest.mul_f64(rand::random::<f64>())).await;
        failures += 1;
    }
}

/// Waits until so many are connected; `false` if that takes longer than a minute.
pub async fn await_connected(crowd: &Crowd, clients: usize) -> bool {
    let all = async {
        while crowd.connected.load(Relaxed) < clients {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    time::timeout(Duration::from_secs(60), all).await.is_ok()
}
