//! The plain model: what PROTOCOL 2.4 and 2.5 say.

mod joining;

use std::{collections::HashSet, sync::Arc};

use crate::session::*;

/// What the protocol says, and nothing else. Sessions, connections and members are numbered as they came.
pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) now: u64,
    pub(super) sessions: Vec<ModelSession>,
    pub(super) connections: Vec<ModelConnection>,
    /// The open ones of all sessions, in the order opened.
    pages: Vec<ModelPage>,
}

pub(super) struct ModelSession {
    pub(super) identity: Identity,
    began: u64,
    pub(super) heard: u64,
    pub(super) acted: Option<u64>,
    pub(super) messages: Vec<u64>,
    pub(super) delivered: u64,
    holds_token: bool,
    /// Without a page and a connection, until then, for this reason, with the last pages.
    waits: Option<(u64, EndReason, Vec<&'static str>)>,
    pub(super) end: Option<Remembered>,
}

/// Id, begin, end, reason, last pages, recent bytes, total bytes, received bytes.
pub(super) type Remembered = (String, u64, u64, String, Vec<String>, u64, u64, u64);

pub(super) struct ModelConnection {
    pub(super) session: usize,
    open: bool,
    /// It has left, as it does some time after it has been told to.
    left: bool,
    pub(super) speaks_headcount: bool,
    pub(super) heard: u64,
    pub(super) pings: usize,
    pub(super) told: Vec<u16>,
}

pub(super) struct ModelPage {
    session: usize,
    pub(super) id: &'static str,
    pub(super) path: Option<&'static str>,
    pub(super) opened: u64,
    pub(super) served_by: Vec<usize>,
    /// Since when the last of those serves it.
    shared: u64,
    lost_until: Option<u64>,
}

impl Model {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, now: 1_000, sessions: Vec::new(), connections: Vec::new(), pages: Vec::new() }
    }

    pub(super) fn live(&self) -> impl Iterator<Item = usize> {
        (0..self.sessions.len()).filter(|session| self.is_live(*session))
    }

    pub(super) fn is_live(&self, session: usize) -> bool {
        self.sessions[session].end.is_none()
    }

    pub(super) fn open_connections(&self, session: usize) -> Vec<usize> {
        let all = 0..self.connections.len();
        all.filter(|n| self.connections[*n].session == session && self.connections[*n].open).collect()
    }

    pub(super) fn pages_of(&self, session: usize) -> Vec<&ModelPage> {
        self.pages.iter().filter(|page| page.session == session).collect()
    }

    fn page_ids(&self, session: usize) -> Vec<&'static str> {
        self.pages_of(session).iter().map(|page| page.id).collect()
    }

    fn too_many_pages(&self, session: usize, page: &str) -> Option<usize> {
        let ids = self.page_ids(session);
        self.rules.limits.max_pages_per_session.filter(|max| !ids.contains(&page) && ids.len() >= *max)
    }

    fn serve(&mut self, connection: usize, id: &'static str, path: Option<&'static str>) {
        let session = self.connections[connection].session;
        match self.pages.iter_mut().find(|page| page.session == session && page.id == id) {
            Some(page) => {
                if !page.served_by.contains(&connection) {
                    page.served_by.iter().for_each(|other| self.connections[*other].pings += 1);
                    page.served_by.push(connection);
                    page.shared = self.now;
                }
                page.lost_until = None;
                page.path = path.or(page.path);
            }
            None => {
                let served_by = vec![connection];
                self.pages.push(ModelPage {
                    session,
                    id,
                    path,
                    opened: self.now,
                    served_by,
                    shared: self.now,
                    lost_until: None,
                });
            }
        }
    }

    pub(super) fn open_page(
        &mut self,
        connection: usize,
        page: &'static str,
        path: Option<&'static str>,
    ) -> Result<(), PageError> {
        let session = self.connections[connection].session;
        match self.too_many_pages(session, page) {
            Some(max) => return Err(PageError::TooMany(max)),
            None if self.connections[connection].open => self.serve(connection, page, path),
            None => {}
        }
        Ok(())
    }

    pub(super) fn close_page(&mut self, connection: usize, id: &str) -> Result<(), PageError> {
        let found = self.pages.iter().position(|page| page.id == id && page.served_by.contains(&connection));
        let at = found.ok_or(PageError::Unknown)?;
        self.forsake(connection, at, self.now);
        self.pages[at].served_by.retain(|server| *server != connection);
        if self.pages[at].served_by.is_empty() {
            self.pages.remove(at);
        }
        Ok(())
    }

    /// A connection stops to serve a page. So do those beside it that were not heard since they are not alone there,
    /// if they had the time to answer; and whoever serves nothing any more by that is told to come again.
    fn forsake(&mut self, connection: usize, page: usize, now: u64) {
        let shared = self.pages[page].shared;
        if now < shared + self.rules.windows.answer_ms && self.rules.windows.answer_ms > 0 {
            return;
        }
        let servers = self.pages[page].served_by.clone();
        for other in servers {
            if other == connection || self.connections[other].heard >= shared {
                continue;
            }
            self.pages[page].served_by.retain(|server| *server != other);
            if self.pages.iter().all(|page| !page.served_by.contains(&other)) {
                self.connections[other].open = false;
                self.connections[other].told.push(1013);
            }
        }
    }

    pub(super) fn navigate(
        &mut self,
        connection: usize,
        id: &str,
        path: Option<&'static str>,
    ) -> Result<(), PageError> {
        let session = self.connections[connection].session;
        let page = self.pages.iter_mut().find(|page| page.session == session && page.id == id);
        page.ok_or(PageError::Unknown)?.path = path;
        Ok(())
    }

    pub(super) fn leave(&mut self, connection: usize, how: Leaving, now: u64) {
        self.connections[connection].left = true;
        if !self.connections[connection].open {
            return;
        }
        for page in 0..self.pages.len() {
            if self.pages[page].served_by.contains(&connection) {
                self.forsake(connection, page, now);
            }
        }
        self.connections[connection].open = false;
        let session = self.connections[connection].session;
        let Windows { resume_ms, resume_mobile_ms, reload_ms, .. } = self.rules.windows;
        let is_mobile =
            [SessionScope::Ios, SessionScope::Android].contains(&self.sessions[session].identity.scope);
        let resume_ms = if is_mobile { resume_mobile_ms } else { resume_ms };
        let before = self.page_ids(session);
        let keeps = how == Leaving::Lost && resume_ms > 0;
        let serves_alone = |page: &ModelPage| page.served_by == [connection];
        let lost_pages = keeps && self.pages.iter().any(serves_alone);
        self.pages.retain_mut(|page| {
            if !page.served_by.contains(&connection) {
                return true;
            }
            page.served_by.retain(|server| *server != connection);
            if page.served_by.is_empty() {
                page.lost_until = Some(now + resume_ms);
            }
            keeps || !page.served_by.is_empty()
        });
        if !self.open_connections(session).is_empty() {
            return;
        }
        let (reason, wait_ms) = match how {
            Leaving::Closed { going_away } => {
                let reloads = going_away && self.sessions[session].holds_token;
                (EndReason::Closed, if reloads { reload_ms } else { 0 })
            }
            Leaving::Lost => (EndReason::Lost, resume_ms),
            Leaving::Ended(reason) => (reason, 0),
        };
        let left = self.page_ids(session);
        if reason == EndReason::Drained {
            self.end(session, reason, &before, now);
        } else if lost_pages {
            // They are waited for.
        } else if wait_ms > 0 {
            let gone = before.iter().copied().filter(|id| !left.contains(id)).collect();
            self.sessions[session].waits = Some((now + wait_ms, reason, gone));
        } else if left.is_empty() {
            self.end(session, reason, &before, now);
        }
    }

    /// A session that nobody is connected to ends when there is nothing left that it waits for, for the reason of what it
    /// waited for longest.
    pub(super) fn expire(&mut self) {
        let now = self.now;
        for session in self.live().collect::<Vec<_>>() {
            let before = self.page_ids(session);
            let latest = self.pages_of(session).iter().filter_map(|page| page.lost_until).max();
            self.pages
                .retain(|page| page.session != session || page.lost_until.is_none_or(|until| until > now));
            if !self.page_ids(session).is_empty() || !self.open_connections(session).is_empty() {
                self.sessions[session].waits.take_if(|(until, ..)| *until <= now);
                continue;
            }
            match self.sessions[session].waits.clone() {
                Some((until, ..)) if until > now => {}
                Some((until, reason, pages)) if latest.is_none_or(|latest| latest < until) => {
                    self.end(session, reason, &pages, now);
                }
                _ => self.end(session, EndReason::Lost, &before, now),
            }
        }
    }

    pub(super) fn terminate(&mut self, session: usize, reason: EndReason) {
        let code = match reason {
            EndReason::Terminated => 4001,
            EndReason::Replaced => 4002,
            EndReason::Idle => 4003,
            EndReason::TokenExpired => 4005,
            _ => unreachable!("the server ends no session from outside for {reason:?}"),
        };
        for connection in self.open_connections(session) {
            self.connections[connection].told.push(code);
        }
        self.end_as_it_stands(session, reason);
    }

    /// Answers whether there was such a page.
    pub(super) fn admin_closes_page(&mut self, session: usize, id: &str) -> bool {
        let Some(at) = self.pages.iter().position(|page| page.session == session && page.id == id) else {
            return false;
        };
        let before = self.page_ids(session);
        let removed = self.pages.remove(at);
        let idle: Vec<_> = removed
            .served_by
            .iter()
            .copied()
            .filter(|server| self.pages.iter().all(|page| !page.served_by.contains(server)))
            .collect::<HashSet<_>>()
            .into_iter()
            .collect();
        for connection in &idle {
            self.connections[*connection].told.push(4004);
        }
        let others = self.open_connections(session).iter().any(|connection| !idle.contains(connection));
        if !others && self.page_ids(session).is_empty() && self.sessions[session].waits.is_none() {
            self.end(session, EndReason::Terminated, &before, self.now);
        }
        true
    }

    pub(super) fn drain_waiting(&mut self) {
        for session in self.live().collect::<Vec<_>>() {
            if self.open_connections(session).is_empty() {
                self.end_as_it_stands(session, EndReason::Drained);
            }
        }
    }

    fn end_as_it_stands(&mut self, session: usize, reason: EndReason) {
        let waited_with = self.sessions[session].waits.clone().map(|(_, _, pages)| pages);
        let listed = self.page_ids(session);
        let pages = waited_with.filter(|_| listed.is_empty()).unwrap_or(listed);
        self.end(session, reason, &pages, self.now);
    }

    fn end(&mut self, session: usize, reason: EndReason, pages: &[&str], now: u64) {
        for connection in self.connections.iter_mut().filter(|connection| connection.session == session) {
            connection.open = false;
        }
        self.pages.retain(|page| page.session != session);
        let ending = &mut self.sessions[session];
        assert_eq!(ending.end, None, "the model itself ends a session once");
        ending.end = Some((
            ending.identity.id.to_string(),
            ending.began,
            now,
            format!("{reason:?}"),
            pages.iter().map(ToString::to_string).collect(),
            ending.messages.last().copied().unwrap_or(0),
            ending.messages.iter().sum(),
            ending.delivered,
        ));
    }

    /// The row that an administrator sees now.
    pub(super) fn row(&self, session: usize) -> SessionInfo {
        let ModelSession { identity, began, heard, messages, .. } = &self.sessions[session];
        let page_ids: Vec<Arc<str>> = self.page_ids(session).into_iter().map(Into::into).collect();
        SessionInfo {
            user_agent: identity.user_agent.clone(),
            id: identity.id.clone(),
            username: identity.username.clone(),
            project: identity.project.clone(),
            uptime: self.now - began,
            client_address: identity.client_address,
            last_comm: self.now - heard,
            session_scope: identity.scope,
            active_pages: page_ids.len(),
            recent_bytes_sent: messages.last().copied().unwrap_or(0),
            total_bytes_sent: messages.iter().sum(),
            page_ids,
            authorized: identity.authorized,
        }
    }
}

pub(super) fn same_owner(one: &Identity, other: &Identity) -> bool {
    (&one.username, one.authorized, &one.project) == (&other.username, other.authorized, &other.project)
}
