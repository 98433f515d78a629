//! The schedule, made before anything is sent: from [`Options`] to what each session is and when it does what.

use std::{net::IpAddr, sync::Arc, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

use super::{churn, options::Options};
use crate::session::SessionScope;

/// Everything a run will do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    /// Eight hex digits that are this run's alone.
    pub(crate) run_id: String,
    /// In the order in which they begin: first those that are there at the start, then the newcomers.
    pub(crate) sessions: Vec<SessionPlan>,
}

/// What one session is, and when it is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionPlan {
    /// Its place among the sessions, from 0.
    pub(crate) number: u32,
    /// One after the other; at least one.
    pub(crate) stays: Vec<Stay>,
    /// How many connections it has, each with a page of its own; at least one.
    pub(crate) tabs: u32,
    pub(crate) scope: SessionScope,
    pub(crate) user_agent: &'static str,
    pub(crate) username: Arc<str>,
    pub(crate) project: Arc<str>,
    pub(crate) source: Option<IpAddr>,
}

/// A time in which a session is there and sends, and how that ends. All times are from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stay {
    /// When it connects, or comes back.
    pub(crate) begins: Duration,
    /// When its first message is due.
    pub(crate) first: Duration,
    /// No message is due any more.
    pub(crate) ends: Duration,
    pub(crate) parting: Parting,
}

/// How a stay ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// Not before the run is over and the ledger made.
    Stand,
    /// With close frames, for good.
    Close,
    /// Without a close frame, for good.
    Vanish(Cut),
    /// Without a close frame, of one tab or of all (`None`), and the next stay begins with coming back.
    Drop(Cut, Option<u32>),
}

/// How a connection vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The stream ends (FIN), as when a program dies.
    End,
    /// The stream is reset (RST), as when a machine or a NAT forgot it.
    Reset,
    /// The client has gone on already when the server learns of it: the stream ends only when the session is
    /// back on another, as when a phone changes its network.
    Late,
}

/// One message of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// When it is due, from the start of the run.
    pub(crate) at: Duration,
    /// The connection that sends it.
    pub(crate) tab: u32,
    pub(crate) bytes: u32,
    /// Where in the [`pool`](Plan::pool) its payload begins.
    pub(crate) offset: u32,
}

/// How many different payloads of one length there are.
const OFFSETS: u32 = 4096;

impl Plan {
    pub(crate) fn new(options: Options, run_id: String) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(options.seed);
        let sessions = options.sessions as usize;
        let mut scopes: Vec<_> = SessionScope::ALL
            .into_iter()
            .zip(options.scopes.divide(options.sessions))
            .flat_map(|(scope, count)| std::iter::repeat_n(scope, count as usize))
            .collect();
        // Shuffled each for itself, so that every user has every scope and works in every project.
        scopes.shuffle(&mut rng);
        let users = shuffled_names("user-", 4, options.users, sessions, &mut rng);
        let projects = shuffled_names("project-", 2, options.projects, sessions, &mut rng);
        let plans = (0..options.sessions).zip(scopes).zip(users).zip(projects);
        let mut sessions: Vec<_> = plans
            .map(|(((number, scope), username), project)| SessionPlan {
                number,
                stays: vec![Stay {
                    begins: Duration::from_secs_f64(f64::from(number) / options.connect_rate),
                    first: options.messages_begin() + options.phase(&mut rng),
                    ends: options.messages_end(),
                    parting: Parting::Stand,
                }],
                tabs: if options.tabs > 1 { rng.random_range(1..=options.tabs) } else { 1 },
                scope,
                user_agent: user_agent(scope, rng.random_range(0..USER_AGENTS)),
                username,
                project,
                source: source(&options.source_addresses, number),
            })
            .collect();
        churn::add(&mut sessions, &options, &mut rng);
        Self { options, run_id, sessions }
    }

    /// The pages of a session, a tab each: unique to the run, so that its row can be told from all others.
    pub(crate) fn page_id(&self, session: &SessionPlan, tab: u32) -> String {
        let first = format!("{}{}", self.page_prefix(), session.number);
        if tab == 0 { first } else { format!("{first}-{tab}") }
    }

    /// How the page ids of this run begin, and no others.
    pub(crate) fn page_prefix(&self) -> String {
        format!("load-{}-", self.run_id)
    }

    /// Whether a session comes in the place of another.
    pub(crate) fn is_newcomer(&self, session: &SessionPlan) -> bool {
        session.number >= self.options.sessions
    }

    /// Whether the sessions offer the subprotocol, and so are told who they are.
    pub(crate) fn speaks_headcount(&self) -> bool {
        self.options.resume || self.options.tabs > 1
    }

    /// Where a session connects. A headcount server is told who it is; any other is taken as it is.
    pub(crate) fn url(&self, session: &SessionPlan, tab: u32, resume_token: Option<&str>) -> String {
        let target = &self.options.target;
        if !target.is_headcount {
            return target.url.clone();
        }
        let SessionPlan { username, project, scope, .. } = session;
        let page_id = self.page_id(session, tab);
        // Of the others the server finds the scope by the User-Agent, as it would of real clients.
        let scope = if *scope == SessionScope::Designer { "&scope=designer" } else { "" };
        let resuming = resume_token.map_or_else(String::new, |token| {
            format!("&resumeToken={}", utf8_percent_encode(token, NON_ALPHANUMERIC))
        });
        let scheme = if target.is_secure { "wss" } else { "ws" };
        format!(
            "{scheme}://{}/ws/{project}?pageId={page_id}&username={username}{scope}{resuming}",
            target.authority
        )
    }

    /// The messages of one stay of a session, in order.
    pub(crate) fn messages(&self, session: &SessionPlan, stay: usize) -> Messages {
        let Options { rate, bytes, .. } = self.options;
        let stay_plan = &session.stays[stay];
        Messages {
            rng: self.rng(session, stay as u64),
            first: stay_plan.first,
            rate,
            bytes: (bytes.min, bytes.max),
            tabs: session.tabs,
            next: 0,
            count: self.message_count(stay_plan),
        }
    }

    /// What a session of several tabs sends last of all, when everything else has been read: which of its
    /// messages was the most recent could not be said otherwise.
    pub(crate) fn last_message(&self, session: &SessionPlan, at: Duration) -> Option<Planned> {
        let bytes = self.options.bytes;
        // A stream of its own: no session has so many stays.
        let mut rng = self.rng(session, u64::from(u32::MAX));
        (session.tabs > 1).then(|| draw(&mut rng, at, (bytes.min, bytes.max), session.tabs))
    }

    /// A stream of its own for each stay, whatever the other sessions draw.
    fn rng(&self, session: &SessionPlan, stay: u64) -> Xoshiro256PlusPlus {
        let seed = self.options.seed ^ ((u64::from(session.number) + 1) << 32);
        Xoshiro256PlusPlus::seed_from_u64(seed ^ stay.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn message_count(&self, stay: &Stay) -> u64 {
        let left = stay.ends.saturating_sub(stay.first);
        (left.as_secs_f64() * self.options.rate).ceil() as u64
    }

    /// How many messages a session has from this stay on.
    pub(crate) fn messages_from(&self, session: &SessionPlan, stay: usize) -> u64 {
        session.stays[stay..].iter().map(|stay| self.message_count(stay)).sum()
    }

    /// How many messages all sessions have together.
    pub(crate) fn planned_messages(&self) -> u64 {
        let of = |session| self.messages_from(session, 0) + u64::from(session.tabs > 1);
        self.sessions.iter().map(of).sum()
    }

    /// How many queries there are alongside.
    pub(crate) fn planned_queries(&self) -> u64 {
        (self.options.duration.as_secs_f64() * self.options.query_rate).ceil() as u64
    }

    /// When a query is due, from the start of the run.
    pub(crate) fn query_at(&self, number: u64) -> Duration {
        self.options.messages_begin() + Duration::from_secs_f64(number as f64 / self.options.query_rate)
    }

    /// What payloads are cut from: any part of it is text, and none begins a control message.
    pub(crate) fn pool(&self) -> String {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.options.seed);
        (0..self.options.bytes.max + OFFSETS).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
    }
}

