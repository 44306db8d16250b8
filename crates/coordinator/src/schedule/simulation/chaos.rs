//! A million steps of everything at once: calls and answers that are lost, late, doubled and out of order; workers that
//! die, hang, come back from the dead, are cut off or leave; jobs that fail in every way; several surveys that are
//! submitted, cancelled and submitted again; clocks that jump; and a coordinator that is killed before, between and after
//! the records of a step, and followed by one that knows what was durable and nothing else.
//!
//! After every step the invariants are checked in full, and against what the journal says. Each run is a function of its
//! seed, which a failure names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::{Digest, SurveyId};
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;

use super::CLASSES;
use crate::journal::Record;
use crate::schedule::event::{
    Answer, Assignment, Attempt, Completion, Earlier, Effect, Event, Failure, Poll, Submission,
};
use crate::schedule::graph::Graph;
use crate::schedule::policy::{Policy, mix};
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;
use crate::testing::{object, plan_of_cells};

/// Steps that all runs take together, at least, where `GROUNDBREAK_STEPS` says no other number (`make chaos`).
const STEPS: u64 = 1_000_000;
/// Happenings of one run.
const HAPPENINGS: u32 = 3000;
/// Surveys of one run.
const SURVEYS: u32 = 8;

/// Numbers that look random and follow from a seed.
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % bound.max(1) as u64) as usize
    }

    fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }
}

/// How often each fault has fired.
#[derive(Default, Debug)]
struct Faults {
    lost: u64,
    doubled: u64,
    overtaken: u64,
    crashes_before_records: u64,
    crashes_between_records: u64,
    crashes_after_records: u64,
    deaths: u64,
    returns: u64,
    cuts: u64,
    jumps: u64,
    drains: u64,
    left: u64,
    cancelled: u64,
    submitted_again: u64,
    repeated: u64,
    late_counted: u64,
    /// Completions from before a survey was submitted again, of jobs that are open.
    fenced: u64,
    /// Jobs booked that read less than all their inputs.
    made_of_gaps: u64,
    other_bytes: u64,
    alarms: u64,
    expired: u64,
    speculations: u64,
    quarantined: u64,
    gaps: u64,
    damaged: u64,
    reopened: u64,
    ended: u64,
    steps: u64,
}

enum Message {
    Call(Poll),
    Answer { worker: String, sequence: u64, answer: Answer },
}

#[derive(Default, Clone)]
struct Member {
    name: String,
    sequence: u64,
    /// A call is under way.
    calls: bool,
    /// Nothing that it says arrives, and nothing that is said to it.
    is_cut: bool,
    running: Vec<(Assignment, u64)>,
    completed: Vec<Completion>,
    failed: Vec<Failure>,
    draining: bool,
    memory: u64,
}

/// What is durable: the whole memory of a coordinator that is killed.
#[derive(Default)]
struct Durable {
    plans: BTreeMap<SurveyId, SurveyPlan>,
    booked: BTreeMap<(SurveyId, JobKey), ObjectRef>,
    failed: BTreeMap<(SurveyId, JobKey), (FailureClass, String)>,
    counted: Vec<(SurveyId, JobKey, FailureClass)>,
    cancelled: BTreeSet<SurveyId>,
    /// The first attempts that count of surveys that were submitted again.
    since: BTreeMap<SurveyId, Attempt>,
}

struct Fleet {
    dice: Dice,
    state: State,
    epoch: u64,
    now: Duration,
    durable: Durable,
    members: Vec<Member>,
    /// Workers that are stopped, and may be heard of again.
    stopped: Vec<Member>,
    born: u32,
    submitted: u32,
    wire: Vec<Message>,
    reads: Vec<(SurveyId, ObjectRef)>,
    reported: Vec<Completion>,
    /// By the digest of what was ever committed: the inputs that were missing.
    made: BTreeMap<Digest, BTreeSet<JobKey>>,
    /// Completions of calls that are not answered yet.
    unanswered: BTreeMap<(String, u64), Vec<Completion>>,
    /// The next step that records something is the coordinator's last.
    is_doomed: bool,
    faults: Faults,
}

fn policy() -> Policy {
    Policy {
        forget_worker: Duration::from_secs(90),
        deserted: Duration::from_secs(3 * 3600),
        unfit: Duration::from_secs(120),
        stall: Duration::from_secs(100),
        longest_attempt: Duration::from_secs(1000),
        root_patience: Duration::from_secs(60),
        retries: 5,
        ..Policy::default()
    }
}

