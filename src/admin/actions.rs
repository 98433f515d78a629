//! What administrators do to sessions (PROTOCOL 3.1, "Actions").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    bulk::{Deed, Target},
    describe::takes,
    methods::Methods,
    params::{flag, needed_string, string},
    rpc::Error,
    select::Question,
};
use crate::session::{EndReason, Session, control_message, text::shown};

/// `closeSession`: ends a session, or all that a filter picks, with 4001 and words for their clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CloseSession {
    /// The one session that is meant. This or a filter is needed, and not both.
    #[schemars(with = "Option<String>")]
    session_id: Option<Value>,
    /// All sessions are meant that fit.
    #[schemars(with = "Option<takes::LiveFilter>")]
    filter: Option<Box<RawValue>>,
    /// Words for the clients: the reason of the close frame, cut to 123 bytes.
    #[schemars(with = "Option<String>")]
    message: Option<Value>,
    /// Ends nobody, and answers how many it would be.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    dry_run: Option<Value>,
    /// An empty filter, which is everybody, is meant so.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    all: Option<Value>,
}

/// `closePage`: closes one page; a connection that serves no other is closed with 4004.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClosePage {
    /// The session that is meant.
    #[schemars(with = "String")]
    session_id: Option<Value>,
    /// The page of it.
    #[schemars(with = "String")]
    page_id: Option<Value>,
    /// Words for the client, if its connection serves no other page: the reason of the close frame, cut to 123 bytes.
    #[schemars(with = "Option<String>")]
    message: Option<Value>,
}

/// `sendMessage`: to all connections of a session, or to those of one page; or of all sessions that a filter picks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SendMessage {
    /// The one session that is meant. This or a filter is needed, and not both.
    #[schemars(with = "Option<String>")]
    session_id: Option<Value>,
    /// All sessions are meant that fit.
    #[schemars(with = "Option<takes::LiveFilter>")]
    filter: Option<Box<RawValue>>,
    /// An empty filter, which is everybody, is meant so.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    all: Option<Value>,
    /// Only the connections that serve this page.
    #[schemars(with = "Option<String>")]
    page_id: Option<Value>,
    /// What kind of message it is, for the application to know.
    #[schemars(with = "String")]
    message_type: Option<Value>,
    /// Any JSON, passed on as it is written.
    #[schemars(with = "Option<Value>")]
    payload: Option<Box<RawValue>>,
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
    let (message, dry_run) = (string("message", asked.message)?, flag("dryRun", asked.dry_run.as_ref())?);
    let (session_id, all) = (string("sessionId", asked.session_id)?, flag("all", asked.all.as_ref())?);
    let session_id = &match Target::read(session_id, asked.filter.as_deref(), all)? {
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

pub(super) fn close_page(methods: &Methods, asked: ClosePage) -> Done<Terminated> {
    let session_id = &needed_string("sessionId", asked.session_id)?;
    let page_id = &needed_string("pageId", asked.page_id)?;
    let message = string("message", asked.message)?;
    let words = message.as_deref().unwrap_or_default();
    let Some(session) = methods.session(session_id) else { return Err(no_session(session_id)) };
    match methods.registry.close_page(&session, page_id, words, methods.clock.now_ms()) {
        None => Err(no_session(session_id)),
        Some(false) => Err(no_page(session_id, page_id)),
        Some(true) => Ok(Ok(Terminated { terminated: 1 })),
    }
}

pub(super) fn send_message(methods: &Methods, asked: SendMessage) -> Done<Delivered> {
    let (session_id, all) = (string("sessionId", asked.session_id)?, flag("all", asked.all.as_ref())?);
    let page_id = string("pageId", asked.page_id)?;
    let message_type = needed_string("messageType", asked.message_type)?;
    let text = control_message(&message_type, asked.payload.as_deref().unwrap_or(RawValue::NULL)).into();
    let session_id = &match Target::read(session_id, asked.filter.as_deref(), all)? {
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
