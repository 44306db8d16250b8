//! What is known of a scene pair before its pixels are compared: place, radiometry, and where change begins.
//!
//! Everything is a function of the pixels of the sampled cells: not of their order, of threads, or of tiles.

mod chi_squared;
mod irmad;
mod linear;
mod moments;
mod moved;
mod phase;
mod radiometry;
mod register;
mod sample;
mod start;
mod statistics;
mod threshold;

use rayon::prelude::*;
use survey::calibration::{Calibration, IrMad, PairStatistics, QualityFlag, Registration};
use survey::grid::Grid;
use survey::raster::{PixelState, SceneWindow};
use survey::spec::DetectorSpec;

use crate::cloud::{CloudReach, mask_clouds};
use crate::detect::Detector;
use crate::evidence::{self, Preset, Scale};
pub use chi_squared::upper_tails;
pub use irmad::Scorer;
use irmad::{Fit, Rounds};
pub use moved::moved;
use sample::PairSample;
use threshold::{BINS, Histogram};

/// Both scenes of a pair over one sampled cell: the same rectangle.
#[derive(Clone, Debug)]
pub struct CellSample {
    /// The earlier scene.
    pub before: SceneWindow,
    /// The later scene.
    pub after: SceneWindow,
}

/// Shares of the sample between which a threshold is believed.
const BELIEVED_SHARE: (f64, f64) = (0.001, 0.4);

/// Share of the sample that can have changed: what most of a scene did is, to any statistic of the pair, what stays.
const MOST_CHANGED: f64 = 0.5;

/// Pixels that a fit is made of, at most: of a larger sample, which says no more, every second row, every third and so on.
const MOST_FITTED_PX: u64 = 2 << 20;

/// Pixels below which statistics are shaky.
const SMALL_SAMPLE_PX: u64 = 5000;

/// Residual of the tie points above which a registration is called poor, 1/1024 px.
const POOR_RESIDUAL: i32 = 1024;

/// The correction of the later scene's place, from samples that were read without one. The identity where the tie
/// points are too few or contradict each other; [`fit`] then says so.
#[must_use]
pub fn register(samples: &[CellSample], _grid: &Grid) -> Registration {
    register::register(samples)
}

/// Whether the detector wants the later scene moved: the modes that reproduce other pipelines compare scenes as they
/// lie.
#[must_use]
pub fn wants_registration(detector: &DetectorSpec) -> bool {
    Detector::of(detector) == Detector::Default
}

/// The calibration of a pair, from samples that were read with `registration`; of large samples, from every few rows of them.
#[must_use]
pub fn fit(samples: &[CellSample], grid: &Grid, registration: Registration, detector: &DetectorSpec) -> Calibration {
    fit_to(samples, grid, registration, detector, MOST_FITTED_PX)
}

/// The same from all pixels of the samples.
#[must_use]
pub fn fit_to_all(
    samples: &[CellSample],
    grid: &Grid,
    registration: Registration,
    detector: &DetectorSpec,
) -> Calibration {
    fit_to(samples, grid, registration, detector, u64::MAX)
}

fn fit_to(
    samples: &[CellSample],
    grid: &Grid,
    registration: Registration,
    detector: &DetectorSpec,
    most_px: u64,
) -> Calibration {
    let preset = Preset::new(grid.resolution_m, detector);
    let blocks: Vec<CellSample>;
    let samples = if preset.block_px > 1 {
        blocks = samples.iter().map(|sample| in_blocks(sample, preset.block_px)).collect();
        &blocks
    } else {
        samples
    };
    // Of all that is valid, as the detection will know no better.
    let statistics = statistics::pair_statistics(PairSample::new(samples));
    let clear = preset.cloud.map(|reach| without_clouds(samples, &statistics, reach));
    let sample = PairSample::new(clear.as_deref().unwrap_or(samples)).thinned(most_px);
    let detector = Detector::of(detector);
    let fit = match detector {
        // Where buildings have a shape, light and shade decide which half is steady: measured in decision 0004.
        Detector::Default if preset.scale == Scale::Fine => irmad::fit(&sample, Rounds::DEFAULT),
        Detector::Default => irmad::fit_from(&sample, Rounds::DEFAULT, start::steady_half(&sample)),
        Detector::IrMad => irmad::fit(&sample, Rounds::PEERS),
        Detector::Cva => difference(&sample),
    };
    let scorer = Scorer::new(&fit.irmad);
    let histogram = threshold::histogram(&sample, &scorer, detector == Detector::IrMad);
    let (threshold, flagged_share) = match detector {
        Detector::Default => believable_split(&histogram),
        Detector::Cva => split_at(&histogram, histogram.two_means()),
        Detector::IrMad => {
            // The compared pipelines take the centre of the last bin of the lower class.
            let bin = histogram.otsu(Histogram::centre);
            let share = bin.map_or(0.0, |bin| histogram.share_from(bin + 1));
            (bin.map_or(threshold::RANGE, Histogram::centre), share)
        }
    };
    let changed_from = if detector == Detector::Default { changed_from(&histogram, threshold) } else { threshold };
    let radiometry = radiometry::band_gains(&sample, &scorer, fit.irmad.rho.len());
    let mut quality = quality_of(&fit, registration, flagged_share);
    if let Some(flag) = doubt(split_at(&histogram, histogram.two_means()).1)
        && detector == Detector::Default
    {
        quality.push(flag);
    }
    if radiometry::implausible(&radiometry, &common_means(&sample, &fit.irmad)) {
        quality.push(QualityFlag::RadiometryImplausible);
    }
    if detector != Detector::Default {
        quality.retain(|flag| *flag != QualityFlag::RegistrationUnknown);
    }
    quality.sort_unstable();
    quality.dedup();
    Calibration {
        registration,
        statistics,
        irmad: fit.irmad,
        radiometry,
        threshold,
        flagged_share,
        changed_from,
        sample_px: fit.pixels,
        quality,
    }
}

