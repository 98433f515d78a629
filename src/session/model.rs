//! The life of sessions against a plain model: PROTOCOL 2.4 and 2.5 written once more, with lists that are searched
//! from end to end and no thought of speed. Whatever order things happen in, the two must agree after each of them.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use proptest::{prelude::*, sample::select};

use super::{tests::listed, *};

/// Few enough of everything that the same ones meet again and again.
const USERS: [&str; 3] = ["ann", "bob", UNAUTHENTICATED];
const PROJECTS: [&str; 2] = ["plant", "office"];
const PAGES: [&str; 4] = ["p1", "p2", "p3", "p4"];
const PATHS: [Option<&str>; 3] = [None, Some("/alarms"), Some("/trends")];
const DESIGNERS: [&str; 2] = ["d1", "d2"];

/// The way to a connection, which remembers the close codes it was told, how often it was asked for a sign of life, and
/// when it was heard.
#[derive(Debug, Default)]
struct Ears {
    told: Mutex<Vec<u16>>,
    pings: AtomicUsize,
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

/// Something that happens. Numbers pick among what there is at that moment, modulo its count.
#[derive(Clone, Debug)]
enum Step {
    Join {
        who: Who,
        token: Token,
        page: &'static str,
        path: Option<&'static str>,
        speaks_headcount: bool,
    },
    OpenPage {
        member: usize,
        page: &'static str,
        path: Option<&'static str>,
    },
    ClosePage {
        member: usize,
        page: &'static str,
    },
    Navigate {
        member: usize,
        page: &'static str,
        path: Option<&'static str>,
    },
    Message {
        member: usize,
        bytes: usize,
    },
    Delivery {
        member: usize,
        bytes: usize,
    },
    Activity {
        member: usize,
    },
    Leave {
        member: usize,
        how: Leaving,
    },
    Drop {
        member: usize,
    },
    Terminate {
        session: usize,
        reason: EndReason,
    },
    AdminClosesPage {
        session: usize,
        page: &'static str,
    },
    DrainWaiting,
    /// Time passes, and what is due is given up.
    Expire {
        ms: u64,
    },
    /// Time passes, and nobody has looked yet.
    Pass {
        ms: u64,
    },
}

#[derive(Clone, Debug)]
enum Who {
    Somebody {
        user: &'static str,
        project: &'static str,
        scope: SessionScope,
        designer: &'static str,
        authorized: bool,
        address: u8,
    },
    /// The owner of a session that is live or was.
    OwnerOf(usize),
}

#[derive(Clone, Copy, Debug)]
enum Token {
    None,
    /// One that was handed out, whoever it was for.
    Handed(usize),
    /// The newest of whoever is joining, if there is one.
    Own,
    /// The id of a session that is live or was, and a secret out of thin air.
    Forged(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let page = || select(&PAGES[..]);
    let path = || select(&PATHS[..]);
    let reasons = vec![EndReason::Terminated, EndReason::Replaced, EndReason::Idle, EndReason::TokenExpired];
    let step = prop_oneof![
        12 => (who(), token(), page(), path(), any::<bool>()).prop_map(
            |(who, token, page, path, speaks_headcount)| Step::Join { who, token, page, path, speaks_headcount },
        ),
        3 => (0..16usize, page(), path()).prop_map(|(member, page, path)| Step::OpenPage { member, page, path }),
        3 => (0..16usize, page()).prop_map(|(member, page)| Step::ClosePage { member, page }),
        1 => (0..16usize, page(), path()).prop_map(|(member, page, path)| Step::Navigate { member, page, path }),
        2 => (0..16usize, 0..9usize).prop_map(|(member, bytes)| Step::Message { member, bytes }),
        1 => (0..16usize, 0..9usize).prop_map(|(member, bytes)| Step::Delivery { member, bytes }),
        1 => (0..16usize).prop_map(|member| Step::Activity { member }),
        8 => (0..16usize, leaving()).prop_map(|(member, how)| Step::Leave { member, how }),
        1 => (0..16usize).prop_map(|member| Step::Drop { member }),
        2 => (0..32usize, select(reasons))
            .prop_map(|(session, reason)| Step::Terminate { session, reason }),
        2 => (0..32usize, page()).prop_map(|(session, page)| Step::AdminClosesPage { session, page }),
        1 => Just(Step::DrainWaiting),
        4 => (0..14u64).prop_map(|ms| Step::Expire { ms }),
        1 => (0..14u64).prop_map(|ms| Step::Pass { ms }),
    ];
    prop::collection::vec(step, 1..80)
}

fn who() -> impl Strategy<Value = Who> {
    let somebody = (
        select(&USERS[..]),
        select(&PROJECTS[..]),
        select(&SessionScope::ALL[..]),
        select(&DESIGNERS[..]),
        prop::bool::weighted(0.1),
        1..3u8,
    );
    prop_oneof![
        2 => somebody.prop_map(|(user, project, scope, designer, authorized, address)| {
            Who::Somebody { user, project, scope, designer, authorized, address }
        }),
        3 => (0..32usize).prop_map(Who::OwnerOf),
    ]
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        3 => Just(Token::None),
        4 => Just(Token::Own),
        1 => (0..32usize).prop_map(Token::Handed),
        1 => (0..32usize).prop_map(Token::Forged),
    ]
}

fn leaving() -> impl Strategy<Value = Leaving> {
    let reasons =
        vec![EndReason::Protocol, EndReason::TooBig, EndReason::SlowConsumer, EndReason::RateLimited];
    prop_oneof![
        2 => Just(Leaving::Closed { going_away: false }),
        2 => Just(Leaving::Closed { going_away: true }),
        3 => Just(Leaving::Lost),
        1 => select(reasons).prop_map(Leaving::Ended),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let limit = || prop::option::weighted(0.4, 2..5usize);
    let of_sessions = (limit(), limit(), limit(), limit(), limit()).prop_map(
        |(sessions, per_address, per_user, per_project, unauthenticated)| Limits {
            max_sessions: sessions,
            max_sessions_per_address: per_address,
            max_sessions_per_user: per_user,
            max_sessions_per_project: per_project,
            max_unauthenticated: unauthenticated,
            ..Limits::default()
        },
    );
    let limits = (of_sessions, limit(), limit()).prop_map(|(of_sessions, connections, pages)| Limits {
        max_connections_per_session: connections,
        max_pages_per_session: pages,
        ..of_sessions
    });
    let one_each = prop_oneof![
        3 => Just(OneSessionPerUser::Off),
        1 => Just(OneSessionPerUser::Reject),
        1 => Just(OneSessionPerUser::Replace),
    ];
    let window = |ms| prop_oneof![4 => Just(ms), 1 => Just(0u64)];
    let windows = (window(10), window(30), window(4), window(3)).prop_map(
        |(resume_ms, resume_mobile_ms, reload_ms, answer_ms)| Windows {
            resume_ms,
            resume_mobile_ms,
            reload_ms,
            answer_ms,
        },
    );
    (limits, windows, one_each).prop_map(|(limits, windows, one_session_per_user)| Rules {
        limits,
        windows,
        one_session_per_user,
        ..Rules::default()
    })
}

/// What the protocol says, and nothing else. Sessions, connections and members are numbered as they came.
struct Model {
    rules: Rules,
    now: u64,
    sessions: Vec<ModelSession>,
    connections: Vec<ModelConnection>,
    /// The open ones of all sessions, in the order opened.
    pages: Vec<ModelPage>,
}

struct ModelSession {
    identity: Identity,
    began: u64,
    heard: u64,
    acted: Option<u64>,
    messages: Vec<u64>,
    delivered: u64,
    holds_token: bool,
    /// Without a page and a connection, until then, for this reason, with the last pages.
    waits: Option<(u64, EndReason, Vec<&'static str>)>,
    end: Option<Remembered>,
}

/// Id, begin, end, reason, last pages, recent bytes, total bytes, received bytes.
type Remembered = (String, u64, u64, String, Vec<String>, u64, u64, u64);

struct ModelConnection {
    session: usize,
    open: bool,
    /// It has left, as it does some time after it has been told to.
    left: bool,
    speaks_headcount: bool,
    heard: u64,
    pings: usize,
    told: Vec<u16>,
}

struct ModelPage {
    session: usize,
    id: &'static str,
    path: Option<&'static str>,
    opened: u64,
    served_by: Vec<usize>,
    /// Since when the last of those serves it.
    shared: u64,
    lost_until: Option<u64>,
}

fn same_owner(one: &Identity, other: &Identity) -> bool {
    (&one.username, one.authorized, &one.project) == (&other.username, other.authorized, &other.project)
}

impl Model {
    fn live(&self) -> impl Iterator<Item = usize> {
        (0..self.sessions.len()).filter(|session| self.is_live(*session))
    }

    fn is_live(&self, session: usize) -> bool {
        self.sessions[session].end.is_none()
    }

    fn open_connections(&self, session: usize) -> Vec<usize> {
        let all = 0..self.connections.len();
        all.filter(|n| self.connections[*n].session == session && self.connections[*n].open).collect()
    }

    fn pages_of(&self, session: usize) -> Vec<&ModelPage> {
        self.pages.iter().filter(|page| page.session == session).collect()
    }

    fn page_ids(&self, session: usize) -> Vec<&'static str> {
        self.pages_of(session).iter().map(|page| page.id).collect()
    }

    fn too_many_pages(&self, session: usize, page: &str) -> Option<usize> {
        let ids = self.page_ids(session);
        self.rules.limits.max_pages_per_session.filter(|max| !ids.contains(&page) && ids.len() >= *max)
    }

    /// Answers the session, and whether the token brought it back.
    fn join(
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

    fn serve(&mut self, connection: usize, id: &'static str, path: Option<&'static str>) {
        let session = self.connections[connection].session;
        match self.pages.iter_mut().find(|page| page.session == session && page.id == id) {
            Some(page) => {
                for other in page.served_by.iter().filter(|other| **other != connection) {
                    self.connections[*other].pings += 1;
                }
                if !page.served_by.contains(&connection) {
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

    fn open_page(
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

    fn close_page(&mut self, connection: usize, id: &str) -> Result<(), PageError> {
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

    fn navigate(&mut self, connection: usize, id: &str, path: Option<&'static str>) -> Result<(), PageError> {
        let session = self.connections[connection].session;
        let page = self.pages.iter_mut().find(|page| page.session == session && page.id == id);
        page.ok_or(PageError::Unknown)?.path = path;
        Ok(())
    }

    fn leave(&mut self, connection: usize, how: Leaving, now: u64) {
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
        if lost_pages {
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
    fn expire(&mut self) {
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

    fn terminate(&mut self, session: usize, reason: EndReason) {
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
    fn admin_closes_page(&mut self, session: usize, id: &str) -> bool {
        let Some(at) = self.pages.iter().position(|page| page.session == session && page.id == id) else {
            return false;
        };
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
            self.end(session, EndReason::Terminated, &[], self.now);
        }
        true
    }

    fn drain_waiting(&mut self) {
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
    fn row(&self, session: usize) -> SessionInfo {
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

/// The registry and the model, and who holds what.
struct Both {
    model: Model,
    registry: Arc<Registry>,
    /// As the model numbers them.
    sessions: Vec<Arc<Session>>,
    /// The connections, as the model numbers them, and what they were told.
    ears: Vec<Arc<Ears>>,
    /// The connections that have not left, some of them of sessions that have ended.
    members: Vec<(usize, Membership)>,
    /// Those handed out, and whose they are.
    tokens: Vec<(usize, ResumeToken)>,
    /// The ring when it was last looked at.
    ring: Vec<Arc<EndedSession>>,
}

impl Both {
    fn new(rules: Rules) -> Self {
        Self {
            model: Model {
                rules,
                now: 1_000,
                sessions: Vec::new(),
                connections: Vec::new(),
                pages: Vec::new(),
            },
            registry: Arc::new(Registry::new(rules)),
            sessions: Vec::new(),
            ears: Vec::new(),
            members: Vec::new(),
            tokens: Vec::new(),
            ring: Vec::new(),
        }
    }

    fn identity(&self, who: &Who) -> Identity {
        let own_id = || format!("u{}", self.ears.len()).into();
        match who {
            Who::OwnerOf(session) if !self.sessions.is_empty() => {
                let mut identity = self.model.sessions[session % self.sessions.len()].identity.clone();
                if identity.scope != SessionScope::Designer {
                    identity.id = own_id();
                }
                identity
            }
            Who::OwnerOf(_) => self.identity(&Who::Somebody {
                user: USERS[0],
                project: PROJECTS[0],
                scope: SessionScope::Browser,
                designer: DESIGNERS[0],
                authorized: false,
                address: 1,
            }),
            Who::Somebody { user, project, scope, designer, authorized, address } => Identity {
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

    /// A member, and the number of its connection.
    fn member(&mut self, n: usize) -> Option<&mut (usize, Membership)> {
        let count = self.members.len().max(1);
        self.members.get_mut(n % count)
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

    fn happen(&mut self, step: &Step) {
        let now = self.model.now;
        match *step {
            Step::Join { ref who, token, page, path, speaks_headcount } => {
                let identity = self.identity(who);
                let _ = self.join_as(identity, token, (page, path), speaks_headcount);
            }
            Step::OpenPage { .. } | Step::ClosePage { .. } | Step::Navigate { .. } => self.page_step(step),
            Step::Message { .. } | Step::Delivery { .. } | Step::Activity { .. } => self.traffic_step(step),
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

    fn page_step(&mut self, step: &Step) {
        let (Step::OpenPage { member: n, .. }
        | Step::ClosePage { member: n, .. }
        | Step::Navigate { member: n, .. }) = *step
        else {
            unreachable!()
        };
        let now = self.model.now;
        let Some(&mut (connection, _)) = self.member(n) else { return };
        let expected = match *step {
            Step::OpenPage { page, path, .. } => self.model.open_page(connection, page, path),
            Step::ClosePage { page, .. } => self.model.close_page(connection, page),
            Step::Navigate { page, path, .. } => self.model.navigate(connection, page, path),
            _ => unreachable!(),
        };
        let Some((_, member)) = self.member(n) else { return };
        let found = match *step {
            Step::OpenPage { page, path, .. } => member.open_page(&page.into(), path.map(Into::into), now),
            Step::ClosePage { page, .. } => member.close_page(page, now),
            Step::Navigate { page, path, .. } => member.navigate(page, path.map(Into::into)),
            _ => unreachable!(),
        };
        assert_eq!(found, expected);
    }

    fn traffic_step(&mut self, step: &Step) {
        let (Step::Message { member: n, .. }
        | Step::Delivery { member: n, .. }
        | Step::Activity { member: n }) = *step
        else {
            unreachable!()
        };
        let now = self.model.now;
        let Some(&mut (connection, _)) = self.member(n) else { return };
        let at = self.model.connections[connection].session;
        if !matches!(step, Step::Delivery { .. }) {
            self.model.connections[connection].heard = now;
            self.ears[connection].heard.store(now, Relaxed);
        }
        let (expected, session) = (&mut self.model.sessions[at], &self.sessions[at]);
        match *step {
            Step::Message { bytes, .. } => {
                expected.messages.push(bytes as u64);
                session.message_came(bytes);
            }
            Step::Delivery { bytes, .. } => {
                expected.delivered += bytes as u64;
                return session.message_went(bytes);
            }
            _ => {
                expected.acted = Some(now);
                session.user_acted(now);
            }
        }
        expected.heard = now;
        session.heard(now);
    }

    fn compare(&mut self) {
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
            let sums = (ended.recent_bytes_sent, ended.total_bytes_sent, ended.bytes_received);
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

    /// Everybody leaves and nobody comes back; then every limit can be reached anew, and no more than that.
    fn wind_up(mut self) {
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
            let who = Who::Somebody {
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

fn sorted(rows: impl Iterator<Item = SessionInfo>) -> Vec<SessionInfo> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    rows
}

proptest! {
    #[test]
    fn the_registry_agrees_with_the_model_after_every_step(rules in rules(), steps in steps()) {
        let mut both = Both::new(rules);
        for step in &steps {
            both.happen(step);
            both.compare();
        }
        both.wind_up();
    }
}
