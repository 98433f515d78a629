//! What administrators do to sessions (PROTOCOL 3.1, "Actions").

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{methods::Methods, rpc::Error};
use crate::session::{EndReason, control_message};

/// `closeSession`: ends a session, with 4001 and words for its client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CloseSession {
    session_id: String,
    message: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `closePage`: closes one page; a connection that serves no other is closed with 4004.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClosePage {
    session_id: String,
    page_id: String,
    message: Option<String>,
}

/// `sendMessage`: to all connections of a session, or to those of one page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SendMessage {
    session_id: String,
    page_id: Option<String>,
    message_type: String,
    #[serde(default)]
    payload: Value,
}

/// How many sessions or pages were ended.
#[derive(Debug, Serialize)]
pub(super) struct Terminated {
    terminated: usize,
}

/// Of how many sessions some client took the message, and of how many none could.
#[derive(Debug, Serialize)]
pub(super) struct Delivered {
    delivered: usize,
    undeliverable: usize,
}

pub(super) fn close_session(methods: &Methods, asked: &CloseSession) -> Result<Terminated, Error> {
    let CloseSession { session_id, message, dry_run } = asked;
    let words = message.as_deref().unwrap_or_default();
    let live = methods.is_live(session_id)
        && (*dry_run
            || methods.registry.terminate(session_id, EndReason::Terminated, words, methods.clock.now_ms()));
    if !live {
        return Err(no_session(session_id));
    }
    Ok(Terminated { terminated: 1 })
}

pub(super) fn close_page(methods: &Methods, asked: &ClosePage) -> Result<Terminated, Error> {
    let ClosePage { session_id, page_id, message } = asked;
    let words = message.as_deref().unwrap_or_default();
    if !methods.is_live(session_id) {
        return Err(no_session(session_id));
    }
    if !methods.registry.close_page(session_id, page_id, words, methods.clock.now_ms()) {
        return Err(no_page(session_id, page_id));
    }
    Ok(Terminated { terminated: 1 })
}

pub(super) fn send_message(methods: &Methods, asked: &SendMessage) -> Result<Delivered, Error> {
    let SendMessage { session_id, page_id, message_type, payload } = asked;
    if !methods.is_live(session_id) {
        return Err(no_session(session_id));
    }
    let text = control_message(message_type, payload).into();
    let Some(taken) = methods.registry.send(session_id, page_id.as_deref(), &text) else {
        return Err(match page_id {
            Some(page_id) if methods.registry.get(session_id).is_some() => no_page(session_id, page_id),
            _ => no_session(session_id),
        });
    };
    Ok(Delivered { delivered: usize::from(taken), undeliverable: usize::from(!taken) })
}

fn no_session(id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    Error::new(Error::NOT_FOUND, format!("no session {shown:?} is live"))
}

fn no_page(session_id: &str, page_id: &str) -> Error {
    let [session, page] = [session_id, page_id].map(|id| id.chars().take(128).collect::<String>());
    Error::new(Error::NOT_FOUND, format!("session {session:?} has no page {page:?}"))
}
