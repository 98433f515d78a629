//! Many sessions at once, without a client for each.

use std::{net::SocketAddr, sync::Arc, thread};

use headcount::{
    config::{AdminConfig, Config},
    server::{self, Listeners},
    session::{Identity, Joining, Membership, Order, Outlet, Registry, Rules, SessionScope},
};
use tokio::sync::oneshot;

/// A client that is nowhere.
#[derive(Debug)]
struct Nobody;

impl Outlet for Nobody {
    fn tell(&self, _: Order) -> bool {
        false
    }
}

/// A server within this process, and sessions of nobody.
pub(crate) struct Crowded {
    pub(crate) admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: Option<thread::JoinHandle<()>>,
    _crowd: Vec<Membership>,
}

impl Crowded {
    pub(crate) fn start(sessions: usize, admin: AdminConfig) -> Self {
        let registry = Arc::new(Registry::new(Rules::default()));
        let outlet: Arc<dyn Outlet> = Arc::new(Nobody);
        let crowd = (0..sessions).map(|n| registry.join(joining(n, &outlet), 0).unwrap()).collect();
        let config = Config { admin, ..Config::default() };
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let running = thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let listeners = Listeners::bind(any, any).await.unwrap();
                tell.send(listeners.admin.local_addr().unwrap()).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                server::run_on(registry, listeners, config, stopped).await;
            });
        });
        let admin = told.recv().unwrap();
        Self { admin, stop: Some(stop), running: Some(running), _crowd: crowd }
    }
}

impl Drop for Crowded {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}

fn joining(n: usize, outlet: &Arc<dyn Outlet>) -> Joining {
    Joining {
        identity: Identity {
            id: format!("session-{n}").into(),
            username: format!("user{}", n % 100).into(),
            authorized: false,
            project: "plant".into(),
            scope: SessionScope::Browser,
            client_address: [10, 0, 0, 1].into(),
            peer_address: [10, 0, 0, 1].into(),
            user_agent: "x".repeat(500).into(),
        },
        page_id: "p1".into(),
        page_path: None,
        resume: None,
        expires_ms: None,
        speaks_headcount: false,
        outlet: outlet.clone(),
    }
}
