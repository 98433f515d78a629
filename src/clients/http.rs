//! Requests to the client plane that are not answered at once, by HTTP's own machinery: those that come in pieces, or
//! over TLS, and all that are refused or ask for something else than a WebSocket.

use std::{
    convert::Infallible,
    future::ready,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time,
};

use super::{
    address::Peer,
    arrival::Arrival,
    listener::ClientPlane,
    rewound::Rewound,
    upgrade::{self, Granted},
};
use crate::edge::{
    accept::MAX_REQUEST_HEAD,
    connections::{Dropped, Missed},
    refusal::{Body, Refusal},
    websocket::CLOSE_TIMEOUT,
};

/// How many request timeouts a connection may last that asks, and asks again, but never becomes a WebSocket.
const HTTP_LIFE: u32 = 4;

/// What is said to a request.
pub(super) type Said = Result<Granted, Refusal>;

/// What a connection brought that was looked at before, and until when its request may take.
pub(super) struct Begun {
    /// To be read once more.
    pub(super) read: Bytes,
    /// What is said to the request that it is, if it is one.
    pub(super) said: Option<Said>,
    pub(super) until: Instant,
}

impl ClientPlane {
    /// Reads requests until one is let in, then gives its stream to a task of its own: this one's state,
    /// several KiB of HTTP, is gone while the session lives.
    pub(super) async fn serve_http<S>(&self, stream: S, begun: Begun, peer: Peer, mut arrival: Arrival)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some((mut stream, early)) = self.read_requests(stream, begun, peer, &mut arrival).await else {
            return;
        };
        if let Some(inside) = arrival.take_inside() {
            tokio::spawn(self.begin(stream, &early, inside));
            return;
        }
        let parting = time::timeout(CLOSE_TIMEOUT, self.part_from(&mut stream));
        let _ = self.cut.run_until_cancelled(parting).await;
    }

    /// TLS has an end of its own (RFC 8446, 6.1), without which a peer may take what came last for cut off. Where the
    /// plane is plain, dropping the stream says the same.
    pub(super) async fn part_from<S: AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        match self.tls {
            Some(_) => stream.shutdown().await,
            None => Ok(()),
        }
    }

    /// Serves HTTP until a WebSocket is granted; answers the stream and what was read beyond the request.
    async fn read_requests<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        begun: Begun,
        peer: Peer,
        arrival: &mut Arrival,
    ) -> Option<(S, Bytes)> {
        let Begun { read, said, until } = begun;
        let is_beside = arrival.is_beside();
        let door = Mutex::new((&mut *arrival, said));
        let has_asked = AtomicBool::new(false);
        let service = service_fn(|request: Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            let mut door = door.lock().unwrap_or_else(PoisonError::into_inner);
            let said = door.1.take().unwrap_or_else(|| upgrade::answer(&request, peer, self, is_beside));
            ready(Ok::<_, Infallible>(respond(said, door.0)))
        });
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.request_timeout)
            .max_header_size(MAX_REQUEST_HEAD)
            // Whoever has no place among all is answered once, and leaves the place beside them to the next.
            .keep_alive(!is_beside)
            // `nc -N` and its like say at once that they have asked everything.
            .half_close(true)
            .serve_connection(TokioIo::new(Rewound::new(stream, read)), service);
        // The header timeout ends who is slow to ask again; this ends who is slow to ask at all, where some of the time was
        // over before, and who is slow to read, or asks without end.
        let too_late = async {
            time::sleep_until(until.into()).await;
            if has_asked.load(Ordering::Relaxed) {
                time::sleep(self.config.request_timeout.saturating_mul(HTTP_LIFE - 1)).await;
            }
        };
        let whole = async {
            tokio::select! {
                served = http.without_shutdown() => Ok(served),
                () = too_late => Err(()),
            }
        };
        let failed = match self.cut.run_until_cancelled(whole).await {
            Some(Ok(Ok(parts))) => {
                let (stream, unread) = parts.io.into_inner().into_parts();
                return Some((stream, joined(parts.read_buf, &unread)));
            }
            // hyper has answered it, if it can be answered at all.
            Some(Ok(Err(error))) if error.is_timeout() => Dropped::Timeout,
            Some(Ok(Err(error))) if error.is_parse() => Dropped::NoHttp,
            Some(Ok(Err(_))) => Dropped::Gone,
            Some(Err(_)) => Dropped::Timeout,
            None => Dropped::Cut,
        };
        arrival.failed(failed);
        None
    }
}

/// The answer, and what the connection has come to by it.
fn respond(said: Said, arrival: &mut Arrival) -> Response<Body> {
    match said {
        Ok(Granted::Upgrade(switching, admitted)) => {
            arrival.let_in(admitted);
            switching.to_response()
        }
        Ok(Granted::Health(response)) => {
            arrival.answered(Missed::Dropped(Dropped::Health));
            response
        }
        Err(refusal) => {
            arrival.answered(Missed::Refused(refusal.code));
            refusal.into_response()
        }
    }
}

fn joined(first: Bytes, second: &[u8]) -> Bytes {
    if second.is_empty() {
        return first;
    }
    let mut both = BytesMut::from(first);
    both.extend_from_slice(second);
    both.freeze()
}
