//! A cluster, event by event: the scheduler that production has, and workers of which only the time is simulated.
//!
//! Calls and answers travel, attempts take as long as [`Pace`] says. Nothing is random that `Pace` does not make so.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use survey::ids::{Digest, SurveyId};
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;

use crate::journal::Record;
use crate::schedule::event::{Answer, Assignment, Attempt, Completion, Earlier, Effect, Event, Poll, Submission};
use crate::schedule::graph::Graph;
use crate::schedule::policy::Policy;
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;

/// How often time passes for the coordinator, ms.
const TICK_MS: u64 = 50;
/// How often a worker calls that has nothing to say, ms.
const BEAT_MS: u64 = 2000;
/// How long a worker's call may wait for work.
const WAIT: Duration = Duration::from_secs(4);
/// Memory that a simulated worker says it has: it is never what work waits for.
const MEMORY: u64 = 1 << 40;

/// How long things take.
pub trait Pace {
    /// How long a message travels, ms.
    fn travel_ms(&mut self) -> u64;

    /// How long the attempt takes that a worker begins, ms.
    fn attempt_ms(&mut self, begun: &Begun) -> u64;

    /// A worker's completion is in the books.
    fn booked(&mut self, _worker: usize, _survey: &SurveyId, _key: JobKey) {}
}

/// An attempt that begins.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// The worker.
    pub worker: usize,
    /// When, ms.
    pub at_ms: u64,
    /// The job.
    pub key: JobKey,
    /// Its cost in the plan.
    pub cost: u64,
    /// Whether another attempt of it runs already.
    pub is_second: bool,
}

enum What {
    Arrives(usize, Box<Poll>),
    Hears(usize, u64, Box<Answer>),
    Ends(usize, u64),
    Beats(usize),
    Tick,
}

struct Running {
    assignment: Assignment,
    since_ms: u64,
}

#[derive(Default)]
struct Node {
    name: String,
    sequence: u64,
    calls: bool,
    queue: VecDeque<Assignment>,
    running: BTreeMap<u64, Running>,
    done: Vec<Completion>,
    is_dead: bool,
    drains: bool,
}

impl Node {
    fn free_slots(&self, slots: usize) -> usize {
        if self.drains { 0 } else { slots.saturating_sub(self.running.len() + self.queue.len()) }
    }

    fn is_gone(&self) -> bool {
        self.drains && self.queue.is_empty() && self.running.is_empty() && self.done.is_empty()
    }
}

/// A coordinator and its workers.
pub struct Cluster<P> {
    /// The scheduler's state.
    pub state: State,
    /// Now, ms from the beginning.
    pub now_ms: u64,
    /// How long things take.
    pub pace: P,
    /// Answers that gave work.
    pub answers_with_work: u64,
    slots: usize,
    nodes: Vec<Node>,
    numbers: BTreeMap<String, usize>,
    /// What is to happen, by time and then in the order that it was planned.
    agenda: BTreeMap<(u64, u64), What>,
    planned: u64,
    roots: Vec<(SurveyId, ObjectRef)>,
    is_broken: bool,
}

impl<P: Pace> Cluster<P> {
    /// So many workers, each with slots for as many jobs at the same time.
    #[must_use]
    pub fn new(workers: usize, slots: usize, policy: Policy, pace: P) -> Self {
        let nodes: Vec<Node> =
            (0..workers).map(|index| Node { name: format!("worker-{index}"), ..Node::default() }).collect();
        let mut cluster = Self {
            state: State::new(1, policy),
            now_ms: 0,
            pace,
            answers_with_work: 0,
            slots,
            numbers: nodes.iter().enumerate().map(|(index, node)| (node.name.clone(), index)).collect(),
            nodes,
            agenda: BTreeMap::new(),
            planned: 0,
            roots: Vec::new(),
            is_broken: false,
        };
        cluster.plan(TICK_MS, What::Tick);
        cluster
    }

    /// A survey is submitted.
    pub fn submit(&mut self, plan: &SurveyPlan, graph: Graph, priority: u32) {
        let submission = Submission {
            survey: plan.survey.clone(),
            name: plan.name.clone(),
            plan: object("plan"),
            output: "file:///simulated/".into(),
            graph,
            max_job_memory: MEMORY,
            completed: BTreeMap::new(),
            priority,
            since: Attempt::default(),
            earlier: Earlier::default(),
        };
        self.happen(Event::Submit(Box::new(submission)), None);
    }

    /// All workers make their first call.
    pub fn start(&mut self) {
        for index in 0..self.nodes.len() {
            self.call(index);
            self.plan(BEAT_MS + index as u64 % 100, What::Beats(index));
        }
    }

