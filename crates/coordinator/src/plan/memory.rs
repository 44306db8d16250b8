//! Memory that jobs are admitted with: for each kind an upper bound of what it holds at a time, from the plan alone.
//!
//! A job's bytes are those of the pixels that it holds: windows of both scenes as they are read and on the grid, what
//! is computed over them, and [`BASE_BYTES`]. Blocks on their way from the store are not among them: they come out of
//! the reader's own budget, which a worker takes off its memory first. A window that holds its blocks instead of values may take
//! up to twice what is counted for it; most of these blocks are the cache's as well, and are counted there. What findings take when they are merged is known
//! when they are there: a worker holds their lengths against the job's bytes before it fetches them, and a job that is
//! too large for its bytes comes back with more.

use std::collections::BTreeMap;

use imagery::scene_reader::{ReadCost, scene_rect};
use survey::calibration::{cell_bytes, sampled_cells};
use survey::grid::{Block, CELL_PX, Grid, MAX_INDEX, PixelRect};
use survey::job::{BASE_BYTES, JobKey};
use survey::plan::SurveyPlan;
use survey::scene::{BandName, Scene, ScenePair};

use super::cost::TileCost;

/// Bytes per pixel that evidence takes: what remains of each pair, and what is held while a pair is computed.
const EVIDENCE_BYTES: u64 = 18;
const EVIDENCE_SCRATCH_BYTES: u64 = 72;
/// Bytes per pixel of the composite of all pairs, its crops, masks and labels.
const COMPOSITE_BYTES: u64 = 56;
/// So many cells of a calibration can be read at the same time, beside its sample, or more where the sample's bytes hold more.
const CELLS_AT_ONCE: u64 = 4;
/// Bytes per pixel that the search for buildings holds beside the pixels of a site's window.
const FOOTPRINT_BYTES: u64 = 64;
/// Side of the largest window that a site is looked at in.
const WINDOW_PX: u64 = 1538;
/// A pixel of the grid is divided into at most this many per side for such a window.
const MAX_DIVISION: f64 = 16.0;
/// Bytes of findings that any merge may load.
const FINDINGS_BYTES: u64 = 16 << 20;
/// Bytes of the parts of components that touch the border of a block, per pixel of that border.
const BORDER_BYTES: u64 = 16;
/// Bytes of what a block says of each tile below it: counts by county, and where closed components are.
const TILE_BYTES: u64 = 128;

/// What reading each pair takes, prepared once for a plan.
pub struct Memory {
    pairs: Vec<PairMemory>,
    extent: Option<PixelRect>,
    tile_px: i32,
}

struct PairMemory {
    before: ReadCost,
    after: ReadCost,
    /// Bytes that its calibration holds.
    calibrate: u64,
    /// Pixels that its calibration samples.
    sample_px: u64,
    /// Bytes that looking at a site through it holds.
    look: u64,
    /// What both scenes have, where that is known.
    ground: Option<PixelRect>,
}

impl Memory {
    /// Prepares a plan.
    #[must_use]
    pub fn new(plan: &SurveyPlan) -> Self {
        let mut rects: BTreeMap<(u32, &[BandName]), Option<PixelRect>> = BTreeMap::new();
        let pairs = plan
            .pairs
            .iter()
            .map(|pair| {
                let mut rect = |index: u32, bands| {
                    let scene = scene(plan, index)?;
                    *rects.entry((index, bands)).or_insert_with(|| scene_rect(&plan.grid, scene, bands).ok().flatten())
                };
                let before = rect(pair.before, pair.before_bands.as_slice());
                let after = rect(pair.after, pair.after_bands.as_slice());
                PairMemory::new(plan, pair, before.zip(after).and_then(|(before, after)| before.intersection(&after)))
            })
            .collect();
        Self { pairs, extent: plan.extent().map(|extent| extent.rect), tile_px: plan.tile_px }
    }

    /// Bytes of a calibration.
    #[must_use]
    pub fn calibrate(&self, pair: u32) -> u64 {
        whole_kib(self.pair(pair).map_or(BASE_BYTES, |pair| BASE_BYTES + pair.calibrate))
    }

    /// The ground that both scenes of a pair have: a box around it on the grid.
    #[must_use]
    pub fn ground(&self, pair: u32) -> Option<PixelRect> {
        self.pair(pair)?.ground
    }

    /// Pixels that the calibration of a pair samples.
    #[must_use]
    pub fn sample_px(&self, pair: u32) -> u64 {
        self.pair(pair).map_or(0, |pair| pair.sample_px)
    }

