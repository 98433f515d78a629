//! Where sessions are kept for whoever lists them: side by side, in blocks of 256.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use compact_str::CompactString;

use super::{
    Came, Counts, EndedSession, Session, Who,
    census::{Census, EndedTotals},
    changes::{self, Changes, Marks},
    json,
    presence::Presence,
    rate::{Flow, Past},
    tally::Tally,
};

/// Few enough that a block is listed in some ten microseconds, for which who joins or leaves there waits.
pub(super) const BLOCK: usize = 256;

/// The number of a place; lower ones are taken first.
pub(super) type Number = u32;

/// All places.
#[derive(Debug, Default)]
pub(super) struct Rows {
    blocks: RwLock<Vec<Arc<Block>>>,
    free: Arc<Free>,
    /// The turn of the next session that is listed.
    next_turn: AtomicU64,
    changes: Arc<Changes>,
}

/// Places that nobody has.
#[derive(Debug, Default)]
struct Free(Mutex<BinaryHeap<Reverse<Number>>>);

/// 256 places, and what is in them.
#[derive(Debug)]
pub(super) struct Block {
    /// Connections count here, without a lock.
    tallies: Box<[Tally]>,
    /// What is behind the averages: too rarely used to be in the tallies' lines.
    pasts: Box<[Past]>,
    marks: Marks,
    /// How many messages were delivered, from when there was one: most clients get none all their life.
    delivered: OnceLock<Box<[AtomicU64]>>,
    listed: Mutex<Listed>,
    free: Arc<Free>,
}

/// Who is in the places of a block, and what is left of those who were.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) rows: Vec<Option<Row>>,
    gone: EndedTotals,
}

/// A live session as it is listed.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) session: Arc<Session>,
    pub(super) who: Who,
    began_ms: u64,
    /// Sessions are listed in turns: who asks at one turn does not see those of later ones.
    pub(super) turn: u64,
    active_pages: u32,
    /// It has a connection, and does not only wait for somebody to come back.
    pub(super) is_connected: bool,
    /// A list of texts in JSON. The ids that are made here need no memory of their own.
    page_ids: CompactString,
}

/// A session's place, from before it is listed until nobody holds it any more: a connection may still count there
/// when its session has ended.
#[derive(Debug)]
pub(super) struct Place {
    block: Arc<Block>,
    number: Number,
}

/// One connection's way to the counts of its session, without the session: one cold line of memory less a message.
#[derive(Debug)]
pub(super) struct Counter {
    block: Arc<Block>,
    at: u8,
}

impl Counter {
    pub(super) fn tally(&self) -> &Tally {
        &self.block.tallies[usize::from(self.at)]
    }

    pub(super) fn heard(&self, now_ms: u64) {
        self.tally().heard(now_ms, || &self.block.pasts[usize::from(self.at)]);
    }

    /// Whole messages came.
    pub(super) fn came(&self, came: Came) {
        self.block.came(usize::from(self.at), came);
    }
}

impl Rows {
    /// A free place.
    pub(super) fn take(&self, now_ms: u64) -> Place {
        let number = loop {
            if let Some(Reverse(number)) = self.free.lock().pop() {
                break number;
            }
            self.grow();
        };
        let block = self.block(number).expect("places are free in blocks that are there");
        let place = Place { block, number };
        place.tally().reset(place.past(), now_ms);
        if let Some(delivered) = place.block.delivered.get() {
            delivered[place.at()].store(0, Ordering::Relaxed);
        }
        place
    }

    fn grow(&self) {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.free.lock();
        // Another thread may have been faster.
        if free.is_empty() {
            let first = Number::try_from(blocks.len() * BLOCK).expect("fewer sessions than 2^32");
            blocks.push(Arc::new(Block {
                tallies: (0..BLOCK).map(|_| Tally::default()).collect(),
                pasts: (0..BLOCK).map(|_| Past::default()).collect(),
                marks: Marks::new(&self.changes),
                delivered: OnceLock::new(),
                listed: Mutex::new(Listed {
                    rows: (0..BLOCK).map(|_| None).collect(),
                    gone: EndedTotals::default(),
                }),
                free: self.free.clone(),
            }));
            free.extend((first..first + BLOCK as Number).map(Reverse));
        }
    }

