//! Thresholds from one integer histogram of `ln(1 + √T)`. They are edges of its bins, so that noise in the last bit of
//! a score upstream moves no threshold.

use super::sample::PairSample;

/// Bins of the histogram.
pub const BINS: usize = 1024;

/// Upper end of the histogram; the lower is 0. Larger scores count in the last bin.
pub const RANGE: f64 = 8.0;

/// A histogram of `ln(1 + √T)` over `[0, RANGE)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BINS] }
    }
}

impl Histogram {
    /// Counts a score `T`.
    pub fn count(&mut self, t: f64) {
        let bin = (libm::log1p(t.max(0.0).sqrt()) * (BINS as f64 / RANGE)) as usize;
        self.counts[bin.min(BINS - 1)] += 1;
    }

    /// Adds the counts of another histogram.
    pub fn absorb(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// Everything that was counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Share of the counts at or above a bin.
    #[must_use]
    pub fn share_from(&self, bin: usize) -> f64 {
        let above: u64 = self.counts.iter().skip(bin).sum();
        above as f64 / self.total().max(1) as f64
    }

    /// The lower edge of a bin.
    #[must_use]
    pub fn edge(bin: usize) -> f64 {
        bin as f64 * (RANGE / BINS as f64)
    }

    /// The centre of a bin.
    #[must_use]
    pub fn centre(bin: usize) -> f64 {
        (bin as f64 + 0.5) * (RANGE / BINS as f64)
    }

    /// Otsu's split of the values that `value(bin)` gives: the last bin of the lower class for which the variance
    /// between the classes is largest (Otsu 1979); the first of several. `None` where one class would be empty.
    #[must_use]
    pub fn otsu(&self, value: impl Fn(usize) -> f64) -> Option<usize> {
        let total = self.total() as f64;
        let moment: f64 = self.counts.iter().enumerate().map(|(bin, &count)| count as f64 * value(bin)).sum();
        let (mut weight, mut below) = (0.0, 0.0);
        let mut best: Option<(f64, usize)> = None;
        for (bin, &count) in self.counts.iter().enumerate() {
            weight += count as f64;
            below += count as f64 * value(bin);
            if weight <= 0.0 || weight >= total {
                continue;
            }
            let gap = moment * weight / total - below;
            let between = gap * gap / (weight * (total - weight));
            if best.is_none_or(|(most, _)| between > most) {
                best = Some((between, bin));
            }
        }
        best.map(|(_, bin)| bin)
    }

    /// The first bin of the changed class by two-means on `√T`: the split of smallest variance within the classes,
    /// which is Otsu's on the same values.
    #[must_use]
    pub fn two_means(&self) -> Option<usize> {
        self.otsu(|bin| libm::expm1(Self::centre(bin))).map(|bin| bin + 1)
    }

    /// The first bin of the changed class by the triangle method on `ln(1 + √T)`: the bin after the one that lies
    /// farthest below the line from the peak to the last bin in use (Zack, Rogers & Latt 1977).
    #[must_use]
    pub fn triangle(&self) -> Option<usize> {
        let (peak, &height) = self.counts.iter().enumerate().max_by_key(|&(bin, &count)| (count, BINS - bin))?;
        let last = self.counts.iter().rposition(|&count| count > 0)?;
        if last <= peak {
            return None;
        }
        let (height, length) = (height as f64, (last - peak) as f64);
        let depth = |bin: usize| 1.0 - self.counts[bin] as f64 / height - (bin - peak) as f64 / length;
        let deepest = (peak..=last).reduce(|best, bin| if depth(bin) > depth(best) { bin } else { best })?;
        Some(deepest + 1)
    }
}

/// The histogram of the scores of a sample; where `halved`, of the pixels whose row and column are even only.
#[must_use]
pub fn histogram(sample: &PairSample, scorer: &super::irmad::Scorer, halved: bool) -> Histogram {
    let parts = sample.by_strip(<(Histogram, Vec<f64>)>::default, |(histogram, scores), row| {
        if halved && row.row % 2 != 0 {
            return;
        }
        scores.resize(row.cols.len(), 0.0);
        scorer.score_row(&row.bands, scores);
        for (&t, col) in scores.iter().zip(&row.cols) {
            if !halved || col % 2 == 0 {
                histogram.count(t);
            }
        }
    });
    let mut total = Histogram::default();
    for (part, _) in &parts {
        total.absorb(part);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(share: impl Fn(f64) -> f64) -> Histogram {
        Histogram { counts: (0..BINS).map(|bin| (share(Histogram::centre(bin)) * 1e6) as u64).collect() }
    }

    fn bell(x: f64, mean: f64, sd: f64) -> f64 {
        (-0.5 * ((x - mean) / sd).powi(2)).exp()
    }

    #[test]
    fn otsu_splits_two_equal_bells_in_the_middle() {
        let histogram = filled(|x| bell(x, 2.0, 0.3) + bell(x, 5.0, 0.3));
        let bin = histogram.otsu(Histogram::centre).unwrap();
        assert!((Histogram::edge(bin + 1) - 3.5).abs() <= RANGE / BINS as f64);
    }

    #[test]
    fn two_means_splits_where_both_means_are_equally_far() {
        let histogram = filled(|x| bell(x, 0.7, 0.1) + 0.2 * bell(x, 2.0, 0.1));
        let bin = histogram.two_means().unwrap();
        let mean = |from: usize, to: usize| {
            let (mut weight, mut sum) = (0.0, 0.0);
            for at in from..to {
                weight += histogram.counts[at] as f64;
                sum += histogram.counts[at] as f64 * libm::expm1(Histogram::centre(at));
            }
            sum / weight
        };
        let middle = (mean(0, bin) + mean(bin, BINS)) / 2.0;
        // Between the two bells lies an empty stretch, in which every split is as good.
        assert!(histogram.share_from(bin) > 0.16 && histogram.share_from(bin) < 0.17);
        assert!((middle - 3.7).abs() < 0.2, "{middle}");
    }

    #[test]
    fn the_triangle_ends_the_peak_of_a_long_tail() {
        // A peak of height 1 at 1.0 that falls to a flat tail of 0.01 at 1.5 and ends at 5.0.
        let histogram = filled(|x| match x {
            x if x < 1.0 => x,
            x if x < 1.5 => 1.0 - 1.98 * (x - 1.0),
            x if x < 5.0 => 0.01,
            _ => 0.0,
        });
        assert!((Histogram::edge(histogram.triangle().unwrap()) - 1.5).abs() < 0.02);
    }

    #[test]
    fn a_histogram_with_one_value_has_no_threshold() {
        let mut histogram = Histogram::default();
        histogram.count(4.0);
        histogram.count(4.0);
        assert_eq!((histogram.two_means(), histogram.triangle()), (None, None));
        assert_eq!(Histogram::default().two_means(), None);
    }

    #[test]
    fn scores_fall_into_the_bins_of_numpy_histogram() {
        // numpy 2.4: np.histogram(np.log1p([0, 1, 9.877742727456024, 3000]), 1024, (0, 8)) has counts at 0, 88, 305;
        // numpy leaves out what is above the range, which is counted in the last bin here.
        let mut histogram = Histogram::default();
        for root in [0.0_f64, 1.0, 9.877_742_727_456_024, 3000.0] {
            histogram.count(root * root);
        }
        let used: Vec<usize> = (0..BINS).filter(|&bin| histogram.counts[bin] > 0).collect();
        assert_eq!(used, [0, 88, 305, 1023]);
    }
}
