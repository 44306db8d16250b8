//! The pairs of one cell, best first.

use std::collections::BTreeMap;

use chrono::Datelike;
use survey::scene::Scene;
use survey::spec::DetectorSpec;

use super::bands::comparable;
use super::ground::{Ground, Points, Seen};
use crate::error::ImageryError;

/// Scenes per date that are weighed against each other in a cell.
const CANDIDATES: usize = 8;

/// A pair that covers no new ground is read where it can be expected to show this share of the cell under the clouds of
/// those before it: below that, twice the bytes buy next to nothing.
const LEAST_GAIN: f64 = 0.05;

/// The scenes of both dates and where they lie.
pub(super) struct Choice<'a> {
    pub(super) before: &'a [Scene],
    pub(super) after: &'a [Scene],
    pub(super) ground_before: &'a [Ground],
    pub(super) ground_after: &'a [Ground],
    pub(super) detector: &'a DetectorSpec,
}

/// A pair, as indices into the scenes of the two dates.
pub(super) type Pair = (usize, usize);

/// Which pairs have bands to compare: asked once.
pub(super) type Known = BTreeMap<Pair, bool>;

struct Candidate {
    pair: Pair,
    points: Points,
    quality: f64,
    /// Share of its ground that it can be expected to show.
    clear: f64,
}

impl Choice<'_> {
    /// The pairs of a cell, best first. The first is the best there; each further one shows most of what those before
    /// it leave: ground that they do not cover, or ground that can be expected to lie under their clouds.
    ///
    /// # Errors
    /// Where a scene lacks a band that is named.
    pub(super) fn rank(
        &self,
        seen_before: &[Seen],
        seen_after: &[Seen],
        known: &mut Known,
    ) -> Result<Vec<Pair>, ImageryError> {
        let candidates = self.candidates(seen_before, seen_after, known)?;
        let mut pairs: Vec<Pair> = Vec::new();
        let mut filled = Points::NONE;
        // The chance that a sample point is not shown by any pair so far.
        let mut unseen = [1.0_f64; Points::INNER];
        while pairs.len() < self.detector.max_pairs_per_cell as usize {
            let next = candidates
                .iter()
                .filter(|candidate| !pairs.contains(&candidate.pair))
                .filter_map(|candidate| {
                    let share = candidate.points.inner().map(|point| unseen[point]).sum::<f64>() / Points::INNER as f64;
                    let is_new = candidate.points.has_more_than(filled)
                        // A tip that holds no sample point may hold pixels that nothing else shows.
                        || (candidate.points.is_none() && filled != Points::ALL);
                    (is_new || share * candidate.clear >= LEAST_GAIN).then_some((share * candidate.quality, candidate))
                })
                .max_by(|x, y| x.0.total_cmp(&y.0).then_with(|| self.ids(x.1.pair).cmp(&self.ids(y.1.pair))));
            let Some((_, best)) = next else { break };
            pairs.push(best.pair);
            filled = filled.with(best.points);
            for point in best.points.inner() {
                unseen[point] *= 1.0 - best.clear;
            }
        }
        Ok(pairs)
    }

    fn candidates(
        &self,
        seen_before: &[Seen],
        seen_after: &[Seen],
        known: &mut Known,
    ) -> Result<Vec<Candidate>, ImageryError> {
        let (seen_before, seen_after) = (best(self.before, seen_before), best(self.after, seen_after));
        let mut candidates = Vec::new();
        for b in &seen_before {
            for a in &seen_after {
                let pair = (b.scene, a.scene);
                let (earlier, later) = (&self.before[b.scene], &self.after[a.scene]);
                let points = b.points.common(a.points);
                let meet = !points.is_none() || self.ground_before[b.scene].shares_a_pixel(&self.ground_after[a.scene]);
                if earlier.acquired >= later.acquired || !meet {
                    continue;
                }
                let is_comparable = match known.get(&pair) {
                    Some(&known) => known,
                    None => {
                        let found = comparable(earlier, later, self.detector)?.is_some();
                        known.insert(pair, found);
                        found
                    }
                };
                if is_comparable {
                    let clear = clear(earlier) * clear(later);
                    candidates.push(Candidate { pair, points, quality: clear * quality(earlier, later), clear });
                }
            }
        }
        Ok(candidates)
    }

    fn ids(&self, (b, a): Pair) -> (&survey::ids::SceneId, &survey::ids::SceneId) {
        (&self.before[b].id, &self.after[a].id)
    }
}

/// The scenes of one date that are worth weighing, most promising first.
fn best(scenes: &[Scene], seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    let worth = |seen: &Seen| (seen.points.inner().count() + 1) as f64 * clear(&scenes[seen.scene]);
    seen.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then_with(|| scenes[a.scene].id.cmp(&scenes[b.scene].id)));
    seen.truncate(CANDIDATES);
    seen
}

/// Share of a scene that is free of cloud; a scene that does not say is taken for fairly clear.
fn clear(scene: &Scene) -> f64 {
    1.0 - scene.cloud_cover.unwrap_or(10.0).clamp(0.0, 99.0) / 100.0
}

/// How good a pair is, 0 to 1, where it is clear: steep, fine, and of the same season.
fn quality(before: &Scene, after: &Scene) -> f64 {
    let steep = |scene: &Scene| 1.0 - scene.off_nadir_deg.unwrap_or(10.0).abs().clamp(0.0, 60.0) / 120.0;
    let fine = |scene: &Scene| 1.0 / (1.0 + scene.gsd_m.max(0.01) / 30.0);
    let days = (i64::from(before.acquired.ordinal()) - i64::from(after.acquired.ordinal())).abs();
    let apart = days.min(365 - days).max(0) as f64;
    let season = 1.0 - apart / 365.0;
    steep(before) * steep(after) * fine(before) * fine(after) * season
}
