//! Who asks, and what they may see and do (PROTOCOL 3.2).

use std::{net::SocketAddr, sync::Arc};

use super::{rpc::Error, view::View};
use crate::{
    config::tokens::{AdminToken, RESERVED, Scope},
    session::Session,
};

/// Whoever sent a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    from: SocketAddr,
    /// `None` where no token is asked for: such a caller may do everything.
    token: Option<Arc<AdminToken>>,
    view: View,
}

/// A scope that a caller has not, in words for them.
#[derive(Debug)]
pub(super) struct Lacks(pub(super) String);

impl Caller {
    pub(super) fn new(from: SocketAddr, token: Option<Arc<AdminToken>>) -> Self {
        Self { from, view: View::of(token.as_deref()), token }
    }

    /// The name of their token; without one, whether they are on this machine.
    pub(super) fn name(&self) -> &str {
        match &self.token {
            Some(token) => &token.name,
            None if self.from.ip().to_canonical().is_loopback() => RESERVED[0],
            None => RESERVED[1],
        }
    }

    /// The address of their end of the connection.
    pub(super) fn from(&self) -> SocketAddr {
        self.from
    }

    pub(super) fn token(&self) -> Option<&Arc<AdminToken>> {
        self.token.as_ref()
    }

    fn allows(&self, scope: Scope) -> bool {
        self.token.as_ref().is_none_or(|token| token.allows(scope))
    }

    /// # Errors
    ///
    /// They may not, and what their token would need.
    pub(super) fn must_have(&self, scope: Scope) -> Result<(), Lacks> {
        if self.allows(scope) {
            return Ok(());
        }
        Err(Lacks(format!("the token {} has not the scope {scope}", self.name())))
    }

    /// For what cannot be had of one project alone.
    ///
    /// # Errors
    ///
    /// Their token is of one, and what they can use.
    pub(super) fn must_be_of_no_project(&self, why: &str) -> Result<(), Lacks> {
        match self.view.project() {
            None => Ok(()),
            Some(_) => Err(Lacks(format!("the token {} is of one project: {why}", self.name()))),
        }
    }

    /// What they see.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Whether a session is one of those they see and touch. The others are not there for them.
    pub(super) fn sees(&self, session: &Session) -> bool {
        self.view.sees(session.who())
    }
}

impl From<Lacks> for Error {
    fn from(Lacks(message): Lacks) -> Self {
        Self::new(Self::NOT_AUTHORISED, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::tests::token;

    fn caller(from: &str, scopes: &[Scope]) -> Caller {
        Caller::new(from.parse().unwrap(), Some(token(scopes, None).into()))
    }

    #[test]
    fn a_caller_is_named_by_the_token_or_the_place() {
        let named = |from: &str| Caller::new(from.parse().unwrap(), None).name().to_owned();
        assert_eq!(named("127.0.0.1:1"), "loopback");
        assert_eq!(named("[::ffff:127.0.0.1]:1"), "loopback");
        assert_eq!(named("192.0.2.1:1"), "anonymous");
        assert_eq!(caller("127.0.0.1:1", &[Scope::Read]).name(), "t");
    }

    #[test]
    fn a_scope_that_lacks_is_named() {
        let caller = caller("127.0.0.1:1", &[Scope::Read]);
        assert!(caller.must_have(Scope::Read).is_ok());
        assert_eq!(caller.must_have(Scope::Kick).unwrap_err().0, "the token t has not the scope kick");
    }
}
