//! One fault at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use survey::failure::FailureClass;
use survey::job::JobKey;

use super::{Happening, World};
use crate::schedule::event::{
    Answer, Attempt, Completion, DEFAULT_PRIORITY, Earlier, Effect, Event, Failure, Poll, Submission,
};
use crate::schedule::graph::Graph;
use crate::schedule::policy::Policy;
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;
use crate::testing::{object, plan_of_cells};

fn leased(world: &mut World, worker: usize) -> Vec<String> {
    world.call(worker, 9, false, false);
    world.workers[worker].running.iter().map(|running| running.job.key.to_string()).collect()
}

#[test]
fn a_silent_worker_loses_its_jobs_and_another_gets_them() {
    let mut world = World::new(2, BTreeMap::new());
    let first = leased(&mut world, 0);
    assert!(first.contains(&"calibrate/0".to_owned()));
    assert!(leased(&mut world, 1).is_empty());
    world.now += Policy::default().lease;
    world.happen(Event::Tick, None);
    let mut second = leased(&mut world, 1);
    second.sort();
    let mut expected = first;
    expected.sort();
    assert_eq!(second, expected);
    // The first worker is told that its attempts are void.
    world.call(0, 0, false, false);
    assert!(world.workers[0].running.is_empty());
}

#[test]
fn a_heartbeat_without_progress_does_not_hold_a_lease_for_ever() {
    let mut world = World::new(1, BTreeMap::new());
    leased(&mut world, 0);
    let held = world.workers[0].running.clone();
    let policy = Policy::default();
    let calls = policy.stall.as_secs() / 10;
    for sequence in (world.workers[0].sequence + 1..).take(calls as usize) {
        world.now += Duration::from_secs(10);
        let poll = Poll {
            worker: world.workers[0].name.clone(),
            sequence,
            memory_total: 0,
            memory_free: 0,
            slots: 0,
            running: held.iter().map(|running| (running.attempt, 0)).collect(),
            completed: vec![],
            failed: vec![],
            draining: false,
            wait: Duration::ZERO,
        };
        world.happen(Event::Poll(poll), None);
    }
    let survey = world.state.survey(&world.survey).unwrap();
    assert_eq!(survey.tally().leases_expired as usize, held.len());
}

#[test]
fn an_answer_that_was_lost_is_said_again() {
    let mut world = World::new(1, BTreeMap::new());
    world.call(0, 2, true, false);
    assert!(world.workers[0].running.is_empty());
    world.call(0, 2, false, false);
    assert_eq!(world.workers[0].running.len(), 2);
    let counters: BTreeSet<u64> = world.workers[0].running.iter().map(|running| running.attempt.counter).collect();
    assert_eq!(counters, BTreeSet::from([1, 2]), "the same attempts, no new ones");
}

#[test]
fn memory_that_did_not_suffice_is_doubled_and_the_attempt_not_burnt() {
    let mut world = World::new(1, BTreeMap::new());
    world.call(0, 1, false, false);
    let before = world.workers[0].running[0].job.memory;
    world.apply(Happening::Fails { worker: 0, which: 0, class: 1 });
    world.call(0, 0, false, false);
    let key = JobKey::Calibrate(0);
    leased(&mut world, 0);
    let again = world.workers[0].running.iter().find(|running| running.job.key == key).unwrap();
    assert_eq!(again.job.memory, before * 2);
}

#[test]
fn a_poison_job_is_tried_on_other_workers_and_given_up_after_three() {
    let mut world = World::new(3, BTreeMap::new());
    for index in 0..3 {
        world.call(index, 0, false, false);
    }
    let poison = JobKey::Calibrate(0);
    let mut tried = Vec::new();
    for round in 0..9 {
        let index = round % 3;
        leased(&mut world, index);
        let worker = &mut world.workers[index];
        if let Some(at) = worker.running.iter().position(|running| running.job.key == poison) {
            tried.push(index);
            world.apply(Happening::Fails { worker: index as u8, which: at as u8, class: 4 });
            world.call(index, 0, false, false);
            // Asked again at once, the same worker does not get it.
            assert!(!leased(&mut world, index).contains(&poison.to_string()));
        }
    }
    assert_eq!(tried, [0, 1, 2]);
    assert!(world.failed.contains(&poison));
    assert!(world.ends_when_all_goes_well());
    assert!(world.failed.len() == 1, "what depends on it goes on without it");
}

