//! A set of sessions by their numbers.

/// One bit a number: a million sessions are 125 KB, whoever of them is in it.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<u64>);

impl Places {
    /// Answers whether it was not in it.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let (at, bit) = place(number);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let is_new = self.0[at] & bit == 0;
        self.0[at] |= bit;
        is_new
    }

    /// Answers whether it was in it.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        let (at, bit) = place(number);
        let was_there = self.contains(number);
        if was_there {
            self.0[at] &= !bit;
        }
        was_there
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let (at, bit) = place(number);
        self.0.get(at).is_some_and(|word| word & bit != 0)
    }

    /// The lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let of_word = |(at, word): (usize, &u64)| {
            let (first, word) = (u32::try_from(64 * at).unwrap_or(u32::MAX), *word);
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| first + bit)
        };
        self.0.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(of_word)
    }
}

impl FromIterator<u32> for Places {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut places = Self::default();
        for number in numbers {
            places.insert(number);
        }
        places
    }
}

fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_it_until_it_is_taken_out() {
        let mut places: Places = [0, 64, 63, 1_000].into_iter().collect();
        assert_eq!(places.iter().collect::<Vec<_>>(), [0, 63, 64, 1_000]);
        assert!(!places.insert(63) && places.remove(63) && !places.remove(63) && !places.remove(5_000));
        assert!(places.contains(64) && !places.contains(63) && !places.contains(5_000));
    }
}
