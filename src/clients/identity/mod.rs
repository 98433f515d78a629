//! Who a client is (PROTOCOL 2.3): what it claims, what a token proves, or what a trusted proxy says.
//!
//! The edge's `bearer` finds the token, [`jwt`] judges it, by [`keys`] out of a file that [`watch`] reads again.

#[cfg(test)]
mod fixtures;
mod jwt;
mod keys;
mod watch;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode, header};

use self::{
    jwt::{Rejection, Verified, Verifier},
    keys::Keys,
};
use super::{
    address::Peer,
    params::{self, AccessToken},
};
use crate::{
    config::{IdentityConfig, IdentityMode},
    edge::{bearer, clock::Clock, refusal::Refusal, watched::ReadAgain},
    session::UNAUTHENTICATED,
};

/// Who a client was found to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// `None` is nobody in particular.
    pub(super) username: Option<Arc<str>>,
    /// Whether the name was verified.
    pub(super) authorized: bool,
    /// Until when that holds, in milliseconds of the server's clock; `None` is for ever.
    pub(super) expires_ms: Option<u64>,
}

impl Known {
    const NOBODY: Self = Self { username: None, authorized: false, expires_ms: None };
}

/// What a request says of who sends it.
pub(super) struct Asked<'a> {
    pub(super) peer: Peer,
    pub(super) headers: &'a HeaderMap,
    pub(super) username: Option<Arc<str>>,
    pub(super) access_token: Option<AccessToken>,
}

/// Whether tokens can be verified by what is configured.
///
/// # Errors
///
/// The file of keys that cannot be read, and why.
pub(super) fn check(config: &IdentityConfig) -> Result<(), String> {
    match &config.mode {
        IdentityMode::Jwt(jwt) => Keys::read(&jwt.keys).map(drop),
        IdentityMode::Open | IdentityMode::Header(_) => Ok(()),
    }
}

/// Finds out who clients are.
#[derive(Debug)]
pub(super) struct Identities {
    mode: Mode,
    required: bool,
}

#[derive(Debug)]
enum Mode {
    Open,
    Jwt(Box<Verifier>),
    Header(HeaderName),
}

impl Identities {
    pub(super) fn new(config: &IdentityConfig) -> Self {
        let mode = match &config.mode {
            IdentityMode::Open => Mode::Open,
            IdentityMode::Jwt(jwt) => Mode::Jwt(Box::new(Verifier::new(jwt))),
            IdentityMode::Header(name) => Mode::Header(name.clone()),
        };
        Self { mode, required: config.required }
    }

    /// Keeps the keys as they are in their file, for ever.
    pub(super) async fn keep_keys(&self, read_again: ReadAgain) {
        match &self.mode {
            Mode::Jwt(verifier) => verifier.keys.watch(read_again).await,
            Mode::Open | Mode::Header(_) => std::future::pending().await,
        }
    }

    /// Finds out who asks.
    ///
    /// # Errors
    ///
    /// 400, if that cannot be told; 401 for a bad token; 401 or 403, if nobody in particular may come in.
    pub(super) fn identify(&self, asked: Asked<'_>, clock: Clock) -> Result<Known, Refusal> {
        let known = match &self.mode {
            Mode::Open => return Ok(Known { username: asked.username, ..Known::NOBODY }),
            Mode::Jwt(verifier) => proven(verifier, &asked, clock)?,
            Mode::Header(name) if asked.peer.is_trusted => named_by(name, asked.headers)?,
            Mode::Header(_) => Known::NOBODY,
        };
        if self.required && known == Known::NOBODY { Err(self.required()) } else { Ok(known) }
    }

    fn required(&self) -> Refusal {
        const CODE: &str = "identity_required";
        if matches!(self.mode, Mode::Header(_)) {
            let message = "only users whom a trusted proxy names may connect";
            return Refusal::new(StatusCode::FORBIDDEN, CODE, message);
        }
        let message = "connect with a token: Authorization: Bearer, the subprotocol headcount.bearer.<jwt>, or \
                       access_token";
        Refusal::new(StatusCode::UNAUTHORIZED, CODE, message).with(header::WWW_AUTHENTICATE, "Bearer")
    }
}

/// Whom the request's token proves its sender to be.
fn proven(verifier: &Verifier, asked: &Asked<'_>, clock: Clock) -> Result<Known, Refusal> {
    let access_token = asked.access_token.as_ref().map(AccessToken::reveal);
    let Some(token) = bearer::find(asked.headers, access_token)? else { return Ok(Known::NOBODY) };
    let now_unix_ms = Clock::wall_unix_ms();
    match verifier.verify(token, now_unix_ms) {
        Ok(Verified { username, expires_unix_ms }) => {
            let left_ms = expires_unix_ms.saturating_sub(now_unix_ms);
            let expires_ms = clock.now_ms().saturating_add(left_ms);
            Ok(Known { username: Some(username), authorized: true, expires_ms: Some(expires_ms) })
        }
        Err(Rejection::Expired) => Err(unauthorized("token_expired", "the token has expired")),
        Err(Rejection::Invalid(reason)) => {
            tracing::debug!(peer = %asked.peer.address, reason, "a token was refused");
            Err(unauthorized("token_invalid", "the token is not valid here"))
        }
    }
}

/// RFC 6750, 3.
fn unauthorized(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, code, message)
        .with(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
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
            Known { username: Some(username), authorized: true, expires_ms: None }
        }
        _ => Known::NOBODY,
    })
}
