//! One session of the harness: connects, sends what is due, reads what comes, and keeps its own books.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{sync::mpsc, task::coop, time::timeout};
use tokio_tungstenite::tungstenite::{
    Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    ledger::Entry,
    open::{Socket, open},
    pacer::Alarm,
    plan::{Messages, Planned, SessionPlan},
    problem::{Problem, Stage},
    record::{add, count},
    run::Run,
};

/// How long a server has, at the end, to show that it has read everything.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server has to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that has not come back by then is not waited for any more. Bounds what is remembered of servers
/// that do not echo.
const ECHO_PATIENCE: Duration = Duration::from_secs(30);

/// A session from its connecting to its end. Its entry is sent when all it sent has been read, or it broke.
pub(super) async fn run(run: Arc<Run>, session: SessionPlan, entries: mpsc::Sender<Entry>) {
    let due = run.start + session.connect_at;
    add(&mut run.recorder.lock().connect_lag, due.elapsed());
    let opening = Box::pin(open(&run, &session));
    let socket = match run.sending_over.run_until_cancelled(opening).await {
        Some(Ok(socket)) => socket,
        Some(Err(problem)) => return refused(&run, problem),
        None if run.interrupted.is_cancelled() => return,
        None => return refused(&run, Problem::new(Stage::Handshake, "not done when the run was over")),
    };
    count(&run.progress.connected);
    {
        let mut record = run.recorder.lock();
        add(&mut record.handshake, due.elapsed());
        record.last_connected = record.last_connected.max(run.start.elapsed());
    }
    let mut connection = Connection::new(&run, &session, socket);
    let broken = connection.converse().await.err();
    let is_open = broken.is_none();
    connection.sum_up(is_open);
    if let Some(problem) = broken {
        connection.entry.broken = Some(problem.name());
        run.recorder.note(problem);
        // The answer to a close frame, if there was one.
        let _ = timeout(CLOSE_TIMEOUT, connection.socket.flush()).await;
    }
    count(&run.progress.finished);
    // Nobody takes entries any more when the run was given up.
    let _ = entries.send(connection.entry.clone()).await;
    drop(entries);
    if is_open {
        connection.stand_and_close().await;
    }
}

fn refused(run: &Run, problem: Problem) {
    count(&run.progress.failed);
    run.recorder.note(problem);
}

struct Connection<'a> {
    run: &'a Run,
    socket: Socket,
    messages: Messages,
    /// The message that comes next, rung for by the alarm.
    next: Option<Planned>,
    alarm: Alarm,
    /// What has been begun to send and not been taken by the system yet.
    in_flight: Option<InFlight>,
    /// Since the connection took no more, or was not there, a message that was due waited for the server.
    free_since: Duration,
    is_held_up: bool,
    /// Sent, and not come back.
    outstanding: VecDeque<Planned>,
    /// Something has come back.
    echoes: bool,
    unanswered: u64,
    /// From the start of the run.
    last_sent: Duration,
    entry: Entry,
}

#[derive(Clone, Copy)]
enum InFlight {
    Message(Planned),
    Ping,
}

enum Event {
    /// The alarm rang, and the connection is free.
    Due,
    /// The ping is on its way, or the last message after the sending was over.
    Taken,
    Came(Message),
}

impl<'a> Connection<'a> {
    fn new(run: &'a Run, session: &SessionPlan, socket: Socket) -> Self {
        let mut messages = run.plan.messages(session);
        let next = messages.next();
        let entry = Entry {
            number: session.number,
            page_id: run.plan.page_id(session),
            username: session.username.to_string(),
            project: session.project.to_string(),
            scope: session.scope,
            user_agent: session.user_agent,
            messages: 0,
            total_bytes: 0,
            recent_bytes: 0,
            broken: None,
        };
        Self {
            run,
            socket,
            messages,
            next,
            alarm: run.pacer.at(run.start + next.map_or(run.plan.messages_end(), |next| next.at)),
            in_flight: None,
            free_since: run.start.elapsed(),
            is_held_up: false,
            outstanding: VecDeque::new(),
            echoes: false,
            unanswered: 0,
            last_sent: Duration::ZERO,
            entry,
        }
    }

