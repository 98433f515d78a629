//! What a client tells the tracker, and the tracker the client (PROTOCOL 2.5).

use serde::{Deserialize, Serialize};

use super::params;
use crate::session::{Membership, PageError};

/// How a control message begins, exactly. Every other message is the application's.
pub(super) const PREFIX: &str = r#"{"headcount":"#;

/// The text of a message that is for the tracker. One that is not UTF-8 is none; but the frames were checked.
pub(super) fn text(is_text: bool, payload: &[u8]) -> Option<&str> {
    let is_control = is_text && payload.starts_with(PREFIX.as_bytes());
    is_control.then(|| str::from_utf8(payload).ok()).flatten()
}

/// The control messages of clients.
#[derive(Debug, Deserialize)]
#[serde(tag = "headcount", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum FromClient {
    OpenPage { page_id: String, path: Option<String> },
    ClosePage { page_id: String },
    Navigate { page_id: String, path: Option<String> },
    Activity {},
}

/// The messages of the tracker, to those that speak `headcount.v1`.
#[derive(Debug, Serialize)]
#[serde(tag = "headcount", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ToClient<'a> {
    /// The first message.
    Welcome {
        session_id: &'a str,
        page_id: &'a str,
        resume_token: Option<String>,
        resumed: bool,
        heartbeat_ms: u64,
    },
    /// A control message was not understood. It has changed nothing.
    Error { code: &'static str, message: String },
}

impl ToClient<'_> {
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }
}

/// Does what a control message says.
///
/// # Errors
///
/// A code and a sentence; nothing has changed then.
pub(super) fn obey(
    text: &str,
    membership: &mut Membership,
    now_ms: u64,
) -> Result<(), (&'static str, String)> {
    let message: FromClient =
        serde_json::from_str(text).map_err(|error| ("bad_message", error.to_string()))?;
    let bad = |refusal: crate::edge::refusal::Refusal| ("bad_parameter", refusal.message);
    let page_error = |error: PageError| {
        let code = match error {
            PageError::TooMany(_) => "too_many_pages",
            PageError::Unknown => "unknown_page",
        };
        (code, error.to_string())
    };
    match message {
        FromClient::OpenPage { page_id, path } => {
            let page_id = params::page_id(&page_id).map_err(bad)?;
            let path = params::page_path(path).map_err(bad)?;
            membership.open_page(&page_id, path, now_ms).map_err(page_error)
        }
        FromClient::ClosePage { page_id } => {
            let page_id = params::page_id(&page_id).map_err(bad)?;
            membership.close_page(&page_id).map_err(page_error)
        }
        FromClient::Navigate { page_id, path } => {
            let page_id = params::page_id(&page_id).map_err(bad)?;
            let path = params::page_path(path).map_err(bad)?;
            membership.navigate(&page_id, path).map_err(page_error)
        }
        FromClient::Activity {} => {
            membership.session().user_acted(now_ms);
            Ok(())
        }
    }
}
