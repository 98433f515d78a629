//! The one validated configuration that a server runs by. Where the values come from (flags, environment, a
//! file) is the command line's business.

mod identity;
pub mod tokens;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tokio::sync::watch;

pub use self::identity::{
    ForwardedHeader, IdentityConfig, IdentityMode, JwtConfig, KeyFile, ProxyConfig, TrustedProxies,
};
use crate::session::{Limits, Rules};

/// Everything a server needs to know besides its listeners.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The client plane.
    pub clients: ClientsConfig,
    /// The admin plane.
    pub admin: AdminConfig,
    /// The end.
    pub drain: DrainConfig,
    /// The way to have the files that the above names read again.
    pub reload: Reload,
}

/// Has the files of keys, tokens and certificates read again, also those that have not changed. Without it that is
/// done soon after they have.
#[derive(Clone, Debug, Default)]
pub struct Reload(watch::Sender<()>);

impl Reload {
    /// Asks for it. The log says what came of it; what cannot be read leaves what was read before.
    pub fn ask(&self) {
        self.0.send_replace(());
    }

    /// To be told when it is asked for.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// The files of a certificate and of its private key, as PEM. They are watched: changed ones are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that lead to an authority.
    pub certificate: PathBuf,
    /// Its key, not encrypted: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The longest heartbeat, whatever is asked for: silences are counted in 32 bits of milliseconds.
pub const MAX_HEARTBEAT: Duration = Duration::from_secs(24 * 3600);

/// The client plane: what a client may do.
#[derive(Clone, Debug)]
pub struct ClientsConfig {
    /// With it the plane speaks TLS, and nothing else.
    pub tls: Option<TlsFiles>,
    /// Who clients are.
    pub identity: IdentityConfig,
    /// What stands between them and this server.
    pub proxies: ProxyConfig,
    /// The largest message, in payload bytes. A larger one ends its connection with 1009.
    pub max_message_bytes: usize,
    /// Send every application message back.
    pub echo: bool,
    /// Origins of pages that may connect besides those of the same host, such as `https://hmi.example`.
    pub allowed_origins: Vec<String>,
    /// A connection that has not sent its whole request by then is closed.
    pub request_timeout: Duration,
    /// How many bytes may wait to be sent to one client that does not read.
    pub max_send_buffer_bytes: usize,
    /// Every client is asked so often whether it is there, [`MAX_HEARTBEAT`] at the most; silent for two and a half of
    /// these, it is lost.
    pub heartbeat: Duration,
    /// How fast clients may come and send.
    pub rates: Rates,
    /// How many sessions there may be, how long what is gone may come back, how many ended ones are remembered.
    pub rules: Rules,
    /// The most sockets at a time: those of sessions, those that are still being asked who they are, and those
    /// that are told there is no place. Some 32 more are accepted, only to be told that all are taken.
    pub max_open: usize,
}

/// How much there may be in a second; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Upgrades begun from one address, or one /64 of IPv6.
    pub connects: Option<u32>,
    /// Messages of one connection.
    pub messages: Option<u32>,
    /// Payload bytes of one connection.
    pub bytes: Option<u64>,
}

/// The oldest that an answer may be which is shared by those who ask the same.
pub const MAX_SNAPSHOT_AGE: Duration = Duration::from_secs(10);

/// The admin plane: who may ask, and how much.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// With it the plane speaks TLS, and nothing else.
    pub tls: Option<TlsFiles>,
    /// The file of [tokens], one of which everybody needs; without it nobody does.
    pub tokens: Option<PathBuf>,
    /// The file where administrators' actions are written down, one JSON object a line.
    pub audit_log: Option<PathBuf>,
    /// Origins of pages that may ask besides those of the same host.
    pub allowed_origins: Vec<String>,
    /// Names in `Host` that are this server's besides its address and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// A connection that has not sent its whole request by then is closed.
    pub request_timeout: Duration,
    /// The largest request, in bytes. A larger one is answered with an error; the socket stays open.
    pub max_request_bytes: usize,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most large answers of which a part is made at a time; further ones wait, up to `request_timeout`. While a
    /// reader takes a part, its answer does not count.
    pub max_concurrent_lists: usize,
    /// How long one part of an answer may take to find; what takes longer is refused.
    pub max_list_time: Duration,
    /// How old an answer may be that is shared by those who ask the same, [`MAX_SNAPSHOT_AGE`] at most; zero is that
    /// everybody has their own, unless they say something else.
    pub snapshot_max_age: Duration,
    /// The most query sockets among them.
    pub max_query_sockets: usize,
    /// A reader that takes nothing of its answer for so long is cut.
    pub write_timeout: Duration,
    /// Whoever has a query socket and says nothing for so long, more than nothing, is asked whether they are there; silent
    /// for two and a half of these, they are gone.
    pub heartbeat: Duration,
}

