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

/// One accepted connection. It holds its place until it is dropped.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Of the places, or of those beside them: it tells which.
    pub(crate) place: OwnedSemaphorePermit,
}

/// For so many connections at a time.
pub(crate) fn places(max_open: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max_open.min(Semaphore::MAX_PERMITS)))
}

/// Accepts until `stop`, as many at a time as there are places, and while all are taken so many `beside` them, who have
/// to be told so; `serve` must not block.
///
/// Beyond that the kernel's backlog holds the newcomers, so a flood costs no memory here.
pub(crate) async fn accept(
    listener: TcpListener,
    places: &Arc<Semaphore>,
    beside: usize,
    stop: CancellationToken,
    serve: impl Fn(Accepted),
) {
    // Pongs, closes and answers are small and awaited.
    if INHERITED && let Err(error) = set_tcp_nodelay(&listener, true) {
        tracing::warn!(%error, "what is sent to clients may be delayed");
    }
    let beside = Arc::new(Semaphore::new(beside));
    let mut failing = false;
    let _ = stop
        .run_until_cancelled(async {
            loop {
                let place = some_place(places, &beside).await;
                let accepted = async {
                    let (stream, peer) = listener.accept().await?;
                    if !INHERITED {
                        stream.set_nodelay(true)?;
                    }
                    Ok::<_, io::Error>(Accepted { stream, peer, place: best_place(places, place) })
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

/// A place, or one beside them where there is none; waits for either.
async fn some_place(places: &Arc<Semaphore>, beside: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    // Nearly always there is one, and then nothing is waited for.
    if let Ok(place) = places.clone().try_acquire_owned() {
        return place;
    }
    tokio::select! {
        biased;
        place = places.clone().acquire_owned() => place,
        place = beside.clone().acquire_owned() => place,
    }
    .expect("never closed")
}

/// A place for whoever has one beside them, if there is one by now: it may have become free long before anybody came.
fn best_place(places: &Arc<Semaphore>, place: OwnedSemaphorePermit) -> OwnedSemaphorePermit {
    if Arc::ptr_eq(place.semaphore(), places) {
        return place;
    }
    places.clone().try_acquire_owned().unwrap_or(place)
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
        let accepting = accept(listener, &places, 0, stop.clone(), |one| sender.send(one).unwrap());
        let looking = async {
            let _client = TcpStream::connect(address).await.unwrap();
            assert!(accepted.recv().await.unwrap().stream.nodelay().unwrap());
            stop.cancel();
        };
        tokio::join!(accepting, looking);
    }

    #[tokio::test]
    async fn beside_the_places_are_those_who_came_while_all_were_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mut accepted) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let places = places(1);
        let accepting = accept(listener, &places, 1, stop.clone(), |one| sender.send(one).unwrap());
        let coming = async {
            let has_place = |one: &Accepted| Arc::ptr_eq(one.place.semaphore(), &places);
            let connect = || TcpStream::connect(address);
            let _first = connect().await.unwrap();
            let first = accepted.recv().await.unwrap();
            assert!(has_place(&first));
            // Now a place beside waits for the next, and is not what the next gets.
            drop(first);
            let _second = connect().await.unwrap();
            let second = accepted.recv().await.unwrap();
            assert!(has_place(&second), "it was free before anybody came");
            let _third = connect().await.unwrap();
            let third = accepted.recv().await.unwrap();
            assert!(!has_place(&third));
            let _fourth = connect().await.unwrap();
            assert!(accepted.try_recv().is_err(), "there is one place beside");
            drop(third);
            let fourth = accepted.recv().await.unwrap();
            assert!(!has_place(&fourth));
            drop(second);
            let _fifth = connect().await.unwrap();
            assert!(has_place(&accepted.recv().await.unwrap()));
            stop.cancel();
        };
        tokio::join!(accepting, coming);
    }
}
