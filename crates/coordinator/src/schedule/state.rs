//! The scheduler's state: surveys with their jobs, leases, and workers. `check` has the invariants between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef, Stage};

use crate::schedule::books::{Books, Status};
use crate::schedule::event::Attempt;
use crate::schedule::graph::Graph;
use crate::schedule::ground::Way;
use crate::schedule::measure::Measure;
use crate::schedule::policy::Policy;
use crate::schedule::queue::Queue;

/// A survey's place in [`State`].
pub(crate) type SurveyNumber = usize;

/// Everything that a scheduler knows. Volatile: what must outlive it is in the journal.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) epoch: u64,
    pub(crate) policy: Policy,
    /// The time of the newest event.
    pub(crate) now: Option<Duration>,
    pub(crate) next_attempt: u64,
    pub(crate) ids: BTreeMap<SurveyId, SurveyNumber>,
    pub(crate) surveys: Vec<SurveyState>,
    /// Places of surveys that were forgotten.
    pub(crate) vacant: Vec<SurveyNumber>,
    pub(crate) leases: BTreeMap<u64, Lease>,
    /// What is to happen when.
    pub(crate) timers: BTreeSet<(Duration, Timer)>,
    pub(crate) workers: BTreeMap<Arc<str>, Worker>,
    /// Calls that wait for work, the least busy worker first.
    pub(crate) waiting: BTreeSet<(usize, Arc<str>)>,
    /// Surveys with jobs to give out, by what they have had of their share.
    pub(crate) eligible: BTreeSet<(u128, SurveyNumber)>,
    /// What the survey that was served last had had of its share.
    pub(crate) served: u128,
    /// Who is at which tile: at the last that it was given on its way.
    pub(crate) places: BTreeMap<(SurveyNumber, u32), Arc<str>>,
    /// Jobs that all workers that take work do at the same time.
    pub(crate) capacity: u64,
    /// How often a worker fell silent while it held jobs.
    pub(crate) lost_workers: u64,
    /// When a worker was last heard of.
    pub(crate) heard: Duration,
    /// Surveys that this step has changed.
    pub(crate) touched: BTreeSet<SurveyNumber>,
    /// Jobs became ready since calls that wait were last looked at.
    pub(crate) has_fresh: bool,
}

/// What happens at some time if nothing prevents it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A lease ends.
    Lease(u64),
    /// A job may be tried again.
    Retry(SurveyNumber, u32),
    /// The root's findings are asked for again.
    Root(SurveyNumber),
    /// A call (worker, sequence) is answered though there is nothing to say.
    Offer(Arc<str>, u64),
}

/// A survey.
#[derive(Clone, Debug)]
pub struct SurveyState {
    pub(crate) id: SurveyId,
    pub(crate) name: String,
    pub(crate) plan: ObjectRef,
    pub(crate) output: String,
    pub(crate) graph: Graph,
    pub(crate) max_job_memory: u64,
    pub(crate) priority: u32,
    /// The first attempt whose completion counts.
    pub(crate) since: Attempt,
    pub(crate) phase: Phase,
    pub(crate) books: Books,
    /// By stage: jobs that can be given out.
    pub(crate) queues: [Queue; 4],
    /// Jobs with attempts that run.
    pub(crate) live: BTreeMap<u32, Live>,
    /// By stage: the only attempts at their jobs, by when they began.
    pub(crate) lone: [BTreeSet<(Duration, u64)>; 4],
    /// Jobs that something has happened to.
    pub(crate) troubles: BTreeMap<u32, Trouble>,
    pub(crate) root: RootState,
    /// How often a job was opened again because its object was lost or damaged.
    pub(crate) repairs: BTreeMap<u32, u32>,
    pub(crate) tally: Tally,
    pub(crate) measures: [Measure; 4],
    /// What it has had of its share: work divided by priority.
    pub(crate) served: u128,
    /// With what it stands among the eligible.
    pub(crate) queued: Option<u128>,
    /// Since when it has had a job that fits no worker.
    pub(crate) unfit_since: Option<Duration>,
}

/// Where a survey stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Jobs are open.
    Running,
    /// Every job is done or has failed.
    Ended,
    /// It was stopped.
    Cancelled,
}

/// What is known of the root findings, which say where each county's components are.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootState {
    /// Where each county's components are; `None` until the root is read (or has failed for good).
    pub closed_at: Option<BTreeMap<u32, Vec<Located>>>,
    /// When to ask for it again.
    pub retry_at: Option<Duration>,
    /// Readings that failed for a reason that may pass.
    pub failed_reads: u32,
}

