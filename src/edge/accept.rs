use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::sync::CancellationToken;

/// One accepted connection. It holds its place among `max_open` until it is dropped.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) place: OwnedSemaphorePermit,
}

/// Accepts until `stop`, at most `max_open` at a time; `serve` must not block.
///
/// Beyond `max_open` the kernel's backlog holds the newcomers, so a flood costs no memory here.
pub(crate) async fn accept(
    listener: TcpListener,
    max_open: usize,
    stop: CancellationToken,
    serve: impl Fn(Accepted),
) {
    let places = Arc::new(Semaphore::new(max_open.min(Semaphore::MAX_PERMITS)));
    let _ = stop
        .run_until_cancelled(async {
            loop {
                let place = places.clone().acquire_owned().await.expect("never closed");
                let accepted = async {
                    let (stream, peer) = listener.accept().await?;
                    let local = stream.local_addr()?;
                    // Pongs, closes and answers are small and awaited.
                    stream.set_nodelay(true)?;
                    Ok::<_, std::io::Error>(Accepted { stream, peer, local, place })
                };
                match accepted.await {
                    Ok(accepted) => serve(accepted),
                    // Out of descriptors, or the peer is gone already. Neither ends the server; the pause
                    // keeps the first from spinning.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        })
        .await;
}
