//! A mask over the pixels of another raster's level: nearest mask pixel, whatever its resolution.

use std::ops::Range;

use survey::grid::GeoTransform;
use survey::scene::MaskMeaning;

use super::masks::decode;
use super::source::{MaskRows, NODATA, Region, UNREADABLE, combine};
use crate::cog::Block;
use crate::crs::Transformer;

/// Which pixel of the mask speaks for a pixel of the level.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The mask's column depends on the column, its row on the row.
    Separable {
        /// Mask columns of the region's columns.
        xs: Vec<i64>,
        /// Mask rows of the region's rows.
        ys: Vec<i64>,
    },
    /// Pixel by pixel, row-major.
    Each(Vec<(i64, i64)>),
}

/// A raster's grid of pixels on the ground.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PixelGrid {
    /// Of the full resolution.
    pub(crate) transform: GeoTransform,
    /// Full-resolution pixels per pixel of the level, x and y.
    pub(crate) ratio: [f64; 2],
}

const NOWHERE: i64 = i64::MIN;

impl Lookup {
    /// The mask's pixels for the pixels `region` of an image's level. `projection` leads from the image's CRS to the
    /// mask's, where they differ.
    pub(crate) fn new(region: Region, image: &PixelGrid, mask: &PixelGrid, projection: Option<&Transformer>) -> Self {
        let to_mask = |x: f64, y: f64| -> (i64, i64) {
            let (x, y) = (x * image.ratio[0], y * image.ratio[1]);
            let place = if image.transform == mask.transform && projection.is_none() {
                Some((x, y))
            } else {
                let (x, y) = image.transform.apply(x, y);
                let place = match projection {
                    Some(projection) => projection.apply(x, y),
                    None => Some((x, y)),
                };
                place.and_then(|(x, y)| mask.transform.invert(x, y))
            };
            let whole = |value: f64| {
                let value = value.floor();
                if value.abs() < 1e15 { value as i64 } else { NOWHERE }
            };
            place.map_or((NOWHERE, NOWHERE), |(x, y)| (whole(x / mask.ratio[0]), whole(y / mask.ratio[1])))
        };
        let is_upright = |transform: &GeoTransform| transform.x_per_row == 0.0 && transform.y_per_col == 0.0;
        let same = image.transform == mask.transform;
        if projection.is_none() && (same || (is_upright(&image.transform) && is_upright(&mask.transform))) {
            let at = |index: i64| index as f64 + 0.5;
            return Self::Separable {
                xs: (region.x0..region.x1).map(|x| to_mask(at(x), at(region.y0)).0).collect(),
                ys: (region.y0..region.y1).map(|y| to_mask(at(region.x0), at(y)).1).collect(),
            };
        }
        let mut places = Vec::with_capacity(region.width() * region.height());
        for y in region.y0..region.y1 {
            for x in region.x0..region.x1 {
                places.push(to_mask(x as f64 + 0.5, y as f64 + 0.5));
            }
        }
        Self::Each(places)
    }

    /// The mask's pixels that are looked at, inside a mask of this size.
    pub(crate) fn needed(&self, size: (u32, u32)) -> Region {
        let (width, height) = (i64::from(size.0), i64::from(size.1));
        let mut region = Region { x0: width, y0: height, x1: 0, y1: 0 };
        let mut see = |x: Option<i64>, y: Option<i64>| {
            if let Some(x) = x.filter(|x| (0..width).contains(x)) {
                (region.x0, region.x1) = (region.x0.min(x), region.x1.max(x + 1));
            }
            if let Some(y) = y.filter(|y| (0..height).contains(y)) {
                (region.y0, region.y1) = (region.y0.min(y), region.y1.max(y + 1));
            }
        };
        match self {
            Self::Separable { xs, ys } => {
                xs.iter().for_each(|&x| see(Some(x), None));
                ys.iter().for_each(|&y| see(None, Some(y)));
            }
            Self::Each(places) => places.iter().for_each(|&(x, y)| {
                if (0..width).contains(&x) && (0..height).contains(&y) {
                    see(Some(x), Some(y));
                }
            }),
        }
        region
    }
}

/// A mask's states over a region of a level.
#[derive(Debug)]
pub(crate) struct MaskPlane {
    /// Pixels of the level that the lookup is for.
    over: Region,
    lookup: Lookup,
    /// Mask pixels that were read.
    region: Region,
    states: Vec<u8>,
    index: usize,
    meaning: MaskMeaning,
}

