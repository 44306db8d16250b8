//! Jobs of one stage that can be given out, by the memory that they need.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::schedule::bits::BitSet;

/// Jobs of one stage that can be given out. Jobs are kept by class of memory (four to an octave), so that a worker with
/// little to spare finds what fits it however much does not.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// The stage's numbers.
    numbers: Range<u32>,
    classes: BTreeMap<u8, BitSet>,
    len: u64,
    cost: u64,
}

/// The class of a job that needs `bytes`. Never falls where the bytes grow.
fn class(bytes: u64) -> u8 {
    let bytes = bytes.max(4);
    let octave = bytes.ilog2();
    let quarter = (bytes >> (octave - 2)) & 3;
    u8::try_from(octave * 4).unwrap_or(u8::MAX) + u8::try_from(quarter).unwrap_or(0)
}

impl Queue {
    pub fn new(numbers: Range<u32>) -> Self {
        Self { numbers, classes: BTreeMap::new(), len: 0, cost: 0 }
    }

    /// How many jobs there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Their estimated work.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Adds a job. False where it is in already.
    pub fn insert(&mut self, number: u32, memory: u64, cost: u64) -> bool {
        let bound = self.numbers.end - self.numbers.start;
        let Some(at) = number.checked_sub(self.numbers.start) else { return false };
        let is_new = self.classes.entry(class(memory)).or_insert_with(|| BitSet::new(bound)).insert(at);
        if is_new {
            self.len += 1;
            self.cost = self.cost.saturating_add(cost);
        }
        is_new
    }

    /// Takes a job away. False where it was not in.
    pub fn remove(&mut self, number: u32, memory: u64, cost: u64) -> bool {
        let Some(at) = number.checked_sub(self.numbers.start) else { return false };
        let was_in = self.classes.get_mut(&class(memory)).is_some_and(|set| set.remove(at));
        if was_in {
            self.len -= 1;
            self.cost = self.cost.saturating_sub(cost);
        }
        was_in
    }

    /// Whether a job that needs `memory` is in.
    pub fn contains(&self, number: u32, memory: u64) -> bool {
        let at = number.checked_sub(self.numbers.start);
        at.is_some_and(|at| self.classes.get(&class(memory)).is_some_and(|set| set.contains(at)))
    }

    /// The first job not before `from` that may fit `memory`: for the last class of them that is to be looked at.
    pub fn next(&self, from: u32, memory: u64) -> Option<u32> {
        let at = from.saturating_sub(self.numbers.start);
        let first = self.classes.range(..=class(memory)).filter_map(|(_, set)| set.next(at)).min()?;
        Some(self.numbers.start + first)
    }

    /// The first job not before `from` that may need more than `memory`.
    pub fn next_above(&self, from: u32, memory: u64) -> Option<u32> {
        let at = from.saturating_sub(self.numbers.start);
        let first = self.classes.range(class(memory)..).filter_map(|(_, set)| set.next(at)).min()?;
        Some(self.numbers.start + first)
    }

    /// The last job before `end` that may fit `memory`.
    pub fn last_below(&self, end: u32, memory: u64) -> Option<u32> {
        let at = end.checked_sub(self.numbers.start)?;
        let last = self.classes.range(..=class(memory)).filter_map(|(_, set)| set.last_below(at)).max()?;
        Some(self.numbers.start + last)
    }

    /// Takes all jobs away.
    pub fn clear(&mut self) {
        *self = Self::new(self.numbers.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_grow_with_the_bytes_four_to_an_octave() {
        let classes: Vec<u8> = [1 << 20, 5 << 18, 3 << 19, 7 << 18, 2 << 20].into_iter().map(class).collect();
        assert_eq!(classes, [80, 81, 82, 83, 84]);
        assert!((0..2000).map(class).is_sorted());
        assert!(class(u64::MAX) > class(u64::MAX / 2));
    }

    #[test]
    fn a_job_that_fits_is_found_among_those_that_do_not() {
        let mut queue = Queue::new(100..400);
        for number in 100..300 {
            assert!(queue.insert(number, 8 << 30, 5));
        }
        assert!(queue.insert(300, 1 << 30, 7) && !queue.insert(300, 1 << 30, 7));
        assert_eq!((queue.len(), queue.cost()), (201, 1007));
        assert_eq!(queue.next(0, 2 << 30), Some(300));
        assert_eq!(queue.next(0, 16 << 30), Some(100));
        assert_eq!(queue.next_above(0, 2 << 30), Some(100));
        assert_eq!(queue.next_above(300, 2 << 30), None);
        assert_eq!(queue.last_below(u32::MAX, 16 << 30), Some(300));
        assert_eq!(queue.last_below(300, 16 << 30), Some(299));
        assert_eq!([99, 100, 300, 301].map(|end| queue.last_below(end, 2 << 30)), [None, None, None, Some(300)]);
        assert!(queue.remove(300, 1 << 30, 7) && !queue.remove(300, 1 << 30, 7));
        assert_eq!(queue.next(0, 2 << 30), None);
    }
}
