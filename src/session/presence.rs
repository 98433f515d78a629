//! The life of a session (PROTOCOL 2.4), as bookkeeping alone: connections, the pages that they serve, and how
//! long what was lost is kept.

#[cfg(test)]
mod tests;

use std::{num::NonZeroU64, sync::Arc};

use smallvec::{SmallVec, smallvec};

use super::{EndReason, Leaving, Outlet};

/// A connection among those of its session, numbered in the order they came.
pub(super) type ConnectionNumber = u32;

/// What is open, and what is waited for. Every change answers whether the session ends by it.
#[derive(Debug, Default)]
pub(super) struct Presence {
    next_number: ConnectionNumber,
    connections: Vec<Link>,
    /// In the order opened.
    pages: Vec<Page>,
    /// A session without pages and connections that may yet come back.
    waiting: Option<Box<Waiting>>,
    /// For when a look at the session is queued; of one that has ended, when that was: nobody looks at it any more, and
    /// a session is to be no larger for it.
    pub(super) queued_ms: Option<NonZeroU64>,
    /// The pages are others than those that are listed, or whether it is connected is.
    row_changed: bool,
    /// Something is other than when this was last asked.
    changed: bool,
    /// Nothing changes any more, and there is no row.
    ended: bool,
}

/// One connection of the session, and the way to its task.
#[derive(Clone, Debug)]
pub(super) struct Link {
    number: ConnectionNumber,
    pub(super) speaks_headcount: bool,
    pub(super) outlet: Arc<dyn Outlet>,
}

/// An open page of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its id, unique in the session.
    pub id: Arc<str>,
    /// Where it is in the application, if the client said so.
    pub path: Option<Arc<str>>,
    /// When it was opened, in milliseconds of the server's clock.
    pub opened_ms: u64,
    /// Those that serve it; none if it is lost.
    connections: SmallVec<[ConnectionNumber; 4]>,
    /// Of a page that several serve, since when the last of them does; of a lost one, until when it is kept.
    moment_ms: u64,
}

impl Page {
    /// Whether a connection serves it at this moment.
    pub fn is_connected(&self) -> bool {
        !self.connections.is_empty()
    }

    /// How many connections serve it.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Until when it is kept, if it is lost.
    fn lost_until_ms(&self) -> Option<u64> {
        (!self.is_connected()).then_some(self.moment_ms)
    }

    /// Since when the last of those serves it that do.
    fn shared_ms(&self) -> u64 {
        self.moment_ms
    }
}

/// What is open in a session, all of one moment.
#[derive(Clone, Debug)]
pub struct Standing {
    /// How many connections it has; none if it waits to be resumed.
    pub connections: usize,
    /// Whether any of them speaks `headcount.v1`.
    pub speaks_headcount: bool,
    /// The open pages, lost ones among them, in the order opened.
    pub pages: Vec<Page>,
    /// When it ended, if it has, in milliseconds of the server's clock. Then nothing is open.
    pub ended_ms: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    until_ms: u64,
    reason: EndReason,
    /// The pages that were open last.
    pages: Vec<Arc<str>>,
}

/// The end of a session: why, and the pages that were open last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) reason: EndReason,
    pub(super) pages: Vec<Arc<str>>,
}

/// How long a session may wait, as it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) resume_ms: u64,
    /// None if the session holds no resume token, so that nobody could come back after a reload.
    pub(super) reload_ms: Option<u64>,
    /// How long a connection has to answer that is asked whether it lives.
    pub(super) answer_ms: u64,
}

impl Presence {
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether somebody may come back beside those whose pages are listed as lost.
    pub(super) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// When the session ended.
    pub(super) fn ended_ms(&self) -> Option<u64> {
        self.queued_ms.filter(|_| self.ended).map(NonZeroU64::get)
    }

    /// The connections that are open.
    pub(super) fn connections(&self) -> &[Link] {
        &self.connections
    }

    /// Whether this is a connection of the session, which has not ended then.
    fn has(&self, number: ConnectionNumber) -> bool {
        self.connections.iter().any(|link| link.number == number)
    }

    /// The connections that serve this page; none if there is no such page or it is lost.
    pub(super) fn serving(&self, page_id: &str) -> impl Iterator<Item = &Link> {
        let page = self.pages.iter().find(|page| &*page.id == page_id);
        let numbers = page.map_or(&[][..], |page| &page.connections);
        self.connections.iter().filter(|link| numbers.contains(&link.number))
    }

    /// The connections that serve this page beside this one.
    pub(super) fn beside(&self, number: ConnectionNumber, page_id: &str) -> Vec<Link> {
        self.serving(page_id).filter(|link| link.number != number).cloned().collect()
    }

