use std::{convert::Infallible, future::ready, io, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use super::{
    address::Peer,
    arrival::{Arrival, Inside},
    connection::{READ_BYTES, Task},
    control,
    heart::Heart,
    identity::Identities,
    pace::Gate,
    proxy,
    stamp::Stamps,
    upgrade::{self, Granted},
};
use crate::{
    config::{ClientsConfig, ProxyConfig},
    edge::{
        accept::{Accepted, MAX_REQUEST_HEAD, accept},
        clock::Clock,
        connections::{Connections, Dropped, Missed},
        refusal::Refusal,
        tls::{self, Tls},
        watched::ReadAgain,
        websocket::CLOSE_TIMEOUT,
    },
    frames::{Keep, Rules},
    session::{EndReason, Order, Registry},
};

/// How many request timeouts a connection may last that asks, and asks again, but never becomes a WebSocket.
const HTTP_LIFE: u32 = 4;

/// Connections are told to leave in portions, one every so often.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// How late, at the most, a session ends that nobody came back to.
const EXPIRY_TICK: Duration = Duration::from_millis(50);

/// The client plane, shared by all its connections.
#[derive(Debug)]
pub(crate) struct ClientPlane {
    pub(super) config: ClientsConfig,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) heart: Heart,
    pub(super) stamps: Stamps,
    pub(super) gate: Gate,
    pub(super) identities: Identities,
    /// What has become of all connections so far.
    pub(crate) counted: Arc<Connections>,
    /// Without it the plane is plain.
    tls: Option<Tls>,
    /// Everybody is asked to leave, and nobody may come in.
    draining: CancellationToken,
    /// Whoever is still there is cut.
    pub(crate) cut: CancellationToken,
    /// One task a connected session's connection.
    pub(crate) connections: TaskTracker,
}

impl ClientPlane {
    /// A plane that nobody has come to yet; `draining` is the server's.
    pub(crate) fn new(
        config: ClientsConfig,
        registry: Arc<Registry>,
        clock: Clock,
        draining: CancellationToken,
    ) -> Self {
        Self {
            heart: Heart::new(config.heartbeat),
            stamps: Stamps::new(),
            gate: Gate::default(),
            identities: Identities::new(&config.identity),
            counted: Arc::new(Connections::new(&upgrade::REFUSALS, &EndReason::ALL.map(EndReason::as_str))),
            tls: config.tls.as_ref().map(|files| {
                Tls::new("the certificate and key of the client plane", &files.certificate, &files.key)
            }),
            config,
            registry,
            clock,
            draining,
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// Accepts clients until the plane is cut. While it drains, they are told so. Files are read again when they
    /// change, and when that is asked for.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, read_again: ReadAgain) {
        let accepting = accept(listener, self.config.max_open, self.cut.clone(), |accepted| {
            tokio::spawn(self.clone().greet(accepted, Arrival::new(self.clone())));
        });
        let plane = self.clone();
        let _heart = AbortOnDropHandle::new(tokio::spawn(async move { plane.heart.run(plane.clock).await }));
        tokio::select! {
            () = accepting => {}
            () = self.expire() => {}
            () = self.identities.keep_keys(read_again.clone()) => {}
            () = tls::keep(self.tls.as_ref(), read_again) => {}
        }
        self.heart.cut();
    }

    /// Gives up, for ever, what nobody came back to.
    async fn expire(&self) {
        let mut ticks = time::interval(EXPIRY_TICK);
        loop {
            ticks.tick().await;
            self.registry.expire(self.clock.now_ms());
        }
    }

    /// The server ends: tells every connection, and again those that came in while it told the others.
    pub(crate) async fn ask_to_leave(&self, spread: Duration) {
        self.registry.drain_waiting(self.clock.now_ms());
        let outlets = self.registry.outlets();
        // One by one if there are few, in portions if there are many: a pause shorter than that is none.
        let most_portions =
            usize::try_from(spread.as_millis() / DRAIN_STEP.as_millis()).unwrap_or(usize::MAX);
        let portion = outlets.len().div_ceil(most_portions.max(1)).max(1);
        let portions = u32::try_from(outlets.len().div_ceil(portion)).unwrap_or(u32::MAX).max(1);
        for some in outlets.chunks(portion) {
            for outlet in some {
                outlet.tell(Order::Drain);
            }
            time::sleep(spread / portions).await;
        }
        let mut ticks = time::interval(EXPIRY_TICK);
        loop {
            ticks.tick().await;
            self.registry.drain();
            self.registry.drain_waiting(self.clock.now_ms());
        }
    }

    /// How many bytes may wait to be sent to one client. An echo waits for its reader, who is not read meanwhile, so
    /// that of one read more is no matter.
    pub(super) fn max_waiting(&self) -> usize {
        let echo =
            if self.config.echo { self.config.max_message_bytes.saturating_add(READ_BYTES) } else { 0 };
        self.config.max_send_buffer_bytes.saturating_add(echo)
    }

    /// What of the clients' messages is looked at.
    pub(super) fn reading(&self) -> Rules {
        let keep = if self.config.echo { Keep::Everything } else { Keep::TextBeginning(control::PREFIX) };
        Rules { max_message_bytes: self.config.max_message_bytes, keep }
    }

    /// Finds out who connects, and shakes hands with them where the plane speaks TLS.
    async fn greet(self: Arc<Self>, accepted: Accepted, mut arrival: Arrival) {
        let Accepted { mut stream, peer, place, .. } = accepted;
        let Some(sender) = self.sender(&mut stream, peer, &mut arrival).await else { return };
        let Some(tls) = &self.tls else { return self.let_in(stream, sender, place, arrival).await };
        // On the heap: where the plane is plain, nobody pays for it.
        let shaking = Box::pin(tls.accept(stream, std::convert::identity, self.config.request_timeout));
        let failed = match self.cut.run_until_cancelled(shaking).await {
            Some(Ok(stream)) => return Box::pin(self.let_in(stream, sender, place, arrival)).await,
            Some(Err(error)) => {
                tracing::debug!(%peer, %error, "no TLS handshake");
                match error.kind() {
                    io::ErrorKind::TimedOut => Dropped::Timeout,
                    io::ErrorKind::InvalidData => Dropped::NoTls,
                    _ => Dropped::Gone,
                }
            }
            None => Dropped::Cut,
        };
        arrival.failed(failed);
    }

    /// Reads requests until one is let in, then gives its stream to a task of its own: this one's state,
    /// several KiB of HTTP, is gone while the session lives.
    async fn let_in<S>(&self, stream: S, sender: Peer, place: OwnedSemaphorePermit, mut arrival: Arrival)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some((mut stream, already_read)) = self.read_requests(stream, sender, &mut arrival).await else {
            return;
        };
        let Some(Inside { admitted, open, task }) = arrival.into_inside() else {
            let parting = time::timeout(CLOSE_TIMEOUT, self.part_from(&mut stream));
            let _ = self.cut.run_until_cancelled(parting).await;
            return;
        };
        self.heart.enroll(&admitted.line);
        tokio::spawn(Task::new(stream, &already_read, admitted, open, (place, task)));
    }

