//! What can be asked, whichever way it is asked.

use std::sync::Arc;

use super::{
    snapshots::Snapshots,
    source::{PART_BYTES, Source, Workshop},
};
use crate::{
    edge::clock::Clock,
    session::{Glob, Listing, Registry},
};

/// The questions, and what they are answered from.
#[derive(Clone, Debug)]
pub(super) struct Methods {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) workshop: Workshop,
    pub(super) snapshots: Arc<Snapshots>,
}

/// The two filters of `getSessionInfo`; `None` matches all.
#[derive(Debug, Default, PartialEq, Eq)]
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
    /// The plain array of `getSessionInfo`.
    pub(super) fn session_info(&self, filters: SessionInfoFilters) -> Box<dyn Source> {
        let list = self.registry.list(filters.username, filters.project);
        Box::new(SessionInfos { registry: self.registry.clone(), clock: self.clock, list, has_begun: false })
    }
}

/// The rows of `getSessionInfo`, written as they are at the moment of each part.
struct SessionInfos {
    registry: Arc<Registry>,
    clock: Clock,
    list: Listing,
    has_begun: bool,
}

impl Source for SessionInfos {
    fn looks(&self) -> usize {
        self.registry.looks(&self.list)
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        if !std::mem::replace(&mut self.has_begun, true) {
            out.push(b'[');
        }
        let more = self.registry.write_list(&mut self.list, self.clock.now_ms(), PART_BYTES, out);
        if !more {
            out.push(b']');
        }
        more
    }

    fn is_smooth(&self) -> bool {
        true
    }
}
