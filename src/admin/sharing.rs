//! One answer for all who ask the same at about the same time.
//!
//! Whoever asks first makes it; those who come while it is made wait for it, and those who come a little later find it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{runtime::Handle, sync::watch, time};

/// The most answers that are there to be found at a time; the oldest goes first.
const MAX_SHARED: usize = 16;

/// Answers that can be had by whoever asks for the same.
#[derive(Debug)]
pub(super) struct Sharing<K, T> {
    answers: Mutex<HashMap<K, Answer<T>>>,
    /// How many were begun; the number of the next.
    turns: AtomicU64,
    /// How much all of them may weigh.
    max_weight: usize,
}

/// The newest answer to a question.
#[derive(Debug)]
struct Answer<T> {
    turn: u64,
    /// Nothing in it is older, in milliseconds of the server's clock.
    began_ms: u64,
    weight: usize,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    /// Told when it is no more.
    BeingMade(watch::Receiver<()>),
    Made(T),
    TooLarge,
}

/// What becomes of somebody who asks.
pub(super) enum Share<K: Key, T: Clone> {
    Found(T),
    /// Somebody makes it: ask again after this.
    Wait(BoxFuture<'static, ()>),
    /// It is theirs to make, of nothing that they have looked at before.
    Make(Turn<K, T>),
    /// It is too large to be shared: they make their own.
    Alone,
}

/// What is asked, and by whom as far as that makes a difference.
pub(super) trait Key: Clone + Eq + Hash + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Key for K {}

/// Somebody's turn to make an answer. Dropped, it is the next one's.
#[derive(Debug)]
pub(super) struct Turn<K: Key, T: Clone> {
    sharing: Arc<Sharing<K, T>>,
    key: K,
    number: u64,
    pub(super) began_ms: u64,
    /// For how long it can be found.
    kept: Duration,
    /// Dropped last, it tells those who wait.
    _ends: watch::Sender<()>,
}

impl<K: Key, T: Clone + Send + Sync + 'static> Sharing<K, T> {
    /// Answers that weigh so much together at the most.
    pub(super) fn new(max_weight: usize) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::default(), turns: AtomicU64::new(0), max_weight })
    }

    /// What there is of an answer that began `max_age` ago or later; `asked_ms` is when they asked, and `now_ms` is now.
    pub(super) fn ask(
        self: &Arc<Self>,
        key: &K,
        max_age: Duration,
        (asked_ms, now_ms): (u64, u64),
    ) -> Share<K, T> {
        let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let mut answers = self.lock();
        let known = answers.get(key).filter(|answer| answer.began_ms >= asked_ms.saturating_sub(max_age_ms));
        match known.map(|answer| &answer.state) {
            Some(State::Made(made)) => return Share::Found(made.clone()),
            Some(State::TooLarge) => return Share::Alone,
            Some(State::BeingMade(ended)) => {
                let mut ended = ended.clone();
                return Share::Wait(Box::pin(async move {
                    // Nothing is ever sent: it completes when the sender is gone.
                    let _ = ended.changed().await;
                }));
            }
            None => {}
        }
        let (ends, ended) = watch::channel(());
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        let answer = Answer { turn: number, began_ms: now_ms, weight: 0, state: State::BeingMade(ended) };
        answers.insert(key.clone(), answer);
        drop(answers);
        Share::Make(Turn {
            sharing: self.clone(),
            key: key.clone(),
            number,
            began_ms: now_ms,
            kept: max_age,
            _ends: ends,
        })
    }

    /// How many answers were begun.
    #[cfg(test)]
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

impl<K: Key, T: Clone> Sharing<K, T> {
    /// Forgets the oldest, until there are not too many and they do not weigh too much.
    fn make_room(&self, answers: &mut HashMap<K, Answer<T>>) {
        loop {
            let made = || answers.iter().filter(|(_, answer)| !matches!(answer.state, State::BeingMade(_)));
            let weight: usize = made().map(|(_, answer)| answer.weight).sum();
            if made().count() <= MAX_SHARED && weight <= self.max_weight {
                return;
            }
            let oldest = made().min_by_key(|(_, answer)| answer.turn).map(|(key, _)| key.clone());
            let Some(key) = oldest else { return };
            answers.remove(&key);
        }
    }

    /// An answer is over: it can be found no more.
    fn forget(&self, key: &K, turn: u64) {
        let mut answers = self.lock();
        if answers.get(key).is_some_and(|answer| answer.turn == turn) {
            answers.remove(key);
        }
    }
}

impl<K, T> Sharing<K, T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Answer<T>>> {
        // What is done under it is storing whole answers.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key, T: Clone + Send + Sync + 'static> Turn<K, T> {
    /// It is made: whoever waits has it, and whoever asks for as old a one.
    pub(super) fn made(self, answer: T, weight: usize) {
        if weight > self.sharing.max_weight {
            self.too_large();
        } else {
            self.end(State::Made(answer), weight);
        }
    }

