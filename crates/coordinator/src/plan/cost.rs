//! What a tile costs: bytes to fetch, memory to admit, work to do. Estimated from the plan alone, before any pixel is
//! read.

use std::collections::BTreeSet;

use survey::grid::{Block, PixelRect};
use survey::plan::{PlannedCell, SurveyPlan};
use survey::scene::{Asset, Scene, ScenePair};

use super::memory::Memory;

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
    /// Work: planned pixels that a pair reaches × bands, over both scenes and all pairs.
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
pub fn tiles(plan: &SurveyPlan, memory: &Memory, halo_px: i32) -> Vec<TileCost> {
    let costs = TileCosts::new(plan, memory, halo_px);
    plan.tiles().into_iter().map(|tile| costs.of(tile)).collect()
}

/// What tiles cost, one at a time: of millions, all costs at once take more memory than what is made of them.
pub struct TileCosts<'a> {
    plan: &'a SurveyPlan,
    memory: &'a Memory,
    cells: CellRows<'a>,
    pairs: Vec<PairCost>,
    halo_px: i32,
}

impl<'a> TileCosts<'a> {
    /// Prepares a plan. `halo_px` is what the detector reads beyond a tile.
    #[must_use]
    pub fn new(plan: &'a SurveyPlan, memory: &'a Memory, halo_px: i32) -> Self {
        let pairs =
            (0_u32..).zip(&plan.pairs).map(|(index, pair)| PairCost::new(plan, pair, memory.ground(index))).collect();
        Self { plan, memory, cells: CellRows::of(&plan.cells), pairs, halo_px }
    }

    /// The cost of a tile.
    #[must_use]
    pub fn of(&self, tile: Block) -> TileCost {
        tile_cost(self.plan, self.memory, &self.cells, &self.pairs, tile, self.halo_px)
    }
}

/// The planned cells by row, so that those of a rectangle are found row by row.
struct CellRows<'a> {
    rows: Vec<(i32, &'a [PlannedCell])>,
}

impl<'a> CellRows<'a> {
    fn of(cells: &'a [PlannedCell]) -> Self {
        let rows = cells.chunk_by(|a, b| a.cell.row == b.cell.row);
        Self { rows: rows.filter_map(|row| Some((row.first()?.cell.row, row))).collect() }
    }

    /// The planned cells that a rectangle touches, in row-major order.
    fn within(&self, rect: PixelRect) -> impl Iterator<Item = &'a PlannedCell> {
        let first = self.rows.partition_point(|(row, _)| (row + 1) * survey::grid::CELL_PX <= rect.row0);
        let rows = self.rows.iter().skip(first);
        rows.take_while(move |(row, _)| row * survey::grid::CELL_PX < rect.row1).flat_map(move |(_, cells)| {
            let from = cells.partition_point(|planned| planned.cell.rect().col1 <= rect.col0);
            cells.iter().skip(from).take_while(move |planned| planned.cell.rect().col0 < rect.col1)
        })
    }
}

/// What a pair costs per pixel.
struct PairCost {
    bands: u64,
    /// The files that it is read from: scene, asset, and bytes to fetch.
    files: Vec<(u32, u16, f64)>,
    /// What both scenes reach; `None` where that is not known.
    ground: Option<PixelRect>,
}

impl PairCost {
    fn new(plan: &SurveyPlan, pair: &ScenePair, ground: Option<PixelRect>) -> Self {
        let mut files = Vec::new();
        for (index, bands) in [(pair.before, &pair.before_bands), (pair.after, &pair.after_bands)] {
            let Some(scene) = plan.scenes.get(index as usize) else { continue };
            let assets: BTreeSet<u16> =
                bands.iter().filter_map(|band| scene.band(band)).map(|band| band.asset).collect();
            let assets = assets.into_iter().filter_map(|asset| Some((asset, scene.assets.get(usize::from(asset))?)));
            files.extend(assets.map(|(number, asset)| (index, number, bytes_per_px(plan, scene, asset))));
        }
        Self { bands: (pair.before_bands.len() + pair.after_bands.len()) as u64, files, ground }
    }

    /// The part of a rectangle that both scenes reach.
    fn reached(&self, rect: PixelRect) -> Option<PixelRect> {
        self.ground.map_or(Some(rect), |ground| rect.intersection(&ground))
    }
}

fn tile_cost(
    plan: &SurveyPlan,
    memory: &Memory,
    cells: &CellRows<'_>,
    costs: &[PairCost],
    tile: Block,
    halo_px: i32,
) -> TileCost {
    let rect = tile.rect(plan.tile_px);
    let grown = rect.grown(halo_px);
    // Each pair is read over the cells that it may fill and the halo around them.
    let mut pairs: Vec<(u32, PixelRect)> = Vec::new();
    let (mut planned_px, mut samples, mut fetch_bytes) = (0_u64, 0_u64, 0.0);
    // A scene that stands in several pairs is fetched once, and so is what a tile shares with its neighbour: of each file
    // what any pair reads of a cell.
    let mut read: Vec<((u32, u16), f64, PixelRect)> = Vec::new();
    for planned in cells.within(grown) {
        let cell = planned.cell.rect();
        let inside = cell.intersection(&rect);
        planned_px += inside.map_or(0, |inside| inside.pixels() as u64);
        let Some(part) = cell.grown(halo_px).intersection(&grown) else { continue };
        read.clear();
        for &pair in &planned.pairs {
            let reached = costs.get(pair as usize).and_then(|cost| Some((cost, cost.reached(inside?)?)));
            if let Some((cost, reached)) = reached {
                samples += reached.pixels() as u64 * cost.bands;
                for &(scene, asset, bytes) in &cost.files {
                    match read.iter_mut().find(|(file, ..)| *file == (scene, asset)) {
                        Some((_, _, whole)) => *whole = whole.union(&reached),
                        None => read.push(((scene, asset), bytes, reached)),
                    }
                }
            }
            match pairs.iter_mut().find(|(other, _)| *other == pair) {
                Some((_, whole)) => *whole = whole.union(&part),
                None => pairs.push((pair, part)),
            }
        }
        fetch_bytes += read.iter().map(|(_, bytes, whole)| bytes * whole.pixels() as f64).sum::<f64>();
    }
    pairs.sort_unstable_by_key(|&(pair, _)| pair);
    TileCost {
        tile,
        rect,
        planned_px,
        fetch_bytes: fetch_bytes as u64,
        memory_bytes: memory.detect(grown, &pairs),
        samples,
        pairs: pairs.into_iter().map(|(pair, _)| pair).collect(),
    }
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
