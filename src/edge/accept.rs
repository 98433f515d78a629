use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::net::sockopt::set_tcp_nodelay;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::sync::CancellationToken;

/// The largest request head, in bytes: a project, parameters and headers of honest clients fit many times.
pub(crate) const MAX_REQUEST_HEAD: usize = 32 * 1024;

/// Whether a connection has the options of the socket that it was accepted at: a system call less for each.
const INHERITED: bool = cfg!(target_os = "linux");

/// One accepted connection. It holds its place among `max_open` until it is dropped.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) place: OwnedSemaphorePermit,
}

/// For so many connections at a time.
pub(crate) fn places(max_open: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max_open.min(Semaphore::MAX_PERMITS)))
}

/// Accepts until `stop`, as many at a time as there are places; `serve` must not block.
///
/// Beyond that the kernel's backlog holds the newcomers, so a flood costs no memory here.
pub(crate) async fn accept(
    listener: TcpListener,
    places: &Arc<Semaphore>,
    stop: CancellationToken,
    serve: impl Fn(Accepted),
) {
    // Pongs, closes and answers are small and awaited.
    if INHERITED && let Err(error) = set_tcp_nodelay(&listener, true) {
        tracing::warn!(%error, "what is sent to clients may be delayed");
    }
    let mut failing = false;
    let _ = stop
        .run_until_cancelled(async {
            loop {
                let place = places.clone().acquire_owned().await.expect("never closed");
                let accepted = async {
                    let (stream, peer) = listener.accept().await?;
                    if !INHERITED {
                        stream.set_nodelay(true)?;
                    }
                    Ok::<_, io::Error>(Accepted { stream, peer, place })
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_to_those_who_are_accepted_is_not_delayed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut accepted) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let places = places(1);
        let accepting = accept(listener, &places, stop.clone(), |one| sender.send(one).unwrap());
        let looking = async {
            let _client = TcpStream::connect(address).await.unwrap();
            assert!(accepted.recv().await.unwrap().stream.nodelay().unwrap());
            stop.cancel();
        };
        tokio::join!(accepting, looking);
    }
}
