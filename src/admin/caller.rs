//! Who asks, and what they may see and do (PROTOCOL 3.2).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::rpc::Error;
use crate::{
    config::tokens::{AdminToken, RESERVED, Scope},
    session::{EndedSession, Glob, Session, Who, network_of},
};

/// Whoever sent a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    from: SocketAddr,
    /// `None` where no token is asked for: such a caller may do everything.
    token: Option<Arc<AdminToken>>,
}

/// A scope that a caller has not, in words for them.
#[derive(Debug)]
pub(super) struct Lacks(pub(super) String);

impl Caller {
    pub(super) fn new(from: SocketAddr, token: Option<Arc<AdminToken>>) -> Self {
        Self { from, token }
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
        match self.project() {
            None => Ok(()),
            Some(_) => Err(Lacks(format!("the token {} is of one project: {why}", self.name()))),
        }
    }

    /// For whatever shows sessions as they are, or picks them by what they are. Those calls neither mask nor keep to a
    /// project: whoever may not see all gets nothing from them.
    ///
    /// # Errors
    ///
    /// They may not, why, and what they can use.
    pub(super) fn must_see_all(&self) -> Result<(), Lacks> {
        self.must_have(Scope::Read)?;
        let why = match self.project() {
            Some(_) => "is of one project",
            None if self.is_masked() => "has not the scope pii",
            None => return Ok(()),
        };
        Err(Lacks(format!(
            "the token {} {why}, and a token with a project or without pii cannot use this call yet; \
             getSessionInfo can be used, and actions on one sessionId",
            self.name()
        )))
    }

    /// Whether they see no more of addresses than their networks, and no user agent.
    pub(super) fn is_masked(&self) -> bool {
        !self.allows(Scope::Pii)
    }

    /// An address as they may see it.
    pub(super) fn address(&self, address: IpAddr) -> IpAddr {
        if self.is_masked() { network_of(address) } else { address }
    }

    /// A user agent as they may see it.
    pub(super) fn user_agent<'a>(&self, user_agent: &'a str) -> &'a str {
        if self.is_masked() { "" } else { user_agent }
    }

    /// The one project whose sessions they see and touch, if there is one.
    pub(super) fn project(&self) -> Option<&str> {
        self.token.as_ref()?.project.as_deref()
    }

    /// Whether a session is one of those they see and touch. The others are not there for them.
    pub(super) fn sees(&self, who: &Who) -> bool {
        self.project().is_none_or(|project| project == who.project())
    }

    pub(super) fn sees_session(&self, session: &Session) -> bool {
        self.sees(session.who())
    }

    pub(super) fn sees_ended(&self, ended: &EndedSession) -> bool {
        self.sees(&ended.who)
    }

    /// What is left of a filter of projects for them; `None` is nothing.
    pub(super) fn projects(&self, asked: Option<Glob>) -> Option<Option<Glob>> {
        match (self.project(), asked) {
            (None, asked) => Some(asked),
            (Some(own), Some(asked)) if !asked.matches(own) => None,
            (Some(own), _) => Some(Some(Glob::literal(own))),
        }
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
    use crate::config::tokens::TokenHash;

    fn caller(from: &str, scopes: &[Scope], project: Option<&str>) -> Caller {
        let token = AdminToken {
            name: "t".to_owned(),
            hash: TokenHash::of(b""),
            scopes: scopes.to_vec(),
            project: project.map(str::to_owned),
        };
        Caller::new(from.parse().unwrap(), Some(token.into()))
    }

    #[test]
    fn a_caller_is_named_by_the_token_or_the_place() {
        let named = |from: &str| Caller::new(from.parse().unwrap(), None).name().to_owned();
        assert_eq!(named("127.0.0.1:1"), "loopback");
        assert_eq!(named("[::ffff:127.0.0.1]:1"), "loopback");
        assert_eq!(named("192.0.2.1:1"), "anonymous");
        assert_eq!(caller("127.0.0.1:1", &[Scope::Read], None).name(), "t");
    }

    #[test]
    fn a_scope_that_lacks_is_named() {
        let caller = caller("127.0.0.1:1", &[Scope::Read], None);
        assert!(caller.must_have(Scope::Read).is_ok() && caller.is_masked());
        assert_eq!(caller.must_have(Scope::Kick).unwrap_err().0, "the token t has not the scope kick");
        assert_eq!(caller.address("10.1.2.3".parse().unwrap()).to_string(), "10.1.2.0");
        assert_eq!(caller.user_agent("x"), "");
    }

    #[test]
    fn whoever_may_not_see_all_is_told_why() {
        use Scope::{Kick, Pii, Read};
        for (scopes, project, says) in [
            (&[Read, Pii][..], None, None),
            (&[Pii, Kick], None, Some("the scope read")),
            (&[Read, Kick], None, Some("the token t has not the scope pii, and")),
            (&[Read, Pii, Kick], Some("p"), Some("the token t is of one project, and")),
        ] {
            let refused = caller("[::1]:1", scopes, project).must_see_all().err().map(|lacks| lacks.0);
            match (&refused, says) {
                (None, None) => {}
                (Some(said), Some(says)) => assert!(said.contains(says), "{said}"),
                _ => panic!("{scopes:?} {project:?}: {refused:?}"),
            }
        }
        assert!(Caller::new("192.0.2.1:1".parse().unwrap(), None).must_see_all().is_ok());
    }

    #[test]
    fn a_project_of_a_token_is_all_that_its_filters_find() {
        let (free, bound) =
            (caller("[::1]:1", &[Scope::Read], None), caller("[::1]:1", &[Scope::Read], Some("a*")));
        assert_eq!(free.projects(None), Some(None));
        assert_eq!(bound.projects(None), Some(Some(Glob::new(r"a\*"))));
        assert_eq!(bound.projects(Some(Glob::new("*"))), Some(Some(Glob::new(r"a\*"))));
        assert_eq!(bound.projects(Some(Glob::new("ab"))), None);
    }
}
