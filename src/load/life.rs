//! One session of the harness: it comes, sends what is due, may leave and come back, and keeps its own books.
//!
//! A session may have several connections (tabs). It sends one message at a time, whichever connection it goes
//! over, and whoever leaves for good or for a while first makes sure that all it sent has been read: what is
//! under way when a connection vanishes may be read or not, and no ledger could say.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use chrono::Utc;
use tokio::{sync::mpsc, time::timeout};

use super::{
    connection::{self, Connection},
    ledger::{Broken, Entry, Fate},
    open::{Socket, Welcome, open},
    pacer::Alarm,
    plan::{Cut, Messages, Parting, Planned, SessionPlan},
    problem::{Problem, Stage},
    record::{add, count},
    run::Run,
};

/// How long a server has to show that it has read everything.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(10);

/// A session from its connecting to its end. Its entry is sent when all it sent has been read, or it broke.
pub(super) async fn run(run: Arc<Run>, session: SessionPlan, entries: mpsc::Sender<Entry>) {
    let due = run.start + session.stays[0].begins;
    add(&mut run.recorder.lock().connect_lag, due.elapsed());
    let opening = Box::pin(open(&run, &session, 0, None));
    let (socket, welcome) = match run.sending_over.run_until_cancelled(opening).await {
        Some(Ok(opened)) => opened,
        Some(Err(problem)) => return refused(&run, &session, problem),
        None if run.interrupted.is_cancelled() => return,
        None => {
            let problem = Problem::new(Stage::Handshake, "not done when the run was over");
            return refused(&run, &session, problem);
        }
    };
    came(&run, &session, due.elapsed());
    let mut life = Life::new(&run, &session);
    life.welcome(0, socket, welcome);
    match life.live().await {
        Ok(fate) => life.entry.fate = fate,
        Err(broken) => life.break_off(broken).await,
    }
    count(&run.progress.finished);
    // Nobody takes entries any more when the run was given up.
    let _ = entries.send(life.entry.clone()).await;
    drop(entries);
    if !life.connections.is_empty() {
        life.stand_and_close().await;
    }
}

fn came(run: &Run, session: &SessionPlan, took: Duration) {
    let is_newcomer = run.plan.is_newcomer(session);
    let mut record = run.recorder.lock();
    add(&mut record.handshake, took);
    if is_newcomer {
        record.churn.came += 1;
    } else {
        count(&run.progress.connected);
        record.last_connected = record.last_connected.max(run.start.elapsed());
    }
}

fn refused(run: &Run, session: &SessionPlan, problem: Problem) {
    if run.plan.is_newcomer(session) {
        run.recorder.lock().churn.refused += 1;
    } else {
        count(&run.progress.failed);
    }
    run.recorder.note(problem);
}

struct Life<'a> {
    run: &'a Run,
    plan: &'a SessionPlan,
    /// Those that are open, in the order of the tabs.
    connections: Vec<Connection<'a>>,
    /// Those that have been left behind and not been cut yet.
    left_behind: Vec<Connection<'a>>,
    resume_token: Option<String>,
    /// Of the stay that is now.
    messages: Messages,
    /// The message that comes next, rung for by the alarm.
    next: Option<Planned>,
    alarm: Alarm,
    /// Since the connections took no more, or were not there, a message that was due waited for the server.
    free_since: Duration,
    /// From the start of the run.
    last_sent: Duration,
    entry: Entry,
}

enum Event {
    /// The alarm rang, and the connections are free.
    Due,
    /// Something that has been dealt with.
    Done,
}

impl<'a> Life<'a> {
    fn new(run: &'a Run, plan: &'a SessionPlan) -> Self {
        Self {
            run,
            plan,
            connections: Vec::with_capacity(plan.tabs as usize),
            left_behind: Vec::new(),
            resume_token: None,
            messages: run.plan.messages(plan, 0),
            next: None,
            alarm: run.pacer.at(run.start),
            free_since: run.start.elapsed(),
            last_sent: Duration::ZERO,
            entry: Entry {
                number: plan.number,
                session_id: None,
                pages: Vec::with_capacity(plan.tabs as usize),
                username: plan.username.to_string(),
                project: plan.project.to_string(),
                scope: plan.scope,
                user_agent: plan.user_agent,
                messages: 0,
                total_bytes: 0,
                recent_bytes: 0,
                resumed: 0,
                fate: Fate::Standing,
                vanished_at: None,
                broken: None,
            },
        }
    }