/// Fails one job of a worker, by its key. False where the worker does not have it.
fn fail(world: &mut World, worker: usize, key: JobKey, class: u8) -> bool {
    let at = world.workers[worker].running.iter().position(|running| running.job.key == key);
    let Some(at) = at else { return false };
    world.apply(Happening::Fails { worker: worker as u8, which: at as u8, class });
    world.call(worker, 0, false, false);
    true
}

/// Lets time pass in steps that are shorter than a lease, so that nobody takes it for sleep.
fn pass(world: &mut World, seconds: u64) {
    for _ in 0..seconds.div_ceil(20) {
        world.now += Duration::from_secs(20);
        world.happen(Event::Tick, None);
    }
}

const POISON: u8 = 4;
const FATAL: u8 = 5;

#[test]
fn where_there_is_one_worker_a_poison_job_is_given_up_after_three_attempts() {
    for class in [POISON, FATAL] {
        let mut world = World::new(1, BTreeMap::new());
        let mut tries = 0;
        while !world.failed.contains(&JobKey::Calibrate(0)) {
            leased(&mut world, 0);
            assert!(fail(&mut world, 0, JobKey::Calibrate(0), class));
            tries += 1;
        }
        assert_eq!(tries, 3);
        assert!(world.ends_when_all_goes_well());
    }
}

#[test]
fn a_poison_job_is_not_kept_for_ever_for_a_worker_that_does_not_ask() {
    // The second worker lives and never has room.
    let mut world = World::new(2, BTreeMap::new());
    let mut tries = 0;
    for _ in 0..40 {
        world.call(1, 0, false, false);
        leased(&mut world, 0);
        tries += u32::from(fail(&mut world, 0, JobKey::Calibrate(0), POISON));
        pass(&mut world, 20);
    }
    assert!(world.failed.contains(&JobKey::Calibrate(0)));
    assert_eq!(tries, 6, "twice three attempts at most");
}

#[test]
fn a_job_whose_workers_all_fall_silent_is_given_up() {
    let mut world = World::new(1, BTreeMap::new());
    let mut lost = 0;
    while !world.failed.contains(&JobKey::Calibrate(0)) {
        leased(&mut world, 0);
        while let Some(at) = world.workers[0].running.iter().position(|running| running.job.key != JobKey::Calibrate(0))
        {
            world.apply(Happening::Done { worker: 0, which: at as u8, has_other_bytes: false });
            world.call(0, 9, false, false);
        }
        world.apply(Happening::Dies { worker: 0 });
        pass(&mut world, 40);
        lost += 1;
        assert!(lost < 20);
    }
    assert_eq!(lost, Policy::default().losses);
    assert!(world.ends_when_all_goes_well());
    assert_eq!(world.failed, BTreeSet::from([JobKey::Calibrate(0)]));
}

#[test]
fn a_job_is_not_to_blame_for_workers_that_are_lost_over_others_too() {
    let mut world = World::new(2, BTreeMap::new());
    let mut lost = 0;
    while world.failed.is_empty() {
        // Each worker holds one job when it is switched off.
        for worker in 0..2 {
            world.call(worker, 1, false, false);
            assert_eq!(world.workers[worker].running.len(), 1);
        }
        world.apply(Happening::Dies { worker: 0 });
        world.apply(Happening::Dies { worker: 1 });
        pass(&mut world, 40);
        lost += 1;
        assert!(lost < 40);
    }
    assert!(lost >= Policy::default().most_losses, "{lost}");
}

