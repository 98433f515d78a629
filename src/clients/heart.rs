//! One timer for all connections: every one is pinged once a heartbeat, and one that is silent for two and a half
//! is lost (PROTOCOL 2.4).

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time;

use super::line::{Line, Signal};
use crate::edge::clock::Clock;

/// A heartbeat is divided into so many turns. A connection has its turn for life, drawn by lot: so pings are
/// spread evenly, and keeping a connection costs one pointer and no timer.
const TURNS: usize = 64;

/// The heart of the client plane.
#[derive(Debug)]
pub(crate) struct Heart {
    beat: Duration,
    wheel: Mutex<Wheel>,
}

#[derive(Debug)]
struct Wheel {
    turns: Vec<Vec<Weak<Line>>>,
    next: usize,
    /// Those that have not answered the last ping; few, and watched closely.
    suspects: Vec<Weak<Line>>,
}

impl Heart {
    pub(crate) fn new(beat: Duration) -> Self {
        let wheel = Wheel { turns: vec![Vec::new(); TURNS], next: 0, suspects: Vec::new() };
        Self { beat, wheel: Mutex::new(wheel) }
    }

    pub(crate) fn beat_ms(&self) -> u64 {
        u64::try_from(self.beat.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn enroll(&self, line: &Arc<Line>) {
        let turn = usize::from(rand::random::<u8>()) % TURNS;
        self.lock().turns[turn].push(Arc::downgrade(line));
    }

    /// Beats for ever.
    pub(crate) async fn run(&self, clock: Clock) {
        let turn = self.beat / u32::try_from(TURNS).expect("a few");
        let mut turns = time::interval(turn.max(Duration::from_millis(1)));
        loop {
            turns.tick().await;
            self.turn(clock.now_ms());
        }
    }

    /// Pings those whose turn it is, and gives up those that have been silent for too long.
    fn turn(&self, now_ms: u64) {
        let beat_ms = self.beat_ms();
        let mut wheel = self.lock();
        let Wheel { turns, next, suspects } = &mut *wheel;
        turns[*next].retain(|line| {
            let Some(line) = line.upgrade() else { return false };
            line.signal(Signal::Ping);
            // It was pinged a beat ago and has said nothing since.
            if line.silent_ms(now_ms) >= beat_ms {
                suspects.push(Arc::downgrade(&line));
            }
            true
        });
        *next = (*next + 1) % TURNS;
        suspects.retain(|line| {
            let Some(line) = line.upgrade() else { return false };
            let silent_ms = line.silent_ms(now_ms);
            let is_lost = silent_ms >= beat_ms * 5 / 2;
            if is_lost {
                line.signal(Signal::Silent);
            }
            !is_lost && silent_ms >= beat_ms
        });
    }

    fn lock(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn signals(line: &Line) -> Vec<Signal> {
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match line.poll_signal(&mut cx) {
            Poll::Ready(signal) => Some(signal),
            Poll::Pending => None,
        })
        .collect()
    }

    /// Turns the wheel through this many heartbeats of 6,400 ms; answers the time.
    fn pass(heart: &Heart, from_ms: u64, beats: u64) -> u64 {
        for turn in 0..beats * TURNS as u64 {
            heart.turn(from_ms + turn * 100);
        }
        from_ms + beats * 6_400
    }

    #[test]
    fn everybody_is_pinged_once_a_heartbeat_and_not_all_at_once() {
        let heart = Heart::new(Duration::from_millis(6_400));
        let lines: Vec<_> = (0..640).map(|_| Arc::new(Line::new(false, 0))).collect();
        lines.iter().for_each(|line| heart.enroll(line));
        let mut most = 0;
        for turn in 0..TURNS as u64 {
            heart.turn(turn * 10);
            most = most.max(lines.iter().filter(|line| !signals(line).is_empty()).count());
        }
        assert!(most < 64, "a tenth of all at once: {most}");
        lines.iter().for_each(|line| line.heard(10_000));
        pass(&heart, 640, 3);
        assert!(lines.iter().all(|line| signals(line) == [Signal::Ping, Signal::Ping, Signal::Ping]));
        drop(lines);
        pass(&heart, 30_000, 1);
        assert!(heart.lock().turns.iter().all(Vec::is_empty), "who has left is forgotten");
    }

    #[test]
    fn a_peer_is_lost_after_two_and_a_half_heartbeats_of_silence() {
        let heart = Heart::new(Duration::from_millis(6_400));
        let (silent, alive) = (Arc::new(Line::new(false, 0)), Arc::new(Line::new(false, 0)));
        heart.enroll(&silent);
        heart.enroll(&alive);
        for turn in 0..1_000 {
            let now_ms = turn * 100;
            heart.turn(now_ms);
            if signals(&alive).contains(&Signal::Ping) {
                alive.heard(now_ms);
            }
            let is_lost = signals(&silent).contains(&Signal::Silent);
            assert_eq!(is_lost, now_ms == 16_000, "at {now_ms} ms");
            if is_lost {
                return;
            }
        }
        panic!("never lost");
    }
}
