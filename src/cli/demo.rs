use std::{io, net::SocketAddr, time::Duration};

use clap::Args;
use tokio::sync::oneshot;

use super::{
    Outcome,
    sessions::{Question, watch_table},
    units::Span,
};
use crate::{
    config::Config,
    load::crowd,
    query_client::QueryClient,
    server::{self, Listeners},
};

/// Start a server and some sixty lively clients, and show who is connected
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End after so long, such as 30s; otherwise with Ctrl-C
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
}

/// Everything the demo starts ends with it: the clients with the runtime, the server after a drain.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    super::runtime()?.block_on(async {
        let interrupted = super::interrupted()?;
        let listeners = listen().await?;
        let (clients, admin) = (listeners.clients.local_addr()?, listeners.admin.local_addr()?);
        super::tell(format_args!(
            "clients connect to ws://{clients}/ws/{{project}}, administrators ask at http://{admin}"
        ));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server::run(listeners, Config::default(), async {
            let _ = stopped.await;
        }));
        let crowd = tokio::spawn(crowd::gather(clients));
        let outcome = tokio::select! {
            outcome = show(admin) => outcome,
            () = interrupted => Ok(()),
            () = ended(arguments.duration) => Ok(()),
        };
        crowd.abort();
        let _ = stop.send(());
        let _ = server.await;
        outcome
    })
}

/// The usual ports, so that every example of the documentation works beside the demo; free ones if somebody
/// else has them.
async fn listen() -> io::Result<Listeners> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    match Listeners::bind(local(8080), local(8081)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Listeners::bind(local(0), local(0)).await,
        bound => bound,
    }
}

async fn show(admin: SocketAddr) -> Outcome {
    let mut client = QueryClient::connect(&admin.to_string()).await?;
    let headline = format!("headcount demo  ·  real clients, asked at {admin}");
    // The first picture is not an empty room.
    tokio::time::sleep(crowd::ARRIVAL).await;
    watch_table(&mut client, &Question::default(), Duration::from_secs(1), &headline).await
}

async fn ended(duration: Option<Span>) {
    match duration {
        Some(span) => tokio::time::sleep(span.0).await,
        None => std::future::pending().await,
    }
}
