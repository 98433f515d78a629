use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Level;
use tracing_subscriber::{
    filter::Targets, fmt::time::ChronoUtc, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::{
    Failure, Outcome, descriptors, environment,
    settings::{Checked, LogLevel, Settings},
};
use crate::{
    config::{Config, IdentityMode, TlsFiles},
    query_client::DEFAULT_ADMIN,
    server::{self, Drained, Listeners},
};

/// Run the server: clients connect to one address, administrators ask at the other
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A TOML file with the settings below; flags and environment win over it
    #[arg(long, env = "HEADCOUNT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let file = arguments.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    let mut settings = arguments.settings.or(file).check(descriptors::raise())?;
    settings.warnings.extend(environment::warning());
    server::check(&settings.config).map_err(Failure::Usage)?;
    descriptors::make_room(settings.config.clients.max_open);
    log_to_stderr(settings.log);
    // On a thread of the runtime and not on the one that waits for it: there a tick, or a newcomer, wakes nobody else.
    let serving = async { tokio::spawn(serve(settings)).await };
    super::runtime()?.block_on(serving).unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

async fn serve(settings: Checked) -> Outcome {
    let shutdown = super::interrupted()?;
    let listeners = Listeners::bind(settings.listen, settings.admin_listen).await?;
    announce(&listeners, &settings.config)?;
    for warning in settings.warnings {
        tracing::warn!("{warning}");
    }
    let (draining, drain_begun) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        let _ = draining.send(());
    };
    let mut hangups = signal(SignalKind::hangup())?;
    let reload = settings.config.reload.clone();
    let _reloading = AbortOnDropHandle::new(tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reload.ask();
        }
    }));
    let drained = tokio::select! {
        drained = server::run(listeners, settings.config, shutdown) => drained,
        // Whoever signals twice does not want to wait.
        () = signalled_again(drain_begun) => {
            return Err(Failure::Failed("ended at once by a second signal; what was open is cut".to_owned()));
        }
    };
    let Drained { connections, cut } = drained;
    let left = connections.saturating_sub(cut);
    super::tell(format_args!("drained: {connections} connections were open, {left} left, {cut} were cut"));
    Ok(())
}

/// Completes with the first signal after the drain has begun.
async fn signalled_again(drain_begun: oneshot::Receiver<()>) {
    let _ = drain_begun.await;
    match super::interrupted() {
        Ok(signal) => signal.await,
        Err(_) => std::future::pending().await,
    }
}

/// Says where the server is and what to try next. A server whose words nobody reads serves all the same.
fn announce(listeners: &Listeners, config: &Config) -> io::Result<()> {
    // Of no use where names are not what the client says.
    let is_open = matches!(config.clients.identity.mode, IdentityMode::Open);
    let name = if is_open { "?username=you" } else { "" };
    let clients = reachable(listeners.clients.local_addr()?);
    let admin = format!("http{}://{}", s(&config.admin.tls), reachable(listeners.admin.local_addr()?));
    let option = if admin == DEFAULT_ADMIN { String::new() } else { format!(" --admin {admin}") };
    let query_socket = admin.replacen("http", "ws", 1);
    let _ = writeln!(
        io::stdout(),
        "clients connect to  ws{}://{clients}/ws/{{project}}{name}\n\
         administrators ask  {admin}/api/v1/session-info  (or the query socket {query_socket}/query)\n\
         try in another terminal:  headcount sessions{option} --watch 2s",
        s(&config.clients.tls)
    );
    Ok(())
}

/// What the scheme of a plane's addresses ends with.
fn s(tls: &Option<TlsFiles>) -> &'static str {
    if tls.is_some() { "s" } else { "" }
}

/// An address that can be typed in: a server on all addresses is reached on this machine by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn log_to_stderr(level: LogLevel) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(super::is_colourful(&std::io::stderr()))
        .with_timer(ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".to_owned()));
    // Our own words only: the libraries' finer levels print what clients send, tokens among it.
    let ours = Targets::new().with_target("headcount", Level::from(level));
    tracing_subscriber::registry().with(ours).with(lines).init();
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
