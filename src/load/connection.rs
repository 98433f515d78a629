//! One connection of a session: writes and reads side by side, and remembers what should come back.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{task::coop, time::timeout};
use tokio_tungstenite::tungstenite::{
    Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    open::Socket,
    plan::{Cut, Planned},
    problem::{Problem, Stage},
    record::{add, count},
    run::Run,
};
use crate::query_client::tcp;

/// How long a server has to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that has not come back by then is not waited for any more. Bounds what is remembered of servers
/// that do not echo.
const ECHO_PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Connection<'a> {
    run: &'a Run,
    socket: Socket,
    /// Which of its session's it is.
    pub(super) tab: u32,
    page_id: String,
    /// What has been begun to send and not been taken by the system yet.
    in_flight: Option<InFlight>,
    /// It has not been taken at once.
    is_held_up: bool,
    awaits_pong: bool,
    /// Sent, and not come back.
    outstanding: VecDeque<Planned>,
    /// Something has come back.
    echoes: bool,
    unanswered: u64,
}

#[derive(Clone, Copy)]
enum InFlight {
    Message(Planned),
    Ping,
}

/// What happened on a connection.
pub(super) enum Event {
    /// The system has taken a message: from here on it is on its way.
    Sent {
        message: Planned,
        /// It could not take it at once.
        was_held_up: bool,
    },
    /// The same of a ping.
    Pinged,
    /// Something came and was dealt with.
    Came,
}

impl<'a> Connection<'a> {
    pub(super) fn new(run: &'a Run, tab: u32, page_id: String, socket: Socket) -> Self {
        Self {
            run,
            socket,
            tab,
            page_id,
            in_flight: None,
            is_held_up: false,
            awaits_pong: false,
            outstanding: VecDeque::new(),
            echoes: false,
            unanswered: 0,
        }
    }

    /// What was begun to send has been taken.
    pub(super) fn is_free(&self) -> bool {
        self.in_flight.is_none()
    }

    /// A ping has been answered since it was asked for, and everything has come back that should.
    pub(super) fn is_settled(&self) -> bool {
        self.is_free() && !self.awaits_pong && (!self.echoes || self.outstanding.is_empty())
    }

    /// Writes and reads side by side, so that a server which echoes cannot block while we block: each would
    /// wait for the other to read. An error is the connection's end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Problem>> {
        let broken = |error| Problem::websocket(Stage::Session, &error);
        if let Some(in_flight) = self.in_flight {
            match self.socket.poll_flush_unpin(cx) {
                Poll::Ready(taken) => {
                    taken.map_err(broken)?;
                    return Poll::Ready(Ok(self.taken(in_flight)));
                }
                // Without budget the socket was not even asked.
                Poll::Pending => self.is_held_up |= coop::has_budget_remaining(),
            }
        }
        let Poll::Ready(message) = self.socket.poll_next_unpin(cx) else { return Poll::Pending };
        let message = message.ok_or_else(|| Problem::cut(Stage::Session))?.map_err(broken)?;
        Poll::Ready(self.came(&message).map(|()| Event::Came))
    }

    /// Begins to send. The connection is free.
    pub(super) fn send(&mut self, planned: Planned) -> Result<(), Problem> {
        let payload = self.run.pool.slice(planned.range());
        let message = if self.run.plan.options.binary {
            Message::Binary(payload)
        } else {
            Message::Text(Utf8Bytes::try_from(payload).expect("the pool is ASCII"))
        };
        self.begin(message, InFlight::Message(planned))
    }

    /// Begins to ask whether everything sent before has been read. The connection is free.
    pub(super) fn ping(&mut self) -> Result<(), Problem> {
        self.awaits_pong = true;
        self.begin(Message::Ping(Bytes::copy_from_slice(self.page_id.as_bytes())), InFlight::Ping)
    }

    fn begin(&mut self, message: Message, in_flight: InFlight) -> Result<(), Problem> {
        self.socket.start_send_unpin(message).map_err(|error| Problem::websocket(Stage::Session, &error))?;
        self.in_flight = Some(in_flight);
        Ok(())
    }

    fn taken(&mut self, in_flight: InFlight) -> Event {
        self.in_flight = None;
        let was_held_up = std::mem::take(&mut self.is_held_up);
        match in_flight {
            InFlight::Message(message) => {
                self.expect_echo(message);
                Event::Sent { message, was_held_up }
            }
            InFlight::Ping => Event::Pinged,
        }
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
            Message::Pong(pong) => self.awaits_pong &= *pong != self.page_id.as_bytes(),
            // tungstenite answers pings.
            Message::Ping(_) | Message::Frame(_) => {}
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

    /// Messages that will not come back, if any did.
    fn sum_up(&mut self) {
        if self.echoes {
            let left = std::mem::take(&mut self.outstanding).len() as u64;
            self.run.recorder.lock().unanswered += std::mem::take(&mut self.unanswered) + left;
        }
    }

    /// Vanishes without a close frame.
    pub(super) fn vanish(mut self, cut: Cut) {
        self.sum_up();
        if cut == Cut::Reset {
            // If the system will not, the stream ends instead: as good a way to vanish.
            let _ = tcp(self.socket.get_ref()).set_zero_linger();
        }
    }

    /// The connection is broken: lets the answer to a close frame out, if there was one.
    pub(super) async fn give_up(mut self) {
        self.sum_up();
        let _ = timeout(CLOSE_TIMEOUT, self.socket.flush()).await;
    }

    /// Leaves as RFC 6455 (7.1.1) wants it. When the answer has come, the server knows.
    pub(super) async fn close(mut self) {
        self.sum_up();
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
        self.run.recorder.note(problem);
    }
}
