use std::{cmp::Reverse, collections::HashMap};

use compact_str::CompactString;

use super::{Counts, EndReason, EndedSession, SessionScope, UNAUTHENTICATED, rows::Row};

/// How many sessions there are and were, and what was counted of all of them.
///
/// It is added up block by block of 256 sessions, each as it is at one moment, and what a block holds of the past is
/// stored together with who is in it. So at any time, and while sessions come and go, exactly as many have
/// [begun](Self::begun) as are [live](Self::live) or [have ended](Self::ended), and neither what has begun and ended nor
/// the traffic is ever less than it was before.
#[derive(Clone, Debug, Default)]
pub struct Census {
    project: Option<CompactString>,
    gone: EndedTotals,
    states: [[u64; State::ALL.len()]; SessionScope::ALL.len()],
    authorized: u64,
    unauthenticated: u64,
    traffic: Traffic,
    names: Option<(Names, Names)>,
}

/// Who is counted, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CensusOf<'a> {
    /// Everybody, and nobody's name is looked at.
    Everybody,
    /// Everybody, by project and user too.
    EverybodyByName,
    /// The live sessions of this project alone, by user too; nothing is known of its past.
    Project(&'a str),
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The session has a connection.
    Connected,
    /// It waits for its client to come back.
    Lingering,
}

impl State {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Connected, Self::Lingering];

    /// The state as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Lingering => "lingering",
        }
    }
}

/// Whole messages and their payload bytes, as rows show them: sent by clients, and received by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that came from clients.
    pub messages_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Messages that were delivered to clients.
    pub messages_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
}

impl Traffic {
    fn add(&mut self, (counts, delivered): (Counts, u64)) {
        self.messages_sent += counts.messages_sent;
        self.bytes_sent += counts.total_bytes_sent;
        self.messages_received += delivered;
        self.bytes_received += counts.bytes_received;
    }
}

/// What is left of the sessions that were in the places of a block.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedTotals {
    /// How many have been listed here, those that still are among them.
    pub(super) begun: u64,
    /// By reason, in the order of [`EndReason::ALL`].
    ended: [u64; EndReason::ALL.len()],
    /// What they were counted with to the end. What a connection counts after the end of its session is nobody's.
    traffic: Traffic,
}

impl EndedTotals {
    /// One has ended.
    pub(super) fn add(&mut self, ended: &EndedSession) {
        self.ended[ended.reason as usize] += 1;
        self.traffic.add((ended.counts, ended.messages_received));
    }
}

/// How many sessions each name has.
#[derive(Clone, Debug, Default)]
pub struct Names(HashMap<CompactString, u64>);

impl Names {
    fn add(&mut self, name: &str) {
        match self.0.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(name.into(), 1);
            }
        }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those with the most sessions, at most so many of them, the first in the alphabet first where they have as many.
    pub fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut names: Vec<_> = self.0.iter().map(|(name, count)| (Reverse(*count), &**name)).collect();
        if names.len() > most {
            names.select_nth_unstable(most);
            names.truncate(most);
        }
        names.sort_unstable();
        names.into_iter().map(|(Reverse(count), name)| (name, count)).collect()
    }

    /// The sessions of all of them.
    pub fn sessions(&self) -> u64 {
        self.0.values().sum()
    }
}

impl Census {
    pub(super) fn new(of: CensusOf<'_>) -> Self {
        let names = (of != CensusOf::Everybody).then(Default::default);
        let project = match of {
            CensusOf::Project(project) => Some(project.into()),
            CensusOf::Everybody | CensusOf::EverybodyByName => None,
        };
        Self { project, names, ..Self::default() }
    }

    pub(super) fn add_gone(&mut self, gone: &EndedTotals) {
        if self.project.is_some() {
            return;
        }
        self.gone.begun += gone.begun;
        for (all, of_block) in self.gone.ended.iter_mut().zip(gone.ended) {
            *all += of_block;
        }
        let (all, of_block) = (&mut self.traffic, &gone.traffic);
        all.messages_sent += of_block.messages_sent;
        all.bytes_sent += of_block.bytes_sent;
        all.messages_received += of_block.messages_received;
        all.bytes_received += of_block.bytes_received;
    }

