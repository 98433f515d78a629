//! What may happen, and under which rules.

use proptest::{prelude::*, sample::select};

use crate::session::{
    EndReason, Leaving, Limits, OneSessionPerUser, Rules, SessionScope, UNAUTHENTICATED, Windows,
};

/// Few enough of everything that the same ones meet again and again.
pub(super) const USERS: [&str; 3] = ["ann", "bob", UNAUTHENTICATED];
pub(super) const PROJECTS: [&str; 2] = ["plant", "office"];
pub(super) const PAGES: [&str; 4] = ["p1", "p2", "p3", "p4"];
const PATHS: [Option<&str>; 3] = [None, Some("/alarms"), Some("/trends")];
pub(super) const DESIGNERS: [&str; 2] = ["d1", "d2"];

/// Something that happens. Numbers pick among what there is at that moment, modulo its count.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Join {
        who: Joiner,
        token: Token,
        page: &'static str,
        path: Option<&'static str>,
        speaks_headcount: bool,
    },
    /// A member does something, and stays.
    Of {
        member: usize,
        act: Act,
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

#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    OpenPage { page: &'static str, path: Option<&'static str> },
    ClosePage { page: &'static str },
    Navigate { page: &'static str, path: Option<&'static str> },
    Message { bytes: usize },
    Delivery { bytes: usize },
    Activity,
}

#[derive(Clone, Debug)]
pub(super) enum Joiner {
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
pub(super) enum Token {
    None,
    /// One that was handed out, whoever it was for.
    Handed(usize),
    /// The newest of whoever is joining, if there is one.
    Own,
    /// The id of a session that is live or was, and a secret out of thin air.
    Forged(usize),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let page = || select(&PAGES[..]);
    let path = || select(&PATHS[..]);
    let reasons = vec![EndReason::Terminated, EndReason::Replaced, EndReason::Idle, EndReason::TokenExpired];
    let step = prop_oneof![
        12 => (who(), token(), page(), path(), any::<bool>()).prop_map(
            |(who, token, page, path, speaks_headcount)| Step::Join { who, token, page, path, speaks_headcount },
        ),
        3 => (0..16usize, page(), path())
            .prop_map(|(member, page, path)| Step::Of { member, act: Act::OpenPage { page, path } }),
        3 => (0..16usize, page()).prop_map(|(member, page)| Step::Of { member, act: Act::ClosePage { page } }),
        1 => (0..16usize, page(), path())
            .prop_map(|(member, page, path)| Step::Of { member, act: Act::Navigate { page, path } }),
        2 => (0..16usize, 0..9usize)
            .prop_map(|(member, bytes)| Step::Of { member, act: Act::Message { bytes } }),
        1 => (0..16usize, 0..9usize)
            .prop_map(|(member, bytes)| Step::Of { member, act: Act::Delivery { bytes } }),
        1 => (0..16usize).prop_map(|member| Step::Of { member, act: Act::Activity }),
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

fn who() -> impl Strategy<Value = Joiner> {
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
            Joiner::Somebody { user, project, scope, designer, authorized, address }
        }),
        3 => (0..32usize).prop_map(Joiner::OwnerOf),
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
    let reasons = vec![EndReason::Protocol, EndReason::TooBig, EndReason::SlowConsumer, EndReason::Drained];
    prop_oneof![
        2 => Just(Leaving::Closed { going_away: false }),
        2 => Just(Leaving::Closed { going_away: true }),
        3 => Just(Leaving::Lost),
        1 => select(reasons).prop_map(Leaving::Ended),
    ]
}

pub(super) fn rules() -> impl Strategy<Value = Rules> {
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