/// A sample as the evidence will see it.
fn in_blocks(sample: &CellSample, size: i32) -> CellSample {
    let (before, after) = evidence::in_blocks(&sample.before, &sample.after, size);
    CellSample { before, after }
}

/// The samples with what lies under clouds left out, which would otherwise be the change that the fit sees. The search
/// is that of the detection.
fn without_clouds(samples: &[CellSample], statistics: &PairStatistics, reach: CloudReach) -> Vec<CellSample> {
    samples
        .par_iter()
        .map(|sample| {
            let mut clear = sample.clone();
            let (rect, other) = (sample.before.rect(), sample.after.rect());
            if rect == other {
                let mut state = sample.before.state.clone();
                for (state, &after) in state.data_mut().iter_mut().zip(sample.after.state.data()) {
                    if after != PixelState::Valid {
                        *state = after;
                    }
                }
                mask_clouds(&sample.before, &sample.after, statistics, reach, &mut state);
                clear.before.state = state;
            }
            clear
        })
        .collect()
}

/// The threshold at the lower edge of a bin; above everything where the histogram has no two classes.
fn split_at(histogram: &Histogram, bin: Option<usize>) -> (f64, f64) {
    let bin = bin.unwrap_or(BINS);
    (Histogram::edge(bin), histogram.share_from(bin))
}

/// What is wrong with a threshold that flags this share of the sample, if anything.
fn doubt(flagged_share: f64) -> Option<QualityFlag> {
    if flagged_share < BELIEVED_SHARE.0 {
        Some(QualityFlag::ThresholdFlagsLittle)
    } else if flagged_share > BELIEVED_SHARE.1 {
        Some(QualityFlag::ThresholdFlagsMuch)
    } else {
        None
    }
}

/// Two-means, and the triangle where two-means is degenerate: a handful of extremes, or half the scene. Where the
/// triangle is no better, whichever flags less.
fn believable_split(histogram: &Histogram) -> (f64, f64) {
    let (first, second) = (split_at(histogram, histogram.two_means()), split_at(histogram, histogram.triangle()));
    match (doubt(first.1), doubt(second.1)) {
        (None, _) => first,
        (Some(_), None) => second,
        _ if second.1 < first.1 => second,
        _ => first,
    }
}

/// Where change of any kind begins: the end of the peak of what stayed (the triangle), or the threshold where that is
/// lower. Two-means splits off the strongest of several kinds of change, as the front of a fire from what it has burned;
/// the triangle asks only what the unchanged ground looks like. A peak above which most of the scene lies is not that of
/// unchanged ground.
fn changed_from(histogram: &Histogram, threshold: f64) -> f64 {
    let (from, share) = split_at(histogram, histogram.triangle());
    if share <= MOST_CHANGED { from.min(threshold) } else { threshold }
}

fn quality_of(fit: &Fit, registration: Registration, flagged_share: f64) -> Vec<QualityFlag> {
    [
        (registration.tie_points == 0, QualityFlag::RegistrationUnknown),
        (registration.residual > POOR_RESIDUAL, QualityFlag::RegistrationPoor),
        (fit.collapsed, QualityFlag::WeightCollapse),
        (fit.pixels < SMALL_SAMPLE_PX, QualityFlag::SmallSample),
    ]
    .into_iter()
    .filter_map(|(is_so, flag)| is_so.then_some(flag))
    .chain(doubt(flagged_share))
    .collect()
}

/// Means of the earlier scene's bands that the later one has too, in the order of the radiometry.
fn common_means(sample: &PairSample, irmad: &IrMad) -> Vec<f64> {
    radiometry::common_bands(sample.before_bands(), sample.after_bands())
        .iter()
        .filter_map(|&(_, before, _)| irmad.mean_before.get(before).copied())
        .collect()
}

/// Plain differencing of the common bands in the form of a transform: `T = Σ (x − y)²`. Where no band is common, the
/// means of all bands are compared.
fn difference(sample: &PairSample) -> Fit {
    let (before, after) = (sample.before_bands().len(), sample.after_bands().len());
    let common = radiometry::common_bands(sample.before_bands(), sample.after_bands());
    let unit = |size: usize, at: usize| (0..size).map(|index| f64::from(u8::from(index == at))).collect::<Vec<_>>();
    let (a, b): (Vec<_>, Vec<_>) = if common.is_empty() {
        (vec![vec![1.0 / before.max(1) as f64; before]], vec![vec![1.0 / after.max(1) as f64; after]])
    } else {
        common.iter().map(|&(_, x, y)| (unit(before, x), unit(after, y - before))).unzip()
    };
    let found = moments::moments(sample, |_, weights| weights.fill(1.0));
    let count = a.len();
    // Scaled so that the histogram resolves it, whether the bands hold reflectances or digital numbers.
    let spread =
        (0..before + after).map(|band| found.covariance.at(band, band)).sum::<f64>() / (before + after).max(1) as f64;
    let unit_variance = if spread > 0.0 { spread / 4096.0 } else { 1.0 };
    Fit {
        irmad: IrMad {
            mean_before: vec![0.0; before],
            mean_after: vec![0.0; after],
            a,
            b,
            rho: vec![0.0; count],
            variance: vec![unit_variance; count],
            rounds: 0,
        },
        pixels: found.pixels,
        collapsed: false,
    }
}

#[cfg(test)]
mod tests;
