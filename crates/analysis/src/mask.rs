//! Bit masks over a rectangle of the grid, and morphology with small digital disks.
//!
//! Pixels outside a mask's rectangle are `false`, for every operator. A result pixel of a dilation or erosion depends on
//! pixels within the radius only, one of an opening or closing on pixels within twice the radius, so a window with that
//! much halo gives the same pixels as the whole image.

mod dilate;

use rayon::prelude::*;
use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::Plane;
use survey::wide::wide_kernel;

use self::dilate::{BAND_ROWS, DilatedRows};

/// One bit per pixel of a rectangle; rows are padded to 64-bit words whose spare bits are always 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    rect: PixelRect,
    words_per_row: usize,
    words: Vec<u64>,
}

impl Mask {
    /// A mask without a set pixel.
    #[must_use]
    pub fn new(rect: PixelRect) -> Self {
        let words_per_row = rect.cols().div_ceil(64);
        Self { rect, words_per_row, words: vec![0; words_per_row * rect.rows()] }
    }

    /// The pixels of a plane for which `set` holds.
    #[must_use]
    pub fn from_plane<T: Copy + Sync>(plane: &Plane<T>, set: impl Fn(T) -> bool + Sync) -> Self {
        let mut mask = Self::new(plane.rect());
        let cols = mask.rect.cols();
        if cols == 0 || mask.rect.rows() == 0 {
            return mask;
        }
        mask.words.par_chunks_mut(mask.words_per_row).zip(plane.data().par_chunks(cols)).for_each(|(words, values)| {
            for (word, values) in words.iter_mut().zip(values.chunks(64)) {
                *word = packed(values, &set);
            }
        });
        mask
    }

    /// The set pixels whose value in `plane` is to be kept; those outside the plane are not.
    #[must_use]
    pub fn where_plane<T: Copy>(&self, plane: &Plane<T>, keep: impl Fn(T) -> bool) -> Self {
        let mut kept = Self::new(self.rect);
        let Some(common) = self.rect.intersection(&plane.rect()) else { return kept };
        let (from, to) = ((common.col0 - self.rect.col0) as usize, (common.col1 - self.rect.col0) as usize);
        for row in common.row0..common.row1 {
            // The plane's values from this mask's column `from` on.
            let values = &plane.row(row)[(common.col0 - plane.rect().col0) as usize..];
            let start = (row - self.rect.row0) as usize * self.words_per_row;
            for index in from / 64..to.div_ceil(64) {
                let word = self.words[start + index];
                if word != 0 {
                    let (low, high) = (from.max(index * 64), to.min(index * 64 + 64));
                    let bits = packed(&values[low - from..high - from], &keep) << (low - index * 64);
                    kept.words[start + index] = word & bits;
                }
            }
        }
        kept
    }

    /// The pixels for which `set(row, col)` holds, in global coordinates.
    #[must_use]
    pub fn from_fn(rect: PixelRect, set: impl Fn(i32, i32) -> bool) -> Self {
        let mut mask = Self::new(rect);
        for row in rect.row0..rect.row1 {
            for col in rect.col0..rect.col1 {
                if set(row, col) {
                    mask.set_run(Run { row, col0: col, col1: col + 1 });
                }
            }
        }
        mask
    }

    /// The pixels of `runs` inside `rect`.
    #[must_use]
    pub fn from_runs(rect: PixelRect, runs: &[Run]) -> Self {
        let mut mask = Self::new(rect);
        for &run in runs {
            mask.set_run(run);
        }
        mask
    }

    /// The pixels that it covers.
    #[must_use]
    pub fn rect(&self) -> PixelRect {
        self.rect
    }

    /// Whether a pixel is set; `false` outside.
    #[must_use]
    pub fn get(&self, row: i32, col: i32) -> bool {
        if !self.rect.contains(row, col) {
            return false;
        }
        let col = (col - self.rect.col0) as usize;
        self.row(row)[col / 64] >> (col % 64) & 1 == 1
    }

    /// Sets the pixels of a run; what lies outside is left out.
    pub fn set_run(&mut self, run: Run) {
        let (from, to) = (run.col0.max(self.rect.col0), run.col1.min(self.rect.col1));
        if run.row < self.rect.row0 || run.row >= self.rect.row1 || from >= to {
            return;
        }
        let (from, to) = ((from - self.rect.col0) as usize, (to - self.rect.col0) as usize);
        let start = (run.row - self.rect.row0) as usize * self.words_per_row;
        for word in from / 64..=(to - 1) / 64 {
            let low = from.max(word * 64) - word * 64;
            let high = to.min(word * 64 + 64) - word * 64;
            self.words[start + word] |= ones(high) & !ones(low);
        }
    }

