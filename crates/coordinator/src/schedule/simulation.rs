//! Whatever happens in whatever order: the invariants hold, no job is booked twice, and the survey ends.
//!
//! Here a few workers and one survey, with what happens chosen (and made smaller where a test fails) by proptest; `chaos`
//! has a network, crashes and several surveys, and takes a million steps; `cluster` a thousand workers; `cases` one fault
//! at a time; `figures` what all this costs.

mod cases;
mod chaos;
mod cluster;
mod figures;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

use crate::journal::Record;
use crate::schedule::event::{
    Assignment, Attempt, Completion, DEFAULT_PRIORITY, Earlier, Effect, Event, Failure, Poll, Submission,
};
use crate::schedule::graph::Graph;
use crate::schedule::policy::Policy;
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;
use crate::testing::{object, plan_of_cells};

const CLASSES: [FailureClass; 7] = [
    FailureClass::Retryable,
    FailureClass::OutOfMemory,
    FailureClass::BadInput,
    FailureClass::InputChanged,
    FailureClass::Poison,
    FailureClass::Fatal,
    FailureClass::Cancelled,
];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// A worker calls with what it holds. The answer arrives, or is lost.
    Call { worker: u8, slots: u8, is_lost: bool, drains: bool },
    /// A worker has done one of its jobs; with other bytes than it should, or not.
    Done { worker: u8, which: u8, has_other_bytes: bool },
    /// A job of a worker fails.
    Fails { worker: u8, which: u8, class: u8 },
    /// A worker is killed and another takes its place; what it was doing may be heard of later.
    Dies { worker: u8 },
    /// Any completion ever reported is reported again.
    Repeats { which: u8 },
    /// The root is read, or cannot be.
    Reads { class: Option<u8> },
    /// Time passes.
    Passes { seconds: u8 },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (any::<u8>(), 0_u8..4, prop::bool::weighted(0.15), prop::bool::weighted(0.05))
            .prop_map(|(worker, slots, is_lost, drains)| Happening::Call { worker, slots, is_lost, drains }),
        8 => (any::<u8>(), any::<u8>(), prop::bool::weighted(0.05))
            .prop_map(|(worker, which, has_other_bytes)| Happening::Done { worker, which, has_other_bytes }),
        3 => (any::<u8>(), any::<u8>(), any::<u8>())
            .prop_map(|(worker, which, class)| Happening::Fails { worker, which, class }),
        1 => any::<u8>().prop_map(|worker| Happening::Dies { worker }),
        4 => any::<u8>().prop_map(|which| Happening::Repeats { which }),
        2 => prop::option::weighted(0.3, any::<u8>()).prop_map(|class| Happening::Reads { class }),
        3 => any::<u8>().prop_map(|seconds| Happening::Passes { seconds }),
    ]
}

#[derive(Default)]
struct SimulatedWorker {
    name: String,
    sequence: u64,
    running: Vec<Assignment>,
    completed: Vec<Completion>,
    failed: Vec<Failure>,
}

struct World {
    state: State,
    survey: SurveyId,
    now: Duration,
    workers: Vec<SimulatedWorker>,
    born: u32,
    reported: Vec<Completion>,
    root_reads: Vec<ObjectRef>,
    /// What the journal says is done.
    booked: BTreeMap<JobKey, ObjectRef>,
    failed: BTreeSet<JobKey>,
    alarms: u64,
    /// What each worker says that it has, bytes.
    memory: u64,
}

impl World {
    fn new(workers: usize, completed: BTreeMap<JobKey, ObjectRef>) -> Self {
        let cells: Vec<(i32, i32, &[u32])> =
            vec![(-1, 0, &[0, 1]), (-1, 1, &[1]), (0, 0, &[0]), (0, 1, &[]), (0, 2, &[2]), (3, 1, &[2])];
        let plan = plan_of_cells(&cells, 512, 3);
        let mut world = Self {
            state: State::new(7, Policy { forget_worker: Duration::from_secs(60), ..Policy::default() }),
            survey: plan.survey.clone(),
            now: Duration::ZERO,
            workers: Vec::new(),
            born: 0,
            reported: Vec::new(),
            root_reads: Vec::new(),
            booked: completed.clone(),
            failed: BTreeSet::new(),
            alarms: 0,
            memory: 4 << 30,
        };
        for _ in 0..workers {
            let worker = world.newborn();
            world.workers.push(worker);
        }
        let submission = Submission {
            survey: plan.survey.clone(),
            name: plan.name.clone(),
            plan: object("plan"),
            output: "file:///out/".into(),
            graph: Graph::new(&plan, 16),
            max_job_memory: 1 << 31,
            completed,
            priority: DEFAULT_PRIORITY,
            since: Attempt::default(),
            earlier: Earlier::default(),
        };
        world.happen(Event::Submit(Box::new(submission)), None);
        world
    }

