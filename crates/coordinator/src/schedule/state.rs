//! The scheduler's state: surveys with their jobs, leases, and workers.
//!
//! # Invariants
//! [`State::check`] says them, and tests hold every step to them:
//! * a job waits exactly for its unsettled inputs; it is ready, delayed or leased only when there are none;
//! * a leased job has exactly one lease, and every lease belongs to a leased job;
//! * the counts of a survey are those of its jobs, and it has ended exactly when no job is open;
//! * a survey that was cancelled has no lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef, Stage};

use crate::schedule::event::Attempt;
use crate::schedule::graph::Graph;
use crate::schedule::policy::Policy;

/// Everything that a scheduler knows. Volatile: what must outlive it is in the journal.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) epoch: u64,
    pub(crate) policy: Policy,
    pub(crate) next_attempt: u64,
    pub(crate) surveys: BTreeMap<SurveyId, SurveyState>,
    pub(crate) leases: BTreeMap<u64, Lease>,
    /// Leases by the time at which they end if nothing renews them.
    pub(crate) expiries: BTreeSet<(Duration, u64)>,
    pub(crate) workers: BTreeMap<String, Worker>,
}

/// A survey.
#[derive(Clone, Debug)]
pub struct SurveyState {
    pub(crate) name: String,
    pub(crate) plan: ObjectRef,
    pub(crate) output: String,
    pub(crate) graph: Graph,
    pub(crate) max_job_memory: u64,
    pub(crate) phase: Phase,
    pub(crate) jobs: Vec<JobState>,
    /// Jobs that can be given out, later stages first.
    pub(crate) ready: BTreeSet<(u8, u32)>,
    /// Jobs that pause before their next attempt.
    pub(crate) delayed: BTreeSet<(Duration, u32)>,
    pub(crate) root: RootState,
    /// How often a job was opened again because its object was lost or damaged.
    pub(crate) repairs: BTreeMap<u32, u32>,
    pub(crate) tally: Tally,
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
    pub closed_at: Option<BTreeMap<u32, Vec<(JobKey, ObjectRef)>>>,
    /// When to read it again.
    pub retry_at: Option<Duration>,
    /// Readings that failed for a reason that may pass.
    pub failed_reads: u32,
    /// Times that the root was computed again.
    pub repairs: u32,
}

/// A job.
#[derive(Clone, Debug)]
pub(crate) struct JobState {
    pub status: Status,
    /// Bytes that it is admitted with.
    pub memory: u64,
    pub retries: u32,
    pub poisonings: u32,
    pub hand_backs: u32,
    /// Workers that it failed on: another one is asked where there is one.
    pub failed_on: Vec<String>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Status {
    /// Inputs are missing: how many.
    Waiting(u32),
    Ready,
    Delayed(Duration),
    /// An attempt runs: its counter.
    Leased(u64),
    Done(ObjectRef),
    Failed(FailureClass, String),
}

impl Status {
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(..))
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
    /// Completions with other bytes than those in the books.
    pub alarms: u64,
}

/// The index of a stage in a [`Tally`].
#[must_use]
pub fn stage_index(stage: Stage) -> usize {
    match stage {
        Stage::Calibrate => 0,
        Stage::Detect => 1,
        Stage::Merge => 2,
        Stage::Assemble => 3,
    }
}

/// An attempt that runs.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub survey: SurveyId,
    pub job: u32,
    pub worker: String,
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
    pub draining: bool,
    /// A call that waits for work.
    pub offer: Option<Offer>,
    pub leases: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub memory: u64,
    pub slots: u32,
    pub until: Duration,
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

impl State {
    /// A scheduler without surveys. `epoch` is larger than that of every scheduler before it.
    #[must_use]
    pub fn new(epoch: u64, policy: Policy) -> Self {
        Self {
            epoch,
            policy,
            next_attempt: 1,
            surveys: BTreeMap::new(),
            leases: BTreeMap::new(),
            expiries: BTreeSet::new(),
            workers: BTreeMap::new(),
        }
    }

    /// A survey.
    #[must_use]
    pub fn survey(&self, id: &SurveyId) -> Option<&SurveyState> {
        self.surveys.get(id)
    }

    /// All surveys.
    pub fn surveys(&self) -> impl Iterator<Item = (&SurveyId, &SurveyState)> {
        self.surveys.iter()
    }

