//! What somebody sees (PROTOCOL 3.2): which sessions, and how much of each.
//!
//! What is not in a view is not there for whoever has it, whichever way they ask: rows, filters, searches, orders and
//! counts are all made of what the view shows. So what is not shown cannot be probed either.

use std::{net::IpAddr, sync::Arc};

use crate::{
    config::tokens::{AdminToken, Scope},
    session::{CensusOf, Glob, Registry, SessionScope, State, Who, network_of},
};

/// What a caller sees of all that there is; callers of equal views see the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// The one project whose sessions are seen; `None` is all.
    project: Option<Arc<str>>,
    mask: Mask,
}

/// Whether it is shown who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mask {
    /// Addresses and user agents are shown as they are.
    Off,
    /// Of addresses no more is shown than their networks, and no user agent.
    On,
}

impl Mask {
    /// An address as it is shown.
    pub(super) fn address(self, address: IpAddr) -> IpAddr {
        match self {
            Self::Off => address,
            Self::On => network_of(address),
        }
    }

    /// A user agent as it is shown.
    pub(super) fn user_agent(self, user_agent: &str) -> &str {
        match self {
            Self::Off => user_agent,
            Self::On => "",
        }
    }
}

impl View {
    /// What a token allows to see; where none is asked for, that is everything.
    pub(super) fn of(token: Option<&AdminToken>) -> Self {
        let is_open = token.is_none_or(|token| token.allows(Scope::Pii));
        Self {
            project: token.and_then(|token| token.project.as_deref()).map(Into::into),
            mask: if is_open { Mask::Off } else { Mask::On },
        }
    }

    pub(super) fn mask(&self) -> Mask {
        self.mask
    }

    /// The one project whose sessions are seen, if it is one.
    pub(super) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Whether a session is seen.
    pub(super) fn sees(&self, who: &Who) -> bool {
        self.project().is_none_or(|project| project == who.project())
    }

    /// How many live sessions are seen.
    pub(super) fn live(&self, registry: &Registry) -> usize {
        self.project().map_or_else(|| registry.len(), |project| registry.len_in(project))
    }

    /// How many of them are of this scope.
    pub(super) fn live_of(&self, scope: SessionScope, registry: &Registry, now_ms: u64) -> usize {
        let of = self.project().map_or(CensusOf::Everybody, CensusOf::Project);
        let census = registry.census(of, now_ms);
        let live: u64 = State::ALL.map(|state| census.live_in(scope, state)).into_iter().sum();
        usize::try_from(live).unwrap_or(usize::MAX)
    }

    /// What is left of a filter of projects; `None` is nothing.
    pub(super) fn projects(&self, asked: Option<Glob>) -> Option<Option<Glob>> {
        match (self.project(), asked) {
            (None, asked) => Some(asked),
            (Some(own), Some(asked)) if !asked.matches(own) => None,
            (Some(own), _) => Some(Some(Glob::literal(own))),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::tokens::TokenHash;

    /// A token of the name `t`.
    pub(in super::super) fn token(scopes: &[Scope], project: Option<&str>) -> AdminToken {
        AdminToken {
            name: "t".to_owned(),
            hash: TokenHash::of(b""),
            scopes: scopes.to_vec(),
            project: project.map(str::to_owned),
        }
    }

    #[test]
    fn without_pii_an_address_is_its_network_and_there_is_no_user_agent() {
        for (scopes, address, user_agent) in
            [(&[Scope::Read][..], "10.1.2.0", ""), (&[Scope::Read, Scope::Pii], "10.1.2.3", "x")]
        {
            let mask = View::of(Some(&token(scopes, None))).mask();
            assert_eq!(mask.address("10.1.2.3".parse().unwrap()).to_string(), address);
            assert_eq!(mask.user_agent("x"), user_agent);
        }
        assert_eq!(View::of(None).mask(), Mask::Off);
    }

    #[test]
    fn a_project_of_a_token_is_all_that_its_filters_find() {
        let [free, bound] = [None, Some("a*")].map(|project| View::of(Some(&token(&[Scope::Read], project))));
        assert_eq!(free.projects(None), Some(None));
        assert_eq!(bound.projects(None), Some(Some(Glob::new(r"a\*"))));
        assert_eq!(bound.projects(Some(Glob::new("*"))), Some(Some(Glob::new(r"a\*"))));
        assert_eq!(bound.projects(Some(Glob::new("ab"))), None);
    }
}
