//! The jobs of a survey and what each waits for: calibrate → detect → merge → assemble.
//!
//! Ten million jobs must fit beside everything else, so a job is a few numbers in columns. Tiles and blocks are numbered
//! along a Z-order curve: neighbours on the ground, which read the same blocks of the same scenes, are neighbours in
//! number, and the blocks below a merge are a range of numbers.

mod build;
mod lists;

use std::collections::BTreeSet;
use std::ops::Range;

use survey::grid::Block;
use survey::ids::CountyId;
use survey::job::{JobKey, Stage};

use lists::Lists;

/// A job by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// What to do.
    pub key: JobKey,
    /// Bytes of memory that it is admitted with at first: whole kibibytes.
    pub memory: u64,
    /// Estimated work, about a millisecond of one core a unit.
    pub cost: u64,
}

/// All jobs of a survey. A job's number is its place: calibrations by pair, tiles and then merges level by level in
/// Z-order, counties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The job that leaves the findings of the whole survey: a merge, or a detect where one tile holds everything.
    pub root: Option<u32>,
    /// The counties, in the plan's order.
    pub counties: Vec<CountyId>,
    /// First number of each stage, and one past the last job.
    starts: [u32; 5],
    /// Row and column of the tiles, then of the merged blocks.
    blocks: Vec<(i32, i32)>,
    /// Level and first number of each level of merges.
    levels: Vec<(u8, u32)>,
    /// First job below each merge, and one past the last below the last merge.
    below: Vec<u32>,
    /// Sets of pairs that some tile reads, and each tile's set.
    pair_sets: Lists,
    set_of_tile: Vec<u32>,
    tiles_of_set: Lists,
    sets_of_pair: Lists,
    pairs_of_county: Lists,
    counties_of_pair: Lists,
    cost: Vec<u32>,
    memory_kib: Vec<u32>,
}

/// The place of a block on a Z-order curve: the bits of row and column in turn, the row's first.
fn z_order(row: i32, col: i32) -> u64 {
    let spread = |index: i32| {
        // Shifted so that the order goes on across the origin.
        let mut bits = u64::from((index as u32) ^ 0x8000_0000);
        bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
        bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
        bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
        (bits | bits << 1) & 0x5555_5555_5555_5555
    };
    spread(row) << 1 | spread(col)
}

