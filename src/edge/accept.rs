use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::sync::CancellationToken;

/// The largest request head, in bytes: a project, parameters and headers of honest clients fit many times.
pub(crate) const MAX_REQUEST_HEAD: usize = 32 * 1024;

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
    let mut failing = false;
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
                    Ok(accepted) => {
                        failing = false;
                        serve(accepted);
                    }
                    // Out of descriptors, or the peer is gone already. Neither ends the server; the pause
                    // keeps the first from spinning, and it is told once, not twenty times a second.
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(%error, "connections cannot be accepted");
                        }
                        time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        })
        .await;
}
