//! The whole server: two planes over listeners that the caller has bound, until the caller says stop.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{AdminPlane, check as check_admin},
    clients::{ClientPlane, check as check_clients, describe as describe_clients},
    config::Config,
    edge::clock::Clock,
    session::Registry,
};

/// The two sockets of section 1 of the protocol.
#[derive(Debug)]
pub struct Listeners {
    /// Where clients connect.
    pub clients: TcpListener,
    /// Where administrators ask.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds both; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address that could not be had, and why.
    pub async fn bind(clients: SocketAddr, admin: SocketAddr) -> io::Result<Self> {
        Ok(Self { clients: bind(clients).await?, admin: bind(admin).await? })
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were open when the end began.
    pub connections: usize,
    /// Those among them that were still there after the grace period.
    pub cut: usize,
}

/// Whether a server can run by this: whether the files that it names hold what they should. To be asked before
/// anything is bound, since [`run`] serves in any case, and without keys it takes no token.
///
/// # Errors
///
/// The setting, the file, and what is wrong with it, in one line.
pub fn check(config: &Config) -> Result<(), String> {
    check_clients(&config.clients)?;
    check_admin(&config.admin)
}

/// Serves until `shutdown` completes, then drains: nobody comes in any more, every connection is sent 1001, and
/// what has not left after the grace period is cut.
///
/// Dropping the future stops accepting; connections that are open go on until the runtime ends.
///
/// # Examples
///
/// A server on free ports, a client of it, and the administrator's view of that client:
///
/// ```
/// use headcount::{config::Config, query_client::QueryClient, server::{self, Listeners}};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let any = "127.0.0.1:0".parse()?;
/// let listeners = Listeners::bind(any, any).await?;
/// let (clients, admin) = (listeners.clients.local_addr()?, listeners.admin.local_addr()?);
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let server = tokio::spawn(server::run(listeners, Config::default(), async {
///     let _ = stopped.await;
/// }));
///
/// let stream = tokio::net::TcpStream::connect(clients).await?;
/// let url = format!("ws://{clients}/ws/plant?username=billy");
/// let (_client, _response) = tokio_tungstenite::client_async(url, stream).await?;
///
/// let mut admin = QueryClient::connect(&admin.to_string()).await?;
/// let rows = admin.session_info(Some("billy"), None).await?;
/// assert_eq!(&*rows[0].project, "plant");
///
/// stop.send(()).unwrap();
/// assert_eq!(server.await?.connections, 1);
/// # Ok(())
/// # }
/// ```
pub async fn run(listeners: Listeners, config: Config, shutdown: impl Future<Output = ()>) -> Drained {
    let registry = Arc::new(Registry::new(config.clients.rules));
    run_on(registry, listeners, config, shutdown).await
}

/// The same on a registry of the caller's, who may look into it, and have sessions of his own there, meanwhile.
/// It goes by its own rules, not those of the configuration.
pub async fn run_on(
    registry: Arc<Registry>,
    listeners: Listeners,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let clock = Clock::start();
    let draining = CancellationToken::new();
    let clients_have_tls = config.clients.tls.is_some();
    let clients = Arc::new(ClientPlane::new(config.clients, registry.clone(), clock, draining.clone()));
    let admin = Arc::new(AdminPlane::new(
        config.admin,
        (registry, clients.counted.clone()),
        clock,
        draining.clone(),
        (describe_clients, clients_have_tls),
    ));
    let serving = async {
        let clients = clients.clone().run(listeners.clients, config.reload.subscribe());
        tokio::join!(clients, admin.clone().run(listeners.admin, config.reload.subscribe()));
    };
    let ending = async {
        shutdown.await;
        // Before anybody is asked to leave, or some would have left uncounted.
        let open = clients.connections.len();
        draining.cancel();
        let cut = tokio::select! {
            biased; // Sessions without a connection end too, also where there is nobody to wait for.
            () = clients.ask_to_leave(config.drain.spread) => unreachable!("it asks until it is dropped"),
            cut = leave(&clients.connections, config.drain.grace_period) => cut,
        };
        clients.cut.cancel();
        // Those whose last connection broke since they were last looked for.
        clients.end_waiting();
        // Administrators may watch the clients leave; then it is their turn.
        admin.closing.cancel();
        leave(&admin.connections, ADMIN_GRACE_PERIOD).await;
        admin.cut.cancel();
        // What was cut off is written down as that; it takes no time.
        leave(&admin.connections, ADMIN_GRACE_PERIOD).await;
        admin.finish_audit().await;
        // And who broke while the others were cut.
        clients.end_waiting();
        Drained { connections: open, cut }
    };
    tokio::join!(serving, ending).1
}

/// Enough for a query socket to answer a close frame.
const ADMIN_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// Waits for all tasks to end, `grace_period` at most; answers how many have not.
async fn leave(connections: &TaskTracker, grace_period: Duration) -> usize {
    connections.close();
    match time::timeout(grace_period, connections.wait()).await {
        Ok(()) => 0,
        Err(_) => connections.len(),
    }
}
