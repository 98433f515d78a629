//! Rows of one kind, to be looked up by session.

use std::collections::{HashMap, HashSet};

use super::Entry;
use crate::{query_client::EndedSession, session::SessionInfo};

/// A row that can be looked up.
pub(super) trait Row {
    fn id(&self) -> &str;
    fn pages(&self) -> impl Iterator<Item = &str>;
}

impl Row for SessionInfo {
    fn id(&self) -> &str {
        &self.id
    }

    fn pages(&self) -> impl Iterator<Item = &str> {
        self.page_ids.iter().map(AsRef::as_ref)
    }
}

impl Row for EndedSession {
    fn id(&self) -> &str {
        &self.id
    }

    fn pages(&self) -> impl Iterator<Item = &str> {
        self.page_ids.iter().map(AsRef::as_ref)
    }
}

/// Rows of one kind, by id and by page.
pub(super) struct Side<'a, R> {
    rows: &'a [R],
    by_id: HashMap<&'a str, Vec<usize>>,
    /// Pages of the run only.
    by_page: HashMap<&'a str, Vec<usize>>,
    taken: HashSet<usize>,
}

impl<'a, R: Row> Side<'a, R> {
    pub(super) fn new(prefix: &str, rows: &'a [R]) -> Self {
        let (mut by_id, mut by_page) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, row) in rows.iter().enumerate() {
            by_id.entry(row.id()).or_default().push(at);
            for page in row.pages().filter(|page| page.starts_with(prefix)) {
                by_page.entry(page).or_default().push(at);
            }
        }
        Self { rows, by_id, by_page, taken: HashSet::new() }
    }

    /// The rows of a session: those of its id, if that is known, and those of its pages.
    pub(super) fn take(&mut self, entry: &Entry) -> Vec<&'a R> {
        let of_id = entry.session_id.iter().filter_map(|id| self.by_id.get(id.as_str()));
        let of_pages = entry.pages.iter().filter_map(|page| self.by_page.get(page.as_str()));
        let mut found: Vec<usize> = of_id.chain(of_pages).flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        self.taken.extend(&found);
        found.into_iter().map(|at| &self.rows[at]).collect()
    }

    /// Those that no session has taken, each under one of its pages of the run.
    pub(super) fn stray(&self) -> impl Iterator<Item = (&'a str, &'a R)> {
        let of_page = |(page, at): (&&'a str, &Vec<usize>)| {
            let untaken = at.iter().find(|at| !self.taken.contains(at));
            untaken.map(|&at| (*page, &self.rows[at]))
        };
        self.by_page.iter().filter_map(of_page)
    }
}
