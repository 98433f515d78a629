//! Sessions that nobody holds a socket for, for the benches of what is in memory.

use std::sync::Arc;

use headcount::session::{Identity, Joining, Order, Outlet, SessionScope};

/// The way to a connection that never listens.
#[derive(Debug)]
struct Deaf;

impl Outlet for Deaf {
    fn tell(&self, _: Order) -> bool {
        false
    }
}

/// A browser with one page, of one of so many users.
pub fn joining(n: usize, users: usize) -> Joining {
    Joining {
        identity: Identity {
            id: format!("00000000-0000-4000-8000-{n:012}").into(),
            username: format!("user{}", n % users).into(),
            authorized: false,
            project: "plant".into(),
            scope: SessionScope::Browser,
            client_address: "10.0.0.7".parse().expect("an address"),
            peer_address: "10.0.0.7".parse().expect("an address"),
            user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/99.0"
                .into(),
        },
        page_id: format!("p{n}").into(),
        page_path: None,
        resume: None,
        expires_ms: None,
        speaks_headcount: false,
        outlet: Arc::new(Deaf),
    }
}
