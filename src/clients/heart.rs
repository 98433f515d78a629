//! One timer for all connections: every one is pinged once a heartbeat, and one that is silent for two and a half
//! is lost (PROTOCOL 2.4).

use std::{
    hint,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    task,
    time::{self, MissedTickBehavior},
};

use super::line::Line;
use crate::{
    config::MAX_HEARTBEAT,
    edge::{clock::Clock, waits::long},
};

/// A heartbeat is divided into so many turns. A connection has its turn for life, drawn by lot: so pings are
/// spread evenly, and keeping a connection costs one pointer and no timer. More turns would wake everybody concerned,
/// the clients' side too, more often for the same work.
const TURNS: usize = 16;

/// How often in a turn those are looked after that may be lost, if there are any, so that none is lost much too late.
const LOOKS: u32 = 4;

/// So many are told to ping together. Then whatever came meanwhile has its turn: a ping takes some microseconds, so it
/// waits for less than a millisecond.
const AT_ONCE: usize = 64;

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
    /// How far the turn has come.
    pinged: usize,
    /// Those that have not answered the last ping, and since which age of the heart; few, and watched closely.
    suspects: Vec<(Weak<Line>, u64)>,
    /// When they were last looked after.
    looked_ms: Option<u64>,
    /// How long the heart has beaten, without what it has slept through.
    age_ms: u64,
    /// The grace period is over.
    is_cut: bool,
}

impl Heart {
    pub(crate) fn new(beat: Duration) -> Self {
        let wheel = Wheel {
            turns: vec![Vec::new(); TURNS],
            next: 0,
            pinged: 0,
            suspects: Vec::new(),
            looked_ms: None,
            age_ms: 0,
            is_cut: false,
        };
        Self { beat: beat.min(MAX_HEARTBEAT), wheel: Mutex::new(wheel) }
    }

    pub(crate) fn beat_ms(&self) -> u64 {
        u64::try_from(self.beat.as_millis()).unwrap_or(u64::MAX)
    }

    fn turn_ms(&self) -> u64 {
        self.beat_ms() / TURNS as u64
    }

    pub(super) fn enroll(&self, line: &Arc<Line>) {
        let turn = usize::from(rand::random::<u8>()) % TURNS;
        let mut wheel = self.lock();
        wheel.turns[turn].push(Arc::downgrade(line));
        if wheel.is_cut {
            line.cut();
        }
    }

    /// Cuts every connection, also those that come late. The heart knows them all, so it costs none of them anything.
    pub(super) fn cut(&self) {
        let mut wheel = self.lock();
        wheel.is_cut = true;
        wheel.turns.iter().flatten().filter_map(Weak::upgrade).for_each(|line| line.cut());
    }

