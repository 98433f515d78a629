#[cfg(test)]
mod tests;

use std::hint;

use super::{
    Glob,
    rows::{BLOCK, Block, Number, Row, Rows},
};

/// A list of sessions that is being read, part by part: `getSessionInfo` of any size with the memory of one part.
///
/// Every session that was listed when it began, and has not ended when its turn comes, is in it once; those that begin
/// later are not. Each row is of the moment in which it is written.
#[derive(Debug)]
pub struct Listing {
    username: Option<Glob>,
    project: Option<Glob>,
    places: Places,
    /// Sessions of this turn and later ones are left out.
    turn: u64,
    rows_written: u64,
    /// For those who may not see who somebody is.
    is_masked: bool,
}

/// Where to look.
#[derive(Debug)]
enum Places {
    /// Everywhere, from here on.
    All { next: Number },
    /// Where an index says, the highest first.
    These(Vec<Number>),
}

/// Rows are written so many at a time: what they are written from is fetched from memory for all of them at once
/// before any is (measured: twice as fast for a million sessions as one after the other).
const AHEAD: usize = 32;

/// Every place of a block.
const EVERYWHERE: [u8; BLOCK] = {
    let mut places = [0; BLOCK];
    let mut at = 1;
    while at < BLOCK {
        places[at] = at as u8;
        at += 1;
    }
    places
};

impl Listing {
    pub(super) fn new(
        username: Option<Glob>,
        project: Option<Glob>,
        places: Option<Vec<Number>>,
        turn: u64,
    ) -> Self {
        let places = match places {
            None => Places::All { next: 0 },
            Some(mut these) => {
                these.sort_unstable_by(|a, b| b.cmp(a));
                Places::These(these)
            }
        };
        Self { username, project, places, turn, rows_written: 0, is_masked: false }
    }

    /// The same with every address cut to its [network](super::network_of), and without user agents.
    #[must_use]
    pub fn masked(self) -> Self {
        Self { is_masked: true, ..self }
    }

    /// How many sessions are looked at to finish it, of so many in all.
    pub(super) fn looks(&self, live: usize) -> usize {
        match &self.places {
            Places::All { .. } => live,
            Places::These(these) => these.len(),
        }
    }

    /// Looks at the sessions of one block more, and writes those that fit, each with a comma before it but the first.
    /// `false` if there are no more.
    pub(super) fn write_block(&mut self, rows: &Rows, now_ms: u64, out: &mut Vec<u8>) -> bool {
        const SIZE: Number = BLOCK as Number;
        match &mut self.places {
            Places::All { next } => {
                let Some(block) = rows.block(*next) else { return false };
                *next += SIZE;
                self.write_some(&block, &EVERYWHERE, now_ms, out);
            }
            Places::These(these) => {
                let Some(lowest) = these.last() else { return false };
                let first = lowest - lowest % SIZE;
                let count = these.iter().rev().take_while(|number| **number - first < SIZE).count();
                let of_block = these.split_off(these.len() - count);
                let Some(block) = rows.block(first) else { return false };
                let places: Vec<_> =
                    of_block.into_iter().rev().map(|number| (number - first) as u8).collect();
                self.write_some(&block, &places, now_ms, out);
            }
        }
        true
    }

    fn write_some(&mut self, block: &Block, places: &[u8], now_ms: u64, out: &mut Vec<u8>) {
        let listed = block.listed();
        for some in places.chunks(AHEAD) {
            let rows = || {
                some.iter().map(|at| usize::from(*at)).filter_map(|at| Some((at, listed.rows[at].as_ref()?)))
            };
            for (_, row) in rows() {
                hint::black_box(row.who.touch());
            }
            for (at, row) in rows() {
                if row.turn >= self.turn || !self.fits(row) {
                    continue;
                }
                if self.rows_written > 0 {
                    out.push(b',');
                }
                self.rows_written += 1;
                block.write_row(at, row, now_ms, self.is_masked, out);
            }
        }
    }

    fn fits(&self, row: &Row) -> bool {
        let fits = |filter: &Option<Glob>, value| filter.as_ref().is_none_or(|glob| glob.matches(value));
        fits(&self.username, row.who.username()) && fits(&self.project, row.who.project())
    }
}