fn plan(index: u32) -> SurveyPlan {
    let cells: Vec<(i32, i32, &[u32])> = match index % 3 {
        0 => vec![(-1, 0, &[0, 1]), (-1, 1, &[1]), (0, 0, &[0]), (0, 1, &[]), (0, 2, &[2]), (3, 1, &[2])],
        1 => (0..12).map(|at| (at / 4, at % 4, &[0_u32][..])).collect(),
        _ => vec![(5, 5, &[0])],
    };
    let mut plan = plan_of_cells(&cells, 512, 2);
    plan.survey = SurveyId(format!("survey-{index}"));
    plan
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut fleet = Self {
            dice: Dice::new(seed),
            state: State::new(1, policy()),
            epoch: 1,
            now: Duration::ZERO,
            durable: Durable::default(),
            members: Vec::new(),
            stopped: Vec::new(),
            born: 0,
            submitted: 0,
            wire: Vec::new(),
            reads: Vec::new(),
            reported: Vec::new(),
            made: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            is_doomed: false,
            faults: Faults::default(),
        };
        for _ in 0..1 + fleet.dice.below(5) {
            let member = fleet.newborn();
            fleet.members.push(member);
        }
        fleet.submit_next();
        fleet
    }

    fn newborn(&mut self) -> Member {
        self.born += 1;
        // Some have less memory than a job may come to ask for.
        let memory = [1 << 30, 4 << 30, 16 << 30][self.dice.below(3)];
        Member { name: format!("worker-{}", self.born), memory, ..Member::default() }
    }

    // ---- what is durable --------------------------------------------------------------------------------------------

    fn submission(&self, plan: &SurveyPlan) -> Submission {
        let id = &plan.survey;
        let of_survey = |(survey, key): &(SurveyId, JobKey)| (survey == id).then_some(*key);
        let counted = self.durable.counted.iter().filter(|(survey, ..)| survey == id);
        Submission {
            survey: id.clone(),
            name: plan.name.clone(),
            plan: object("plan"),
            output: "file:///out/".into(),
            graph: Graph::new(plan, 16),
            max_job_memory: 2 << 30,
            completed: self
                .durable
                .booked
                .iter()
                .filter_map(|(place, object)| Some((of_survey(place)?, object.clone())))
                .collect(),
            priority: 50 + u32::try_from(id.0.len()).unwrap() * 10,
            since: self.since(id),
            earlier: Earlier {
                failed: self
                    .durable
                    .failed
                    .iter()
                    .filter_map(|(place, failure)| Some((of_survey(place)?, failure.clone())))
                    .collect(),
                attempts_failed: counted.map(|(_, key, class)| (*key, *class)).collect(),
                is_cancelled: self.durable.cancelled.contains(id),
            },
        }
    }

    fn submit_next(&mut self) {
        let plan = plan(self.submitted);
        self.submitted += 1;
        self.durable.plans.insert(plan.survey.clone(), plan.clone());
        self.happen(Event::Submit(Box::new(self.submission(&plan))));
    }

    /// As a person would, and as `resume` does: what failed is tried again, and what reads it, and what was given out
    /// before counts no more.
    fn submit_again(&mut self, id: &SurveyId) {
        let plan = self.durable.plans[id].clone();
        let graph = Graph::new(&plan, 16);
        let failed = self.durable.failed.keys().filter(|(survey, _)| survey == id);
        let stale = graph.downstream(failed.filter_map(|(_, key)| graph.number(*key)).collect::<Vec<_>>());
        let is_stale = |key: &JobKey| graph.number(*key).is_some_and(|number| stale.contains(&number));
        self.durable.booked.retain(|(survey, key), _| survey != id || !is_stale(key));
        self.durable.cancelled.remove(id);
        self.durable.failed.retain(|(survey, _), _| survey != id);
        self.durable.counted.retain(|(survey, ..)| survey != id);
        self.durable.since.insert(id.clone(), self.state.next_attempt());
        self.faults.submitted_again += 1;
        self.happen(Event::Submit(Box::new(self.submission(&plan))));
    }

    /// The first attempt of a survey that counts.
    fn since(&self, id: &SurveyId) -> Attempt {
        self.durable.since.get(id).copied().unwrap_or_default()
    }

    /// What a job commits, which depends on what it reads: where inputs are missing it says which.
    fn made_by(&mut self, done: &Assignment, word: &str) -> ObjectRef {
        let missing = done.job.inputs.iter().filter(|input| input.object.is_none()).map(|input| input.from);
        let missing: BTreeSet<JobKey> = missing.collect();
        let gaps: String = missing.iter().map(|key| format!(" without {key}")).collect();
        let object = object(&format!("{}{gaps}{word}", done.job.key));
        self.made.insert(object.digest, missing);
        object
    }

    fn write(&mut self, record: Record) {
        let durable = &mut self.durable;
        match record {
            Record::Completed { survey, key, object } => {
                assert!(!durable.cancelled.contains(&survey), "{survey} is cancelled");
                let is_gap = |from: &JobKey| durable.failed.contains_key(&(survey.clone(), *from));
                let gaps = &self.made[&object.digest];
                assert!(gaps.iter().all(is_gap), "{key} was made without {gaps:?}, which are no gaps (any more)");
                self.faults.made_of_gaps += u64::from(!gaps.is_empty());
                let place = (survey, key);
                assert!(!durable.failed.contains_key(&place), "{key} had failed for good");
                assert_eq!(durable.booked.insert(place, object), None, "{key} is booked twice");
            }
            Record::Failed { survey, key, class, message } => {
                let place = (survey, key);
                assert!(!durable.booked.contains_key(&place), "{key} was done");
                self.faults.gaps += 1;
                self.faults.quarantined += u64::from(message.contains("workers;") || message.contains("lost over it"));
                assert_eq!(durable.failed.insert(place, (class, message)), None, "{key} fails for good twice");
            }
            Record::Reopened { survey, key } => {
                assert!(durable.booked.remove(&(survey, key)).is_some(), "{key} was not done");
                self.faults.reopened += 1;
            }
            Record::Cancelled { survey } => {
                assert!(durable.cancelled.insert(survey), "it is cancelled twice");
                self.faults.cancelled += 1;
            }
            Record::AttemptFailed { survey, key, class, .. } => durable.counted.push((survey, key, class)),
            _ => {}
        }
    }

    // ---- the coordinator --------------------------------------------------------------------------------------------

    fn happen(&mut self, event: Event) {
        self.faults.steps += 1;
        let effects = step(&mut self.state, event, self.now);
        self.state.check().unwrap();
        let records = effects.iter().filter(|effect| matches!(effect, Effect::Record(_))).count();
        if self.is_doomed && records > 0 {
            // Killed while it writes. What this step would have said nobody hears.
            let written = self.dice.below(records + 1);
            match written {
                0 => self.faults.crashes_before_records += 1,
                _ if written == records => self.faults.crashes_after_records += 1,
                _ => self.faults.crashes_between_records += 1,
            }
            let records = effects.into_iter().filter_map(|effect| match effect {
                Effect::Record(record) => Some(record),
                _ => None,
            });
            for record in records.take(written) {
                self.write(record);
            }
            self.restart();
            return;
        }
        for effect in effects {
            match effect {
                Effect::Record(record) => self.write(record),
                Effect::Answer { worker, sequence, answer } => self.says(worker, sequence, answer),
                Effect::ReadRoot { survey, object } => self.reads.push((survey, object)),
                Effect::Alarm { survey, key, reported, .. } => {
                    assert_ne!(self.durable.booked[&(survey, key)].digest, reported);
                    self.faults.alarms += 1;
                }
                Effect::Changed(_) => {}
                Effect::Broken(broken) => panic!("{broken}"),
            }
        }
        self.books_are_those_of_the_journal();
    }

    fn says(&mut self, worker: String, sequence: u64, answer: Answer) {
        for assignment in &answer.assignments {
            for input in &assignment.job.inputs {
                let place = (assignment.survey.clone(), input.from);
                match &input.object {
                    Some(object) => assert_eq!(self.durable.booked.get(&place), Some(object)),
                    None => assert!(
                        self.durable.failed.contains_key(&place),
                        "{} misses {}",
                        assignment.job.key,
                        input.from
                    ),
                }
            }
        }
        // What is acknowledged is durable, or never will be needed.
        for completion in self.unanswered.remove(&(worker.clone(), sequence)).unwrap_or_default() {
            if !answer.acknowledged.contains(&completion.attempt) || completion.attempt < self.since(&completion.survey)
            {
                continue;
            }
            let place = (completion.survey.clone(), completion.key);
            let survey = self.state.survey(&completion.survey).unwrap();
            let number = survey.graph().number(completion.key).unwrap();
            // One that was booked may be open again.
            let is_reopened = survey.repairs.contains_key(&number);
            assert!(
                self.durable.booked.contains_key(&place)
                    || self.durable.failed.contains_key(&place)
                    || survey.phase() != Phase::Running
                    || is_reopened,
                "{} was acknowledged and is not in the journal",
                completion.key
            );
        }
        self.wire.push(Message::Answer { worker, sequence, answer });
    }

    /// The state and the journal say the same of jobs that are settled: checked by counts here, and in full at the end.
    fn books_are_those_of_the_journal(&self) {
        if self.state.surveys().count() < self.durable.plans.len() {
            // The next coordinator is still taking over.
            return;
        }
        let (mut done, mut failed) = (0, 0);
        for (_, survey) in self.state.surveys() {
            done += survey.tally().done.iter().sum::<u64>();
            failed += survey.tally().failed.iter().sum::<u64>();
        }
        assert_eq!((done, failed), (self.durable.booked.len() as u64, self.durable.failed.len() as u64));
    }

    fn note_tallies(&mut self) {
        for (_, survey) in self.state.surveys() {
            self.faults.speculations += survey.tally().speculations;
            self.faults.expired += survey.tally().leases_expired;
        }
    }

    /// Another coordinator takes over. It knows what is durable, and the clock is another.
    fn restart(&mut self) {
        self.note_tallies();
        self.is_doomed = false;
        self.epoch += 1;
        self.now = Duration::from_secs(self.dice.below(1000) as u64);
        self.state = State::new(self.epoch, policy());
        self.reads.clear();
        self.unanswered.clear();
        let plans: Vec<SurveyPlan> = self.durable.plans.values().cloned().collect();
        for plan in plans {
            self.happen(Event::Submit(Box::new(self.submission(&plan))));
        }
    }

    // ---- the workers ------------------------------------------------------------------------------------------------

    fn call(&mut self, index: usize, slots: u32) {
        let member = &mut self.members[index];
        member.sequence += 1;
        member.calls = true;
        let reserved: u64 = member.running.iter().map(|(running, _)| running.job.memory).sum();
        let poll = Poll {
            worker: member.name.clone(),
            sequence: member.sequence,
            memory_total: member.memory,
            memory_free: member.memory.saturating_sub(reserved),
            slots: if member.draining { 0 } else { slots },
            running: member.running.iter().map(|(running, progress)| (running.attempt, *progress)).collect(),
            completed: member.completed.clone(),
            failed: member.failed.clone(),
            draining: member.draining,
            wait: Duration::from_secs(3),
        };
        if !member.is_cut {
            self.wire.push(Message::Call(poll));
        }
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Call(poll) => {
                // An open job cannot have been done before its inputs: such reports are acknowledged and forgotten.
                let mut completed = poll.completed.clone();
                completed.retain(|report| {
                    let survey = self.state.survey(&report.survey).unwrap();
                    survey.graph().number(report.key).is_some_and(|number| survey.missing(number) == 0)
                });
                self.unanswered.insert((poll.worker.clone(), poll.sequence), completed);
                self.happen(Event::Poll(poll));
            }
            Message::Answer { worker, sequence, answer } => {
                let heard = self
                    .members
                    .iter_mut()
                    .find(|member| member.name == worker && member.sequence == sequence && member.calls);
                let Some(heard) = heard.filter(|member| !member.is_cut) else { return };
                heard.calls = false;
                heard.completed.retain(|report| !answer.acknowledged.contains(&report.attempt));
                heard.failed.retain(|report| !answer.acknowledged.contains(&report.attempt));
                heard.running.retain(|(running, _)| !answer.revoked.contains(&running.attempt));
                for assignment in answer.assignments {
                    if !heard.running.iter().any(|(running, _)| running.attempt == assignment.attempt) {
                        heard.running.push((assignment, 0));
                    }
                }
                heard.draining |= answer.drain;
            }
        }
    }

    fn done(&mut self, index: usize, which: usize, has_other_bytes: bool) {
        let (done, _) = self.members[index].running.remove(which);
        let object = self.made_by(&done, if has_other_bytes { " other" } else { "" });
        let completion = Completion {
            survey: done.survey,
            key: done.job.key,
            attempt: done.attempt,
            object,
            wall: Duration::from_millis(self.dice.below(3000) as u64),
        };
        self.faults.other_bytes += u64::from(has_other_bytes);
        self.reported.push(completion.clone());
        self.members[index].completed.push(completion);
    }

    fn fails(&mut self, index: usize, which: usize) {
        let class = CLASSES[self.dice.below(CLASSES.len())];
        let (failed, _) = self.members[index].running.remove(which);
        // Sometimes because an object that it reads is lost or damaged.
        let read: Vec<(JobKey, ObjectRef)> =
            failed.job.inputs.iter().filter_map(|input| Some((input.from, input.object.clone()?))).collect();
        let damaged = if self.dice.chance(200) && !read.is_empty() {
            self.faults.damaged += 1;
            vec![read[self.dice.below(read.len())].clone()]
        } else {
            vec![]
        };
        self.members[index].failed.push(Failure {
            survey: failed.survey,
            key: failed.job.key,
            attempt: failed.attempt,
            class,
            message: "it failed".into(),
            damaged,
        });
    }

    fn read_root(&mut self, fails: bool) {
        let at = self.dice.below(self.reads.len());
        let (survey, object) = self.reads.swap_remove(at);
        let class = CLASSES[self.dice.below(CLASSES.len())];
        let tiles =
            self.durable.booked.iter().filter(|((id, key), _)| *id == survey && matches!(key, JobKey::Detect(_)));
        let closed_at = BTreeMap::from([(0, tiles.map(|(_, object)| object.clone()).collect())]);
        let read = if fails { Err((class, "unreadable".to_owned())) } else { Ok(closed_at) };
        self.happen(Event::RootRead { survey, object, read });
    }

    // ---- what happens -----------------------------------------------------------------------------------------------

    #[allow(clippy::collapsible_match, reason = "one arm per range of the dice")]
    fn anything(&mut self) {
        let index = self.dice.below(self.members.len());
        let jobs = self.members[index].running.len();
        match self.dice.below(100) {
            0..=24 => {
                if !self.members[index].calls || self.dice.chance(200) {
                    let slots = self.dice.below(5) as u32;
                    self.call(index, slots);
                }
            }
            25..=54 => self.something_arrives(),
            55..=69 if jobs > 0 => {
                let (which, has_other_bytes) = (self.dice.below(jobs), self.dice.chance(20));
                self.done(index, which, has_other_bytes);
            }
            70..=74 if jobs > 0 => {
                let which = self.dice.below(jobs);
                self.fails(index, which);
            }
            75..=79 if jobs > 0 => {
                let which = self.dice.below(jobs);
                self.members[index].running[which].1 += 1;
            }
            80..=91 => {
                // Mostly a little; sometimes as long as a lease, or an hour.
                let seconds = match self.dice.below(60) {
                    0 => 3600,
                    1..=3 => 31,
                    4..=9 => 20,
                    _ => self.dice.below(8) as u64,
                };
                self.faults.jumps += u64::from(seconds == 3600);
                self.now += Duration::from_millis(seconds * 1000 + self.dice.below(1000) as u64);
                self.happen(Event::Tick);
            }
            92..=95 if !self.reads.is_empty() => {
                let fails = self.dice.chance(250);
                self.read_root(fails);
            }
            96..=97 if !self.reported.is_empty() => {
                // Any completion ever reported is reported again, by anybody.
                let again = self.reported[self.dice.below(self.reported.len())].clone();
                self.faults.repeated += 1;
                let place = (again.survey.clone(), again.key);
                let was_open = !self.durable.booked.contains_key(&place);
                self.faults.fenced += u64::from(was_open && again.attempt < self.since(&again.survey));
                self.members[index].completed.push(again);
                self.call(index, 0);
                if let Some(Message::Call(poll)) = self.wire.pop() {
                    self.deliver(Message::Call(poll));
                }
                self.faults.late_counted += u64::from(was_open && self.durable.booked.contains_key(&place));
            }
            98..=99 => self.something_rare(index),
            _ => {}
        }
    }

    fn something_arrives(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let at = self.dice.below(self.wire.len().min(4));
        self.faults.overtaken += u64::from(at > 0);
        let message = self.wire.remove(at);
        if self.dice.chance(100) {
            self.faults.lost += 1;
            return;
        }
        if self.dice.chance(60)
            && let Message::Call(poll) = &message
        {
            self.faults.doubled += 1;
            self.wire.push(Message::Call(poll.clone()));
        }
        self.deliver(message);
    }

    fn something_rare(&mut self, index: usize) {
        match self.dice.below(13) {
            0 | 1 => {
                // A worker is killed. It had committed what it did; nobody was told.
                let newborn = self.newborn();
                let dead = std::mem::replace(&mut self.members[index], newborn);
                self.faults.deaths += 1;
                for (running, _) in dead.running {
                    let object = self.made_by(&running, "");
                    self.reported.push(Completion {
                        survey: running.survey,
                        key: running.job.key,
                        attempt: running.attempt,
                        object,
                        wall: Duration::ZERO,
                    });
                }
            }
            2 => {
                // A worker is stopped; another takes its place.
                let newborn = self.newborn();
                self.stopped.push(std::mem::replace(&mut self.members[index], newborn));
            }
            3 if !self.stopped.is_empty() => {
                let back = self.stopped.swap_remove(0);
                self.faults.returns += 1;
                self.members.push(back);
            }
            4 => {
                let member = &mut self.members[index];
                member.is_cut = !member.is_cut;
                self.faults.cuts += u64::from(member.is_cut);
            }
            5 => {
                let name = self.members[index].name.clone();
                self.faults.drains += 1;
                self.happen(Event::Drain(name));
            }
            6 => {
                let member = &self.members[index];
                if member.draining && member.running.is_empty() && member.completed.is_empty() {
                    self.faults.left += 1;
                    self.members[index] = self.newborn();
                }
            }
            7 | 8 => self.is_doomed = true,
            9 if self.dice.chance(300) => {
                let running: Vec<SurveyId> = self.surveys_at(Phase::Running);
                if let Some(id) = running.get(self.dice.below(running.len())) {
                    self.happen(Event::Cancel(id.clone()));
                }
            }
            10 if self.submitted < SURVEYS => self.submit_next(),
            12 if !self.durable.booked.is_empty() => {
                // An object is found to be lost, or damaged, at any time: also when its survey has ended.
                let at = self.dice.below(self.durable.booked.len());
                let ((survey, key), object) = self.durable.booked.iter().nth(at).unwrap();
                let (survey, damaged) = (survey.clone(), vec![(*key, object.clone())]);
                self.faults.damaged += 1;
                self.happen(Event::Damaged { survey, damaged });
            }
            11 if self.dice.chance(300) => {
                let has_gaps = |id: &SurveyId| self.durable.failed.keys().any(|(survey, _)| survey == id);
                let mut over = self.surveys_at(Phase::Cancelled);
                over.extend(self.surveys_at(Phase::Ended).into_iter().filter(has_gaps));
                if let Some(id) = over.get(self.dice.below(over.len())) {
                    self.submit_again(&id.clone());
                }
            }
            _ => {}
        }
    }

    fn surveys_at(&self, phase: Phase) -> Vec<SurveyId> {
        self.state.surveys().filter(|(_, survey)| survey.phase() == phase).map(|(id, _)| id.clone()).collect()
    }

    /// From now on all goes well, but for workers that are asked to leave: others take their places.
    fn ends_when_all_goes_well(&mut self) -> bool {
        self.wire.clear();
        self.is_doomed = false;
        self.members = (0..3).map(|_| self.newborn()).collect();
        self.members[0].memory = 16 << 30;
        for _ in 0..400 {
            if self.surveys_at(Phase::Running).is_empty() {
                return true;
            }
            self.now += Duration::from_secs(10);
            self.happen(Event::Tick);
            while !self.reads.is_empty() {
                self.read_root(false);
            }
            for index in 0..self.members.len() {
                for slots in [4, 0] {
                    self.call(index, slots);
                    while let Some(message) = self.wire.pop() {
                        self.deliver(message);
                    }
                    while !self.members[index].running.is_empty() {
                        self.done(index, 0, false);
                    }
                }
            }
        }
        false
    }

    fn every_job_is_in_the_books_once(&self) {
        for (id, survey) in self.state.surveys() {
            for key in survey.graph().numbers().filter_map(|number| survey.graph().key(number)) {
                let place = (id.clone(), key);
                let (booked, failed) = (self.durable.booked.get(&place), self.durable.failed.get(&place));
                assert_eq!(survey.object(key), booked.cloned());
                assert!(booked.is_none() || failed.is_none(), "{key} is done and has failed");
                assert!(survey.phase() == Phase::Cancelled || booked.is_some() || failed.is_some(), "{key} is lost");
            }
            let failed = self.durable.failed.keys().filter(|(survey, _)| survey == id).count();
            assert_eq!(survey.failed().count(), failed);
        }
    }
}

