//! The quantities in which a building may stand out, and how patches are cut out of them.

use survey::raster::Plane;

use super::pixels::values;
use crate::mask::Mask;

/// Quantiles of a channel over the site at which patches are cut out, in percent.
const LEVELS: [usize; 16] = [4, 8, 12, 17, 23, 30, 38, 46, 54, 62, 70, 77, 83, 88, 92, 96];

/// Distances between the two levels of a slice, in levels.
const SLICES: [usize; 2] = [4, 7];

/// One of the quantities in which a building may stand out.
pub(super) struct Cue<'a> {
    pub(super) plane: &'a Plane<f32>,
    /// Which values are cut out.
    pub(super) cuts: &'a [Cut],
    /// Least difference to the surroundings, in units of the plane.
    pub(super) step: f64,
    /// Median over the site.
    pub(super) ground: f64,
}

/// A way to cut patches out of a plane.
#[derive(Clone, Copy)]
pub(super) enum Cut {
    /// All above a level.
    Above,
    /// All below a level.
    Below,
    /// All between two levels: a grey roof is bluer than soil and less blue than its own shadow.
    Between,
}

impl Cut {
    /// The ranges of values that the levels of a plane give.
    pub(super) fn ranges(self, levels: &[f32]) -> Vec<(f32, f32)> {
        match self {
            Self::Above => levels.iter().map(|&level| (level, f32::INFINITY)).collect(),
            Self::Below => levels.iter().map(|&level| (f32::NEG_INFINITY, level)).collect(),
            Self::Between => SLICES
                .iter()
                .flat_map(|&apart| levels.iter().zip(levels.iter().skip(apart)).map(|(&low, &high)| (low, high)))
                .collect(),
        }
    }

    /// The range around a patch's mean whose limits lie half way to its surroundings.
    pub(super) fn half_way(self, inside: f64, step: f64) -> (f32, f32) {
        let (low, high) = ((inside - step / 2.0) as f32, (inside + step / 2.0) as f32);
        match self {
            Self::Above => (low, f32::INFINITY),
            Self::Below => (f32::NEG_INFINITY, high),
            Self::Between => (low, high),
        }
    }
}

/// Distinct levels of a plane over the ground.
pub(super) fn quantiles(plane: &Plane<f32>, ground: &Mask) -> Vec<f32> {
    let mut values = values(plane, ground);
    let mut ranks: Vec<usize> = LEVELS.iter().map(|percent| values.len().saturating_sub(1) * percent / 100).collect();
    ranks.dedup();
    let mut levels = Vec::with_capacity(ranks.len());
    select(&mut values, 0, &ranks, &mut levels);
    levels.dedup();
    levels
}

/// Appends the values of the ascending `ranks`, of which the first value of `values` has the rank `first`.
fn select(values: &mut [f32], first: usize, ranks: &[usize], out: &mut Vec<f32>) {
    let Some(&rank) = ranks.get(ranks.len() / 2) else { return };
    if rank - first >= values.len() {
        return;
    }
    let (below, &mut value, above) = values.select_nth_unstable_by(rank - first, f32::total_cmp);
    select(below, first, &ranks[..ranks.len() / 2], out);
    out.push(value);
    select(above, rank + 1, &ranks[ranks.len() / 2 + 1..], out);
}
