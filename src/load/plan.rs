//! The schedule, made before anything is sent: from [`Options`] to what each session is and when it does what.

use std::{net::IpAddr, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

use super::options::Options;
use crate::session::SessionScope;

/// Everything a run will do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    /// Eight hex digits that are this run's alone.
    pub(crate) run_id: String,
    pub(crate) sessions: Vec<SessionPlan>,
}

/// What one session is, and when it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SessionPlan {
    /// Its place among the sessions, from 0.
    pub(crate) number: u32,
    /// When it connects, from the start of the run.
    pub(crate) connect_at: Duration,
    /// When its first message is due, from the start of the messages.
    pub(crate) phase: Duration,
    pub(crate) scope: SessionScope,
    pub(crate) user_agent: &'static str,
    pub(crate) username: Arc<str>,
    pub(crate) project: Arc<str>,
    pub(crate) source: Option<IpAddr>,
}

/// One message of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// When it is due, from the start of the run.
    pub(crate) at: Duration,
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
        let between = if options.rate > 0.0 { 1.0 / options.rate } else { 0.0 };
        let plans = (0..options.sessions).zip(scopes).zip(users).zip(projects);
        let sessions = plans
            .map(|(((number, scope), username), project)| SessionPlan {
                number,
                connect_at: Duration::from_secs_f64(f64::from(number) / options.connect_rate),
                phase: Duration::from_secs_f64(rng.random::<f64>() * between),
                scope,
                user_agent: user_agent(scope, rng.random_range(0..USER_AGENTS)),
                username,
                project,
                source: source(&options.source_addresses, number),
            })
            .collect();
        Self { options, run_id, sessions }
    }

    /// When the messages begin, from the start of the run: the connecting is over by then.
    pub(crate) fn messages_begin(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.options.sessions) / self.options.connect_rate)
    }

    /// When the messages end, from the start of the run.
    pub(crate) fn messages_end(&self) -> Duration {
        self.messages_begin() + self.options.duration
    }

    /// The page of a session: unique to the run, so that its row can be told from all others.
    pub(crate) fn page_id(&self, session: &SessionPlan) -> String {
        format!("{}{}", self.page_prefix(), session.number)
    }

    /// How the page ids of this run begin, and no others.
    pub(crate) fn page_prefix(&self) -> String {
        format!("load-{}-", self.run_id)
    }

    /// Where a session connects. A headcount server is told who it is; any other is taken as it is.
    pub(crate) fn url(&self, session: &SessionPlan) -> String {
        let target = &self.options.target;
        if !target.is_headcount {
            return target.url.clone();
        }
        let SessionPlan { username, project, scope, .. } = session;
        let page_id = self.page_id(session);
        // Of the others the server finds the scope by the User-Agent, as it would of real clients.
        let scope = if *scope == SessionScope::Designer { "&scope=designer" } else { "" };
        format!("ws://{}/ws/{project}?pageId={page_id}&username={username}{scope}", target.authority)
    }

    /// The messages of a session, in order.
    pub(crate) fn messages(&self, session: &SessionPlan) -> Messages {
        let Options { rate, bytes, seed, .. } = self.options;
        Messages {
            // A stream of its own, whatever the other sessions draw.
            rng: Xoshiro256PlusPlus::seed_from_u64(seed ^ ((u64::from(session.number) + 1) << 32)),
            first: self.messages_begin() + session.phase,
            rate,
            bytes: (bytes.min, bytes.max),
            next: 0,
            count: self.message_count(session),
        }
    }

    fn message_count(&self, session: &SessionPlan) -> u64 {
        let left = self.options.duration.saturating_sub(session.phase);
        (left.as_secs_f64() * self.options.rate).ceil() as u64
    }

    /// How many messages all sessions have together.
    pub(crate) fn planned_messages(&self) -> u64 {
        self.sessions.iter().map(|session| self.message_count(session)).sum()
    }

    /// How many queries there are alongside.
    pub(crate) fn planned_queries(&self) -> u64 {
        (self.options.duration.as_secs_f64() * self.options.query_rate).ceil() as u64
    }

    /// When a query is due, from the start of the run.
    pub(crate) fn query_at(&self, number: u64) -> Duration {
        self.messages_begin() + Duration::from_secs_f64(number as f64 / self.options.query_rate)
    }

    /// What payloads are cut from: any part of it is text, and none begins a control message.
    pub(crate) fn pool(&self) -> String {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.options.seed);
        (0..self.options.bytes.max + OFFSETS).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
    }
}

/// The messages of one session; see [`Plan::messages`].
#[derive(Debug)]
pub(crate) struct Messages {
    rng: Xoshiro256PlusPlus,
    first: Duration,
    rate: f64,
    bytes: (u32, u32),
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
        let bytes = self.rng.random_range(self.bytes.0..=self.bytes.1);
        Some(Planned { at, bytes, offset: self.rng.random_range(0..OFFSETS) })
    }
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
mod tests {
    use super::*;
    use crate::load::tests::options;

