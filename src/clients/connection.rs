use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{
    self,
    error::ProtocolError,
    protocol::{
        CloseFrame,
        frame::{
            Frame,
            coding::{CloseCode, Control, Data, OpCode},
        },
    },
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    arrival::Open,
    control::{self, ToClient},
    line::Line,
    outbox::Outbox,
    pace::Pace,
    replies::Replies,
    upgrade::Admitted,
};
use crate::{
    edge::websocket::close_frame,
    frames::{self, Event, Events, Reader},
    session::{Came, Membership, Order},
};

/// As much is read at a time. One read a poll, and then the others' turn, keeps a flood from delaying everybody else: by
/// 8 ms, where 32 connections are always full. A quarter of it takes half as long then, but a message of a flood costs
/// half as much again, because what waits has left the processor's caches; twice as much gains nothing.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// What a thread needs while it polls a connection, and none needs between two polls.
struct Scratch {
    read: Box<[u8]>,
    replies: Replies,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { read: vec![0; READ_BYTES].into_boxed_slice(), replies: Replies::default() });
}

fn with_scratch<T>(turn: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        // Of a connection that panicked, they are not for this one.
        scratch.replies.clear();
        turn(scratch)
    })
}

/// Lends the thread's read buffer, of [`READ_BYTES`], to whoever reads before there is a task.
pub(super) fn with_read_buffer<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| read(&mut scratch.read))
}

/// A connection's task, from being accepted to its end: it counts what comes.
///
/// One for every client, most of them idle, so its size is what a client costs. It holds no buffer; dropping it is
/// losing the connection.
pub(super) struct Task<S>(Stage<S>);

enum Stage<S> {
    /// Makes the task that this one becomes. Its size is nobody's while connections are open.
    First(Box<dyn FnOnce() -> Task<S> + Send>),
    Open(Connection<S>),
    /// What is done before and after. On the heap: most of a life is spent in between.
    Beside(Pin<Box<dyn Future<Output = ()> + Send>>),
    Over,
}

/// A connection that is open.
///
/// In this order what a message needs is in three cache lines, the runtime's own of the task among them, and what it does
/// not need is in the fourth: most connections are not in any cache when their next message comes.
#[repr(C)]
pub(super) struct Connection<S> {
    pub(super) plane: Open,
    pub(super) line: Arc<Line>,
    pub(super) stream: S,
    pub(super) outbox: Outbox,
    pace: Option<Box<Pace>>,
    reader: Reader,
    pub(super) membership: Membership,
    /// Its place among those that a drain waits for.
    pub(super) task: TaskTrackerToken,
}

/// How a connection ends.
pub(super) enum Ending {
    /// More came in a second than may.
    TooFast,
    /// With the peer's close frame.
    Closed(Option<CloseFrame>),
    /// With an error of the stream, or of what came over it.
    Broken(tungstenite::Error),
    /// The peer has been silent for too long.
    Silent,
    /// The peer does not read, and more waits for it than may.
    SlowConsumer,
    /// The session or the page has been ended; this is the frame for the peer.
    Ordered(CloseFrame),
    /// The server ends, and the peer has left.
    Drained,
    /// The server ends, and the peer has not left in time.
    Cut,
}

impl<S> Task<S> {
    /// A task that finds out when it first runs what it is.
    pub(super) fn first(first: impl FnOnce() -> Self + Send + 'static) -> Self {
        Self(Stage::First(Box::new(first)))
    }

