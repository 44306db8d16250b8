//! The jobs of a survey and what each waits for: calibrate → detect → merge → assemble.

use std::collections::{BTreeMap, BTreeSet};

use survey::county::CountyMap;
use survey::grid::{Block, CELL_PX};
use survey::ids::CountyId;
use survey::job::JobKey;
use survey::plan::SurveyPlan;

use crate::plan::{self, Memory};

/// Cost of a calibration per million samples, a merge per block below, and a county, in units of one core's millisecond.
const CALIBRATE_COST: u64 = 120;
const MERGE_COST: u64 = 10;
const ASSEMBLE_COST: u64 = 400;

/// A job and its place among the others.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// What to do.
    pub key: JobKey,
    /// Bytes of memory that it is admitted with at first.
    pub memory: u64,
    /// Estimated work, about a millisecond of one core a unit.
    pub cost: u64,
    /// Jobs whose objects it reads, in the order of [`survey::job::Job::inputs`].
    pub inputs: Vec<u32>,
    /// Jobs that read its object.
    pub dependants: Vec<u32>,
}

/// All jobs of a survey, in order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// The jobs. An index into them is a job's number.
    pub jobs: Vec<JobSpec>,
    /// The job that leaves the findings of the whole survey: a merge, or a detect where one tile holds everything.
    pub root: Option<u32>,
    /// The counties, in the plan's order.
    pub counties: Vec<CountyId>,
}

impl Graph {
    /// The jobs of a plan. `halo_px` is what a detector reads beyond a tile.
    #[must_use]
    pub fn new(plan: &SurveyPlan, halo_px: i32) -> Self {
        let mut builder = Builder::default();
        let memory = Memory::new(plan);
        for (index, pair) in (0_u32..).zip(&plan.pairs) {
            let bands = (pair.before_bands.len() + pair.after_bands.len()) as u64;
            let samples = memory.sample_px(index).saturating_mul(bands);
            builder.add(JobKey::Calibrate(index), memory.calibrate(index), CALIBRATE_COST * samples / 1_000_000, &[]);
        }
        let mut tiles: Vec<Block> = Vec::new();
        // Where no scene reaches there is nothing to detect: the merge above counts the counties' pixels there.
        for cost in plan::tiles(plan, &memory, halo_px).into_iter().filter(|cost| !cost.pairs.is_empty()) {
            let inputs: Vec<JobKey> = cost.pairs.iter().map(|&pair| JobKey::Calibrate(pair)).collect();
            let milliseconds = (cost.core_seconds() * 1000.0).clamp(1.0, 1e9) as u64;
            builder.add(JobKey::Detect(cost.tile), cost.memory_bytes, milliseconds, &inputs);
            tiles.push(cost.tile);
        }
        let root = plan.extent().map(|extent| extent.root);
        let count = tiles.len() as u64;
        let mut tiles_below: BTreeMap<Block, u64> = tiles.iter().map(|&tile| (tile, 1)).collect();
        for (block, below) in root.map(|root| merges(&tiles, root)).unwrap_or_default() {
            let inputs: Vec<JobKey> = below.iter().map(|&block| holder(block)).collect();
            let tiles = below.iter().filter_map(|block| tiles_below.get(block)).sum();
            tiles_below.insert(block, tiles);
            builder.add(JobKey::Merge(block), memory.merge(&below, tiles), MERGE_COST * below.len() as u64, &inputs);
        }
        let root = root.map(holder);
        let counties = CountyMap::new(&plan.grid, &plan.counties);
        for index in (0_u32..).take(plan.counties.len()) {
            // Sites are looked at again, where the calibrations of the pairs that may have seen them put the later scene.
            let cells = counties.cells(index, CELL_PX).into_iter().filter_map(|cell| plan.cell(cell));
            let pairs: BTreeSet<u32> = cells.flat_map(|cell| cell.pairs.iter().copied()).collect();
            let bytes = memory.assemble(pairs.iter().copied(), count);
            let inputs: Vec<JobKey> = root.into_iter().chain(pairs.into_iter().map(JobKey::Calibrate)).collect();
            builder.add(JobKey::Assemble(index), bytes, ASSEMBLE_COST, &inputs);
        }
        Self {
            root: root.and_then(|root| builder.numbers.get(&root).copied()),
            jobs: builder.jobs,
            counties: plan.counties.iter().map(|county| county.id.clone()).collect(),
        }
    }

    /// The number of a job.
    #[must_use]
    pub fn number(&self, key: JobKey) -> Option<u32> {
        self.jobs.binary_search_by_key(&key, |job| job.key).ok().and_then(|number| u32::try_from(number).ok())
    }

    /// The job of a number.
    #[must_use]
    pub fn job(&self, number: u32) -> Option<&JobSpec> {
        self.jobs.get(usize::try_from(number).ok()?)
    }

    /// The largest memory that any job asks for, and which asks for it.
    #[must_use]
    pub fn largest_memory(&self) -> Option<(u64, JobKey)> {
        self.jobs.iter().map(|job| (job.memory, job.key)).max_by_key(|&(memory, key)| (memory, std::cmp::Reverse(key)))
    }

