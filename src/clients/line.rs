use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

use crate::session::{Order, Outlet};

/// The most that may wait for a connection's task. A task that takes nothing for so long is stuck, and what is
/// told to it is undeliverable.
const MAX_WAITING: usize = 64;

/// The line to one connection's task: what it is told by others, and when its peer was last heard.
#[derive(Debug)]
pub(super) struct Line {
    waiting: Mutex<VecDeque<Signal>>,
    waker: AtomicWaker,
    last_heard_ms: AtomicU64,
    /// Whether the client understands text messages of the server.
    speaks_headcount: bool,
}

/// What a connection's task is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// By an administrator, or the server's end.
    Order(Order),
    /// Ask the peer whether it is there.
    Ping,
    /// The peer has not been heard for too long.
    Silent,
}

impl Line {
    pub(super) fn new(speaks_headcount: bool, now_ms: u64) -> Self {
        Self {
            waiting: Mutex::default(),
            waker: AtomicWaker::new(),
            last_heard_ms: AtomicU64::new(now_ms),
            speaks_headcount,
        }
    }

    pub(super) fn speaks_headcount(&self) -> bool {
        self.speaks_headcount
    }

    pub(super) fn heard(&self, now_ms: u64) {
        self.last_heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// For how long the peer has been silent.
    pub(super) fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.last_heard_ms.load(Ordering::Relaxed))
    }

    /// Tells the task; `false` if too much waits already.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let mut waiting = self.lock();
        if waiting.len() >= MAX_WAITING {
            return false;
        }
        waiting.push_back(signal);
        drop(waiting);
        self.waker.wake();
        true
    }

    /// The next signal. For one task alone.
    pub(super) fn poll_signal(&self, cx: &mut Context<'_>) -> Poll<Signal> {
        // Registered first: what comes between the look and the registering would wake nobody.
        self.waker.register(cx.waker());
        self.lock().pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Signal>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for Line {
    fn tell(&self, order: Order) -> bool {
        let is_understood = self.speaks_headcount || !matches!(order, Order::Send(_));
        is_understood && self.signal(Signal::Order(order))
    }
}
