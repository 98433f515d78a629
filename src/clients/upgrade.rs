//! Whether a request to the client plane may come in, and as whom.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use uuid::Uuid;

use super::{
    address::Peer,
    identity::{Asked, Known},
    line::Line,
    listener::ClientPlane,
    params::Params,
};
use crate::{
    edge::{
        origin::{check_origin, host_header},
        refusal::{self, Body, Refusal},
        switching::{self, Switching},
    },
    session::{Identity, JoinError, Joining, Membership, SUBPROTOCOL, SessionScope, UNAUTHENTICATED, text},
};

/// A client that has joined: its place in the registry, the page that it serves first, and the line to it.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) membership: Membership,
    pub(super) page_id: Arc<str>,
    pub(super) line: Arc<Line>,
}

/// The code of every refusal that there is here (PROTOCOL 2.1).
pub(super) const REFUSALS: [&str; 19] = [
    "bad_handshake",
    "bad_identity",
    "bad_parameter",
    "bad_project",
    "designer_id_in_use",
    "draining",
    "identity_required",
    "method_not_allowed",
    "not_found",
    "origin_not_allowed",
    "server_full",
    "several_tokens",
    "token_expired",
    "token_invalid",
    "too_fast",
    "too_many_connections",
    "too_many_pages",
    "too_many_sessions",
    "upgrade_required",
];

/// What a request is given that is not refused.
pub(super) enum Granted {
    /// The answer is 101, and it has joined.
    Upgrade(Switching, Admitted),
    /// The server is well.
    Health(Response<Body>),
}

/// Answers a request: with 101 and a membership, or without one. It is without one if the request came when every place
/// was taken, and `is_beside` them.
///
/// The client has joined before it can see the 101, so whoever asks after that finds it.
///
/// # Errors
///
/// One of the [`REFUSALS`].
pub(super) fn answer<B>(
    request: &Request<B>,
    peer: Peer,
    plane: &ClientPlane,
    is_beside: bool,
) -> Result<Granted, Refusal> {
    let ClientPlane { config, registry, .. } = plane;
    let now_ms = plane.clock.now_ms();
    let client = peer.client(request.headers(), &config.proxies);
    let answer = || {
        check_origin(request.headers(), &config.allowed_origins)?;
        let path = request.uri().path();
        if path == "/healthz" {
            return health(request.method()).map(Granted::Health);
        }
        if plane.draining.is_cancelled() {
            return Err(Refusal::draining());
        }
        let Some(project) = project_of(path) else {
            let message = "there is nothing here: this is the client plane, connect a WebSocket to /ws/{project}; \
                           administrators ask the admin plane, at /query and /api/v1";
            return Err(Refusal::not_found(message));
        };
        let mut switching = Switching::for_request(request)?;
        if host_header(request.headers()).is_none() {
            let message = "the request needs exactly one Host header (RFC 9112, 3.2)";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad_handshake", message));
        }
        if is_beside {
            let max = config.max_open;
            let message =
                format!("every connection that the server has room for is taken: the limit is {max}");
            return Err(server_full(message));
        }
        if let Some(rate) = config.rates.connects
            && !plane.gate.lets_in(client, rate, now_ms)
        {
            let message = format!("too many connections from this address in a second: the limit is {rate}");
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_fast", message).retry_after());
        }
        let mut params = Params::read(project, request.uri().query())?;
        let asked = Asked {
            peer,
            headers: request.headers(),
            username: params.username.take(),
            access_token: params.access_token.take(),
        };
        let known = plane.identities.identify(asked, plane.clock)?;
        let line = Arc::new(Line::new(switching::offers(request.headers(), SUBPROTOCOL), now_ms));
        let page_id = params.page_id.clone();
        let joining = joining(params, known, (client, peer), request.headers(), &line);
        let membership = registry.join(joining, now_ms).map_err(refuse_join)?;
        if line.speaks_headcount() {
            switching.choose(SUBPROTOCOL);
        }
        Ok(Granted::Upgrade(switching, Admitted { membership, page_id, line }))
    };
    answer().inspect_err(|refusal: &Refusal| {
        tracing::debug!(peer = %peer.address, %client, status = refusal.status.as_u16(), reason = ?refusal.message, "refused");
    })
}

/// `/ws/{project}`: one segment, which may turn out to be empty.
fn project_of(path: &str) -> Option<&str> {
    path.strip_prefix("/ws/").filter(|project| !project.contains('/'))
}

fn health(method: &Method) -> Result<Response<Body>, Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) {
        Ok(refusal::json(StatusCode::OK, r#"{"status":"ok"}"#))
    } else {
        Err(Refusal::method_not_allowed("GET, HEAD"))
    }
}

fn joining(
    params: Params,
    known: Known,
    (client, peer): (IpAddr, Peer),
    headers: &HeaderMap,
    line: &Arc<Line>,
) -> Joining {
    let user_agent =
        headers.get(header::USER_AGENT).map_or_else(String::new, |value| text::user_agent(value.as_bytes()));
    let scope = params.scope.unwrap_or_else(|| SessionScope::from_user_agent(&user_agent));
    Joining {
        identity: Identity {
            id: params.designer_id.unwrap_or_else(new_id),
            username: known.username.unwrap_or_else(|| UNAUTHENTICATED.into()),
            authorized: known.authorized,
            project: params.project,
            scope,
            client_address: client,
            peer_address: peer.connected_from,
            user_agent: user_agent.into(),
        },
        page_id: params.page_id,
        page_path: params.page_path,
        resume: params.resume,
        expires_ms: known.expires_ms,
        speaks_headcount: line.speaks_headcount(),
        outlet: line.clone(),
    }
}

/// A UUID, of random bytes that the system is not asked for each time.
fn new_id() -> Arc<str> {
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    (&*id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).into()
}

fn server_full(message: String) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "server_full", message).retry_after()
}

fn refuse_join(error: JoinError) -> Refusal {
    let (status, code) = match error {
        JoinError::Full(_) => return server_full(error.to_string()),
        JoinError::Address(_)
        | JoinError::User(_)
        | JoinError::Project(_)
        | JoinError::Unauthenticated(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_sessions"),
        JoinError::Pages(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_pages"),
        JoinError::Connections(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_connections"),
        JoinError::Taken => (StatusCode::CONFLICT, "designer_id_in_use"),
    };
    let refusal = Refusal::new(status, code, error.to_string());
    if error == JoinError::Taken { refusal } else { refusal.retry_after() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_protocol_s_table_has_every_code_of_a_refusal() {
        let (_, table) = include_str!("../protocol.md").split_once("Refused before the upgrade").unwrap();
        let rows = table
            .lines()
            .skip_while(|line| !line.starts_with("| 400"))
            .map_while(|line| line.strip_prefix("| "));
        let codes = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split(','));
        let codes: BTreeSet<_> = codes.map(|code| code.trim().trim_matches('`')).collect();
        assert_eq!(codes, BTreeSet::from(REFUSALS));
    }
}
