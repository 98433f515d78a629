//! What can be asked, whichever way it is asked.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    audit::Audit,
    caller::{Caller, Lacks},
    figures::Figures,
    infos,
    snapshots::Snapshots,
    source::{Source, Workshop},
    view::Mask,
    watch::Watches,
};
use crate::{
    config::tokens::Scope,
    edge::clock::Clock,
    session::{Glob, Listing, Registry, Session},
};

/// The questions of one caller, and what they are answered from.
#[derive(Clone, Debug)]
pub(super) struct Methods {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) workshop: Workshop,
    pub(super) snapshots: Arc<Snapshots>,
    /// Those of their socket; none for those who ask once.
    pub(super) watches: Option<Arc<Watches>>,
    pub(super) caller: Caller,
    pub(super) audit: Audit,
    pub(super) figures: Arc<Figures>,
    /// The clients are asked to leave.
    pub(super) draining: CancellationToken,
}

/// The two filters of `getSessionInfo`; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SessionInfoFilters {
    username: Option<Glob>,
    project: Option<Glob>,
}

impl SessionInfoFilters {
    /// The names of the filters, in the order of the positional parameters.
    pub(super) const NAMES: [&'static str; 2] = ["usernameFilter", "projectFilter"];

    /// Reads the filters in the order of [`NAMES`](Self::NAMES); an empty one matches all.
    ///
    /// # Errors
    ///
    /// The filter that is too long, and the limit.
    pub(super) fn read(values: [Option<&str>; 2]) -> Result<Self, String> {
        let read = |at: usize| match values[at] {
            None | Some("") => Ok(None),
            Some(filter) if filter.chars().count() > Glob::MAX_CHARS => {
                Err(format!("{} must have at most {} characters", Self::NAMES[at], Glob::MAX_CHARS))
            }
            Some(filter) => Ok(Some(Glob::new(filter))),
        };
        Ok(Self { username: read(0)?, project: read(1)? })
    }
}

impl Methods {
    /// A live session that this caller may touch: for them, those of projects that they do not see are not live.
    /// To show it, there is [`shown`](Self::shown).
    pub(super) fn session(&self, id: &str) -> Option<Arc<Session>> {
        self.registry.get(id).filter(|session| self.caller.sees(session))
    }

    /// The same to be shown.
    ///
    /// # Errors
    ///
    /// The caller may not ask who is connected.
    pub(super) fn shown(&self, id: &str) -> Result<Option<Arc<Session>>, Lacks> {
        self.caller.must_have(Scope::Read)?;
        Ok(self.session(id))
    }

    /// The plain array of `getSessionInfo`.
    pub(super) fn session_info(&self, filters: SessionInfoFilters) -> Box<dyn Source> {
        infos::source(self, filters)
    }

    /// Begins its list: who comes later is not in it. `None` is an empty one.
    pub(super) fn info_list(&self, filters: SessionInfoFilters) -> Option<Listing> {
        let view = self.caller.view();
        view.projects(filters.project).map(|project| {
            let list = self.registry.list(filters.username, project);
            if view.mask() == Mask::On { list.masked() } else { list }
        })
    }
}