/// Findings with components of a county.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Located {
    /// What a job has in the books.
    Booked(u32),
    /// An object that is not in the books.
    Elsewhere(Box<(JobKey, ObjectRef)>),
}

/// Attempts that run at one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub first: u64,
    /// A second one, because the first is a straggler.
    pub second: Option<u64>,
}

/// What has happened to an open job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Bytes that it is admitted with, where that is more than at first.
    pub memory: Option<u64>,
    /// When its pause ends.
    pub until: Duration,
    pub retries: u32,
    pub hand_backs: u32,
    /// Attempts that panicked, stalled or found the worker broken.
    pub poisonings: u32,
    /// Different workers of these.
    pub poisoned: Vec<Arc<str>>,
    /// Attempts whose workers fell silent.
    pub losses: u32,
    /// How many workers had fallen silent before the first of these.
    pub lost_before: u64,
    /// Workers that it is kept from.
    pub avoids: Vec<Arc<str>>,
    pub avoids_until: Duration,
}

impl Trouble {
    /// Whether it may be dangerous to whatever runs beside it.
    pub fn is_suspect(&self) -> bool {
        self.poisonings + self.losses > 0
    }
}

/// Counts of a survey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By stage: all jobs.
    pub jobs: [u64; 4],
    /// By stage: jobs with an attempt that runs.
    pub running: [u64; 4],
    /// By stage: jobs that are done.
    pub done: [u64; 4],
    /// By stage: jobs that failed for good.
    pub failed: [u64; 4],
    /// By stage: estimated work of the jobs that are open.
    pub cost_open: [u64; 4],
    /// Work in all.
    pub cost_total: u64,
    /// Work that is done or given up.
    pub cost_done: u64,
    /// Attempts that began.
    pub attempts: u64,
    /// Attempts that were reported as failed.
    pub attempts_failed: u64,
    /// Attempts that were given up because nothing was heard of them.
    pub leases_expired: u64,
    /// Second attempts at jobs whose first was a straggler.
    pub speculations: u64,
    /// Completions with other bytes than those in the books.
    pub alarms: u64,
}

/// An attempt that runs.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub survey: SurveyNumber,
    pub job: u32,
    pub worker: Arc<str>,
    /// When it was given out.
    pub given: Duration,
    /// When it begins: later than `given` where others of the same batch come first.
    pub begins: Duration,
    pub expires: Duration,
    pub progress: u64,
    /// When its progress last grew.
    pub progressed: Duration,
}

/// A worker that was heard of.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub seen: Duration,
    pub sequence: u64,
    /// It says that it leaves.
    pub draining: bool,
    /// It was asked to leave.
    pub is_asked_to_leave: bool,
    pub memory_total: u64,
    /// Jobs that it does at the same time: the most that it ever asked for.
    pub slots: u32,
    /// A call that waits for work.
    pub offer: Option<Offer>,
    pub leases: BTreeSet<u64>,
    /// Its way through the tiles of each survey.
    pub ways: BTreeMap<SurveyNumber, Way>,
    /// Failures since its last success.
    pub failures: u32,
    /// It gets nothing before this.
    pub pauses_until: Duration,
    /// It fell silent and has not been heard of since.
    pub is_lost: bool,
}

impl Worker {
    pub fn is_leaving(&self) -> bool {
        self.draining || self.is_asked_to_leave
    }

    /// What it adds to the capacity of all workers.
    pub fn capacity(&self) -> u64 {
        if self.is_leaving() || self.is_lost { 0 } else { u64::from(self.slots) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub memory: u64,
    pub slots: u32,
    pub until: Duration,
    /// Attempts that its worker held when it called.
    pub busy: usize,
}

/// A job that failed for good.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedJob {
    /// The job.
    pub key: JobKey,
    /// What the failure means.
    pub class: FailureClass,
    /// Why, in words.
    pub message: String,
}

/// A worker as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Time since it was last heard of.
    pub silent: Duration,
    /// Bytes that it has for jobs.
    pub memory: u64,
    /// Jobs that it does at the same time.
    pub slots: u32,
    /// Attempts that it holds.
    pub attempts: usize,
    /// Failures since its last success.
    pub failures: u32,
    /// It takes no more work.
    pub is_leaving: bool,
}