    /// Sends everything, then waits until the server has read it. An error is the connection's end.
    async fn converse(&mut self) -> Result<(), Problem> {
        let sent = self.run.sending_over.run_until_cancelled(self.send_all()).await;
        sent.unwrap_or(Ok(()))?;
        match timeout(BARRIER_TIMEOUT, self.barrier()).await {
            Ok(passed) => passed,
            Err(_) => {
                // The connection still stands. What the server has read, the ledger will tell.
                self.run.recorder.note(Problem::new(Stage::Barrier, "no answer to a ping, or no last echo"));
                Ok(())
            }
        }
    }

    /// Cancel-safe: all its state is the connection's.
    async fn send_all(&mut self) -> Result<(), Problem> {
        loop {
            match poll_fn(|cx| self.poll_event(cx, true)).await? {
                Event::Due => match self.next.take() {
                    Some(planned) => self.send(planned)?,
                    None => return Ok(()),
                },
                Event::Taken => {}
                Event::Came(message) => self.came(&message)?,
            }
        }
    }

    /// A ping behind the last message: its answer shows that the server has read both. Other servers may
    /// answer it out of turn, so echoes are waited for as well where there are any.
    async fn barrier(&mut self) -> Result<(), Problem> {
        while self.in_flight.is_some() {
            self.read_on().await?;
        }
        let payload = Bytes::copy_from_slice(self.entry.page_id.as_bytes());
        let ping = Message::Ping(payload.clone());
        self.socket.start_send_unpin(ping).map_err(|error| Problem::websocket(Stage::Session, &error))?;
        self.in_flight = Some(InFlight::Ping);
        let mut is_answered = false;
        while !is_answered || (self.echoes && !self.outstanding.is_empty()) {
            is_answered |=
                matches!(self.read_on().await?, Event::Came(Message::Pong(pong)) if pong == payload);
        }
        Ok(())
    }

    /// The next event but sending. Cancel-safe.
    async fn read_on(&mut self) -> Result<Event, Problem> {
        let event = poll_fn(|cx| self.poll_event(cx, false)).await?;
        if let Event::Came(message) = &event {
            self.came(message)?;
        }
        Ok(event)
    }

    /// Writes and reads side by side, so that a server which echoes cannot block while we block: each would
    /// wait for the other to read.
    fn poll_event(&mut self, cx: &mut Context<'_>, sends: bool) -> Poll<Result<Event, Problem>> {
        let broken = |error| Problem::websocket(Stage::Session, &error);
        if let Some(in_flight) = self.in_flight {
            match self.socket.poll_flush_unpin(cx) {
                Poll::Ready(taken) => {
                    taken.map_err(broken)?;
                    self.taken(in_flight);
                    if !sends {
                        return Poll::Ready(Ok(Event::Taken));
                    }
                }
                // Without budget the socket was not even asked.
                Poll::Pending => self.is_held_up |= coop::has_budget_remaining(),
            }
        }
        if let Poll::Ready(message) = self.socket.poll_next_unpin(cx) {
            return Poll::Ready(match message {
                Some(message) => message.map(Event::Came).map_err(broken),
                None => Err(Problem::cut(Stage::Session)),
            });
        }
        if !sends || self.in_flight.is_some() {
            return Poll::Pending;
        }
        ready!(Pin::new(&mut self.alarm).poll(cx));
        Poll::Ready(Ok(Event::Due))
    }

    fn send(&mut self, planned: Planned) -> Result<(), Problem> {
        let lag = self.run.start.elapsed().saturating_sub(planned.at);
        let payload = self.run.pool.slice(planned.range());
        let message = if self.run.plan.options.binary {
            Message::Binary(payload)
        } else {
            Message::Text(Utf8Bytes::try_from(payload).expect("the pool is ASCII"))
        };
        self.socket.start_send_unpin(message).map_err(|error| Problem::websocket(Stage::Session, &error))?;
        self.in_flight = Some(InFlight::Message(planned));
        let was_held_up = planned.at < self.free_since;
        let mut record = self.run.recorder.lock();
        if was_held_up {
            record.held_up += 1;
        } else {
            record.sent_late_by(lag);
        }
        Ok(())
    }