impl Faults {
    fn add(&mut self, other: &Self) {
        let Self { steps, .. } = other;
        self.steps += steps;
        for (sum, more) in self.counters().into_iter().zip(other.values()) {
            *sum += more;
        }
    }

    fn counters(&mut self) -> [&mut u64; 27] {
        [
            &mut self.lost,
            &mut self.doubled,
            &mut self.overtaken,
            &mut self.crashes_before_records,
            &mut self.crashes_between_records,
            &mut self.crashes_after_records,
            &mut self.deaths,
            &mut self.returns,
            &mut self.cuts,
            &mut self.jumps,
            &mut self.drains,
            &mut self.left,
            &mut self.cancelled,
            &mut self.submitted_again,
            &mut self.repeated,
            &mut self.late_counted,
            &mut self.fenced,
            &mut self.made_of_gaps,
            &mut self.other_bytes,
            &mut self.alarms,
            &mut self.expired,
            &mut self.speculations,
            &mut self.quarantined,
            &mut self.gaps,
            &mut self.damaged,
            &mut self.reopened,
            &mut self.ended,
        ]
    }

    fn values(&self) -> [u64; 27] {
        [
            self.lost,
            self.doubled,
            self.overtaken,
            self.crashes_before_records,
            self.crashes_between_records,
            self.crashes_after_records,
            self.deaths,
            self.returns,
            self.cuts,
            self.jumps,
            self.drains,
            self.left,
            self.cancelled,
            self.submitted_again,
            self.repeated,
            self.late_counted,
            self.fenced,
            self.made_of_gaps,
            self.other_bytes,
            self.alarms,
            self.expired,
            self.speculations,
            self.quarantined,
            self.gaps,
            self.damaged,
            self.reopened,
            self.ended,
        ]
    }
}