    /// The block that a place is in.
    pub(super) fn block(&self, number: Number) -> Option<Arc<Block>> {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        blocks.get(number as usize / BLOCK).cloned()
    }

    /// The session that is listed there.
    pub(super) fn session(&self, number: Number) -> Option<Arc<Session>> {
        let block = self.block(number)?;
        let listed = block.listed();
        listed.rows[number as usize % BLOCK].as_ref().map(|row| row.session.clone())
    }

    /// The session that is listed there, unless it is listed since that turn.
    pub(super) fn session_before(&self, number: Number, turn: u64) -> Option<Arc<Session>> {
        let block = self.block(number)?;
        let listed = block.listed();
        let row = listed.rows[number as usize % BLOCK].as_ref().filter(|row| row.turn < turn);
        row.map(|row| row.session.clone())
    }

    /// Calls `see` with every session that is listed at this moment and has not ended when its turn comes, block by
    /// block, and without a lock.
    pub(super) fn for_each(&self, mut see: impl FnMut(Arc<Session>)) {
        let turn = self.turn();
        self.for_each_block(|block| block.listed_before(turn).into_iter().for_each(&mut see));
    }

    fn for_each_block(&self, mut see: impl FnMut(&Block)) {
        for first in (0..).step_by(BLOCK) {
            let Some(block) = self.block(first) else { return };
            see(&block);
        }
    }

    /// Counts everybody, block by block.
    pub(super) fn count(&self, census: &mut Census, now_ms: u64) {
        self.for_each_block(|block| block.count(census, now_ms));
    }

    /// The sessions that are listed in the block of this place, unless they are listed since that turn; `None` if there
    /// is no such block.
    pub(super) fn listed(&self, first: Number, turn: u64) -> Option<Vec<Arc<Session>>> {
        Some(self.block(first)?.listed_before(turn))
    }

    /// The turn that is next: sessions of lower ones are listed already.
    pub(super) fn turn(&self) -> u64 {
        self.next_turn.load(Ordering::Acquire)
    }

    /// Lists a session that has just begun; answers its turn.
    pub(super) fn list(&self, session: &Arc<Session>, presence: &mut Presence) -> u64 {
        let place = session.place();
        let mut row = Row {
            session: session.clone(),
            who: session.who().clone(),
            began_ms: session.began_ms(),
            turn: 0,
            active_pages: 0,
            is_connected: false,
            page_ids: CompactString::const_new("[]"),
        };
        row.set(presence);
        presence.take_row_changed();
        let mut listed = place.block.listed();
        let turn = self.next_turn.fetch_add(1, Ordering::AcqRel);
        row.turn = turn;
        listed.rows[place.at()] = Some(row);
        listed.gone.begun += 1;
        place.mark();
        turn
    }

    pub(super) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Takes the marks away, and calls `see` with the sessions that are there.
    pub(super) fn for_each_marked(&self, mut see: impl FnMut(Arc<Session>)) {
        self.for_each_block(|block| {
            let mut marked = block.marks.take().peekable();
            if marked.peek().is_some() {
                let listed = block.listed();
                marked.filter_map(|at| listed.rows[at].as_ref()).for_each(|row| see(row.session.clone()));
            }
        });
    }
}

impl Block {
    /// The sessions that are listed here, unless they are listed since that turn.
    fn listed_before(&self, turn: u64) -> Vec<Arc<Session>> {
        let listed = self.listed();
        let before = listed.rows.iter().flatten().filter(|row| row.turn < turn);
        before.map(|row| row.session.clone()).collect()
    }