    fn plan(change: impl FnOnce(&mut Options)) -> Plan {
        let mut options = options();
        change(&mut options);
        Plan::new(options, "0badcafe".to_owned())
    }

    #[test]
    fn the_same_seed_is_the_same_schedule_and_another_is_another() {
        let (one, same, other) = (plan(|_| {}), plan(|_| {}), plan(|options| options.seed = 2));
        assert_eq!(one.sessions, same.sessions);
        assert_ne!(one.sessions, other.sessions);
        assert_eq!(one.pool(), same.pool());
        let messages = |plan: &Plan, n: usize| plan.messages(&plan.sessions[n]).collect::<Vec<_>>();
        assert_eq!(messages(&one, 3), messages(&same, 3));
        assert_ne!(
            messages(&one, 3).iter().map(|m| m.bytes).collect::<Vec<_>>(),
            messages(&one, 4).iter().map(|m| m.bytes).collect::<Vec<_>>(),
        );
    }

    #[test]
    fn connecting_comes_first_and_messages_fill_the_duration_evenly() {
        let plan = plan(|options| {
            options.sessions = 20;
            options.connect_rate = 10.0;
            options.rate = 4.0;
            options.duration = Duration::from_secs(5);
        });
        assert_eq!(plan.sessions[19].connect_at, Duration::from_millis(1900));
        assert_eq!(plan.messages_begin(), Duration::from_secs(2));
        assert_eq!(plan.planned_messages(), 20 * 4 * 5);
        for session in &plan.sessions {
            let messages: Vec<_> = plan.messages(session).collect();
            assert_eq!(messages.len(), 20);
            assert!(session.phase < Duration::from_millis(250));
            assert_eq!(messages[0].at, plan.messages_begin() + session.phase);
            assert!(messages[19].at < plan.messages_end());
            let gap = messages[1].at - messages[0].at;
            assert!(gap.abs_diff(Duration::from_millis(250)) < Duration::from_micros(1), "{gap:?}");
        }
    }

    #[test]
    fn a_rate_may_be_a_fraction_or_nothing() {
        let slow = plan(|options| {
            options.sessions = 1000;
            options.rate = 0.01;
            options.duration = Duration::from_secs(10);
        });
        let messages = slow.planned_messages();
        assert!((60..140).contains(&messages), "a tenth of the sessions sends one: {messages}");
        assert_eq!(messages, slow.sessions.iter().map(|s| slow.messages(s).count() as u64).sum::<u64>());
        assert_eq!(plan(|options| options.rate = 0.0).planned_messages(), 0);
    }

    #[test]
    fn sizes_and_payloads_stay_in_their_bounds() {
        let plan = plan(|options| options.bytes = "3-5".parse().unwrap());
        let pool = plan.pool();
        for planned in plan.sessions.iter().flat_map(|session| plan.messages(session)) {
            assert!((3..=5).contains(&planned.bytes));
            assert!(planned.range().end <= pool.len());
        }
        assert!(pool.is_ascii() && !pool.contains('{'));
    }

    #[test]
    fn users_projects_and_addresses_are_shared_out_evenly() {
        let plan = plan(|options| {
            options.sessions = 100;
            (options.users, options.projects) = (10, 4);
            options.source_addresses = vec![[127, 0, 0, 2].into(), [127, 0, 0, 3].into()];
        });
        let count = |fits: &dyn Fn(&SessionPlan) -> bool| plan.sessions.iter().filter(|s| fits(s)).count();
        assert_eq!(count(&|s| &*s.username == "user-0010"), 10);
        assert_eq!(count(&|s| &*s.project == "project-04"), 25);
        assert_eq!(count(&|s| s.scope == SessionScope::Designer), 5);
        assert_eq!(count(&|s| s.source == Some([127, 0, 0, 3].into())), 50);
    }

    #[test]
    fn a_headcount_server_is_told_who_comes_and_no_other_is() {
        let ours = plan(|options| options.scopes = "designer=1".parse().unwrap());
        let SessionPlan { project, username, .. } = &ours.sessions[7];
        assert_eq!(
            ours.url(&ours.sessions[7]),
            format!(
                "ws://127.0.0.1:8080/ws/{project}?pageId=load-0badcafe-7&username={username}&scope=designer"
            )
        );
        let other = plan(|options| options.target = "ws://127.0.0.1:9/chat?room=1".parse().unwrap());
        assert_eq!(other.url(&other.sessions[7]), "ws://127.0.0.1:9/chat?room=1");
    }

    #[test]
    fn the_server_derives_each_scope_from_the_user_agents() {
        for scope in [SessionScope::Browser, SessionScope::Ios, SessionScope::Android] {
            for which in 0..USER_AGENTS {
                assert_eq!(SessionScope::from_user_agent(user_agent(scope, which)), scope);
            }
        }
    }
}
