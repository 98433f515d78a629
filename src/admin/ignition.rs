//! The paths and shapes of Ignition's own API, for tools that know that one (PROTOCOL 3.2).

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use serde_json::json;

use super::{
    http::{Answer, Connection, made, ok},
    item::Fields,
    listing::{self, Asked, Shape},
    rest::{only, path_id, read, terminated},
};
use crate::{
    edge::refusal,
    session::{Session, SessionScope},
};

/// The parameters of a list that are no conditions.
const PARAMETERS: [&str; 4] = ["limit", "offset", "sortBy", "search"];

/// The sessions, with the thirteen keys of `getSessionInfo`.
pub(super) async fn sessions(State(connection): State<Connection>, request: Request) -> Answer {
    let asked = read(request.uri(), &PARAMETERS, Shape::Ignition)?;
    let asked = Asked { fields: Fields::session_info(), ..asked };
    let methods = &connection.plane.methods;
    made(methods, listing::list(methods, asked, Shape::Ignition)?).await
}

/// One session, likewise.
pub(super) async fn session(
    State(connection): State<Connection>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let methods = &connection.plane.methods;
    found(&connection, id, &request, |session| listing::item(methods, session, &Fields::session_info()))
}

/// Its pages.
pub(super) async fn pages(
    State(connection): State<Connection>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let methods = &connection.plane.methods;
    found(&connection, id, &request, |session| listing::ignition_pages(methods, session))
}

/// The sessions of designers.
pub(super) async fn designers(State(connection): State<Connection>, request: Request) -> Answer {
    let asked = read(request.uri(), &PARAMETERS, Shape::Designers)?;
    let asked = Asked { question: asked.question.of_scope(SessionScope::Designer), ..asked };
    let methods = &connection.plane.methods;
    made(methods, listing::list(methods, asked, Shape::Designers)?).await
}

/// Ends a designer's session.
pub(super) async fn delete_designer(
    State(connection): State<Connection>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let given = only(request.uri(), &["message"])?;
    let id = path_id(id)?;
    let methods = &connection.plane.methods;
    let is_designer = |session: &Session| session.who().scope() == SessionScope::Designer;
    if !methods.registry.get(&id).is_some_and(|session| is_designer(&session)) {
        return Ok(missing("designer", &id));
    }
    let message = given.first().map(|(_, message)| &**message);
    terminated(methods, &[&id], message).or_else(|_| Ok(missing("designer", &id)))
}

/// There are no Vision clients here; tools that ask for every family are told so.
pub(super) async fn vision_clients(request: Request) -> Answer {
    let asked = read(request.uri(), &PARAMETERS, Shape::Ignition)?;
    let metadata = json!({"total": 0, "matching": 0, "limit": asked.limit, "offset": asked.offset});
    Ok(ok(json!({"items": [], "metadata": metadata}).to_string()))
}

fn found(
    connection: &Connection,
    id: Result<Path<String>, PathRejection>,
    request: &Request,
    make: impl FnOnce(&Session) -> Vec<u8>,
) -> Answer {
    only(request.uri(), &[])?;
    let id = path_id(id)?;
    let session = connection.plane.methods.registry.get(&id);
    Ok(session.map_or_else(|| missing("session", &id), |session| ok(make(&session))))
}

/// 404 as Ignition says it.
fn missing(what: &str, id: &str) -> Response {
    let shown: String = id.chars().take(64).collect();
    let message = json!({"message": format!("no {what} {shown:?} is live")});
    refusal::json(StatusCode::NOT_FOUND, message.to_string()).map(axum::body::Body::new)
}
