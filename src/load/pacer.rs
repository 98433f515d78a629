//! Alarms to a tenth of a millisecond or so. Tokio's own timers count whole milliseconds, rounded up: that error
//! would be in every latency that counts from an intended moment.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    thread,
    time::Instant,
};

/// A thread that wakes tasks at given moments. Dropping it ends the thread; alarms then never ring.
#[derive(Debug)]
pub(super) struct Pacer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Rung when something earlier than all before has been entered, and at the end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    entries: BinaryHeap<Entry>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    waker: Waker,
}

impl Pacer {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ringing = shared.clone();
        thread::Builder::new().name("pacer".to_owned()).spawn(move || ringing.ring())?;
        Ok(Self { shared })
    }

    /// An alarm for this moment.
    pub(super) fn at(&self, at: Instant) -> Alarm {
        Alarm { shared: self.shared.clone(), at, entered: false }
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the queue")
    }

    fn ring(&self) {
        let mut due = Vec::new();
        let mut queue = self.lock();
        while !queue.closed {
            let now = Instant::now();
            while queue.entries.peek().is_some_and(|entry| entry.at <= now) {
                due.extend(queue.entries.pop().map(|entry| entry.waker));
            }
            if due.is_empty() {
                queue = match queue.entries.peek() {
                    Some(entry) => {
                        let wait = entry.at - now;
                        self.changed.wait_timeout(queue, wait).expect("as above").0
                    }
                    None => self.changed.wait(queue).expect("as above"),
                };
            } else {
                // Without the lock, so that those who are woken can enter their next alarm.
                drop(queue);
                due.drain(..).for_each(Waker::wake);
                queue = self.lock();
            }
        }
    }
}

/// Completes at its moment, for one task. Cancel-safe: it keeps its place in the queue.
#[derive(Debug)]
pub(super) struct Alarm {
    shared: Arc<Shared>,
    at: Instant,
    entered: bool,
}

impl Alarm {
    /// Sets it anew, when it has rung.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
        self.entered = false;
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            return Poll::Ready(());
        }
        if !self.entered {
            let entry = Entry { at: self.at, waker: cx.waker().clone() };
            let mut queue = self.shared.lock();
            let is_first = queue.entries.peek().is_none_or(|first| self.at < first.at);
            queue.entries.push(entry);
            drop(queue);
            if is_first {
                self.shared.changed.notify_one();
            }
            self.entered = true;
        }
        Poll::Pending
    }
}

/// The earliest is the greatest: a `BinaryHeap` gives the greatest first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn alarms_ring_in_order_and_never_early() {
        let pacer = Pacer::start().unwrap();
        let start = Instant::now();
        let mut order = Vec::new();
        let alarms = [30, 10, 20].map(|ms| (ms, pacer.at(start + Duration::from_millis(ms))));
        let rung = std::sync::Mutex::new(&mut order);
        futures::future::join_all(alarms.map(|(ms, alarm)| {
            let rung = &rung;
            async move {
                alarm.await;
                assert!(start.elapsed() >= Duration::from_millis(ms));
                rung.lock().unwrap().push(ms);
            }
        }))
        .await;
        assert_eq!(order, [10, 20, 30]);
        let mut again = pacer.at(Instant::now());
        (&mut again).await;
        again.set(Instant::now() + Duration::from_millis(5));
        (&mut again).await;
    }
}