    /// The rows of this block. Whoever holds them takes no other lock but, for an end, that of the ring and then that of
    /// the ended of `changes.rs`.
    pub(super) fn listed(&self) -> MutexGuard<'_, Listed> {
        // What is done under it is storing whole rows, and adding to what is gone.
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts who is in this block and what is left of the others, all of one moment.
    fn count(&self, census: &mut Census, now_ms: u64) {
        let listed = self.listed();
        census.add_gone(&listed.gone);
        for (at, row) in listed.rows.iter().enumerate() {
            if let Some(row) = row {
                let tally = &self.tallies[at];
                let is_authorized = tally.is_authorized(&row.who, now_ms);
                census.add_live(row, is_authorized, self.totals(at));
            }
        }
    }

    /// What is counted, and how many messages were delivered.
    fn totals(&self, at: usize) -> (Counts, u64) {
        self.tallies[at]
            .counts_with(|| self.delivered.get().map_or(0, |delivered| delivered[at].load(Ordering::Relaxed)))
    }

    #[inline]
    fn came(&self, at: usize, came: Came) {
        self.tallies[at].came(came, || self.marks.count(at));
    }

    /// Writes what is in one of the places as a row of `getSessionInfo`.
    pub(super) fn write_row(&self, at: usize, row: &Row, now_ms: u64, is_masked: bool, out: &mut Vec<u8>) {
        let tally = &self.tallies[at];
        let moment = json::Moment::new(tally, tally.counts(), &row.who, (row.began_ms, now_ms), is_masked);
        json::write_row(out, &row.who, &moment, (row.active_pages, &row.page_ids));
    }
}

impl Row {
    fn set(&mut self, presence: &Presence) {
        self.is_connected = !presence.connections().is_empty();
        let pages = presence.pages();
        self.active_pages = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        self.page_ids = json::texts(pages.iter().map(|page| &*page.id)).into();
    }
}

impl Place {
    pub(super) fn number(&self) -> Number {
        self.number
    }

    fn at(&self) -> usize {
        self.number as usize % BLOCK
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.block.tallies[self.at()]
    }

    fn past(&self) -> &Past {
        &self.block.pasts[self.at()]
    }

    pub(super) fn heard(&self, now_ms: u64) {
        self.tally().heard(now_ms, || self.past());
    }

    /// What is counted, and how many messages were delivered.
    pub(super) fn totals(&self) -> (Counts, u64) {
        self.block.totals(self.at())
    }

    pub(super) fn flow(&self) -> Flow {
        self.tally().flow(self.past())
    }

    /// Whole messages came.
    pub(super) fn came(&self, came: Came) {
        self.block.came(self.at(), came);
    }

    /// Whole messages were delivered, of so many bytes in all.
    pub(super) fn went(&self, messages: u64, bytes: u64) {
        let none = || (0..BLOCK).map(|_| AtomicU64::default()).collect();
        let delivered = &self.block.delivered.get_or_init(none)[self.at()];
        // In the turn of the tally: whoever sums up what has ended sees both or neither.
        self.tally().went(bytes, || {
            self.block.marks.count(self.at());
            delivered.fetch_add(messages, Ordering::Relaxed);
        });
    }

    /// Something else of the session has changed.
    pub(super) fn mark(&self) {
        self.block.marks.set(self.at());
    }

    /// What is open in the session has changed. Does nothing if it is not listed.
    pub(super) fn relist(&self, presence: &Presence) {
        if let Some(row) = &mut self.block.listed().rows[self.at()] {
            row.set(presence);
        }
    }

    /// Where the session is counted, for its connections: the place stays theirs as long as they hold the session.
    pub(super) fn counter(&self) -> Counter {
        Counter { block: self.block.clone(), at: self.at() as u8 }
    }

    /// The session is listed no more; `remember` is called before anybody can see that.
    pub(super) fn unlist(&self, changes: &Changes, remember: impl FnOnce() -> Arc<EndedSession>) {
        let mut listed = self.block.listed();
        let ended = remember();
        listed.gone.add(&ended);
        let row = listed.rows[self.at()].take();
        if let Some(Row { session, turn, .. }) = &row {
            changes.end(|| changes::Gone { session: session.clone(), ended, turn: *turn });
        }
        drop(listed);
        drop(row);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.block.free.lock().push(Reverse(self.number));
    }
}

impl Free {
    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Number>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
