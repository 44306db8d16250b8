//! Detect: what changed in a tile.
//!
//! A pair whose calibration failed for good cannot be compared. Its pixels are gaps, not silence: where both scenes have
//! values they are counted as `unreadable`, with a note that names the pair; where another pair of the cell sees them,
//! they are surveyed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use analysis::detect::{PairPixels, detect_tile, halo_px};
use imagery::scene_reader::Tiles;
use imagery::{ReadScene, UnreadablePart};
use survey::calibration::{Calibration, IrMad, PairStatistics, Registration};
use survey::findings::{Run, UnreadableNote};
use survey::grid::{Block, PixelRect};
use survey::job::{Job, JobKey};
use survey::raster::PixelState;
use survey::scene::ScenePair;
use tracing::Instrument;

use super::notes::{add_notes, may_fill};
use super::{Committed, JobContext, JobStats, LoadedPlan};
use crate::error::JobError;

/// Detects change in a tile of the plan.
pub(super) async fn run(
    context: &JobContext,
    loaded: &Arc<LoadedPlan>,
    job: &Job,
    block: Block,
) -> Result<Committed, JobError> {
    let plan = &loaded.plan;
    let Asked { tile, grown, pairs: asked } = Asked::by(loaded, block);
    let calibrations = calibrations(context, job).await?;
    let identity = Registration::default();
    let (around, then) = (loaded.swaths.around(block), loaded.then());
    let for_the_last_time = context.reader.of_tiles(Tiles { one: grown, side_px: plan.tile_px, around, then });
    // A scene may stand in several pairs: the tile has read it when the last of them has.
    let mut last: BTreeMap<u32, u32> = BTreeMap::new();
    for &(pair, _) in &asked {
        let (scene_pair, ..) = loaded.pair(job.key, pair)?;
        last.extend([(scene_pair.before, pair), (scene_pair.after, pair)]);
    }
    let reader = |scene, pair| if last.get(&scene) == Some(&pair) { &for_the_last_time } else { &context.reader };
    let mut stats = JobStats { pixels: tile.pixels() as u64, ..JobStats::default() };
    let mut pixels: Vec<PairPixels> = Vec::new();
    let mut notes: BTreeMap<u32, BTreeSet<UnreadableNote>> = BTreeMap::new();
    for (pair, rect) in asked {
        let (scene_pair, before, after) = loaded.pair(job.key, pair)?;
        let calibration = calibrations.get(&pair).and_then(Option::as_ref);
        let correction = calibration.map(|calibration| calibration.registration).unwrap_or_default();
        let [reads_before, reads_after] = [scene_pair.before, scene_pair.after].map(|scene| reader(scene, pair));
        let earlier = reads_before.read(&plan.grid, before, &scene_pair.before_bands, rect, &identity);
        let later = reads_after.read(&plan.grid, after, &scene_pair.after_bands, rect, &correction);
        let (mut earlier, mut later) =
            async { futures::try_join!(earlier, later) }.instrument(tracing::info_span!("fetch", pair)).await?;
        stats.add(earlier.fetched.into());
        stats.add(later.fetched.into());
        if calibration.is_none() {
            let lost = give_up(&mut earlier, &mut later);
            let cause = "its comparison with the other scene of the pair failed".to_owned();
            let note = UnreadableNote { scene: after.id.0.clone(), cause };
            add_notes(&mut notes, loaded, tile, pair, &[UnreadablePart { note, runs: lost }]);
        }
        for read in [&earlier, &later] {
            add_notes(&mut notes, loaded, tile, pair, &read.unreadable);
        }
        let calibration = calibration.cloned().unwrap_or_else(|| no_calibration(scene_pair));
        pixels.push(PairPixels { pair, calibration, before: earlier.window, after: later.window });
    }
    let loaded = Arc::clone(loaded);
    let encoded = context
        .compute(move || {
            let _span = tracing::info_span!("detect").entered();
            let mut findings = detect_tile(&loaded.plan, &loaded.counties, tile, &pixels);
            for (county, notes) in notes {
                let known = findings.unreadable.entry(county).or_default();
                known.extend(notes);
                known.sort();
                known.dedup();
            }
            proto::objects::encode_findings(&findings)
        })
        .await
        .map_err(|error| JobError::Plan { key: job.key.to_string(), cause: error.to_string() })?;
    context.commit(&format!("stages/findings/{}/{}", block.x, block.y), encoded, stats).await
}

/// What a tile reads.
struct Asked {
    tile: PixelRect,
    /// The tile and the halo around it.
    grown: PixelRect,
    /// Pairs, each with the part that it is read over.
    pairs: Vec<(u32, PixelRect)>,
}

