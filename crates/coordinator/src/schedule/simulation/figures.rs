//! What scheduling costs. Not part of an ordinary run, since they take time and memory:
//! `cargo test --release -p groundbreak-coordinator --lib figures -- --ignored --nocapture --test-threads 1`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use groundbreak_tests::figures::{figure, grouped};
use survey::ids::Digest;
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;

use crate::journal::Record;
use crate::schedule::event::{
    Assignment, Attempt, Completion, DEFAULT_PRIORITY, Earlier, Effect, Event, Poll, Submission,
};
use crate::schedule::graph::Graph;
use crate::schedule::policy::Policy;
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;
use crate::testing::{object, plan_of_cells};

/// A plan of `side` × `side` tiles of one cell, with 64 pairs in bands.
fn plan(side: i32) -> SurveyPlan {
    let sets: Vec<[u32; 1]> = (0..64).map(|pair| [pair]).collect();
    let cells: Vec<(i32, i32, &[u32])> = (0..side)
        .flat_map(|row| {
            let set = &sets[(i64::from(row) * 64 / i64::from(side)) as usize];
            (0..side).map(move |col| (row, col, &set[..]))
        })
        .collect();
    plan_of_cells(&cells, 512, 250)
}

fn submission(plan: &SurveyPlan, graph: Graph) -> Submission {
    Submission {
        survey: plan.survey.clone(),
        name: plan.name.clone(),
        plan: object("plan"),
        output: "s3://bucket/prefix/".into(),
        graph,
        max_job_memory: 1 << 40,
        completed: BTreeMap::new(),
        priority: DEFAULT_PRIORITY,
        since: Attempt::default(),
        earlier: Earlier::default(),
    }
}

/// The object under the key that a worker commits it with.
fn committed(key: JobKey) -> ObjectRef {
    let content = format!("{key}");
    let digest = Digest::of(content.as_bytes());
    let short = digest.short();
    let key = match key {
        JobKey::Detect(tile) => format!("stages/findings/{}/{}.{short}.pb", tile.x, tile.y),
        JobKey::Merge(block) => format!("stages/merged/{}/{}/{}.{short}.pb", block.level, block.x, block.y),
        JobKey::Calibrate(pair) => format!("stages/calibrations/pair-{pair}.{short}.pb"),
        JobKey::Assemble(county) => format!("stages/counties/{county}.{short}.pb"),
    };
    ObjectRef { key, digest, length: 1000 }
}

#[derive(Default)]
struct Hand {
    name: String,
    sequence: u64,
    held: Vec<Assignment>,
}

/// Workers that do each job at once, all of them in turn. Returns the steps taken, how many jobs were booked, and the
/// time of a core that the steps took.
fn survey(state: &mut State, hands: usize, slots: u32, submission: Submission) -> (u64, u64, Duration) {
    let id = submission.survey.clone();
    let mut hands: Vec<Hand> =
        (0..hands).map(|index| Hand { name: format!("worker-{index}"), ..Hand::default() }).collect();
    let (mut steps, mut booked, mut inside) = (0, 0, Duration::ZERO);
    let mut now = Duration::ZERO;
    let _ = step(state, Event::Submit(Box::new(submission)), now);
    while state.survey(&id).unwrap().phase() == Phase::Running {
        let polls: Vec<Poll> = hands.iter_mut().map(|hand| hand.poll(slots)).collect();
        let mut effects = Vec::with_capacity(polls.len());
        let began = core_time();
        for poll in polls {
            now += Duration::from_millis(2);
            effects.push(step(state, Event::Poll(poll), now));
        }
        effects.push(step(state, Event::Tick, now));
        inside += core_time() - began;
        steps += effects.len() as u64;
        let mut roots = Vec::new();
        for (at, effect) in
            effects.into_iter().enumerate().flat_map(|(at, of)| of.into_iter().map(move |one| (at, one)))
        {
            match effect {
                Effect::Answer { answer, .. } => hands[at].held = answer.assignments,
                Effect::Record(Record::Completed { .. }) => booked += 1,
                Effect::ReadRoot { survey, object } => roots.push((survey, object)),
                Effect::Broken(broken) => panic!("{broken}"),
                _ => {}
            }
        }
        for (survey, object) in roots {
            let _ = step(state, Event::RootRead { survey, object, read: Ok(BTreeMap::new()) }, now);
        }
    }
    (steps, booked, inside)
}

impl Hand {
    fn poll(&mut self, slots: u32) -> Poll {
        self.sequence += 1;
        let completed = self.held.drain(..).map(|done| Completion {
            survey: done.survey,
            key: done.job.key,
            attempt: done.attempt,
            object: committed(done.job.key),
            wall: Duration::from_millis(90),
        });
        Poll {
            worker: self.name.clone(),
            sequence: self.sequence,
            memory_total: 1 << 40,
            memory_free: 1 << 40,
            slots,
            running: Vec::<(Attempt, u64)>::new(),
            completed: completed.collect(),
            failed: vec![],
            draining: false,
            wait: Duration::ZERO,
        }
    }
}

/// The time that this thread has spent on a core: what else the machine does does not count.
fn core_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// The most memory that this process has held, bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "a figure"]
fn steps_a_second_on_one_core() {
    let plan = plan(700);
    // One job at a time is the dearest way to hand them out.
    for (slots, batch_jobs) in [(1, 1), (2, 64)] {
        let mut state = State::new(1, Policy { batch_jobs, ..Policy::default() });
        let (steps, booked, inside) = survey(&mut state, 1000, slots, submission(&plan, Graph::new(&plan, 16)));
        let seconds = inside.as_secs_f64();
        let (rate, jobs) = (steps as f64 / seconds, booked as f64 / seconds);
        let asked = if batch_jobs > 1 { "≥ 100,000 jobs/s" } else { "≥ 100,000 steps/s" };
        figure(
            &format!("scheduling on one core, batches of up to {batch_jobs}: {steps} steps, {booked} jobs"),
            asked,
            &format!("{} steps/s, {} jobs/s", grouped(rate), grouped(jobs)),
        );
        assert!(rate >= 100_000.0 || batch_jobs > 1, "{rate}");
        assert!(jobs >= 100_000.0, "{jobs}");
    }
}

#[test]
#[ignore = "a figure"]
fn ten_million_jobs_in_less_than_two_gibibytes() {
    #[allow(clippy::disallowed_methods, reason = "a figure is a time")]
    let began = Instant::now();
    let plan = plan(2739);
    let graph = Graph::new(&plan, 16);
    let jobs = graph.len() as u64;
    println!("{jobs} jobs planned in {:.1} s, {} MiB so far", began.elapsed().as_secs_f64(), peak_memory() >> 20);
    let submission = submission(&plan, graph);
    drop(plan);
    let mut state = State::new(1, Policy::default());
    let (steps, booked, inside) = survey(&mut state, 1000, 2, submission);
    let peak = peak_memory();
    let (all, inside) = (began.elapsed().as_secs_f64(), inside.as_secs_f64());
    figure(
        &format!("{} jobs planned, leased and completed in {steps} steps", grouped(jobs as f64)),
        "< 2 GiB",
        &format!("{} MiB at most; {inside:.0} s of a core in steps, {all:.0} s in all", peak >> 20),
    );
    assert!(jobs >= 10_000_000);
    assert_eq!(booked, jobs);
    assert!(peak < 2 << 30, "{peak}");
}
