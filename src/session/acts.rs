//! What is done to sessions from outside: by administrators, and at the server's end.

use std::sync::Arc;

use super::{EndReason, Order, Outlet, Registry, Session, outlet, presence::Presence};

impl Registry {
    /// Ends a session, with words for its client; answers whether it was live.
    pub fn terminate(&self, id: &str, reason: EndReason, words: &str, now_ms: u64) -> bool {
        self.terminate_if(id, |_, _| true, reason, words, now_ms)
    }

    /// The same for this very session, not for a later one of its id.
    pub fn terminate_this(&self, session: &Session, reason: EndReason, words: &str, now_ms: u64) -> bool {
        let is_it = |live: &Session, _: &Presence| std::ptr::eq(live, session);
        self.terminate_if(session.who().id(), is_it, reason, words, now_ms)
    }

    /// The same for one that `may_end`, which is asked under the guard.
    pub(super) fn terminate_if(
        &self,
        id: &str,
        may_end: impl FnOnce(&Session, &Presence) -> bool,
        reason: EndReason,
        words: &str,
        now_ms: u64,
    ) -> bool {
        let mut told = Vec::new();
        let mut live = false;
        self.change(id, now_ms, |session, presence| {
            if !may_end(session, presence) {
                return None;
            }
            live = !presence.is_ended();
            told.extend_from_slice(presence.connections());
            presence.terminate(reason)
        });
        // Outside the guards: a task that is woken may want them.
        outlet::tell(&told, &outlet::closing(reason, words));
        live
    }

    /// Closes one page of this very session, whoever serves it; a connection that serves nothing any more is closed
    /// with 4004. Answers whether there was such a page, or `None` if the session is not live.
    pub fn close_page(&self, session: &Session, page_id: &str, words: &str, now_ms: u64) -> Option<bool> {
        let (mut is_live, mut idle) = (false, None);
        self.change(session.who().id(), now_ms, |live, presence| {
            // Another may have begun under its id: a designer's, in a project that the caller does not see.
            is_live = std::ptr::eq(live, session);
            if !is_live {
                return None;
            }
            let before = presence.page_ids();
            idle = presence.remove_page(page_id);
            let nobody_left = idle.as_ref().is_some_and(|idle| idle.len() == presence.connections().len());
            let is_over = nobody_left && presence.pages().is_empty() && !presence.waits();
            is_over.then(|| presence.end(EndReason::Terminated, before))
        });
        let found = idle.is_some();
        outlet::tell(&idle.unwrap_or_default(), &Order::close(4004, words));
        is_live.then_some(found)
    }

    /// The lines to all connections, in no particular order.
    pub fn outlets(&self) -> Vec<Arc<dyn Outlet>> {
        let mut outlets = Vec::new();
        self.rows.for_each(|session| {
            let presence = session.presence();
            outlets.extend(presence.connections().iter().map(|link| link.outlet.clone()));
        });
        outlets
    }

    /// Tells every connection that the server ends. Those that have been told already take no notice.
    pub fn drain(&self) {
        for outlet in self.outlets() {
            outlet.tell(Order::Drain);
        }
    }

    /// Ends the sessions that wait for somebody to come back: nobody will.
    pub fn drain_waiting(&self, now_ms: u64) {
        let mut waiting = Vec::new();
        self.rows.for_each(|session| {
            if session.connections() == 0 {
                waiting.push(session);
            }
        });
        for session in waiting {
            let id = session.who().id();
            self.change(id, now_ms, |_, presence| {
                let waits = presence.connections().is_empty();
                waits.then(|| presence.terminate(EndReason::Drained)).flatten()
            });
        }
    }
}

impl Session {
    /// Sends a text to its connections, or to those of one page; answers whether any took it, or `None` if there is
    /// no such page.
    pub fn send(&self, page_id: Option<&str>, text: &Arc<str>) -> Option<bool> {
        let links: Vec<_> = {
            let presence = self.presence();
            match page_id {
                None => presence.connections().to_vec(),
                Some(page_id) => {
                    presence.pages().iter().find(|page| &*page.id == page_id)?;
                    presence.serving(page_id).cloned().collect()
                }
            }
        };
        let taken = links.iter().filter(|link| link.outlet.tell(Order::Send(text.clone()))).count();
        Some(taken > 0)
    }
}
