//! Where the rows of a list come from: never more of them at a time than its reader has room for, if it need not be.

use std::{ops::Range, sync::Arc, time::Instant, vec};

use super::super::{
    methods::Methods,
    select::{Finding, Question},
    snapshots::Snapshot,
};
use crate::session::Session;

/// Sessions that are still to be written.
pub(super) struct Rows {
    /// Those that come next.
    next: vec::IntoIter<Arc<Session>>,
    /// Where those behind them are.
    rest: Rest,
}

enum Rest {
    Nothing,
    /// In a snapshot, at these places.
    Kept(Arc<Snapshot>, Range<usize>),
    /// They are yet to be found.
    Unknown(Finding),
}

/// What comes next.
pub(super) enum Next {
    Row(Arc<Session>),
    /// It was looked for until then and is not found yet.
    NotYet,
    End,
}

impl Rows {
    /// These, and no others.
    pub(super) fn these(sessions: Vec<Arc<Session>>) -> Self {
        Self { next: sessions.into_iter(), rest: Rest::Nothing }
    }

    /// A page of a snapshot.
    pub(super) fn kept(snapshot: Arc<Snapshot>, offset: usize, most: usize) -> Self {
        let from = offset.min(snapshot.matching);
        let to = from.saturating_add(most).min(snapshot.matching);
        Self { next: Vec::new().into_iter(), rest: Rest::Kept(snapshot, from..to) }
    }

    /// All that fit, as they are found.
    pub(super) fn found(finding: Finding) -> Self {
        Self { next: Vec::new().into_iter(), rest: Rest::Unknown(finding) }
    }

    /// How many there are; `None` if nobody knows.
    pub(super) fn left(&self) -> Option<usize> {
        match &self.rest {
            Rest::Nothing => Some(self.next.len()),
            Rest::Kept(_, places) => Some(self.next.len() + places.len()),
            Rest::Unknown(_) => None,
        }
    }

    /// The next; what has to be looked for is until then.
    pub(super) fn next(&mut self, question: &Question, methods: &Methods, until: Instant) -> Next {
        /// So many of a snapshot are held at a time, however many are shown.
        const FEW: usize = 256;
        loop {
            if let Some(session) = self.next.next() {
                return Next::Row(session);
            }
            let few = match &mut self.rest {
                Rest::Nothing => return Next::End,
                Rest::Kept(_, places) if places.start >= places.end => return Next::End,
                Rest::Kept(snapshot, places) => {
                    let count = places.len().min(FEW);
                    let few = snapshot.page(places.start, count);
                    places.start += count;
                    few
                }
                Rest::Unknown(finding) => {
                    if Instant::now() >= until {
                        return Next::NotYet;
                    }
                    let Methods { registry, clock, caller, .. } = methods;
                    let source = (&**registry, *clock, caller.view());
                    let (mut few, now_ms) = (Vec::new(), clock.now_ms());
                    if !finding
                        .look(question, source, (now_ms, until), |session, _| few.push(session.clone()))
                    {
                        return Next::End;
                    }
                    few
                }
            };
            self.next = few.into_iter();
        }
    }
}
