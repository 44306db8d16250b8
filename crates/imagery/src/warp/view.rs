//! Pixels that stay in their blocks. Where the grid's pixels coincide with a raster's nothing is to be weighed, and a row's values
//! are made of the blocks' samples when the row is looked at: no copy of them is written, cleared, or held.

use std::sync::Arc;

use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::{BandPlane, PixelState, Pixels, Plane};

use super::copy::shifted;
use super::source::{MaskRows, NODATA, Region, UNREADABLE, VALID, combine_masks};
use super::values::{BandSource, find_missing, is_whole, put_values};
use crate::cog::Block;

/// Puts blocks of a level together to a [`Mosaic`], and says which of its pixels may be used.
pub(crate) struct MosaicBuilder {
    mosaic: Mosaic,
    /// Pixels of the level under the rectangle.
    region: Region,
    /// Those that are there.
    pixels: Region,
    bands: Vec<BandSource>,
    alpha: Option<usize>,
    states: Vec<u8>,
}

impl MosaicBuilder {
    /// Of the pixels of a level of size `level` that coincide with those of `rect`: pixel (x, y) less pixel (column, row) is
    /// `shift`. What lies beyond the level is no data.
    pub(crate) fn new(
        rect: PixelRect,
        shift: [i64; 2],
        level: (u32, u32),
        bands: Vec<BandSource>,
        alpha: Option<usize>,
    ) -> Self {
        let region = shifted(rect, shift);
        let whole = Region { x0: 0, y0: 0, x1: i64::from(level.0), y1: i64::from(level.1) };
        Self {
            mosaic: Mosaic { rect, shift, blocks: Vec::new(), missing: None },
            region,
            pixels: region.intersection(&whole),
            bands,
            alpha,
            states: vec![NODATA; region.width() * region.height()],
        }
    }

    /// The rectangle of the grid, and pixel (x, y) of the level less pixel (column, row).
    pub(crate) fn place(&self) -> (PixelRect, [i64; 2]) {
        (self.mosaic.rect, self.mosaic.shift)
    }

    /// Pixels of the level that are needed.
    pub(crate) fn pixels(&self) -> Region {
        self.pixels
    }

    /// Adds a block whose first pixel is (x, y) of the level.
    pub(crate) fn add(&mut self, block: Arc<Block>, x: i64, y: i64, masks: &[Arc<dyn MaskRows>]) {
        let whole = Region { x0: x, y0: y, x1: x + i64::from(block.cols), y1: y + i64::from(block.rows) };
        let part = whole.intersection(&self.pixels);
        if part.is_empty() {
            return;
        }
        let is_whole =
            is_whole(&block, &self.bands) && block.mask.is_none() && self.alpha.is_none() && masks.is_empty();
        for row in part.y0..part.y1 {
            let start = (row - y) as usize * whole.width() + (part.x0 - x) as usize;
            let range = start..start + part.width();
            let states = states_of(&mut self.states, self.region, part, row);
            states.fill(VALID);
            if is_whole {
                continue;
            }
            for band in &self.bands {
                match block.bands.get(band.index) {
                    Some(samples) => find_missing(samples, range.clone(), band, states),
                    None => states.fill(NODATA),
                }
            }
            combine_masks(&block, self.alpha, masks, (row, part.x0..part.x1), range, states);
        }
        self.mosaic.blocks.push((whole, block));
    }

    /// Adds a block that cannot be read: the pixels of the level that it would hold.
    pub(crate) fn add_unreadable(&mut self, block: Region) {
        let part = block.intersection(&self.pixels);
        if part.is_empty() {
            return;
        }
        for row in part.y0..part.y1 {
            states_of(&mut self.states, self.region, part, row).fill(UNREADABLE);
        }
    }

    /// The states of the pixels, row by row.
    pub(crate) fn states(&self) -> &[u8] {
        &self.states
    }

    /// The bands; 0 where the state of the file is not `Valid`.
    pub(crate) fn finish(mut self, state: &Plane<PixelState>) -> Vec<BandPlane> {
        self.mosaic.blocks.sort_by_key(|(region, _)| (region.y0, region.x0));
        let is_valid =
            |states: &[PixelState]| states.iter().fold(true, |all, &state| all & (state == PixelState::Valid));
        if !state.data().chunks(1024).all(is_valid) {
            self.mosaic.missing = Some(state.clone());
        }
        let mosaic = Arc::new(self.mosaic);
        let view = |band| BandPlane::Made(Arc::new(View { mosaic: Arc::clone(&mosaic), band }));
        self.bands.into_iter().map(view).collect()
    }
}

