//! Who is let in, into which session, and who has to go for it.

use super::{Model, ModelConnection, ModelSession, same_owner};
use crate::session::{EndReason, Identity, JoinError, OneSessionPerUser, UNAUTHENTICATED};

impl Model {
    /// Answers the session, and whether the token brought it back.
    pub(in super::super) fn join(
        &mut self,
        who: &Identity,
        token_of: Option<usize>,
        (page, path): (&'static str, Option<&'static str>),
        speaks_headcount: bool,
    ) -> Result<(usize, bool), JoinError> {
        let nobodies = self.connections.iter().filter(|connection| {
            !connection.left && *self.sessions[connection.session].identity.username == *UNAUTHENTICATED
        });
        let nobodies = nobodies.count();
        if let Some(max) = self.rules.limits.max_unauthenticated.filter(|max| nobodies >= *max)
            && &*who.username == UNAUTHENTICATED
        {
            return Err(JoinError::Unauthenticated(max));
        }
        let resumed = token_of
            .filter(|session| self.is_live(*session) && same_owner(&self.sessions[*session].identity, who));
        let named = self.live().find(|session| self.sessions[*session].identity.id == who.id);
        let session = match (resumed, named) {
            (Some(session), _) => self.room_in(session, page)?,
            (None, Some(session)) => {
                let live = &self.sessions[session].identity;
                if !same_owner(live, who) || live.scope != who.scope {
                    return Err(JoinError::Taken);
                }
                self.room_in(session, page)?
            }
            (None, None) => self.begin(who)?,
        };
        let connection = self.connections.len();
        self.connections.push(ModelConnection {
            session,
            open: true,
            left: false,
            speaks_headcount,
            heard: self.now,
            pings: 0,
            told: Vec::new(),
        });
        self.sessions[session].waits = None;
        self.sessions[session].holds_token |= speaks_headcount;
        self.serve(connection, page, path);
        Ok((session, resumed.is_some()))
    }

    fn room_in(&self, session: usize, page: &str) -> Result<usize, JoinError> {
        match self.rules.limits.max_connections_per_session {
            Some(max) if self.open_connections(session).len() >= max => Err(JoinError::Connections(max)),
            _ => self.too_many_pages(session, page).map_or(Ok(session), |max| Err(JoinError::Pages(max))),
        }
    }

    /// The sessions of the same user that end when he begins one more.
    fn making_way(&self, who: &Identity) -> Result<Vec<usize>, JoinError> {
        let one_each = self.rules.one_session_per_user;
        if one_each == OneSessionPerUser::Off || &*who.username == UNAUTHENTICATED {
            return Ok(Vec::new());
        }
        let is_his = |session: &usize| self.sessions[*session].identity.username == who.username;
        let his: Vec<_> = self.live().filter(is_his).collect();
        let is_connected = |session: &usize| !self.open_connections(*session).is_empty();
        if one_each == OneSessionPerUser::Reject && his.iter().any(is_connected) {
            return Err(JoinError::User(1));
        }
        Ok(his)
    }

    fn begin(&mut self, who: &Identity) -> Result<usize, JoinError> {
        let making_way = self.making_way(who)?;
        let stay = self.live().filter(|session| !making_way.contains(session));
        let stay: Vec<_> = stay.map(|session| &self.sessions[session].identity).collect();
        let is_full = |limit: Option<usize>, counts: &dyn Fn(&Identity) -> bool| {
            limit.filter(|limit| stay.iter().filter(|other| counts(other)).count() >= *limit)
        };
        let limits = &self.rules.limits;
        if let Some(max) = is_full(limits.max_sessions, &|_| true) {
            return Err(JoinError::Full(max));
        }
        let same_address = |other: &Identity| other.client_address == who.client_address;
        if let Some(max) = is_full(limits.max_sessions_per_address, &same_address) {
            return Err(JoinError::Address(max));
        }
        let same_user = |other: &Identity| other.username == who.username;
        if &*who.username == UNAUTHENTICATED {
            if let Some(max) = is_full(limits.max_unauthenticated, &same_user) {
                return Err(JoinError::Unauthenticated(max));
            }
        } else if let Some(max) = is_full(limits.max_sessions_per_user, &same_user) {
            return Err(JoinError::User(max));
        }
        let same_project = |other: &Identity| other.project == who.project;
        if let Some(max) = is_full(limits.max_sessions_per_project, &same_project) {
            return Err(JoinError::Project(max));
        }
        for session in making_way {
            self.terminate(session, EndReason::Replaced);
        }
        self.sessions.push(ModelSession {
            identity: who.clone(),
            began: self.now,
            heard: self.now,
            acted: None,
            messages: Vec::new(),
            delivered: 0,
            holds_token: false,
            waits: None,
            end: None,
        });
        Ok(self.sessions.len() - 1)
    }
}
