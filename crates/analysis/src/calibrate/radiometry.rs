//! The linear radiometric relation of two scenes, from pixels that did not change.

use survey::calibration::BandGain;
use survey::scene::BandName;

use super::chi_squared::upper_tails;
use super::irmad::Scorer;
use super::moments::moments;
use super::sample::PairSample;

/// Weights above which a pixel counts as pseudo-invariant: the stricter one where enough pixels have it.
const INVARIANT: [f64; 2] = [0.95, 0.8];

/// Pixels that the stricter weight must leave.
const ENOUGH: u64 = 5000;

/// Gain and offset of each band that both scenes have (`after ≈ gain × before + offset`), by orthogonal regression on
/// pseudo-invariant pixels: ordinary least squares would attenuate the gain by the noise of the earlier scene
/// (Canty & Nielsen 2008, section 2.2).
#[must_use]
pub fn band_gains(sample: &PairSample, scorer: &Scorer, degrees: usize) -> Vec<BandGain> {
    let common = common_bands(sample.before_bands(), sample.after_bands());
    if common.is_empty() {
        return Vec::new();
    }
    let invariant = |least: f64| {
        moments(sample, |bands, weights| {
            scorer.score_row(bands, weights);
            upper_tails(degrees, weights);
            weights.iter_mut().for_each(|tail| *tail = f64::from(u8::from(*tail > least)));
        })
    };
    let mut found = invariant(INVARIANT[0]);
    if found.weight < ENOUGH as f64 {
        found = invariant(INVARIANT[1]);
    }
    common
        .into_iter()
        .map(|(band, before, after)| {
            let (vxx, vyy, vxy) = (
                found.covariance.at(before, before),
                found.covariance.at(after, after),
                found.covariance.at(before, after),
            );
            let gain = major_axis(vxx, vyy, vxy).unwrap_or(1.0);
            BandGain { band, gain, offset: found.mean[after] - gain * found.mean[before] }
        })
        .collect()
}

/// Bands of both scenes with their places in the list of all bands (earlier scene's first).
#[must_use]
pub fn common_bands(before: &[BandName], after: &[BandName]) -> Vec<(BandName, usize, usize)> {
    before
        .iter()
        .enumerate()
        .filter_map(|(index, band)| {
            let other = after.iter().position(|other| other == band)?;
            Some((band.clone(), index, before.len() + other))
        })
        .collect()
}

/// The slope of the major axis of a 2 × 2 covariance.
fn major_axis(vxx: f64, vyy: f64, vxy: f64) -> Option<f64> {
    let spread = vyy - vxx;
    let slope = (spread + (spread * spread + 4.0 * vxy * vxy).sqrt()) / (2.0 * vxy);
    (vxy > 0.0 && slope.is_finite()).then_some(slope)
}

/// Whether the bands contradict each other, as where a radiometric offset of one date was missed: gains that differ by
/// more than a factor of 3, or gains near 1 with offsets of the same sign above half of the earlier scene's level.
#[must_use]
pub fn implausible(gains: &[BandGain], mean_before: &[f64]) -> bool {
    let (least, most) = gains
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), gain| (least.min(gain.gain), most.max(gain.gain)));
    if gains.len() < 2 || !(least > 0.0) {
        return gains.len() >= 2;
    }
    let alike = most < 1.25 && least > 0.8;
    let shifted = |sign: f64| {
        gains.iter().zip(mean_before).all(|(gain, mean)| sign * gain.offset > 0.5 * mean.abs() && mean.abs() > 0.0)
    };
    most > 3.0 * least || (alike && (shifted(1.0) || shifted(-1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_axis_of_a_noisy_line_is_its_slope() {
        // x and y = 1.12 x, variance 10_000 of the signal, the same noise of 400 perpendicular to the line.
        let (slope, signal, noise) = (1.12_f64, 10_000.0, 400.0);
        let norm = 1.0 + slope * slope;
        let vxx = signal / norm + noise * slope * slope / norm;
        let vyy = signal * slope * slope / norm + noise / norm;
        let vxy = signal * slope / norm - noise * slope / norm;
        assert!((major_axis(vxx, vyy, vxy).unwrap() - slope).abs() < 1e-12);
        assert_eq!(major_axis(1.0, 1.0, 0.0), None);
    }

    #[test]
    fn a_missed_offset_of_a_thousand_is_noticed_and_an_ordinary_difference_of_sensors_is_not() {
        let gains = |pairs: &[(f64, f64)]| -> Vec<BandGain> {
            pairs.iter().map(|&(gain, offset)| BandGain { band: BandName::new("red"), gain, offset }).collect()
        };
        let means = [800.0, 900.0, 1100.0];
        assert!(implausible(&gains(&[(1.0, 1000.0), (1.02, 990.0), (0.98, 1010.0)]), &means));
        assert!(!implausible(&gains(&[(1.12, 60.0), (1.07, 40.0), (0.93, -30.0)]), &means));
        assert!(!implausible(&gains(&[(0.02, 10.0), (0.021, 12.0), (0.019, 9.0)]), &means));
        assert!(implausible(&gains(&[(0.2, 0.0), (1.0, 0.0), (1.1, 0.0)]), &means));
        assert!(implausible(&gains(&[(-1.0, 0.0), (1.0, 0.0), (1.1, 0.0)]), &means));
    }
}