    /// TLS has an end of its own (RFC 8446, 6.1), without which a peer may take what came last for cut off. Where the
    /// plane is plain, dropping the stream says the same.
    pub(super) async fn part_from<S: AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        match self.tls {
            Some(_) => stream.shutdown().await,
            None => Ok(()),
        }
    }

    /// Who sends what comes over this connection: whoever made it, or whom a trusted proxy makes it for. `None` if a
    /// proxy does not say so as it must.
    async fn sender(&self, stream: &mut TcpStream, peer: SocketAddr, arrival: &mut Arrival) -> Option<Peer> {
        let ProxyConfig { trusted, proxy_protocol, .. } = &self.config.proxies;
        let sender = Peer::at(peer.ip(), trusted);
        // From anybody else no header is taken: it would be a client's.
        if !proxy_protocol || !sender.is_trusted {
            return Some(sender);
        }
        let reading = time::timeout(self.config.request_timeout, proxy::read(stream, sender, trusted));
        arrival.failed(match self.cut.run_until_cancelled(reading).await {
            Some(Ok(Ok(sender))) => return Some(sender),
            Some(Ok(Err(error))) => {
                tracing::debug!(%peer, %error, "a proxy did not say whom it connects for");
                if error.kind() == io::ErrorKind::InvalidData { Dropped::ProxyHeader } else { Dropped::Gone }
            }
            Some(Err(_)) => {
                tracing::debug!(%peer, "a proxy did not say in time whom it connects for");
                Dropped::Timeout
            }
            None => Dropped::Cut,
        });
        None
    }

    /// Serves HTTP until a WebSocket is granted; answers the stream and what was read beyond the request.
    async fn read_requests<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: Peer,
        arrival: &mut Arrival,
    ) -> Option<(S, bytes::Bytes)> {
        let door = std::sync::Mutex::new(&mut *arrival);
        let service = service_fn(|request: Request<Incoming>| {
            let answer = if self.draining.is_cancelled() {
                Err(Refusal::draining())
            } else {
                upgrade::answer(&request, peer, self)
            };
            let mut arrival = door.lock().expect("held for this one step alone");
            let response = match answer {
                Ok(Granted::Upgrade(response, admitted)) => {
                    arrival.let_in(admitted);
                    response
                }
                Ok(Granted::Health(response)) => {
                    arrival.answered(Missed::Dropped(Dropped::Health));
                    response
                }
                Err(refusal) => {
                    arrival.answered(Missed::Refused(refusal.code));
                    refusal.into_response()
                }
            };
            ready(Ok::<_, Infallible>(response))
        });
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.request_timeout)
            .max_header_size(MAX_REQUEST_HEAD)
            // `nc -N` and its like say at once that they have asked everything.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        // The header timeout ends who is slow to ask; this ends who is slow to read, or asks without end.
        let whole =
            time::timeout(self.config.request_timeout.saturating_mul(HTTP_LIFE), http.without_shutdown());
        let failed = match self.cut.run_until_cancelled(whole).await {
            Some(Ok(Ok(parts))) => return Some((parts.io.into_inner(), parts.read_buf)),
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
