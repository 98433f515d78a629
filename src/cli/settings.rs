//! What `serve` can be told, by flag, by environment or by file; the first of these that says it wins.

mod admin;
mod drain;
mod file;
mod identity;
mod lists;
mod rules;
mod tls;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use self::{
    identity::{ForwardedBy, IdentityKind},
    lists::{address, origins, two_addresses},
    rules::OneLogin,
    tls::Certificates,
};
use super::{
    Failure,
    units::{IdleTimes, Size, Span},
};
use crate::config::{AdminConfig, ClientsConfig, Config, Exposure, MAX_HEARTBEAT, Rates, Reload};

/// The settings of `serve`. In the file they have the flags' names, without the dashes before.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(long, env = "HEADCOUNT_LISTEN", value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where administrators ask [default: 127.0.0.1:8081]
    #[arg(long, env = "HEADCOUNT_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// The file of a TLS certificate and those that lead to its authority, PEM: both planes speak TLS. Read again when
    /// it changes, and on SIGHUP
    #[arg(long, env = "HEADCOUNT_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The file of its private key, PEM
    #[arg(long, env = "HEADCOUNT_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A certificate for the admin plane alone, in the place of --tls-cert or without it
    #[arg(long, env = "HEADCOUNT_ADMIN_TLS_CERT", value_name = "FILE")]
    admin_tls_cert: Option<PathBuf>,
    /// The file of its private key, PEM
    #[arg(long, env = "HEADCOUNT_ADMIN_TLS_KEY", value_name = "FILE")]
    admin_tls_key: Option<PathBuf>,
    /// Whether the admin plane speaks TLS [default: true if there is a certificate]
    #[arg(long, env = "HEADCOUNT_ADMIN_TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    admin_tls: Option<bool>,
    /// Where user names come from: open (what the client claims), jwt or header [default: open]
    #[arg(long, env = "HEADCOUNT_IDENTITY", value_name = "MODE")]
    identity: Option<IdentityKind>,
    /// Refuse clients without a verified identity, rather than listing them as Unauthenticated
    #[arg(long, env = "HEADCOUNT_REQUIRE_IDENTITY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    require_identity: Option<bool>,
    /// With identity jwt: the file of the secret that tokens are signed with (HS256)
    #[arg(long, env = "HEADCOUNT_JWT_SECRET_FILE", value_name = "FILE")]
    jwt_secret_file: Option<PathBuf>,
    /// With identity jwt: the file of public keys, PEM or JWKS (RS256, ES256, EdDSA); read again when it changes
    #[arg(long, env = "HEADCOUNT_JWT_KEY_FILE", value_name = "FILE")]
    jwt_key_file: Option<PathBuf>,
    /// The claim that names the user [default: sub]
    #[arg(long, env = "HEADCOUNT_JWT_CLAIM", value_name = "NAME")]
    jwt_claim: Option<String>,
    /// A token must be meant for one of these (aud), comma-separated [default: aud is not looked at]
    #[arg(long, env = "HEADCOUNT_JWT_AUDIENCE", value_name = "NAMES", value_delimiter = ',')]
    jwt_audience: Option<Vec<String>>,
    /// A token must be of one of these (iss), comma-separated [default: iss is not looked at]
    #[arg(long, env = "HEADCOUNT_JWT_ISSUER", value_name = "NAMES", value_delimiter = ',')]
    jwt_issuer: Option<Vec<String>>,
    /// With identity header: the header in which trusted proxies name the user [default: X-Forwarded-User]
    #[arg(long, env = "HEADCOUNT_IDENTITY_HEADER", value_name = "NAME")]
    identity_header: Option<String>,
    /// Networks of the proxies whose word on clients is taken, comma-separated: 10.0.0.0/8,fd00::/8
    #[arg(long, env = "HEADCOUNT_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',')]
    trusted_proxies: Option<Vec<String>>,
    /// Where they write the client's address: x-forwarded-for, forwarded or none [default: x-forwarded-for]
    #[arg(long, env = "HEADCOUNT_FORWARDED_HEADER", value_name = "HEADER")]
    forwarded_header: Option<ForwardedBy>,
    /// They begin every connection with a PROXY protocol header, of version 1 or 2
    #[arg(long, env = "HEADCOUNT_PROXY_PROTOCOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    proxy_protocol: Option<bool>,
    /// The file of admin tokens, made by headcount token new; with it, whoever asks needs one
    #[arg(long, env = "HEADCOUNT_ADMIN_TOKENS", value_name = "FILE")]
    admin_tokens: Option<PathBuf>,
    /// The file to which every action of an administrator is appended, as a JSON line
    #[arg(long, env = "HEADCOUNT_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// The most large lists of which a part is made at a time; others wait, up to request-timeout [default: 8]
    #[arg(long, env = "HEADCOUNT_MAX_CONCURRENT_LISTS", value_name = "N")]
    max_concurrent_lists: Option<usize>,
    /// How long the sessions of one list may take to find; what takes longer is refused [default: 5s]
    #[arg(long, env = "HEADCOUNT_MAX_LIST_TIME", value_name = "TIME")]
    max_list_time: Option<Span>,
    /// How old an answer may be that administrators share who ask the same; at most 10s [default: 0s, everybody their own]
    #[arg(long, env = "HEADCOUNT_SNAPSHOT_MAX_AGE", value_name = "TIME")]
    snapshot_max_age: Option<Span>,
    /// An administrator who takes nothing of an answer for so long is cut [default: 30s]
    #[arg(long, env = "HEADCOUNT_WRITE_TIMEOUT", value_name = "TIME")]
    write_timeout: Option<Span>,
    /// Let the admin plane listen on the network with nothing to protect it
    #[arg(long, env = "HEADCOUNT_INSECURE_ADMIN", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    insecure_admin: Option<bool>,
    /// The largest message of a client [default: 64KiB]
    #[arg(long, env = "HEADCOUNT_MAX_MESSAGE_BYTES", value_name = "SIZE")]
    max_message_bytes: Option<Size>,
    /// Send every application message back, for conformance suites and round-trip timing
    #[arg(long, env = "HEADCOUNT_ECHO", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    echo: Option<bool>,
    /// The most sessions in all; 0 is no limit [default: what the descriptors allow, 100000 at most]
    #[arg(long, env = "HEADCOUNT_MAX_SESSIONS", value_name = "N")]
    max_sessions: Option<usize>,
    /// The most sessions from one address; 0 is no limit [default: 10000]
    #[arg(long, env = "HEADCOUNT_MAX_SESSIONS_PER_ADDRESS", value_name = "N")]
    max_sessions_per_address: Option<usize>,
    /// The most sessions of one named user; 0 is no limit [default: 0]
    #[arg(long, env = "HEADCOUNT_MAX_SESSIONS_PER_USER", value_name = "N")]
    max_sessions_per_user: Option<usize>,
    /// The most sessions in one project; 0 is no limit [default: 0]
    #[arg(long, env = "HEADCOUNT_MAX_SESSIONS_PER_PROJECT", value_name = "N")]
    max_sessions_per_project: Option<usize>,
    /// The most sessions without a user, and connections of such; 0 is no limit [default: 0]
    #[arg(long, env = "HEADCOUNT_MAX_UNAUTHENTICATED", value_name = "N")]
    max_unauthenticated: Option<usize>,
    /// A user's second login: off (allowed), reject or replace [default: off]
    #[arg(long, env = "HEADCOUNT_ONE_SESSION_PER_USER", value_name = "RULE")]
    one_session_per_user: Option<OneLogin>,
    /// End sessions whose user did nothing for so long: 30m, or by scope: browser=30m,ios=2h [default: never]
    #[arg(long, env = "HEADCOUNT_IDLE_TIMEOUT", value_name = "TIMES")]
    idle_timeout: Option<IdleTimes>,
    /// The most connections begun a second from one address; 0 is no limit [default: 0]
    #[arg(long, env = "HEADCOUNT_MAX_CONNECT_RATE", value_name = "N")]
    max_connect_rate: Option<u32>,
    /// The most messages a second of one connection; 0 is no limit [default: 0]
    #[arg(long, env = "HEADCOUNT_MAX_MESSAGE_RATE", value_name = "N")]
    max_message_rate: Option<u32>,
    /// The most payload bytes a second of one connection; 0 is no limit [default: 0]
    #[arg(long, env = "HEADCOUNT_MAX_BYTE_RATE", value_name = "SIZE")]
    max_byte_rate: Option<Size>,
    /// The most connections of one session; 0 is no limit [default: 100]
    #[arg(long, env = "HEADCOUNT_MAX_CONNECTIONS_PER_SESSION", value_name = "N")]
    max_connections_per_session: Option<usize>,
    /// The most pages of one session; 0 is no limit [default: 200]
    #[arg(long, env = "HEADCOUNT_MAX_PAGES_PER_SESSION", value_name = "N")]
    max_pages_per_session: Option<usize>,
    /// The most that may wait for a client that does not read [default: 256KiB]
    #[arg(long, env = "HEADCOUNT_MAX_SEND_BUFFER_BYTES", value_name = "SIZE")]
    max_send_buffer_bytes: Option<Size>,
    /// Every client is pinged so often, at most 24h; silent for two and a half of these, it is lost [default: 15s]
    #[arg(long, env = "HEADCOUNT_HEARTBEAT", value_name = "TIME")]
    heartbeat: Option<Span>,
    /// How long a lost page is kept for its client to come back [default: 30s]
    #[arg(long, env = "HEADCOUNT_RESUME_WINDOW", value_name = "TIME")]
    resume_window: Option<Span>,
    /// The same for scopes ios and android [default: 5m]
    #[arg(long, env = "HEADCOUNT_RESUME_WINDOW_MOBILE", value_name = "TIME")]
    resume_window_mobile: Option<Span>,
    /// How long a session whose last page is reloaded waits for it [default: 5s]
    #[arg(long, env = "HEADCOUNT_RELOAD_GRACE", value_name = "TIME")]
    reload_grace: Option<Span>,
    /// How long a session may go on after its token has expired [default: 30s]
    #[arg(long, env = "HEADCOUNT_TOKEN_GRACE", value_name = "TIME")]
    token_grace: Option<Span>,
    /// How many ended sessions are remembered [default: 10000]
    #[arg(long, env = "HEADCOUNT_MAX_ENDED", value_name = "N")]
    max_ended: Option<usize>,
    /// How long a connection may take to send its whole request [default: 5s]
    #[arg(long, env = "HEADCOUNT_REQUEST_TIMEOUT", value_name = "TIME")]
    request_timeout: Option<Span>,
    /// How long connections may take to leave when the server ends [default: 5s]
    #[arg(long, env = "HEADCOUNT_GRACE_PERIOD", value_name = "TIME")]
    grace_period: Option<Span>,
    /// Over how long the connections are told to leave when the server ends, grace-period at most [default: 1s]
    #[arg(long, env = "HEADCOUNT_DRAIN_SPREAD", value_name = "TIME")]
    drain_spread: Option<Span>,
    /// Origins of pages that may connect as clients besides those of the same host, comma-separated
    #[arg(long, env = "HEADCOUNT_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    allowed_origins: Option<Vec<String>>,
    /// The same for the admin plane, whose pages may read all sessions
    #[arg(long, env = "HEADCOUNT_ADMIN_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    admin_allowed_origins: Option<Vec<String>>,
    /// Names of the admin plane in Host besides its address and localhost, comma-separated
    #[arg(long, env = "HEADCOUNT_ALLOWED_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
    allowed_hosts: Option<Vec<String>>,
    /// What to log: error, warn, info, debug or trace [default: info]
    #[arg(long, env = "HEADCOUNT_LOG", value_name = "LEVEL")]
    log: Option<LogLevel>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Settings that have been found good.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) log: LogLevel,
    /// What is allowed and still looks wrong.
    pub(super) warnings: Vec<String>,
    pub(super) config: Config,
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or the line and the key that cannot be meant so.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("config {shown} cannot be read: {error}")))?;
        file::parse(&text).map_err(|problem| Failure::Usage(format!("config {shown}, {problem}")))
    }

    /// These settings, and where they say nothing, those of the file.
    pub(super) fn or(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            admin_listen: self.admin_listen.or(file.admin_listen),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            admin_tls_cert: self.admin_tls_cert.or(file.admin_tls_cert),
            admin_tls_key: self.admin_tls_key.or(file.admin_tls_key),
            admin_tls: self.admin_tls.or(file.admin_tls),
            identity: self.identity.or(file.identity),
            require_identity: self.require_identity.or(file.require_identity),
            jwt_secret_file: self.jwt_secret_file.or(file.jwt_secret_file),
            jwt_key_file: self.jwt_key_file.or(file.jwt_key_file),
            jwt_claim: self.jwt_claim.or(file.jwt_claim),
            jwt_audience: self.jwt_audience.or(file.jwt_audience),
            jwt_issuer: self.jwt_issuer.or(file.jwt_issuer),
            identity_header: self.identity_header.or(file.identity_header),
            trusted_proxies: self.trusted_proxies.or(file.trusted_proxies),
            forwarded_header: self.forwarded_header.or(file.forwarded_header),
            proxy_protocol: self.proxy_protocol.or(file.proxy_protocol),
            admin_tokens: self.admin_tokens.or(file.admin_tokens),
            audit_log: self.audit_log.or(file.audit_log),
            max_concurrent_lists: self.max_concurrent_lists.or(file.max_concurrent_lists),
            max_list_time: self.max_list_time.or(file.max_list_time),
            snapshot_max_age: self.snapshot_max_age.or(file.snapshot_max_age),
            write_timeout: self.write_timeout.or(file.write_timeout),
            insecure_admin: self.insecure_admin.or(file.insecure_admin),
            max_message_bytes: self.max_message_bytes.or(file.max_message_bytes),
            echo: self.echo.or(file.echo),
            max_sessions: self.max_sessions.or(file.max_sessions),
            max_sessions_per_address: self.max_sessions_per_address.or(file.max_sessions_per_address),
            max_sessions_per_user: self.max_sessions_per_user.or(file.max_sessions_per_user),
            max_sessions_per_project: self.max_sessions_per_project.or(file.max_sessions_per_project),
            max_unauthenticated: self.max_unauthenticated.or(file.max_unauthenticated),
            one_session_per_user: self.one_session_per_user.or(file.one_session_per_user),
            idle_timeout: self.idle_timeout.or(file.idle_timeout),
            max_connect_rate: self.max_connect_rate.or(file.max_connect_rate),
            max_message_rate: self.max_message_rate.or(file.max_message_rate),
            max_byte_rate: self.max_byte_rate.or(file.max_byte_rate),
            drain_spread: self.drain_spread.or(file.drain_spread),
            max_connections_per_session: self
                .max_connections_per_session
                .or(file.max_connections_per_session),
            max_pages_per_session: self.max_pages_per_session.or(file.max_pages_per_session),
            max_send_buffer_bytes: self.max_send_buffer_bytes.or(file.max_send_buffer_bytes),
            heartbeat: self.heartbeat.or(file.heartbeat),
            resume_window: self.resume_window.or(file.resume_window),
            resume_window_mobile: self.resume_window_mobile.or(file.resume_window_mobile),
            reload_grace: self.reload_grace.or(file.reload_grace),
            token_grace: self.token_grace.or(file.token_grace),
            max_ended: self.max_ended.or(file.max_ended),
            request_timeout: self.request_timeout.or(file.request_timeout),
            grace_period: self.grace_period.or(file.grace_period),
            allowed_origins: self.allowed_origins.or(file.allowed_origins),
            admin_allowed_origins: self.admin_allowed_origins.or(file.admin_allowed_origins),
            allowed_hosts: self.allowed_hosts.or(file.allowed_hosts),
            log: self.log.or(file.log),
        }
    }

    /// Turns what was written into what is meant. `descriptors` is how many files the process may open.
    ///
    /// # Errors
    ///
    /// The setting that cannot be, and what could.
    pub(super) fn check(self, descriptors: usize) -> Result<Checked, Failure> {
        let listen = address("listen", self.listen.as_deref().unwrap_or("127.0.0.1:8080"))?;
        let admin_listen = address("admin-listen", self.admin_listen.as_deref().unwrap_or("127.0.0.1:8081"))?;
        two_addresses(listen, admin_listen)?;
        let certificates = self.certificates().map_err(Failure::Usage)?;
        self.exposure(listen, admin_listen, &certificates).check().map_err(Failure::Usage)?;
        let places = Places::among(descriptors);
        let rules = self.rules(&places);
        let mut warnings = Vec::new();
        if rules.limits.max_sessions.is_some_and(|max| max > places.sessions) {
            warnings.push(format!(
                "max-sessions is more than the {} that {descriptors} descriptors allow (ulimit -n)",
                places.sessions
            ));
        }
        let proxies = self.proxies().map_err(Failure::Usage)?;
        let identity = self.identity_config(&proxies).map_err(Failure::Usage)?;
        let clients = ClientsConfig::default();
        let request_timeout =
            more_than_nothing("request-timeout", self.request_timeout, clients.request_timeout)?;
        let max_message_bytes = self.max_message_bytes.map_or(clients.max_message_bytes, |size| size.0);
        if max_message_bytes == 0 {
            return Err(Failure::Usage("max-message-bytes must be more than 0".to_owned()));
        }
        let admin = AdminConfig { request_timeout, ..self.admin_config(places.admin)? };
        let drain = self.drain().map_err(Failure::Usage)?;
        Ok(Checked {
            listen,
            admin_listen,
            log: self.log.unwrap_or(LogLevel::Info),
            warnings,
            config: Config {
                clients: ClientsConfig {
                    tls: certificates.clients,
                    identity,
                    proxies,
                    max_message_bytes,
                    echo: self.echo.unwrap_or(false),
                    allowed_origins: origins("allowed-origins", self.allowed_origins)?,
                    request_timeout,
                    max_send_buffer_bytes: self
                        .max_send_buffer_bytes
                        .map_or(clients.max_send_buffer_bytes, |size| size.0.max(1024)),
                    heartbeat: heartbeat(self.heartbeat, clients.heartbeat)?,
                    rules,
                    rates: Rates {
                        connects: self.max_connect_rate.filter(|n| *n > 0),
                        messages: self.max_message_rate.filter(|n| *n > 0),
                        bytes: self.max_byte_rate.map(|size| size.0 as u64).filter(|n| *n > 0),
                    },
                    max_open: places.sessions + places.beside_sessions,
                },
                admin: AdminConfig { tls: certificates.admin, ..admin },
                drain,
                reload: Reload::default(),
            },
        })
    }

    fn exposure(&self, clients: SocketAddr, admin: SocketAddr, certificates: &Certificates) -> Exposure {
        Exposure {
            clients,
            identity_chosen: self.identity.is_some(),
            admin,
            admin_tokens: self.admin_tokens.is_some(),
            admin_tls: certificates.admin.is_some(),
            insecure_admin: self.insecure_admin.unwrap_or(false),
        }
    }
}

