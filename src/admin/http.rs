//! The HTTP side of the query plane (PROTOCOL 3.2).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    caller::Lacks,
    describe, events, history, ignition,
    listener::AdminPlane,
    methods::{Methods, SessionInfoFilters},
    metrics, nodes, query_socket, rest, rpc,
    source::{Source, Unanswered, into_parts, part_buffer},
    stats::get_stats,
};
use crate::{
    config::tokens::Scope,
    edge::{
        origin::{check_admin_origin, check_host},
        query::{Query, Unknown},
        refusal::{Refusal, json},
    },
};

/// One connection's view of the admin plane.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) plane: Arc<AdminPlane>,
    /// Whoever connected.
    peer: SocketAddr,
    /// The address of ours that they connected to.
    local: IpAddr,
    /// This connection's place among the admitted, kept as long as its query socket lives.
    _place: Arc<OwnedSemaphorePermit>,
}

pub(super) type Answer = Result<Response, Refusal>;

/// Every path of the admin plane, behind the checks of who may ask.
pub(super) fn router(
    plane: Arc<AdminPlane>,
    (peer, local): (SocketAddr, IpAddr),
    place: OwnedSemaphorePermit,
) -> Router {
    let connection = Connection { plane, peer, local, _place: Arc::new(place) };
    Router::new()
        .route("/query", get(query_socket::upgrade).post(post_query))
        .route("/api/v1/session-info", get(session_info))
        .route("/api/v1/sessions", get(rest::list).delete(rest::delete))
        .route("/api/v1/sessions/{id}", get(rest::one))
        .route("/api/v1/sessions/{id}/pages", get(rest::pages))
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/stats", get(stats))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/history", get(history::history))
        .route("/api/v1/nodes", get(nodes::nodes))
        .route("/data/perspective/api/v1/sessions", get(ignition::sessions).delete(rest::delete))
        .route("/data/perspective/api/v1/sessions/", get(ignition::sessions).delete(rest::delete))
        .route("/data/perspective/api/v1/session/{id}", get(ignition::session))
        .route("/data/perspective/api/v1/session/{id}/pages", get(ignition::pages))
        .route("/data/api/v1/designers", get(ignition::designers))
        .route("/data/api/v1/designer/{id}", delete(ignition::delete_designer))
        .route("/data/vision/api/v1/clients", get(ignition::vision_clients))
        .route("/api/v1/openapi.json", get(describe::openapi))
        .route("/api/v1/asyncapi.json", get(describe::asyncapi))
        .route("/asyncapi.json", get(describe::asyncapi))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(connection.clone(), check))
        .layer(middleware::from_fn_with_state(connection.clone(), time))
        .with_state(connection)
}

