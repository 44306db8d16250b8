//! From a raster's pixels to the survey's grid, once: transform, point-spread match, averaging and interpolation in one
//! step, with missing pixels left out.
//!
//! * [`geometry`]: where the grid's pixels lie in a raster, and which level it is read from.
//! * [`control`]: the same on a control grid in integers.
//! * [`kernel`]: the weights.
//! * [`source`]: the raster's pixels that are needed; [`values`]: what their samples stand for.
//! * [`masks`], [`mask_plane`]: what masks say of them.
//! * [`resample`]: the pixels of the grid; `lanes`: many of them at a time, with samples that `pick` picks.
//! * [`copy`]: the same where they coincide with the raster's; `view`: without a copy.
//!
//! # Which pixels are valid
//! A source pixel has no value where it is NaN or infinite, equals the nodata value of the file or of the catalog, is 0
//! in the file's mask or alpha band, or a mask of the scene says so. Such pixels never enter a value: their weight is
//! left out and the others stand for them. A pixel of the grid is `Valid` if at least half of its kernel's weight (of
//! the part that lies on the raster) is on valid pixels; `Unreadable` if its kernel touches a pixel that cannot be read;
//! `NoScene` if its centre lies outside the raster; else it has the state that says most among the missing pixels.
//!
//! Masks are looked up per source pixel (nearest mask pixel), before resampling.

pub(crate) mod control;
mod copy;
pub(crate) mod geometry;
pub(crate) mod kernel;
mod lanes;
pub(crate) mod mask_plane;
pub mod masks;
mod pick;
pub(crate) mod resample;
pub(crate) mod source;
#[cfg(test)]
mod tests;
pub(crate) mod values;
mod view;

use std::sync::Arc;

use survey::calibration::Registration;
use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::PixelState;

use self::control::Control;
use self::geometry::{Geometry, Sampling};
use self::kernel::Kernel;
use self::resample::Resampled;
use self::source::{MaskRows, Region, WindowBuilder};
use self::values::BandSource;
use self::view::MosaicBuilder;
use crate::cog::Block;

/// Blocks are kept as they are where they take at most so many times what their values would.
const MOST_HELD: u64 = 2;

/// A rectangle of the grid as seen by one raster: what has to be read for it, and how it is resampled.
pub(crate) struct Warp {
    pub(crate) sampling: Sampling,
    control: Control,
    kernels: [Kernel; 2],
    rect: PixelRect,
    /// Where the grid's pixels coincide with working pixels: see [`copy::shift`].
    shift: Option<[i64; 2]>,
    footprints: Vec<Region>,
}

impl Warp {
    /// `None` where the raster has no place on the grid. `levels` are (width, height), the full resolution first.
    pub(crate) fn new(
        geometry: &Geometry,
        levels: &[(u32, u32)],
        correction: &Registration,
        rect: PixelRect,
    ) -> Option<Self> {
        let sampling = Sampling::choose(geometry.scale()?, levels);
        let kernels = [0, 1].map(|axis| Kernel::new(sampling.step[axis], sampling.ratio[axis]));
        let control = Control::new(geometry, correction, &sampling, rect);
        let both = [&kernels[0], &kernels[1]];
        let shift = if sampling.average == [1, 1] { copy::shift(&control, both, rect) } else { None };
        let footprints = match shift {
            Some(shift) => copy::coinciding(&control, rect, shift).into_iter().collect(),
            None => resample::footprints(&control, both, rect),
        };
        Some(Self { sampling, control, kernels, rect, shift, footprints })
    }

    /// Working pixels that are needed: a bounding region, and the regions that are really needed.
    pub(crate) fn needed(&self) -> Option<(Region, &[Region])> {
        let whole = self.footprints.iter().copied().reduce(|a, b| a.union(&b))?;
        // What is copied is laid out as the rectangle is.
        let whole = self.shift.map_or(whole, |shift| copy::shifted(self.rect, shift));
        Some((whole, &self.footprints))
    }