    /// The jobs that read, directly or through others, what one of `roots` leaves; the roots included.
    #[must_use]
    pub fn downstream(&self, roots: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<u32> = roots.into_iter().collect();
        while let Some(number) = open.pop() {
            if let Some(job) = self.job(number)
                && reached.insert(number)
            {
                open.extend(&job.dependants);
            }
        }
        reached
    }
}

/// The job that leaves the findings of a block.
fn holder(block: Block) -> JobKey {
    if block.level == 0 { JobKey::Detect(block) } else { JobKey::Merge(block) }
}

/// The blocks to merge and what lies below each, from the tiles up to the root. A block with one block below it is
/// merged all the same: so the tree depends on nothing but the tiles.
fn merges(tiles: &[Block], root: Block) -> BTreeMap<Block, Vec<Block>> {
    let mut merges: BTreeMap<Block, Vec<Block>> = BTreeMap::new();
    let mut level: BTreeSet<Block> = tiles.iter().copied().collect();
    while !level.is_empty() && !level.contains(&root) {
        // Blocks around the grid's origin are their own parents' siblings for ever: there the root takes them all.
        let is_around_origin = level.iter().all(|block| (-1..=0).contains(&block.y) && (-1..=0).contains(&block.x));
        let mut above = BTreeSet::new();
        for block in level {
            let parent = if root == Block::WHOLE && is_around_origin { root } else { block.parent() };
            merges.entry(parent).or_default().push(block);
            above.insert(parent);
        }
        level = above;
    }
    merges
}

#[derive(Default)]
struct Builder {
    jobs: Vec<JobSpec>,
    numbers: BTreeMap<JobKey, u32>,
}

impl Builder {
    /// Adds a job whose inputs are there already. Keys come in order.
    fn add(&mut self, key: JobKey, memory: u64, cost: u64, inputs: &[JobKey]) {
        let Ok(number) = u32::try_from(self.jobs.len()) else { return };
        let inputs: Vec<u32> = inputs.iter().filter_map(|key| self.numbers.get(key).copied()).collect();
        for &input in &inputs {
            if let Some(job) = usize::try_from(input).ok().and_then(|input| self.jobs.get_mut(input)) {
                job.dependants.push(number);
            }
        }
        self.jobs.push(JobSpec { key, memory, cost: cost.max(1), inputs, dependants: Vec::new() });
        self.numbers.insert(key, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan_of_cells;

    fn keys(graph: &Graph, numbers: &[u32]) -> Vec<String> {
        numbers.iter().map(|&number| graph.job(number).unwrap().key.to_string()).collect()
    }

    #[test]
    fn a_tile_waits_for_the_pairs_of_its_halo_too() {
        // Two cells side by side, each filled by its own pair; tiles of one cell.
        let plan = plan_of_cells(&[(1, 1, &[0]), (1, 2, &[1])], 512, 1);
        let graph = Graph::new(&plan, 16);
        let tile = graph.number(JobKey::Detect(Block { level: 0, y: 1, x: 1 })).unwrap();
        assert_eq!(keys(&graph, &graph.job(tile).unwrap().inputs), ["calibrate/0", "calibrate/1"]);
        let alone = Graph::new(&plan, 0);
        assert_eq!(keys(&alone, &alone.job(tile).unwrap().inputs), ["calibrate/0"]);
    }

    #[test]
    fn one_tile_is_its_own_root() {
        let graph = Graph::new(&plan_of_cells(&[(1, 1, &[0])], 1024, 2), 16);
        assert_eq!(graph.jobs.len(), 1 + 1 + 2);
        let county = graph.number(JobKey::Assemble(1)).unwrap();
        assert_eq!(keys(&graph, &graph.job(county).unwrap().inputs), ["detect/0/0"]);
    }

    #[test]
    fn every_tile_reaches_the_root_once_wherever_the_survey_lies() {
        for origin in [(0, 0), (-3, -2), (-1, -1), (-4, 7), (1000, 333)] {
            let cells: Vec<(i32, i32, &[u32])> = (0..6)
                .flat_map(|row| (0..5).map(move |col| (origin.0 + row, origin.1 + col, &[0_u32][..])))
                .filter(|(row, col, _)| (row + col) % 3 != 0)
                .collect();
            let graph = Graph::new(&plan_of_cells(&cells, 300, 1), 16);
            let root = graph.root.unwrap();
            for (number, job) in (0..).zip(&graph.jobs) {
                match job.key {
                    JobKey::Detect(_) | JobKey::Merge(_) if number != root => {
                        assert_eq!(job.dependants.len(), 1, "{} is read once", job.key);
                        assert!(graph.downstream([number]).contains(&root));
                    }
                    _ => {}
                }
            }
            assert_eq!(keys(&graph, &graph.job(root).unwrap().dependants), ["assemble/0"]);
        }
    }

    #[test]
    fn blocks_on_both_sides_of_the_origin_meet_in_the_whole() {
        let graph = Graph::new(&plan_of_cells(&[(-1, -1, &[0]), (0, 0, &[0])], 512, 1), 16);
        let root = graph.job(graph.root.unwrap()).unwrap();
        assert_eq!(root.key, JobKey::Merge(Block::WHOLE));
        assert_eq!(keys(&graph, &root.inputs), ["detect/-1/-1", "detect/0/0"]);
    }
}