    /// The system has taken it: from here on it is on its way.
    fn taken(&mut self, in_flight: InFlight) {
        self.in_flight = None;
        let now = self.run.start.elapsed();
        if std::mem::take(&mut self.is_held_up) {
            self.free_since = now;
        }
        let InFlight::Message(planned) = in_flight else { return };
        self.last_sent = now;
        let bytes = u64::from(planned.bytes);
        self.entry.messages += 1;
        self.entry.total_bytes += bytes;
        self.entry.recent_bytes = bytes;
        count(&self.run.progress.messages);
        self.run.progress.bytes.fetch_add(bytes, Relaxed);
        self.expect_echo(planned);
        self.next = self.messages.next();
        let next_at = self.next.map_or(self.run.plan.messages_end(), |next| next.at);
        self.alarm.set(self.run.start + next_at);
    }

    fn expect_echo(&mut self, planned: Planned) {
        while self.outstanding.front().is_some_and(|first| first.at + ECHO_PATIENCE < planned.at) {
            self.outstanding.pop_front();
            self.unanswered += u64::from(self.echoes);
        }
        self.outstanding.push_back(planned);
    }

    fn came(&mut self, message: &Message) -> Result<(), Problem> {
        match message {
            Message::Text(text) => self.data_came(text.as_bytes()),
            Message::Binary(bytes) => self.data_came(bytes),
            Message::Close(frame) => return Err(Problem::closed(Stage::Session, frame.as_ref())),
            // tungstenite answers pings.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
        Ok(())
    }

    /// An echo is the oldest message that has not come back, or a later one if the server left some out.
    fn data_came(&mut self, data: &[u8]) {
        let pool = &self.run.pool;
        let is_it =
            |planned: &Planned| planned.bytes as usize == data.len() && pool[planned.range()] == *data;
        let Some(at) = self.outstanding.iter().position(is_it) else {
            self.run.recorder.lock().other_messages += 1;
            return;
        };
        let planned = self.outstanding[at];
        self.outstanding.drain(..=at);
        self.unanswered += at as u64;
        self.echoes = true;
        count(&self.run.progress.echoes);
        let took = self.run.start.elapsed().saturating_sub(planned.at);
        add(&mut self.run.recorder.lock().echo, took);
    }

    /// What can be said when nothing will be sent any more.
    fn sum_up(&self, is_open: bool) {
        let mut record = self.run.recorder.lock();
        if is_open && !self.run.interrupted.is_cancelled() {
            let waits = self.in_flight.is_some() || self.next.is_some_and(|next| next.at < self.free_since);
            let left = self.messages.left() + u64::from(self.next.is_some());
            *(if waits { &mut record.unsent_held_up } else { &mut record.unsent }) += left;
        }
        record.last_sent = record.last_sent.max(self.last_sent);
        if self.echoes {
            record.unanswered += self.unanswered + self.outstanding.len() as u64;
        }
    }

    /// Stays until the ledger is made, then leaves as RFC 6455 (7.1.1) wants it.
    async fn stand_and_close(mut self) {
        let run = self.run;
        let standing = async {
            loop {
                if let Err(problem) = self.read_on().await {
                    return problem;
                }
            }
        };
        if let Some(problem) = run.closing.run_until_cancelled(standing).await {
            return run.recorder.note(problem);
        }
        let closing = async {
            let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
            self.socket.close(Some(frame)).await?;
            while let Some(message) = self.socket.next().await {
                if message?.is_close() {
                    break;
                }
            }
            Ok(())
        };
        let problem = match timeout(CLOSE_TIMEOUT, closing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Problem::websocket(Stage::Close, &error),
            Err(_) => Problem::timed_out(Stage::Close),
        };
        run.recorder.note(problem);
    }
}
