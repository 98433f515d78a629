//! How sessions end with the server, as those see it whose registry it was.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use headcount::{
    config::Config,
    server::{self, Drained, Listeners},
    session::{EndReason, Registry, Rules},
};
use tokio::sync::oneshot;

use crate::harness::{RawSocket, eventually};

/// Who was cut was remembered as lost, or stayed in the registry for ever, as did who was about to come back.
#[test]
fn every_session_ends_drained_whether_its_client_leaves_is_cut_or_has_gone() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let registry = Arc::new(Registry::new(Rules::default()));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listeners = runtime.block_on(Listeners::bind(any, any)).unwrap();
    let clients = listeners.clients.local_addr().unwrap();
    let mut config = Config::default();
    config.drain.grace_period = Duration::from_millis(300);
    config.drain.spread = Duration::ZERO;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = runtime.spawn(server::run_on(registry.clone(), listeners, config, async {
        let _ = stopped.await;
    }));

    // A session of two connections, one of which has gone, and one whose only one has.
    let designer = |page: &str| {
        RawSocket::open(clients, &format!("/ws/p?username=ann&scope=designer&designerId=d&pageId={page}"))
    };
    let _stubborn = designer("p1");
    drop(designer("p2"));
    drop(RawSocket::open(clients, "/ws/p?username=gone"));
    eventually("who vanished is lost", || {
        let standing: usize = registry.select(None, None).iter().map(|session| session.connections()).sum();
        if standing == 1 { Ok(()) } else { Err(standing) }
    });
    assert_eq!(registry.len(), 2);
    stop.send(()).unwrap();
    let Drained { cut, .. } = runtime.block_on(running).unwrap();
    assert_eq!(cut, 1);
    eventually("nobody is left", || if registry.is_empty() { Ok(()) } else { Err(registry.len()) });
    let (ended, _) = registry.ended();
    let reasons: Vec<_> = ended.iter().map(|ended| ended.reason).collect();
    assert_eq!(reasons, [EndReason::Drained; 2]);
}