    /// What puts the blocks of [`Warp::needed`] together. They take `block_bytes`, and stay what they are where nothing is to be
    /// weighed, unless that would hold much more than their values.
    pub(crate) fn builder(
        &self,
        region: Region,
        level: (u32, u32),
        block_bytes: u64,
        bands: Vec<BandSource>,
        alpha: Option<usize>,
    ) -> Builder {
        let value_bytes = (self.rect.pixels() * bands.len() * size_of::<f32>()) as u64;
        match self.shift {
            Some(shift) if block_bytes <= MOST_HELD * value_bytes => {
                Builder::Mosaic(MosaicBuilder::new(self.rect, shift, level, bands, alpha))
            }
            _ => Builder::Window(WindowBuilder::new(region, self.sampling.average, level, bands, alpha)),
        }
    }

    /// The pixels of the grid.
    pub(crate) fn resample(&self, built: Builder) -> Resampled {
        match (built, self.shift) {
            (Builder::Mosaic(mosaic), _) => copy::viewed(&self.control, mosaic),
            (Builder::Window(window), Some(shift)) => copy::copied(&self.control, window.finish(), self.rect, shift),
            (Builder::Window(window), None) => {
                resample::resample(&self.control, [&self.kernels[0], &self.kernels[1]], &window.finish(), self.rect)
            }
        }
    }

    /// The same warp, which weighs what it could copy.
    #[cfg(test)]
    fn weighing(self) -> Self {
        let footprints = resample::footprints(&self.control, [&self.kernels[0], &self.kernels[1]], self.rect);
        Self { shift: None, footprints, ..self }
    }

    /// The pixels of the grid that depend on pixels of the level inside `region`.
    pub(crate) fn touching(&self, region: Region) -> Vec<Run> {
        let [x, y] = self.sampling.average.map(|count| i64::from(count.max(1)));
        let working = Region {
            x0: region.x0.div_euclid(x),
            y0: region.y0.div_euclid(y),
            x1: (region.x1 - 1).div_euclid(x) + 1,
            y1: (region.y1 - 1).div_euclid(y) + 1,
        };
        resample::touching(&self.control, [&self.kernels[0], &self.kernels[1]], self.rect, working)
    }

    /// The state of every pixel of a raster of which nothing can be read.
    pub(crate) fn unreadable(&self, full: (u32, u32)) -> Vec<Run> {
        self.touching(Region { x0: 0, y0: 0, x1: i64::from(full.0), y1: i64::from(full.1) })
    }
}

/// Puts the blocks together that a warp needs.
pub(crate) enum Builder {
    /// They stay what they are: see [`copy::shift`].
    Mosaic(MosaicBuilder),
    /// They are laid out.
    Window(WindowBuilder),
}

impl Builder {
    /// Pixels of the level that are needed.
    pub(crate) fn pixels(&self) -> Region {
        match self {
            Self::Mosaic(mosaic) => mosaic.pixels(),
            Self::Window(window) => window.pixels(),
        }
    }

    /// Adds a block whose first pixel is (x, y) of the level.
    pub(crate) fn add(&mut self, block: Arc<Block>, x: i64, y: i64, masks: &[Arc<dyn MaskRows>]) {
        match self {
            Self::Mosaic(mosaic) => mosaic.add(block, x, y, masks),
            Self::Window(window) => window.add(&block, x, y, masks),
        }
    }

    /// Adds a block that cannot be read: the pixels of the level that it would hold.
    pub(crate) fn add_unreadable(&mut self, block: Region) {
        match self {
            Self::Mosaic(mosaic) => mosaic.add_unreadable(block),
            Self::Window(window) => window.add_unreadable(block),
        }
    }
}

/// The larger of two states where both miss a pixel; valid only if both are.
pub(crate) fn both(a: PixelState, b: PixelState) -> PixelState {
    source::state_of(source::combine(a as u8, b as u8))
}
