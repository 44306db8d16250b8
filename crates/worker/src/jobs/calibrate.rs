//! Calibrate: what is to be known of a scene pair before its pixels are compared.
//!
//! The sample is a function of the two scenes and the grid alone. Cells of the pair's overlap are taken in the order of
//! their hash, as many as [`sampled_cells`] says. Cells that hold next to nothing in common are passed over.

use std::sync::Arc;

use analysis::calibrate::{self, CellSample};
use futures::{StreamExt, TryStreamExt};
use imagery::ReadScene;
use imagery::scene_reader::scene_rect;
use survey::calibration::{Registration, sampled_cells};
use survey::grid::{Cell, PixelRect};
use survey::job::Job;
use survey::raster::PixelState;
use tracing::Instrument;

use super::{Committed, JobContext, JobStats, LoadedPlan, safe_key};
use crate::error::JobError;

/// A cell counts if at least one of so many of its pixels is valid in both scenes.
const LEAST_COMMON: usize = 20;
/// Cells that are looked at per cell that is wanted.
const TRIES: u64 = 4;
/// Cells that are read at the same time.
const CELLS_AT_ONCE: usize = 4;

/// Calibrates a pair of the plan.
pub(super) async fn run(
    context: &JobContext,
    loaded: &Arc<LoadedPlan>,
    job: &Job,
    pair: u32,
) -> Result<Committed, JobError> {
    let plan = &loaded.plan;
    let (scene_pair, before, after) = loaded.pair(job.key, pair)?;
    let refused = |cause: &str| JobError::Pair { pair: scene_pair.key.clone(), cause: cause.to_owned() };
    let overlap = scene_rect(&plan.grid, before, &scene_pair.before_bands)?
        .zip(scene_rect(&plan.grid, after, &scene_pair.after_bands)?)
        .and_then(|(before, after)| before.intersection(&after))
        .ok_or_else(|| refused("they share no ground"))?;
    let bands = scene_pair.before_bands.len() + scene_pair.after_bands.len();
    let (wanted, candidates) = sample(overlap, bands as u64);

    let mut stats = JobStats::default();
    let identity = Registration::default();
    let mut samples: Vec<CellSample> = Vec::with_capacity(wanted);
    let mut reads = futures::stream::iter(candidates.into_iter().map(|cell| {
        let rect = part_of(cell, overlap);
        async move {
            let earlier = context.reader.read(&plan.grid, before, &scene_pair.before_bands, rect, &identity);
            let later = context.reader.read(&plan.grid, after, &scene_pair.after_bands, rect, &identity);
            futures::try_join!(earlier, later)
        }
    }))
    .buffered(CELLS_AT_ONCE);
    while samples.len() < wanted {
        let Some((earlier, later)) = reads.try_next().instrument(tracing::info_span!("fetch")).await? else { break };
        stats.add(earlier.fetched.into());
        stats.add(later.fetched.into());
        if has_common_ground(&earlier, &later) {
            samples.push(CellSample { before: earlier.window, after: later.window });
        }
    }
    drop(reads);
    if samples.is_empty() {
        return Err(refused("they share no pixel that is valid in both"));
    }

    let grid = plan.grid.clone();
    let wants_registration = calibrate::wants_registration(&plan.detector);
    let (mut samples, registration) = context
        .compute(move || {
            let _span = tracing::info_span!("register").entered();
            let registration =
                if wants_registration { calibrate::register(&samples, &grid) } else { Registration::default() };
            (samples, registration)
        })
        .await;
    if !registration.is_identity() {
        for sample in &mut samples {
            let rect = sample.before.rect();
            let read = context.reader.read(&plan.grid, after, &scene_pair.after_bands, rect, &registration);
            let read = read.instrument(tracing::info_span!("fetch")).await?;
            stats.add(read.fetched.into());
            sample.after = read.window;
        }
    }
    let (grid, detector) = (plan.grid.clone(), plan.detector.clone());
    let bytes = context
        .compute(move || {
            let _span = tracing::info_span!("fit").entered();
            proto::objects::encode_calibration(&calibrate::fit(&samples, &grid, registration, &detector))
        })
        .await;
    context.commit(&format!("stages/calibrations/{}", safe_key(&scene_pair.key)), bytes, stats).await
}

/// How many cells are wanted, and the cells of the overlap that are looked at, in order.
fn sample(overlap: PixelRect, bands: u64) -> (usize, Vec<Cell>) {
    let wanted = sampled_cells(overlap, bands);
    let looked_at = usize::try_from(wanted * TRIES).unwrap_or(usize::MAX);
    // The smallest hashes, without sorting (or keeping) all cells of a large scene.
    let mut smallest: std::collections::BTreeSet<(u64, Cell)> = std::collections::BTreeSet::new();
    for cell in overlap.cells() {
        smallest.insert((cell.hash(), cell));
        if smallest.len() > looked_at {
            smallest.pop_last();
        }
    }
    (usize::try_from(wanted).unwrap_or(usize::MAX), smallest.into_iter().map(|(_, cell)| cell).collect())
}

/// The part of a cell that lies in the overlap.
fn part_of(cell: Cell, overlap: PixelRect) -> PixelRect {
    cell.rect().intersection(&overlap).unwrap_or_else(|| cell.rect())
}

fn has_common_ground(before: &ReadScene, after: &ReadScene) -> bool {
    let states = before.window.state.data().iter().zip(after.window.state.data());
    let common = states.filter(|(a, b)| **a == PixelState::Valid && **b == PixelState::Valid).count();
    common > 0 && common * LEAST_COMMON >= before.window.rect().pixels()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sixteenth_of_the_cells_is_sampled_and_at_least_sixteen_and_at_most_thirty_two() {
        let side = |cells: i32| PixelRect::new(-700, 300, -700 + cells * 512, 300 + cells * 512);
        // A rectangle that is not aligned touches one more cell in each direction.
        assert_eq!(sample(side(2), 8).1.len(), 9);
        assert_eq!(sample(side(6), 8).0, 16);
        assert_eq!(sample(side(19), 6).0, 25);
        let (wanted, cells) = sample(side(300), 6);
        assert_eq!((wanted, cells.len()), (29, 29 * 4));
        // Twenty bands: fewer cells, so that the sample stays within its bytes.
        let (wanted, _) = sample(side(300), 20);
        assert!(wanted as u64 * 512 * 512 * 82 <= 192 << 20 && wanted >= 8, "{wanted}");
        // Which cells does not depend on what else there is: the smallest hashes of the overlap.
        let all: Vec<Cell> = side(300).cells().collect();
        assert!(cells.iter().all(|cell| all.iter().filter(|other| other.hash() < cell.hash()).count() < 29 * 4));
        assert!(cells.windows(2).all(|pair| pair[0].hash() < pair[1].hash()));
    }
}