    pub(super) fn add_live(&mut self, row: &Row, is_authorized: bool, totals: (Counts, u64)) {
        let who = &row.who;
        if self.project.as_deref().is_some_and(|project| project != who.project()) {
            return;
        }
        let state = if row.is_connected { State::Connected } else { State::Lingering };
        self.states[who.scope().index()][state as usize] += 1;
        self.authorized += u64::from(is_authorized);
        self.traffic.add(totals);
        let is_nobody = who.username() == UNAUTHENTICATED;
        self.unauthenticated += u64::from(is_nobody);
        if let Some((users, projects)) = &mut self.names {
            if !is_nobody {
                users.add(who.username());
            }
            projects.add(who.project());
        }
    }

    /// Sessions that have begun.
    pub fn begun(&self) -> u64 {
        self.gone.begun
    }

    /// Sessions that have ended for this reason.
    pub fn ended_by(&self, reason: EndReason) -> u64 {
        self.gone.ended[reason as usize]
    }

    /// Sessions that have ended.
    pub fn ended(&self) -> u64 {
        self.gone.ended.iter().sum()
    }

    /// Live sessions of this scope in this state.
    pub fn live_in(&self, scope: SessionScope, state: State) -> u64 {
        self.states[scope.index()][state as usize]
    }

    /// Live sessions in this state.
    pub fn in_state(&self, state: State) -> u64 {
        SessionScope::ALL.into_iter().map(|scope| self.live_in(scope, state)).sum()
    }

    /// Live sessions.
    pub fn live(&self) -> u64 {
        State::ALL.into_iter().map(|state| self.in_state(state)).sum()
    }

    /// Live sessions whose user name is verified at this moment.
    pub fn authorized(&self) -> u64 {
        self.authorized
    }

    /// Live sessions without a user name.
    pub fn unauthenticated(&self) -> u64 {
        self.unauthenticated
    }

    /// Of all sessions, those that have ended among them; of a project, of its live ones.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Live sessions by user name, if they were asked for. Those without one are not among them.
    pub fn users(&self) -> Option<&Names> {
        self.names.as_ref().map(|(users, _)| users)
    }

