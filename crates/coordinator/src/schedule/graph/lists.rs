//! Many short lists of numbers, end to end: eight bytes a list and four a number.

/// Lists, by their index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lists {
    /// Where each list ends among the items.
    ends: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// Adds a list behind the others.
    pub fn push(&mut self, list: &[u32]) {
        self.items.extend_from_slice(list);
        self.ends.push(u32::try_from(self.items.len()).unwrap_or(u32::MAX));
    }

    /// A list; empty where there is none.
    pub fn get(&self, index: u32) -> &[u32] {
        let index = index as usize;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |&end| end as usize);
        let end = self.ends.get(index).map_or(start, |&end| end as usize);
        self.items.get(start..end).unwrap_or_default()
    }

    /// How many lists there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// For each number below `bound` the lists that it stands in, in order.
    pub fn transposed(&self, bound: usize) -> Self {
        let mut counts = vec![0_u32; bound];
        for &item in &self.items {
            if let Some(count) = counts.get_mut(item as usize) {
                *count += 1;
            }
        }
        let mut next = Vec::with_capacity(bound);
        let mut total = 0_u32;
        for count in counts {
            next.push(total);
            total += count;
        }
        let mut items = vec![0; total as usize];
        for list in (0_u32..).take(self.len()) {
            for &item in self.get(list) {
                if let Some(at) = next.get_mut(item as usize) {
                    if let Some(place) = items.get_mut(*at as usize) {
                        *place = list;
                    }
                    *at += 1;
                }
            }
        }
        // Each list has been filled up to where the next one begins.
        Self { ends: next, items }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposed_lists_say_who_names_a_number() {
        let mut lists = Lists::default();
        for list in [&[0_u32, 2][..], &[], &[2, 3], &[0]] {
            lists.push(list);
        }
        assert_eq!(
            (lists.get(0), lists.get(1), lists.get(2), lists.get(9)),
            (&[0, 2][..], &[][..], &[2, 3][..], &[][..])
        );
        let named = lists.transposed(5);
        let all: Vec<&[u32]> = (0..5).map(|number| named.get(number)).collect();
        assert_eq!(all, [&[0, 3][..], &[], &[0, 2], &[2], &[]]);
    }
}
