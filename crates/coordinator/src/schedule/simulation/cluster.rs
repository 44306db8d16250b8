//! A thousand workers, event by event: how much of their time they spend on jobs.
//!
//! Times are simulated: calls and answers travel for a while, jobs take what they were estimated at times a factor that
//! is spread as measured ones are, a few of them far more. Nothing is random: all follows from names and numbers.

use std::collections::{BTreeMap, BTreeSet};

use groundbreak_tests::figures::{figure, grouped};
use survey::grid::Cell;
use survey::ids::SurveyId;
use survey::job::JobKey;
use survey::plan::SurveyPlan;

use super::chaos::Dice;
use crate::forecast::cluster::{self, Begun, Pace};
use crate::schedule::event::DEFAULT_PRIORITY;
use crate::schedule::graph::Graph;
use crate::schedule::policy::{Policy, mix, seed};
use crate::testing::plan_of_cells;

/// Messages travel 1 to 20 ms; attempts take their estimate times 1/2 to 2, most often about 1.
pub(super) struct Spread {
    dice: Dice,
    /// Jobs that take this many times as long, at their first attempt.
    pub slow: BTreeMap<JobKey, u64>,
    /// What attempts take that are not in the books, by worker, ms.
    taken_ms: BTreeMap<(usize, JobKey), u64>,
    /// Work that ended in the books, ms of a slot.
    pub useful_ms: u64,
    /// Which worker completed what.
    pub done_by: BTreeMap<(SurveyId, JobKey), usize>,
}

impl Pace for Spread {
    fn travel_ms(&mut self) -> u64 {
        1 + self.dice.below(20) as u64
    }

    fn attempt_ms(&mut self, begun: &Begun) -> u64 {
        let slow = self.slow.get(&begun.key).filter(|_| !begun.is_second).copied().unwrap_or(1);
        let spread = [512, 700, 800, 900, 950, 1000, 1024, 1050, 1100, 1200, 1300, 1500, 2048];
        let place = mix(seed(begun.key)) % spread.len() as u64;
        let takes_ms = (begun.cost * slow * spread[place as usize] / 1024).max(1);
        self.taken_ms.insert((begun.worker, begun.key), takes_ms);
        takes_ms
    }

    fn booked(&mut self, worker: usize, survey: &SurveyId, key: JobKey) {
        self.useful_ms += self.taken_ms.remove(&(worker, key)).unwrap_or(0);
        self.done_by.insert((survey.clone(), key), worker);
    }
}

type Cluster = cluster::Cluster<Spread>;

fn cluster(workers: usize, slots: usize) -> Cluster {
    let pace = Spread {
        dice: Dice::new(1),
        slow: BTreeMap::new(),
        taken_ms: BTreeMap::new(),
        useful_ms: 0,
        done_by: BTreeMap::new(),
    };
    Cluster::new(workers, slots, Policy::default(), pace)
}

/// A plan of `side` × `side` tiles of two by two cells, with so many pairs in bands from north to south, of which up to
/// four fill a cell.
pub(super) fn square(name: &str, side: i32, pairs: u32) -> SurveyPlan {
    let sets: Vec<Vec<u32>> =
        (0..pairs).map(|pair| (0..pairs.min(4)).map(|more| (pair + more) % pairs).collect()).collect();
    let cells: Vec<(i32, i32, &[u32])> = (0..side * 2)
        .flat_map(|row| {
            let band = (row as u64 * u64::from(pairs) / (side as u64 * 2)) as usize;
            let set = &sets[band];
            (0..side * 2).map(move |col| (row, col, &set[..]))
        })
        .collect();
    let mut plan = plan_of_cells(&cells, 1024, 40);
    plan.survey = SurveyId::from(name);
    plan
}

