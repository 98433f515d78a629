//! What an answer may be other than 200: every status, and every code of an error with it.

use serde_json::{Map, Value, json};

use super::text::list;

/// A status with which a request is refused.
pub(super) struct Refused {
    pub(super) status: u16,
    /// Its name among the components.
    pub(super) name: &'static str,
    says: &'static str,
    /// The codes for programs, and when each is said; none if the body is not `{"error":{"code","message"}}`.
    pub(super) codes: &'static [(&'static str, &'static str)],
    header: Option<Header>,
}

/// A header that goes with a refusal.
struct Header {
    name: &'static str,
    says: &'static str,
    /// With each of the codes.
    is_always: bool,
}

const RETRY_AFTER: Header =
    Header { name: "Retry-After", says: "When to ask again, in seconds.", is_always: true };

/// Every request may be refused with these.
pub(super) const ALWAYS: [&Refused; 4] = [&BAD_REQUEST, &FORBIDDEN, &HEAD_TOO_LARGE, &INTERNAL];

/// Every one there is.
pub(super) const ALL: [&Refused; 15] = [
    &BAD_REQUEST,
    &UNAUTHORIZED,
    &FORBIDDEN,
    &NOT_FOUND,
    &IGNITION_NOT_FOUND,
    &METHOD_NOT_ALLOWED,
    &NOT_ACCEPTABLE,
    &TIMEOUT,
    &TOO_LARGE,
    &UNSUPPORTED_MEDIA_TYPE,
    &UPGRADE_REQUIRED,
    &HEAD_TOO_LARGE,
    &INTERNAL,
    &OVERLOADED,
    &DRAINING,
];

pub(super) const BAD_REQUEST: Refused = Refused {
    status: 400,
    name: "BadRequest",
    says: "The request cannot be meant so; the message names the parameter, its limit, and what would be right.",
    codes: &[
        ("bad_parameter", "a parameter is unknown, given twice, or not what it must be"),
        ("several_tokens", "more than one token is given"),
        ("bad_handshake", "the handshake of the WebSocket is none"),
        ("too_costly", "holding the conditions against the sessions takes too long"),
        ("tls_required", "the port speaks TLS, and this did not come over it"),
    ],
    header: None,
};

pub(super) const UNAUTHORIZED: Refused = Refused {
    status: 401,
    name: "Unauthorized",
    says: "The server has admin tokens, and no good one was given.",
    codes: &[("token_required", "no token is given"), ("token_invalid", "the token is not valid here")],
    header: Some(Header {
        name: "WWW-Authenticate",
        says: "The scheme, `Bearer`, and what is wrong with the token.",
        is_always: true,
    }),
};

pub(super) const FORBIDDEN: Refused = Refused {
    status: 403,
    name: "Forbidden",
    says: "The token lacks what this needs, or a web page asks that may not.",
    codes: &[
        ("insufficient_scope", "the token has not the scope that the message names"),
        ("origin_not_allowed", "a page of another host asks that is not on `--admin-allowed-origins`"),
        ("host_not_allowed", "`Host` is none of this server's, against DNS rebinding"),
    ],
    header: Some(Header {
        name: "WWW-Authenticate",
        says: "The scheme, if it is a scope that lacks.",
        is_always: false,
    }),
};

pub(super) const NOT_FOUND: Refused = Refused {
    status: 404,
    name: "NotFound",
    says: "There is no such session, for this caller, or no such list any more.",
    codes: &[("not_found", "the message says what is not there")],
    header: None,
};

pub(super) const IGNITION_NOT_FOUND: Refused = Refused {
    status: 404,
    name: "IgnitionNotFound",
    says: "There is no such session, as Ignition says it.",
    codes: &[],
    header: None,
};

pub(super) const METHOD_NOT_ALLOWED: Refused = Refused {
    status: 405,
    name: "MethodNotAllowed",
    says: "The path is there, and answers other methods.",
    codes: &[("method_not_allowed", "`Allow` lists those that it answers")],
    header: Some(Header { name: "Allow", says: "The methods that the path answers.", is_always: true }),
};