    /// Goes on until `until` says so, for at most so long. False where it never did, or where the scheduler broke one of
    /// its invariants.
    pub fn run(&mut self, most_ms: u64, mut until: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now_ms.saturating_add(most_ms);
        while let Some(next) = self.agenda.first_entry() {
            let (at, _) = *next.key();
            if at > end {
                return false;
            }
            let what = next.remove();
            self.now_ms = at;
            self.take(what);
            if self.is_broken {
                return false;
            }
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
        self.planned += 1;
        self.agenda.insert((self.now_ms.saturating_add(in_ms), self.planned), what);
    }

    fn happen(&mut self, event: Event, caller: Option<usize>) {
        for effect in step(&mut self.state, event, Duration::from_millis(self.now_ms)) {
            match effect {
                Effect::Answer { worker, sequence, answer } => {
                    self.answers_with_work += u64::from(!answer.assignments.is_empty());
                    let Some(&index) = self.numbers.get(&worker) else { continue };
                    let travel = self.pace.travel_ms();
                    self.plan(travel, What::Hears(index, sequence, Box::new(answer)));
                }
                Effect::ReadRoot { survey, object } => self.roots.push((survey, object)),
                Effect::Record(Record::Completed { survey, key, .. }) => {
                    if let Some(caller) = caller {
                        self.pace.booked(caller, &survey, key);
                    }
                }
                Effect::Record(_) | Effect::Changed(_) => {}
                // Workers that only tell the truth give no cause for either.
                Effect::Alarm { .. } | Effect::Broken(_) => self.is_broken = true,
            }
        }
    }

    fn take(&mut self, what: What) {
        match what {
            What::Arrives(index, poll) => self.happen(Event::Poll(*poll), Some(index)),
            What::Tick => {
                self.happen(Event::Tick, None);
                for (survey, object) in std::mem::take(&mut self.roots) {
                    self.happen(Event::RootRead { survey, object, read: Ok(BTreeMap::new()) }, None);
                }
                self.plan(TICK_MS, What::Tick);
            }
            What::Beats(index) => {
                if self.nodes.get(index).is_some_and(|node| !node.is_dead && !node.is_gone()) {
                    self.call(index);
                    self.plan(BEAT_MS, What::Beats(index));
                }
            }
            What::Ends(index, counter) => self.end(index, counter),
            What::Hears(index, sequence, answer) => self.hear(index, sequence, *answer),
        }
    }

    fn end(&mut self, index: usize, counter: u64) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let Some(Running { assignment, since_ms }) = node.running.remove(&counter) else { return };
        if node.is_dead {
            return;
        }
        node.done.push(Completion {
            survey: assignment.survey,
            key: assignment.job.key,
            attempt: assignment.attempt,
            object: object(&assignment.job.key.to_string()),
            wall: Duration::from_millis(self.now_ms - since_ms),
        });
        self.begin(index);
        if self.nodes.get(index).is_some_and(|node| !node.calls || node.queue.is_empty()) {
            self.call(index);
        }
    }

    fn hear(&mut self, index: usize, sequence: u64, answer: Answer) {
        let Some(node) = self.nodes.get_mut(index) else { return };
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
        let slots = self.slots;
        if self.nodes.get(index).is_some_and(|node| !node.done.is_empty() || node.free_slots(slots) > 0) {
            self.call(index);
        }
    }

    /// Starts what slots are free for.
    fn begin(&mut self, index: usize) {
        loop {
            let Some(node) = self.nodes.get_mut(index).filter(|node| node.running.len() < self.slots) else { return };
            let Some(next) = node.queue.pop_front() else { return };
            let Some(takes_ms) = attempt_ms(&self.state, &mut self.pace, index, self.now_ms, &next) else { continue };
            let counter = next.attempt.counter;
            node.running.insert(counter, Running { assignment: next, since_ms: self.now_ms });
            self.plan(takes_ms, What::Ends(index, counter));
        }
    }

    fn call(&mut self, index: usize) {
        let (slots, now_ms) = (self.slots, self.now_ms);
        let Some(node) = self.nodes.get_mut(index).filter(|node| !node.is_dead) else { return };
        node.sequence += 1;
        node.calls = true;
        let held = node.queue.iter().map(|queued| (queued.attempt, 0));
        let poll = Poll {
            worker: node.name.clone(),
            sequence: node.sequence,
            memory_total: MEMORY,
            memory_free: MEMORY,
            slots: u32::try_from(node.free_slots(slots)).unwrap_or(u32::MAX),
            running: node.running.values().map(|running| (running.assignment.attempt, now_ms)).chain(held).collect(),
            completed: node.done.clone(),
            failed: vec![],
            draining: node.drains,
            wait: WAIT,
        };
        let travel = self.pace.travel_ms();
        self.plan(travel, What::Arrives(index, Box::new(poll)));
    }
}

/// What tests do to workers.
#[cfg(test)]
impl<P: Pace> Cluster<P> {
    /// A worker falls silent for good.
    pub fn kill(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.is_dead = true;
        }
    }

    /// Asks a worker to leave. It does as it is told.
    pub fn drain(&mut self, index: usize) {
        if let Some(node) = self.nodes.get(index) {
            self.happen(Event::Drain(node.name.clone()), None);
        }
    }

    /// Whether a worker that was asked to leave has left.
    #[must_use]
    pub fn is_gone(&self, index: usize) -> bool {
        self.nodes.get(index).is_none_or(Node::is_gone)
    }

    /// What a worker has in hand.
    #[must_use]
    pub fn held(&self, index: usize) -> Vec<JobKey> {
        let held = |node: &Node| {
            let running = node.running.values().map(|running| &running.assignment);
            node.queue.iter().chain(running).map(|assignment| assignment.job.key).collect()
        };
        self.nodes.get(index).map(held).unwrap_or_default()
    }
}

/// How long an attempt takes, ms; `None` for a job that no survey has.
fn attempt_ms(state: &State, pace: &mut impl Pace, worker: usize, at_ms: u64, assignment: &Assignment) -> Option<u64> {
    let survey = state.survey(&assignment.survey)?;
    let key = assignment.job.key;
    let number = survey.graph().number(key)?;
    let cost = survey.graph().job(number)?.cost;
    let is_second = survey.live.get(&number).is_some_and(|live| live.second == Some(assignment.attempt.counter));
    Some(pace.attempt_ms(&Begun { worker, at_ms, key, cost, is_second }).max(1))
}

/// What a simulated job leaves: the same whoever did it.
fn object(content: &str) -> ObjectRef {
    ObjectRef { key: format!("stages/{content}"), digest: Digest::of(content.as_bytes()), length: content.len() as u64 }
}
