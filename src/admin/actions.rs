//! What administrators do to sessions (PROTOCOL 3.1, "Actions").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    bulk::{Deed, Target},
    describe::takes,
    methods::Methods,
    rpc::Error,
    select::Question,
};
use crate::session::{EndReason, Session, control_message, text::shown};

/// `closeSession`: ends a session, or all that a filter picks, with 4001 and words for their clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CloseSession {
    /// The one session that is meant. This or a filter is needed, and not both.
    session_id: Option<String>,
    /// All sessions are meant that fit.
    #[schemars(with = "Option<takes::LiveFilter>")]
    filter: Option<Box<RawValue>>,
    /// Words for the clients: the reason of the close frame, cut to 123 bytes.
    message: Option<String>,
    /// Ends nobody, and answers how many it would be.
    #[serde(default)]
    dry_run: bool,
    /// An empty filter, which is everybody, is meant so.
    #[serde(default)]
    all: bool,
}

/// `closePage`: closes one page; a connection that serves no other is closed with 4004.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClosePage {
    /// The session that is meant.
    session_id: String,
    /// The page of it.
    page_id: String,
    /// Words for the client, if its connection serves no other page: the reason of the close frame, cut to 123 bytes.
    message: Option<String>,
}

/// `sendMessage`: to all connections of a session, or to those of one page; or of all sessions that a filter picks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SendMessage {
    /// The one session that is meant. This or a filter is needed, and not both.
    session_id: Option<String>,
    /// All sessions are meant that fit.
    #[schemars(with = "Option<takes::LiveFilter>")]
    filter: Option<Box<RawValue>>,
    /// An empty filter, which is everybody, is meant so.
    #[serde(default)]
    all: bool,
    /// Only the connections that serve this page.
    page_id: Option<String>,
    /// What kind of message it is, for the application to know.
    message_type: String,
    /// Any JSON.
    #[serde(default)]
    payload: Value,
}

/// How many sessions or pages were ended.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Terminated {
    /// Sessions or pages.
    terminated: usize,
}

/// Of how many sessions some client took the message, and of how many none could.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Delivered {
    /// Sessions of which some connection took the message.
    delivered: usize,
    /// Sessions of which none could: none speaks `headcount.v1`, or too much is waiting for it already.
    undeliverable: usize,
}

/// What an action answers: at once, or what is to be done to all sessions that a question picks.
pub(super) type Done<T> = Result<Result<T, (Question, Deed)>, Error>;

pub(super) fn close_session(methods: &Methods, asked: CloseSession) -> Done<Terminated> {
    let CloseSession { session_id, filter, message, dry_run, all } = asked;
    let session_id = &match Target::read(session_id, filter.as_deref(), all)? {
        Target::One(id) => id,
        Target::Many(question) => return Ok(Err((question, Deed::Close { message, dry_run }))),
    };
    let words = message.as_deref().unwrap_or_default();
    let Some(session) = methods.session(session_id) else { return Err(no_session(session_id)) };
    if !dry_run && !end(methods, &session, words) {
        return Err(no_session(session_id));
    }
    Ok(Ok(Terminated { terminated: 1 }))
}

/// Ends this very session, which the caller may touch; answers whether it was live.
fn end(methods: &Methods, session: &Session, words: &str) -> bool {
    methods.registry.terminate_this(session, EndReason::Terminated, words, methods.clock.now_ms())
}

/// Ends those of the sessions of these ids that the caller may touch and that are such; answers how many were live.
pub(super) fn close_by_ids(
    methods: &Methods,
    ids: &[&str],
    is_such: impl Fn(&Session) -> bool,
    message: Option<&str>,
) -> usize {
    let words = message.unwrap_or_default();
    let live = ids.iter().filter_map(|id| methods.session(id));
    live.filter(|session| is_such(session) && end(methods, session, words)).count()
}

pub(super) fn close_page(methods: &Methods, asked: &ClosePage) -> Done<Terminated> {
    let ClosePage { session_id, page_id, message } = asked;
    let words = message.as_deref().unwrap_or_default();
    let Some(session) = methods.session(session_id) else { return Err(no_session(session_id)) };
    match methods.registry.close_page(&session, page_id, words, methods.clock.now_ms()) {
        None => Err(no_session(session_id)),
        Some(false) => Err(no_page(session_id, page_id)),
        Some(true) => Ok(Ok(Terminated { terminated: 1 })),
    }
}

pub(super) fn send_message(methods: &Methods, asked: SendMessage) -> Done<Delivered> {
    let SendMessage { session_id, filter, all, page_id, message_type, payload } = asked;
    let text = control_message(&message_type, &payload).into();
    let session_id = &match Target::read(session_id, filter.as_deref(), all)? {
        Target::One(id) => id,
        Target::Many(question) => return Ok(Err((question, Deed::Send { page_id, text }))),
    };
    let Some(session) = methods.session(session_id) else { return Err(no_session(session_id)) };
    let Some(taken) = session.send(page_id.as_deref(), &text) else {
        return Err(no_page(session_id, page_id.as_deref().unwrap_or_default()));
    };
    Ok(Ok(Delivered { delivered: usize::from(taken), undeliverable: usize::from(!taken) }))
}

fn no_session(id: &str) -> Error {
    let shown = shown(id);
    Error::new(Error::NOT_FOUND, format!("no session {shown} is live"))
}

fn no_page(session_id: &str, page_id: &str) -> Error {
    let [session, page] = [session_id, page_id].map(|id| id.chars().take(128).collect::<String>());
    Error::new(Error::NOT_FOUND, format!("session {session:?} has no page {page:?}"))
}
