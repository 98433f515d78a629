//! Which sessions are asked for, and in which order.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use super::{
    item::{Column, Keyed, Seen},
    view::View,
};
use crate::{
    edge::clock::Clock,
    session::{
        Named, Registry, Session, SessionScope,
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

    /// Whether every session is meant.
    pub(super) fn is_everybody(&self) -> bool {
        self.filter.is_empty() && self.search.is_empty() && self.scope.is_none()
    }

    /// How many sessions are looked at for whoever sees this, about.
    pub(super) fn looks(&self, registry: &Registry, view: &View) -> usize {
        let ids = self.filter.wanted_texts(Column::Id).map(|ids| ids.len());
        ids.unwrap_or_else(|| view.live(registry))
    }

    /// The sessions that are seen and that fit as they are seen, in no particular order yet. Each was live at some
    /// instant during the call, and is there once.
    pub(super) fn select(&self, registry: &Registry, clock: Clock, view: &View) -> Ordered {
        let sorted_by = self.order.map(|order| order.field());
        let mut rows = Vec::new();
        self.find((registry, clock, view), |session, seen| rows.push(Keyed::new(session, seen, sorted_by)));
        Ordered { rows, order: self.order, sorted: 0 }
    }

    /// All of them, in the order asked for: a third of the memory if there is none.
    pub(super) fn select_all(&self, registry: &Registry, clock: Clock, view: &View) -> Vec<Arc<Session>> {
        if self.order.is_some() {
            return self.select(registry, clock, view).into_page(0, usize::MAX);
        }
        let mut sessions = Vec::new();
        self.find((registry, clock, view), |session, _| sessions.push(session.clone()));
        sessions
    }

    /// Whether the answer changes although no session does.
    pub(super) fn moves_by_itself(&self) -> bool {
        self.filter.fields().any(Column::moves_by_itself)
    }

    /// Calls `found` with each session that is seen and fits, once.
    pub(super) fn find(
        &self,
        (registry, clock, view): (&Registry, Clock, &View),
        mut found: impl FnMut(&Arc<Session>, &Seen<'_>),
    ) {
        let own = view.project().map(|own| vec![own]);
        let named = Named {
            ids: self.filter.wanted_texts(Column::Id),
            usernames: self.filter.wanted_texts(Column::Username),
            projects: own.or_else(|| self.filter.wanted_texts(Column::Project)),
        };
        let now_ms = clock.now_ms();
        registry.candidates(&named, |session| {
            let seen = Seen::new(&session, clock, now_ms, view.mask());
            if view.sees(session.who()) && self.fits(&session, &seen) {
                found(&session, &seen);
            }
        });
    }

    /// Whether this session is meant.
    pub(super) fn fits(&self, session: &Session, seen: &Seen<'_>) -> bool {
        self.scope.is_none_or(|scope| session.who().scope() == scope)
            && self.filter.matches(seen)
            && self.search.matches(seen)
    }
}

/// Sessions that come into their order as far as somebody wants to see it: a page of a hundred out of a million finds
/// its hundred, and sorts those alone.
#[derive(Debug)]
pub(super) struct Ordered {
    rows: Vec<Keyed>,
    order: Option<SortBy<Column>>,
    /// So many are in their places, and all others belong behind them.
    sorted: usize,
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
        if range.end <= self.sorted || range.is_empty() {
            return;
        }
        let compare = |a: &Keyed, b: &Keyed| order.compare(a, b);
        if range.start <= self.sorted {
            // Page after page: twice as many each time, or every page would go through all that are left.
            let end = range.end.max(self.sorted.saturating_mul(2)).min(self.rows.len());
            sort_first(&mut self.rows[self.sorted..], end - self.sorted, compare);
            self.sorted = end;
        } else {
            // A page from the midst: what is before it need not be in order for that.
            let rest = &mut self.rows[self.sorted..];
            let from = range.start - self.sorted;
            rest.select_nth_unstable_by(from, compare);
            sort_first(&mut rest[from..], range.len(), compare);
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
