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
pub fn pair_statistics(sample: PairSample) -> PairStatistics {
    let sample = sample.thinned(MOST_VALUES);
    let split = sample.before_bands().len();
    let dates = [(0, BandRoles::of(sample.before_bands())), (split, BandRoles::of(sample.after_bands()))];
    let parts = sample.by_strip(Values::default, |values, row| {
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
    let Values { brightness, vegetation, gradient } = all;
    let [[before, after], [mut of_before, mut of_after], [noise_before, noise_after]] =
        [brightness, vegetation, gradient];
    let ((before, after), ((vegetation_before, noise_before), (vegetation_after, noise_after))) = rayon::join(
        || rayon::join(|| Brightness::of(before), || Brightness::of(after)),
        || {
            rayon::join(
                || (quantiles(&mut of_before, VEGETATION_QUANTILES), noise(noise_before)),
                || (quantiles(&mut of_after, VEGETATION_QUANTILES), noise(noise_after)),
            )
        },
    );
    PairStatistics {
        brightness_median: [before.median, after.median],
        brightness_sd: [before.sd, after.sd],
        brightness_p90: [before.p90, after.p90],
        gradient_noise: [noise_before, noise_after],
        vegetation_before,
        vegetation_after,
    }
}

struct Brightness {
    median: f64,
    sd: f64,
    p90: f64,
}

impl Brightness {
    fn of(mut values: Vec<f32>) -> Self {
        let [median, p90] = quantiles(&mut values, [0.5, 0.9]);
        values.iter_mut().for_each(|value| *value = (*value - median as f32).abs());
        Self { median, sd: 1.4826 * quantiles(&mut values, [0.5])[0], p90 }
    }
}

/// The quietest quarter of the neighbour differences: what noise alone makes of a smooth field.
fn noise(mut gradient: Vec<f32>) -> f64 {
    quantiles(&mut gradient, [0.25])[0]
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

/// The quantiles of values, for ascending shares: the nearest ranks; 0 for none. Only as much is sorted as they need.
fn quantiles<const N: usize>(values: &mut [f32], shares: [f64; N]) -> [f64; N] {
    let last = values.len().saturating_sub(1) as f64;
    // What lies before is not above what is looked for next.
    let mut found_at = 0;
    shares.map(|share| {
        let rank = (share * last).round() as usize;
        let rest = values.get_mut(found_at..).filter(|rest| rank - found_at < rest.len());
        let Some(rest) = rest else { return 0.0 };
        let (_, found, _) = rest.select_nth_unstable_by(rank - found_at, f32::total_cmp);
        found_at = rank;
        f64::from(*found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        for count in [0_usize, 1, 2, 7, 1000] {
            let mut values: Vec<f32> = (0..count).map(|at| ((at * 7919) % 613) as f32 - 300.5).collect();
            let mut sorted = values.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            let shares = [0.0, 0.05, 0.5, 0.5, 0.95, 1.0];
            let expected = shares.map(|share| {
                let rank = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
                sorted.get(rank).copied().map_or(0.0, f64::from)
            });
            assert_eq!(quantiles(&mut values, shares), expected, "{count} values");
        }
    }
}
