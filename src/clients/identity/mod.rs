//! Who a client is (PROTOCOL 2.3): what it claims, or what a trusted proxy says.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{address::Peer, params};
use crate::{
    config::{IdentityConfig, IdentityMode},
    edge::refusal::Refusal,
    session::UNAUTHENTICATED,
};

/// Who a client was found to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// `None` is nobody in particular.
    pub(super) username: Option<Arc<str>>,
    /// Whether the name was verified.
    pub(super) authorized: bool,
}

impl Known {
    const NOBODY: Self = Self { username: None, authorized: false };
}

/// Finds out who asks.
///
/// # Errors
///
/// 400, if that cannot be told; 403, if nobody in particular may come in.
pub(super) fn identify(
    config: &IdentityConfig,
    claimed: Option<Arc<str>>,
    peer: Peer,
    headers: &HeaderMap,
) -> Result<Known, Refusal> {
    match &config.mode {
        IdentityMode::Open => Ok(Known { username: claimed, authorized: false }),
        IdentityMode::Header(name) => {
            let known = if peer.is_trusted { named_by(name, headers)? } else { Known::NOBODY };
            if config.required && known == Known::NOBODY {
                let message = "only users whom a trusted proxy names may connect (--require-identity)";
                return Err(Refusal::new(StatusCode::FORBIDDEN, "identity_required", message));
            }
            Ok(known)
        }
    }
}

/// The user whom a trusted proxy names.
///
/// # Errors
///
/// 400, if there are two: a proxy that adds its own to what the client wrote names nobody for certain.
fn named_by(name: &HeaderName, headers: &HeaderMap) -> Result<Known, Refusal> {
    let bad = |problem: &str| {
        Refusal::new(StatusCode::BAD_REQUEST, "bad_identity", format!("the header {name} {problem}"))
    };
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(Known::NOBODY) };
    if lines.next().is_some() {
        return Err(bad("is given twice"));
    }
    let text = std::str::from_utf8(line.as_bytes()).map_err(|_| bad("is not valid UTF-8"))?;
    let username = params::username(text).map_err(|_| bad("is too long for a user name"))?;
    Ok(match username {
        Some(username) if &*username != UNAUTHENTICATED => {
            Known { username: Some(username), authorized: true }
        }
        _ => Known::NOBODY,
    })
}