    /// How many workers were heard of lately.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn attempt(&self, counter: u64) -> Attempt {
        Attempt { epoch: self.epoch, counter }
    }

    /// Checks the invariants.
    ///
    /// # Errors
    /// Says which one is broken, and where.
    pub fn check(&self) -> Result<(), String> {
        for (&counter, lease) in &self.leases {
            let job = self.surveys.get(&lease.survey).and_then(|survey| survey.job(lease.job));
            if job.is_none_or(|job| job.status != Status::Leased(counter)) {
                return Err(format!("lease {counter} belongs to no leased job"));
            }
            if !self.expiries.contains(&(lease.expires, counter)) {
                return Err(format!("lease {counter} never expires"));
            }
            if !self.workers.get(&lease.worker).is_some_and(|worker| worker.leases.contains(&counter)) {
                return Err(format!("lease {counter} belongs to no worker"));
            }
        }
        let held: usize = self.workers.values().map(|worker| worker.leases.len()).sum();
        if self.expiries.len() != self.leases.len() || held != self.leases.len() {
            return Err("leases, expiries and workers' leases differ in number".into());
        }
        for (id, survey) in &self.surveys {
            survey.check(self).map_err(|broken| format!("survey {id}: {broken}"))?;
        }
        Ok(())
    }
}

impl SurveyState {
    pub(crate) fn job(&self, number: u32) -> Option<&JobState> {
        self.jobs.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn job_mut(&mut self, number: u32) -> Option<&mut JobState> {
        self.jobs.get_mut(usize::try_from(number).ok()?)
    }

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
    pub fn object(&self, key: JobKey) -> Option<&ObjectRef> {
        match &self.job(self.graph.number(key)?)?.status {
            Status::Done(object) => Some(object),
            _ => None,
        }
    }

    /// The jobs that failed for good, by key.
    pub fn failed(&self) -> impl Iterator<Item = FailedJob> {
        self.graph.jobs.iter().zip(&self.jobs).filter_map(|(spec, job)| match &job.status {
            Status::Failed(class, message) => {
                Some(FailedJob { key: spec.key, class: *class, message: message.clone() })
            }
            _ => None,
        })
    }

    /// Inputs of a job that are not settled. The assembly of a county also waits until the root is read.
    pub(crate) fn missing(&self, number: u32) -> u32 {
        let Some(spec) = self.graph.job(number) else { return 0 };
        let open = |input: &&u32| self.job(**input).is_some_and(|job| !job.status.is_settled());
        let inputs = spec.inputs.iter().filter(open).count();
        let is_root_unread = matches!(spec.key, JobKey::Assemble(_))
            && self.graph.root.is_some()
            && inputs == 0
            && self.root.closed_at.is_none();
        u32::try_from(inputs).unwrap_or(u32::MAX).saturating_add(u32::from(is_root_unread))
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let mut tally = Tally {
            attempts: self.tally.attempts,
            attempts_failed: self.tally.attempts_failed,
            leases_expired: self.tally.leases_expired,
            alarms: self.tally.alarms,
            ..Tally::default()
        };
        let (mut ready, mut delayed, mut open) = (0, 0, 0_u64);
        for (number, (spec, job)) in (0_u32..).zip(self.graph.jobs.iter().zip(&self.jobs)) {
            let stage = stage_index(spec.key.stage());
            tally.jobs[stage] += 1;
            tally.cost_total += spec.cost;
            let missing = self.missing(number);
            let is_right = match &job.status {
                Status::Waiting(waits_for) => *waits_for > 0 && *waits_for == missing,
                Status::Ready => {
                    ready += 1;
                    missing == 0 && self.ready.contains(&(rank(spec.key), number))
                }
                Status::Delayed(until) => {
                    delayed += 1;
                    missing == 0 && self.delayed.contains(&(*until, number))
                }
                Status::Leased(counter) => {
                    tally.running[stage] += 1;
                    missing == 0
                        && state.leases.get(counter).is_some_and(|lease| lease.job == number)
                        && self.phase == Phase::Running
                }
                Status::Done(_) => {
                    tally.done[stage] += 1;
                    tally.cost_done += spec.cost;
                    true
                }
                Status::Failed(..) => {
                    tally.failed[stage] += 1;
                    tally.cost_done += spec.cost;
                    true
                }
            };
            open += u64::from(!job.status.is_settled());
            if !is_right && self.phase != Phase::Cancelled {
                return Err(format!("{} is {:?} and misses {missing} inputs", spec.key, job.status));
            }
        }
        if tally != self.tally {
            return Err(format!("the counts are {:?} and the jobs say {tally:?}", self.tally));
        }
        let is_idle = self.ready.is_empty() && self.delayed.is_empty();
        match self.phase {
            Phase::Cancelled if !is_idle => Err("it was cancelled and has jobs to give out".into()),
            Phase::Cancelled => Ok(()),
            _ if (ready, delayed) != (self.ready.len(), self.delayed.len()) => {
                Err("ready or delayed jobs differ in number".into())
            }
            Phase::Ended if open > 0 => Err(format!("it has ended with {open} open jobs")),
            Phase::Running if open == 0 => Err("all jobs are settled and it has not ended".into()),
            _ => Ok(()),
        }
    }
}

/// The order in which ready jobs are given out: later stages first, so that memory and findings do not pile up.
pub(crate) fn rank(key: JobKey) -> u8 {
    match key.stage() {
        Stage::Assemble => 0,
        Stage::Merge => 1,
        Stage::Detect => 2,
        Stage::Calibrate => 3,
    }
}