impl Asked {
    fn by(loaded: &LoadedPlan, block: Block) -> Self {
        let plan = &loaded.plan;
        let tile = block.rect(plan.tile_px);
        let halo = halo_px(plan.grid.resolution_m, &plan.detector);
        let grown = tile.grown(halo);
        let pairs = pairs_of(loaded, grown).into_iter();
        let pairs = pairs.filter_map(|pair| needed(loaded, grown, halo, pair).map(|rect| (pair, rect))).collect();
        Self { tile, grown, pairs }
    }
}

/// Fetches the blocks that the tile will read: of both scenes as they lie, which a correction moves by a few pixels.
pub(super) async fn fetch_ahead(
    context: &JobContext,
    loaded: &LoadedPlan,
    job: &Job,
    block: Block,
) -> Result<JobStats, JobError> {
    let mut stats = JobStats::default();
    for (pair, rect) in Asked::by(loaded, block).pairs {
        let (scene_pair, before, after) = loaded.pair(job.key, pair)?;
        let grid = &loaded.plan.grid;
        let earlier = context.reader.fetch_ahead(grid, before, &scene_pair.before_bands, rect);
        let later = context.reader.fetch_ahead(grid, after, &scene_pair.after_bands, rect);
        let (earlier, later) = futures::join!(earlier, later);
        stats.add(earlier.into());
        stats.add(later.into());
    }
    Ok(stats)
}

/// The calibrations among the job's inputs; `None` for one that failed for good.
pub(super) async fn calibrations(
    context: &JobContext,
    job: &Job,
) -> Result<BTreeMap<u32, Option<Calibration>>, JobError> {
    let inputs: Vec<_> = job
        .inputs
        .iter()
        .filter_map(|input| match input.from {
            JobKey::Calibrate(pair) => Some((pair, input.object.clone())),
            _ => None,
        })
        .collect();
    let (pairs, objects): (Vec<u32>, Vec<_>) = inputs.into_iter().unzip();
    let decoded = context.objects(objects, proto::objects::decode_calibration).await?;
    Ok(pairs.into_iter().zip(decoded).collect())
}

/// The pairs that may fill a cell that touches a rectangle, ascending.
fn pairs_of(loaded: &LoadedPlan, rect: PixelRect) -> BTreeSet<u32> {
    let planned = rect.cells().filter_map(|cell| loaded.plan.cell(cell));
    planned.flat_map(|cell| cell.pairs.iter().copied()).collect()
}

/// The pixels of a pair that the tile depends on: those of the cells that it may fill, and the halo around them.
fn needed(loaded: &LoadedPlan, grown: PixelRect, halo: i32, pair: u32) -> Option<PixelRect> {
    let cells = grown.cells().filter(|&cell| may_fill(loaded, cell, pair));
    let filled = cells.filter_map(|cell| cell.rect().intersection(&grown)).reduce(|a, b| a.union(&b))?;
    filled.grown(halo).intersection(&grown)
}

/// Marks what both scenes see as unreadable, and says where that is.
fn give_up(before: &mut ReadScene, after: &mut ReadScene) -> Vec<Run> {
    let rect = before.window.rect();
    let mut runs: Vec<Run> = Vec::new();
    for row in rect.row0..rect.row1 {
        let states = before.window.state.row_mut(row).iter_mut().zip(after.window.state.row_mut(row));
        for (col, (earlier, later)) in (rect.col0..rect.col1).zip(states) {
            if *earlier != PixelState::Valid || *later != PixelState::Valid {
                continue;
            }
            (*earlier, *later) = (PixelState::Unreadable, PixelState::Unreadable);
            match runs.last_mut() {
                Some(run) if run.row == row && run.col1 == col => run.col1 += 1,
                _ => runs.push(Run { row, col0: col, col1: col + 1 }),
            }
        }
    }
    runs
}

/// Stands for a calibration that there is none of: of the right shape, for pixels none of which is valid.
fn no_calibration(pair: &ScenePair) -> Calibration {
    let (before, after) = (pair.before_bands.len(), pair.after_bands.len());
    let variates = before.min(after);
    Calibration {
        registration: Registration::default(),
        irmad: IrMad {
            mean_before: vec![0.0; before],
            mean_after: vec![0.0; after],
            a: vec![vec![0.0; before]; variates],
            b: vec![vec![0.0; after]; variates],
            rho: vec![0.0; variates],
            variance: vec![2.0; variates],
            rounds: 0,
        },
        radiometry: Vec::new(),
        threshold: f64::from(u16::MAX),
        flagged_share: 0.0,
        changed_from: f64::from(u16::MAX),
        statistics: PairStatistics::default(),
        sample_px: 0,
        quality: Vec::new(),
    }
}