    /// Live sessions by project, likewise.
    pub fn projects(&self) -> Option<&Names> {
        self.names.as_ref().map(|(_, projects)| projects)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::*;
    use crate::session::{
        Identity, Joining, Leaving, Registry, Rules, Windows,
        rows::BLOCK,
        tests::{close, joining},
    };

    fn registry() -> Arc<Registry> {
        let windows = Windows { resume_ms: 10, ..Windows::default() };
        Arc::new(Registry::new(Rules { windows, ..Rules::default() }))
    }

    fn on_a_phone(id: &str, project: &str) -> Joining {
        let joining = joining(id, UNAUTHENTICATED, project);
        Joining { identity: Identity { scope: SessionScope::Ios, ..joining.identity }, ..joining }
    }

    #[test]
    fn everybody_is_counted_by_scope_state_and_name() {
        let registry = registry();
        let mut members: Vec<_> = [("1", "ann", "p"), ("2", "ann", "q"), ("3", "bob", "q")]
            .map(|(id, user, project)| registry.join(joining(id, user, project), 0).unwrap())
            .into();
        members.push(registry.join(on_a_phone("4", "q"), 0).unwrap());
        members[0].session().message_came(5);
        members[1].session().messages_went(1, 7);
        members.pop().unwrap().leave(Leaving::Lost, 0);
        let census = registry.census(CensusOf::EverybodyByName, 1);
        assert_eq!(census.live_in(SessionScope::Designer, State::Connected), 3);
        assert_eq!(census.live_in(SessionScope::Ios, State::Lingering), 1);
        assert_eq!((census.live(), census.in_state(State::Connected)), (4, 3));
        assert_eq!((census.begun(), census.ended(), census.authorized()), (4, 0, 0));
        assert_eq!(census.users().unwrap().top(9), [("ann", 2), ("bob", 1)]);
        assert_eq!(census.projects().unwrap().top(1), [("q", 3)]);
        assert_eq!(census.projects().unwrap().sessions(), 4);
        assert_eq!(census.unauthenticated(), 1);
        let traffic = Traffic { messages_sent: 1, bytes_sent: 5, messages_received: 1, bytes_received: 7 };
        assert_eq!(census.traffic(), traffic);
        // What was lost is there again, and what has ended stays counted.
        members.push(registry.join(on_a_phone("4", "q"), 1).unwrap());
        close(members.remove(0));
        let census = registry.census(CensusOf::Everybody, 1);
        assert_eq!(census.live_in(SessionScope::Ios, State::Connected), 1);
        assert_eq!((census.live(), census.ended(), census.ended_by(EndReason::Closed)), (3, 1, 1));
        assert_eq!((census.traffic(), census.users().is_none()), (traffic, true));
        assert_eq!(registry.peak(), 4);
    }

    #[test]
    fn of_a_project_its_live_sessions_alone_are_counted() {
        let registry = registry();
        let members = [("1", "ann", "p"), ("2", "bob", "q"), ("3", "zoe", "p")]
            .map(|(id, user, project)| registry.join(joining(id, user, project), 0).unwrap());
        members.iter().for_each(|member| member.session().message_came(5));
        let [ann, ..] = members;
        close(ann);
        let census = registry.census(CensusOf::Project("p"), 1);
        assert_eq!((census.live(), census.traffic().bytes_sent), (1, 5));
        assert_eq!((census.begun(), census.ended()), (0, 0));
        assert_eq!(census.users().unwrap().top(9), [("zoe", 1)]);
        assert_eq!(census.projects().unwrap().top(9), [("p", 1)]);
    }

    #[test]
    fn the_names_with_the_most_sessions_come_first() {
        let mut names = Names::default();
        assert!(names.is_empty() && names.top(5).is_empty());
        for name in ["c", "b", "b", "a", "d"] {
            names.add(name);
        }
        assert_eq!(names.top(3), [("b", 2), ("a", 1), ("c", 1)]);
        assert_eq!((names.top(4).len(), names.top(9).len(), names.len(), names.sessions()), (4, 4, 4, 5));
        assert!(names.top(0).is_empty());
    }

    /// The messages of such were in no sum for ever, while their bytes were.
    #[test]
    fn a_message_that_is_delivered_while_its_session_ends_counts_whole_or_not_at_all() {
        let registry = registry();
        for turn in 0..3_000 {
            let member = registry.join(joining(&turn.to_string(), "billy", "plant"), 1).unwrap();
            let session = member.session().clone();
            thread::scope(|scope| {
                scope.spawn(|| (0..20).for_each(|_| session.messages_went(1, 3)));
                scope.spawn(|| registry.terminate(session.who().id(), EndReason::Terminated, "", 2));
            });
            let traffic = registry.census(CensusOf::Everybody, 3).traffic();
            assert_eq!(3 * traffic.messages_received, traffic.bytes_received, "in turn {turn}");
        }
    }

    /// The sum that holds at any time, whatever the others do meanwhile.
    #[test]
    fn whoever_counts_while_sessions_come_and_go_finds_that_all_adds_up() {
        const THREADS: usize = 3;
        const TURNS: usize = 2_000;
        let registry = registry();
        let running = AtomicUsize::new(THREADS);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (registry, running) = (&registry, &running);
                scope.spawn(move || {
                    let mut members = Vec::new();
                    for turn in 0..TURNS {
                        let id = format!("{thread}-{turn}");
                        let member = registry.join(joining(&id, "billy", "plant"), 1).unwrap();
                        member.session().message_came(10);
                        member.session().messages_went(1, 3);
                        members.push(member);
                        if members.len() > BLOCK {
                            let how =
                                if turn % 2 == 0 { Leaving::Lost } else { Leaving::Ended(EndReason::Idle) };
                            members.swap_remove(turn % BLOCK).leave(how, 1);
                            registry.expire(turn as u64);
                        }
                    }
                    members.into_iter().for_each(close);
                    running.fetch_sub(1, Ordering::Release);
                });
            }
            let mut before = Census::default();
            let mut looks = 0;
            while running.load(Ordering::Acquire) > 0 || looks < 2 {
                let census = registry.census(CensusOf::EverybodyByName, 1);
                assert_eq!(census.begun(), census.live() + census.ended());
                assert_eq!(census.users().unwrap().sessions(), census.live());
                let grows =
                    |of: fn(&Census) -> u64| assert!(of(&census) >= of(&before), "{census:?} {before:?}");
                grows(Census::begun);
                grows(Census::ended);
                grows(|census| census.ended_by(EndReason::Idle));
                grows(|census| census.traffic().messages_sent);
                grows(|census| census.traffic().bytes_sent);
                grows(|census| census.traffic().messages_received);
                grows(|census| census.traffic().bytes_received);
                before = census;
                looks += 1;
            }
        });
        registry.expire(1_000_000);
        let census = registry.census(CensusOf::Everybody, 1);
        let all = (THREADS * TURNS) as u64;
        assert_eq!((census.live(), census.begun(), census.ended()), (0, all, all));
        let traffic = Traffic {
            messages_sent: all,
            bytes_sent: all * 10,
            messages_received: all,
            bytes_received: all * 3,
        };
        assert_eq!(census.traffic(), traffic);
    }
}
