//! From a pair to its scores, and from scores to the report.

use std::collections::BTreeMap;
use std::path::Path;

use analysis::accuracy::{Confusion, ObjectHits, Scores, bootstrap_interval, object_hits};
use analysis::calibrate::{self, CellSample};
use analysis::detect::detect_pair;
use analysis::mask::Mask;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use survey::calibration::Registration;
use survey::grid::Grid;
use survey::spec::DetectorSpec;

use super::pixels::PairImages;

/// Share of a true object that must be found for a hit.
const HIT_SHARE: f64 = 0.25;
/// Seed of the intervals: any number, always the same.
const SEED: u64 = 20_240_529;

/// One pair, scored.
pub struct PairScore {
    confusion: Confusion,
    objects: ObjectHits,
    change: Mask,
    valid: Mask,
}

/// Runs the detector on a pair and compares with its labels. What was not compared counts as not claimed.
#[must_use]
pub fn score(images: &PairImages, detector: &DetectorSpec) -> PairScore {
    let grid = Grid { crs: String::new(), resolution_m: images.gsd_m };
    let mut sample = CellSample { before: images.before.clone(), after: images.after.clone() };
    let registration = if calibrate::wants_registration(detector) {
        calibrate::register(std::slice::from_ref(&sample), &grid)
    } else {
        Registration::default()
    };
    sample.after = calibrate::moved(&sample.after, &registration);
    let calibration = calibrate::fit(std::slice::from_ref(&sample), &grid, registration, detector);
    for flag in &calibration.quality {
        tracing::warn!(?flag, "doubtful calibration");
    }
    let found = detect_pair(&sample.before, &sample.after, &calibration, images.gsd_m, detector);
    let rect = images.before.rect();
    let cols = rect.cols();
    let index = |row: i32, col: i32| row as usize * cols + col as usize;
    let mut confusion = Confusion::default();
    for row in rect.row0..rect.row1 {
        for col in rect.col0..rect.col1 {
            let at = index(row, col);
            if images.scored[at] {
                confusion.count(found.change.get(row, col), images.truth[at]);
            }
        }
    }
    let truth = Mask::from_fn(rect, |row, col| images.truth[index(row, col)]);
    let scored = Mask::from_fn(rect, |row, col| images.scored[index(row, col)]);
    let objects = object_hits(&found.change.and(&scored), &truth, HIT_SHARE);
    PairScore { confusion, objects, change: found.change, valid: found.valid }
}

/// Writes a mask as PNG.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_mask(file: &Path, score: &PairScore) -> Result<()> {
    let rect = score.change.rect();
    let mut picture = image::RgbImage::new(rect.cols() as u32, rect.rows() as u32);
    for (col, row, pixel) in picture.enumerate_pixels_mut() {
        let (row, col) = (row as i32, col as i32);
        pixel.0 = match (score.change.get(row, col), score.valid.get(row, col)) {
            (true, _) => [255, 60, 60],
            (false, true) => [0, 0, 0],
            (false, false) => [60, 60, 255],
        };
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    picture.save(file).with_context(|| format!("{}: cannot be written", file.display()))
}

/// Scores of a set of pairs.
#[derive(Default)]
pub struct SetScore {
    /// Counts by pair.
    pub pairs: Vec<Confusion>,
    /// All of them.
    pub pixel: Confusion,
    /// Objects.
    pub objects: ObjectHits,
}

impl SetScore {
    fn add(&mut self, pair: &PairScore) {
        self.pairs.push(pair.confusion);
        self.pixel.absorb(&pair.confusion);
        self.objects.absorb(&pair.objects);
    }

    /// The middle 95 % of F1 over resamples of the pairs.
    #[must_use]
    pub fn f1_interval(&self) -> Option<(f64, f64)> {
        self.interval(|scores| scores.f1)
    }

    fn interval(&self, score: impl Fn(&Scores) -> Option<f64>) -> Option<(f64, f64)> {
        bootstrap_interval(&self.pairs, SEED, score)
    }

    fn to_json(&self) -> Value {
        let scores = self.pixel.scores();
        let interval = |score: fn(&Scores) -> Option<f64>| self.interval(score).map(|(low, high)| json!([low, high]));
        json!({
            "pairs": self.pairs.len(),
            "pixel": {
                "precision": scores.precision,
                "recall": scores.recall,
                "f1": scores.f1,
                "iou": scores.iou,
                "kappa": scores.kappa,
                "accuracy": scores.accuracy,
            },
            "interval_95": {
                "precision": interval(|scores| scores.precision),
                "recall": interval(|scores| scores.recall),
                "f1": interval(|scores| scores.f1),
                "iou": interval(|scores| scores.iou),
                "kappa": interval(|scores| scores.kappa),
                "accuracy": interval(|scores| scores.accuracy),
            },
            "counts": {
                "true_positive": self.pixel.true_positive,
                "false_positive": self.pixel.false_positive,
                "false_negative": self.pixel.false_negative,
                "true_negative": self.pixel.true_negative,
            },
            "object": {
                "precision": self.objects.precision(),
                "recall": self.objects.recall(),
                "true": self.objects.true_objects,
                "claimed": self.objects.claimed_objects,
            },
        })
    }
}

/// What the command says in the end.
pub struct Report {
    detector: String,
    sets: BTreeMap<String, SetScore>,
    pooled: SetScore,
}

impl Report {
    /// A report without pairs.
    #[must_use]
    pub fn new(detector: &str) -> Self {
        Self { detector: detector.to_owned(), sets: BTreeMap::new(), pooled: SetScore::default() }
    }

    /// Adds a pair.
    pub fn add(&mut self, set: &str, pair: PairScore) {
        self.sets.entry(set.to_owned()).or_default().add(&pair);
        self.pooled.add(&pair);
    }

    /// The detector.
    #[must_use]
    pub fn detector(&self) -> &str {
        &self.detector
    }

    /// The sets by name.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &SetScore)> {
        self.sets.iter().map(|(name, set)| (name.as_str(), set))
    }

    /// All pairs.
    #[must_use]
    pub fn pooled(&self) -> &SetScore {
        &self.pooled
    }

    /// As `--json` writes it; a ratio without cases is `null`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let sets: serde_json::Map<String, Value> =
            self.sets().map(|(name, set)| (name.to_owned(), set.to_json())).collect();
        json!({ "detector": self.detector, "sets": sets, "pooled": self.pooled.to_json() })
    }
}