#[test]
fn a_thousand_workers_spend_their_time_on_jobs() {
    let plan = square("large", 640, 64);
    let graph = Graph::new(&plan, 16);
    let jobs = graph.len();
    let mut cluster = cluster(1000, 2);
    cluster.submit(&plan, graph, DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run_to_the_end(24 * 3_600_000));
    cluster.state.check().unwrap();
    let elapsed_ms = cluster.now_ms;
    let efficiency = cluster.pace.useful_ms as f64 / (elapsed_ms as f64 * 2000.0);
    figure(
        &format!("1,000 simulated workers of 2 slots, {} jobs", grouped(jobs as f64)),
        "≥ 95 % of the slots' time on jobs",
        &format!("{:.2} %, {:.1} jobs an answer", efficiency * 100.0, jobs as f64 / cluster.answers_with_work as f64),
    );
    assert!(efficiency >= 0.95, "{efficiency}");
    // An answer is worth seconds of work.
    assert!(
        cluster.pace.useful_ms / cluster.answers_with_work >= 1000,
        "{}",
        cluster.pace.useful_ms / cluster.answers_with_work
    );
}

#[test]
fn surveys_share_the_workers_by_priority() {
    let mut cluster = cluster(10, 2);
    let plans = [("a", 100), ("b", 300)].map(|(name, priority)| (square(name, 64, 2), priority));
    for (plan, priority) in &plans {
        cluster.submit(plan, Graph::new(plan, 16), *priority);
    }
    cluster.start();
    assert!(cluster.run(3_600_000, |cluster| cluster.now_ms > 60_000));
    let done = |name: &str| {
        let tally = cluster.state.survey(&SurveyId::from(name)).unwrap().tally();
        tally.cost_done as f64
    };
    let ratio = done("b") / done("a");
    assert!((2.7..3.3).contains(&ratio), "{ratio}");
    // A survey that comes later is not owed what it did not ask for.
    let late = square("late", 64, 2);
    let before = done("b");
    cluster.submit(&late, Graph::new(&late, 16), 300);
    assert!(cluster.run(3_600_000, |cluster| cluster.now_ms > 120_000));
    let done = |name: &str| cluster.state.survey(&SurveyId::from(name)).unwrap().tally().cost_done as f64;
    let ratio = done("late") / (done("b") - before);
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
}

/// How many of the workers read a block of a scene, whose blocks are as large as cells.
fn readers_of_a_block(side: i32, tile_px: i32, workers: usize) -> f64 {
    let mut plan = square("a", side / 2, 1);
    plan.tile_px = tile_px;
    let mut cluster = cluster(workers, 1);
    cluster.submit(&plan, Graph::new(&plan, 16), DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run_to_the_end(24 * 3_600_000));
    let mut readers: BTreeSet<(Cell, usize)> = BTreeSet::new();
    for ((_, key), &worker) in &cluster.pace.done_by {
        if let JobKey::Detect(tile) = key {
            let cells = tile.rect(tile_px).grown(16).cells().filter(|&cell| plan.cell(cell).is_some());
            readers.extend(cells.map(|cell| (cell, worker)));
        }
    }
    readers.len() as f64 / plan.cells.len() as f64
}

#[test]
fn neighbours_on_the_ground_go_to_the_same_worker() {
    // Workers each on a part of its own have the blocks on both sides of its borders in common: of 16 rows of them in three parts 4, in
    // eight parts 14; of four swaths of 80 rows, in eight parts, 8 of 80 and what the swaths have in common. Parts are not all of rows.
    for (side, workers, most) in [(16, 3, 1.45), (16, 8, 2.3), (80, 3, 1.1), (80, 8, 1.2), (80, 30, 1.4)] {
        for tile_px in [2048, 1024, 512, 256] {
            let readers = readers_of_a_block(side, tile_px, workers);
            println!("{workers} workers, {side} blocks a side, tiles of {tile_px}: {readers:.2} of them read a block");
            assert!(readers <= most, "{workers} workers, {side} blocks a side, tiles of {tile_px}: {readers}");
        }
    }
}