    /// The words of a row that lies inside; bit `b` of word `w` is column `col0 + 64 w + b`.
    #[must_use]
    pub fn row(&self, row: i32) -> &[u64] {
        let start = (row - self.rect.row0) as usize * self.words_per_row;
        &self.words[start..start + self.words_per_row]
    }

    /// The runs of set pixels of a row, from west to east; none for a row outside.
    #[must_use]
    pub fn row_runs(&self, row: i32) -> Vec<Run> {
        let mut runs = Vec::new();
        if row < self.rect.row0 || row >= self.rect.row1 {
            return runs;
        }
        let mut open: Option<usize> = None;
        for (index, &word) in self.row(row).iter().enumerate() {
            // Whole words that go on as they are need no look at their bits.
            if (word == 0 && open.is_none()) || (word == u64::MAX && open.is_some()) {
                continue;
            }
            let mut bit = 0;
            while bit < 64 {
                let rest = if open.is_some() { !word >> bit } else { word >> bit };
                if rest == 0 {
                    break;
                }
                bit += rest.trailing_zeros() as usize;
                let at = index * 64 + bit;
                match open.take() {
                    None => open = Some(at),
                    Some(start) => runs.push(self.run(row, start, at)),
                }
            }
        }
        if let Some(start) = open {
            runs.push(self.run(row, start, self.rect.cols()));
        }
        runs
    }

    fn run(&self, row: i32, from: usize, to: usize) -> Run {
        Run { row, col0: self.rect.col0 + from as i32, col1: self.rect.col0 + to as i32 }
    }

    /// All runs, sorted.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        (self.rect.row0..self.rect.row1).flat_map(|row| self.row_runs(row)).collect()
    }

    /// Number of set pixels.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether no pixel is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Keeps the pixels that are set in both; the rectangles must be equal.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & b)
    }

    /// Keeps the pixels that are set in either; the rectangles must be equal.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a | b)
    }

    /// Keeps the pixels that are set here and not in `other`; the rectangles must be equal.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.combine(other, |a, b| a & !b)
    }

    fn combine(&self, other: &Self, operator: impl Fn(u64, u64) -> u64) -> Self {
        assert_eq!(self.rect, other.rect, "masks over different rectangles do not combine pixel by pixel");
        let words = self.words.iter().zip(&other.words).map(|(&a, &b)| operator(a, b)).collect();
        Self { rect: self.rect, words_per_row: self.words_per_row, words }
    }

    /// The part inside `rect`; pixels of `rect` that lie outside this mask are `false`.
    #[must_use]
    pub fn crop(&self, rect: PixelRect) -> Self {
        let mut cropped = Self::new(rect);
        if let Some(common) = self.rect.intersection(&rect) {
            let first = i64::from(rect.col0) - i64::from(self.rect.col0);
            for row in common.row0..common.row1 {
                let (from, to) = (self.row(row), cropped.row_mut(row));
                for (word, at) in to.iter_mut().zip((first..).step_by(64)) {
                    *word = word_at(from, at);
                }
                clear_spare(to, rect.cols());
            }
        }
        cropped
    }

    fn row_mut(&mut self, row: i32) -> &mut [u64] {
        let start = (row - self.rect.row0) as usize * self.words_per_row;
        &mut self.words[start..start + self.words_per_row]
    }

    /// The pixels of the rectangle that are not set.
    #[must_use]
    pub fn complement(&self) -> Self {
        let last = last_word(self.rect.cols());
        let mut words: Vec<u64> = self.words.iter().map(|word| !word).collect();
        if self.words_per_row > 0 {
            words.iter_mut().skip(self.words_per_row - 1).step_by(self.words_per_row).for_each(|word| *word &= last);
        }
        Self { words, ..*self }
    }

    /// Each pixel that has a set pixel within `radius` (Euclidean, `dr² + dc² ≤ radius²`).
    #[must_use]
    pub fn dilate(&self, radius: i32) -> Self {
        self.dilate_with(&disk(radius), false)
    }

    /// Each pixel whose whole disk of `radius` is set. Outside the rectangle nothing is set.
    #[must_use]
    pub fn erode(&self, radius: i32) -> Self {
        // Outside is false, so outside the complement is true.
        self.complement().dilate_with(&disk(radius), true).complement()
    }

    /// Erosion, then dilation: what a disk of `radius` that fits inside the mask can cover.
    #[must_use]
    pub fn open(&self, radius: i32) -> Self {
        self.erode(radius).dilate(radius)
    }

    /// Dilation, then erosion: fills what a disk of `radius` outside the mask cannot reach. The dilation is not cut
    /// at the rectangle, so that a set pixel at its border stays.
    #[must_use]
    pub fn close(&self, radius: i32) -> Self {
        self.crop(self.rect.grown(radius.max(0))).dilate(radius).erode(radius).crop(self.rect)
    }

    /// Opening, then closing with an element that is given by its half width at each distance from its middle row.
    #[must_use]
    pub fn open_close_by(&self, half_widths: &[i32]) -> Self {
        let erode = |mask: &Self| mask.complement().dilate_with(half_widths, true).complement();
        let opened = erode(self).dilate_with(half_widths, false);
        let reach = half_widths.len() as i32;
        let closed = opened.crop(self.rect.grown(reach)).dilate_with(half_widths, false);
        erode(&closed).crop(self.rect)
    }

    fn dilate_with(&self, half_widths: &[i32], outside: bool) -> Self {
        let radius = half_widths.len() as i32 - 1;
        if radius <= 0 || self.words.is_empty() {
            return self.clone();
        }
        let mut words = vec![0_u64; self.words.len()];
        let bands = words.par_chunks_mut(BAND_ROWS * self.words_per_row).enumerate();
        bands.for_each(|(band, out)| {
            wide_kernel(DilatedRows { mask: self, half_widths, outside, first: band * BAND_ROWS, out });
        });
        Self { words, ..*self }
    }
}

