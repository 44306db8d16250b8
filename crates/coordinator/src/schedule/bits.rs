//! A set of numbers below a bound: a bit each, and summaries above that say where to look.

/// Numbers that share a word of bits.
const WORD: u32 = u64::BITS;

/// A set of numbers below a bound.
#[derive(Clone, Debug)]
pub(super) struct BitSet {
    /// The numbers; then, level by level, which words of the level below are not empty; the last level is one word.
    levels: Vec<Vec<u64>>,
}

impl BitSet {
    /// An empty set of numbers below `bound`.
    pub fn new(bound: u32) -> Self {
        let mut levels = Vec::new();
        let mut words = (bound.div_ceil(WORD) as usize).max(1);
        levels.push(vec![0; words]);
        while words > 1 {
            words = words.div_ceil(WORD as usize);
            levels.push(vec![0; words]);
        }
        Self { levels }
    }

    /// Whether the number is in it.
    pub fn contains(&self, number: u32) -> bool {
        let word = self.levels.first().and_then(|words| words.get((number / WORD) as usize));
        word.is_some_and(|word| word & bit(number) != 0)
    }

    /// Adds a number. False where it was in already, or is not below the bound.
    pub fn insert(&mut self, number: u32) -> bool {
        let mut at = number;
        for (level, words) in self.levels.iter_mut().enumerate() {
            let Some(word) = words.get_mut((at / WORD) as usize) else { return false };
            let before = *word;
            *word |= bit(at);
            if level == 0 && *word == before {
                return false;
            }
            if before != 0 {
                return true;
            }
            at /= WORD;
        }
        true
    }

    /// Takes a number away. False where it was not in.
    pub fn remove(&mut self, number: u32) -> bool {
        let mut at = number;
        for (level, words) in self.levels.iter_mut().enumerate() {
            let Some(word) = words.get_mut((at / WORD) as usize) else { return false };
            if level == 0 && *word & bit(at) == 0 {
                return false;
            }
            *word &= !bit(at);
            if *word != 0 {
                return true;
            }
            at /= WORD;
        }
        true
    }

    /// The smallest number in it that is not below `from`.
    pub fn next(&self, from: u32) -> Option<u32> {
        let mut at = from;
        for (level, words) in self.levels.iter().enumerate() {
            let word = *words.get((at / WORD) as usize)? & (u64::MAX << (at % WORD));
            if word != 0 {
                let mut found = at / WORD * WORD + word.trailing_zeros();
                for below in self.levels.iter().take(level).rev() {
                    found = found * WORD + below.get(found as usize)?.trailing_zeros();
                }
                return Some(found);
            }
            at = at / WORD + 1;
        }
        None
    }

    /// The largest number in it that is below `end`.
    pub fn last_below(&self, end: u32) -> Option<u32> {
        let mut end = end;
        for (level, words) in self.levels.iter().enumerate() {
            let at = end.min((words.len() as u32).saturating_mul(WORD)).checked_sub(1)?;
            let word = *words.get((at / WORD) as usize)? & (u64::MAX >> (WORD - 1 - at % WORD));
            if word != 0 {
                let mut found = at / WORD * WORD + word.ilog2();
                for below in self.levels.iter().take(level).rev() {
                    found = found * WORD + below.get(found as usize)?.checked_ilog2()?;
                }
                return Some(found);
            }
            end = at / WORD;
        }
        None
    }
}

fn bit(number: u32) -> u64 {
    1 << (number % WORD)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_says_what_a_tree_set_says(
            bound in prop_oneof![1_u32..200, 4000_u32..300_000],
            changes in prop::collection::vec((any::<u32>(), any::<bool>()), 0..200),
            asked in prop::collection::vec(any::<u32>(), 0..50),
        ) {
            let (mut bits, mut tree) = (BitSet::new(bound), BTreeSet::new());
            for (number, adds) in changes {
                let number = number % bound;
                if adds {
                    prop_assert_eq!(bits.insert(number), tree.insert(number));
                } else {
                    prop_assert_eq!(bits.remove(number), tree.remove(&number));
                }
            }
            for from in asked.into_iter().map(|from| from % bound).chain(tree.iter().copied().collect::<Vec<_>>()) {
                prop_assert_eq!(bits.next(from), tree.range(from..).next().copied());
                prop_assert_eq!(bits.last_below(from), tree.range(..from).next_back().copied());
                prop_assert_eq!(bits.contains(from), tree.contains(&from));
            }
            prop_assert_eq!(bits.next(bound), None);
            for end in [bound, bound.next_multiple_of(64) + 1, u32::MAX] {
                prop_assert_eq!(bits.last_below(end), tree.last().copied());
            }
        }
    }
}