impl State {
    /// A scheduler without surveys. `epoch` is larger than that of every scheduler before it.
    #[must_use]
    pub fn new(epoch: u64, policy: Policy) -> Self {
        Self {
            epoch,
            policy,
            now: None,
            next_attempt: 1,
            ids: BTreeMap::new(),
            surveys: Vec::new(),
            vacant: Vec::new(),
            leases: BTreeMap::new(),
            timers: BTreeSet::new(),
            workers: BTreeMap::new(),
            waiting: BTreeSet::new(),
            eligible: BTreeSet::new(),
            served: 0,
            places: BTreeMap::new(),
            capacity: 0,
            lost_workers: 0,
            heard: Duration::ZERO,
            touched: BTreeSet::new(),
            has_fresh: false,
        }
    }

    /// The attempt that is given out next: none before it comes after.
    #[must_use]
    pub fn next_attempt(&self) -> Attempt {
        Attempt { epoch: self.epoch, counter: self.next_attempt }
    }

    /// A survey.
    #[must_use]
    pub fn survey(&self, id: &SurveyId) -> Option<&SurveyState> {
        self.surveys.get(*self.ids.get(id)?)
    }

    /// All surveys, by id.
    pub fn surveys(&self) -> impl Iterator<Item = (&SurveyId, &SurveyState)> {
        self.ids.iter().filter_map(|(id, &number)| Some((id, self.surveys.get(number)?)))
    }

    /// How many workers were heard of lately.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The workers that were heard of lately, by name.
    pub fn worker_views(&self) -> impl Iterator<Item = WorkerView<'_>> {
        let now = self.now.unwrap_or_default();
        self.workers.iter().map(move |(name, worker)| WorkerView {
            name,
            silent: now.saturating_sub(worker.seen),
            memory: worker.memory_total,
            slots: worker.slots,
            attempts: worker.leases.len(),
            failures: worker.failures,
            is_leaving: worker.is_leaving(),
        })
    }

    /// How long ago the oldest attempt that runs was given out.
    #[must_use]
    pub fn oldest_lease(&self) -> Option<Duration> {
        let (_, lease) = self.leases.first_key_value()?;
        Some(self.now.unwrap_or_default().saturating_sub(lease.given))
    }

    /// How long a survey still takes with the workers that there are: its open work, corrected by what jobs report, over
    /// its share of the slots. `None` where nothing is open or nobody works.
    #[must_use]
    pub fn remaining(&self, id: &SurveyId) -> Option<Duration> {
        let survey = self.survey(id).filter(|survey| survey.phase == Phase::Running)?;
        let is_running = |survey: &&SurveyState| survey.phase == Phase::Running;
        let shares: u64 = self.surveys.iter().filter(is_running).map(|survey| u64::from(survey.priority)).sum();
        let slots = self.capacity as f64 * f64::from(survey.priority) / shares.max(1) as f64;
        let seconds = survey.remaining_ms() as f64 / 1000.0 / slots;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn attempt(&self, counter: u64) -> Attempt {
        Attempt { epoch: self.epoch, counter }
    }

    /// Whether a worker was heard of within a lease and takes work.
    pub(crate) fn is_at_work(&self, worker: &Worker, now: Duration) -> bool {
        !worker.is_leaving() && worker.seen + self.policy.lease > now
    }
}