fn span(set: Option<Span>, default: Duration) -> Duration {
    set.map_or(default, |span| span.0)
}

fn more_than_nothing(name: &str, set: Option<Span>, default: Duration) -> Result<Duration, Failure> {
    match span(set, default) {
        Duration::ZERO => Err(Failure::Usage(format!("{name} must be more than 0"))),
        span => Ok(span),
    }
}

fn heartbeat(set: Option<Span>, default: Duration) -> Result<Duration, Failure> {
    let beat = more_than_nothing("heartbeat", set, default)?;
    if beat > MAX_HEARTBEAT {
        let hours = MAX_HEARTBEAT.as_secs() / 3600;
        return Err(Failure::Usage(format!("heartbeat must be at most {hours} h")));
    }
    Ok(beat)
}

/// How the descriptors are shared out, so that no plane can take those of the other.
struct Places {
    sessions: usize,
    /// For those who are still being asked who they are, or are told that there is no place.
    beside_sessions: usize,
    admin: usize,
}

impl Places {
    fn among(descriptors: usize) -> Self {
        /// The listeners, the log, the runtime; and 32 clients beside all places, who are told that there is none.
        const OTHERS: usize = 32 + 32;
        let admin = (descriptors / 8).clamp(2, 1024);
        let beside_sessions = (descriptors / 8).clamp(2, 256);
        let sessions = descriptors.saturating_sub(admin + beside_sessions + OTHERS);
        Self { sessions: sessions.clamp(1, 100_000), beside_sessions, admin }
    }
}

#[cfg(test)]
mod tests;