/// Names the seed of a run that fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the run of seed {} failed", self.0);
        }
    }
}

fn run(seed: u64) -> Faults {
    let named = Named(seed);
    let mut fleet = Fleet::new(seed);
    for _ in 0..HAPPENINGS {
        fleet.anything();
    }
    assert!(fleet.ends_when_all_goes_well(), "surveys go on: {:?}", fleet.surveys_at(Phase::Running));
    fleet.every_job_is_in_the_books_once();
    fleet.note_tallies();
    fleet.faults.ended += fleet.surveys_at(Phase::Ended).len() as u64;
    drop(named);
    fleet.faults
}

#[test]
fn in_a_million_steps_no_job_is_lost_or_booked_twice_and_every_survey_ends() {
    #[allow(clippy::disallowed_methods, reason = "how long a test runs is up to whoever runs it")]
    let asked = std::env::var("GROUNDBREAK_STEPS");
    let steps = asked.map_or(STEPS, |steps| steps.parse().expect("GROUNDBREAK_STEPS is a number"));
    let mut faults = Faults::default();
    let mut seed = 0;
    while faults.steps < steps {
        faults.add(&run(seed));
        seed += 1;
    }
    println!("{seed} runs: {faults:?}");
    // Each fault has fired, and often.
    for (fault, fired) in faults.values().into_iter().enumerate() {
        assert!(fired >= 100, "fault {fault} fired {fired} times: {faults:?}");
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    for seed in [3, 4] {
        let trace = |seed| {
            let mut fleet = Fleet::new(seed);
            for _ in 0..500 {
                fleet.anything();
            }
            (format!("{:?}", fleet.faults), fleet.durable.booked, fleet.now)
        };
        assert_eq!(trace(seed), trace(seed));
    }
    assert_ne!(format!("{:?}", run(3)), format!("{:?}", run(4)));
}
