//! The paths and shapes of Ignition's own API, for tools that know that one (PROTOCOL 3.2).

use axum::{
    extract::{Extension, Path, Request, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use serde_json::json;

use super::{
    http::{Answer, made, ok},
    item::Fields,
    listing::{self, Asked, IgnitionMetadata, Shape},
    methods::Methods,
    rest::{only, path_id, read, terminate},
    single,
};
use crate::{
    config::tokens::Scope,
    edge::refusal,
    session::{Session, SessionScope, text::shown},
};

/// The parameters of a list that are no conditions.
const PARAMETERS: [&str; 4] = ["limit", "offset", "sortBy", "search"];

/// The sessions, with the thirteen keys of `getSessionInfo`.
pub(super) async fn sessions(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    let asked = read(request.uri(), &PARAMETERS, Shape::Ignition)?;
    let asked = Asked { fields: Fields::session_info(), ..asked };
    made(&methods, listing::list(&methods, asked, Shape::Ignition)?).await
}

/// One session, likewise.
pub(super) async fn session(
    Extension(methods): Extension<Methods>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    found(&methods, id, &request, |session| single::item(&methods, session, &Fields::session_info()))
}

/// Its pages.
pub(super) async fn pages(
    Extension(methods): Extension<Methods>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    found(&methods, id, &request, |session| single::ignition_pages(&methods, session))
}

/// The sessions of designers.
pub(super) async fn designers(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    let asked = read(request.uri(), &PARAMETERS, Shape::Designers)?;
    let asked = Asked { question: asked.question.of_scope(SessionScope::Designer), ..asked };
    made(&methods, listing::list(&methods, asked, Shape::Designers)?).await
}

/// Ends a designer's session.
pub(super) async fn delete_designer(
    Extension(methods): Extension<Methods>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let id = path_id(id)?;
    let is_designer = |session: &Session| session.who().scope() == SessionScope::Designer;
    match terminate(&methods, Some(&id), request.uri(), is_designer) {
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(missing("designer", &id)),
        answer => answer,
    }
}

/// There are no Vision clients here; tools that ask for every family are told so.
pub(super) async fn vision_clients(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    methods.caller.must_have(Scope::Read)?;
    let asked = read(request.uri(), &PARAMETERS, Shape::Ignition)?;
    let metadata = IgnitionMetadata { total: 0, matching: 0, limit: asked.limit, offset: asked.offset };
    Ok(ok(json!({"items": [], "metadata": metadata}).to_string()))
}

fn found(
    methods: &Methods,
    id: Result<Path<String>, PathRejection>,
    request: &Request,
    make: impl FnOnce(&Session) -> Vec<u8>,
) -> Answer {
    only(request.uri(), &[])?;
    let id = path_id(id)?;
    let session = methods.shown(&id)?;
    Ok(session.map_or_else(|| missing("session", &id), |session| ok(make(&session))))
}

/// 404 as Ignition says it.
fn missing(what: &str, id: &str) -> Response {
    let shown = shown(id);
    let message = json!({"message": format!("no {what} {shown} is live")});
    refusal::json(StatusCode::NOT_FOUND, message.to_string()).map(axum::body::Body::new)
}
