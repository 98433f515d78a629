//! The plain array of `getSessionInfo`, made for one caller or for all who ask the same at about the same time.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    methods::{Methods, SessionInfoFilters},
    sharing::{Share, Sharing, Turn},
    source::{PART_BYTES, Source},
    view::View,
};
use crate::session::Listing;

/// The largest answer that is shared: some forty thousand rows.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The most memory of all that are shared, also of those that only slow readers still hold.
const MAX_BYTES_IN_ALL: usize = 4 * MAX_BYTES;

/// The answers of `getSessionInfo` that are shared.
#[derive(Debug)]
pub(super) struct Infos {
    answers: Arc<Sharing<Key, Bytes>>,
    /// A permit a byte.
    room: Arc<Semaphore>,
}

/// The filters, and how much the caller sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    view: View,
    filters: SessionInfoFilters,
}

impl Infos {
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(MAX_BYTES_IN_ALL));
        Self { answers: Sharing::new(MAX_BYTES_IN_ALL), room }
    }

    /// Room to gather an answer in.
    fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_many_owned(MAX_BYTES as u32).ok()
    }
}

/// The rows of those who fit, written as they are at the moment of each part, or once for all who ask the same.
pub(super) fn source(methods: &Methods, filters: SessionInfoFilters) -> Box<dyn Source> {
    let (list, wants) = if methods.snapshots.max_age.is_zero() {
        (methods.info_list(filters), None)
    } else {
        let key = Key { view: methods.caller.view().clone(), filters };
        (None, Some((key, methods.clock.now_ms())))
    };
    let methods = methods.clone();
    Box::new(SessionInfos { methods, list, has_begun: false, wants, gathered: None, ready: Bytes::new() })
}

struct SessionInfos {
    methods: Methods,
    /// What is left to write; of an empty list, and of what is found, that is nothing.
    list: Option<Listing>,
    has_begun: bool,
    /// What it is to be shared by, since when, until it is known who makes it.
    wants: Option<(Key, u64)>,
    /// What there is of an answer for others too.
    gathered: Option<Gathered>,
    /// What comes before anything else that is written.
    ready: Bytes,
}

struct Gathered {
    turn: Turn<Key, Bytes>,
    bytes: Vec<u8>,
    room: OwnedSemaphorePermit,
}

/// An answer that gives its room back when its last reader has it.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Gathered {
    /// The answer is whole.
    fn share(mut self) -> Bytes {
        self.bytes.shrink_to_fit();
        drop(self.room.split(MAX_BYTES.saturating_sub(self.bytes.len())));
        let weight = self.bytes.len();
        let whole = Bytes::from_owner(Held { bytes: self.bytes, _room: self.room });
        self.turn.made(whole.clone(), weight);
        whole
    }
}

impl Source for SessionInfos {
    fn waits_for(&mut self) -> Option<BoxFuture<'static, ()>> {
        let (key, asked_ms) = self.wants.take()?;
        let snapshots = &self.methods.snapshots;
        let times = (asked_ms, self.methods.clock.now_ms());
        let turn = match snapshots.infos.answers.ask(&key, snapshots.max_age, times) {
            Share::Wait(other) => {
                self.wants = Some((key, asked_ms));
                return Some(other);
            }
            Share::Found(whole) => {
                (self.ready, self.has_begun) = (whole, true);
                return None;
            }
            Share::Alone => None,
            Share::Make(turn) => Some(turn),
        };
        // No sooner: one of when it was asked for lacks those who came while another's was waited for, and whoever finds
        // the answer is told that it began with the turn.
        self.list = self.methods.info_list(key.filters);
        if let Some(turn) = turn {
            match snapshots.infos.room() {
                Some(room) => self.gathered = Some(Gathered { turn, bytes: Vec::new(), room }),
                None => turn.too_large(),
            }
        }
        None
    }

    fn looks(&self) -> usize {
        self.list.as_ref().map_or(0, |list| self.methods.registry.looks(list))
    }

    fn write_part(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(mut gathered) = self.gathered.take() {
            let end = gathered.bytes.len() + PART_BYTES;
            let more = self.write_rows(end, &mut gathered.bytes);
            if more && gathered.bytes.len() < MAX_BYTES {
                self.gathered = Some(gathered);
                return true;
            }
            if more {
                gathered.turn.too_large();
                self.ready = gathered.bytes.into();
            } else {
                self.list = None;
                self.ready = gathered.share();
            }
        }
        if self.ready.has_remaining() {
            let part = self.ready.split_to(self.ready.len().min(PART_BYTES));
            out.extend_from_slice(&part);
            return self.ready.has_remaining() || self.list.is_some();
        }
        self.write_rows(PART_BYTES, out)
    }

    fn is_smooth(&self) -> bool {
        true
    }
}