impl Graph {
    /// How many jobs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cost.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cost.is_empty()
    }

    /// The numbers of a stage's jobs.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Range<u32> {
        let [calibrate, detect, merge, assemble, end] = self.starts;
        match stage {
            Stage::Calibrate => calibrate..detect,
            Stage::Detect => detect..merge,
            Stage::Merge => merge..assemble,
            Stage::Assemble => assemble..end,
        }
    }

    /// All numbers.
    #[must_use]
    pub fn numbers(&self) -> Range<u32> {
        0..self.starts[4]
    }

    /// The number of a job.
    #[must_use]
    pub fn number(&self, key: JobKey) -> Option<u32> {
        let stage = self.stage(key.stage());
        let number = match key {
            JobKey::Calibrate(index) | JobKey::Assemble(index) => stage.start.checked_add(index)?,
            JobKey::Detect(block) => self.find(stage.clone(), block)?,
            JobKey::Merge(block) => {
                let level = self.levels.iter().position(|&(level, _)| level == block.level)?;
                let start = self.levels.get(level)?.1;
                let end = self.levels.get(level + 1).map_or(stage.end, |&(_, start)| start);
                self.find(start..end, block)?
            }
        };
        stage.contains(&number).then_some(number)
    }

    /// The job among `numbers`, which is one level of the lattice, that is about a block.
    fn find(&self, numbers: Range<u32>, block: Block) -> Option<u32> {
        let first = self.starts[1];
        let (from, to) = (numbers.start.checked_sub(first)? as usize, numbers.end.checked_sub(first)? as usize);
        let level = self.blocks.get(from..to)?;
        let wanted = z_order(block.y, block.x);
        let at = level.binary_search_by_key(&wanted, |&(y, x)| z_order(y, x)).ok()?;
        Some(numbers.start + u32::try_from(at).ok()?)
    }

    /// What the job of a number is about.
    #[must_use]
    pub fn key(&self, number: u32) -> Option<JobKey> {
        let [_, detect, merge, assemble, end] = self.starts;
        if number < detect {
            return Some(JobKey::Calibrate(number));
        }
        if number >= assemble {
            return (number < end).then(|| JobKey::Assemble(number - assemble));
        }
        let &(y, x) = self.blocks.get((number - detect) as usize)?;
        if number < merge {
            return Some(JobKey::Detect(Block { level: 0, y, x }));
        }
        let level = self.levels.partition_point(|&(_, first)| first <= number).checked_sub(1)?;
        Some(JobKey::Merge(Block { level: self.levels.get(level)?.0, y, x }))
    }

    /// The job of a number.
    #[must_use]
    pub fn job(&self, number: u32) -> Option<JobSpec> {
        let (cost, memory) = (*self.cost.get(number as usize)?, *self.memory_kib.get(number as usize)?);
        Some(JobSpec { key: self.key(number)?, memory: u64::from(memory) << 10, cost: u64::from(cost) })
    }

    /// The stage of a job, as an index.
    pub(crate) fn stage_of(&self, number: u32) -> usize {
        self.starts.iter().skip(1).take(3).filter(|&&start| number >= start).count()
    }

    /// Estimated work of a job.
    pub(crate) fn cost(&self, number: u32) -> u64 {
        self.cost.get(number as usize).map_or(0, |&cost| u64::from(cost))
    }

    /// Bytes that a job is admitted with at first.
    pub(crate) fn memory(&self, number: u32) -> u64 {
        self.memory_kib.get(number as usize).map_or(0, |&kib| u64::from(kib) << 10)
    }

    /// Jobs whose objects a job reads, in the order of [`survey::job::Job::inputs`].
    pub fn inputs(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let [_, detect, merge, assemble, _] = self.starts;
        let (mut root, mut range, mut pairs): (Option<u32>, Range<u32>, &[u32]) = (None, 0..0, &[]);
        if number >= assemble {
            root = self.root;
            pairs = self.pairs_of_county.get(number - assemble);
        } else if number >= merge {
            let at = (number - merge) as usize;
            if let (Some(&from), Some(&to)) = (self.below.get(at), self.below.get(at + 1)) {
                range = from..to;
            }
        } else if number >= detect {
            pairs = self.set_of_tile.get((number - detect) as usize).map_or(&[], |&set| self.pair_sets.get(set));
        }
        root.into_iter().chain(range).chain(pairs.iter().copied())
    }

    /// Jobs that read a job's object.
    pub fn dependants(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let [_, detect, merge, assemble, end] = self.starts;
        let (mut parent, mut counties) = (None, 0..0);
        let (mut sets, mut readers): (&[u32], &[u32]) = (&[], &[]);
        if Some(number) == self.root {
            counties = assemble..end;
        } else if (detect..assemble).contains(&number) {
            let above = self.below.partition_point(|&first| first <= number).checked_sub(1);
            parent = above.and_then(|above| u32::try_from(above).ok()).map(|above| merge + above);
        } else if number < detect {
            sets = self.sets_of_pair.get(number);
            readers = self.counties_of_pair.get(number);
        }
        let tiles = sets.iter().flat_map(move |&set| self.tiles_of_set.get(set).iter().map(move |tile| detect + tile));
        let readers = readers.iter().map(move |county| assemble + county);
        parent.into_iter().chain(counties).chain(tiles).chain(readers)
    }

    /// What the jobs of a stage cost together.
    #[must_use]
    pub fn cost_of(&self, stage: Stage) -> u64 {
        let numbers = self.stage(stage);
        let costs = self.cost.get(numbers.start as usize..numbers.end as usize).unwrap_or_default();
        costs.iter().map(|&cost| u64::from(cost)).sum()
    }

    /// The largest memory that any job asks for, and which asks for it.
    #[must_use]
    pub fn largest_memory(&self) -> Option<(u64, JobKey)> {
        let largest = self.numbers().max_by_key(|&number| (self.memory(number), std::cmp::Reverse(number)))?;
        self.job(largest).map(|job| (job.memory, job.key))
    }

    /// The jobs that read, directly or through others, what one of `roots` leaves; the roots included.
    #[must_use]
    pub fn downstream(&self, roots: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<u32> = roots.into_iter().collect();
        while let Some(number) = open.pop() {
            if self.numbers().contains(&number) && reached.insert(number) {
                open.extend(self.dependants(number));
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan_of_cells;

    fn keys(graph: &Graph, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
        numbers.into_iter().map(|number| graph.key(number).unwrap().to_string()).collect()
    }

    fn tile(y: i32, x: i32) -> JobKey {
        JobKey::Detect(Block { level: 0, y, x })
    }

    #[test]
    fn a_tile_waits_for_the_pairs_of_its_halo_too() {
        // Two cells side by side, each filled by its own pair; tiles of one cell.
        let plan = plan_of_cells(&[(1, 1, &[0]), (1, 2, &[1])], 512, 1);
        let graph = Graph::new(&plan, 16);
        let first = graph.number(tile(1, 1)).unwrap();
        assert_eq!(keys(&graph, graph.inputs(first)), ["calibrate/0", "calibrate/1"]);
        let alone = Graph::new(&plan, 0);
        assert_eq!(keys(&alone, alone.inputs(first)), ["calibrate/0"]);
    }

    #[test]
    fn one_tile_is_its_own_root() {
        let graph = Graph::new(&plan_of_cells(&[(1, 1, &[0])], 1024, 2), 16);
        assert_eq!(graph.len(), 1 + 1 + 2);
        let county = graph.number(JobKey::Assemble(1)).unwrap();
        assert_eq!(keys(&graph, graph.inputs(county)), ["detect/0/0"]);
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
            for number in graph.numbers() {
                let key = graph.key(number).unwrap();
                assert_eq!(graph.number(key), Some(number));
                if matches!(key, JobKey::Detect(_) | JobKey::Merge(_)) && number != root {
                    assert_eq!(graph.dependants(number).count(), 1, "{key} is read once");
                    assert!(graph.downstream([number]).contains(&root));
                }
            }
            assert_eq!(keys(&graph, graph.dependants(root)), ["assemble/0"]);
        }
    }

    #[test]
    fn whoever_reads_a_job_is_named_by_it_and_the_other_way_round() {
        let cells: Vec<(i32, i32, &[u32])> =
            vec![(-2, 0, &[0, 1]), (-1, 1, &[1]), (0, 0, &[]), (0, 1, &[2, 0]), (5, 3, &[2]), (5, 4, &[1, 2])];
        let graph = Graph::new(&plan_of_cells(&cells, 256, 2), 16);
        let reads: BTreeSet<(u32, u32)> =
            graph.numbers().flat_map(|job| graph.inputs(job).map(move |input| (input, job))).collect();
        let named: BTreeSet<(u32, u32)> =
            graph.numbers().flat_map(|input| graph.dependants(input).map(move |job| (input, job))).collect();
        assert_eq!(reads, named);
        // Each merge reads exactly the blocks whose parent it is, in order of rows and then columns.
        for number in graph.stage(Stage::Merge) {
            let Some(JobKey::Merge(above)) = graph.key(number) else { panic!("not a merge") };
            let below: Vec<Block> = graph
                .inputs(number)
                .map(|input| match graph.key(input).unwrap() {
                    JobKey::Detect(block) | JobKey::Merge(block) => block,
                    other => panic!("{other}"),
                })
                .collect();
            assert!(below.is_sorted() && (1..=4).contains(&below.len()));
            assert!(above == Block::WHOLE || below.iter().all(|block| block.parent() == above));
        }
    }

    #[test]
    fn neighbours_on_the_ground_are_neighbours_in_number() {
        let cells: Vec<(i32, i32, &[u32])> =
            (0..8).flat_map(|row| (0..8).map(move |col| (row, col, &[0_u32][..]))).collect();
        let graph = Graph::new(&plan_of_cells(&cells, 512, 1), 16);
        let first = graph.number(tile(0, 0)).unwrap();
        assert_eq!(keys(&graph, first..first + 4), ["detect/0/0", "detect/1/0", "detect/0/1", "detect/1/1"]);
        assert_eq!(graph.number(tile(4, 4)).unwrap(), first + 48);
    }

    #[test]
    fn blocks_on_both_sides_of_the_origin_meet_in_the_whole() {
        let graph = Graph::new(&plan_of_cells(&[(-1, -1, &[0]), (0, 0, &[0])], 512, 1), 16);
        let root = graph.root.unwrap();
        assert_eq!(graph.key(root), Some(JobKey::Merge(Block::WHOLE)));
        assert_eq!(keys(&graph, graph.inputs(root)), ["detect/-1/-1", "detect/0/0"]);
    }
}