impl SurveyState {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its plan.
    #[must_use]
    pub fn plan(&self) -> &ObjectRef {
        &self.plan
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its counts.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Its jobs.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Its share of the workers beside other surveys.
    #[must_use]
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// By stage: jobs that can be given out.
    #[must_use]
    pub fn ready(&self) -> [u64; 4] {
        self.queues.each_ref().map(Queue::len)
    }

    /// How often jobs were opened again because their objects were lost or damaged.
    #[must_use]
    pub fn repaired(&self) -> u64 {
        self.repairs.values().map(|&repairs| u64::from(repairs)).sum()
    }

    /// Objects that a job reads, with the jobs that committed them.
    #[must_use]
    pub fn objects_read(&self, key: JobKey) -> Vec<(JobKey, ObjectRef)> {
        let inputs = self.graph.number(key).map(|number| self.inputs(number)).unwrap_or_default();
        inputs.into_iter().filter_map(|input| Some((input.from, input.object?))).collect()
    }

    /// The committed object of a job that is done.
    #[must_use]
    pub fn object(&self, key: JobKey) -> Option<ObjectRef> {
        self.books.object(self.graph.number(key)?, key)
    }

    /// The jobs that failed for good, by key.
    pub fn failed(&self) -> impl Iterator<Item = FailedJob> {
        let mut failed: Vec<FailedJob> = self
            .books
            .failures()
            .filter_map(|(number, class, message)| {
                Some(FailedJob { key: self.graph.key(number)?, class, message: message.to_owned() })
            })
            .collect();
        failed.sort_by_key(|job| job.key);
        failed.into_iter()
    }

    /// Work that is open, as corrected by what jobs reported: milliseconds of one slot.
    #[must_use]
    pub fn remaining_ms(&self) -> u64 {
        let open = self.measures.iter().zip(self.tally.cost_open);
        open.fold(0, |sum: u64, (measure, cost)| sum.saturating_add(measure.expect_ms(cost)))
    }

    /// Bytes that a job is admitted with.
    pub(crate) fn memory(&self, number: u32) -> u64 {
        let raised = self.troubles.get(&number).and_then(|trouble| trouble.memory);
        raised.unwrap_or_else(|| self.graph.memory(number).min(self.max_job_memory))
    }

    /// How long a job is expected to take, ms.
    pub(crate) fn expect_ms(&self, number: u32) -> u64 {
        let measure = self.measures.get(self.graph.stage_of(number));
        measure.map_or(0, |measure| measure.expect_ms(self.graph.cost(number)))
    }

    /// Whether counties still wait to hear where their components are.
    pub(crate) fn is_root_unread(&self) -> bool {
        self.graph.root.is_some() && self.root.closed_at.is_none()
    }

    /// The jobs that hold a county's components: what its assembly reads beside what the graph shows.
    fn located(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let county = match self.graph.key(number) {
            Some(JobKey::Assemble(county)) => Some(county),
            _ => None,
        };
        let located = self.root.closed_at.as_ref().zip(county).and_then(|(closed_at, county)| closed_at.get(&county));
        located.into_iter().flatten().filter_map(|located| match located {
            Located::Booked(job) => Some(*job),
            Located::Elsewhere(_) => None,
        })
    }

    /// The jobs that read what a job leaves.
    pub(crate) fn readers(&self, job: u32) -> Vec<u32> {
        let mut readers: Vec<u32> = self.graph.dependants(job).collect();
        // A county whose components a job holds reads it, too: that matters only where the job is done again.
        if self.repairs.contains_key(&job) {
            let counties = self.graph.stage(Stage::Assemble);
            readers.extend(counties.filter(|&county| self.located(county).any(|located| located == job)));
        }
        readers
    }

    /// What a job waits for: inputs that are not settled, and for the assembly of a county, the root to be read.
    pub(crate) fn missing(&self, number: u32) -> u32 {
        let is_open = |&input: &u32| self.books.status(input).is_some_and(|status| !status.is_settled());
        let inputs = self.graph.inputs(number).filter(is_open).count();
        let located = self.located(number).filter(is_open).count();
        let waits_for_root = self.graph.stage_of(number) == Stage::Assemble.index() && self.is_root_unread();
        u32::try_from(inputs + located).unwrap_or(u32::MAX).saturating_add(u32::from(waits_for_root))
    }

    /// A job that is open and waits for nothing can be given out.
    pub(crate) fn make_ready(&mut self, number: u32) {
        if self.books.set(number, Status::Ready) {
            let (memory, cost) = (self.memory(number), self.graph.cost(number));
            if let Some(queue) = self.queues.get_mut(self.graph.stage_of(number)) {
                queue.insert(number, memory, cost);
            }
        }
    }

    /// Takes a job that can be given out from its queue.
    pub(crate) fn unqueue(&mut self, number: u32) {
        let (memory, cost) = (self.memory(number), self.graph.cost(number));
        if let Some(queue) = self.queues.get_mut(self.graph.stage_of(number)) {
            queue.remove(number, memory, cost);
        }
    }

    /// One thing less that a waiting job waits for.
    pub(crate) fn wait_for_less(&mut self, number: u32) {
        match self.books.status(number) {
            Some(Status::Waiting(1)) => {
                self.books.set(number, Status::Waiting(0));
                self.make_ready(number);
            }
            Some(Status::Waiting(missing)) => {
                self.books.set(number, Status::Waiting(missing.saturating_sub(1)));
            }
            _ => {}
        }
    }
}
