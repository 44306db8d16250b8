//! The part of a raster that a read needs, as working pixels: bands as `f32`, and whether each pixel may be used.

use std::ops::Range;
use std::sync::Arc;

use survey::raster::PixelState;

use super::values::{BandSource, find_missing, is_whole, put_values};
use crate::cog::Block;

/// States as bytes: [`PixelState`]'s discriminants.
pub(crate) const VALID: u8 = PixelState::Valid as u8;
pub(crate) const NODATA: u8 = PixelState::Nodata as u8;
pub(crate) const UNREADABLE: u8 = PixelState::Unreadable as u8;

/// The state of a pixel that two things speak about: valid only if both say so, else what says most.
pub(crate) fn combine(a: u8, b: u8) -> u8 {
    match (a == VALID, b == VALID) {
        (true, _) => b,
        (_, true) => a,
        _ => a.max(b),
    }
}

/// The state of a byte.
pub(crate) fn state_of(byte: u8) -> PixelState {
    match byte {
        4 => PixelState::Valid,
        3 => PixelState::Unreadable,
        2 => PixelState::Cloud,
        1 => PixelState::Nodata,
        _ => PixelState::NoScene,
    }
}

/// A half-open rectangle of a raster's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) x0: i64,
    pub(crate) y0: i64,
    pub(crate) x1: i64,
    pub(crate) y1: i64,
}

impl Region {
    pub(crate) fn width(&self) -> usize {
        usize::try_from(self.x1 - self.x0).unwrap_or(0)
    }

    pub(crate) fn height(&self) -> usize {
        usize::try_from(self.y1 - self.y0).unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.x1 <= self.x0 || self.y1 <= self.y0
    }

    /// Whether places in it, 1/1024 pixel from its corner, are numbers of 32 bits.
    pub(crate) fn is_small(&self) -> bool {
        self.width().max(self.height()) < 1 << 20
    }

