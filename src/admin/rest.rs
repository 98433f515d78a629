//! Sessions over HTTP (PROTOCOL 3.2, `/api/v1/sessions`).

use std::collections::HashMap;

use axum::{
    extract::{Extension, Path, Request, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
};
use serde_json::{Map, Value, json};

use super::{
    accept::preferred,
    actions,
    http::{Answer, made, ok},
    item::{Column, Fields},
    listing::{self, Asked, DEFAULT_LIMIT, NoList, Shape},
    methods::Methods,
    select::Question,
    single,
};
use crate::{
    config::tokens::Scope,
    edge::{
        query::{Query, Unknown},
        refusal::Refusal,
    },
    session::{
        Session,
        filter::{Field, Filter},
        text::shown,
    },
};

/// The parameters of a list that are no conditions.
const PARAMETERS: [&str; 7] = ["limit", "offset", "sortBy", "search", "fields", "snapshotId", "maxAgeMs"];

impl From<NoList> for Refusal {
    fn from(why: NoList) -> Self {
        match why {
            NoList::Invalid(message) => Self::bad_parameter(message),
            NoList::Expired(message) => Self::not_found(message),
            NoList::Refused(lacks) => lacks.into(),
            NoList::Limit(message) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_watches", message).retry_after()
            }
        }
    }
}

/// Sessions as JSON in pages, or all of them as lines.
pub(super) async fn list(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    let shape = accepted(request.headers())?;
    let asked = read(request.uri(), &PARAMETERS, shape)?;
    let mut response = made(&methods, listing::list(&methods, asked, shape)?).await?;
    let (kind, disposition) = match shape {
        Shape::Ndjson => ("application/x-ndjson", None),
        Shape::Csv => {
            ("text/csv; charset=utf-8; header=present", Some("attachment; filename=\"sessions.csv\""))
        }
        Shape::Json | Shape::Ignition | Shape::Designers => return Ok(response),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(disposition) = disposition {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    }
    Ok(response)
}

/// Reads the parameters of a list: these, and any `field[op]`.
pub(super) fn read(uri: &Uri, parameters: &[&str], shape: Shape) -> Result<Asked, Refusal> {
    let (conditions, mut given) = given::<Column>(uri, parameters)?;
    let [limit, offset, sort_by, search, fields, snapshot_id, max_age_ms] =
        PARAMETERS.map(|name| given.remove(name));
    let is_whole = matches!(shape, Shape::Ndjson | Shape::Csv);
    let limit = number("limit", limit)?.unwrap_or(if is_whole { -1 } else { DEFAULT_LIMIT });
    let (limit, offset) = listing::page(limit, number("offset", offset)?.unwrap_or(0))?;
    let max_age = number("maxAgeMs", max_age_ms)?.map(listing::max_age).transpose()?;
    let fields = read_fields(fields.as_deref())?;
    let (question, written) = question(conditions, search.as_deref(), sort_by.as_deref())?;
    Ok(Asked { question, written, limit, offset, fields, snapshot_id, max_age })
}

/// Conditions, each with its value, and the parameters that are none and not empty.
type Given = (Vec<(String, String)>, HashMap<String, String>);

/// Tells the conditions on these fields in a query from these parameters.
pub(super) fn given<F: Field>(uri: &Uri, parameters: &[&str]) -> Result<Given, Refusal> {
    let (mut conditions, mut given) = (Vec::new(), HashMap::new());
    for (name, value) in Query::pairs(uri.query())? {
        if parameters.contains(&&*name) {
            if given.contains_key(&name) {
                return Err(Refusal::bad_parameter(format!("{name} is given twice")));
            }
            given.insert(name, value);
        } else if is_condition::<F>(&name) {
            // `in` takes a list. A value that has a comma is asked for with `eq`, which takes it whole.
            let is_list = name.ends_with("[in]");
            let values = if is_list { value.split(',').collect() } else { vec![&*value] };
            conditions.extend(values.into_iter().map(|value| (name.clone(), value.to_owned())));
        } else {
            return Err(Refusal::bad_parameter(unknown::<F>(&name, parameters)));
        }
    }
    given.retain(|_, value| !value.is_empty());
    Ok((conditions, given))
}

/// A question as it is read, and how it was written.
pub(super) fn question(
    conditions: Vec<(String, String)>,
    search: Option<&str>,
    sort_by: Option<&str>,
) -> Result<(Question, String), NoList> {
    let filter = json!(conditions).to_string();
    let filter = if conditions.is_empty() { "{}" } else { &filter };
    let written = listing::written(filter, search, sort_by);
    Ok((Question::read(Filter::from_pairs(conditions)?, search, sort_by)?, written))
}

/// The keys that an item shall show, with commas between them; all if none are named.
fn read_fields(names: Option<&str>) -> Result<Fields, Refusal> {
    match names {
        None => Ok(Fields::all()),
        Some(names) => Fields::read(names.split(',').map(str::trim)).map_err(Refusal::bad_parameter),
    }
}

/// A parameter that is a whole number.
///
/// # Errors
///
/// It is none.
pub(super) fn number(name: &str, value: Option<String>) -> Result<Option<i64>, Refusal> {
    let read = |value: String| {
        let wrong =
            |_| Refusal::bad_parameter(format!("{name} must be a whole number, not {}", shown(&value)));
        value.parse().map_err(wrong)
    };
    value.map(read).transpose()
}

/// Whether it is meant for the filter, which then says what is wrong with it: a known field, or what looks like one.
fn is_condition<F: Field>(name: &str) -> bool {
    let field = name.split('[').next().unwrap_or_default();
    let is_field = F::ALL.iter().any(|(_, known, _)| known.eq_ignore_ascii_case(field));
    is_field || name.contains('[')
}

/// What is wrong with a parameter that is none of these and no condition.
fn unknown<F: Field>(name: &str, parameters: &[&str]) -> String {
    let shown = shown(name);
    if let Some(meant) = parameters.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return format!("unknown parameter {shown}: it is written {meant}");
    }
    let fields: Vec<_> = F::ALL.iter().map(|(_, name, _)| *name).collect();
    let (known, fields) = (parameters.join(", "), fields.join(", "));
    format!("unknown parameter {shown}; known: {known}, and field[op] with a field of {fields}")
}

