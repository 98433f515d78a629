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
pub(super) struct Key {
    view: View,
    filters: SessionInfoFilters,
}

impl Key {
    pub(super) fn new(view: &View, filters: &SessionInfoFilters) -> Self {
        Self { view: view.clone(), filters: filters.clone() }
    }
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

/// The rows of a list, written as they are at the moment of each part, or once for all who ask by this key; `None` is an
/// empty list.
pub(super) fn source(methods: &Methods, list: Option<Listing>, key: Option<Key>) -> Box<dyn Source> {
    let wants = key.map(|key| (key, methods.clock.now_ms()));
    let methods = methods.clone();
    Box::new(SessionInfos { methods, list, has_begun: false, wants, gathered: None, ready: Bytes::new() })
}

struct SessionInfos {
    methods: Methods,
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
        match snapshots.infos.answers.ask(&key, snapshots.max_age, times) {
            Share::Wait(other) => {
                self.wants = Some((key, asked_ms));
                return Some(other);
            }
            Share::Alone => {}
            Share::Found(whole) => (self.ready, self.list, self.has_begun) = (whole, None, true),
            Share::Make(turn) => match snapshots.infos.room() {
                Some(room) => self.gathered = Some(Gathered { turn, bytes: Vec::new(), room }),
                None => turn.too_large(),
            },
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
