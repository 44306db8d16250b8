//! What is known of a scene pair before its pixels are compared.

use serde::{Deserialize, Serialize};

use crate::grid::{CELL_PX, PixelRect};
use crate::scene::BandName;

/// One cell of so many of a pair's overlap is sampled.
const SAMPLED_SHARE: u64 = 16;
/// Cells in a sample: at least and at most.
const SAMPLED_CELLS: (u64, u64) = (16, 32);
/// Bytes that the sample's pixels may take.
const SAMPLE_BYTES: u64 = 192 << 20;

/// How many cells of a pair's overlap its calibration samples: a sixteenth, at least 16 and at most 32, and fewer where
/// there are fewer or where their pixels (`bands`: of both scenes together, 4 bytes a value) would take more than 192 MiB.
#[must_use]
pub fn sampled_cells(overlap: PixelRect, bands: u64) -> u64 {
    let along = |from: i32, to: i32| (to.max(from + 1) - 1).div_euclid(CELL_PX) - from.div_euclid(CELL_PX) + 1;
    let count = if overlap.is_empty() {
        0
    } else {
        along(overlap.row0, overlap.row1) as u64 * along(overlap.col0, overlap.col1) as u64
    };
    let affordable = (SAMPLE_BYTES / cell_bytes(bands)).max(1);
    count.div_ceil(SAMPLED_SHARE).clamp(SAMPLED_CELLS.0, SAMPLED_CELLS.1).min(affordable)
}

/// Bytes of a sampled cell: values of both scenes, and their states.
#[must_use]
pub fn cell_bytes(bands: u64) -> u64 {
    (CELL_PX as u64).pow(2) * (4 * bands + 2)
}

/// The calibration of an ordered scene pair. A function of the two scenes and the grid alone: never of tiles, counties
/// or `only`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Correction of the later scene's place: a pixel of the grid at (row, col) is read from the later scene at
    /// (row, col) + correction. Rounded to 1/1024 px.
    pub registration: Registration,
    /// IR-MAD transform and its noise.
    pub irmad: IrMad,
    /// Radiometry per common band: after ≈ gain × before + offset on pseudo-invariant pixels.
    pub radiometry: Vec<BandGain>,
    /// Change threshold on `ln(1 + √T)`: an edge of the histogram's bins.
    pub threshold: f64,
    /// Share of the sample above the threshold.
    pub flagged_share: f64,
    /// Where change of any kind begins on `ln(1 + √T)`, at most `threshold`: an edge of the histogram's bins.
    pub changed_from: f64,
    /// Robust location and scale of single-date quantities over the sample.
    pub statistics: PairStatistics,
    /// Pixels that it was fitted to: of a large sample, those of every second row, every third and so on.
    pub sample_px: u64,
    /// What is wrong with the pair, if anything.
    pub quality: Vec<QualityFlag>,
}

/// An affine correction in pixels of the grid, relative to the centre of the pair's overlap. Integers in 1/1024 px
/// (shift) and 2⁻³⁰ (linear part) so that every worker applies the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Row of the centre that the linear part refers to.
    pub centre_row: i32,
    /// Column of the centre.
    pub centre_col: i32,
    /// Shift of rows at the centre, 1/1024 px.
    pub shift_row: i32,
    /// Shift of columns at the centre, 1/1024 px.
    pub shift_col: i32,
    /// Linear part, 2⁻³⁰: change of the row shift per row, per column; of the column shift per row, per column.
    pub linear: [i32; 4],
    /// Tie points used.
    pub tie_points: u32,
    /// Median absolute residual, 1/1024 px.
    pub residual: i32,
}

impl Registration {
    /// Where to read the later scene for a grid position (fractional row and column).
    #[must_use]
    pub fn apply(&self, row: f64, col: f64) -> (f64, f64) {
        const LINEAR: f64 = (1_u64 << 30) as f64;
        let (dr, dc) = (row - f64::from(self.centre_row), col - f64::from(self.centre_col));
        let [rr, rc, cr, cc] = self.linear.map(|value| f64::from(value) / LINEAR);
        (
            row + f64::from(self.shift_row) / 1024.0 + rr * dr + rc * dc,
            col + f64::from(self.shift_col) / 1024.0 + cr * dr + cc * dc,
        )
    }

    /// Whether it moves nothing.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.shift_row == 0 && self.shift_col == 0 && self.linear == [0; 4]
    }
}

/// Iteratively reweighted multivariate alteration detection (Nielsen 2007): canonical variates of two scenes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IrMad {
    /// Means of the earlier scene's bands.
    pub mean_before: Vec<f64>,
    /// Means of the later scene's bands.
    pub mean_after: Vec<f64>,
    /// `a[k]`: weights of variate `k` on the earlier scene's bands.
    pub a: Vec<Vec<f64>>,
    /// `b[k]`: weights of variate `k` on the later scene's bands.
    pub b: Vec<Vec<f64>>,
    /// Canonical correlations.
    pub rho: Vec<f64>,
    /// Variance of each MAD variate, `max(2(1 − ρ), floor)`.
    pub variance: Vec<f64>,
    /// Rounds that were run and kept.
    pub rounds: u32,
}

/// Linear radiometric relation of a band.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandGain {
    /// The band.
    pub band: BandName,
    /// Slope.
    pub gain: f64,
    /// Intercept.
    pub offset: f64,
}

/// Robust statistics of single-date quantities over the pair's sample, earlier scene in the later scene's radiometry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairStatistics {
    /// Median brightness (mean of the visible bands) before, after.
    pub brightness_median: [f64; 2],
    /// 1.4826 × median absolute deviation of brightness before, after.
    pub brightness_sd: [f64; 2],
    /// Vegetation index quantiles (5, 25, 50, 60, 75, 95 %) before.
    pub vegetation_before: [f64; 6],
    /// Vegetation index quantiles after.
    pub vegetation_after: [f64; 6],
    /// Standard deviation of noise of the gradient field before, after.
    pub gradient_noise: [f64; 2],
    /// 90th percentile of brightness before, after.
    pub brightness_p90: [f64; 2],
}

/// Something to know about a pair's calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityFlag {
    /// Too few tie points: the scenes are compared as they lie.
    RegistrationUnknown,
    /// Residual above 1 px.
    RegistrationPoor,
    /// IR-MAD stopped early: the mean weight fell below 0.15.
    WeightCollapse,
    /// Next to nothing (< 0.1 %) of the sample is above the threshold.
    ThresholdFlagsLittle,
    /// A large part (> 40 %) of the sample is above the threshold.
    ThresholdFlagsMuch,
    /// The gains of the bands disagree wildly, as with a missed radiometric offset.
    RadiometryImplausible,
    /// Fewer than 5000 pixels in the sample.
    SmallSample,
}