    /// The same in pixels of which so many make one, along each axis.
    pub(crate) fn times(&self, pixels: [i64; 2]) -> Self {
        let [x, y] = pixels;
        Self { x0: self.x0 * x, y0: self.y0 * y, x1: self.x1 * x, y1: self.y1 * y }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        Self {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        Self {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }
}

/// What a mask says of the pixels of a level, row by row.
pub(crate) trait MaskRows: Send + Sync {
    /// Combines the mask's states of the pixels `x` of row `y` into `states`.
    fn combine_row(&self, y: i64, x: Range<i64>, states: &mut [u8]);
}

/// Working pixels of a raster.
#[derive(Debug)]
pub(crate) struct SourceWindow {
    region: Region,
    width: usize,
    bands: Vec<Vec<f32>>,
    states: Vec<u8>,
}

impl SourceWindow {
    /// The working pixels that it covers.
    pub(crate) fn region(&self) -> Region {
        self.region
    }

    pub(crate) fn band_count(&self) -> usize {
        self.bands.len()
    }

    /// Index of the first pixel of a row, and of a column in it.
    #[inline]
    fn index(&self, x: i64, y: i64) -> usize {
        (y - self.region.y0) as usize * self.width + (x - self.region.x0) as usize
    }

    /// Values of a band from `x` of row `y` on, counted from the window's corner, and of the rows below.
    #[inline]
    pub(crate) fn line(&self, band: usize, x: i32, y: i32) -> &[f32] {
        &self.bands[band][y as usize * self.width + x as usize..]
    }

    /// Values of a band in `x` of row `y`, which lie inside.
    #[inline]
    pub(crate) fn values(&self, band: usize, y: i64, x: i64, len: usize) -> &[f32] {
        let start = self.index(x, y);
        &self.bands[band][start..start + len]
    }

    /// States of `x` of row `y`, which lie inside.
    #[inline]
    pub(crate) fn states(&self, y: i64, x: i64, len: usize) -> &[u8] {
        let start = self.index(x, y);
        &self.states[start..start + len]
    }

    /// The values of each band, and the states, row by row.
    pub(crate) fn into_parts(self) -> (Vec<Vec<f32>>, Vec<u8>) {
        (self.bands, self.states)
    }

    /// Whether all of a region lies inside and is valid.
    pub(crate) fn is_clean(&self, region: Region) -> bool {
        let inside = region.intersection(&self.region) == region && !region.is_empty();
        inside
            && (region.y0..region.y1)
                .all(|y| self.states(y, region.x0, region.width()).iter().all(|&state| state == VALID))
    }
}

/// Puts blocks of a level together to a [`SourceWindow`].
pub(crate) struct WindowBuilder {
    /// Working pixels.
    region: Region,
    /// Pixels of the level that make a working pixel.
    average: [i64; 2],
    /// Pixels of the level inside `region`.
    pixels: Region,
    bands: Vec<BandSource>,
    alpha: Option<usize>,
    values: Vec<Vec<f32>>,
    states: Vec<u8>,
    /// Sums by band, and the number of valid and of all pixels, where pixels are averaged.
    sums: Option<Sums>,
}

struct Sums {
    bands: Vec<Vec<f64>>,
    valid: Vec<u32>,
    all: Vec<u32>,
}

impl WindowBuilder {
    /// A window of the working pixels `region`, each the average of `average` pixels of a level of size `level`. What lies
    /// beyond the level is no data.
    pub(crate) fn new(
        region: Region,
        average: [u32; 2],
        level: (u32, u32),
        bands: Vec<BandSource>,
        alpha: Option<usize>,
    ) -> Self {
        let average = average.map(|count| i64::from(count.max(1)));
        let whole = Region { x0: 0, y0: 0, x1: i64::from(level.0), y1: i64::from(level.1) };
        let pixels = region.times(average).intersection(&whole);
        let len = region.width() * region.height();
        let averaged = average != [1, 1];
        // Each plane is asked for by itself: a clone of the first would read its pages before they are written.
        let sums = averaged.then(|| Sums {
            bands: bands.iter().map(|_| vec![0.0; len]).collect(),
            valid: vec![0; len],
            all: vec![0; len],
        });
        let values = if averaged { Vec::new() } else { bands.iter().map(|_| vec![0.0; len]).collect() };
        // What no block covers stays "no data": no kernel reaches there.
        let states = vec![if averaged { VALID } else { NODATA }; len];
        Self { region, average, pixels, bands, alpha, values, states, sums }
    }

    /// Pixels of the level that are needed.
    pub(crate) fn pixels(&self) -> Region {
        self.pixels
    }

    /// Adds a block whose first pixel is (x, y) of the level.
    pub(crate) fn add(&mut self, block: &Block, x: i64, y: i64, masks: &[Arc<dyn MaskRows>]) {
        let cols = block.cols as usize;
        let whole = Region { x0: x, y0: y, x1: x + i64::from(block.cols), y1: y + i64::from(block.rows) };
        let part = whole.intersection(&self.pixels);
        if part.is_empty() {
            return;
        }
        let width = part.width();
        let is_whole = is_whole(block, &self.bands);
        let mut states = vec![VALID; width];
        // Averaged pixels pass through a row of their own; others are put where they belong at once.
        let mut rows: Vec<Vec<f32>> = match self.sums {
            Some(_) => vec![vec![0.0; width]; self.bands.len()],
            None => Vec::new(),
        };
        for row in part.y0..part.y1 {
            states.fill(VALID);
            let start = (row - y) as usize * cols + (part.x0 - x) as usize;
            let range = start..start + width;
            let at = self.index(part.x0, row);
            let targets = if rows.is_empty() { &mut self.values } else { &mut rows };
            for (band, target) in self.bands.iter().zip(targets) {
                let values = if self.sums.is_some() { &mut target[..] } else { &mut target[at..at + width] };
                match block.bands.get(band.index) {
                    Some(samples) => {
                        put_values(samples, range.clone(), band, values);
                        if !is_whole {
                            find_missing(samples, range.clone(), band, &mut states);
                        }
                    }
                    None => states.fill(NODATA),
                }
            }
            combine_masks(block, self.alpha, masks, (row, part.x0..part.x1), range, &mut states);
            // What is missing counts as 0: a kernel may meet it with a weight of 0, which must not become NaN.
            if self.sums.is_none() && states.iter().any(|&state| state != VALID) {
                for values in &mut self.values {
                    let values = values[at..at + width].iter_mut().zip(&states);
                    values.filter(|(_, state)| **state != VALID).for_each(|(value, _)| *value = 0.0);
                }
            }
            self.put(row, part.x0, &rows, &states);
        }
    }

    /// Adds a block that cannot be read: the pixels of the level that it would hold.
    pub(crate) fn add_unreadable(&mut self, block: Region) {
        let part = block.intersection(&self.pixels);
        if part.is_empty() {
            return;
        }
        let states = vec![UNREADABLE; part.width()];
        for row in part.y0..part.y1 {
            self.put(row, part.x0, &[], &states);
        }
    }

    /// Index of a pixel of the level in the window.
    fn index(&self, x: i64, y: i64) -> usize {
        let (x, y) = (x / self.average[0] - self.region.x0, y / self.average[1] - self.region.y0);
        y as usize * self.region.width() + x as usize
    }

    /// Puts the states of a row, and where pixels are averaged its values.
    fn put(&mut self, y: i64, x: i64, rows: &[Vec<f32>], states: &[u8]) {
        let start = self.index(x, y);
        let Some(sums) = &mut self.sums else {
            self.states[start..start + states.len()].copy_from_slice(states);
            return;
        };
        let first = x.rem_euclid(self.average[0]);
        for (offset, &state) in states.iter().enumerate() {
            let index = start + ((first + offset as i64) / self.average[0]) as usize;
            sums.all[index] += 1;
            if state == VALID {
                sums.valid[index] += 1;
                for (band, row) in sums.bands.iter_mut().zip(rows) {
                    band[index] += f64::from(row[offset]);
                }
            } else {
                self.states[index] = combine(self.states[index], state);
            }
        }
    }

    /// The window. An averaged pixel is valid if at least half of its pixels are, and none is unreadable.
    pub(crate) fn finish(mut self) -> SourceWindow {
        if let Some(sums) = self.sums {
            for (state, (&valid, &all)) in self.states.iter_mut().zip(sums.valid.iter().zip(&sums.all)) {
                *state = match (*state, all) {
                    (_, 0) => NODATA,
                    (UNREADABLE, _) => UNREADABLE,
                    _ if 2 * u64::from(valid) >= u64::from(all) => VALID,
                    (state, _) => state,
                };
            }
            self.values = sums
                .bands
                .into_iter()
                .map(|band| {
                    let mean =
                        |(sum, &valid): (f64, &u32)| if valid == 0 { 0.0 } else { (sum / f64::from(valid)) as f32 };
                    band.into_iter().zip(&sums.valid).map(mean).collect()
                })
                .collect();
        }
        SourceWindow { region: self.region, width: self.region.width(), bands: self.values, states: self.states }
    }
}

/// Combines into the states of a row what the masks say of it: those of the block, whose pixels are `range`, and those of the scene.
pub(crate) fn combine_masks(
    block: &Block,
    alpha: Option<usize>,
    masks: &[Arc<dyn MaskRows>],
    (y, x): (i64, Range<i64>),
    range: Range<usize>,
    states: &mut [u8],
) {
    let zero_is_nodata = |is_zero: bool, state: &mut u8| {
        if is_zero {
            *state = combine(*state, NODATA);
        }
    };
    if let Some(mask) = &block.mask {
        for (at, state) in range.clone().zip(states.iter_mut()) {
            zero_is_nodata(mask.get(at).is_none_or(|&byte| byte == 0), state);
        }
    }
    if let Some(alpha) = alpha.and_then(|index| block.bands.get(index)) {
        for (at, state) in range.zip(states.iter_mut()) {
            zero_is_nodata(alpha.get(at).is_none_or(|value| value == 0.0), state);
        }
    }
    for mask in masks {
        mask.combine_row(y, x.clone(), states);
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Scaling;
    use super::*;
    use crate::cog::Samples;

    #[test]
    fn places_in_a_small_region_are_numbers_of_32_bits() {
        let wide = |x1: i64| Region { x0: -7, y0: 3, x1, y1: 5 };
        assert!(wide((1 << 20) - 8).is_small() && !wide((1 << 20) - 7).is_small());
        let high = Region { x0: 0, y0: 0, x1: 1, y1: 1 << 20 };
        assert!(!high.is_small() && i32::try_from(((1_i64 << 20) - 1) << 10 | 1023).is_ok());
    }

    fn band(nodata: Vec<f64>) -> BandSource {
        BandSource { index: 0, scaling: Scaling { scale: 0.5, offset: 1.0 }, nodata }
    }

    #[test]
    fn an_averaged_pixel_is_the_mean_of_its_valid_pixels_and_unreadable_if_one_of_them_is() {
        let bands = vec![BandSource { index: 0, scaling: Scaling::PLAIN, nodata: vec![0.0] }];
        let region = Region { x0: 0, y0: 0, x1: 3, y1: 1 };
        let mut builder = WindowBuilder::new(region, [2, 2], (5, 2), bands, None);
        let samples = Samples::U16(vec![10, 20, 0, 8, 30, 0, 30, 0, 0, 50]);
        builder.add(&Block { rows: 2, cols: 5, bands: vec![samples], bounds: vec![], mask: None }, 0, 0, &[]);
        let window = builder.finish();
        assert_eq!(window.states(0, 0, 3), [VALID, NODATA, VALID]);
        assert_eq!(window.values(0, 0, 0, 3), [20.0, 8.0, 40.0]);

        let mut builder = WindowBuilder::new(region, [2, 2], (5, 2), vec![band(vec![])], None);
        builder.add(
            &Block { rows: 2, cols: 3, bands: vec![Samples::U8(vec![1; 6])], bounds: vec![], mask: None },
            0,
            0,
            &[],
        );
        builder.add_unreadable(Region { x0: 3, y0: 0, x1: 5, y1: 2 });
        assert_eq!(builder.finish().states(0, 0, 3), [VALID, UNREADABLE, UNREADABLE]);
    }
}