impl SessionInfos {
    /// Writes rows until there are so many bytes; `false` if the list is at its end.
    fn write_rows(&mut self, bytes: usize, out: &mut Vec<u8>) -> bool {
        let Methods { registry, clock, .. } = &self.methods;
        if !std::mem::replace(&mut self.has_begun, true) {
            out.push(b'[');
        }
        let now_ms = clock.now_ms();
        let more = self.list.as_mut().is_some_and(|list| registry.write_list(list, now_ms, bytes, out));
        if !more {
            out.push(b']');
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        admin::{
            audit::Audit, caller::Caller, figures::Figures, snapshots::Snapshots, source::Workshop,
            view::tests::token,
        },
        config::tokens::{AdminToken, Scope},
        edge::clock::Clock,
        session::{Membership, Registry, Rules, tests::joining},
    };

    /// Of a caller with this token, on a server where answers are shared.
    fn methods(token: Option<AdminToken>) -> Methods {
        Methods {
            registry: Arc::new(Registry::new(Rules::default())),
            clock: Clock::start(),
            workshop: Workshop::new(1, Duration::from_secs(1)),
            snapshots: Arc::new(Snapshots::new(Duration::from_secs(10))),
            watches: None,
            caller: Caller::new(([127, 0, 0, 1], 1).into(), token.map(Arc::new)),
            audit: Audit::new(None),
            figures: Figures::nothing(),
            draining: CancellationToken::new(),
        }
    }

    fn ask(methods: &Methods) -> Box<dyn Source> {
        methods.session_info(SessionInfoFilters::default())
    }

    fn join(methods: &Methods, id: &str, project: &str) -> Membership {
        methods.registry.join(joining(id, "ann", project), methods.clock.now_ms()).unwrap()
    }

    /// The ids of an answer that need not be waited for, in their order.
    #[track_caller]
    fn ids(mut source: Box<dyn Source>) -> Vec<String> {
        assert!(source.waits_for().is_none(), "somebody makes it");
        let mut out = Vec::new();
        while source.write_part(&mut out) {}
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
        let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Somebody who had waited for an answer that was given up made their own from the list of when they had asked, and
    /// it was found by others as if it were new.
    #[tokio::test]
    async fn whoever_was_there_before_an_answer_began_is_in_it() {
        let methods = methods(None);
        let _early = join(&methods, "early", "p");
        let (mut gives_up, mut waits) = (ask(&methods), ask(&methods));
        assert!(gives_up.waits_for().is_none(), "the first to ask makes it");
        let given_up = waits.waits_for().expect("the second waits for that");
        let _late = join(&methods, "late", "p");
        drop(gives_up);
        given_up.await;
        assert_eq!(ids(waits), ["early", "late"]);
        let _too_late = join(&methods, "too late", "p");
        assert_eq!(ids(ask(&methods)), ["early", "late"], "the same answer is found");
        assert_eq!(methods.snapshots.infos.answers.turns(), 2);
    }

    #[tokio::test]
    async fn beside_one_that_is_too_large_to_share_everybody_has_their_own() {
        let methods = methods(None);
        let key = Key { view: methods.caller.view().clone(), filters: SessionInfoFilters::default() };
        let (answers, now_ms) = (&methods.snapshots.infos.answers, methods.clock.now_ms());
        let Share::Make(turn) = answers.ask(&key, methods.snapshots.max_age, (now_ms, now_ms)) else {
            panic!("nobody else asks")
        };
        turn.too_large();
        let _first = join(&methods, "a", "p");
        assert_eq!(ids(ask(&methods)), ["a"]);
        let _second = join(&methods, "b", "p");
        assert_eq!(ids(ask(&methods)), ["a", "b"], "what somebody made for themselves is found by nobody");
    }

    #[tokio::test]
    async fn a_shared_answer_is_of_what_its_caller_sees() {
        let methods = methods(Some(token(&[Scope::Read], Some("p"))));
        let _members = [join(&methods, "ours", "p"), join(&methods, "theirs", "q")];
        assert_eq!(ids(ask(&methods)), ["ours"]);
        let nobody = SessionInfoFilters::read([None, Some("q")]).unwrap();
        assert!(ids(methods.session_info(nobody)).is_empty());
    }
}