#[test]
fn a_worker_on_which_everything_fails_does_not_draw_the_jobs_to_itself() {
    let mut world = World::new(2, BTreeMap::new());
    world.call(1, 0, false, false);
    assert_eq!(leased(&mut world, 0).len(), 3);
    for pair in 0..3 {
        assert!(fail(&mut world, 0, JobKey::Calibrate(pair), FATAL));
    }
    assert_eq!(leased(&mut world, 1).len(), 3);
    while !world.workers[1].running.is_empty() {
        world.apply(Happening::Done { worker: 1, which: 0, has_other_bytes: false });
    }
    world.call(1, 0, false, false);
    // There are tiles to do, and none has failed anywhere.
    assert!(world.state.survey(&world.survey).unwrap().ready()[1] > 0);
    assert!(leased(&mut world, 0).is_empty());
    pass(&mut world, 20);
    world.call(1, 0, false, false);
    assert!(!leased(&mut world, 0).is_empty(), "it is tried again");
}

#[test]
fn a_job_that_fits_no_worker_fails_after_a_while_and_says_what_helps() {
    let mut world = World::new(1, BTreeMap::new());
    world.memory = 10 << 20;
    let policy = Policy::default();
    for _ in 0..policy.unfit.as_secs() / 10 + 10 {
        world.now += Duration::from_secs(10);
        assert!(leased(&mut world, 0).is_empty());
        world.happen(Event::Tick, None);
    }
    assert_eq!(world.phase(), Phase::Ended);
    let failed = world.state.survey(&world.survey).unwrap().failed().next().unwrap();
    assert_eq!((failed.key, failed.class), (JobKey::Calibrate(0), FailureClass::OutOfMemory));
    assert!(failed.message.contains("no worker has more than 10 MiB: use smaller tiles"), "{}", failed.message);
}

#[test]
fn a_survey_without_any_worker_waits_for_a_day_and_then_ends() {
    let mut world = World::new(1, BTreeMap::new());
    pass(&mut world, 23 * 3600);
    assert_eq!(world.phase(), Phase::Running);
    pass(&mut world, 3600 + 20);
    assert_eq!(world.phase(), Phase::Ended);
    let failed = world.state.survey(&world.survey).unwrap().failed().next().unwrap();
    assert!(failed.message.contains("there was no worker for 24 h"), "{}", failed.message);
}

#[test]
fn a_coordinator_that_slept_does_not_take_its_workers_for_silent() {
    let mut world = World::new(1, BTreeMap::new());
    let held = leased(&mut world, 0);
    world.now += Duration::from_secs(3600);
    world.happen(Event::Tick, None);
    assert_eq!(world.state.survey(&world.survey).unwrap().tally().leases_expired, 0);
    world.call(0, 0, false, false);
    assert_eq!(world.workers[0].running.len(), held.len());
    // And yet it notices when they are.
    pass(&mut world, 40);
    assert_eq!(world.state.survey(&world.survey).unwrap().tally().leases_expired as usize, held.len());
}

#[test]
fn a_late_completion_of_a_job_that_is_open_counts_whatever_its_attempt() {
    let mut world = World::new(2, BTreeMap::new());
    leased(&mut world, 0);
    world.apply(Happening::Dies { worker: 0 });
    pass(&mut world, 40);
    assert!(world.booked.is_empty());
    let reported = world.reported.len();
    for which in 0..reported {
        world.apply(Happening::Repeats { which: which as u8 });
    }
    assert_eq!(world.booked.len(), reported);
    assert!(!leased(&mut world, 1).iter().any(|key| key.starts_with("calibrate")), "nobody does them again");
}

#[test]
fn other_bytes_for_a_job_that_is_done_raise_the_alarm_and_change_nothing() {
    let mut world = World::new(1, BTreeMap::new());
    leased(&mut world, 0);
    world.apply(Happening::Done { worker: 0, which: 0, has_other_bytes: false });
    world.call(0, 0, false, false);
    let booked = world.booked.clone();
    for (bytes, alarms) in [("calibrate/0", 0), ("something else", 1)] {
        let mut again = world.reported[0].clone();
        again.object = object(bytes);
        world.workers[0].completed.push(again);
        world.call(0, 0, false, false);
        assert!(world.workers[0].completed.is_empty(), "a repetition is acknowledged");
        assert_eq!((world.alarms, &world.booked), (alarms, &booked));
    }
}