/// The states of a part's pixels in a row.
fn states_of(states: &mut [u8], region: Region, part: Region, y: i64) -> &mut [u8] {
    let start = (y - region.y0) as usize * region.width() + (part.x0 - region.x0) as usize;
    &mut states[start..start + part.width()]
}

/// Blocks of a level, by row and column, under a rectangle of the grid.
#[derive(Debug)]
struct Mosaic {
    rect: PixelRect,
    /// Pixel (x, y) of the level less pixel (column, row).
    shift: [i64; 2],
    blocks: Vec<(Region, Arc<Block>)>,
    /// Where pixels are missing, if some are.
    missing: Option<Plane<PixelState>>,
}

/// A band of a mosaic.
#[derive(Debug)]
struct View {
    mosaic: Arc<Mosaic>,
    band: BandSource,
}

impl Pixels for View {
    fn rect(&self) -> PixelRect {
        self.mosaic.rect
    }

    fn read(&self, run: Run, values: &mut [f32]) {
        let Mosaic { shift: [x, y], blocks, .. } = &*self.mosaic;
        let (x0, x1, y) = (i64::from(run.col0) + x, i64::from(run.col1) + x, i64::from(run.row) + y);
        let first = blocks.partition_point(|(region, _)| region.y1 <= y);
        let mut done = x0;
        for (region, block) in blocks.iter().skip(first).take_while(|(region, _)| region.y0 <= y) {
            let (from, to) = (region.x0.max(x0), region.x1.min(x1));
            let samples = block.bands.get(self.band.index);
            let (Some(samples), true) = (samples, from < to && y < region.y1) else { continue };
            // Between the blocks there is nothing.
            values[(done - x0) as usize..(from - x0) as usize].fill(0.0);
            let start = (y - region.y0) as usize * region.width() + (from - region.x0) as usize;
            let values = &mut values[(from - x0) as usize..(to - x0) as usize];
            put_values(samples, start..start + values.len(), &self.band, values);
            done = to;
        }
        values[(done - x0) as usize..].fill(0.0);
        if let Some(state) = &self.mosaic.missing {
            let pixels = values.iter_mut().zip(state.run(run));
            pixels.for_each(|(value, &state)| *value = if state == PixelState::Valid { *value } else { 0.0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cog::Samples;
    use crate::warp::values::Scaling;

    #[test]
    fn runs_go_on_from_block_to_block_and_are_0_where_there_is_none() {
        // Three by two blocks of 4 × 3 pixels with the value 10 y + x, of which one is missing.
        let block = |x0: i64, y0: i64| {
            let samples = (0..12).map(|at| (10 * (y0 + at / 4) + x0 + at % 4) as u16).collect();
            let region = Region { x0, y0, x1: x0 + 4, y1: y0 + 3 };
            (
                region,
                Arc::new(Block {
                    rows: 3,
                    cols: 4,
                    bands: vec![Samples::U16(samples)],
                    bounds: vec![None],
                    mask: None,
                }),
            )
        };
        let blocks = [(8, 3), (0, 0), (4, 0), (8, 0), (0, 3)].map(|(x, y)| block(x, y)).to_vec();
        let rect = PixelRect::new(-102, 50, -94, 64);
        let band = BandSource { index: 0, scaling: Scaling::PLAIN, nodata: vec![] };
        let mut builder = MosaicBuilder::new(rect, [-51, 101], (100, 100), vec![band], None);
        blocks.into_iter().for_each(|(region, block)| builder.add(block, region.x0, region.y0, &[]));
        assert_eq!(builder.states().iter().filter(|&&state| state == VALID).count(), 5 * 12);
        let mut state = Plane::filled(rect, PixelState::Valid);
        state.row_mut(-100)[3] = PixelState::Cloud;
        let bands = builder.finish(&state);
        let [view] = &bands[..] else { panic!("one band") };
        assert_eq!(view.rect(), rect);
        for row in rect.row0..rect.row1 {
            for col0 in rect.col0..rect.col1 {
                for col1 in col0..=rect.col1 {
                    let mut values = vec![-1.0; (col1 - col0) as usize];
                    view.copy_to(Run { row, col0, col1 }, &mut values);
                    let expected: Vec<f32> = (col0..col1)
                        .map(|col| {
                            let (x, y) = (col - 51, row + 101);
                            let is_hole = (y >= 3 && (4..8).contains(&x)) || (row, col) == (-100, 53);
                            let is_there = (0..12).contains(&x) && (0..6).contains(&y) && !is_hole;
                            if is_there { (10 * y + x) as f32 } else { 0.0 }
                        })
                        .collect();
                    assert_eq!(values, expected, "row {row}, columns {col0} to {col1}");
                }
            }
        }
    }
}