    /// Takes a page away from all that serve it; answers those among them that serve nothing any more, or `None`
    /// if there is no such page.
    pub(super) fn remove_page(&mut self, page_id: &str) -> Option<Vec<Link>> {
        let at = self.pages.iter().position(|page| &*page.id == page_id)?;
        let removed = self.pages.remove(at);
        self.pages_have_changed();
        let idle = |link: &&Link| {
            removed.connections.contains(&link.number)
                && self.pages.iter().all(|page| !page.connections.contains(&link.number))
        };
        Some(self.connections.iter().filter(idle).cloned().collect())
    }

    pub(super) fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// A new connection, which serves this page. A page that is open, or was lost, is the same page again.
    pub(super) fn connect(
        &mut self,
        page_id: &Arc<str>,
        path: Option<Arc<str>>,
        (outlet, speaks_headcount): (Arc<dyn Outlet>, bool),
        now_ms: u64,
    ) -> ConnectionNumber {
        let number = self.next_number;
        self.next_number += 1;
        self.row_changed |= self.connections.is_empty();
        push_lean(&mut self.connections, Link { number, speaks_headcount, outlet });
        self.waiting = None;
        self.open_page(number, page_id, path, now_ms);
        number
    }

    /// Whether this page may be opened beside the others; one that is listed may always.
    ///
    /// # Errors
    ///
    /// The limit, if it is reached.
    pub(super) fn room_for(&self, page_id: &str, max: Option<usize>) -> Result<(), usize> {
        match max {
            Some(max) if self.pages.len() >= max && self.pages.iter().all(|page| &*page.id != page_id) => {
                Err(max)
            }
            _ => Ok(()),
        }
    }

    /// This connection serves this page (too); answers whether it did not before.
    pub(super) fn open_page(
        &mut self,
        number: ConnectionNumber,
        page_id: &Arc<str>,
        path: Option<Arc<str>>,
        now_ms: u64,
    ) -> bool {
        // A connection that was taken for gone is none of the session's any more, and is about to hear it.
        if !self.has(number) {
            return false;
        }
        self.changed = true;
        match self.pages.iter_mut().find(|page| page.id == *page_id) {
            Some(page) => {
                let is_new = !page.connections.contains(&number);
                if is_new {
                    page.connections.push(number);
                    page.moment_ms = now_ms;
                }
                page.path = path.or_else(|| page.path.take());
                is_new
            }
            None => {
                let connections = smallvec![number];
                let page =
                    Page { id: page_id.clone(), path, opened_ms: now_ms, connections, moment_ms: now_ms };
                push_lean(&mut self.pages, page);
                self.row_changed = true;
                true
            }
        }
    }

    /// This connection serves this page no more; answers those that [serve nothing any more](Self::forsake) by it, or
    /// `None` if it did not.
    pub(super) fn close_page(
        &mut self,
        number: ConnectionNumber,
        page_id: &str,
        patience: Patience,
        now_ms: u64,
    ) -> Option<Vec<Link>> {
        let serves = |page: &Page| &*page.id == page_id && page.connections.contains(&number);
        let at = self.pages.iter().position(serves)?;
        let forsaken = self.forsake(number, |page| &*page.id == page_id, patience, now_ms);
        self.changed |= !forsaken.is_empty();
        self.pages[at].connections.retain(|connection| *connection != number);
        if !self.pages[at].is_connected() {
            self.pages.remove(at);
            self.pages_have_changed();
        }
        Some(forsaken)
    }

    /// Takes these pages from the predecessors of a connection that stops to serve them: from those of which nothing has
    /// been heard since somebody came to the page beside them, if they have had the time to answer. A client that has
    /// lost its connection comes back before the server knows, and when it closes the page then, it is closed; but a tab
    /// that was duplicated stays.
    ///
    /// Answers those that serve nothing any more by it, and are no connections of the session from now on.
    fn forsake(
        &mut self,
        number: ConnectionNumber,
        stops_to_serve: impl Fn(&Page) -> bool,
        patience: Patience,
        now_ms: u64,
    ) -> Vec<Link> {
        let mut forsaken = Vec::new();
        for at in 0..self.pages.len() {
            let page = &self.pages[at];
            if page.connections.len() < 2 || !page.connections.contains(&number) || !stops_to_serve(page) {
                continue;
            }
            // Who is dropped leaves at a moment of the past.
            let now_ms = now_ms.max(page.shared_ms());
            let shared_for_ms = now_ms - page.shared_ms();
            if shared_for_ms < patience.answer_ms {
                continue;
            }
            let is_gone = |other: &ConnectionNumber| {
                let link = self.connections.iter().find(|link| link.number == *other);
                *other != number && link.is_some_and(|link| link.outlet.silent_ms(now_ms) > shared_for_ms)
            };
            let gone: SmallVec<[ConnectionNumber; 4]> =
                page.connections.iter().copied().filter(is_gone).collect();
            self.pages[at].connections.retain(|other| !gone.contains(other));
            for other in gone {
                if self.pages.iter().all(|page| !page.connections.contains(&other)) {
                    forsaken.extend(self.connections.extract_if(.., |link| link.number == other));
                }
            }
        }
        forsaken
    }

