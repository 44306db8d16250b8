//! A thousand workers, event by event: how much of their time they spend on jobs.
//!
//! Times are simulated: calls and answers travel for a while, jobs take what they were estimated at times a factor that
//! is spread as measured ones are, a few of them far more. Nothing is random: all follows from names and numbers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

use groundbreak_tests::figures::{figure, grouped};
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;

use super::chaos::Dice;
use crate::schedule::event::{
    Answer, Assignment, Attempt, Completion, DEFAULT_PRIORITY, Earlier, Effect, Event, Poll, Submission,
};
use crate::schedule::graph::Graph;
use crate::schedule::policy::{Policy, mix, seed};
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;
use crate::testing::{object, plan_of_cells};

/// How often time passes for the coordinator, ms.
const TICK_MS: u64 = 50;

enum What {
    Arrives(Box<Poll>),
    Hears(usize, u64, Box<Answer>),
    Ends(usize, u64),
    Beats(usize),
    Tick,
}

#[derive(Default)]
struct Node {
    name: String,
    sequence: u64,
    calls: bool,
    queue: VecDeque<Assignment>,
    running: BTreeMap<u64, Assignment>,
    done: Vec<Completion>,
    is_dead: bool,
    drains: bool,
}

/// A coordinator and its workers.
pub(super) struct Cluster {
    pub state: State,
    pub now_ms: u64,
    slots: usize,
    nodes: Vec<Node>,
    numbers: BTreeMap<String, usize>,
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, What>,
    next: u64,
    dice: Dice,
    /// Work that ended in the books, ms of a slot.
    pub useful_ms: u64,
    /// Which worker completed what.
    pub done_by: BTreeMap<(SurveyId, JobKey), usize>,
    /// Jobs that take this many times as long, at their first attempt.
    pub slow: BTreeMap<JobKey, u64>,
    pub ended_at: BTreeMap<SurveyId, u64>,
    pub answers_with_work: u64,
    roots: Vec<(SurveyId, ObjectRef)>,
}

impl Cluster {
    pub fn new(workers: usize, slots: usize, policy: Policy) -> Self {
        let mut cluster = Self {
            state: State::new(1, policy),
            now_ms: 0,
            slots,
            nodes: Vec::new(),
            numbers: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            what: BTreeMap::new(),
            next: 0,
            dice: Dice::new(1),
            useful_ms: 0,
            done_by: BTreeMap::new(),
            slow: BTreeMap::new(),
            ended_at: BTreeMap::new(),
            answers_with_work: 0,
            roots: Vec::new(),
        };
        for index in 0..workers {
            let name = format!("worker-{index}");
            cluster.numbers.insert(name.clone(), index);
            cluster.nodes.push(Node { name, ..Node::default() });
        }
        cluster.plan(TICK_MS, What::Tick);
        cluster
    }

    pub fn submit(&mut self, plan: &SurveyPlan, graph: Graph, priority: u32) {
        let submission = Submission {
            survey: plan.survey.clone(),
            name: plan.name.clone(),
            plan: object("plan"),
            output: "file:///out/".into(),
            graph,
            max_job_memory: 1 << 40,
            completed: BTreeMap::new(),
            priority,
            since: Attempt::default(),
            earlier: Earlier::default(),
        };
        self.happen(Event::Submit(Box::new(submission)));
    }

    /// All workers make their first call.
    pub fn start(&mut self) {
        for index in 0..self.nodes.len() {
            self.call(index);
            self.plan(2000 + index as u64 % 100, What::Beats(index));
        }
    }

    pub fn kill(&mut self, index: usize) {
        self.nodes[index].is_dead = true;
    }

    /// Asks a worker to leave. It does as it is told.
    pub fn drain(&mut self, index: usize) {
        self.happen(Event::Drain(self.nodes[index].name.clone()));
    }

    pub fn is_gone(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        node.drains && node.queue.is_empty() && node.running.is_empty() && node.done.is_empty()
    }

