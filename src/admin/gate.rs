//! Who may come in: the tokens of the admin plane, and how a request brings one (PROTOCOL 3.2).

use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use subtle::ConstantTimeEq;

use super::caller::Caller;
use crate::{
    config::tokens::{AdminToken, AdminTokens, TokenHash},
    edge::{
        bearer,
        refusal::Refusal,
        watched::{ReadAgain, Watched},
    },
};

/// Where scripts that were written for Ignition put a token: `name:key`.
const IGNITION: HeaderName = HeaderName::from_static("x-ignition-api-token");

/// The tokens that are good now; without a file of them everybody may come in.
#[derive(Clone, Debug)]
pub(super) struct Gate(Option<Arc<Watched<AdminTokens>>>);

/// What a request brings.
struct Brought<'a> {
    /// Whose it is said to be.
    name: Option<&'a [u8]>,
    token: &'a [u8],
}

impl Gate {
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self(file.map(|file| {
            let path = file.to_owned();
            let read = move || AdminTokens::read(&path);
            Arc::new(Watched::new("the tokens of administrators", vec![file.to_owned()], read))
        }))
    }

    /// Keeps the tokens as they are in their file, for ever.
    pub(super) async fn keep_tokens(&self, read_again: ReadAgain) {
        match &self.0 {
            Some(tokens) => tokens.watch(read_again).await,
            None => std::future::pending().await,
        }
    }

    /// Finds out who asks.
    ///
    /// # Errors
    ///
    /// 401, if they bring no good token where one is needed; 400, if they bring two.
    pub(super) fn identify(&self, headers: &HeaderMap, from: SocketAddr) -> Result<Caller, Refusal> {
        let Some(tokens) = &self.0 else { return Ok(Caller::new(from, None)) };
        let Some(brought) = brought(headers)? else {
            let message = "this needs an admin token: Authorization: Bearer <token>, X-Ignition-API-Token: \
                           <name>:<token>, or the subprotocol headcount.bearer.<token>";
            return Err(unauthorized("token_required", message, "Bearer"));
        };
        match find(&tokens.current(), &brought) {
            Some(token) => Ok(Caller::new(from, Some(Arc::new(token.clone())))),
            None => {
                tracing::warn!(%from, "an admin token was refused");
                let message = "the admin token is not valid here";
                Err(unauthorized("token_invalid", message, "Bearer error=\"invalid_token\""))
            }
        }
    }

    /// Completes when a caller's token is good no more, or not for the same.
    pub(super) async fn revoked(&self, caller: &Caller) {
        if let (Some(tokens), Some(token)) = (&self.0, caller.token()) {
            let mut tokens = tokens.subscribe();
            // What has changed between the look at the token and now is seen too.
            let removed = tokens.wait_for(|tokens| !tokens.0.contains(token)).await.map(drop);
            if removed.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// The token that was brought. Every known one is looked at, to the end: how long it takes tells nothing.
fn find<'a>(tokens: &'a AdminTokens, brought: &Brought<'_>) -> Option<&'a AdminToken> {
    let hash = TokenHash::of(brought.token);
    let mut found = None;
    for token in &tokens.0 {
        let is_hash = bool::from(token.hash.0.ct_eq(&hash.0));
        let is_name = brought.name.is_none_or(|name| name == token.name.as_bytes());
        if is_hash & is_name {
            found = Some(token);
        }
    }
    found
}

fn brought(headers: &HeaderMap) -> Result<Option<Brought<'_>>, Refusal> {
    let several = || {
        let message = "give one admin token, in one way: Authorization, X-Ignition-API-Token, or the subprotocol \
                       headcount.bearer.<token>";
        Refusal::new(StatusCode::BAD_REQUEST, "several_tokens", message)
    };
    // What is said there of several is meant for clients, who have other ways.
    let bearer = bearer::find(headers, None).map_err(|_| several())?;
    let bearer = bearer.map(|token| Brought { name: None, token });
    let mut lines = headers.get_all(IGNITION).iter();
    let Some(line) = lines.next() else { return Ok(bearer) };
    if bearer.is_some() || lines.next().is_some() {
        return Err(several());
    }
    // A token has no colon. What has none at all is no name and token, and so no good one.
    let line = line.as_bytes();
    let at = line.iter().rposition(|byte| *byte == b':').unwrap_or(0);
    let (name, token) = line.split_at(at);
    Ok(Some(Brought { name: Some(name), token: token.strip_prefix(b":").unwrap_or(token) }))
}

fn unauthorized(code: &'static str, message: &str, challenge: &'static str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, code, message).with(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tokens::Scope;

    #[test]
    fn a_token_is_found_by_its_hash_and_where_it_is_given_by_its_name() {
        let token = |name: &str, token: &[u8]| AdminToken {
            name: name.to_owned(),
            hash: TokenHash::of(token),
            scopes: vec![Scope::Read],
            project: None,
        };
        let tokens = AdminTokens(vec![token("a", b"one"), token("b", b"two")]);
        let found = |name: HeaderName, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            let brought = brought(&headers).unwrap()?;
            find(&tokens, &brought).map(|token| token.name.clone())
        };
        for (value, expected) in [("Bearer one", Some("a")), ("bearer two", Some("b")), ("Bearer ", None)] {
            assert_eq!(found(header::AUTHORIZATION, value).as_deref(), expected, "{value}");
        }
        for (value, expected) in
            [("a:one", Some("a")), ("b:one", None), ("one", None), (":one", None), ("", None)]
        {
            assert_eq!(found(IGNITION, value).as_deref(), expected, "{value}");
        }
        assert_eq!(found(header::SEC_WEBSOCKET_PROTOCOL, "headcount.bearer.two").as_deref(), Some("b"));
    }
}
