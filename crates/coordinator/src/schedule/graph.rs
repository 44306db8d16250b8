//! The jobs of a survey and what each waits for: calibrate → detect → merge → assemble.
//!
//! Ten million jobs must fit beside everything else, so a job is a few numbers in columns. Tiles are numbered swath by swath, row
//! by row ([`survey::swath`]): neighbours on the ground, which read the same blocks of the same scenes, are neighbours in number.

mod build;
mod lists;

use std::collections::BTreeSet;
use std::ops::Range;

use survey::grid::Block;
use survey::ids::CountyId;
use survey::job::{JobKey, Stage};
use survey::swath::Swaths;

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

/// All jobs of a survey. A job's number is its place: calibrations by pair, tiles by swath, merges level by level in row-major
/// order, counties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The job that leaves the findings of the whole survey: a merge, or a detect where one tile holds everything.
    pub root: Option<u32>,
    /// The counties, in the plan's order.
    pub counties: Vec<CountyId>,
    /// First number of each stage, and one past the last job.
    starts: [u32; 5],
    /// The order of the tiles.
    swaths: Swaths,
    /// Row and column of the tiles, then of the merged blocks.
    blocks: Vec<(i32, i32)>,
    /// Level and first number of the tiles and of each level of merges.
    levels: Vec<(u8, u32)>,
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
            JobKey::Detect(block) => self.find(0, block.y, block.x)?,
            JobKey::Merge(block) => {
                let at = self.levels.iter().position(|&(level, _)| level == block.level)?;
                self.find(at, block.y, block.x)?
            }
        };
        stage.contains(&number).then_some(number)
    }

    /// The numbers of a level of blocks, by its place among the levels.
    fn level(&self, at: usize) -> Option<Range<u32>> {
        let start = self.levels.get(at)?.1;
        let end = self.levels.get(at + 1).map_or(self.starts[3], |&(_, start)| start);
        Some(start..end)
    }

    /// At which place among the levels a tile or a merge is.
    fn level_of(&self, number: u32) -> Option<usize> {
        self.levels.partition_point(|&(_, first)| first <= number).checked_sub(1)
    }

    /// The block of a tile or a merge.
    fn block(&self, number: u32) -> Option<Block> {
        let &(y, x) = self.blocks.get(number.checked_sub(self.starts[1])? as usize)?;
        let &(level, _) = self.levels.get(self.level_of(number)?)?;
        Some(Block { level, y, x })
    }

    /// The job of a block, by the place of its level, its row and its column.
    fn find(&self, at: usize, y: i32, x: i32) -> Option<u32> {
        let (numbers, first) = (self.level(at)?, self.starts[1]);
        let blocks = self.blocks.get((numbers.start - first) as usize..(numbers.end - first) as usize)?;
        let place = match at {
            0 => {
                let order = |&(y, x): &(i32, i32)| self.swaths.order(Block { level: 0, y, x });
                blocks.binary_search_by_key(&order(&(y, x)), order)
            }
            _ => blocks.binary_search(&(y, x)),
        };
        Some(numbers.start + u32::try_from(place.ok()?).ok()?)
    }

    /// The merge that takes a tile or a merge in.
    fn parent(&self, number: u32) -> Option<u32> {
        let (above, block) = (self.level_of(number)? + 1, self.block(number)?);
        let &(level, _) = self.levels.get(above)?;
        let parent = if level == Block::WHOLE.level { Block::WHOLE } else { block.parent() };
        self.find(above, parent.y, parent.x)
    }

    /// What a merge takes in, by row and column.
    fn children(&self, merge: u32) -> impl Iterator<Item = u32> + '_ {
        let below = self.level_of(merge).and_then(|at| at.checked_sub(1));
        let children = self.block(merge).map(|block| block.children());
        let places = below.zip(children).into_iter().flat_map(|(at, children)| children.map(|child| (at, child)));
        places.filter_map(|(at, child)| self.find(at, child.y, child.x))
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
        let block = self.block(number)?;
        Some(if number < merge { JobKey::Detect(block) } else { JobKey::Merge(block) })
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
        let (mut root, mut below, mut pairs): (Option<u32>, _, &[u32]) = (None, None, &[]);
        if number >= assemble {
            root = self.root;
            pairs = self.pairs_of_county.get(number - assemble);
        } else if number >= merge {
            below = Some(self.children(number));
        } else if number >= detect {
            pairs = self.set_of_tile.get((number - detect) as usize).map_or(&[], |&set| self.pair_sets.get(set));
        }
        root.into_iter().chain(below.into_iter().flatten()).chain(pairs.iter().copied())
    }

    /// Jobs that read a job's object.
    pub fn dependants(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let [_, detect, _, assemble, end] = self.starts;
        let (mut parent, mut counties) = (None, 0..0);
        let (mut sets, mut readers): (&[u32], &[u32]) = (&[], &[]);
        if Some(number) == self.root {
            counties = assemble..end;
        } else if (detect..assemble).contains(&number) {
            parent = self.parent(number);
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
        assert_eq!(keys(&graph, first..first + 3), ["detect/0/0", "detect/1/0", "detect/2/0"]);
        assert_eq!(graph.number(tile(1, 0)).unwrap(), first + 8);
        // Wider ground is gone over in swaths.
        let cells: Vec<(i32, i32, &[u32])> =
            (0..3).flat_map(|row| (0..30).map(move |col| (row, col, &[0_u32][..]))).collect();
        let graph = Graph::new(&plan_of_cells(&cells, 512, 1), 16);
        let first = graph.number(tile(0, 0)).unwrap();
        assert_eq!(keys(&graph, first + 44..first + 46), ["detect/14/2", "detect/15/0"]);
    }

    #[test]
    fn blocks_on_both_sides_of_the_origin_meet_in_the_whole() {
        let graph = Graph::new(&plan_of_cells(&[(-1, -1, &[0]), (0, 0, &[0])], 512, 1), 16);
        let root = graph.root.unwrap();
        assert_eq!(graph.key(root), Some(JobKey::Merge(Block::WHOLE)));
        assert_eq!(keys(&graph, graph.inputs(root)), ["detect/-1/-1", "detect/0/0"]);
    }
}