    /// What a worker has in hand.
    pub fn held(&self, index: usize) -> Vec<JobKey> {
        let node = &self.nodes[index];
        node.queue.iter().chain(node.running.values()).map(|assignment| assignment.job.key).collect()
    }

    /// Goes on until `until` says so, for at most so long. False where it never did.
    pub fn run(&mut self, most_ms: u64, mut until: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now_ms + most_ms;
        while let Some(Reverse((at, number))) = self.agenda.pop() {
            if at > end {
                self.agenda.push(Reverse((at, number)));
                return false;
            }
            self.now_ms = at;
            let Some(what) = self.what.remove(&number) else { continue };
            self.take(what);
            if until(self) {
                return true;
            }
        }
        false
    }

    /// Goes on until no survey runs.
    pub fn run_to_the_end(&mut self, most_ms: u64) -> bool {
        self.run(most_ms, |cluster| cluster.state.surveys().all(|(_, survey)| survey.phase() != Phase::Running))
    }

    fn plan(&mut self, in_ms: u64, what: What) {
        self.next += 1;
        self.agenda.push(Reverse((self.now_ms + in_ms, self.next)));
        self.what.insert(self.next, what);
    }

    /// A message travels 1 to 20 ms.
    fn travel_ms(&mut self) -> u64 {
        1 + self.dice.below(20) as u64
    }

    fn happen(&mut self, event: Event) {
        for effect in step(&mut self.state, event, Duration::from_millis(self.now_ms)) {
            match effect {
                Effect::Answer { worker, sequence, answer } => {
                    self.answers_with_work += u64::from(!answer.assignments.is_empty());
                    let (index, travel) = (self.numbers[&worker], self.travel_ms());
                    self.plan(travel, What::Hears(index, sequence, Box::new(answer)));
                }
                Effect::ReadRoot { survey, object } => self.roots.push((survey, object)),
                Effect::Changed(id) => {
                    if self.state.survey(&id).unwrap().phase() == Phase::Ended {
                        self.ended_at.entry(id).or_insert(self.now_ms);
                    }
                }
                Effect::Record(_) => {}
                Effect::Alarm { .. } | Effect::Broken(_) => panic!("{effect:?}"),
            }
        }
    }

    fn take(&mut self, what: What) {
        match what {
            What::Arrives(poll) => self.happen(Event::Poll(*poll)),
            What::Tick => {
                self.happen(Event::Tick);
                for (survey, object) in std::mem::take(&mut self.roots) {
                    self.happen(Event::RootRead { survey, object, read: Ok(BTreeMap::new()) });
                }
                self.plan(TICK_MS, What::Tick);
            }
            What::Beats(index) => {
                if !self.nodes[index].is_dead && !self.is_gone(index) {
                    self.call(index);
                    self.plan(2000, What::Beats(index));
                }
            }
            What::Ends(index, counter) => {
                let Some(ended) = self.nodes[index].running.remove(&counter) else { return };
                if self.nodes[index].is_dead {
                    return;
                }
                let wall_ms = self.takes_ms(&ended);
                if let std::collections::btree_map::Entry::Vacant(entry) =
                    self.done_by.entry((ended.survey.clone(), ended.job.key))
                {
                    entry.insert(index);
                    self.useful_ms += wall_ms;
                }
                self.nodes[index].done.push(Completion {
                    survey: ended.survey,
                    key: ended.job.key,
                    attempt: ended.attempt,
                    object: object(&ended.job.key.to_string()),
                    wall: Duration::from_millis(wall_ms),
                });
                self.begin(index);
                if !self.nodes[index].calls || self.nodes[index].queue.is_empty() {
                    self.call(index);
                }
            }
            What::Hears(index, sequence, answer) => {
                let node = &mut self.nodes[index];
                if node.is_dead || node.sequence != sequence {
                    return;
                }
                node.calls = false;
                node.drains |= answer.drain;
                node.done.retain(|done| !answer.acknowledged.contains(&done.attempt));
                node.queue.retain(|queued| !answer.revoked.contains(&queued.attempt));
                for revoked in &answer.revoked {
                    node.running.remove(&revoked.counter);
                }
                for assignment in answer.assignments {
                    let is_held = node.running.contains_key(&assignment.attempt.counter)
                        || node.queue.iter().any(|queued| queued.attempt == assignment.attempt);
                    if !is_held {
                        node.queue.push_back(assignment);
                    }
                }
                self.begin(index);
                let node = &self.nodes[index];
                if !node.done.is_empty() || self.free_slots(index) > 0 {
                    self.call(index);
                }
            }
        }
    }