    fn newborn(&mut self) -> SimulatedWorker {
        self.born += 1;
        SimulatedWorker { name: format!("worker-{}", self.born), ..SimulatedWorker::default() }
    }

    /// Steps, holds the state to its invariants, and plays the journal's and the reader's part.
    fn happen(&mut self, event: Event, listener: Option<usize>) {
        for effect in step(&mut self.state, event, self.now) {
            match effect {
                Effect::Record(Record::Completed { key, object, .. }) => {
                    assert!(!self.failed.contains(&key), "{key} had failed for good");
                    assert_eq!(self.booked.insert(key, object), None, "{key} is booked twice");
                }
                Effect::Record(Record::Failed { key, .. }) => {
                    assert!(!self.booked.contains_key(&key), "{key} was done");
                    assert!(self.failed.insert(key), "{key} fails for good twice");
                }
                Effect::Record(Record::Reopened { key, .. }) => {
                    assert!(self.booked.remove(&key).is_some(), "{key} was not done");
                }
                Effect::Record(_) | Effect::Changed(_) => {}
                Effect::Broken(broken) => panic!("{broken}"),
                Effect::ReadRoot { object, .. } => self.root_reads.push(object),
                Effect::Alarm { key, reported, .. } => {
                    assert_ne!(self.booked[&key].digest, reported);
                    self.alarms += 1;
                }
                Effect::Answer { worker, sequence, answer } => {
                    for assignment in &answer.assignments {
                        self.inputs_are_those_in_the_books(assignment);
                    }
                    let heard = listener
                        .and_then(|index| self.workers.get_mut(index))
                        .filter(|heard| heard.name == worker && heard.sequence == sequence);
                    if let Some(heard) = heard {
                        heard.completed.retain(|report| !answer.acknowledged.contains(&report.attempt));
                        heard.failed.retain(|report| !answer.acknowledged.contains(&report.attempt));
                        heard.running.retain(|running| !answer.revoked.contains(&running.attempt));
                        for assignment in answer.assignments {
                            if !heard.running.iter().any(|running| running.attempt == assignment.attempt) {
                                heard.running.push(assignment);
                            }
                        }
                    }
                }
            }
        }
        self.state.check().unwrap();
    }

    fn inputs_are_those_in_the_books(&self, assignment: &Assignment) {
        for input in &assignment.job.inputs {
            match &input.object {
                Some(object) => assert_eq!(self.booked.get(&input.from), Some(object)),
                None => assert!(self.failed.contains(&input.from), "{} misses {}", assignment.job.key, input.from),
            }
        }
    }

    fn call(&mut self, index: usize, slots: u32, is_lost: bool, draining: bool) {
        let worker = &mut self.workers[index];
        worker.sequence += 1;
        let poll = Poll {
            worker: worker.name.clone(),
            sequence: worker.sequence,
            memory_total: self.memory,
            memory_free: self.memory,
            slots,
            running: worker.running.iter().map(|running| (running.attempt, worker.sequence)).collect(),
            completed: worker.completed.clone(),
            failed: worker.failed.clone(),
            draining,
            wait: Duration::from_secs(3),
        };
        self.happen(Event::Poll(poll), (!is_lost).then_some(index));
    }

