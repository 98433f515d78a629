//! What must be the same in the registry and in the model, whatever has happened.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    both::Both,
    protocol::{ModelSession, Remembered},
};
use crate::session::{tests::listed, *};

impl Both {
    pub(super) fn compare(&mut self) {
        self.compare_rows();
        for (n, session) in self.sessions.iter().enumerate() {
            self.compare_session(n, session);
        }
        for (connection, ears) in self.model.connections.iter().zip(&self.ears) {
            assert_eq!(*ears.told.lock().unwrap(), connection.told, "the close codes told");
            assert_eq!(
                ears.pings.load(Relaxed),
                connection.pings,
                "those whose page is taken over are asked"
            );
        }
        self.compare_ring();
    }

    fn compare_rows(&self) {
        let live: Vec<_> = self.model.live().collect();
        assert_eq!((self.registry.len(), self.registry.is_empty()), (live.len(), live.is_empty()));
        let expected = |user: &str, project: &str| {
            let rows = live.iter().map(|session| self.model.row(*session));
            let fits = |row: &SessionInfo| {
                (user == "*" || *row.username == *user) && (project == "*" || *row.project == *project)
            };
            sorted(rows.filter(fits))
        };
        let found = |user: &str, project: &str| {
            let [user, project] = [user, project].map(|filter| (filter != "*").then(|| Glob::new(filter)));
            let listed = listed(&self.registry, user.clone(), project.clone(), self.model.now);
            let rows = sorted(self.registry.session_info(user.as_ref(), project.as_ref(), self.model.now));
            assert_eq!(sorted(listed.into_iter()), rows);
            rows
        };
        let rows = found("*", "*");
        assert_eq!(rows, expected("*", "*"));
        // What must hold whatever the model says.
        for row in &rows {
            let distinct: HashSet<_> = row.page_ids.iter().collect();
            assert_eq!((row.active_pages, row.active_pages), (row.page_ids.len(), distinct.len()));
            assert!(row.recent_bytes_sent <= row.total_bytes_sent);
        }
        assert!(rows.windows(2).all(|pair| pair[0].id != pair[1].id), "no session twice");
        // The filters, in turn.
        let turn = self.ears.len() + self.ring.len();
        let (user, project) = (["ann", "bob", UNAUTHENTICATED, "*"][turn % 4], ["*", "plant"][turn / 4 % 2]);
        assert_eq!(found(user, project), expected(user, project));
    }

    fn compare_session(&self, n: usize, session: &Arc<Session>) {
        let now = self.model.now;
        let is_live = self.registry.get(session.who().id()).is_some_and(|live| Arc::ptr_eq(&live, session));
        assert_eq!(is_live, self.model.is_live(n));
        assert_eq!(session.info(now).is_some(), is_live);
        let open = self.model.open_connections(n);
        let standing = session.standing();
        assert_eq!((session.connections(), standing.connections), (open.len(), open.len()));
        let speaks_headcount = open.iter().any(|open| self.model.connections[*open].speaks_headcount);
        assert_eq!(standing.speaks_headcount, speaks_headcount);
        let found = session.pages();
        let found: Vec<_> = found
            .iter()
            .map(|page| (&*page.id, page.path.as_deref(), page.is_connected(), page.opened_ms))
            .collect();
        let expected = self.model.pages_of(n);
        let expected: Vec<_> = expected
            .iter()
            .map(|page| (page.id, page.path, !page.served_by.is_empty(), page.opened))
            .collect();
        assert_eq!(found, expected);
        let ModelSession { delivered, acted, .. } = &self.model.sessions[n];
        assert_eq!((session.bytes_received(), session.last_activity_ms()), (*delivered, *acted));
    }

    fn compare_ring(&mut self) {
        let (ring, forgotten) = self.registry.ended();
        let remembered = |ended: &Arc<EndedSession>| -> Remembered {
            let pages = ended.page_ids.iter().map(ToString::to_string).collect();
            let reason = format!("{:?}", ended.reason);
            let sums =
                (ended.counts.recent_bytes_sent, ended.counts.total_bytes_sent, ended.counts.bytes_received);
            let id = ended.who.id().to_string();
            (id, ended.began_ms, ended.ended_ms, reason, pages, sums.0, sums.1, sums.2)
        };
        let mut found: Vec<_> = ring.iter().map(remembered).collect();
        found.sort();
        let mut expected: Vec<_> =
            self.model.sessions.iter().filter_map(|session| session.end.clone()).collect();
        expected.sort();
        assert_eq!((found, forgotten), (expected, 0));
        // The newest first: what was there stays where it was. Those that end together have no order.
        let before = ring.iter().rev().zip(self.ring.iter().rev());
        assert!(ring.len() >= self.ring.len());
        assert!({ before }.all(|(now, before)| Arc::ptr_eq(now, before)));
        self.ring = ring;
    }
}

fn sorted(rows: impl Iterator<Item = SessionInfo>) -> Vec<SessionInfo> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    rows
}