pub(super) const NOT_ACCEPTABLE: Refused = Refused {
    status: 406,
    name: "NotAcceptable",
    says: "`Accept` names none of the types that there are.",
    codes: &[("not_acceptable", "the message lists the types that there are")],
    header: None,
};

pub(super) const TIMEOUT: Refused = Refused {
    status: 408,
    name: "RequestTimeout",
    says: "The body did not arrive in time (`--request-timeout`).",
    codes: &[("timeout", "the message says how long it may take")],
    header: None,
};

pub(super) const TOO_LARGE: Refused = Refused {
    status: 413,
    name: "ContentTooLarge",
    says: "The body is over the limit of 1 MiB.",
    codes: &[("too_large", "the message names the limit")],
    header: None,
};

pub(super) const UNSUPPORTED_MEDIA_TYPE: Refused = Refused {
    status: 415,
    name: "UnsupportedMediaType",
    says: "The body is not `application/json`, the one type that no page of another site can post unasked.",
    codes: &[("unsupported_media_type", "the message names the type that is taken")],
    header: None,
};

pub(super) const UPGRADE_REQUIRED: Refused = Refused {
    status: 426,
    name: "UpgradeRequired",
    says: "This is a WebSocket's address.",
    codes: &[("upgrade_required", "the message says what the request lacks")],
    header: Some(Header {
        name: "Upgrade",
        says: "`websocket`, unless the version of the protocol is wrong.",
        is_always: false,
    }),
};

pub(super) const HEAD_TOO_LARGE: Refused = Refused {
    status: 431,
    name: "HeadTooLarge",
    says: "The request line and the headers are over 32 KiB, or there are over 100 headers. The body is empty.",
    codes: &[],
    header: None,
};

pub(super) const INTERNAL: Refused = Refused {
    status: 500,
    name: "Internal",
    says: "A fault of the server.",
    codes: &[("internal", "the log says more")],
    header: None,
};

pub(super) const OVERLOADED: Refused = Refused {
    status: 503,
    name: "Overloaded",
    says: "Too much is being answered already (`--max-concurrent-lists`).",
    codes: &[
        ("overloaded", "too many large answers are being made"),
        ("too_many_query_sockets", "no further query socket or stream of events is let in"),
        ("too_many_watches", "there are as many watches as may be"),
    ],
    header: Some(RETRY_AFTER),
};

pub(super) const DRAINING: Refused = Refused {
    status: 503,
    name: "Draining",
    says: "The server ends.",
    codes: &[("draining", "newcomers are refused")],
    header: Some(RETRY_AFTER),
};

impl Refused {
    /// The response, as a component.
    pub(super) fn response(&self) -> Value {
        let mut response = json!({"description": self.description()});
        if let Some(Header { name, says, is_always }) = &self.header {
            let kind = if *name == RETRY_AFTER.name { "integer" } else { "string" };
            let header = json!({"description": says, "required": is_always, "schema": {"type": kind}});
            response["headers"] = Map::from_iter([((*name).to_owned(), header)]).into();
        }
        if self.status != HEAD_TOO_LARGE.status {
            response["content"] = json!({"application/json": {"schema": self.schema()}});
        }
        response
    }

    fn description(&self) -> String {
        let codes = self.codes.iter().map(|(code, when)| format!("`{code}`: {when}"));
        format!("{}{}", self.says, list(codes))
    }

    fn schema(&self) -> Value {
        let message = json!({"type": "string", "description": "For people."});
        if self.codes.is_empty() {
            return object([("message", message)]);
        }
        let codes: Vec<_> = self.codes.iter().map(|(code, _)| code).collect();
        let code = json!({"type": "string", "enum": codes, "description": "For programs."});
        object([("error", object([("code", code), ("message", message)]))])
    }
}

/// An object that has these members.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    let properties: Map<_, _> = members.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({"type": "object", "properties": properties, "required": names})
}
