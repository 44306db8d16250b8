//! What tiles find, in a form that merges: runs, integer sums and coverage.
//!
//! A *component* is one 8-connected piece of the **group mask**: the change mask dilated by a fixed radius, so that the
//! buildings and yards of one construction lot hang together. Its sums and its runs count only pixels of the change
//! mask itself; the group mask is needed only where a component touches the border of its block, to find out which
//! pieces of neighbouring blocks belong together.
//!
//! # Invariant
//! Everything here is integer and every combination is associative and commutative, so that no order of merging, no
//! tile size and no number of workers can show in a result.

use std::collections::BTreeMap;

use crate::grid::{PixelIndex, PixelRect};
use crate::job::ObjectRef;
use crate::raster::PixelState;

/// A horizontal run of pixels, `col0..col1` in `row`, global coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// Row.
    pub row: i32,
    /// First column.
    pub col0: i32,
    /// One past the last column.
    pub col1: i32,
}

impl Run {
    /// Number of pixels.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::from(self.col1.saturating_sub(self.col0).max(0) as u32)
    }

    /// Whether there is no pixel in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.col1 <= self.col0
    }
}

/// Number of per-pixel evidence channels whose sums a component carries.
pub const EVIDENCE_CHANNELS: usize = 8;

/// The channels of [`Sums::evidence`]; each per-pixel value is quantised to 1/256 before it is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum EvidenceChannel {
    /// Fused log-odds of change.
    Logit = 0,
    /// `ln(1 + √T) − threshold` of the IR-MAD score.
    Score = 1,
    /// Structure change, `1 − NCC` of gradients.
    Structure = 2,
    /// Vegetation index before.
    VegetationBefore = 3,
    /// Vegetation index after.
    VegetationAfter = 4,
    /// Edge growth, log ratio.
    EdgeGrowth = 5,
    /// Brightness after, robust z.
    BrightnessAfter = 6,
    /// Brightness before, robust z.
    BrightnessBefore = 7,
}

/// Integer sums over the change pixels of a component (or of a part of one).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Change pixels.
    pub pixels: u64,
    /// Largest fused log-odds, 1/256.
    pub max_logit: i32,
    /// Pixels that were cropland before.
    pub crop_before: u64,
    /// Pixels that were woodland before.
    pub wood_before: u64,
    /// Pixels that were bare before.
    pub bare_before: u64,
    /// Pixels that were water before.
    pub water_before: u64,
    /// Pixels that were built before.
    pub built_before: u64,
    /// Sums of the evidence channels, 1/256.
    pub evidence: [i64; EVIDENCE_CHANNELS],
    /// Sum of row indices, for the centroid.
    pub rows: i64,
    /// Sum of column indices, for the centroid.
    pub cols: i64,
    /// Change pixels by the scene pair that saw them (index into the plan's pairs).
    pub by_pair: BTreeMap<u32, u64>,
    /// Change pixels by county (index into the plan's counties); pixels outside all counties are in none.
    pub by_county: BTreeMap<u32, u64>,
    /// The component touches the edge of the planned area, or a tile that failed: it may go on there.
    pub truncated: bool,
}

impl Sums {
    /// Adds another part of the same component.
    pub fn absorb(&mut self, other: &Self) {
        self.max_logit = if self.pixels == 0 {
            other.max_logit
        } else if other.pixels == 0 {
            self.max_logit
        } else {
            self.max_logit.max(other.max_logit)
        };
        self.pixels += other.pixels;
        self.crop_before += other.crop_before;
        self.wood_before += other.wood_before;
        self.bare_before += other.bare_before;
        self.water_before += other.water_before;
        self.built_before += other.built_before;
        for (mine, theirs) in self.evidence.iter_mut().zip(other.evidence) {
            *mine += theirs;
        }
        self.rows += other.rows;
        self.cols += other.cols;
        for (&pair, &pixels) in &other.by_pair {
            *self.by_pair.entry(pair).or_default() += pixels;
        }
        for (&county, &pixels) in &other.by_county {
            *self.by_county.entry(county).or_default() += pixels;
        }
        self.truncated |= other.truncated;
    }

    /// The county that holds most of the change pixels; ties go to the smaller index. `None` outside all counties.
    #[must_use]
    pub fn owner(&self) -> Option<u32> {
        self.by_county
            .iter()
            .max_by_key(|&(county, pixels)| (pixels, std::cmp::Reverse(county)))
            .map(|(&county, _)| county)
    }

    /// Mean of an evidence channel over the change pixels.
    #[must_use]
    pub fn mean(&self, channel: EvidenceChannel) -> f64 {
        if self.pixels == 0 {
            return 0.0;
        }
        self.evidence[channel as usize] as f64 / 256.0 / self.pixels as f64
    }
}

