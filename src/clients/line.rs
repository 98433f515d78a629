use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Waker},
};

use crate::session::{Order, Outlet};

/// The most texts that may wait for a connection's task. A task that takes nothing for so long is stuck, and what is
/// told to it is undeliverable.
const MAX_WAITING: usize = 64;

/// The line to one connection's task: what it is told by others, and when its peer was last heard.
///
/// There is one for each connection, and every message comes by here, so it is one cache line together with the counts
/// of its `Arc`: a bit for each thing that needs no words, and a queue only while orders wait.
#[derive(Debug)]
pub(super) struct Line {
    /// The task's own: the runtime gives a task one waker for all its life.
    waker: OnceLock<Waker>,
    /// Without what is above 32 bits, which silences of less than 49 days have no need of.
    last_heard_ms: AtomicU32,
    orders: Mutex<Option<Box<Orders>>>,
    signals: AtomicU8,
    /// Whether the client understands text messages of the server.
    speaks_headcount: bool,
    /// The peer has been asked to leave. For the task alone; here, because here it costs nothing.
    is_parting: AtomicBool,
    /// The last order has been told, behind which nothing is passed on. Changed under the lock of the orders.
    is_last_told: AtomicBool,
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
            waker: OnceLock::new(),
            last_heard_ms: AtomicU32::new(now_ms as u32),
            orders: Mutex::new(None),
            signals: AtomicU8::new(0),
            speaks_headcount,
            is_parting: AtomicBool::new(false),
            is_last_told: AtomicBool::new(false),
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
        self.last_heard_ms.store(now_ms as u32, Ordering::Relaxed);
    }

    /// For how long the peer has been silent. [`MAX_HEARTBEAT`](crate::config::MAX_HEARTBEAT) sees to it that it is
    /// given up long before this cannot be told any more.
    pub(super) fn silent_ms(&self, now_ms: u64) -> u64 {
        let since_ms = (now_ms as u32).wrapping_sub(self.last_heard_ms.load(Ordering::Relaxed));
        // Heard by another thread after this one has read its clock.
        if since_ms > u32::MAX / 2 { 0 } else { since_ms.into() }
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
        // Before its first turn the task has no waker yet, and looks by itself.
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// What was told since the last time; if nothing, the task is woken when something is. For one task alone.
    pub(super) fn told(&self, cx: &Context<'_>) -> Option<Told> {
        // The waker first: what comes between the look and that would wake nobody. The first look is an exchange, which a
        // signal either comes before, and is seen, or after, and then sees the waker; a load might be done too early.
        let is_first = self.waker.get().is_none();
        self.waker.get_or_init(|| cx.waker().clone());
        if !is_first && self.signals.load(Ordering::Acquire) == 0 {
            return None;
        }
        let signals = self.signals.swap(0, Ordering::AcqRel);
        if signals == 0 {
            return None;
        }
        let orders = if signals & ORDERS == 0 { None } else { self.orders().take() };
        Some(Told { signals, orders: orders.map_or_else(Vec::new, |orders| orders.0) })
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Option<Box<Orders>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for Line {
    fn tell(&self, order: Order) -> bool {
        let is_text = matches!(order, Order::Send(_));
        if is_text && !self.speaks_headcount {
            return false;
        }
        let mut waiting = self.orders();
        if self.is_last_told.load(Ordering::Relaxed) {
            return !is_text;
        }
        let Orders(orders) = &mut **waiting.get_or_insert_default();
        // What ends the connection is taken however many wait: its session may be gone already, and then nobody knows
        // it any more who could tell it again.
        if is_text && orders.len() >= MAX_WAITING {
            return false;
        }
        self.is_last_told.store(!is_text, Ordering::Relaxed);
        orders.push(order);
        drop(waiting);
        self.signal(ORDERS);
        true
    }

    fn silent_ms(&self, now_ms: u64) -> u64 {
        self.silent_ms(now_ms)
    }

    fn ping(&self) {
        self.ping();
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
    fn the_end_is_told_however_much_waits_and_nothing_after_it() {
        let line = Line::new(true, 0);
        let text = || Order::Send("x".into());
        while line.tell(text()) {}
        assert!(line.tell(Order::Close { code: 4001, reason: "go".into() }));
        assert!(line.tell(Order::Drain), "it ends already");
        let cx = Context::from_waker(Waker::noop());
        let orders = line.told(&cx).unwrap().orders;
        assert_eq!(orders.len(), MAX_WAITING + 1);
        assert!(matches!(orders.last(), Some(Order::Close { code: 4001, .. })));
        assert!(!line.tell(text()), "nobody would pass it on");
        assert_eq!(line.told(&cx), None);
    }

    #[test]
    fn a_line_is_one_cache_line() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<Line>() + counts <= 64, "{}", size_of::<Line>());
    }

    #[test]
    fn a_silence_is_measured_across_the_end_of_32_bits() {
        let around = u64::from(u32::MAX);
        let line = Line::new(false, around - 10);
        assert_eq!(line.silent_ms(around + 20), 30);
        line.heard(around + 5);
        assert_eq!((line.silent_ms(around + 5), line.silent_ms(around + 105)), (0, 100));
        assert_eq!(line.silent_ms(around), 0, "a clock that was read before");
    }
}
