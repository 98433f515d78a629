use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::Context,
};

use futures::task::AtomicWaker;

use crate::session::{Order, Outlet};

/// The most that may wait for a connection's task. A task that takes nothing for so long is stuck, and what is
/// told to it is undeliverable.
const MAX_WAITING: usize = 64;

/// The line to one connection's task: what it is told by others, and when its peer was last heard.
///
/// There is one for each connection, so it is small: a bit for each thing that needs no words, and a queue only
/// while orders wait.
#[derive(Debug)]
pub(super) struct Line {
    waker: AtomicWaker,
    last_heard_ms: AtomicU64,
    orders: Mutex<Option<Box<Orders>>>,
    signals: AtomicU8,
    /// Whether the client understands text messages of the server.
    speaks_headcount: bool,
    /// The peer has been asked to leave. For the task alone; here, because here it costs nothing.
    is_parting: AtomicBool,
}

/// By an administrator, or the server's end.
#[derive(Debug, Default)]
struct Orders(Vec<Order>);

/// What a connection's task is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    signals: u8,
    pub(super) orders: Vec<Order>,
}

const PING: u8 = 1;
const SILENT: u8 = 2;
const CUT: u8 = 4;
const ORDERS: u8 = 8;

impl Told {
    /// Ask the peer whether it is there.
    pub(super) fn to_ping(&self) -> bool {
        self.signals & PING != 0
    }

    /// The peer has not been heard for too long.
    pub(super) fn is_silent(&self) -> bool {
        self.signals & SILENT != 0
    }

    /// The grace period is over.
    pub(super) fn is_cut(&self) -> bool {
        self.signals & CUT != 0
    }
}

impl Line {
    pub(super) fn new(speaks_headcount: bool, now_ms: u64) -> Self {
        Self {
            waker: AtomicWaker::new(),
            last_heard_ms: AtomicU64::new(now_ms),
            orders: Mutex::new(None),
            signals: AtomicU8::new(0),
            speaks_headcount,
            is_parting: AtomicBool::new(false),
        }
    }

    pub(super) fn speaks_headcount(&self) -> bool {
        self.speaks_headcount
    }

    /// Whether the peer has been asked to leave: it is heard until it does, and told nothing more.
    pub(super) fn is_parting(&self) -> bool {
        self.is_parting.load(Ordering::Relaxed)
    }

    pub(super) fn part(&self) {
        self.is_parting.store(true, Ordering::Relaxed);
    }

    pub(super) fn heard(&self, now_ms: u64) {
        self.last_heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// For how long the peer has been silent.
    pub(super) fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.last_heard_ms.load(Ordering::Relaxed))
    }

    /// Tells the task to ask the peer whether it is there. Told twice before it did, it asks once.
    pub(super) fn ping(&self) {
        self.signal(PING);
    }

    /// Tells the task that its peer has been silent for too long.
    pub(super) fn silent(&self) {
        self.signal(SILENT);
    }

    /// Tells the task to end without another word.
    pub(super) fn cut(&self) {
        self.signal(CUT);
    }

    fn signal(&self, signal: u8) {
        self.signals.fetch_or(signal, Ordering::AcqRel);
        self.waker.wake();
    }

    /// What was told since the last time; if nothing, the task is woken when something is. For one task alone.
    pub(super) fn told(&self, cx: &Context<'_>) -> Option<Told> {
        // Registered first: what comes between the look and the registering would wake nobody.
        self.waker.register(cx.waker());
        if self.signals.load(Ordering::Acquire) == 0 {
            return None;
        }
        let signals = self.signals.swap(0, Ordering::AcqRel);
        let orders = if signals & ORDERS == 0 { None } else { self.orders().take() };
        Some(Told { signals, orders: orders.map_or_else(Vec::new, |orders| orders.0) })
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Option<Box<Orders>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for Line {
    fn tell(&self, order: Order) -> bool {
        let is_understood = self.speaks_headcount || !matches!(order, Order::Send(_));
        if !is_understood {
            return false;
        }
        let mut waiting = self.orders();
        let Orders(orders) = &mut **waiting.get_or_insert_default();
        if orders.len() >= MAX_WAITING {
            return false;
        }
        orders.push(order);
        drop(waiting);
        self.signal(ORDERS);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_told_wakes_the_task_and_is_told_once() {
        let line = Line::new(true, 0);
        let woken = Arc::new(Counter::default());
        let waker = Waker::from(woken.clone());
        let cx = Context::from_waker(&waker);
        assert_eq!(line.told(&cx), None);
        line.ping();
        line.ping();
        assert!(line.tell(Order::Drain));
        line.silent();
        assert!(woken.0.load(Ordering::Relaxed) >= 1);
        let told = line.told(&cx).unwrap();
        assert!(told.to_ping() && told.is_silent() && !told.is_cut());
        assert_eq!(told.orders, [Order::Drain]);
        assert_eq!(line.told(&cx), None);
        line.cut();
        assert!(line.told(&cx).unwrap().is_cut());
    }

    #[test]
    fn too_much_is_undeliverable_and_so_is_what_is_not_understood() {
        let (speaker, plain) = (Line::new(true, 0), Line::new(false, 0));
        let text = || Order::Send("x".into());
        assert!(!plain.tell(text()) && plain.tell(Order::Drain));
        assert_eq!((0..100).filter(|_| speaker.tell(text())).count(), MAX_WAITING);
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(speaker.told(&cx).unwrap().orders.len(), MAX_WAITING);
        assert!(speaker.tell(text()));
    }

    #[test]
    fn a_line_is_small() {
        assert!(size_of::<Line>() <= 56, "{}", size_of::<Line>());
    }
}