    /// Starts what slots are free for.
    fn begin(&mut self, index: usize) {
        while self.nodes[index].running.len() < self.slots {
            let Some(next) = self.nodes[index].queue.pop_front() else { break };
            let (counter, takes) = (next.attempt.counter, self.takes_ms(&next));
            self.nodes[index].running.insert(counter, next);
            self.plan(takes, What::Ends(index, counter));
        }
    }

    fn free_slots(&self, index: usize) -> usize {
        let node = &self.nodes[index];
        if node.drains { 0 } else { self.slots.saturating_sub(node.running.len() + node.queue.len()) }
    }

    fn call(&mut self, index: usize) {
        let slots = self.free_slots(index) as u32;
        let now_ms = self.now_ms;
        let node = &mut self.nodes[index];
        if node.is_dead {
            return;
        }
        node.sequence += 1;
        node.calls = true;
        let held = node.queue.iter().map(|queued| (queued.attempt, 0));
        let poll = Poll {
            worker: node.name.clone(),
            sequence: node.sequence,
            memory_total: 1 << 40,
            memory_free: 1 << 40,
            slots,
            running: node.running.values().map(|running| (running.attempt, now_ms)).chain(held).collect(),
            completed: node.done.clone(),
            failed: vec![],
            draining: node.drains,
            wait: Duration::from_secs(4),
        };
        let travel = self.travel_ms();
        self.plan(travel, What::Arrives(Box::new(poll)));
    }

    /// What an attempt takes: its estimate times 1/2 to 2, most often about 1.
    fn takes_ms(&self, assignment: &Assignment) -> u64 {
        let key = assignment.job.key;
        let survey = self.state.survey(&assignment.survey).unwrap();
        let cost = survey.graph().job(survey.graph().number(key).unwrap()).unwrap().cost;
        let slow = self.slow.get(&key).filter(|_| !self.is_second(assignment)).copied().unwrap_or(1);
        let spread = [512, 700, 800, 900, 950, 1000, 1024, 1050, 1100, 1200, 1300, 1500, 2048];
        let place = mix(seed(key)) % spread.len() as u64;
        (cost * slow * spread[place as usize] / 1024).max(1)
    }

    fn is_second(&self, assignment: &Assignment) -> bool {
        let survey = self.state.survey(&assignment.survey).unwrap();
        let number = survey.graph().number(assignment.job.key).unwrap();
        survey.live.get(&number).is_some_and(|live| live.second == Some(assignment.attempt.counter))
    }
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
    let mut cluster = Cluster::new(1000, 2, Policy::default());
    cluster.submit(&plan, graph, DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run_to_the_end(24 * 3_600_000));
    cluster.state.check().unwrap();
    let elapsed_ms = cluster.now_ms;
    let efficiency = cluster.useful_ms as f64 / (elapsed_ms as f64 * 2000.0);
    figure(
        &format!("1,000 simulated workers of 2 slots, {} jobs", grouped(jobs as f64)),
        "≥ 95 % of the slots' time on jobs",
        &format!("{:.2} %, {:.1} jobs an answer", efficiency * 100.0, jobs as f64 / cluster.answers_with_work as f64),
    );
    assert!(efficiency >= 0.95, "{efficiency}");
    // An answer is worth seconds of work.
    assert!(cluster.useful_ms / cluster.answers_with_work >= 1000, "{}", cluster.useful_ms / cluster.answers_with_work);
}