#[test]
fn a_job_that_goes_on_for_ever_is_given_up_whatever_its_progress() {
    let mut world = World::new(1, BTreeMap::new());
    let held = leased(&mut world, 0).len();
    // The sequence of the call is its progress.
    for _ in 0..Policy::default().longest_attempt.as_secs() / 10 + 2 {
        world.now += Duration::from_secs(10);
        world.call(0, 0, false, false);
    }
    assert_eq!(world.state.survey(&world.survey).unwrap().tally().leases_expired as usize, held);
    assert!(world.workers[0].running.is_empty(), "it is told to stop them");
}

#[test]
fn what_was_counted_before_a_restart_is_counted_after_it() {
    let plan = plan_of_cells(&[(0, 0, &[0])], 512, 1);
    let poison = JobKey::Calibrate(0);
    let mut submission = submission_of(&plan);
    submission.earlier.attempts_failed = vec![(poison, FailureClass::Poison); 2];
    let mut desk = Desk::new(Policy::default(), submission);
    let given = desk.poll(1 << 40, 1, vec![], vec![]).assignments;
    let failure = Failure {
        survey: plan.survey.clone(),
        key: poison,
        attempt: given[0].attempt,
        class: FailureClass::Poison,
        message: "it panicked".into(),
        damaged: vec![],
    };
    desk.poll(1 << 40, 0, vec![], vec![failure]);
    let failed = desk.state.survey(&plan.survey).unwrap().failed().next().unwrap();
    assert!(failed.message.contains("given up after 3 attempts on 3 workers"), "{}", failed.message);
}

/// One worker and a coordinator across a desk.
struct Desk {
    state: State,
    now: Duration,
    sequence: u64,
}

fn submission_of(plan: &survey::plan::SurveyPlan) -> Submission {
    Submission {
        survey: plan.survey.clone(),
        name: plan.name.clone(),
        plan: object("plan"),
        output: "file:///out/".into(),
        graph: Graph::new(plan, 16),
        max_job_memory: 1 << 40,
        completed: BTreeMap::new(),
        priority: DEFAULT_PRIORITY,
        since: Attempt::default(),
        earlier: Earlier::default(),
    }
}

impl Desk {
    fn new(policy: Policy, submission: Submission) -> Self {
        let mut state = State::new(1, policy);
        let _ = step(&mut state, Event::Submit(Box::new(submission)), Duration::ZERO);
        Self { state, now: Duration::ZERO, sequence: 0 }
    }

    fn poll(&mut self, memory: u64, slots: u32, completed: Vec<Completion>, failed: Vec<Failure>) -> Answer {
        self.sequence += 1;
        self.now += Duration::from_secs(1);
        let poll = Poll {
            worker: "worker".into(),
            sequence: self.sequence,
            memory_total: memory,
            memory_free: memory,
            slots,
            running: vec![],
            completed,
            failed,
            draining: false,
            wait: Duration::ZERO,
        };
        let effects = step(&mut self.state, Event::Poll(poll), self.now);
        self.state.check().unwrap();
        let mut answers = effects.into_iter().filter_map(|effect| match effect {
            Effect::Answer { answer, .. } => Some(answer),
            _ => None,
        });
        answers.next_back().unwrap()
    }
}