    /// Bytes of detection over `grown`, a tile and its halo, for the pairs with the part of it that each is read over.
    #[must_use]
    pub fn detect(&self, grown: PixelRect, pairs: &[(u32, PixelRect)]) -> u64 {
        let (mut kept, mut evidence, mut scratch, mut reading) = (0_u64, 0_u64, 0_u64, 0_u64);
        for (pair, rect) in pairs {
            let Some(pair) = self.pair(*pair) else { continue };
            let (rows, cols) = (rect.rows() as u64, rect.cols() as u64);
            let window = pair.before.kept_bytes(rows, cols) + pair.after.kept_bytes(rows, cols);
            let peak = pair.before.peak_bytes(rows, cols) + pair.after.peak_bytes(rows, cols);
            kept = kept.saturating_add(window);
            reading = reading.max(peak.saturating_sub(window));
            evidence = evidence.saturating_add(rows * cols * EVIDENCE_BYTES);
            scratch = scratch.max(rows * cols * EVIDENCE_SCRATCH_BYTES);
        }
        let computing = evidence.saturating_add(scratch.max(grown.pixels() as u64 * COMPOSITE_BYTES));
        whole_kib(BASE_BYTES.saturating_add(kept).saturating_add(reading.max(computing)))
    }

    /// Bytes of a merge of the blocks `below`, under which there are so many tiles.
    #[must_use]
    pub fn merge(&self, below: &[Block], tiles: u64) -> u64 {
        let planned = self.extent.unwrap_or(PixelRect::new(0, 0, 0, 0));
        let border: u64 = below
            .iter()
            .filter_map(|block| block.rect(self.tile_px).intersection(&planned))
            .map(|rect| 2 * (rect.rows() as u64 + rect.cols() as u64))
            .sum();
        let parts = FINDINGS_BYTES.saturating_add(border.saturating_mul(BORDER_BYTES));
        whole_kib(BASE_BYTES.saturating_add(parts).saturating_add(tiles.saturating_mul(TILE_BYTES)))
    }

    /// Bytes of the assembly of a county whose sites may have been seen by `pairs`, in a survey of so many tiles.
    #[must_use]
    pub fn assemble(&self, pairs: impl IntoIterator<Item = u32>, tiles: u64) -> u64 {
        let look = pairs.into_iter().filter_map(|pair| self.pair(pair)).map(|pair| pair.look).max().unwrap_or(0);
        whole_kib(BASE_BYTES.saturating_add(look).saturating_add(tiles.saturating_mul(TILE_BYTES)))
    }

    fn pair(&self, pair: u32) -> Option<&PairMemory> {
        self.pairs.get(usize::try_from(pair).ok()?)
    }
}

impl PairMemory {
    /// `overlap` is the ground that both scenes have; where that is not known it counts as large.
    fn new(plan: &SurveyPlan, pair: &ScenePair, overlap: Option<PixelRect>) -> Self {
        let grid = &plan.grid;
        let cost = |index: u32, bands: &[BandName]| match scene(plan, index) {
            Some(scene) => ReadCost::new(grid, scene, bands),
            None => ReadCost::nothing(),
        };
        let (before, after) = (cost(pair.before, &pair.before_bands), cost(pair.after, &pair.after_bands));

        let bands = (pair.before_bands.len() + pair.after_bands.len()) as u64;
        let cells = sampled_cells(overlap.unwrap_or(PixelRect::new(0, 0, MAX_INDEX, MAX_INDEX)), bands);
        let side = CELL_PX as u64;
        let in_flight = CELLS_AT_ONCE * (before.peak_bytes(side, side) + after.peak_bytes(side, side));
        // The sample; beside it cells that are being read, or later the sample once more without what lies under clouds.
        let sample = cells * cell_bytes(bands);
        let calibrate = sample + sample.max(in_flight);

        let looks = [(pair.after, &pair.after_bands), (pair.before, &pair.before_bands)].into_iter();
        let window_grid = scene(plan, pair.after).map_or_else(|| grid.clone(), |after| window_grid(grid, after.gsd_m));
        let look = looks
            .filter(|_| plan.detector.second_look)
            .filter_map(|(index, bands)| {
                let scene = scene(plan, index)?;
                let cost = ReadCost::new(&window_grid, scene, &bands_to_look_at(scene, bands));
                let searching = cost.kept_bytes(WINDOW_PX, WINDOW_PX) + WINDOW_PX * WINDOW_PX * FOOTPRINT_BYTES;
                Some(cost.peak_bytes(WINDOW_PX, WINDOW_PX).max(searching))
            })
            .max()
            .unwrap_or(0);
        Self { before, after, calibrate, sample_px: cells * (CELL_PX as u64).pow(2), look, ground: overlap }
    }
}

/// Whole kibibytes: as fine as anybody counts.
fn whole_kib(bytes: u64) -> u64 {
    bytes.div_ceil(1024).saturating_mul(1024)
}

fn scene(plan: &SurveyPlan, index: u32) -> Option<&Scene> {
    plan.scenes.get(usize::try_from(index).ok()?)
}

/// The grid of a site's window: the survey's pixels divided to about the scene's.
fn window_grid(grid: &Grid, gsd_m: f64) -> Grid {
    let division = (grid.resolution_m / gsd_m).round();
    let division = if division.is_finite() { division.clamp(1.0, MAX_DIVISION) } else { 1.0 };
    Grid { crs: grid.crs.clone(), resolution_m: grid.resolution_m / division }
}

