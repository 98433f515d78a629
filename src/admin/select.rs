//! Which sessions are asked for, and in which order.

use std::{cmp::Ordering, ops::Range, sync::Arc, time::Instant, vec};

use super::{
    item::{Column, Keyed, Seen},
    view::View,
};
use crate::{
    edge::clock::Clock,
    session::{
        Candidates, Named, Registry, Session, SessionScope,
        filter::{Filter, Invalid, Search, SortBy},
    },
};

/// A question about live sessions: those that pass the filter and the search, in an order.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    filter: Filter<Column>,
    search: Search,
    order: Option<SortBy<Column>>,
    /// Only these, whatever else is asked for.
    scope: Option<SessionScope>,
}

impl Question {
    /// # Errors
    ///
    /// What is wrong with the search or the order.
    pub(super) fn read(
        filter: Filter<Column>,
        search: Option<&str>,
        sort_by: Option<&str>,
    ) -> Result<Self, Invalid> {
        let search = Search::read(search.unwrap_or_default())?;
        let order = sort_by.filter(|order| !order.is_empty()).map(SortBy::read).transpose()?;
        Ok(Self { filter, search, order, scope: None })
    }

    /// The same of sessions of this scope alone.
    pub(super) fn of_scope(self, scope: SessionScope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    pub(super) fn scope(&self) -> Option<SessionScope> {
        self.scope
    }

    /// Whether an order is asked for.
    pub(super) fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    /// Whether every session is meant.
    pub(super) fn is_everybody(&self) -> bool {
        self.filter.is_empty() && self.search.is_empty() && self.scope.is_none()
    }

    /// How many sessions are looked at for whoever sees this, about, or rather how many rows of getSessionInfo are
    /// written as fast.
    pub(super) fn looks(&self, registry: &Registry, view: &View) -> usize {
        /// Looking at a session, or writing it as an item.
        const DEARER: usize = 4;
        const ROWS_PER_US: usize = 10;
        let ids = self.filter.wanted_texts(Column::Id).map(|ids| ids.len());
        let sessions = ids.unwrap_or_else(|| view.live(registry));
        let each = DEARER + ROWS_PER_US * (self.filter.worst_us() + self.search.worst_us());
        sessions.saturating_mul(each)
    }

    /// Whether the answer changes although no session does.
    pub(super) fn moves_by_itself(&self) -> bool {
        self.filter.fields().any(Column::moves_by_itself)
    }

    /// Calls `found` with each session that is seen and fits, once, and gives way to nobody; `false` if there was no time
    /// for all of them.
    pub(super) fn for_each(
        &self,
        (registry, clock, view): (&Registry, Clock, &View),
        until: Instant,
        mut found: impl FnMut(&Arc<Session>, &Seen<'_>),
    ) -> bool {
        let at = (clock.now_ms(), until);
        let mut finding = self.find(registry, view);
        while finding.look(self, (registry, clock, view), at, &mut found) {
            if Instant::now() >= until {
                return false;
            }
        }
        true
    }

    /// Begins to look for the sessions that are seen and that fit as they are seen.
    pub(super) fn find(&self, registry: &Registry, view: &View) -> Finding {
        let own = view.project().map(|own| vec![own]);
        let named = Named {
            ids: self.filter.wanted_texts(Column::Id),
            usernames: self.filter.wanted_texts(Column::Username),
            projects: own.or_else(|| self.filter.wanted_texts(Column::Project)),
        };
        Finding { candidates: registry.candidates(&named), next: Vec::new().into_iter() }
    }

    /// Begins to select them, for an order or a number of them, as they are at `now_ms`.
    pub(super) fn select(&self, registry: &Registry, view: &View, now_ms: u64) -> Selecting {
        Selecting { finding: self.find(registry, view), rows: Vec::new(), taken_ms: now_ms }
    }

    /// Whether this session is meant.
    pub(super) fn fits(&self, session: &Session, seen: &Seen<'_>) -> bool {
        self.scope.is_none_or(|scope| session.who().scope() == scope)
            && self.filter.matches(seen)
            && self.search.matches(seen)
    }
}

/// The sessions that fit a question, as far as they are found. Each was live at some instant during the search, and is
/// there once.
#[derive(Debug)]
pub(super) struct Finding {
    candidates: Candidates,
    /// Those that are looked at next.
    next: vec::IntoIter<Arc<Session>>,
}

impl Finding {
    /// Looks at some hundred more of them at the most, and no longer than until then, but at one at the least. `false` if
    /// there are no more.
    pub(super) fn look(
        &mut self,
        question: &Question,
        (registry, clock, view): (&Registry, Clock, &View),
        (now_ms, until): (u64, Instant),
        mut found: impl FnMut(&Arc<Session>, &Seen<'_>),
    ) -> bool {
        if self.next.len() == 0 {
            let Some(next) = registry.next_candidates(&mut self.candidates) else { return false };
            self.next = next.into_iter();
        }
        for session in &mut self.next {
            let seen = Seen::new(&session, clock, now_ms, view.mask());
            if view.sees(session.who()) && question.fits(&session, &seen) {
                found(&session, &seen);
            }
            if Instant::now() >= until {
                break;
            }
        }
        true
    }
}

/// Those that are selected so far.
#[derive(Debug)]
pub(super) struct Selecting {
    finding: Finding,
    rows: Vec<Keyed>,
    /// When it was begun: all are seen as at one moment, or an order by what grows by the clock would be none.
    pub(super) taken_ms: u64,
}

impl Selecting {
    /// Looks on until then; `false` if all are selected.
    pub(super) fn go_on(
        &mut self,
        question: &Question,
        seen_by: (&Registry, Clock, &View),
        until: Instant,
    ) -> bool {
        let sorted_by = question.order.map(|order| order.field());
        let Self { finding, rows, taken_ms } = self;
        loop {
            let found =
                |session: &Arc<Session>, seen: &Seen<'_>| rows.push(Keyed::new(session, seen, sorted_by));
            if !finding.look(question, seen_by, (*taken_ms, until), found) {
                return false;
            }
            if Instant::now() >= until {
                return true;
            }
        }
    }

    /// What is selected, in no particular order.
    pub(super) fn take(&mut self) -> Vec<Arc<Session>> {
        self.rows.drain(..).map(|row| row.session).collect()
    }

    /// The same in the order of the question.
    pub(super) fn into_ordered(self, question: &Question) -> Ordered {
        Ordered { rows: self.rows, order: question.order, sorted: 0..0 }
    }
}

/// Sessions that come into their order as far as somebody wants to see it: a page of a hundred out of a million finds
/// its hundred, and sorts those alone.
#[derive(Debug)]
pub(super) struct Ordered {
    rows: Vec<Keyed>,
    order: Option<SortBy<Column>>,
    /// Those at these places are in order, and what belongs before or behind them is there.
    sorted: Range<usize>,
}

impl Ordered {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many of the page there are.
    fn range(&self, offset: usize, most: usize) -> Range<usize> {
        let from = offset.min(self.rows.len());
        from..from.saturating_add(most).min(self.rows.len())
    }

    /// A page of them.
    pub(super) fn page(&mut self, offset: usize, most: usize) -> Vec<Arc<Session>> {
        let range = self.range(offset, most);
        self.arrange(range.clone());
        self.rows[range].iter().map(|row| row.session.clone()).collect()
    }

    /// The same if nobody wants another.
    pub(super) fn into_page(mut self, offset: usize, most: usize) -> Vec<Arc<Session>> {
        let range = self.range(offset, most);
        self.arrange(range.clone());
        self.rows.truncate(range.end);
        self.rows.into_iter().skip(range.start).map(|row| row.session).collect()
    }

    /// Puts the right ones in these places, in order.
    fn arrange(&mut self, range: Range<usize>) {
        let Some(order) = self.order else { return };
        let (rows, sorted) = (&mut self.rows, &mut self.sorted);
        let begins_there = (sorted.start..=sorted.end).contains(&range.start);
        if range.is_empty() || begins_there && range.end <= sorted.end {
            return;
        }
        let compare = |a: &Keyed, b: &Keyed| order.compare(a, b);
        if begins_there {
            // Page after page: twice as many each time, or every page would go through all that are left.
            let end = range.end.max(sorted.end + sorted.len()).min(rows.len());
            sort_first(&mut rows[sorted.end..], end - sorted.end, compare);
            sorted.end = end;
        } else {
            // A page from elsewhere: what is before it need not be in order for that.
            let among = if range.start > sorted.end {
                sorted.end..rows.len()
            } else if range.end <= sorted.start {
                0..sorted.start
            } else {
                0..rows.len()
            };
            let from = range.start - among.start;
            let rest = &mut rows[among];
            rest.select_nth_unstable_by(from, compare);
            sort_first(&mut rest[from..], range.len(), compare);
            *sorted = range;
        }
    }
}

/// Brings the first so many to the front, in order.
fn sort_first(rows: &mut [Keyed], count: usize, compare: impl Fn(&Keyed, &Keyed) -> Ordering) {
    if count < rows.len() && count > 0 {
        rows.select_nth_unstable_by(count - 1, &compare);
    }
    rows[..count].sort_unstable_by(compare);
}