#[test]
fn short_jobs_come_in_batches_of_neighbours_and_suspects_alone() {
    let cells: Vec<(i32, i32, &[u32])> =
        (0..32).flat_map(|row| (0..32).map(move |col| (row, col, &[0_u32][..]))).collect();
    let plan = plan_of_cells(&cells, 512, 1);
    let mut desk = Desk::new(Policy::default(), submission_of(&plan));
    let done = |assignment: &crate::schedule::event::Assignment| Completion {
        survey: plan.survey.clone(),
        key: assignment.job.key,
        attempt: assignment.attempt,
        object: object(&assignment.job.key.to_string()),
        wall: Duration::ZERO,
    };
    let first = desk.poll(1 << 30, 1, vec![], vec![]).assignments;
    assert_eq!(first.len(), 1, "a calibration is seconds of work by itself");
    // One job fits the memory at a time: those of a batch come one after the other.
    let batch = desk.poll(200 << 20, 1, first.iter().map(done).collect(), vec![]).assignments;
    let graph = Graph::new(&plan, 16);
    let cost = |key| graph.job(graph.number(key).unwrap()).unwrap().cost;
    let work: u64 = batch.iter().map(|assignment| cost(assignment.job.key)).sum();
    assert!((1500..=2000).contains(&work), "{work} ms");
    for assignment in &batch {
        let JobKey::Detect(tile) = assignment.job.key else { panic!("{}", assignment.job.key) };
        assert!((0..2).contains(&tile.y) && (0..16).contains(&tile.x), "{tile:?} is far from the others");
        assert!(assignment.job.memory <= 200 << 20);
    }
    let failure = Failure {
        survey: plan.survey.clone(),
        key: batch[0].job.key,
        attempt: batch[0].attempt,
        class: FailureClass::Poison,
        message: "it panicked".into(),
        damaged: vec![],
    };
    let reports = batch.iter().skip(1).map(done).collect();
    let mut next = desk.poll(200 << 20, 1, reports, vec![failure]).assignments;
    while next.iter().any(|assignment| matches!(assignment.job.key, JobKey::Merge(_))) {
        next = desk.poll(200 << 20, 1, next.iter().map(done).collect(), vec![]).assignments;
    }
    let keys: Vec<JobKey> = next.iter().map(|assignment| assignment.job.key).collect();
    assert_eq!(keys, [batch[0].job.key], "what may be dangerous runs by itself");
}

#[test]
fn a_worker_that_waits_is_told_to_leave_at_once() {
    let mut world = World::new(2, BTreeMap::new());
    leased(&mut world, 0);
    // Nothing is left: the second worker's call is held.
    assert!(leased(&mut world, 1).is_empty());
    let name = world.workers[1].name.clone();
    let effects = step(&mut world.state, Event::Drain(name.clone()), world.now);
    let told = effects.iter().any(
        |effect| matches!(effect, Effect::Answer { worker, answer, .. } if *worker == name && answer.drain && answer.assignments.is_empty()),
    );
    assert!(told, "{effects:?}");
    world.workers[0].running.clear();
    pass(&mut world, 40);
    assert!(leased(&mut world, 1).is_empty(), "it gets no more work");
}

#[test]
fn a_job_whose_object_is_lost_is_done_again_and_what_reads_it_waits() {
    let mut world = World::new(1, BTreeMap::new());
    leased(&mut world, 0);
    while !world.workers[0].running.is_empty() {
        world.apply(Happening::Done { worker: 0, which: 0, has_other_bytes: false });
    }
    let tiles = leased(&mut world, 0);
    assert!(tiles.iter().any(|key| key.starts_with("detect")));
    let damaged = vec![(JobKey::Calibrate(0), world.booked[&JobKey::Calibrate(0)].clone())];
    world.happen(Event::Damaged { survey: world.survey.clone(), damaged: damaged.clone() }, None);
    assert!(!world.booked.contains_key(&JobKey::Calibrate(0)));
    // What reads it is revoked, and nothing else.
    world.call(0, 0, false, false);
    let left: Vec<JobKey> = world.workers[0].running.iter().map(|running| running.job.key).collect();
    let graph = world.state.survey(&world.survey).unwrap().graph().clone();
    let reads = |key: &JobKey| {
        graph.inputs(graph.number(*key).unwrap()).any(|input| graph.key(input) == Some(JobKey::Calibrate(0)))
    };
    assert!(left.len() < tiles.len() && !left.iter().any(reads), "{left:?}");
    assert!(leased(&mut world, 0).contains(&"calibrate/0".to_owned()));
    assert!(world.ends_when_all_goes_well());
    assert!(world.failed.is_empty());
    // It is known by its bytes: the same report again finds the new object, which has the same.
    world.happen(Event::Damaged { survey: world.survey.clone(), damaged }, None);
    assert_eq!(world.phase(), Phase::Running, "a survey that has ended goes on");
    assert!(world.ends_when_all_goes_well());
}