impl MaskPlane {
    /// A mask over the pixels `over` of a level; `region` is [`Lookup::needed`]. Mask pixels that are not there are no
    /// data.
    pub(crate) fn new(over: Region, lookup: Lookup, region: Region, index: usize, meaning: MaskMeaning) -> Self {
        let states = vec![NODATA; region.width() * region.height()];
        Self { over, lookup, region, states, index, meaning }
    }

    /// Adds a block of the mask's file whose first pixel is (x, y).
    pub(crate) fn add(&mut self, block: &Block, x: i64, y: i64) {
        let whole = Region { x0: x, y0: y, x1: x + i64::from(block.cols), y1: y + i64::from(block.rows) };
        let (samples, meaning) = (block.bands.get(self.index), self.meaning);
        self.fill(whole, |col, row| {
            let index = (row - y) as usize * block.cols as usize + (col - x) as usize;
            samples.and_then(|samples| samples.get(index)).map_or(NODATA, |value| decode(meaning, value) as u8)
        });
    }

    /// Adds a block that cannot be read; returns the pixels of the level that depend on it, as a bounding region.
    pub(crate) fn add_unreadable(&mut self, block: Region) -> Region {
        self.fill(block, |_, _| UNREADABLE);
        let mut touched = Region { x0: self.over.x1, y0: self.over.y1, x1: self.over.x0, y1: self.over.y0 };
        let mut see = |x: i64, y: i64| {
            touched = touched.union(&Region { x0: x, y0: y, x1: x + 1, y1: y + 1 });
        };
        match &self.lookup {
            Lookup::Separable { xs, ys } => {
                let inside = |values: &[i64], from: i64, to: i64, first: i64| -> Vec<i64> {
                    let hits = values.iter().enumerate().filter(|(_, at)| (from..to).contains(*at));
                    hits.map(|(index, _)| first + index as i64).collect()
                };
                let xs = inside(xs, block.x0, block.x1, self.over.x0);
                let ys = inside(ys, block.y0, block.y1, self.over.y0);
                if let (Some(&x0), Some(&x1), Some(&y0), Some(&y1)) = (xs.first(), xs.last(), ys.first(), ys.last()) {
                    see(x0.min(x1), y0.min(y1));
                    see(x0.max(x1), y0.max(y1));
                }
            }
            Lookup::Each(places) => {
                let width = self.over.width().max(1);
                for (index, &(x, y)) in places.iter().enumerate() {
                    if (block.x0..block.x1).contains(&x) && (block.y0..block.y1).contains(&y) {
                        see(self.over.x0 + (index % width) as i64, self.over.y0 + (index / width) as i64);
                    }
                }
            }
        }
        touched
    }

    fn fill(&mut self, block: Region, state: impl Fn(i64, i64) -> u8) {
        let part = block.intersection(&self.region);
        let width = self.region.width();
        let mut states = std::mem::take(&mut self.states);
        for row in part.y0..part.y1.max(part.y0) {
            for col in part.x0..part.x1.max(part.x0) {
                let index = (row - self.region.y0) as usize * width + (col - self.region.x0) as usize;
                if let Some(slot) = states.get_mut(index) {
                    *slot = state(col, row);
                }
            }
        }
        self.states = states;
    }

    fn state(&self, x: i64, y: i64) -> u8 {
        let inside = x >= self.region.x0 && x < self.region.x1 && y >= self.region.y0 && y < self.region.y1;
        if !inside {
            return NODATA;
        }
        let index = (y - self.region.y0) as usize * self.region.width() + (x - self.region.x0) as usize;
        self.states.get(index).copied().unwrap_or(NODATA)
    }
}

impl MaskRows for MaskPlane {
    fn combine_row(&self, y: i64, x: Range<i64>, states: &mut [u8]) {
        let place = |x: i64| -> Option<(i64, i64)> {
            let (col, row) = (usize::try_from(x - self.over.x0).ok()?, usize::try_from(y - self.over.y0).ok()?);
            match &self.lookup {
                Lookup::Separable { xs, ys } => Some((*xs.get(col)?, *ys.get(row)?)),
                Lookup::Each(places) => places.get(row * self.over.width() + col).copied(),
            }
        };
        for (x, state) in x.zip(states) {
            let says = place(x).map_or(NODATA, |(x, y)| self.state(x, y));
            *state = combine(*state, says);
        }
    }
}

/// A mask of which nothing can be read.
pub(crate) struct NoMask;

impl MaskRows for NoMask {
    fn combine_row(&self, _y: i64, _x: Range<i64>, states: &mut [u8]) {
        for state in states {
            *state = combine(*state, UNREADABLE);
        }
    }
}
