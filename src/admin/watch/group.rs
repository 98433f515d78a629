//! Those who watch the same: one evaluation, and one batch, for all of them.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
    time::Instant,
};

use tokio::{runtime::Handle, task, time};

use super::{
    asked::Key,
    batch::{Batch, Delta},
    hub::Hub,
    places::Places,
    queue::Queue,
    tally::Lost,
};
use crate::{
    admin::{item::Seen, select::Question, view::View},
    edge::waits::long,
    session::{Gone, News, Session},
};

/// So many sessions may have ended since a group last looked. If there are more, its watchers get fresh snapshots.
const MAX_ENDED: usize = 100_000;

/// So many changes may wait for those who joined at different times, since each of these times has its own; beyond, all
/// watchers of the group get fresh snapshots. Those of one time alone have no more than there are sessions.
const MAX_UNSENT: usize = if cfg!(test) { 10_000 } else { 4_000_000 };

/// A group that somebody is joining when its turn comes has another one after so long.
const BUSY_PAUSE: time::Duration = time::Duration::from_millis(20);

/// Those who watch the same, and who fits.
#[derive(Debug)]
pub(super) struct Group {
    hub: Arc<Hub>,
    key: Key,
    question: Question,
    inbox: Arc<Inbox>,
    state: Mutex<State>,
}

/// What is new and has not been looked at.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Mail>);

#[derive(Debug, Default)]
struct Mail {
    /// By their numbers, which take a bit each: whoever is found there later is looked at as he is then, and an inbox
    /// that nobody empties stays small.
    changed: Places,
    ended: Vec<Gone>,
    is_incomplete: bool,
}

#[derive(Debug, Default)]
struct State {
    /// `None` if nobody has looked yet, or more happened than could be kept.
    members: Option<Members>,
    is_subscribed: bool,
    cohorts: Vec<Cohort>,
    /// How many sessions were held against the question.
    #[cfg(test)]
    looks: usize,
}

/// What is known of the sessions.
#[derive(Debug, Default)]
struct Members {
    /// Those who fit.
    fitting: Places,
    /// Those who were held against the question. All of lower turns than `since` were, too.
    seen: Places,
    since: u64,
}

/// Watchers who know the same.
#[derive(Debug, Default)]
struct Cohort {
    watchers: Vec<Weak<Queue>>,
    /// What they have not been told.
    unsent: Delta,
}

/// What a watcher begins with.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) revision: u64,
    /// Those who fit.
    pub(super) sessions: Vec<Arc<Session>>,
}

impl Cohort {
    fn of(watcher: Weak<Queue>) -> Self {
        Self { watchers: vec![watcher], unsent: Delta::default() }
    }
}

impl State {
    fn has_too_much_unsent(&self) -> bool {
        let unsent = || self.cohorts.iter().map(|cohort| cohort.unsent.len()).sum::<usize>();
        self.cohorts.len() > 1 && unsent() > MAX_UNSENT
    }
}

impl Group {
    pub(super) fn new(hub: Arc<Hub>, key: Key, question: Question) -> Self {
        Self { hub, key, question, inbox: Arc::default(), state: Mutex::default() }
    }

    /// How many sessions may be looked at, and shown, for a watcher who joins: whatever is asked for, also what has
    /// changed of all others is handed out then.
    pub(super) fn looks(&self) -> usize {
        let registry = &self.hub.registry;
        self.question.looks(registry, self.view()).max(registry.len())
    }