#[test]
fn a_survey_that_is_forgotten_leaves_nothing_behind_and_can_come_again() {
    let mut world = World::new(1, BTreeMap::new());
    assert!(world.ends_when_all_goes_well());
    world.state.forget(&world.survey);
    world.state.check().unwrap();
    assert!(world.state.survey(&world.survey).is_none());
    assert_eq!(world.state.surveys().count(), 0);
    let plan = plan_of_cells(&[(0, 0, &[0])], 512, 1);
    let effects = step(&mut world.state, Event::Submit(Box::new(submission_of(&plan))), world.now);
    assert!(!effects.is_empty());
    assert_eq!(world.phase(), Phase::Running);
    // A survey that runs is not forgotten.
    world.state.forget(&world.survey);
    assert_eq!(world.phase(), Phase::Running);
    assert_eq!(leased(&mut world, 0), ["calibrate/0"]);
}

#[test]
fn what_was_computed_from_a_gap_does_not_count_once_the_survey_is_submitted_again() {
    let plan = plan_of_cells(&[(0, 0, &[0])], 512, 1);
    let (pair, tile) = (JobKey::Calibrate(0), JobKey::Detect(survey::grid::Block { level: 0, y: 0, x: 0 }));
    let mut desk = Desk::new(Policy::default(), submission_of(&plan));
    let completion = |assignment: &crate::schedule::event::Assignment, content: &str| Completion {
        survey: plan.survey.clone(),
        key: assignment.job.key,
        attempt: assignment.attempt,
        object: object(content),
        wall: Duration::ZERO,
    };
    let calibration = desk.poll(1 << 40, 1, vec![], vec![]).assignments;
    let failure = Failure {
        survey: plan.survey.clone(),
        key: pair,
        attempt: calibration[0].attempt,
        class: FailureClass::BadInput,
        message: "the scenes cannot be compared".into(),
        damaged: vec![],
    };
    let without = desk.poll(1 << 40, 1, vec![], vec![failure]).assignments;
    assert_eq!((without[0].job.key, without[0].job.inputs[0].object.is_none()), (tile, true), "it goes on with a gap");
    let late = completion(&without[0], "computed without the calibration");

    // The survey is stopped before that is reported, and submitted again: what failed may succeed now.
    let _ = step(&mut desk.state, Event::Cancel(plan.survey.clone()), desk.now);
    let again = Submission { since: desk.state.next_attempt(), ..submission_of(&plan) };
    let _ = step(&mut desk.state, Event::Submit(Box::new(again)), desk.now);
    let calibration = desk.poll(1 << 40, 1, vec![], vec![]).assignments;
    assert_eq!(calibration[0].job.key, pair);
    let with = desk.poll(1 << 40, 1, vec![completion(&calibration[0], "a calibration")], vec![]).assignments;
    assert_eq!((with[0].job.key, with[0].job.inputs[0].object.is_some()), (tile, true));

    let booked = |desk: &Desk| desk.state.survey(&plan.survey).unwrap().object(tile);
    let answer = desk.poll(1 << 40, 0, vec![late.clone()], vec![]);
    assert!(answer.acknowledged.contains(&late.attempt), "its worker need not say it again");
    assert_eq!(booked(&desk), None);
    let sound = completion(&with[0], "computed with the calibration");
    desk.poll(1 << 40, 0, vec![sound.clone()], vec![]);
    desk.poll(1 << 40, 0, vec![late], vec![]);
    assert_eq!(booked(&desk), Some(sound.object));
    let alarms = desk.state.survey(&plan.survey).unwrap().tally().alarms;
    assert_eq!(alarms, 0, "other inputs make other bytes: no machine is broken");
}
