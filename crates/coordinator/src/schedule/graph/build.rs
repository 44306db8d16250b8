//! From a plan to its jobs.

use std::collections::{BTreeMap, BTreeSet};

use survey::county::CountyMap;
use survey::grid::{Block, CELL_PX};
use survey::plan::SurveyPlan;

use super::Graph;
use super::lists::Lists;
use crate::plan::{Memory, TileCosts};

/// Cost of a calibration per million samples, a merge per block below, a county and a county's cell, in units of one core's
/// millisecond.
const CALIBRATE_COST: u64 = 120;
const MERGE_COST: u64 = 10;
const ASSEMBLE_COST: u64 = 20;
const CELL_COST: u64 = 8;

impl Graph {
    /// The jobs of a plan. `halo_px` is what a detector reads beyond a tile.
    #[must_use]
    pub fn new(plan: &SurveyPlan, halo_px: i32) -> Self {
        let mut graph =
            Self { counties: plan.counties.iter().map(|county| county.id.clone()).collect(), ..Self::default() };
        let memory = Memory::new(plan);
        for (index, pair) in (0_u32..).zip(&plan.pairs) {
            let bands = (pair.before_bands.len() + pair.after_bands.len()) as u64;
            let samples = memory.sample_px(index).saturating_mul(bands);
            graph.add(memory.calibrate(index), CALIBRATE_COST.saturating_mul(samples) / 1_000_000);
        }
        graph.begin_stage(1);
        graph.add_tiles(plan, &memory, halo_px);
        graph.begin_stage(2);
        if let Some(extent) = plan.extent() {
            graph.add_merges(&memory, extent.root);
        }
        graph.begin_stage(3);
        let tiles = u64::from(graph.starts[2] - graph.starts[1]);
        let counties = CountyMap::new(&plan.grid, &plan.counties);
        for index in (0_u32..).take(plan.counties.len()) {
            // Sites are looked at again, where the calibrations of the pairs that may have seen them put the later scene.
            let cells = counties.cells(index, CELL_PX);
            // How many sites there will be nobody knows; they are more where there is more ground.
            let cost = ASSEMBLE_COST + CELL_COST * cells.len() as u64;
            let cells = cells.into_iter().filter_map(|cell| plan.cell(cell));
            let pairs: BTreeSet<u32> = cells.flat_map(|cell| cell.pairs.iter().copied()).collect();
            let pairs = graph.known(pairs);
            graph.pairs_of_county.push(&pairs);
            graph.add(memory.assemble(pairs, tiles), cost);
        }
        graph.begin_stage(4);
        let pairs = plan.pairs.len();
        graph.tiles_of_set = transposed_column(&graph.set_of_tile, graph.pair_sets.len());
        graph.sets_of_pair = graph.pair_sets.transposed(pairs);
        graph.counties_of_pair = graph.pairs_of_county.transposed(pairs);
        graph.cost.shrink_to_fit();
        graph.memory_kib.shrink_to_fit();
        graph.blocks.shrink_to_fit();
        graph
    }

    /// Tiles swath by swath, row by row: neighbours on the ground are neighbours in number.
    fn add_tiles(&mut self, plan: &SurveyPlan, memory: &Memory, halo_px: i32) {
        self.swaths = plan.swaths();
        self.levels.push((0, self.starts[1]));
        let mut tiles = plan.tiles();
        tiles.sort_unstable_by_key(|tile| self.swaths.order(*tile));
        // One at a time: all costs at once take more memory than the graph.
        let costs = TileCosts::new(plan, memory, halo_px);
        let mut sets: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
        for tile in tiles {
            let cost = costs.of(tile);
            // Where no scene reaches there is nothing to detect: the merge above counts the counties' pixels there.
            if cost.pairs.is_empty() {
                continue;
            }
            let milliseconds = (cost.core_seconds() * 1000.0).clamp(1.0, 1e9) as u64;
            let set = match sets.get(&cost.pairs) {
                Some(&set) => set,
                None => {
                    let set = u32::try_from(self.pair_sets.len()).unwrap_or(u32::MAX);
                    let pairs = self.known(cost.pairs.iter().copied());
                    self.pair_sets.push(&pairs);
                    sets.insert(cost.pairs, set);
                    set
                }
            };
            self.set_of_tile.push(set);
            self.blocks.push((tile.y, tile.x));
            self.add(cost.memory_bytes, milliseconds);
        }
        self.set_of_tile.shrink_to_fit();
    }

    /// Merges from the tiles up to the root. A block with one block below it is merged all the same: so the tree depends
    /// on nothing but the tiles.
    fn add_merges(&mut self, memory: &Memory, root: Block) {
        // Each block with the tiles below it.
        let mut level: Vec<(Block, u64)> = self.blocks.iter().map(|&(y, x)| (Block { level: 0, y, x }, 1)).collect();
        while !level.is_empty() && !level.iter().any(|(block, _)| *block == root) {
            // Blocks around the grid's origin are their own parents' siblings for ever: there the root takes them all.
            let is_around_origin =
                level.iter().all(|(block, _)| (-1..=0).contains(&block.y) && (-1..=0).contains(&block.x));
            let parent = |block: &Block| if root == Block::WHOLE && is_around_origin { root } else { block.parent() };
            let begins = u32::try_from(self.cost.len()).unwrap_or(u32::MAX);
            let mut above = Vec::new();
            level.sort_unstable_by_key(|(block, _)| (parent(block), *block));
            for siblings in level.chunk_by(|(a, _), (b, _)| parent(a) == parent(b)) {
                let Some(block) = siblings.first().map(|(block, _)| parent(block)) else { continue };
                let below: Vec<Block> = siblings.iter().map(|(block, _)| *block).collect();
                let tiles = siblings.iter().map(|(_, tiles)| tiles).sum();
                self.blocks.push((block.y, block.x));
                self.add(memory.merge(&below, tiles), MERGE_COST * below.len() as u64);
                above.push((block, tiles));
            }
            if let Some((block, _)) = above.first() {
                self.levels.push((block.level, begins));
            }
            level = above;
        }
        self.root = u32::try_from(self.cost.len()).ok().filter(|&end| end > self.starts[1]).map(|end| end - 1);
    }

    fn add(&mut self, memory: u64, cost: u64) {
        self.memory_kib.push(u32::try_from(memory.div_ceil(1024)).unwrap_or(u32::MAX));
        self.cost.push(u32::try_from(cost.max(1)).unwrap_or(u32::MAX));
    }

    /// The jobs added from here on belong to this stage and later ones.
    fn begin_stage(&mut self, stage: usize) {
        let here = u32::try_from(self.cost.len()).unwrap_or(u32::MAX);
        for start in self.starts.iter_mut().skip(stage) {
            *start = here;
        }
    }

    /// Those of the pairs that have a calibration.
    fn known(&self, pairs: impl IntoIterator<Item = u32>) -> Vec<u32> {
        pairs.into_iter().filter(|&pair| pair < self.starts[1]).collect()
    }
}

/// For each value of a column its rows.
fn transposed_column(column: &[u32], values: usize) -> Lists {
    let mut lists = Lists::default();
    for value in column {
        lists.push(std::slice::from_ref(value));
    }
    lists.transposed(values)
}