#[test]
fn surveys_share_the_workers_by_priority() {
    let mut cluster = Cluster::new(10, 2, Policy::default());
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

#[test]
fn neighbours_on_the_ground_go_to_the_same_worker() {
    let plan = square("a", 64, 4);
    let mut cluster = Cluster::new(16, 2, Policy::default());
    cluster.submit(&plan, Graph::new(&plan, 16), DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run_to_the_end(24 * 3_600_000));
    let tiles: BTreeMap<(i32, i32), usize> = cluster
        .done_by
        .iter()
        .filter_map(|((_, key), &worker)| match key {
            JobKey::Detect(tile) => Some(((tile.y, tile.x), worker)),
            _ => None,
        })
        .collect();
    let (mut same, mut all) = (0, 0);
    for (&(y, x), worker) in &tiles {
        for neighbour in [(y, x + 1), (y + 1, x)].into_iter().filter_map(|place| tiles.get(&place)) {
            all += 1;
            same += u32::from(neighbour == worker);
        }
    }
    // Of 16 workers one in 16 neighbours would be the same by chance. In squares of 8 x 8 tiles 7 of 8 can be.
    let share = f64::from(same) / f64::from(all);
    println!("{:.0} % of neighbours were done by the same worker", share * 100.0);
    assert!(share > 0.7, "{share}");
}

#[test]
fn a_straggler_is_done_by_another_and_the_first_completion_counts() {
    let plan = square("a", 8, 1);
    let graph = Graph::new(&plan, 16);
    let slow = graph.key(graph.stage(survey::job::Stage::Detect).start + 40).unwrap();
    let mut cluster = Cluster::new(4, 1, Policy::default());
    cluster.slow.insert(slow, 10_000);
    cluster.submit(&plan, graph, DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run_to_the_end(600_000), "it does not wait for the slow one, which takes an hour");
    let tally = cluster.state.survey(&plan.survey).unwrap().tally();
    assert_eq!((tally.speculations, tally.alarms, tally.leases_expired), (1, 0, 0));
    assert_eq!(tally.done, tally.jobs);
    // The slow worker is told, and has its slot back.
    let idle = |cluster: &mut Cluster| (0..4).all(|index| cluster.held(index).is_empty());
    assert!(cluster.run(10_000, idle));
}

#[test]
fn a_dead_workers_jobs_run_elsewhere_within_two_leases() {
    let plan = square("a", 16, 1);
    let mut cluster = Cluster::new(3, 2, Policy::default());
    cluster.submit(&plan, Graph::new(&plan, 16), DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run(600_000, |cluster| cluster.held(0).iter().any(|key| matches!(key, JobKey::Detect(_)))));
    let lost = cluster.held(0);
    cluster.kill(0);
    let killed_at = cluster.now_ms;
    let all_elsewhere = |cluster: &mut Cluster| {
        let elsewhere: Vec<JobKey> = [1, 2].into_iter().flat_map(|index| cluster.held(index)).collect();
        let done = |key: &JobKey| cluster.done_by.contains_key(&(plan.survey.clone(), *key));
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
    let mut cluster = Cluster::new(3, 2, Policy::default());
    cluster.submit(&plan, Graph::new(&plan, 16), DEFAULT_PRIORITY);
    cluster.start();
    assert!(cluster.run(600_000, |cluster| cluster.held(0).iter().any(|key| matches!(key, JobKey::Detect(_)))));
    cluster.drain(0);
    assert!(cluster.run(60_000, |cluster| cluster.is_gone(0)));
    assert!(cluster.state.worker_views().next().unwrap().is_leaving);
    let done = cluster.done_by.values().filter(|&&worker| worker == 0).count();
    assert!(cluster.run_to_the_end(3_600_000));
    assert_eq!(cluster.done_by.values().filter(|&&worker| worker == 0).count(), done);
    let tally = cluster.state.survey(&plan.survey).unwrap().tally();
    assert_eq!((tally.attempts_failed, tally.leases_expired), (0, 0), "nothing was lost by it");
}

#[test]
fn the_time_that_remains_is_foretold_from_what_jobs_take() {
    let plan = square("a", 64, 1);
    let mut cluster = Cluster::new(20, 2, Policy::default());
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
