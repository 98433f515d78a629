use std::{sync::Arc, time::Duration};

use axum::{Router, http::StatusCode};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    audit::Audit,
    caller::Caller,
    calls::METHODS,
    describe::{DescribeClients, Descriptions, OverTls},
    figures::Figures,
    gate::Gate,
    http,
    methods::Methods,
    snapshots::Snapshots,
    source::{PART_BYTES, Workshop},
    watch::{Hub, Watches},
};
use crate::{
    config::AdminConfig,
    edge::{
        accept::{Accepted, MAX_REQUEST_HEAD, accept, places},
        clock::Clock,
        connections::Connections,
        refusal::Refusal,
        tls::{self, Tls},
        waits::LongTimer,
        watched::ReadAgain,
    },
    session::Registry,
};

/// The admin plane, shared by all its connections.
#[derive(Debug)]
pub(crate) struct AdminPlane {
    pub(super) config: AdminConfig,
    registry: Arc<Registry>,
    clock: Clock,
    workshop: Workshop,
    snapshots: Arc<Snapshots>,
    pub(super) hub: Arc<Hub>,
    pub(super) gate: Gate,
    /// Without it the plane is plain.
    tls: Option<Tls>,
    audit: Audit,
    pub(super) descriptions: Descriptions,
    pub(super) figures: Arc<Figures>,
    /// Places for query sockets and event streams: fewer than for connections, so that HTTP is always answered.
    query_places: Arc<Semaphore>,
    /// The clients are asked to leave; `readyz` says so.
    pub(super) draining: CancellationToken,
    /// Administrators are asked to leave.
    pub(crate) closing: CancellationToken,
    /// Whoever is still there is cut.
    pub(crate) cut: CancellationToken,
    /// One task a connection, and one a query socket.
    pub(crate) connections: TaskTracker,
}

impl AdminPlane {
    /// A plane that answers from the registry, and of what was counted on the other plane; `draining` is the server's.
    /// What is said on the other plane is for that one to describe.
    pub(crate) fn new(
        config: AdminConfig,
        (registry, counted): (Arc<Registry>, Arc<Connections>),
        clock: Clock,
        draining: CancellationToken,
        (describe_clients, clients_have_tls): (DescribeClients, bool),
    ) -> Self {
        let workshop = Workshop::new(config.max_concurrent_lists, config.request_timeout)
            .with_max_time(config.max_list_time);
        let snapshots = Arc::new(Snapshots::new(config.snapshot_max_age));
        let query_places = Arc::new(Semaphore::new(config.max_query_sockets));
        let gate = Gate::new(config.tokens.as_deref());
        let over_tls = OverTls { clients: clients_have_tls, admin: config.tls.is_some() };
        let descriptions = Descriptions::new(describe_clients, config.tokens.is_some(), over_tls);
        let tls = config.tls.as_ref().map(|files| {
            Tls::new("the certificate and key of the admin plane", &files.certificate, &files.key)
        });
        let audit = Audit::new(config.audit_log.as_deref());
        let hub = Hub::new(registry.clone(), clock, config.max_list_time);
        let figures = Arc::new(Figures::new(counted, query_places.clone(), hub.tally.clone(), &METHODS));
        Self {
            config,
            registry,
            clock,
            workshop,
            snapshots,
            hub,
            gate,
            tls,
            audit,
            descriptions,
            figures,
            query_places,
            draining,
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        }
    }

    /// Accepts administrators until they are asked to leave. Files are read again when they change, and when that is
    /// asked for.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener, read_again: ReadAgain) {
        let places = places(self.config.max_connections);
        // The query plane has no answer of its own for those who find no place: the backlog holds them.
        let accepting = accept(listener, &places, 0, self.closing.clone(), |accepted| {
            self.connections.spawn(self.clone().greet(accepted));
        });
        tokio::select! {
            () = accepting => {}
            () = self.gate.keep_tokens(read_again.clone()) => {}
            () = tls::keep(self.tls.as_ref(), read_again) => {}
        }
    }

    /// Has what administrators did written down to the end, if the disk takes it in time.
    pub(crate) async fn finish_audit(&self) {
        /// A disk that is well needs milliseconds; the end of the server does not wait for one that is not.
        const FOR_THE_DISK: Duration = Duration::from_secs(2);
        self.audit.flush(FOR_THE_DISK).await;
    }

    /// What this caller can ask.
    pub(super) fn methods(&self, caller: Caller) -> Methods {
        let Self { registry, clock, workshop, snapshots, audit, figures, draining, .. } = self;
        Methods {
            registry: registry.clone(),
            clock: *clock,
            workshop: workshop.clone(),
            snapshots: snapshots.clone(),
            watches: None,
            caller,
            audit: audit.clone(),
            figures: figures.clone(),
            draining: draining.clone(),
        }
    }

    /// The watches of one query socket: none yet.
    pub(super) fn watches(&self) -> Arc<Watches> {
        Watches::new(self.hub.clone(), self.workshop.clone())
    }

    /// A place for somebody who stays.
    ///
    /// # Errors
    ///
    /// 503: all are taken.
    pub(super) fn query_place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.query_places.clone().try_acquire_owned().map_err(|_| {
            let max = self.config.max_query_sockets;
            let message = format!("there are {max} query sockets and event streams already");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_query_sockets", message).retry_after()
        })
    }

    /// Shakes hands with an administrator where the plane speaks TLS.
    async fn greet(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, place } = accepted;
        // Only of a socket that is gone it cannot be told.
        let Ok(local) = stream.local_addr() else { return };
        // Under TLS, HTTP and the query socket alike: a reader that takes nothing holds its answer in our memory.
        let timed = |stream| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(self.config.write_timeout));
            Box::pin(stream)
        };
        let router = http::router(self.clone(), (peer, local.ip()), place);
        let Some(tls) = &self.tls else { return self.serve(timed(stream), router).await };
        let shaking = tls.accept(stream, timed, self.config.request_timeout);
        match self.closing.run_until_cancelled(shaking).await {
            Some(Ok(stream)) => self.serve(stream, router).await,
            Some(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
            None => {}
        }
    }

    /// Answers what an administrator asks over a connection.
    async fn serve<S>(&self, stream: S, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = http1::Builder::new()
            // Without a timer the header timeout does nothing, and half a request stays for ever.
            .timer(LongTimer::default())
            .header_read_timeout(self.config.request_timeout)
            .max_header_size(MAX_REQUEST_HEAD)
            // Two parts of an answer wait for a reader that is slower than we are, and not six.
            .max_buf_size(2 * PART_BYTES)
            // `nc -N` and its like say at once that they have asked everything.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = async {
            tokio::select! {
                served = connection.as_mut() => served,
                () = self.closing.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Some(Err(error)) = self.cut.run_until_cancelled(served).await {
            tracing::debug!(%error, "an admin connection ended early");
        }
    }
}
