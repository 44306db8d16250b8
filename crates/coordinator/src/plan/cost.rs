//! What a tile costs: bytes to fetch, memory to admit, work to do. Estimated from the plan alone, before any pixel is
//! read.

use std::collections::BTreeSet;

use survey::grid::{Block, PixelRect};
use survey::plan::SurveyPlan;
use survey::scene::{Asset, Scene};

/// Bytes per pixel that a detect job holds beside the pixels of its scenes: evidence, masks and their scratch.
const EVIDENCE_BYTES_PER_PX: u64 = 96;
/// Bytes that any job holds whatever its size: decoders, run lists, the plan.
const BASE_BYTES: u64 = 48 << 20;
/// Compressed size of a sample where the catalog does not say the file's size, as a share of its raw size.
const ASSUMED_COMPRESSION: f64 = 0.6;
/// Pixels × bands × scenes that one core compares per second, for the estimate of core-hours. From `make bench`.
const SAMPLES_PER_CORE_SECOND: f64 = 12e6;

/// The estimated cost of a tile.
#[derive(Clone, Debug, PartialEq)]
pub struct TileCost {
    /// The tile.
    pub tile: Block,
    /// Its pixels.
    pub rect: PixelRect,
    /// Pixels in planned cells.
    pub planned_px: u64,
    /// Pairs that may fill it (indices into the plan's pairs).
    pub pairs: Vec<u32>,
    /// Bytes to fetch.
    pub fetch_bytes: u64,
    /// Bytes of memory that its job is admitted with.
    pub memory_bytes: u64,
    /// Work: planned pixels × bands × scenes.
    pub samples: u64,
}

impl TileCost {
    /// Estimated core-seconds.
    #[must_use]
    pub fn core_seconds(&self) -> f64 {
        self.samples as f64 / SAMPLES_PER_CORE_SECOND
    }
}

/// The cost of each tile of the plan, in row-major order. `halo_px` is what the detector reads beyond a tile.
#[must_use]
pub fn tiles(plan: &SurveyPlan, halo_px: i32) -> Vec<TileCost> {
    plan.tiles().into_iter().map(|tile| tile_cost(plan, tile, halo_px)).collect()
}

/// The cost of one tile.
#[must_use]
pub fn tile_cost(plan: &SurveyPlan, tile: Block, halo_px: i32) -> TileCost {
    let rect = tile.rect(plan.tile_px);
    let grown = rect.grown(halo_px);
    let mut pairs = BTreeSet::new();
    let (mut planned_px, mut samples) = (0_u64, 0_u64);
    for cell in grown.cells() {
        let Some(planned) = plan.cell(cell) else { continue };
        pairs.extend(planned.pairs.iter().copied());
        let inside = cell.rect().intersection(&rect).map_or(0, |common| common.pixels() as u64);
        planned_px += inside;
        samples += planned
            .pairs
            .iter()
            .filter_map(|&pair| plan.pairs.get(pair as usize))
            .map(|pair| inside * bands(pair))
            .sum::<u64>();
    }
    let grown_px = grown.pixels() as u64;
    let mut memory_bytes = BASE_BYTES + grown_px * EVIDENCE_BYTES_PER_PX;
    let mut fetch_bytes = 0;
    for pair in pairs.iter().filter_map(|&pair| plan.pairs.get(pair as usize)) {
        memory_bytes += grown_px * bands(pair) * 4;
        for (scene, bands) in [(pair.before, &pair.before_bands), (pair.after, &pair.after_bands)] {
            let Some(scene) = plan.scenes.get(scene as usize) else { continue };
            let assets: BTreeSet<u16> =
                bands.iter().filter_map(|band| scene.band(band)).map(|band| band.asset).collect();
            for asset in assets.into_iter().filter_map(|asset| scene.assets.get(usize::from(asset))) {
                fetch_bytes += (grown_px as f64 * bytes_per_px(plan, scene, asset)) as u64;
            }
        }
    }
    TileCost { tile, rect, planned_px, pairs: pairs.into_iter().collect(), fetch_bytes, memory_bytes, samples }
}

fn bands(pair: &survey::scene::ScenePair) -> u64 {
    (pair.before_bands.len() + pair.after_bands.len()) as u64
}

/// Bytes of an asset per pixel of the grid.
fn bytes_per_px(plan: &SurveyPlan, scene: &Scene, asset: &Asset) -> f64 {
    let pixels = f64::from(asset.width) * f64::from(asset.height);
    let file = match asset.size {
        Some(size) if pixels > 0.0 => size as f64 / pixels,
        _ => f64::from(asset.bits_per_sample) / 8.0 * f64::from(asset.band_count) * ASSUMED_COMPRESSION,
    };
    // A finer scene is read from the overview that is just finer than the grid: at most twice the grid's resolution in
    // each direction.
    let ratio = (plan.grid.resolution_m / scene.gsd_m.max(1e-3)).clamp(0.05, 2.0);
    file * ratio * ratio
}

/// The largest memory that any tile asks for.
#[must_use]
pub fn largest_memory(costs: &[TileCost]) -> u64 {
    costs.iter().map(|cost| cost.memory_bytes).max().unwrap_or(BASE_BYTES)
}