#[test]
fn a_straggler_is_done_by_another_and_the_first_completion_counts() {
    let plan = square("a", 8, 1);
    let graph = Graph::new(&plan, 16);
    let slow = graph.key(graph.stage(survey::job::Stage::Detect).start + 40).unwrap();
    let mut cluster = cluster(4, 1);
    cluster.pace.slow.insert(slow, 10_000);
    cluster.submit(&plan, graph, DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run_to_the_end(600_000), "it does not wait for the slow one, which takes an hour");
    let tally = cluster.state.survey(&plan.survey).unwrap().tally();
    // So are those of its batch, which wait behind it.
    assert!((1..=3).contains(&tally.speculations), "{}", tally.speculations);
    assert_eq!((tally.alarms, tally.leases_expired), (0, 0));
    assert_eq!(tally.done, tally.jobs);
    // The slow worker is told, and has its slot back.
    let idle = |cluster: &mut Cluster| (0..4).all(|index| cluster.held(index).is_empty());
    assert!(cluster.run(10_000, idle));
}

#[test]
fn a_dead_workers_jobs_run_elsewhere_within_two_leases() {
    let plan = square("a", 16, 1);
    let mut cluster = cluster(3, 2);
    cluster.submit(&plan, Graph::new(&plan, 16), DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run(600_000, |cluster| cluster.held(0).iter().any(|key| matches!(key, JobKey::Detect(_)))));
    let lost = cluster.held(0);
    cluster.kill(0);
    let killed_at = cluster.now_ms;
    let all_elsewhere = |cluster: &mut Cluster| {
        let elsewhere: Vec<JobKey> = [1, 2].into_iter().flat_map(|index| cluster.held(index)).collect();
        let done = |key: &JobKey| cluster.pace.done_by.contains_key(&(plan.survey.clone(), *key));
        lost.iter().all(|key| elsewhere.contains(key) || done(key))
    };
    assert!(cluster.run(600_000, all_elsewhere));
    let lease_ms = Policy::default().lease.as_millis() as u64;
    assert!(cluster.now_ms - killed_at <= 2 * lease_ms, "{} ms", cluster.now_ms - killed_at);
    assert!(cluster.run_to_the_end(3_600_000));
}

#[test]
fn a_worker_that_is_drained_ends_what_it_has_and_leaves() {
    let plan = square("a", 16, 1);
    let mut cluster = cluster(3, 2);
    cluster.submit(&plan, Graph::new(&plan, 16), DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run(600_000, |cluster| cluster.held(0).iter().any(|key| matches!(key, JobKey::Detect(_)))));
    cluster.drain(0);
    assert!(cluster.run(60_000, |cluster| cluster.is_gone(0)));
    assert!(cluster.state.worker_views().next().unwrap().is_leaving);
    let done = cluster.pace.done_by.values().filter(|&&worker| worker == 0).count();
    assert!(cluster.run_to_the_end(3_600_000));
    assert_eq!(cluster.pace.done_by.values().filter(|&&worker| worker == 0).count(), done);
    let tally = cluster.state.survey(&plan.survey).unwrap().tally();
    assert_eq!((tally.attempts_failed, tally.leases_expired), (0, 0), "nothing was lost by it");
}

#[test]
fn the_time_that_remains_is_foretold_from_what_jobs_take() {
    let plan = square("a", 64, 1);
    let mut cluster = cluster(20, 2);
    cluster.submit(&plan, Graph::new(&plan, 16), DEFAULT_PRIORITY);
    assert_eq!(cluster.state.remaining(&plan.survey), None, "nobody works");
    cluster.start();
    assert!(cluster.run(600_000, |cluster| {
        let tally = cluster.state.survey(&plan.survey).unwrap().tally();
        tally.done[1] * 3 > tally.jobs[1]
    }));
    let foretold = cluster.state.remaining(&plan.survey).unwrap().as_secs_f64();
    let began = cluster.now_ms;
    assert!(cluster.run_to_the_end(3_600_000));
    let took = (cluster.now_ms - began) as f64 / 1000.0;
    assert!((foretold / took - 1.0).abs() < 0.15, "foretold {foretold} s, took {took} s");
}
