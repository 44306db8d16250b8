//! The pixels that IR-MAD starts from: the half of the sample whose common bands changed least in proportion.
//!
//! From all pixels, the first fit takes what a quarter of a scene did together (a burn scar, a harvest) for the relation
//! of the two scenes, and no round brings it back. Half of a sample withstands change of nearly half of it (least trimmed
//! squares, Rousseeuw 1984).

use super::radiometry::common_bands;
use super::sample::PairSample;
use crate::evidence::ln;

/// Bins of both histograms.
const BINS: usize = 8192;
/// Logarithms of ratios from minus to plus this are resolved: digital numbers against reflectances, too.
const RATIO_RANGE: f32 = 16.0;
/// Distances up to this are.
const DISTANCE_RANGE: f32 = 8.0;

/// Which pixels are in the half.
#[derive(Clone, Debug, PartialEq)]
pub struct SteadyHalf {
    /// By common band: its places in the list of all bands, and the median of `ln(after / before)`.
    bands: Vec<(usize, usize, f32)>,
    /// Distance from the medians below which a pixel is in the half.
    limit: f32,
}

impl SteadyHalf {
    /// 1 for each pixel in the half, 0 for the others.
    pub fn weigh(&self, bands: &[Vec<f32>], weights: &mut [f64]) {
        for (at, weight) in weights.iter_mut().enumerate() {
            let is_in = self.distance(bands, at).is_some_and(|distance| distance < self.limit);
            *weight = f64::from(u8::from(is_in));
        }
    }

    /// How far a pixel's ratios lie from the medians; nothing where a value has no logarithm.
    fn distance(&self, bands: &[Vec<f32>], at: usize) -> Option<f32> {
        let mut sum = 0.0;
        for &(before, after, median) in &self.bands {
            let off = ratio(bands[before][at], bands[after][at])? - median;
            sum += off * off;
        }
        Some(sum.sqrt())
    }
}

fn ratio(before: f32, after: f32) -> Option<f32> {
    (before > 0.0 && after > 0.0 && before.is_finite() && after.is_finite()).then(|| ln(after) - ln(before))
}

/// The half of a sample; `None` where the scenes have no band in common, or too few values have a logarithm.
#[must_use]
pub fn steady_half(sample: &PairSample) -> Option<SteadyHalf> {
    let common = common_bands(sample.before_bands(), sample.after_bands());
    let mut half = SteadyHalf { bands: Vec::new(), limit: f32::INFINITY };
    for (_, before, after) in &common {
        let (counts, pixels) = count(sample, |bands, at| {
            let ratio = ratio(bands[*before][at], bands[*after][at])?;
            Some((ratio + RATIO_RANGE) * (BINS as f32 / (2.0 * RATIO_RANGE)))
        });
        let middle = median(&counts, pixels)?;
        half.bands.push((*before, *after, (middle as f32 + 0.5) * (2.0 * RATIO_RANGE / BINS as f32) - RATIO_RANGE));
    }
    if half.bands.is_empty() {
        return None;
    }
    let (counts, pixels) = count(sample, |bands, at| Some(half.distance(bands, at)? * (BINS as f32 / DISTANCE_RANGE)));
    let middle = median(&counts, pixels)?;
    half.limit = (middle + 1) as f32 * (DISTANCE_RANGE / BINS as f32);
    Some(half)
}

/// Counts by bin of what `bin` gives, and all pixels.
fn count(sample: &PairSample, bin: impl Fn(&[Vec<f32>], usize) -> Option<f32> + Sync) -> (Vec<u64>, u64) {
    let parts = sample.by_strip(
        || (vec![0_u64; BINS], 0_u64),
        |(counts, pixels), row| {
            *pixels += row.cols.len() as u64;
            for at in 0..row.cols.len() {
                if let Some(bin) = bin(&row.bands, at) {
                    counts[(bin.max(0.0) as usize).min(BINS - 1)] += 1;
                }
            }
        },
    );
    let mut total = (vec![0_u64; BINS], 0);
    for (counts, pixels) in parts {
        total.0.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        total.1 += pixels;
    }
    total
}

/// The bin that half of the pixels lie up to; `None` where fewer have a value.
fn median(counts: &[u64], pixels: u64) -> Option<usize> {
    let mut below = 0;
    counts.iter().position(|count| {
        below += count;
        below > 0 && 2 * below >= pixels
    })
}