    /// It is nothing to keep: whoever waits makes their own.
    pub(super) fn too_large(self) {
        self.end(State::TooLarge, 0);
    }

    fn end(self, state: State<T>, weight: usize) {
        let mut answers = self.sharing.lock();
        // If somebody wanted a newer one meanwhile, that is the one to find.
        if let Some(answer) = answers.get_mut(&self.key).filter(|answer| answer.turn == self.number) {
            (answer.state, answer.weight) = (state, weight);
        }
        self.sharing.make_room(&mut answers);
        drop(answers);
        // Without a runtime nobody waits either, and the next to ask finds it too old.
        if let Ok(runtime) = Handle::try_current() {
            let (sharing, key) = (Arc::downgrade(&self.sharing), self.key.clone());
            runtime.spawn(forget_later(sharing, key, self.number, self.kept));
        }
    }
}

impl<K: Key, T: Clone> Drop for Turn<K, T> {
    fn drop(&mut self) {
        let mut answers = self.sharing.lock();
        let own = answers.get(&self.key).filter(|answer| answer.turn == self.number);
        if own.is_some_and(|answer| matches!(answer.state, State::BeingMade(_))) {
            answers.remove(&self.key);
        }
    }
}

async fn forget_later<K: Key, T: Clone>(sharing: Weak<Sharing<K, T>>, key: K, turn: u64, kept: Duration) {
    time::sleep(kept).await;
    if let Some(sharing) = sharing.upgrade() {
        sharing.forget(&key, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_millis(100);

    type Texts = Arc<Sharing<&'static str, &'static str>>;

    fn ask(sharing: &Texts, key: &'static str, now_ms: u64) -> Share<&'static str, &'static str> {
        sharing.ask(&key, AGE, (now_ms, now_ms))
    }

    #[track_caller]
    fn begin(sharing: &Texts, key: &'static str, now_ms: u64) -> Turn<&'static str, &'static str> {
        let Share::Make(turn) = ask(sharing, key, now_ms) else { panic!("somebody else makes it") };
        turn
    }

    #[track_caller]
    fn finds(sharing: &Texts, key: &'static str, now_ms: u64) -> &'static str {
        let Share::Found(found) = ask(sharing, key, now_ms) else { panic!("there is none") };
        found
    }

    #[tokio::test]
    async fn those_who_ask_the_same_wait_for_one_answer_and_find_it_while_it_is_new() {
        let sharing = Sharing::new(100);
        let turn = begin(&sharing, "a", 1_000);
        let Share::Wait(made) = ask(&sharing, "a", 1_050) else { panic!("it is being made") };
        drop(begin(&sharing, "b", 1_050));
        turn.made("A", 1);
        made.await;
        assert_eq!((finds(&sharing, "a", 1_050), finds(&sharing, "a", 1_100)), ("A", "A"));
        begin(&sharing, "a", 1_101).made("A2", 1);
        assert_eq!(finds(&sharing, "a", 1_101), "A2");
        assert_eq!(sharing.turns(), 3);
    }

    #[tokio::test]
    async fn what_is_given_up_is_the_next_one_s_to_make() {
        let sharing = Sharing::new(100);
        let turn = begin(&sharing, "a", 1_000);
        let Share::Wait(given_up) = ask(&sharing, "a", 1_000) else { panic!("it is being made") };
        drop(turn);
        given_up.await;
        begin(&sharing, "a", 1_010).too_large();
        assert!(matches!(ask(&sharing, "a", 1_020), Share::Alone));
    }

    #[test]
    fn what_began_too_early_is_not_waited_for_and_is_found_by_nobody() {
        let sharing = Sharing::new(100);
        let slow = begin(&sharing, "a", 1_000);
        let fresh = begin(&sharing, "a", 1_200);
        slow.made("old", 1);
        assert!(matches!(ask(&sharing, "a", 1_250), Share::Wait(_)));
        fresh.made("new", 1);
        assert_eq!(finds(&sharing, "a", 1_250), "new");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_forgotten_in_time_and_are_never_many() {
        let sharing = Sharing::new(100);
        begin(&sharing, "a", 0).made("A", 1);
        time::sleep(AGE * 2).await;
        assert!(sharing.lock().is_empty());
        let keys: Vec<&'static str> = (0..20).map(|n| &*n.to_string().leak()).collect();
        for key in &keys {
            begin(&sharing, key, 0).made("x", 1);
        }
        assert_eq!(sharing.lock().len(), MAX_SHARED);
        assert!(!sharing.lock().contains_key("3") && sharing.lock().contains_key("4"), "the oldest went");
        begin(&sharing, "heavy", 0).made("x", 90);
        assert_eq!(sharing.lock().len(), 11, "as light as they may be together");
        begin(&sharing, "too heavy", 0).made("x", 101);
        assert!(matches!(ask(&sharing, "too heavy", 0), Share::Alone));
    }
}