/// The messages of one stay; see [`Plan::messages`].
#[derive(Debug)]
pub(crate) struct Messages {
    rng: Xoshiro256PlusPlus,
    first: Duration,
    rate: f64,
    bytes: (u32, u32),
    tabs: u32,
    next: u64,
    count: u64,
}

impl Messages {
    /// How many there still are.
    pub(crate) fn left(&self) -> u64 {
        self.count - self.next
    }
}

impl Planned {
    /// Which part of the pool its payload is.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        let offset = self.offset as usize;
        offset..offset + self.bytes as usize
    }
}

impl Iterator for Messages {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.next == self.count {
            return None;
        }
        let at = self.first + Duration::from_secs_f64(self.next as f64 / self.rate);
        self.next += 1;
        Some(draw(&mut self.rng, at, self.bytes, self.tabs))
    }
}

fn draw(rng: &mut Xoshiro256PlusPlus, at: Duration, bytes: (u32, u32), tabs: u32) -> Planned {
    let bytes = rng.random_range(bytes.0..=bytes.1);
    let offset = rng.random_range(0..OFFSETS);
    let tab = if tabs > 1 { rng.random_range(0..tabs) } else { 0 };
    Planned { at, tab, bytes, offset }
}

/// As many names as there are sessions, of `count` different, each as often as any other, in random order.
fn shuffled_names(
    prefix: &str,
    width: usize,
    count: u32,
    sessions: usize,
    rng: &mut Xoshiro256PlusPlus,
) -> Vec<Arc<str>> {
    let names: Vec<Arc<str>> = (1..=count).map(|n| format!("{prefix}{n:0width$}").into()).collect();
    let mut all: Vec<_> = names.iter().cycle().take(sessions).cloned().collect();
    all.shuffle(rng);
    all
}

fn source(addresses: &[IpAddr], number: u32) -> Option<IpAddr> {
    addresses.get(number as usize % addresses.len().max(1)).copied()
}

/// How many programs of each scope [`user_agent`] knows.
const USER_AGENTS: usize = 3;

/// What real programs of a scope call themselves.
fn user_agent(scope: SessionScope, which: usize) -> &'static str {
    let known = match scope {
        SessionScope::Browser => [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ],
        SessionScope::Ios => [
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
            "Perspective/1.0 CFNetwork/3826.500.131 Darwin/24.5.0",
        ],
        SessionScope::Android => [
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 14; SM-X210; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/137.0.7151.115 Safari/537.36",
            "okhttp/4.12.0",
        ],
        SessionScope::Designer => {
            ["Java-http-client/17.0.15", "Apache-HttpClient/4.5.14 (Java/17.0.15)", "Jetty/10.0.25"]
        }
    };
    known[which]
}

#[cfg(test)]
mod tests;