    /// Sets where a page is; answers whether there is such a page.
    pub(super) fn navigate(&mut self, page_id: &str, path: Option<Arc<str>>) -> bool {
        let page = self.pages.iter_mut().find(|page| &*page.id == page_id);
        page.is_some_and(|page| {
            self.changed |= page.path != path;
            page.path = path;
            true
        })
    }

    /// A connection leaves. Those that are [gone with it](Self::forsake) are put to `forsaken`.
    pub(super) fn disconnect(
        &mut self,
        number: ConnectionNumber,
        how: Leaving,
        patience: Patience,
        now_ms: u64,
        forsaken: &mut Vec<Link>,
    ) -> Option<End> {
        if !self.has(number) {
            return None;
        }
        let before = self.page_ids();
        self.changed = true;
        forsaken.extend(self.forsake(number, |_| true, patience, now_ms));
        self.connections.retain(|link| link.number != number);
        let keeps_pages = how == Leaving::Lost && patience.resume_ms > 0;
        let mut kept_any = false;
        self.pages.retain_mut(|page| {
            let served = page.connections.contains(&number);
            page.connections.retain(|connection| *connection != number);
            if !served || page.is_connected() {
                return true;
            }
            page.moment_ms = now_ms.saturating_add(patience.resume_ms);
            kept_any |= keeps_pages;
            keeps_pages
        });
        self.row_changed |= self.pages.len() != before.len() || self.connections.is_empty();
        if !self.connections.is_empty() {
            return None;
        }
        let wait_ms = match how {
            Leaving::Closed { going_away: true } => patience.reload_ms.unwrap_or(0),
            // It may have closed its pages itself; it may still come back.
            Leaving::Lost => patience.resume_ms,
            Leaving::Closed { going_away: false } | Leaving::Ended(_) => 0,
        };
        if how == Leaving::Ended(EndReason::Drained) {
            // The server ends, so nobody comes back to what was lost before.
            return Some(self.end(EndReason::Drained, before));
        }
        if wait_ms == 0 {
            return self.pages.is_empty().then(|| self.end(how.reason(), before));
        }
        // Its pages are what is waited for, if it left any.
        if !kept_any {
            let until_ms = now_ms.saturating_add(wait_ms);
            let gone = before.into_iter().filter(|id| self.pages.iter().all(|page| page.id != *id));
            let pages = gone.collect();
            self.waiting = Some(Box::new(Waiting { until_ms, reason: how.reason(), pages }));
        }
        None
    }

    /// Time passes: what was kept until now is given up.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<End> {
        if self.ended {
            return None;
        }
        let before = self.page_ids();
        let latest_ms = self.pages.iter().filter_map(Page::lost_until_ms).max();
        self.pages.retain(|page| page.lost_until_ms().is_none_or(|until| until > now_ms));
        if self.pages.len() != before.len() {
            self.pages_have_changed();
        }
        if !self.connections.is_empty() {
            return None;
        }
        let waited = self.waiting.take_if(|waiting| waiting.until_ms <= now_ms);
        if !self.pages.is_empty() || self.waiting.is_some() {
            return None;
        }
        match waited {
            // It ends by what it waited for longest.
            Some(waiting) if latest_ms.is_none_or(|latest_ms| latest_ms < waiting.until_ms) => {
                Some(self.end(waiting.reason, waiting.pages))
            }
            _ => Some(self.end(EndReason::Lost, before)),
        }
    }

    /// Ends whatever is open.
    pub(super) fn terminate(&mut self, reason: EndReason) -> Option<End> {
        let pages = match &mut self.waiting {
            Some(waiting) if self.pages.is_empty() => std::mem::take(&mut waiting.pages),
            _ => self.page_ids(),
        };
        (!self.ended).then(|| self.end(reason, pages))
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let lost = self.pages.iter().filter_map(Page::lost_until_ms);
        lost.chain(self.waiting.as_ref().map(|waiting| waiting.until_ms)).min()
    }

    /// Whether something that is listed is other than when this was last asked.
    pub(super) fn take_row_changed(&mut self) -> bool {
        std::mem::take(&mut self.row_changed)
    }

    /// Whether anything that is shown is other than when this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn pages_have_changed(&mut self) {
        self.row_changed = true;
        self.changed = true;
    }

    pub(super) fn page_ids(&self) -> Vec<Arc<str>> {
        self.pages.iter().map(|page| page.id.clone()).collect()
    }

    /// It is over; these pages were open last.
    pub(super) fn end(&mut self, reason: EndReason, pages: Vec<Arc<str>>) -> End {
        self.ended = true;
        self.connections.clear();
        self.pages.clear();
        self.waiting = None;
        End { reason, pages }
    }
}

/// Most sessions have one connection and one page all their life, so the first takes no room for more.
fn push_lean<T>(list: &mut Vec<T>, item: T) {
    if list.capacity() == 0 {
        list.reserve_exact(1);
    }
    list.push(item);
}
