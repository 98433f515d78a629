use std::sync::Arc;

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    audit::Audit,
    caller::Caller,
    calls::METHODS,
    describe::{DescribeClients, Descriptions},
    figures::Figures,
    gate::Gate,
    http,
    methods::Methods,
    snapshots::Snapshots,
    source::Workshop,
};
use crate::{
    config::AdminConfig,
    edge::{
        accept::{Accepted, MAX_REQUEST_HEAD, accept},
        clock::Clock,
        connections::Connections,
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
    pub(super) gate: Gate,
    audit: Audit,
    pub(super) descriptions: Descriptions,
    pub(super) figures: Arc<Figures>,
    /// Places for query sockets: fewer than for connections, so that HTTP is always answered.
    pub(super) query_places: Arc<Semaphore>,
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
        clients: DescribeClients,
    ) -> Self {
        let workshop = Workshop::new(config.max_concurrent_lists, config.request_timeout);
        let query_places = Arc::new(Semaphore::new(config.max_query_sockets));
        let gate = Gate::new(config.tokens.as_deref());
        let descriptions = Descriptions::new(clients, config.tokens.is_some());
        let audit = Audit::new(config.audit_log.as_deref());
        let figures = Arc::new(Figures::new(counted, query_places.clone(), &METHODS));
        Self {
            config,
            registry,
            clock,
            workshop,
            snapshots: Arc::default(),
            gate,
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

    /// Accepts administrators until they are asked to leave.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let max_open = self.config.max_connections;
        let accepting = accept(listener, max_open, self.closing.clone(), |accepted| {
            self.connections.spawn(self.clone().serve(accepted));
        });
        tokio::select! {
            () = accepting => {}
            () = self.gate.keep_tokens() => {}
        }
    }

    /// What this caller can ask.
    pub(super) fn methods(&self, caller: Caller) -> Methods {
        let Self { registry, clock, workshop, snapshots, audit, figures, .. } = self;
        Methods {
            registry: registry.clone(),
            clock: *clock,
            workshop: workshop.clone(),
            snapshots: snapshots.clone(),
            caller,
            audit: audit.clone(),
            figures: figures.clone(),
        }
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, local, place } = accepted;
        // Under HTTP and the query socket alike: a reader that takes nothing holds its answer in our memory.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.config.write_timeout));
        let service = TowerToHyperService::new(http::router(self.clone(), (peer, local.ip()), place));
        let connection = http1::Builder::new()
            // Without a timer the header timeout does nothing, and half a request stays for ever.
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.request_timeout)
            .max_header_size(MAX_REQUEST_HEAD)
            // `nc -N` and its like say at once that they have asked everything.
            .half_close(true)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
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