/// Bit `i` says whether value `i` of up to 64 is set.
fn packed<T: Copy>(values: &[T], set: &impl Fn(T) -> bool) -> u64 {
    let (eights, rest) = values.as_chunks::<8>();
    let mut bits = 0;
    for (byte, eight) in eights.iter().enumerate() {
        let flags = eight.map(|value| u8::from(set(value)));
        // The product brings bit 0 of byte i to bit 56 + i; no two terms meet.
        bits |= u64::from_le_bytes(flags).wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * byte);
    }
    let from = values.len() - rest.len();
    rest.iter().enumerate().fold(bits, |bits, (bit, &value)| bits | u64::from(set(value)) << (from + bit))
}

/// The `count` lowest bits.
#[inline(always)]
fn ones(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

/// The bits of the last word of a row that stand for columns.
#[inline(always)]
fn last_word(cols: usize) -> u64 {
    ones((cols + 63) % 64 + 1)
}

/// Half width of the disk `dr² + dc² ≤ radius²` at each distance `dr = 0 ..= radius`.
fn disk(radius: i32) -> Vec<i32> {
    let radius = i64::from(radius);
    let mut width = radius;
    (0..=radius)
        .map(|dr| {
            while width > 0 && width * width + dr * dr > radius * radius {
                width -= 1;
            }
            width as i32
        })
        .collect()
}

/// Clears the bits of a row beyond its last column.
#[inline(always)]
fn clear_spare(row: &mut [u64], cols: usize) {
    if let Some(last) = row.last_mut() {
        *last &= last_word(cols);
    }
}

/// The 64 bits of a row from column `at` on; those that are not there are 0.
fn word_at(row: &[u64], at: i64) -> u64 {
    let word = |index: i64| usize::try_from(index).ok().and_then(|index| row.get(index)).copied().unwrap_or_default();
    let (index, bits) = (at.div_euclid(64), at.rem_euclid(64));
    word(index) >> bits | after(word(index + 1), bits as u32)
}

/// The bits of the word before that are shifted in where a word is shifted up by `bits` of 0 to 63.
#[inline(always)]
fn before(word: u64, bits: u32) -> u64 {
    (word >> 1) >> (63 - bits)
}

/// The bits of the word after that are shifted in where a word is shifted down by `bits` of 0 to 63.
#[inline(always)]
fn after(word: u64, bits: u32) -> u64 {
    (word << 1) << (63 - bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn random(rect: PixelRect, seed: u64, share: u64) -> Mask {
        Mask::from_fn(rect, |row, col| {
            survey::grid::Cell { row, col }.hash().wrapping_mul(seed | 1) >> 32 & 255 < share
        })
    }

    /// By the definition, pixel by pixel.
    fn dilated_slowly(mask: &Mask, radius: i32) -> Mask {
        Mask::from_fn(mask.rect(), |row, col| {
            (-radius..=radius).any(|dr| {
                (-radius..=radius).any(|dc| dr * dr + dc * dc <= radius * radius && mask.get(row + dr, col + dc))
            })
        })
    }

    fn eroded_slowly(mask: &Mask, radius: i32) -> Mask {
        Mask::from_fn(mask.rect(), |row, col| {
            (-radius..=radius).all(|dr| {
                (-radius..=radius).all(|dc| dr * dr + dc * dc > radius * radius || mask.get(row + dr, col + dc))
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn dilation_and_erosion_follow_the_definition(
            rows in 1_i32..20, cols in 1_i32..150, radius in 0_i32..24, seed: u64, share in 0_u64..257,
        ) {
            let mask = random(PixelRect::new(-7, -70, rows - 7, cols - 70), seed, share);
            prop_assert_eq!(mask.dilate(radius), dilated_slowly(&mask, radius));
            prop_assert_eq!(mask.erode(radius), eroded_slowly(&mask, radius));
        }

        #[test]
        fn a_window_with_halo_gives_the_pixels_of_the_whole_image(
            row in 10_i32..30, col in 10_i32..80, radius in 1_i32..4, seed: u64,
        ) {
            let whole = random(PixelRect::new(0, 0, 60, 120), seed, 128);
            let inner = PixelRect::new(row, col, row + 9, col + 11);
            let window = whole.crop(inner.grown(2 * radius));
            prop_assert_eq!(window.open(radius).crop(inner), whole.open(radius).crop(inner));
            prop_assert_eq!(window.close(radius).crop(inner), whole.close(radius).crop(inner));
        }

        #[test]
        fn runs_and_masks_say_the_same(cols in 1_i32..200, seed: u64, share in 0_u64..257) {
            let mask = random(PixelRect::new(3, -9, 6, cols - 9), seed, share);
            let runs = mask.runs();
            prop_assert_eq!(&Mask::from_runs(mask.rect(), &runs), &mask);
            prop_assert_eq!(runs.iter().map(Run::len).sum::<u64>(), mask.count());
            prop_assert!(runs.windows(2).all(|pair| pair[0].row < pair[1].row || pair[0].col1 < pair[1].col0));
        }
    }

    /// One band and several, elements that are wider than a word, and higher than a band.
    #[test]
    fn an_element_of_any_widths_reaches_as_far_as_each_of_its_rows() {
        let elements: [&[i32]; 8] =
            [&[1, 1], &[3, 3, 2, 1], &[4, 0], &[40, 0], &[64, 0], &[63, 65, 2], &[131, 7, 131], &[0, 500]];
        let masks = [(1, 1), (3, 64), (5, 65), (2, 200), (300, 70), (129, 130)].map(|(rows, cols)| {
            let rect = PixelRect::new(-9, 5, rows - 9, cols + 5);
            let corners = Mask::from_fn(rect, |row, col| {
                (row == rect.row0 && col == rect.col0) || (row == rect.row1 - 1 && col == rect.col1 - 1)
            });
            [random(rect, 77, 3), corners]
        });
        for mask in masks.iter().flatten() {
            let (rows, cols) = (mask.rect().rows(), mask.rect().cols());
            for (element, outside) in elements.into_iter().flat_map(|element| [(element, false), (element, true)]) {
                let radius = element.len() as i32 - 1;
                let is_set = |row: i32, col: i32| match mask.rect().contains(row, col) {
                    true => mask.get(row, col),
                    false => outside,
                };
                let expected = Mask::from_fn(mask.rect(), |row, col| {
                    (-radius..=radius).any(|dr| {
                        let half = element[dr.unsigned_abs() as usize];
                        (-half..=half).any(|dc| is_set(row + dr, col + dc))
                    })
                });
                assert_eq!(mask.dilate_with(element, outside), expected, "{rows} x {cols} by {element:?}, {outside}");
            }
        }
    }

    #[test]
    fn a_part_is_cut_out_bit_by_bit() {
        let mask = random(PixelRect::new(-5, -70, 4, 80), 3, 128);
        for (col0, col1) in [(-70, 80), (-71, 81), (-200, 90), (-6, 58), (-6, 59), (70, 300), (80, 90), (-300, -70)] {
            let rect = PixelRect::new(-7, col0, 2, col1);
            assert_eq!(mask.crop(rect), Mask::from_fn(rect, |row, col| mask.get(row, col)), "{col0} to {col1}");
        }
    }

    #[test]
    fn closing_keeps_what_is_set_and_opening_adds_nothing() {
        let mask = random(PixelRect::new(0, 0, 40, 70), 5, 60);
        assert!(mask.minus(&mask.close(3)).is_empty());
        assert!(mask.open(2).minus(&mask).is_empty());
    }

    #[test]
    fn disks_are_those_of_scikit_image() {
        // skimage.morphology.disk(r).sum(axis=1) for r = 3 and r = 5 (0.25).
        let sums = |radius: i32| -> Vec<i32> {
            (-radius..=radius).map(|dr| 2 * disk(radius)[dr.unsigned_abs() as usize] + 1).collect()
        };
        assert_eq!(sums(3), [1, 5, 5, 7, 5, 5, 1]);
        assert_eq!(sums(5), [1, 7, 9, 9, 9, 11, 9, 9, 9, 7, 1]);
    }
}
