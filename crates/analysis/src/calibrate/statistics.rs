//! Robust location and scale of what the evidence is measured against.

use survey::calibration::PairStatistics;

use super::sample::{PairSample, SampleRow};
use crate::bands::{BandRoles, Vegetation};

/// Values per date at most: enough for quantiles, whatever the size of the sample.
const MOST_VALUES: u64 = 1 << 20;

/// Quantiles of the vegetation index that are kept.
pub const VEGETATION_QUANTILES: [f64; 6] = [0.05, 0.25, 0.5, 0.6, 0.75, 0.95];

#[derive(Default)]
struct Values {
    brightness: [Vec<f32>; 2],
    vegetation: [Vec<f32>; 2],
    gradient: [Vec<f32>; 2],
}

/// The statistics of a sample, each scene in its own radiometry.
#[must_use]
pub fn pair_statistics(sample: &PairSample) -> PairStatistics {
    let pixels: u64 = sample.by_strip(|| 0, |count, row| *count += row.cols.len() as u64).iter().sum();
    // Every `step`-th row: a function of the sample alone.
    let step = pixels.div_ceil(MOST_VALUES).max(1) as i32;
    let split = sample.before_bands().len();
    let dates = [(0, BandRoles::of(sample.before_bands())), (split, BandRoles::of(sample.after_bands()))];
    let parts = sample.by_strip(Values::default, |values, row| {
        if row.row.rem_euclid(step) != 0 {
            return;
        }
        for (date, (first, roles)) in dates.iter().enumerate() {
            take_row(values, date, *first, roles, row);
        }
    });
    let mut all = Values::default();
    for part in parts {
        for date in 0..2 {
            all.brightness[date].extend(&part.brightness[date]);
            all.vegetation[date].extend(&part.vegetation[date]);
            all.gradient[date].extend(&part.gradient[date]);
        }
    }
    let mut statistics = PairStatistics::default();
    for date in 0..2 {
        let mut brightness = std::mem::take(&mut all.brightness[date]);
        brightness.sort_unstable_by(f32::total_cmp);
        let median = quantile(&brightness, 0.5);
        let mut deviations: Vec<f32> = brightness.iter().map(|value| (value - median as f32).abs()).collect();
        deviations.sort_unstable_by(f32::total_cmp);
        statistics.brightness_median[date] = median;
        statistics.brightness_sd[date] = 1.4826 * quantile(&deviations, 0.5);
        statistics.brightness_p90[date] = quantile(&brightness, 0.9);
        let mut gradient = std::mem::take(&mut all.gradient[date]);
        gradient.sort_unstable_by(f32::total_cmp);
        // The quietest quarter of the neighbour differences: what noise alone makes of a smooth field.
        statistics.gradient_noise[date] = quantile(&gradient, 0.25);
        let mut vegetation = std::mem::take(&mut all.vegetation[date]);
        vegetation.sort_unstable_by(f32::total_cmp);
        let quantiles = VEGETATION_QUANTILES.map(|share| quantile(&vegetation, share));
        if date == 0 {
            statistics.vegetation_before = quantiles;
        } else {
            statistics.vegetation_after = quantiles;
        }
    }
    statistics
}

fn take_row(values: &mut Values, date: usize, first: usize, roles: &BandRoles, row: &SampleRow) {
    let mut last: Option<(i32, f32)> = None;
    for (index, &col) in row.cols.iter().enumerate() {
        let band =
            |band: usize| row.bands.get(first + band).and_then(|values| values.get(index)).copied().unwrap_or(0.0);
        let brightness = roles.bright.iter().map(|&role| band(role)).sum::<f32>() / roles.bright.len().max(1) as f32;
        values.brightness[date].push(brightness);
        if roles.vegetation != Vegetation::None {
            values.vegetation[date].push(roles.vegetation.index(band));
        }
        if let Some((beside, other)) = last
            && beside + 1 == col
        {
            values.gradient[date].push((brightness - other).abs());
        }
        last = Some((col, brightness));
    }
}

/// The quantile of sorted values: the nearest rank; 0 for none.
fn quantile(sorted: &[f32], share: f64) -> f64 {
    let rank = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(rank).copied().map_or(0.0, f64::from)
}