/// What a list is written as.
///
/// # Errors
///
/// 406: the client takes none of it.
fn accepted(headers: &HeaderMap) -> Result<Shape, Refusal> {
    const KINDS: [(&str, Shape); 3] = [
        ("application/json", Shape::Json),
        ("application/x-ndjson", Shape::Ndjson),
        ("text/csv", Shape::Csv),
    ];
    preferred(headers, &KINDS).ok_or_else(|| {
        let message = "this can be had as application/json, application/x-ndjson or text/csv";
        Refusal::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message)
    })
}

/// One session, or 404.
pub(super) async fn one(
    Extension(methods): Extension<Methods>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let mut query = Query::parse(request.uri().query(), &["fields"], Unknown::Refuse)?;
    let fields = read_fields(query.take("fields").as_deref().filter(|names| !names.is_empty()))?;
    let id = path_id(id)?;
    let session = methods.shown(&id)?.ok_or_else(|| no_session(&id))?;
    Ok(ok(single::item(&methods, &session, &fields)))
}

/// The pages of one session, or 404.
pub(super) async fn pages(
    Extension(methods): Extension<Methods>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    only(request.uri(), &[])?;
    let id = path_id(id)?;
    let session = methods.shown(&id)?.ok_or_else(|| no_session(&id))?;
    Ok(ok(single::pages(&methods, &session)))
}

/// Ends the sessions of these ids.
pub(super) async fn delete(Extension(methods): Extension<Methods>, request: Request) -> Answer {
    terminate(&methods, None, request.uri(), |_| true)
}

/// Ends the one session of the path, or those that the parameters name, if they are such; 404 if none of them is live.
/// Written down, done or refused.
pub(super) fn terminate(
    methods: &Methods,
    id: Option<&str>,
    uri: &Uri,
    is_such: impl Fn(&Session) -> bool,
) -> Answer {
    let done = methods.caller.must_have(Scope::Kick).map_err(Refusal::from).and_then(|()| {
        let given = only(uri, if id.is_some() { &["message"] } else { &["sessionId", "message"] })?;
        let mut ids: Vec<_> = id.into_iter().collect();
        let mut message = None;
        for (name, value) in &given {
            if name == "sessionId" {
                ids.push(&**value);
            } else if message.replace(&**value).is_some() {
                return Err(Refusal::bad_parameter("message is given twice"));
            }
        }
        ids.retain(|id| !id.is_empty());
        if ids.is_empty() {
            let message = "sessionId is needed: the id of a session to end, once or more";
            return Err(Refusal::bad_parameter(message));
        }
        match actions::close_by_ids(methods, &ids, is_such, message) {
            0 => Err(match *ids {
                [id] => no_session(id),
                _ => Refusal::not_found("none of these sessions is live"),
            }),
            terminated => Ok(json!({"terminated": terminated})),
        }
    });
    let result = done.as_ref().map_err(|refusal| &*refusal.message);
    methods.audit.note(&methods.caller, "closeSession", as_asked(id, uri), result);
    done.map(|result| ok(result.to_string()))
}

/// What was to be ended, and with which words, for the audit log: also if it cannot be meant.
fn as_asked(id: Option<&str>, uri: &Uri) -> Value {
    let mut asked = Map::new();
    let pairs = Query::pairs(uri.query()).unwrap_or_default();
    let named = pairs.iter().filter(|(name, _)| name == "sessionId").map(|(_, id)| &**id);
    asked.insert("sessionId".to_owned(), id.into_iter().chain(named).collect());
    if let Some((name, message)) = pairs.iter().find(|(name, _)| name == "message") {
        asked.insert(name.clone(), message.clone().into());
    }
    asked.into()
}

/// Parameters out of these.
pub(super) fn only(uri: &Uri, known: &[&str]) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = Query::pairs(uri.query())?;
    match pairs.iter().find(|(name, _)| !known.contains(&&**name)) {
        None => Ok(pairs),
        Some((name, _)) => {
            let shown = shown(name);
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(Refusal::bad_parameter(format!("unknown parameter {shown}; known: {known}")))
        }
    }
}

/// The id in a path; one that is no text is nobody's.
pub(super) fn path_id(id: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    let Path(id) = id.map_err(|_| Refusal::bad_parameter("the id in the path is not valid UTF-8"))?;
    Ok(id)
}

pub(super) fn no_session(id: &str) -> Refusal {
    let shown = shown(id);
    Refusal::not_found(format!("no session {shown} is live"))
}
