//! The one validated configuration that a server runs by. Where the values come from (flags, environment, a
//! file) is the command line's business.

mod identity;
pub mod tokens;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

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
}

/// The client plane: what a client may do.
#[derive(Clone, Debug)]
pub struct ClientsConfig {
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
    /// Every client is asked so often whether it is there; silent for two and a half of these, it is lost.
    pub heartbeat: Duration,
    /// How fast clients may come and send.
    pub rates: Rates,
    /// How many sessions there may be, how long what is gone may come back, how many ended ones are remembered.
    pub rules: Rules,
    /// The most sockets at a time: those of sessions, those that are still being asked who they are, and those
    /// that are told there is no place.
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
}

/// The end of a server: connections are asked to leave, and after a while cut.
#[derive(Clone, Copy, Debug)]
pub struct DrainConfig {
    /// Over how long the connections are told to leave, so that they do not all come back at once.
    pub spread: Duration,
    /// How long connections may take to leave.
    pub grace_period: Duration,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        Self {
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
        }
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { spread: Duration::from_secs(1), grace_period: Duration::from_secs(5) }
    }
}

/// The rules about where a server may listen (PROTOCOL 1): nothing is open to the network by accident.
///
/// # Errors
///
/// The reason and the fix, in one line.
pub fn check_exposure(
    clients: SocketAddr,
    identity_chosen: bool,
    admin: SocketAddr,
    has_tokens: bool,
    insecure_admin: bool,
) -> Result<(), String> {
    if !admin.ip().is_loopback() && !insecure_admin {
        let danger = if has_tokens {
            "tokens and sessions would cross the network in the clear"
        } else {
            "anybody who reaches it could read and close all sessions"
        };
        return Err(format!(
            "admin-listen {admin} is not loopback: {danger}; listen on 127.0.0.1 behind a proxy that speaks TLS, \
             with --admin-tokens, or say --insecure-admin to accept that"
        ));
    }
    if !clients.ip().is_loopback() && !identity_chosen {
        return Err(format!(
            "listen {clients} is not loopback: any client there could claim any user name; \
             say --identity open to accept that"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_open_to_the_network_by_accident() {
        let loopback = "127.0.0.1:1".parse().unwrap();
        let v6 = "[::1]:1".parse().unwrap();
        let open = "0.0.0.0:1".parse().unwrap();
        assert_eq!(check_exposure(loopback, false, v6, false, false), Ok(()));
        assert_eq!(check_exposure(open, true, open, false, true), Ok(()));
        let admin = check_exposure(loopback, false, open, false, false).unwrap_err();
        assert!(admin.contains("admin-listen") && admin.contains("--insecure-admin"), "{admin}");
        let in_the_clear = check_exposure(loopback, false, open, true, false).unwrap_err();
        assert!(in_the_clear.contains("tokens and sessions would cross"), "{in_the_clear}");
        let clients = check_exposure(open, false, loopback, false, false).unwrap_err();
        assert!(clients.contains("--identity open"), "{clients}");
    }
}