    fn apply(&mut self, happening: Happening) {
        let pick = |which: u8, of: usize| if of == 0 { None } else { Some(usize::from(which) % of) };
        match happening {
            Happening::Call { worker, slots, is_lost, drains } => {
                let index = usize::from(worker) % self.workers.len();
                self.call(index, u32::from(slots), is_lost, drains);
            }
            Happening::Done { worker, which, has_other_bytes } => {
                let index = usize::from(worker) % self.workers.len();
                let worker = &mut self.workers[index];
                let Some(at) = pick(which, worker.running.len()) else { return };
                let done = worker.running.remove(at);
                let content = format!("{}{}", done.job.key, if has_other_bytes { " other" } else { "" });
                let completion = Completion {
                    survey: done.survey,
                    key: done.job.key,
                    attempt: done.attempt,
                    object: object(&content),
                    wall: Duration::ZERO,
                };
                self.reported.push(completion.clone());
                worker.completed.push(completion);
            }
            Happening::Fails { worker, which, class } => {
                let index = usize::from(worker) % self.workers.len();
                let worker = &mut self.workers[index];
                let Some(at) = pick(which, worker.running.len()) else { return };
                let failed = worker.running.remove(at);
                worker.failed.push(Failure {
                    survey: failed.survey,
                    key: failed.job.key,
                    attempt: failed.attempt,
                    class: CLASSES[usize::from(class) % CLASSES.len()],
                    message: "it failed".into(),
                    damaged: vec![],
                });
            }
            Happening::Dies { worker } => {
                let index = usize::from(worker) % self.workers.len();
                let newborn = self.newborn();
                let dead = std::mem::replace(&mut self.workers[index], newborn);
                // It had committed what it did; nobody was told.
                self.reported.extend(dead.running.into_iter().map(|running| Completion {
                    survey: running.survey,
                    key: running.job.key,
                    attempt: running.attempt,
                    object: object(&running.job.key.to_string()),
                    wall: Duration::ZERO,
                }));
            }
            Happening::Repeats { which } => {
                let Some(at) = pick(which, self.reported.len()) else { return };
                let again = self.reported[at].clone();
                self.workers[0].completed.push(again);
                self.call(0, 0, false, false);
            }
            Happening::Reads { class } => {
                let Some(object) = self.root_reads.pop() else { return };
                let read = match class {
                    Some(class) => Err((CLASSES[usize::from(class) % CLASSES.len()], "unreadable".to_owned())),
                    None => Ok(self.closed_at()),
                };
                self.happen(Event::RootRead { survey: self.survey.clone(), object, read }, None);
            }
            Happening::Passes { seconds } => {
                self.now += Duration::from_secs(u64::from(seconds) / 4);
                self.happen(Event::Tick, None);
            }
        }
    }

    /// The first county has components in each tile that is done.
    fn closed_at(&self) -> BTreeMap<u32, Vec<ObjectRef>> {
        let tiles = self.booked.iter().filter(|(key, _)| matches!(key, JobKey::Detect(_)));
        BTreeMap::from([(0, tiles.map(|(_, object)| object.clone()).collect())])
    }

    fn phase(&self) -> Phase {
        self.state.survey(&self.survey).unwrap().phase()
    }