    /// Everything until the session has left, or the run is over and all that was sent has been read.
    async fn live(&mut self) -> Result<Fate, Broken> {
        for (at, stay) in self.plan.stays.iter().enumerate() {
            self.open_tabs(at).await?;
            let sent = self.run.sending_over.run_until_cancelled(self.send_all(at)).await;
            sent.transpose()?;
            if self.run.sending_over.is_cancelled() {
                self.count_unsent(at);
                break;
            }
            match stay.parting {
                Parting::Stand => {}
                Parting::Close => {
                    self.settle().await?;
                    self.close().await;
                    self.run.recorder.lock().churn.left += 1;
                    return Ok(Fate::Closed);
                }
                Parting::Vanish(cut) => {
                    self.settle().await?;
                    self.entry.vanished_at = Some(Utc::now());
                    self.vanish(cut, None);
                    return Ok(Fate::Vanished);
                }
                Parting::Drop(cut, tab) => {
                    self.barrier().await?;
                    self.vanish(cut, tab);
                    // Whatever happens, it comes back: to vanish for good is another parting.
                    let back = self.run.pacer.at(self.run.start + self.plan.stays[at + 1].begins);
                    self.run.sending_over.run_until_cancelled(back).await;
                }
            }
        }
        self.settle().await?;
        Ok(Fate::Standing)
    }

    /// Opens the tabs that are not there, one after the other: so the pages have an order.
    async fn open_tabs(&mut self, stay: usize) -> Result<(), Broken> {
        let (run, begins) = (self.run, self.run.start + self.plan.stays[stay].begins);
        for tab in 0..self.plan.tabs {
            if self.connections.get(tab as usize).is_some_and(|connection| connection.tab == tab) {
                continue;
            }
            let is_back = self.entry.pages.len() > tab as usize;
            let began = std::time::Instant::now();
            let opening = Box::pin(open(run, self.plan, tab, self.resume_token.as_deref()));
            let (socket, welcome) = opening.await?;
            if let Some(difference) = welcome.as_ref().and_then(|welcome| self.another_session(welcome)) {
                run.recorder.lock().churn.not_resumed += u64::from(is_back);
                return Err(difference);
            }
            self.entry.resumed += u64::from(is_back);
            {
                let mut record = run.recorder.lock();
                match is_back {
                    true => add(&mut record.resume, begins.elapsed()),
                    false => add(&mut record.handshake, began.elapsed()),
                }
                record.churn.resumed += u64::from(is_back);
            }
            self.welcome(tab, socket, welcome);
        }
        self.left_behind.drain(..).for_each(|connection| connection.vanish(Cut::End));
        Ok(())
    }

    /// What a server says that should have said that this is the session we had.
    fn another_session(&self, welcome: &Welcome) -> Option<Broken> {
        let id = self.entry.session_id.as_deref().unwrap_or_default();
        if !welcome.resumed {
            Some(Broken::new("resumed", "true", "false"))
        } else if welcome.session_id != id {
            Some(Broken::new("id", id, &welcome.session_id))
        } else {
            None
        }
    }

    fn welcome(&mut self, tab: u32, socket: Socket, welcome: Option<Welcome>) {
        if let Some(Welcome { session_id, resume_token, .. }) = welcome {
            self.entry.session_id = Some(session_id);
            self.resume_token = Some(resume_token);
        }
        let page_id = self.run.plan.page_id(self.plan, tab);
        if self.entry.pages.len() == tab as usize {
            self.entry.pages.push(page_id.clone());
        }
        let connection = Connection::new(self.run, tab, page_id, socket);
        self.connections.insert(tab as usize, connection);
        self.free_since = self.run.start.elapsed();
    }

    /// All messages of a stay. Cancel-safe: all its state is the session's.
    async fn send_all(&mut self, stay: usize) -> Result<(), Problem> {
        self.messages = self.run.plan.messages(self.plan, stay);
        let ends = self.plan.stays[stay].ends;
        self.advance(ends);
        loop {
            match poll_fn(|cx| self.poll_event(cx, true)).await? {
                Event::Due => match self.next.take() {
                    Some(planned) => {
                        self.send(planned)?;
                        self.advance(ends);
                    }
                    None => return Ok(()),
                },
                Event::Done => {}
            }
        }
    }

    fn advance(&mut self, ends: Duration) {
        self.next = self.messages.next();
        self.alarm.set(self.run.start + self.next.map_or(ends, |next| next.at));
    }

    /// The next event; `sends` is whether the alarm counts. Cancel-safe.
    fn poll_event(&mut self, cx: &mut Context<'_>, sends: bool) -> Poll<Result<Event, Problem>> {
        for at in 0..self.connections.len() {
            if let Poll::Ready(event) = self.connections[at].poll(cx) {
                if let connection::Event::Sent { message, was_held_up } = event? {
                    self.sent(message, was_held_up);
                }
                return Poll::Ready(Ok(Event::Done));
            }
        }
        if !sends || !self.connections.iter().all(Connection::is_free) {
            return Poll::Pending;
        }
        ready!(Pin::new(&mut self.alarm).poll(cx));
        Poll::Ready(Ok(Event::Due))
    }

