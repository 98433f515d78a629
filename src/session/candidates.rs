use std::{collections::BTreeSet, sync::Arc, vec};

use super::{
    Session,
    rows::{BLOCK, Number, Rows},
};

/// By which names sessions are asked for: `None` is all, and a list is any of them.
#[derive(Clone, Debug, Default)]
pub struct Named<'a> {
    /// Of any of these ids.
    pub ids: Option<Vec<&'a str>>,
    /// Of any of these users.
    pub usernames: Option<Vec<&'a str>>,
    /// In any of these projects.
    pub projects: Option<Vec<&'a str>>,
}

/// All sessions that may be among those named, and maybe others, a few at a time.
///
/// Every session that was listed when it began, and has not ended when its turn comes, is there once; those that begin
/// later are not.
#[derive(Debug)]
pub struct Candidates {
    places: Places,
    /// Sessions of this turn and later ones are left out.
    turn: u64,
}

/// Where to look.
#[derive(Debug)]
enum Places {
    /// Everywhere, from here on.
    All { next: Number },
    /// Where an index says.
    These(vec::IntoIter<Number>),
    /// They are found already.
    Found(Vec<Arc<Session>>),
}

impl Candidates {
    /// Those of these ids.
    pub(super) fn of_ids<'a>(ids: &[&'a str], find: impl Fn(&'a str) -> Option<Arc<Session>>) -> Self {
        let ids: BTreeSet<&str> = ids.iter().copied().collect();
        Self { places: Places::Found(ids.into_iter().filter_map(find).collect()), turn: 0 }
    }

    /// Those at these places, or anywhere.
    pub(super) fn at(places: Option<Vec<Number>>, turn: u64) -> Self {
        let places = places.map_or(Places::All { next: 0 }, |these| Places::These(these.into_iter()));
        Self { places, turn }
    }

    /// The next few, maybe none of them; `None` if there are no more.
    pub(super) fn next(&mut self, rows: &Rows) -> Option<Vec<Arc<Session>>> {
        match &mut self.places {
            Places::All { next } => {
                let found = rows.listed(*next, self.turn)?;
                *next += BLOCK as Number;
                Some(found)
            }
            Places::These(these) => {
                let some: Vec<_> = these.take(BLOCK).collect();
                let found = some.iter().filter_map(|place| rows.session_before(*place, self.turn));
                (!some.is_empty()).then(|| found.collect())
            }
            Places::Found(found) if found.is_empty() => None,
            Places::Found(found) => Some(std::mem::take(found)),
        }
    }
}