/// The bands that a site is looked at in: those compared, and the others of the same files.
fn bands_to_look_at(scene: &Scene, compared: &[BandName]) -> Vec<BandName> {
    let assets: Vec<u16> = compared.iter().filter_map(|name| scene.band(name)).map(|band| band.asset).collect();
    let all = scene.bands.iter().filter(|band| band.name.is_spectral() && assets.contains(&band.asset));
    all.map(|band| band.name.clone()).chain(compared.iter().filter(|name| !name.is_spectral()).cloned()).collect()
}

/// The largest memory that any job of a plan asks for, and which asks for it. `costs` are those of all its tiles.
#[must_use]
pub fn largest(plan: &SurveyPlan, memory: &Memory, costs: &[TileCost]) -> (u64, Option<JobKey>) {
    let tiles = costs.iter().filter(|cost| !cost.pairs.is_empty());
    let count = tiles.clone().count() as u64;
    let pairs = || 0..u32::try_from(plan.pairs.len()).unwrap_or(u32::MAX);
    // The root is the largest merge, and some county may be seen by the pair that takes most to look through.
    let root = plan.extent().map(|extent| extent.root).filter(|root| root.level > 0);
    let merge = root.map(|root| (memory.merge(&root.children(), count), JobKey::Merge(root)));
    let assemble = plan.counties.first().map(|_| (memory.assemble(pairs(), count), JobKey::Assemble(0)));
    pairs()
        .map(|pair| (memory.calibrate(pair), JobKey::Calibrate(pair)))
        .chain(tiles.map(|cost| (cost.memory_bytes, JobKey::Detect(cost.tile))))
        .chain(merge)
        .chain(assemble)
        .max_by_key(|&(bytes, key)| (bytes, std::cmp::Reverse(key)))
        .map_or((BASE_BYTES, None), |(bytes, key)| (bytes, Some(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tiles;
    use crate::schedule::graph::Graph;
    use crate::testing::{plan_of_cells, with_rasters};

    const MIB: u64 = 1 << 20;

    /// Eight by eight cells of one pair of four-band scenes, tiles of two cells a side.
    fn plan() -> SurveyPlan {
        let cells: Vec<(i32, i32, &[u32])> =
            (0..8).flat_map(|row| (0..8).map(move |col| (row, col, &[0_u32][..]))).collect();
        let mut plan = with_rasters(plan_of_cells(&cells, 1024, 2), 4096);
        for county in &mut plan.counties {
            county.border = geo::Rect::new((0.0, -4096.0), (4096.0, 0.0)).to_polygon().into();
        }
        plan
    }

    #[test]
    fn a_detection_holds_the_windows_of_its_pairs_and_more_pairs_hold_more() {
        let memory = Memory::new(&plan());
        let rect = PixelRect::new(-50, -50, 1074, 1074);
        let windows = 1124 * 1124 * (2 * (4 * 2 + 1));
        let one = memory.detect(rect, &[(0, rect)]);
        assert!(one > BASE_BYTES + windows, "{} MiB", one / MIB);
        assert!(memory.detect(rect, &[(0, rect), (0, rect)]) >= one + windows);
        // A pair that fills a corner is read in the corner.
        let corner = PixelRect::new(-50, -50, 200, 200);
        assert!(memory.detect(rect, &[(0, rect), (0, corner)]) < one + windows);
    }

    #[test]
    fn a_calibration_holds_its_sample_twice() {
        // 64 cells of 2 + 2 bands: 16 of them are sampled.
        let sample = 16 * 512 * 512 * (4 * 4 + 2);
        assert_eq!(Memory::new(&plan()).calibrate(0), BASE_BYTES + 2 * sample);
    }

    #[test]
    fn the_largest_job_of_a_plan_is_the_largest_of_its_graph() {
        let plan = plan();
        let memory = Memory::new(&plan);
        let costs = tiles(&plan, &memory, 50);
        let graph = Graph::new(&plan, 50);
        let (bytes, key) = largest(&plan, &memory, &costs);
        let (in_graph, job) = graph.largest_memory().unwrap();
        assert_eq!((bytes, key), (in_graph, Some(job)));
        // All kinds of job are looked at, not the tiles alone.
        assert!(!matches!(job, JobKey::Detect(_)), "{job}");
    }

    #[test]
    fn what_a_merge_holds_grows_with_the_border_and_not_with_the_ground() {
        let cells: Vec<(i32, i32, &[u32])> =
            (0..64).flat_map(|row| (0..64).map(move |col| (row, col, &[0_u32][..]))).collect();
        let memory = Memory::new(&plan_of_cells(&cells, 512, 1));
        let least = BASE_BYTES + FINDINGS_BYTES;
        let side = |level: u8| memory.merge(&Block { level, y: 0, x: 0 }.children(), 0) - least;
        assert_eq!((side(5), side(6)), (4 * 4 * 16 * 512 * BORDER_BYTES, 4 * 4 * 32 * 512 * BORDER_BYTES));
    }
}