/// A component, whole or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Smallest change pixel in row-major order: the component's id. `None` while a part has group pixels only.
    pub first: Option<PixelIndex>,
    /// Sums over its change pixels.
    pub sums: Sums,
    /// Bounding rectangle of its group pixels.
    pub bounds: PixelRect,
    /// Change pixels as sorted, disjoint, non-adjoining runs. Empty and meaningless where `extended`.
    pub runs: Vec<Run>,
    /// The component has more change pixels than a site may have: its runs were dropped.
    pub extended: bool,
    /// Group-mask pixels on the border of the block that it was found in, sorted; empty once closed.
    pub border: Vec<Run>,
}

/// Pixels of a county by state: surveyed, or missing and why. Sums up without remainder to the county's pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Pixels compared.
    pub surveyed: u64,
    /// Of those, the ones whose spectral score lies above their pair's threshold: whatever changed there, harvest, fire,
    /// flood or construction.
    pub changed: u64,
    /// No scene pair covers the pixel.
    pub no_scene: u64,
    /// Under a cloud (or its shadow) in each pair.
    pub cloud: u64,
    /// No data in each pair.
    pub nodata: u64,
    /// In a block that could not be read.
    pub unreadable: u64,
    /// In a tile whose job failed for good.
    pub failed_job: u64,
}

impl Coverage {
    /// Counts pixels of a state.
    pub fn count(&mut self, state: PixelState, pixels: u64) {
        *match state {
            PixelState::Valid => &mut self.surveyed,
            PixelState::NoScene => &mut self.no_scene,
            PixelState::Cloud => &mut self.cloud,
            PixelState::Nodata => &mut self.nodata,
            PixelState::Unreadable => &mut self.unreadable,
        } += pixels;
    }

    /// Adds the counts of another part of the county.
    pub fn absorb(&mut self, other: &Self) {
        self.surveyed += other.surveyed;
        self.changed += other.changed;
        self.no_scene += other.no_scene;
        self.cloud += other.cloud;
        self.nodata += other.nodata;
        self.unreadable += other.unreadable;
        self.failed_job += other.failed_job;
    }

    /// All pixels.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.surveyed + self.gaps()
    }

    /// Pixels that were not surveyed.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.no_scene + self.cloud + self.nodata + self.unreadable + self.failed_job
    }
}

/// A file (or a block of one) that could not be read, and how often.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnreadableNote {
    /// Scene whose asset it is.
    pub scene: String,
    /// Why, in words.
    pub cause: String,
}

/// What one tile, or one block of merged tiles, holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// The pixels of the block.
    pub rect: PixelRect,
    /// Components that cannot go on outside the block, by id. Owned by a county; those outside all counties are
    /// dropped when they close.
    pub closed: Vec<Component>,
    /// Components that touch the border of the block, by first border run.
    pub open: Vec<Component>,
    /// Coverage by county (index into the plan's counties).
    pub coverage: BTreeMap<u32, Coverage>,
    /// Blocks below (and this one) whose `closed` has components of a county: where `assemble` finds them.
    pub closed_at: BTreeMap<u32, Vec<ObjectRef>>,
    /// What could not be read, once each, sorted, by county.
    pub unreadable: BTreeMap<u32, Vec<UnreadableNote>>,
    /// Change pixels of components that closed in this block or below and are no site (below the smallest area, or
    /// without a pixel that is sure enough), by the county that owns the component: they count for `changed_ha`.
    pub small_px: BTreeMap<u32, u64>,
    /// Blocks below whose job failed for good and that touch the border of this block, sorted: a component of a
    /// neighbouring block that touches one of them is truncated.
    pub failed: Vec<PixelRect>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_the_county_with_most_pixels_and_ties_go_to_the_smaller_index() {
        let mut sums = Sums { by_county: BTreeMap::from([(3, 5), (1, 5), (2, 4)]), ..Sums::default() };
        assert_eq!(sums.owner(), Some(1));
        sums.by_county.insert(2, 6);
        assert_eq!(sums.owner(), Some(2));
        assert_eq!(Sums::default().owner(), None);
    }

    #[test]
    fn absorbing_is_commutative_even_for_parts_without_change_pixels() {
        let a = Sums { pixels: 2, max_logit: -5, by_pair: BTreeMap::from([(0, 2)]), ..Sums::default() };
        let b = Sums { truncated: true, ..Sums::default() };
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.absorb(&b);
        ba.absorb(&a);
        assert_eq!(ab, ba);
        assert_eq!(ab.max_logit, -5);
    }
}
