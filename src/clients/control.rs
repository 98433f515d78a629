//! What a client tells the tracker, and the tracker the client (PROTOCOL 2.5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::params::{self, MAX_PAGE_ID_CHARS, MAX_PAGE_PATH_CHARS};
use crate::session::{
    Membership, PageError,
    text::{shown, without_place},
};

/// How a control message begins, exactly. Every other message is the application's.
pub(super) const PREFIX: &str = r#"{"headcount":"#;

/// The text of a message that is for the tracker. One that is not UTF-8 is none; but the frames were checked.
pub(super) fn text(is_text: bool, payload: &[u8]) -> Option<&str> {
    let is_control = is_text && payload.starts_with(PREFIX.as_bytes());
    is_control.then(|| str::from_utf8(payload).ok()).flatten()
}

/// The control messages of clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "headcount", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum FromClient {
    /// Adds a page that this connection serves.
    OpenPage {
        /// The page's id.
        #[schemars(length(min = 1, max = MAX_PAGE_ID_CHARS))]
        page_id: String,
        /// Where the page is in the application.
        #[schemars(length(max = MAX_PAGE_PATH_CHARS))]
        path: Option<String>,
    },
    /// This connection serves the page no more; it is gone if no other does.
    ClosePage {
        /// The page's id.
        #[schemars(length(min = 1, max = MAX_PAGE_ID_CHARS))]
        page_id: String,
    },
    /// Sets where a page is.
    Navigate {
        /// The page's id.
        #[schemars(length(min = 1, max = MAX_PAGE_ID_CHARS))]
        page_id: String,
        /// Where the page is in the application now; empty if that is not known.
        #[schemars(length(max = MAX_PAGE_PATH_CHARS))]
        path: String,
    },
    /// The user did something.
    Activity {},
}

/// The messages of the tracker, to those that speak `headcount.v1`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "headcount", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ToClient<'a> {
    /// The first message.
    Welcome {
        /// The session that the connection has joined.
        session_id: &'a str,
        /// The page that the connection serves first.
        page_id: &'a str,
        /// With this as `resumeToken` another connection joins or resumes the session.
        resume_token: Option<String>,
        /// Whether the token of this connection's URL was good.
        resumed: bool,
        /// How often the server pings, in milliseconds.
        heartbeat_ms: u64,
    },
    /// A control message was not understood. It has changed nothing.
    Error {
        /// For programs.
        #[schemars(extend("enum" = ERROR_CODES))]
        code: &'static str,
        /// For people: what was wrong, and the limit if there is one.
        message: String,
    },
}

/// Every code of an error.
const ERROR_CODES: [&str; 4] = ["bad_message", "bad_parameter", "unknown_page", "too_many_pages"];

impl ToClient<'_> {
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }
}

/// Reads a control message; or says what is wrong with it, in a sentence for people.
fn read(text: &str) -> Result<FromClient, String> {
    const KINDS: [&str; 4] = ["openPage", "closePage", "navigate", "activity"];
    let wrong = match serde_json::from_str(text) {
        Ok(message) => return Ok(message),
        Err(wrong) => wrong,
    };
    let Ok(message) = serde_json::from_str::<Value>(text) else { return Err(format!("not JSON: {wrong}")) };
    let kind = &message["headcount"];
    if !KINDS.iter().any(|known| kind == known) {
        let shown = shown(&kind.as_str().map_or_else(|| kind.to_string(), str::to_owned));
        return Err(format!("headcount must be {}, not {shown}", KINDS.join(", ")));
    }
    // The message is one line, and a column in it is of no use to anybody.
    Err(without_place(&wrong.to_string()).to_owned())
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
    let message = read(text).map_err(|problem| ("bad_message", problem))?;
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
            let path = params::page_path("path", path).map_err(bad)?;
            membership.open_page(&page_id, path, now_ms).map_err(page_error)
        }
        FromClient::ClosePage { page_id } => {
            let page_id = params::page_id(&page_id).map_err(bad)?;
            membership.close_page(&page_id, now_ms).map_err(page_error)
        }
        FromClient::Navigate { page_id, path } => {
            let page_id = params::page_id(&page_id).map_err(bad)?;
            let path = params::page_path("path", Some(path)).map_err(bad)?;
            membership.navigate(&page_id, path).map_err(page_error)
        }
        FromClient::Activity {} => {
            membership.session().user_acted(now_ms);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn wrong(text: &str, expected: &str) {
        assert_eq!(read(text).unwrap_err(), expected);
    }

    #[test]
    fn what_is_wrong_with_a_control_message_is_said_for_people() {
        let kinds = "headcount must be openPage, closePage, navigate, activity, not";
        wrong(r#"{"headcount":5}"#, &format!("{kinds} \"5\""));
        wrong(r#"{"headcount":"openpage","pageId":"p"}"#, &format!("{kinds} \"openpage\""));
        wrong(r#"{"headcount":"openPage"}"#, "missing field `pageId`");
        wrong(r#"{"headcount":"navigate","pageId":"p"}"#, "missing field `path`");
        wrong(
            r#"{"headcount":"navigate","pageId":"p","path":null}"#,
            "invalid type: null, expected a string",
        );
        wrong(
            r#"{"headcount":"activity","x at line b":1}"#,
            "unknown field `x at line b`, there are no fields",
        );
        wrong(r#"{"headcount":"activity""#, "not JSON: EOF while parsing an object at line 1 column 23");
    }
}