    /// From now on all goes well. Says whether the survey ends within a bound.
    fn ends_when_all_goes_well(&mut self) -> bool {
        for _ in 0..200 {
            if self.phase() != Phase::Running {
                return true;
            }
            self.now += Duration::from_secs(10);
            self.happen(Event::Tick, None);
            while !self.root_reads.is_empty() {
                self.apply(Happening::Reads { class: None });
            }
            for index in 0..self.workers.len() {
                self.call(index, 4, false, false);
                while !self.workers[index].running.is_empty() {
                    self.apply(Happening::Done { worker: index as u8, which: 0, has_other_bytes: false });
                }
                self.call(index, 0, false, false);
            }
        }
        false
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_the_survey_ends_and_no_job_is_booked_twice(
        workers in 1_usize..4,
        happenings in prop::collection::vec(happening(), 0..250),
    ) {
        let mut world = World::new(workers, BTreeMap::new());
        for happening in happenings {
            world.apply(happening);
        }
        prop_assert!(world.ends_when_all_goes_well());
        let survey = world.state.survey(&world.survey).unwrap();
        prop_assert_eq!(survey.tally().alarms, world.alarms);
        for key in survey.graph().numbers().filter_map(|number| survey.graph().key(number)) {
            // Each job is in the books exactly once, done or failed.
            prop_assert!(world.booked.contains_key(&key) != world.failed.contains(&key));
            prop_assert_eq!(survey.object(key), world.booked.get(&key).cloned());
        }
    }

    #[test]
    fn a_survey_ends_even_where_every_job_fails_in_every_way(classes in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut world = World::new(2, BTreeMap::new());
        let mut classes = classes.into_iter().cycle();
        let mut rounds = 0;
        while world.phase() == Phase::Running {
            rounds += 1;
            prop_assert!(rounds < 2000, "it does not end");
            world.now += Duration::from_secs(7);
            world.happen(Event::Tick, None);
            while !world.root_reads.is_empty() {
                world.apply(Happening::Reads { class: classes.next() });
            }
            for worker in 0..2 {
                world.call(usize::from(worker), 3, false, false);
                while !world.workers[usize::from(worker)].running.is_empty() {
                    world.apply(Happening::Fails { worker, which: 0, class: classes.next().unwrap() });
                }
                world.call(usize::from(worker), 0, false, false);
            }
        }
        prop_assert_eq!(world.phase(), Phase::Ended);
    }

    #[test]
    fn what_was_done_is_not_done_again_after_a_restart(kept in prop::collection::vec(any::<bool>(), 64)) {
        let mut first = World::new(2, BTreeMap::new());
        prop_assert!(first.ends_when_all_goes_well());
        let completed: BTreeMap<JobKey, ObjectRef> =
            first.booked.iter().zip(kept.iter().cycle()).filter(|(_, kept)| **kept).map(|((&key, object), _)| (key, object.clone())).collect();
        let mut second = World::new(1, completed.clone());
        prop_assert!(second.ends_when_all_goes_well());
        prop_assert_eq!(&second.booked, &first.booked);
        // `booked` refuses a second booking, so all that ran is what had been lost.
        let ran = second.reported.len();
        prop_assert_eq!(ran, first.booked.len() - completed.len());
    }

    #[test]
    fn a_cancelled_survey_gives_out_nothing_and_stays_cancelled(
        before in prop::collection::vec(happening(), 0..80),
        after in prop::collection::vec(happening(), 0..40),
    ) {
        let mut world = World::new(2, BTreeMap::new());
        for happening in before {
            world.apply(happening);
        }
        prop_assume!(world.phase() == Phase::Running);
        world.happen(Event::Cancel(world.survey.clone()), None);
        let booked = world.booked.clone();
        for happening in after {
            world.apply(happening);
        }
        for index in 0..2 {
            world.call(index, 4, false, false);
            prop_assert!(world.workers[index].running.is_empty());
        }
        prop_assert_eq!(world.phase(), Phase::Cancelled);
        prop_assert_eq!(world.booked, booked);
    }
}

#[test]
fn the_simulation_reaches_what_it_is_there_for() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut alarms, mut expired, mut failed_attempts, mut failed_jobs, mut repaired, mut ended) = (0, 0, 0, 0, 0, 0);
    for _ in 0..200 {
        let happenings = prop::collection::vec(happening(), 150..250).new_tree(&mut runner).unwrap().current();
        let mut world = World::new(2, BTreeMap::new());
        for happening in happenings {
            world.apply(happening);
        }
        let survey = world.state.survey(&world.survey).unwrap();
        ended += u32::from(survey.phase() == Phase::Ended);
        alarms += survey.tally().alarms;
        expired += survey.tally().leases_expired;
        failed_attempts += survey.tally().attempts_failed;
        failed_jobs += world.failed.len();
        repaired += survey.repaired();
    }
    let reached = format!(
        "{alarms} alarms, {expired} expired, {failed_attempts} failed attempts, {failed_jobs} failed jobs, {repaired} repairs, {ended} ended"
    );
    assert!(alarms > 20 && expired > 200 && failed_attempts > 200 && failed_jobs > 100 && repaired > 5, "{reached}");
    // Neither all runs nor none: what happens after the end is tried too.
    assert!((10..190).contains(&ended), "{reached}");
}