    fn send(&mut self, planned: Planned) -> Result<(), Problem> {
        let lag = self.run.start.elapsed().saturating_sub(planned.at);
        self.connections[planned.tab as usize].send(planned)?;
        let was_held_up = planned.at < self.free_since;
        let mut record = self.run.recorder.lock();
        if was_held_up {
            record.held_up += 1;
        } else {
            record.sent_late_by(lag);
        }
        Ok(())
    }

    fn sent(&mut self, message: Planned, was_held_up: bool) {
        self.last_sent = self.run.start.elapsed();
        if was_held_up {
            self.free_since = self.last_sent;
        }
        let bytes = u64::from(message.bytes);
        self.entry.messages += 1;
        self.entry.total_bytes += bytes;
        self.entry.recent_bytes = bytes;
        count(&self.run.progress.messages);
        self.run.progress.bytes.fetch_add(bytes, Relaxed);
    }

    /// A barrier, and where several connections leave open which message was the last, one more message.
    async fn settle(&mut self) -> Result<(), Problem> {
        self.barrier().await?;
        if let Some(last) = self.run.plan.last_message(self.plan, self.run.start.elapsed()) {
            self.send(last)?;
            self.barrier().await?;
        }
        let mut record = self.run.recorder.lock();
        record.last_sent = record.last_sent.max(self.last_sent);
        Ok(())
    }

    /// A ping behind the last message of each connection: its answer shows that the server has read both.
    /// Other servers may answer it out of turn, so echoes are waited for as well where there are any.
    async fn barrier(&mut self) -> Result<(), Problem> {
        let passing = async {
            self.until(Connection::is_free).await?;
            self.connections.iter_mut().try_for_each(Connection::ping)?;
            self.until(Connection::is_settled).await
        };
        match timeout(BARRIER_TIMEOUT, passing).await {
            Ok(passed) => passed,
            Err(_) => {
                // The connection still stands. What the server has read, the ledger will tell.
                self.run.recorder.note(Problem::new(Stage::Barrier, "no answer to a ping, or no last echo"));
                Ok(())
            }
        }
    }

    async fn until(&mut self, holds: fn(&Connection<'a>) -> bool) -> Result<(), Problem> {
        while !self.connections.iter().all(holds) {
            poll_fn(|cx| self.poll_event(cx, false)).await?;
        }
        Ok(())
    }

    fn vanish(&mut self, cut: Cut, tab: Option<u32>) {
        let gone = match tab {
            Some(tab) => vec![self.connections.remove(tab as usize)],
            None => std::mem::take(&mut self.connections),
        };
        self.run.recorder.lock().churn.dropped += 1;
        if cut == Cut::Late {
            self.left_behind = gone;
        } else {
            gone.into_iter().for_each(|connection| connection.vanish(cut));
        }
    }

    /// One after the other, so that it is known which page was open last.
    async fn close(&mut self) {
        for connection in std::mem::take(&mut self.connections) {
            connection.close().await;
        }
    }

    async fn break_off(&mut self, broken: Broken) {
        if let Some(problem) = &broken.problem {
            self.run.recorder.note(problem.clone());
        }
        self.entry.broken = Some(broken);
        for connection in std::mem::take(&mut self.connections) {
            connection.give_up().await;
        }
    }

    /// What this stay and those after it had still to send.
    fn count_unsent(&self, stay: usize) {
        if self.run.interrupted.is_cancelled() {
            return;
        }
        let is_busy = !self.connections.iter().all(Connection::is_free);
        let waits = is_busy || self.next.is_some_and(|next| next.at < self.free_since);
        let later = self.plan.stays.len() > stay + 1;
        let left = self.messages.left()
            + u64::from(self.next.is_some())
            + if later { self.run.plan.messages_from(self.plan, stay + 1) } else { 0 };
        let mut record = self.run.recorder.lock();
        *(if waits { &mut record.unsent_held_up } else { &mut record.unsent }) += left;
    }

    /// Stays until the ledger is made, then leaves.
    async fn stand_and_close(mut self) {
        let run = self.run;
        let standing = async {
            loop {
                if let Err(problem) = poll_fn(|cx| self.poll_event(cx, false)).await {
                    return problem;
                }
            }
        };
        match run.closing.run_until_cancelled(standing).await {
            Some(problem) => run.recorder.note(problem),
            None => self.close().await,
        }
    }
}
