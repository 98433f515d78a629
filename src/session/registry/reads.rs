//! What is asked of all sessions: lists, counts, and who ended.

use std::sync::Arc;

use super::Registry;
use crate::session::{
    Census, CensusOf, EndedSession, Glob, Listing, Session, SessionInfo,
    candidates::{Candidates, Named},
};

impl Registry {
    /// How many sessions are live.
    pub fn len(&self) -> usize {
        self.quota.live()
    }

    /// The most sessions that were live at a time.
    pub fn peak(&self) -> usize {
        self.quota.peak()
    }

    /// Counts who is live and what has been: by their names too, or of one project alone.
    pub fn census(&self, of: CensusOf<'_>, now_ms: u64) -> Census {
        let mut census = Census::new(of);
        self.rows.count(&mut census, now_ms);
        census
    }

    /// How many of them are in this project.
    pub fn len_in(&self, project: &str) -> usize {
        self.quota.live_in(project)
    }

    /// Whether no session is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins the list of `getSessionInfo`: of the sessions whose user name and project fit; `None` fits all.
    pub fn list(&self, username: Option<Glob>, project: Option<Glob>) -> Listing {
        // First: a session that begins after this is in no index that is asked below.
        let turn = self.rows.turn();
        let places = self.quota.fitting(username.as_ref(), project.as_ref());
        Listing::new(username, project, places, turn)
    }

    /// Writes the next rows of a list with commas between them, until `out` has so many bytes or a little more, or some
    /// thousand sessions have been looked at; `false` if the list is at its end.
    pub fn write_list(&self, list: &mut Listing, now_ms: u64, bytes: usize, out: &mut Vec<u8>) -> bool {
        /// Looking at a block takes some microseconds, also if none of its sessions fits.
        const MOST_BLOCKS: usize = 8;
        for _ in 0..MOST_BLOCKS {
            if out.len() >= bytes {
                break;
            }
            if !list.write_block(&self.rows, now_ms, out) {
                return false;
            }
        }
        true
    }

    /// How many sessions are looked at for a list.
    pub fn looks(&self, list: &Listing) -> usize {
        list.looks(self.len())
    }

    /// The sessions whose user name and project fit, in no particular order; `None` fits all.
    ///
    /// Each was live at some instant during the call and is there once.
    pub fn select(&self, username: Option<&Glob>, project: Option<&Glob>) -> Vec<Arc<Session>> {
        let fits = |filter: Option<&Glob>, value: &str| filter.is_none_or(|glob| glob.matches(value));
        let mut found = Vec::new();
        self.rows.for_each(|session| {
            let who = session.who();
            if fits(username, who.username()) && fits(project, who.project()) {
                found.push(session);
            }
        });
        found
    }

    /// Begins to go through the sessions that may be among those named. Names are looked up, so that few sessions among
    /// many are found without looking at the others.
    pub fn candidates(&self, named: &Named<'_>) -> Candidates {
        if let Some(ids) = &named.ids {
            return Candidates::of_ids(ids, |id| self.get(id));
        }
        // First: a session that begins after this is left out, so that an id is not seen twice.
        let turn = self.rows.turn();
        let places = self.quota.named(named.usernames.as_deref(), named.projects.as_deref());
        Candidates::at(places, turn)
    }

    /// The next few of them, maybe none; `None` if there are no more. Takes some microseconds.
    pub fn next_candidates(&self, candidates: &mut Candidates) -> Option<Vec<Arc<Session>>> {
        candidates.next(&self.rows)
    }

    /// The rows of [`select`](Self::select) at `now_ms`.
    pub fn session_info(
        &self,
        username: Option<&Glob>,
        project: Option<&Glob>,
        now_ms: u64,
    ) -> impl Iterator<Item = SessionInfo> + use<> {
        // A session may have ended since it was selected; it is not live, so it has no row.
        self.select(username, project).into_iter().filter_map(move |session| session.info(now_ms))
    }

    /// The last sessions that ended, the newest first, and how many ended before those and are forgotten.
    pub fn ended(&self) -> (Vec<Arc<EndedSession>>, u64) {
        self.ended.read()
    }

    /// How many sessions that ended are remembered.
    pub fn remembered(&self) -> usize {
        self.ended.len()
    }
}