    /// What its watchers see.
    pub(super) fn view(&self) -> &View {
        &self.key.view
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// How often its watchers are told.
    pub(super) fn interval(&self) -> time::Duration {
        self.key.interval
    }

    /// Tells the watchers what has changed, again and again, for as long as there are any.
    pub(super) fn keep_telling(self: &Arc<Self>) {
        // Tests tell themselves.
        let Ok(runtime) = Handle::try_current() else { return };
        let (group, interval, turn) = (Arc::downgrade(self), self.key.interval, self.hub.turn.clone());
        runtime.spawn(async move {
            let mut pause = interval;
            loop {
                long(|| time::sleep(pause)).await;
                let turn = turn.acquire().await;
                let Some(group) = group.upgrade() else { return };
                let told = group.clone();
                let is_told = task::spawn_blocking(move || told.tell()).await.unwrap_or_else(|_| {
                    // A fault of ours. What the watchers know may be wrong.
                    group.start_over(&mut group.lock());
                    true
                });
                pause = if is_told { interval } else { BUSY_PAUSE };
                drop(turn);
            }
        });
    }

    /// Whoever waits behind this queue joins: it is told what happens from here on. `None` if that has to be done again,
    /// since it took too long, or too much happened meanwhile.
    pub(super) fn join(&self, queue: &Arc<Queue>) -> Option<Joined> {
        let mut state = self.lock();
        let revision = self.look(&mut state, true);
        let numbers: Vec<_> = state.members.as_ref()?.fitting.iter().collect();
        let mut sessions = self.hub.registry.numbered(numbers.iter().copied());
        // Should more have ended meanwhile than are kept, a number may be another's, whom nobody here may see.
        sessions.retain(|session| self.view().sees(session.who()));
        let watcher = Arc::downgrade(queue);
        if sessions.len() == numbers.len() {
            match state.cohorts.last_mut() {
                Some(newest) if newest.unsent.len() == 0 => newest.watchers.push(watcher),
                _ => state.cohorts.push(Cohort::of(watcher)),
            }
        } else {
            // Some have ended and are not in the snapshot, so their ends, which are known by now, are no news.
            let shown: Places = sessions.iter().map(|session| session.number()).collect();
            let missing: Places = numbers.into_iter().filter(|number| !shown.contains(*number)).collect();
            state.cohorts.push(Cohort::of(watcher));
            self.look(&mut state, false);
            if let Some(newest) = state.cohorts.last_mut() {
                newest.unsent.forget_ends(|number| missing.contains(number));
            }
        }
        Some(Joined { revision, sessions })
    }

    /// Tells every watcher what has happened since it was last told. `false` if somebody is joining, which may take long,
    /// and other groups wait for their turn: try again.
    pub(super) fn tell(&self) -> bool {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if state.members.is_none() {
            return true;
        }
        let begun = Instant::now();
        let revision = self.look(&mut state, false);
        // Before anybody is told of it, so that it is in the figures of whoever was.
        self.hub.tally.evaluated(begun.elapsed());
        let mut told = Vec::new();
        for Cohort { watchers, unsent } in mem::take(&mut state.cohorts) {
            let watchers = watchers.into_iter().filter(|queue| queue.strong_count() > 0);
            if unsent.len() == 0 {
                told.extend(watchers);
                continue;
            }
            let mut watchers = watchers.peekable();
            if watchers.peek().is_some() {
                let batch = Batch::new(revision, unsent, self.hub.clock, self.view().mask());
                told.extend(
                    watchers.filter(|queue| queue.upgrade().is_some_and(|queue| self.offer(&queue, &batch))),
                );
            }
        }
        if !told.is_empty() {
            state.cohorts.push(Cohort { watchers: told, unsent: Delta::default() });
        }
        true
    }

    /// One more batch for a watcher; `false` if that is too much for it.
    fn offer(&self, queue: &Queue, batch: &Arc<Batch>) -> bool {
        let is_room = queue.offer(batch);
        if !is_room {
            self.hub.tally.lost(Lost::Slow);
        }
        is_room
    }

    /// What a watcher has been told leads nowhere any more.
    fn lag(&self, queue: &Queue, why: Lost) {
        queue.lag();
        self.hub.tally.lost(why);
    }

    /// Brings the state up to date, and notes what every cohort is to be told of it; answers the revision of the state.
    /// If nobody knows who fits, and `begins`, looks at all sessions. If that takes too long, nobody knows afterwards.
    fn look(&self, state: &mut State, begins: bool) -> u64 {
        let until = self.hub.deadline();
        let is_new = begins && state.members.is_none();
        if is_new {
            state.members = self.find_all(&mut state.is_subscribed, until);
        }
        let revision = self.hub.hand_out();
        let mail = self.inbox.take();
        if mail.is_incomplete {
            self.start_over(state);
        }
        let now_ms = self.hub.clock.now_ms();
        let in_time = || Instant::now() < until;
        let mut changed = mail.changed.iter().filter_map(|number| self.hub.registry.of_number(number));
        // Those that changed first, then those that ended: `News` says why.
        let is_done =
            changed.all(|session| {
                self.look_at(state, &session, now_ms, true);
                in_time()
            }) && (is_new || !self.question.moves_by_itself() || self.look_at_all(state, now_ms, until))
                && mail.ended.iter().all(|gone| {
                    self.end(state, gone, now_ms);
                    in_time()
                });
        if !is_done || state.has_too_much_unsent() {
            self.start_over(state);
        }
        revision
    }

    /// Looks at all sessions, as long as there is time.
    fn find_all(&self, is_subscribed: &mut bool, until: Instant) -> Option<Members> {
        if !mem::replace(is_subscribed, true) {
            self.hub.subscribe(&self.inbox);
        }
        self.hub.hand_out();
        self.inbox.take();
        // What happens from here on is news.
        let mut members = Members { since: self.hub.registry.turn(), ..Members::default() };
        let seen_by = (&*self.hub.registry, self.hub.clock, self.view());
        let is_done = self.question.for_each(seen_by, until, |session, _| {
            members.fitting.insert(session.number());
        });
        is_done.then_some(members)
    }

    /// Finds out whether a session fits now.
    fn look_at(&self, state: &mut State, session: &Arc<Session>, now_ms: u64, has_changed: bool) {
        let Some(members) = &mut state.members else { return };
        let seen = Seen::for_row(session, self.hub.clock, now_ms, self.view().mask());
        if seen.standing().ended_ms.is_some() {
            // Its end comes, with the reason.
            return;
        }
        #[cfg(test)]
        {
            state.looks += 1;
        }
        members.seen.insert(session.number());
        let tell: fn(&mut Delta, &Arc<Session>) = if self.fits(session, &seen) {
            if members.fitting.insert(session.number()) {
                Delta::open
            } else if has_changed {
                Delta::change
            } else {
                return;
            }
        } else if members.fitting.remove(session.number()) {
            Delta::unmatch
        } else {
            return;
        };
        state.cohorts.iter_mut().for_each(|cohort| tell(&mut cohort.unsent, session));
    }

    /// Time passes, and who fits may be others; `false` if there was no time for all.
    fn look_at_all(&self, state: &mut State, now_ms: u64, until: Instant) -> bool {
        let Some(members) = &state.members else { return true };
        let registry = &self.hub.registry;
        let (mut fitting, mut newly) = (Places::default(), Vec::new());
        let is_done = self.question.for_each((registry, self.hub.clock, self.view()), until, |session, _| {
            fitting.insert(session.number());
            if !members.fitting.contains(session.number()) {
                newly.push(session.clone());
            }
        });
        let no_more: Vec<_> = members.fitting.iter().filter(|number| !fitting.contains(*number)).collect();
        newly.extend(registry.numbered(no_more.into_iter()));
        is_done
            && newly.iter().all(|session| {
                self.look_at(state, session, now_ms, false);
                Instant::now() < until
            })
    }

    /// A session has ended.
    fn end(&self, state: &mut State, gone: &Gone, now_ms: u64) {
        let Some(members) = &mut state.members else { return };
        let Gone { session, ended, turn } = gone;
        let was_seen = members.seen.remove(session.number()) || *turn < members.since;
        // One that came and went unseen is judged by how it ended.
        let is_theirs = members.fitting.remove(session.number())
            || !was_seen
                && self.fits(session, &Seen::for_row(session, self.hub.clock, now_ms, self.view().mask()));
        if is_theirs {
            state.cohorts.iter_mut().for_each(|cohort| cohort.unsent.end(session.number(), ended));
        }
    }

    fn fits(&self, session: &Session, seen: &Seen<'_>) -> bool {
        self.view().sees(session.who()) && self.question.fits(session, seen)
    }

    /// Nobody knows any more who fits: every watcher gets a fresh snapshot.
    fn start_over(&self, state: &mut State) {
        state.members = None;
        let cohorts = mem::take(&mut state.cohorts);
        cohorts
            .iter()
            .flat_map(|cohort| &cohort.watchers)
            .filter_map(Weak::upgrade)
            .for_each(|queue| self.lag(&queue, Lost::Overflow));
    }

    /// Does this while it is as when somebody joins.
    #[cfg(test)]
    pub(super) fn while_somebody_joins<T>(&self, act: impl FnOnce() -> T) -> T {
        let _state = self.lock();
        act()
    }

    #[cfg(test)]
    pub(super) fn sessions_looked_at(&self) -> usize {
        self.lock().looks
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let (hub, key, inbox) = (self.hub.clone(), self.key.clone(), self.inbox.clone());
        let state = mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        let forget = move || {
            hub.forget(&key, &inbox);
            drop(state);
        };
        // Whoever leaves last may be a socket. News may be being handed out, and what is left may be large.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(forget)),
            Err(_) => forget(),
        }
    }
}

impl Inbox {
    pub(super) fn put(&self, news: &News) {
        let mut mail = self.lock();
        if news.is_incomplete || mail.ended.len() + news.ended.len() > MAX_ENDED {
            *mail = Mail { is_incomplete: true, ..Mail::default() };
        }
        // A group that starts over looks at all sessions.
        if !mail.is_incomplete {
            for session in &news.changed {
                mail.changed.insert(session.number());
            }
            mail.ended.extend_from_slice(&news.ended);
        }
    }

    fn take(&self) -> Mail {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
