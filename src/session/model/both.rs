//! How what happens happens to both: to the registry and to the model.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    protocol::{Model, same_owner},
    steps::{Act, DESIGNERS, Joiner, PAGES, PROJECTS, Step, Token, USERS},
};
use crate::session::*;

/// The registry and the model, and who holds what.
pub(super) struct Both {
    pub(super) model: Model,
    pub(super) registry: Arc<Registry>,
    /// As the model numbers them.
    pub(super) sessions: Vec<Arc<Session>>,
    /// The connections, as the model numbers them, and what they were told.
    pub(super) ears: Vec<Arc<Ears>>,
    /// The connections that have not left, some of them of sessions that have ended.
    members: Vec<(usize, Membership)>,
    /// Those handed out, and whose they are.
    tokens: Vec<(usize, ResumeToken)>,
    /// The ring when it was last looked at.
    pub(super) ring: Vec<Arc<EndedSession>>,
}

impl Both {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            model: Model::new(rules),
            registry: Arc::new(Registry::new(rules)),
            sessions: Vec::new(),
            ears: Vec::new(),
            members: Vec::new(),
            tokens: Vec::new(),
            ring: Vec::new(),
        }
    }

    pub(super) fn happen(&mut self, step: &Step) {
        let now = self.model.now;
        match *step {
            Step::Join { ref who, token, page, path, speaks_headcount } => {
                let identity = self.identity(who);
                let _ = self.join_as(identity, token, (page, path), speaks_headcount);
            }
            Step::Of { member, act } => self.act(member, act),
            Step::Leave { member, how } => {
                let Some((connection, member)) = self.take_member(member) else { return };
                self.model.leave(connection, how, now);
                member.leave(how, now);
            }
            Step::Drop { member } => {
                let Some((connection, member)) = self.take_member(member) else { return };
                let session = self.model.connections[connection].session;
                // Nobody tells the time: what is kept is kept from the last frame on.
                let heard = self.model.sessions[session].heard;
                self.model.leave(connection, Leaving::Lost, heard);
                drop(member);
            }
            Step::Terminate { session, reason } => {
                let Some(session) = self.current(session) else { return };
                let is_live = self.model.is_live(session);
                if is_live {
                    self.model.terminate(session, reason);
                }
                let id = self.sessions[session].who().id();
                assert_eq!(self.registry.terminate(id, reason, "bye", now), is_live);
            }
            Step::AdminClosesPage { session, page } => {
                let Some(session) = self.current(session) else { return };
                let is_live = self.model.is_live(session);
                let found = is_live.then(|| self.model.admin_closes_page(session, page));
                assert_eq!(self.registry.close_page(&self.sessions[session], page, "bye", now), found);
            }
            Step::DrainWaiting => {
                self.model.drain_waiting();
                self.registry.drain_waiting(now);
            }
            Step::Expire { ms } => {
                self.model.now += ms;
                self.model.expire();
                self.registry.expire(self.model.now);
            }
            Step::Pass { ms } => self.model.now += ms,
        }
    }

    /// What an administrator means who names this session's id now.
    fn current(&self, n: usize) -> Option<usize> {
        let id = self.sessions.get(n % self.sessions.len().max(1))?.who().id();
        self.sessions.iter().rposition(|session| session.who().id() == id)
    }

    fn act(&mut self, n: usize, act: Act) {
        let now = self.model.now;
        let count = self.members.len().max(1);
        let Some(&mut (connection, ref mut member)) = self.members.get_mut(n % count) else { return };
        let session = self.model.connections[connection].session;
        match act {
            Act::OpenPage { page, path } => {
                let expected = self.model.open_page(connection, page, path);
                assert_eq!(member.open_page(&page.into(), path.map(Into::into), now), expected);
            }
            Act::ClosePage { page } => {
                let expected = self.model.close_page(connection, page);
                assert_eq!(member.close_page(page, now), expected);
            }
            Act::Navigate { page, path } => {
                let expected = self.model.navigate(connection, page, path);
                assert_eq!(member.navigate(page, path.map(Into::into)), expected);
            }
            Act::Message { bytes } => {
                self.model.sessions[session].messages.push(bytes as u64);
                self.sessions[session].message_came(bytes);
                self.hear(connection);
            }
            Act::Delivery { bytes } => {
                self.model.sessions[session].delivered += bytes as u64;
                self.sessions[session].messages_went(1, bytes as u64);
            }
            Act::Activity => {
                self.model.sessions[session].acted = Some(now);
                self.sessions[session].user_acted(now);
                self.hear(connection);
            }
        }
    }

    /// Something came over the connection.
    fn hear(&mut self, connection: usize) {
        let now = self.model.now;
        let session = self.model.connections[connection].session;
        self.model.connections[connection].heard = now;
        self.ears[connection].heard.store(now, Relaxed);
        self.model.sessions[session].heard = now;
        self.sessions[session].heard(now);
    }

    fn identity(&self, who: &Joiner) -> Identity {
        let own_id = || format!("u{}", self.ears.len()).into();
        match who {
            Joiner::OwnerOf(session) if !self.sessions.is_empty() => {
                let mut identity = self.model.sessions[session % self.sessions.len()].identity.clone();
                if identity.scope != SessionScope::Designer {
                    identity.id = own_id();
                }
                identity
            }
            Joiner::OwnerOf(_) => self.identity(&Joiner::Somebody {
                user: USERS[0],
                project: PROJECTS[0],
                scope: SessionScope::Browser,
                designer: DESIGNERS[0],
                authorized: false,
                address: 1,
            }),
            Joiner::Somebody { user, project, scope, designer, authorized, address } => Identity {
                id: if *scope == SessionScope::Designer { (*designer).into() } else { own_id() },
                username: (*user).into(),
                authorized: *authorized,
                project: (*project).into(),
                scope: *scope,
                client_address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, *address)),
                peer_address: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1)),
                user_agent: "model".into(),
            },
        }
    }

    /// The token, and the session that it is good for.
    fn token(&self, token: Token, identity: &Identity) -> Option<(Option<usize>, ResumeToken)> {
        let (session, token) = match token {
            Token::None => return None,
            Token::Handed(n) => self.tokens.get(n % self.tokens.len().max(1))?.clone(),
            Token::Own => self
                .tokens
                .iter()
                .rfind(|(session, _)| same_owner(&self.model.sessions[*session].identity, identity))?
                .clone(),
            Token::Forged(n) => {
                let session = self.sessions.get(n % self.sessions.len().max(1))?;
                let text = format!("{}.{n:032x}", session.who().id());
                return Some((None, ResumeToken::read(&text).unwrap()));
            }
        };
        Some((Some(session), token))
    }

    fn take_member(&mut self, n: usize) -> Option<(usize, Membership)> {
        (!self.members.is_empty()).then(|| self.members.swap_remove(n % self.members.len()))
    }

    fn join(&mut self, identity: Identity, token: Token, page: &'static str, path: Option<&'static str>) {
        self.join_as(identity, token, (page, path), true).unwrap();
    }

    fn join_as(
        &mut self,
        identity: Identity,
        token: Token,
        page: (&'static str, Option<&'static str>),
        speaks_headcount: bool,
    ) -> Result<(), JoinError> {
        let (token_of, resume) = self.token(token, &identity).unzip();
        let expected = self.model.join(&identity, token_of.flatten(), page, speaks_headcount);
        let ears = Arc::new(Ears { heard: self.model.now.into(), ..Ears::default() });
        let joining = Joining {
            identity,
            page_id: page.0.into(),
            page_path: page.1.map(Into::into),
            resume,
            expires_ms: None,
            speaks_headcount,
            outlet: ears.clone(),
        };
        let joined = self.registry.join(joining, self.model.now);
        let member = match (expected, joined) {
            (Err(expected), Err(found)) => {
                assert_eq!(expected, found);
                return Err(found);
            }
            (expected, Err(found)) => panic!("{found:?}, not {expected:?}"),
            (Err(expected), Ok(_)) => panic!("joined, although {expected:?}"),
            (Ok((session, resumed)), Ok(member)) => {
                assert_eq!(member.resumed(), resumed);
                if session == self.sessions.len() {
                    self.sessions.push(member.session().clone());
                }
                assert!(Arc::ptr_eq(&self.sessions[session], member.session()), "it is the very session");
                assert_eq!(member.token().is_some(), speaks_headcount);
                self.tokens.extend(member.token().map(|token| (session, token)));
                member
            }
        };
        self.members.push((self.ears.len(), member));
        self.ears.push(ears);
        Ok(())
    }

    /// Everybody leaves and nobody comes back; then every limit can be reached anew, and no more than that.
    pub(super) fn wind_up(mut self) {
        while let Some((connection, member)) = self.take_member(self.ring.len()) {
            self.model.leave(connection, Leaving::Lost, self.model.now);
            member.leave(Leaving::Lost, self.model.now);
            self.compare();
        }
        self.happen(&Step::Expire { ms: 1_000 });
        self.compare();
        assert!(self.registry.is_empty());
        let Limits {
            max_sessions,
            max_sessions_per_address,
            max_sessions_per_user,
            max_sessions_per_project,
            max_unauthenticated,
            ..
        } = self.model.rules.limits;
        for (user, address) in USERS.into_iter().flat_map(|user| [(user, 1), (user, 2)]) {
            let per_user = if user == UNAUTHENTICATED { max_unauthenticated } else { max_sessions_per_user };
            let is_one_each = self.model.rules.one_session_per_user != OneSessionPerUser::Off;
            let limits = [max_sessions, max_sessions_per_address, per_user, max_sessions_per_project];
            let Some(limit) = limits.into_iter().flatten().min() else { continue };
            // Who replaces himself reaches no limit.
            if is_one_each && user != UNAUTHENTICATED {
                continue;
            }
            let who = Joiner::Somebody {
                user,
                address,
                project: PROJECTS[0],
                scope: SessionScope::Browser,
                designer: DESIGNERS[0],
                authorized: false,
            };
            for _ in 0..limit {
                self.join(self.identity(&who), Token::None, PAGES[0], None);
            }
            self.join_as(self.identity(&who), Token::None, (PAGES[0], None), false).unwrap_err();
            for _ in 0..limit {
                self.happen(&Step::Leave { member: 0, how: Leaving::Closed { going_away: false } });
            }
            self.compare();
        }
    }
}

/// The way to a connection, which remembers the close codes it was told, how often it was asked for a sign of life, and
/// when it was heard.
#[derive(Debug, Default)]
pub(super) struct Ears {
    pub(super) told: Mutex<Vec<u16>>,
    pub(super) pings: AtomicUsize,
    heard: AtomicU64,
}

impl Outlet for Ears {
    fn tell(&self, order: Order) -> bool {
        if let Order::Close { code, .. } = order {
            self.told.lock().unwrap().push(code);
        }
        true
    }

    fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard.load(Relaxed))
    }

    fn ping(&self) {
        self.pings.fetch_add(1, Relaxed);
    }
}