/// Counts a request, and how long it took until its answer began.
async fn time(State(connection): State<Connection>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = match *request.method() {
        Method::GET | Method::HEAD | Method::POST | Method::DELETE => request.method().as_str(),
        // Anybody may make one up.
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>();
    let way = format!("{method} {}", route.map_or("elsewhere", MatchedPath::as_str));
    let response = next.run(request).await;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    connection.plane.figures.asked(&way, began.elapsed(), is_error);
    response
}

/// Whether a request is answered, and whose [`Methods`] it is answered by.
async fn check(State(connection): State<Connection>, mut request: Request, next: Next) -> Answer {
    let config = &connection.plane.config;
    check_host(request.uri(), request.headers(), connection.local, &config.allowed_hosts)?;
    check_admin_origin(request.headers(), &config.allowed_origins)?;
    // Whoever looks after the server needs no token to see that it is well.
    if !matches!(request.uri().path(), "/healthz" | "/readyz") {
        let caller = connection.plane.gate.identify(request.headers(), connection.peer)?;
        request.extensions_mut().insert(connection.plane.methods(caller));
    }
    Ok(next.run(request).await)
}

async fn healthz(request: Request) -> Answer {
    Query::parse(request.uri().query(), &[], Unknown::Refuse)?;
    Ok(ok(r#"{"status":"ok"}"#))
}

/// Ready is: new clients may come.
async fn readyz(State(connection): State<Connection>, request: Request) -> Answer {
    Query::parse(request.uri().query(), &[], Unknown::Refuse)?;
    if connection.plane.draining.is_cancelled() {
        return Err(Refusal::draining());
    }
    Ok(ok(r#"{"status":"ready"}"#))
}

async fn session_info(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    methods.caller.must_have(Scope::Read)?;
    let names = SessionInfoFilters::NAMES;
    let mut query = Query::parse(request.uri().query(), &names, Unknown::Refuse)?;
    let values = names.map(|name| query.take(name));
    let filters = SessionInfoFilters::read([values[0].as_deref(), values[1].as_deref()])
        .map_err(Refusal::bad_parameter)?;
    made(&methods, methods.session_info(filters)).await
}

/// `getStats`.
async fn stats(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    methods.caller.must_have(Scope::Read)?;
    Query::parse(request.uri().query(), &[], Unknown::Refuse)?;
    made(&methods, get_stats(&methods)).await
}

/// The answer that comes from a source: whole if it is one part.
pub(super) async fn made(methods: &Methods, source: Box<dyn Source>) -> Answer {
    let (mut source, mut first) = (Some(source), part_buffer());
    methods.workshop.make_part(&mut source, true, &mut first).await.map_err(refuse)?;
    Ok(if source.is_none() {
        ok(first)
    } else {
        in_parts(first, into_parts(methods.workshop.clone(), source))
    })
}

/// An answer that is not all there yet. If it cannot be finished, the connection breaks, so that nobody takes it for
/// whole.
fn in_parts(
    first: Vec<u8>,
    rest: impl Stream<Item = Result<Bytes, Unanswered>> + Send + 'static,
) -> Response {
    let first = futures::stream::iter([Ok(first.into())]);
    json(StatusCode::OK, "").map(|_| Body::from_stream(first.chain(rest)))
}

/// JSON-RPC over `POST`: one request or batch a body; 204 if there is nothing to answer.
async fn post_query(
    State(connection): State<Connection>,
    Extension(methods): Extension<Methods>,
    request: Request,
) -> Answer {
    if !is_json(request.headers()) {
        // A page of another site can post text or a form without asking first, but no JSON.
        let message = "the body must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    Query::parse(request.uri().query(), &[], Unknown::Refuse)?;
    let max = connection.plane.config.max_request_bytes;
    let timeout = connection.plane.config.request_timeout;
    let read = axum::body::to_bytes(request.into_body(), max);
    let body = match tokio::time::timeout(timeout, read).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let message = format!("a request may have {max} bytes at most");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        Err(_) => {
            let message = format!("the whole request must arrive within {timeout:?}");
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", message));
        }
    };
    let text = match std::str::from_utf8(&body) {
        Ok(text) => text.to_owned(),
        Err(error) => return Ok(ok(rpc::failure(&rpc::Error::parse(&error)))),
    };
    let mut answer = rpc::Answer::to(methods, text).await;
    let mut first = part_buffer();
    if answer.write_part(&mut first).await.map_err(refuse)? {
        return Ok(in_parts(first, answer.into_stream()));
    }
    Ok(if first.is_empty() { StatusCode::NO_CONTENT.into_response() } else { ok(first) })
}

pub(super) fn refuse(why: Unanswered) -> Refusal {
    match why {
        Unanswered::Overloaded => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", why.to_string()).retry_after()
        }
        Unanswered::TooCostly(_) => Refusal::new(StatusCode::BAD_REQUEST, "too_costly", why.to_string()),
        Unanswered::Failed => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why.to_string()),
    }
}

impl From<Lacks> for Refusal {
    fn from(Lacks(message): Lacks) -> Self {
        Self::new(StatusCode::FORBIDDEN, "insufficient_scope", message)
            .with(header::WWW_AUTHENTICATE, "Bearer error=\"insufficient_scope\"")
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

async fn not_found(request: Request) -> Refusal {
    let path = request.uri().path();
    if path == "/ws" || path.starts_with("/ws/") {
        let message = "this is the admin plane: clients connect to the client plane, at /ws/{project}";
        return Refusal::not_found(message);
    }
    Refusal::not_found("there is nothing here; /api/v1/openapi.json and /asyncapi.json tell what there is")
}

async fn method_not_allowed(request: Request) -> Refusal {
    let path = request.uri().path();
    let mut refusal = Refusal::method_not_allowed(match path.trim_end_matches('/') {
        "/query" => "GET, POST",
        "/api/v1/sessions" | "/data/perspective/api/v1/sessions" => "GET, HEAD, DELETE",
        _ if path.starts_with("/data/api/v1/designer/") => "DELETE",
        _ => "GET, HEAD",
    });
    // One session's path is the obvious one to delete.
    let of_one =
        [("/api/v1/sessions/", "/api/v1"), ("/data/perspective/api/v1/session/", "/data/perspective/api/v1")];
    let of_one = of_one.into_iter().find(|(one, _)| path.starts_with(one));
    if let (&Method::DELETE, Some((_, api))) = (request.method(), of_one) {
        refusal.message.push_str(&format!("; sessions are ended by DELETE {api}/sessions?sessionId="));
    }
    refusal
}

pub(super) fn ok(body: impl Into<Bytes>) -> Response {
    json(StatusCode::OK, body).map(Body::new)
}