/// The end of a server: connections are asked to leave, and after a while cut.
#[derive(Clone, Copy, Debug)]
pub struct DrainConfig {
    /// Over how long the connections are told to leave, so that they do not all come back at once. Whose turn would come
    /// after the grace period is cut without a word.
    pub spread: Duration,
    /// How long connections may take to leave.
    pub grace_period: Duration,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
            tls: None,
            identity: IdentityConfig::default(),
            proxies: ProxyConfig::default(),
            max_message_bytes: 64 * 1024,
            echo: false,
            allowed_origins: Vec::new(),
            request_timeout: Duration::from_secs(5),
            max_send_buffer_bytes: 256 * 1024,
            heartbeat: Duration::from_secs(15),
            rates: Rates::default(),
            rules: Rules {
                limits: Limits {
                    max_sessions: Some(100_000),
                    max_sessions_per_address: Some(10_000),
                    max_sessions_per_user: None,
                    max_sessions_per_project: None,
                    max_unauthenticated: None,
                    max_connections_per_session: Some(100),
                    max_pages_per_session: Some(200),
                },
                ..Rules::default()
            },
            max_open: 100_256,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            tls: None,
            tokens: None,
            audit_log: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            request_timeout: Duration::from_secs(5),
            max_request_bytes: 1024 * 1024,
            max_connections: 1024,
            max_query_sockets: 768,
            max_concurrent_lists: 8,
            max_list_time: Duration::from_secs(5),
            snapshot_max_age: Duration::ZERO,
            write_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
        }
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { spread: Duration::from_secs(1), grace_period: Duration::from_secs(5) }
    }
}

/// Where a server is to listen, and what protects it there.
#[derive(Clone, Copy, Debug)]
pub struct Exposure {
    /// Where clients connect.
    pub clients: SocketAddr,
    /// The operator has said where user names come from.
    pub identity_chosen: bool,
    /// Where administrators ask.
    pub admin: SocketAddr,
    /// They need tokens there.
    pub admin_tokens: bool,
    /// They speak TLS there.
    pub admin_tls: bool,
    /// The operator accepts an admin plane that lacks either.
    pub insecure_admin: bool,
}

impl Exposure {
    /// The rules about where a server may listen (PROTOCOL 1): nothing is open to the network by accident.
    ///
    /// # Errors
    ///
    /// The reason and the fix, in one line.
    pub fn check(&self) -> Result<(), String> {
        self.check_admin()?;
        if self.clients.ip().is_loopback() || self.identity_chosen {
            return Ok(());
        }
        Err(format!(
            "listen {} is not loopback: any client there could claim any user name; \
             say --identity open to accept that",
            self.clients
        ))
    }

    fn check_admin(&self) -> Result<(), String> {
        if self.admin.ip().is_loopback() || self.insecure_admin {
            return Ok(());
        }
        let (danger, fix) = match (self.admin_tokens, self.admin_tls) {
            (true, true) => return Ok(()),
            (true, false) => (
                "tokens and sessions would cross the network in the clear",
                "give it TLS (--tls-cert and --tls-key), listen on 127.0.0.1 behind a proxy that speaks TLS",
            ),
            (false, true) => (
                "anybody who reaches it could read and close all sessions",
                "give it tokens (--admin-tokens; headcount token new makes them), listen on 127.0.0.1",
            ),
            (false, false) => (
                "anybody who reaches it could read and close all sessions",
                "give it tokens (--admin-tokens) and TLS (--tls-cert and --tls-key), listen on 127.0.0.1",
            ),
        };
        Err(format!(
            "admin-listen {} is not loopback: {danger}; {fix}, or say --insecure-admin to accept that",
            self.admin
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: Exposure = Exposure {
        clients: loopback(),
        identity_chosen: false,
        admin: loopback(),
        admin_tokens: false,
        admin_tls: false,
        insecure_admin: false,
    };

    const fn loopback() -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1)
    }

    #[test]
    fn nothing_is_open_to_the_network_by_accident() {
        let network = "0.0.0.0:1".parse().unwrap();
        assert_eq!(SAFE.check(), Ok(()));
        assert_eq!(Exposure { admin: "[::1]:1".parse().unwrap(), ..SAFE }.check(), Ok(()));
        let clients = Exposure { clients: network, ..SAFE };
        assert!(clients.check().unwrap_err().contains("--identity open"));
        assert_eq!(Exposure { identity_chosen: true, ..clients }.check(), Ok(()));
        let open = Exposure { admin: network, ..SAFE };
        assert_eq!(Exposure { insecure_admin: true, ..open }.check(), Ok(()));
        let safe = Exposure { admin_tokens: true, admin_tls: true, ..open };
        assert_eq!(safe.check(), Ok(()));
        assert!(Exposure { clients: network, ..safe }.check().is_err(), "the other plane is looked at too");
    }

    #[test]
    fn an_admin_plane_on_the_network_is_told_what_it_lacks_and_nothing_else() {
        let lacks = |admin_tokens, admin_tls, expected: &[&str], not: &[&str]| {
            let admin = "0.0.0.0:1".parse().unwrap();
            let said = Exposure { admin, admin_tokens, admin_tls, ..SAFE }.check().unwrap_err();
            for part in [&["admin-listen 0.0.0.0:1 is not loopback", "--insecure-admin"], expected].concat() {
                assert!(said.contains(part), "{part}: {said}");
            }
            for part in not {
                assert!(!said.contains(part), "{part}: {said}");
            }
        };
        lacks(
            false,
            false,
            &["read and close all sessions", "--admin-tokens", "--tls-cert and --tls-key"],
            &[],
        );
        lacks(true, false, &["in the clear", "--tls-cert and --tls-key"], &["--admin-tokens"]);
        lacks(false, true, &["read and close all sessions", "--admin-tokens"], &["--tls-cert"]);
    }
}
