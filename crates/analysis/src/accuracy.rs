//! How good a change mask is against labels: pixel and object scores, and how sure they are.

/// Counts of a binary decision against the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Changed, and found.
    pub true_positive: u64,
    /// Unchanged, and claimed to be changed.
    pub false_positive: u64,
    /// Changed, and missed.
    pub false_negative: u64,
    /// Unchanged, and left alone.
    pub true_negative: u64,
}

/// Scores of a [`Confusion`]; a ratio without cases is `None`, never an arbitrary number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Share of what was claimed that is true.
    pub precision: Option<f64>,
    /// Share of what is true that was claimed.
    pub recall: Option<f64>,
    /// Harmonic mean of the two: `2 TP / (2 TP + FP + FN)`.
    pub f1: Option<f64>,
    /// Intersection over union: `TP / (TP + FP + FN)`.
    pub iou: Option<f64>,
    /// Agreement beyond chance (Cohen 1960).
    pub kappa: Option<f64>,
    /// Share of all that is right.
    pub accuracy: Option<f64>,
}

impl Confusion {
    /// Counts one pixel.
    pub fn count(&mut self, claimed: bool, is_true: bool) {
        *match (claimed, is_true) {
            (true, true) => &mut self.true_positive,
            (true, false) => &mut self.false_positive,
            (false, true) => &mut self.false_negative,
            (false, false) => &mut self.true_negative,
        } += 1;
    }

    /// Adds the counts of another.
    pub fn absorb(&mut self, other: &Self) {
        self.true_positive += other.true_positive;
        self.false_positive += other.false_positive;
        self.false_negative += other.false_negative;
        self.true_negative += other.true_negative;
    }

    /// Everything that was counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.true_positive + self.false_positive + self.false_negative + self.true_negative
    }

    /// The scores.
    #[must_use]
    pub fn scores(&self) -> Scores {
        let [tp, fp, fn_, tn] = [self.true_positive, self.false_positive, self.false_negative, self.true_negative]
            .map(|count| count as f64);
        let ratio = |over: f64, under: f64| (under > 0.0).then(|| over / under);
        let total = tp + fp + fn_ + tn;
        let agreement = ratio(tp + tn, total);
        let by_chance = ratio((tp + fp) * (tp + fn_) + (fn_ + tn) * (fp + tn), total * total);
        Scores {
            precision: ratio(tp, tp + fp),
            recall: ratio(tp, tp + fn_),
            f1: ratio(2.0 * tp, 2.0 * tp + fp + fn_),
            iou: ratio(tp, tp + fp + fn_),
            kappa: agreement.zip(by_chance).and_then(|(agreement, chance)| ratio(agreement - chance, 1.0 - chance)),
            accuracy: agreement,
        }
    }
}

/// Objects of the truth that were hit, and claimed objects that hit something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectHits {
    /// True objects.
    pub true_objects: u64,
    /// True objects of which at least the asked share was found.
    pub true_hit: u64,
    /// Claimed objects.
    pub claimed_objects: u64,
    /// Claimed objects that touch a true one.
    pub claimed_hit: u64,
}

impl ObjectHits {
    /// Adds the counts of another.
    pub fn absorb(&mut self, other: &Self) {
        self.true_objects += other.true_objects;
        self.true_hit += other.true_hit;
        self.claimed_objects += other.claimed_objects;
        self.claimed_hit += other.claimed_hit;
    }

    /// Share of the true objects that were hit.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.true_objects > 0).then(|| self.true_hit as f64 / self.true_objects as f64)
    }

    /// Share of the claimed objects that hit something.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.claimed_objects > 0).then(|| self.claimed_hit as f64 / self.claimed_objects as f64)
    }
}

/// Compares objects: a true one is hit where at least `least_share` of its pixels is claimed.
#[must_use]
pub fn object_hits(claimed: &crate::mask::Mask, truth: &crate::mask::Mask, least_share: f64) -> ObjectHits {
    let covered = |runs: &[survey::findings::Run], mask: &crate::mask::Mask| -> (u64, u64) {
        runs.iter().fold((0, 0), |(inside, all), run| {
            let hit = (run.col0..run.col1).filter(|&col| mask.get(run.row, col)).count() as u64;
            (inside + hit, all + run.len())
        })
    };
    let mut hits = ObjectHits::default();
    for object in crate::components::pieces(truth) {
        let (inside, all) = covered(&object, claimed);
        hits.true_objects += 1;
        hits.true_hit += u64::from(inside as f64 >= least_share * all as f64 && inside > 0);
    }
    for object in crate::components::pieces(claimed) {
        hits.claimed_objects += 1;
        hits.claimed_hit += u64::from(covered(&object, truth).0 > 0);
    }
    hits
}