    /// Beats for ever. It belongs on a thread that runs connections: waking one from there is a push to the thread's own
    /// queue, from elsewhere a system call.
    pub(crate) async fn run(&self, clock: Clock) {
        let turn = (self.beat / u32::try_from(TURNS).expect("a few")).max(Duration::from_millis(1));
        let mut turns = long(|| time::interval(turn));
        // After a pause of the server's, what was missed is not made up for.
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // Where everybody answers, nobody has to be looked after between the turns.
            let pause = if self.has_suspects() { turn / LOOKS } else { Duration::MAX };
            let is_turn = long(|| time::timeout(pause, turns.tick())).await.is_ok();
            self.look_after(clock.now_ms());
            while is_turn && self.ping_some(clock.now_ms()) {
                task::yield_now().await;
            }
        }
    }

    fn has_suspects(&self) -> bool {
        !self.lock().suspects.is_empty()
    }

    /// Pings some of those whose turn it is; `false` when that were all, and the next turn is another's.
    fn ping_some(&self, now_ms: u64) -> bool {
        let (beat_ms, turn_ms) = (self.beat_ms(), self.turn_ms());
        let mut wheel = self.lock();
        let Wheel { turns, next, pinged, suspects, age_ms, .. } = &mut *wheel;
        let turn = &mut turns[*next];
        let until = (*pinged + AT_ONCE).min(turn.len());
        // Asks for the memory of all of them at once, rather than for each when it is its turn.
        for line in &turn[*pinged..until] {
            hint::black_box(line.strong_count());
        }
        while *pinged < until.min(turn.len()) {
            let Some(line) = turn[*pinged].upgrade() else {
                turn.swap_remove(*pinged);
                continue;
            };
            *pinged += 1;
            line.ping();
            // It was pinged a beat ago and has said nothing since. A turn more, since turns come now sooner and now later,
            // and nobody who answers is to be looked after.
            if line.silent_ms(now_ms) >= beat_ms + turn_ms {
                suspects.push((Arc::downgrade(&line), *age_ms));
            }
        }
        let is_done = *pinged == turn.len();
        if is_done {
            *pinged = 0;
            *next = (*next + 1) % TURNS;
        }
        !is_done
    }

    /// Gives up those that have been silent for too long.
    ///
    /// Each has half a heartbeat after it was pinged in vain, without pauses of the server's own, or of the machine's:
    /// what came meanwhile waits to be read, and whoever was not asked could not answer.
    fn look_after(&self, now_ms: u64) {
        let (beat_ms, turn_ms) = (self.beat_ms(), self.turn_ms());
        let mut wheel = self.lock();
        let Wheel { suspects, looked_ms, age_ms, .. } = &mut *wheel;
        // Looks are a sixteenth of a heartbeat apart, or less. What is much more was slept through.
        let passed_ms = looked_ms.replace(now_ms).map_or(0, |looked_ms| now_ms.saturating_sub(looked_ms));
        *age_ms += passed_ms.min((beat_ms / 8).max(1));
        suspects.retain(|(line, since_ms)| {
            let Some(line) = line.upgrade() else { return false };
            let silent_ms = line.silent_ms(now_ms);
            let is_lost = silent_ms >= beat_ms * 5 / 2 && *age_ms - since_ms >= beat_ms / 2 - turn_ms;
            if is_lost {
                line.silent();
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
    use std::task::{Context, Waker};

    use super::{super::line::Told, *};

    fn told(line: &Line) -> Option<Told> {
        line.told(&Context::from_waker(Waker::noop()))
    }

    /// One whole turn.
    fn turn(heart: &Heart, now_ms: u64) {
        heart.look_after(now_ms);
        while heart.ping_some(now_ms) {}
    }

    fn is_pinged(line: &Line) -> bool {
        told(line).is_some_and(|told| told.to_ping())
    }

    /// Turns the wheel through this many heartbeats of 6,400 ms; answers the time.
    fn pass(heart: &Heart, from_ms: u64, beats: u64) -> u64 {
        for turn in 0..beats * TURNS as u64 {
            self::turn(heart, from_ms + turn * 100);
        }
        from_ms + beats * 6_400
    }

    #[test]
    fn everybody_is_pinged_once_a_heartbeat_and_not_all_at_once() {
        let heart = Heart::new(Duration::from_millis(6_400));
        let lines: Vec<_> = (0..640).map(|_| Arc::new(Line::new(false, 0))).collect();
        lines.iter().for_each(|line| heart.enroll(line));
        let mut pings = vec![0; lines.len()];
        for turn in 0..3 * TURNS as u64 {
            self::turn(&heart, turn * 10);
            let mut at_once = 0;
            for (line, pings) in lines.iter().zip(&mut pings) {
                let is_pinged = is_pinged(line);
                *pings += u32::from(is_pinged);
                at_once += u32::from(is_pinged);
            }
            assert!(at_once < 96, "a sixteenth is 40: {at_once}");
        }
        assert!(pings.iter().all(|pings| *pings == 3), "{pings:?}");
        drop(lines);
        pass(&heart, 30_000, 1);
        assert!(heart.lock().turns.iter().all(Vec::is_empty), "who has left is forgotten");
    }

    /// Turns that came some milliseconds late made everybody a suspect in every heartbeat.
    #[test]
    fn nobody_who_answers_is_looked_after_though_turns_come_late() {
        let heart = Heart::new(Duration::from_millis(6_400));
        let lines: Vec<_> = (0..100).map(|_| Arc::new(Line::new(false, 0))).collect();
        lines.iter().for_each(|line| heart.enroll(line));
        for turn in 0..5 * TURNS as u64 {
            let late_ms = turn / TURNS as u64 * 7;
            self::turn(&heart, turn * 400 + late_ms);
            lines.iter().filter(|line| is_pinged(line)).for_each(|line| line.heard(turn * 400 + late_ms + 1));
            assert!(!heart.has_suspects(), "in turn {turn}");
        }
    }

    #[test]
    fn a_peer_is_lost_after_two_and_a_half_heartbeats_of_silence() {
        let heart = Heart::new(Duration::from_millis(6_400));
        let (silent, alive) = (Arc::new(Line::new(false, 0)), Arc::new(Line::new(false, 0)));
        heart.enroll(&silent);
        heart.enroll(&alive);
        for turn in 0..1_000 {
            let now_ms = turn * 100;
            self::turn(&heart, now_ms);
            if is_pinged(&alive) {
                alive.heard(now_ms);
            }
            let is_lost = told(&silent).is_some_and(|told| told.is_silent());
            assert_eq!(is_lost, now_ms == 16_000, "at {now_ms} ms");
            if is_lost {
                return;
            }
        }
        panic!("never lost");
    }

    /// A server that was stopped for a while took all its clients for lost, although their bytes waited to be read.
    #[test]
    fn nobody_is_lost_because_the_server_itself_stood_still() {
        let heart = Heart::new(Duration::from_millis(6_400));
        let (silent, alive) = (Arc::new(Line::new(false, 0)), Arc::new(Line::new(false, 0)));
        heart.enroll(&silent);
        heart.enroll(&alive);
        pass(&heart, 0, 1);
        alive.heard(6_400);
        const GOES_ON: u64 = 600_000;
        for turn in 0..=TURNS as u64 * 3 / 2 + 1 {
            let now_ms = GOES_ON + turn * 400;
            self::turn(&heart, now_ms);
            let is_lost = |line: &Line| told(line).is_some_and(|told| told.is_silent());
            assert!(!is_lost(&alive), "at {now_ms} ms");
            // What it sent before the pause is read after the first turn.
            alive.heard(now_ms);
            if is_lost(&silent) {
                assert!(now_ms >= GOES_ON + 3_200, "it has half a heartbeat to answer: {now_ms}");
                return;
            }
        }
        panic!("never lost");
    }

    #[test]
    fn all_are_cut_and_so_is_who_comes_too_late() {
        let heart = Heart::new(Duration::from_secs(15));
        let (early, late) = (Arc::new(Line::new(false, 0)), Arc::new(Line::new(false, 0)));
        heart.enroll(&early);
        heart.cut();
        heart.enroll(&late);
        assert!(told(&early).unwrap().is_cut() && told(&late).unwrap().is_cut());
    }
}