    /// The task of a connection that is not open yet, if it will ever be: that has a task of its own then.
    pub(super) fn beside(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Stage::Beside(Box::pin(future)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Task<S> {
    /// The task of a client that has been let in; `early` is what came with its request, before the upgrade.
    pub(super) fn new(
        stream: S,
        early: &[u8],
        admitted: Admitted,
        plane: Open,
        task: TaskTrackerToken,
    ) -> Self {
        let Admitted { membership, page_id, line } = admitted;
        let mut connection = Connection {
            stream,
            reader: Reader::default(),
            outbox: Outbox::default(),
            pace: Pace::new(plane.config.rates, plane.clock.now_ms()),
            membership,
            line,
            plane,
            task,
        };
        match with_scratch(|scratch| connection.begin(&page_id, early, scratch)) {
            Ok(()) => Self(Stage::Open(connection)),
            Err(ending) => Self::beside(connection.end(ending)),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Future for Task<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let ended = match &mut self.0 {
                Stage::Open(connection) => {
                    let polled = with_scratch(|scratch| connection.go_on(cx, scratch));
                    let Err(ending) = polled else { return Poll::Pending };
                    Some(ending)
                }
                Stage::Beside(future) => return future.as_mut().poll(cx),
                Stage::First(_) | Stage::Over => None,
            };
            *self = match (std::mem::replace(&mut self.0, Stage::Over), ended) {
                (Stage::First(first), _) => first(),
                (Stage::Open(connection), Some(ending)) => Self::beside(connection.end(ending)),
                _ => return Poll::Ready(()),
            };
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Welcomes a client that speaks `headcount.v1`, and takes what it has sent already.
    fn begin(&mut self, page_id: &str, early: &[u8], scratch: &mut Scratch) -> Result<(), Ending> {
        // What cannot be sent yet is tried again when the task is first polled.
        let cx = &mut Context::from_waker(Waker::noop());
        if self.line.speaks_headcount() {
            let welcome = ToClient::Welcome {
                session_id: self.membership.session().who().id(),
                page_id,
                resume_token: self.membership.token().map(|token| token.reveal()),
                resumed: self.membership.resumed(),
                heartbeat_ms: self.plane.heart.beat_ms(),
            };
            scratch.replies.text(&welcome.to_text());
        }
        let Scratch { read, replies } = scratch;
        for piece in early.chunks(READ_BYTES) {
            let bytes = &mut read[..piece.len()];
            bytes.copy_from_slice(piece);
            self.receive(cx, bytes, replies)?;
        }
        self.settle(cx, &mut Came::default(), replies)
    }

    /// Does what there is to do now; an error is the end.
    fn go_on(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ending> {
        // Two cold lines of memory, this one and the line's: asked for together they take the time of one, which is 3 to 6 %
        // of a lone message.
        self.membership.touch();
        let done = self.heed(cx, &mut scratch.replies).and_then(|()| self.exchange(cx, scratch));
        match done {
            // However a peer goes that was asked to: it has left.
            Err(ending) if self.line.is_parting() && !matches!(ending, Ending::Cut) => Err(Ending::Drained),
            done => done,
        }
    }

    /// Does what others have told this connection to.
    fn heed(&mut self, cx: &mut Context<'_>, replies: &mut Replies) -> Result<(), Ending> {
        let Some(told) = self.line.told(cx) else { return Ok(()) };
        if told.is_cut() {
            return Err(Ending::Cut);
        }
        if self.line.is_parting() {
            return Ok(());
        }
        if told.is_silent() {
            // Who does not read its echo is not read either, so its silence says nothing.
            let is_unread = self.plane.config.echo && self.outbox.waits();
            return Err(if is_unread { Ending::SlowConsumer } else { Ending::Silent });
        }
        if told.to_ping() {
            replies.control(Control::Ping, &self.plane.stamps.now());
        }
        let mut obeyed = Ok(());
        for order in told.orders {
            obeyed = self.obey(order, replies);
            // Nothing is sent after a close frame.
            if obeyed.is_err() || self.line.is_parting() {
                break;
            }
            if replies.are_enough() {
                self.settle(cx, &mut Came::default(), replies)?;
            }
        }
        let sent = self.settle(cx, &mut Came::default(), replies);
        obeyed.and(sent)
    }

    fn obey(&mut self, order: Order, replies: &mut Replies) -> Result<(), Ending> {
        match order {
            Order::Send(text) => replies.text(&text),
            Order::Close { code, reason } => {
                return Err(Ending::Ordered(close_frame(code.into(), &*reason)));
            }
            Order::Drain => {
                put_close(
                    &mut replies.frames,
                    Some(close_frame(CloseCode::Away, "the server is shutting down")),
                );
                self.line.part();
            }
        }
        Ok(())
    }

    /// Writes what waits, and reads what has come.
    fn exchange(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), Ending> {
        if let Poll::Ready(Err(error)) = self.outbox.poll_drain(&mut self.stream, cx) {
            return Err(Ending::Broken(error.into()));
        }
        // A peer that does not read its echo is not read either, rather than remembered.
        if self.plane.config.echo && self.outbox.waits() {
            return Ok(());
        }
        // A read that does not fill its buffer has emptied the socket, so the second look only asks to be woken.
        let Some(bytes) = self.read(cx, scratch)? else { return Ok(()) };
        if bytes == READ_BYTES || self.read(cx, scratch)?.is_some() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Reads once, and deals with it; answers how much it was, or `None` if nothing has come.
    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Option<usize>, Ending> {
        let Scratch { read, replies } = scratch;
        let mut buffer = ReadBuf::new(read);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(None),
            Poll::Ready(read) => read.map_err(|error| Ending::Broken(error.into()))?,
        }
        let bytes = buffer.filled_mut();
        if bytes.is_empty() {
            return Err(Ending::Broken(ProtocolError::ResetWithoutClosingHandshake.into()));
        }
        let read_bytes = bytes.len();
        self.receive(cx, bytes, replies)?;
        Ok(Some(read_bytes))
    }

    /// Counts what one read brought, and answers it.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
        replies: &mut Replies,
    ) -> Result<(), Ending> {
        // Every frame sets `lastComm`, and so does the first byte of one (PROTOCOL 2.2).
        let now_ms = self.plane.clock.now_ms();
        self.membership.heard(now_ms);
        self.line.heard(now_ms);
        let mut came = Came::default();
        let mut reader = std::mem::take(&mut self.reader);
        let events = reader.read(bytes, self.plane.reading());
        let ended = self.take_events(cx, events, &mut came, replies, now_ms);
        self.reader = reader;
        // What came before the end counts, and is answered.
        let settled = self.settle(cx, &mut came, replies);
        ended.and(settled)
    }

    fn take_events(
        &mut self,
        cx: &mut Context<'_>,
        mut events: Events<'_>,
        came: &mut Came,
        replies: &mut Replies,
        now_ms: u64,
    ) -> Result<(), Ending> {
        while let Some(event) = events.next() {
            match event.map_err(Ending::Broken)? {
                Event::Message { is_text, bytes, kept } => {
                    came.add(bytes);
                    if self.line.is_parting() {
                        continue;
                    }
                    if let Some(pace) = &mut self.pace
                        && !pace.allows(bytes, now_ms)
                    {
                        return Err(Ending::TooFast);
                    }
                    if let Some(payload) = kept {
                        self.answer(is_text, payload, replies, now_ms);
                    }
                }
                Event::Ping(_) if self.line.is_parting() => {}
                Event::Ping(payload) if self.outbox.waits() => self.outbox.pong_later(payload),
                Event::Ping(payload) => replies.control(Control::Pong, payload),
                Event::Pong(payload) => self.pong_came(payload),
                Event::Close(frame) => return Err(Ending::Closed(frame)),
            }
            if replies.are_enough() {
                self.settle(cx, came, replies)?;
            }
        }
        Ok(())
    }

    /// A pong that nobody asked for says nothing of how long the way is.
    fn pong_came(&self, payload: &[u8]) {
        if let Some(age) = self.plane.stamps.age(payload) {
            let rounded_ms = (age + Duration::from_micros(500)).as_millis();
            self.membership.rtt_was(u64::try_from(rounded_ms).unwrap_or(u64::MAX));
        }
    }

    /// Does what a control message says, or echoes.
    fn answer(&mut self, is_text: bool, payload: &[u8], replies: &mut Replies, now_ms: u64) {
        if let Some(text) = control::text(is_text, payload) {
            if let Err((code, message)) = control::obey(text, &mut self.membership, now_ms)
                && self.line.speaks_headcount()
            {
                replies.text(&ToClient::Error { code, message }.to_text());
            }
        } else if self.plane.config.echo {
            replies.message(if is_text { Data::Text } else { Data::Binary }, payload);
        }
    }

    /// Stores what was counted and then sends the replies: a client that has seen its pong finds its bytes counted.
    fn settle(&mut self, cx: &mut Context<'_>, came: &mut Came, replies: &mut Replies) -> Result<(), Ending> {
        if came.messages > 0 {
            self.membership.messages_came(std::mem::take(came));
        }
        if replies.frames.is_empty() {
            return Ok(());
        }
        if !self.outbox.has_room(self.plane.max_waiting()) {
            return Err(Ending::SlowConsumer);
        }
        // Before they are sent: whoever has a message finds it counted.
        replies.count_for(self.membership.session());
        let sent = self.outbox.send(&mut self.stream, cx, &replies.frames);
        replies.clear();
        sent.map_err(|error| Ending::Broken(error.into()))
    }
}

/// Appends a close frame.
pub(super) fn put_close(frames: &mut Vec<u8>, frame: Option<CloseFrame>) {
    frames::put(frames, OpCode::Control(Control::Close), Frame::close(frame).payload());
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// With its stream and the 104 bytes that the runtime adds it is four cache lines, and the runtime rounds up to two.
    #[test]
    fn the_task_of_a_connection_is_four_cache_lines() {
        const STREAM: usize = 32;
        let own = size_of::<Task<TcpStream>>() - size_of::<TcpStream>();
        assert!(own + STREAM + 104 <= 256, "{own}");
    }
}