/// The middle 95 % of a score over resamples of the pairs with replacement (Efron 1979), or `None` where it has no
/// value in most of them. Pairs, not pixels, are drawn: the pixels of a pair stand and fall together. The draws follow
/// from `seed` alone.
#[must_use]
pub fn bootstrap_interval(
    pairs: &[Confusion],
    seed: u64,
    score: impl Fn(&Scores) -> Option<f64>,
) -> Option<(f64, f64)> {
    const DRAWS: usize = 1000;
    if pairs.len() < 2 {
        return None;
    }
    let mut random = SplitMix(seed);
    let mut values: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            let mut drawn = Confusion::default();
            for _ in 0..pairs.len() {
                drawn.absorb(&pairs[random.below(pairs.len())]);
            }
            score(&drawn.scores())
        })
        .collect();
    if values.len() * 2 < DRAWS {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let rank = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
    Some((rank(0.025), rank(0.975)))
}

/// SplitMix64 (Steele, Lea & Flood 2014): enough for a bootstrap, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Mask;
    use survey::grid::PixelRect;

    #[test]
    fn scores_are_those_of_scikit_learn() {
        // scikit-learn 1.7: precision_score, recall_score, f1_score, jaccard_score, cohen_kappa_score, accuracy_score
        // of 30 TP, 10 FP, 20 FN, 940 TN.
        let counts = Confusion { true_positive: 30, false_positive: 10, false_negative: 20, true_negative: 940 };
        let scores = counts.scores();
        let close = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?}");
        close(scores.precision, 0.75);
        close(scores.recall, 0.6);
        close(scores.f1, 0.666_666_666_7);
        close(scores.iou, 0.5);
        close(scores.kappa, KAPPA);
        close(scores.accuracy, 0.97);
    }

    const KAPPA: f64 = 0.651_162_790_697_674_4;

    #[test]
    fn a_ratio_without_cases_has_no_value() {
        let nothing = Confusion { true_negative: 100, ..Confusion::default() }.scores();
        assert_eq!((nothing.precision, nothing.recall, nothing.f1, nothing.kappa), (None, None, None, None));
        assert_eq!(nothing.accuracy, Some(1.0));
        assert_eq!(Confusion::default().scores().accuracy, None);
    }

    #[test]
    fn objects_are_hit_by_share_and_a_claim_by_touch() {
        let rect = PixelRect::new(0, 0, 10, 20);
        let truth = Mask::from_fn(rect, |row, col| row < 2 && col < 10 || row > 7 && col > 15);
        let claimed = Mask::from_fn(rect, |row, col| row < 2 && col < 3 || row == 5 && col == 5);
        let hits = object_hits(&claimed, &truth, 0.25);
        assert_eq!(hits, ObjectHits { true_objects: 2, true_hit: 1, claimed_objects: 2, claimed_hit: 1 });
        assert_eq!(object_hits(&claimed, &truth, 0.5).true_hit, 0);
    }

    #[test]
    fn the_interval_holds_the_score_repeats_and_narrows_with_more_pairs() {
        let pairs: Vec<Confusion> = (0..40)
            .map(|index| Confusion {
                true_positive: 50 + index % 7 * 10,
                false_positive: 20 + index % 3 * 10,
                false_negative: 30,
                true_negative: 900,
            })
            .collect();
        let interval = |pairs: &[Confusion]| bootstrap_interval(pairs, 7, |scores| scores.f1).unwrap();
        let mut total = Confusion::default();
        pairs.iter().for_each(|pair| total.absorb(pair));
        let (low, high) = interval(&pairs);
        let f1 = total.scores().f1.unwrap();
        assert!(low < f1 && f1 < high);
        assert_eq!(interval(&pairs), (low, high));
        let few = interval(&pairs[..5]);
        assert!(few.1 - few.0 > high - low);
        assert_eq!(bootstrap_interval(&pairs[..1], 7, |scores| scores.f1), None);
    }
}
