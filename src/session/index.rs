use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use smallvec::SmallVec;

use super::{Glob, rows::Number};

/// Which places the sessions of a name have. Ordered by name, so that those of a prefix are found as well.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<Arc<str>, Group>);

/// The places of the sessions of one name: most users have a session or two, and a project may have all.
#[derive(Debug)]
enum Group {
    Few(SmallVec<[Number; 4]>),
    Many(BTreeSet<Number>),
}

/// Above so many places, a tree finds one faster than looking through them.
const FEW: usize = 32;

impl Index {
    /// How many sessions have this name.
    pub(super) fn count(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, Group::len)
    }

    /// The places of the sessions of this name, in no particular order.
    pub(super) fn of(&self, name: &str) -> Vec<Number> {
        self.0.get(name).map_or_else(Vec::new, |group| group.iter().collect())
    }

    /// The places of the sessions of any of these names, if there are so many at the most.
    pub(super) fn of_any(&self, names: &BTreeSet<&str>, most: usize) -> Option<Vec<Number>> {
        let mut places = Vec::new();
        for name in names {
            let Some(group) = self.0.get(*name) else { continue };
            if places.len() + group.len() > most {
                return None;
            }
            places.extend(group.iter());
        }
        Some(places)
    }

    pub(super) fn insert(&mut self, name: &str, place: Number) {
        match self.0.get_mut(name) {
            Some(group) => group.insert(place),
            None => {
                let mut places = SmallVec::new();
                places.push(place);
                self.0.insert(name.into(), Group::Few(places));
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str, place: Number) {
        let Some(group) = self.0.get_mut(name) else { return };
        group.remove(place);
        if group.len() == 0 {
            self.0.remove(name);
        }
    }

    /// The places of all whose name may fit, if the pattern tells how names begin that do, and if there are so many
    /// at the most.
    pub(super) fn fitting(&self, pattern: &Glob, most: usize) -> Option<Vec<Number>> {
        let (prefix, is_whole) = pattern.prefix();
        if is_whole {
            return (self.count(&prefix) <= most).then(|| self.of(&prefix));
        }
        if prefix.is_empty() {
            return None;
        }
        let mut places = Vec::new();
        let from = (Bound::Included(&*prefix), Bound::Unbounded);
        for (_, group) in self.0.range::<str, _>(from).take_while(|(name, _)| name.starts_with(&*prefix)) {
            if places.len() + group.len() > most {
                return None;
            }
            places.extend(group.iter());
        }
        Some(places)
    }
}

impl Group {
    fn len(&self) -> usize {
        match self {
            Self::Few(places) => places.len(),
            Self::Many(places) => places.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Number> {
        let (few, many) = match self {
            Self::Few(places) => (Some(places), None),
            Self::Many(places) => (None, Some(places)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten()).copied()
    }

    fn insert(&mut self, place: Number) {
        match self {
            Self::Few(places) if places.len() < FEW => places.push(place),
            Self::Few(places) => {
                *self = Self::Many(places.iter().copied().chain([place]).collect());
            }
            Self::Many(places) => {
                places.insert(place);
            }
        }
    }

    fn remove(&mut self, place: Number) {
        match self {
            Self::Few(places) => places.retain(|known| *known != place),
            Self::Many(places) => {
                places.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(found: Option<Vec<Number>>) -> Option<Vec<Number>> {
        found.map(|mut places| {
            places.sort_unstable();
            places
        })
    }

    #[test]
    fn names_are_found_whole_and_by_how_they_begin() {
        let mut index = Index::default();
        for (place, name) in ["bill", "billy", "billy", "billy.joe", "bob", "zoe"].into_iter().enumerate() {
            index.insert(name, place as Number);
        }
        let find = |pattern: &str, most| sorted(index.fitting(&Glob::new(pattern), most));
        assert_eq!(find("billy", 9), Some(vec![1, 2]));
        assert_eq!(find("billy", 1), None, "too many");
        assert_eq!(find("nobody", 9), Some(vec![]));
        assert_eq!(find("billy*", 9), Some(vec![1, 2, 3]));
        assert_eq!(find("b?b", 9), Some(vec![0, 1, 2, 3, 4]), "all that begin with b");
        assert_eq!(find("bill*", 3), None, "too many");
        assert_eq!((find("*", 9), find("?oe", 9)), (None, None), "nobody knows how they begin");
        assert_eq!((index.count("billy"), index.count("joe")), (2, 0));
        let of_any = |names: &[&str], most| sorted(index.of_any(&names.iter().copied().collect(), most));
        assert_eq!(of_any(&["zoe", "nobody", "billy"], 3), Some(vec![1, 2, 5]));
        assert_eq!(of_any(&["zoe", "billy"], 2), None, "too many");
    }

    #[test]
    fn a_name_may_have_few_sessions_or_many_and_is_forgotten_with_the_last() {
        let mut index = Index::default();
        for place in 0..100 {
            index.insert("plant", place);
            assert_eq!(index.count("plant"), place as usize + 1);
        }
        for place in (0..100).rev() {
            assert_eq!(sorted(Some(index.of("plant"))), Some((0..=place).collect()));
            index.remove("plant", place);
            index.remove("plant", place);
        }
        index.remove("plant", 7);
        assert!(index.0.is_empty());
    }
}
