//! What happens to a schedule, and what is to be done about it.

use std::collections::BTreeMap;
use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::{Digest, SurveyId};
use survey::job::{Job, JobKey, ObjectRef};

use crate::journal::Record;
use crate::schedule::graph::Graph;

/// One try at a job. Ordered: attempts of an earlier coordinator come before those of a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// The coordinator that gave it out.
    pub epoch: u64,
    /// Its number there.
    pub counter: u64,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A survey is to be done.
    Submit(Box<Submission>),
    /// A worker calls.
    Poll(Poll),
    /// The root findings were read, or could not be.
    RootRead {
        /// The survey.
        survey: SurveyId,
        /// What was read.
        object: ObjectRef,
        /// Where each county's closed components are.
        read: Result<BTreeMap<u32, Vec<ObjectRef>>, (FailureClass, String)>,
    },
    /// Committed objects were found to be lost or damaged.
    Damaged {
        /// The survey.
        survey: SurveyId,
        /// The jobs that left them, and what they left.
        damaged: Vec<(JobKey, ObjectRef)>,
    },
    /// A survey is to stop.
    Cancel(SurveyId),
    /// A worker is to take no more work and to leave when what it holds is done.
    Drain(String),
    /// Time passes.
    Tick,
}

/// A survey to be done, with what an earlier run left.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Its id.
    pub survey: SurveyId,
    /// Its name.
    pub name: String,
    /// The committed plan.
    pub plan: ObjectRef,
    /// URL of the output.
    pub output: String,
    /// The jobs.
    pub graph: Graph,
    /// The most that a worker reserves for one job, bytes.
    pub max_job_memory: u64,
    /// Jobs that are done already.
    pub completed: BTreeMap<JobKey, ObjectRef>,
    /// Its share of the workers beside other surveys, from 1; see [`DEFAULT_PRIORITY`].
    pub priority: u32,
    /// The first attempt whose completion counts: what earlier ones read may have been made again since.
    pub since: Attempt,
    /// What else the journal says of it.
    pub earlier: Earlier,
}

/// The priority of a survey where nobody says another: one of twice as much gets twice the work done.
pub const DEFAULT_PRIORITY: u32 = 100;

/// What a coordinator that takes over a running survey finds in the journal beside what is done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Earlier {
    /// Jobs that have failed for good.
    pub failed: BTreeMap<JobKey, (FailureClass, String)>,
    /// Attempts that failed and were counted, of jobs that are open: so that their bounds hold across restarts.
    pub attempts_failed: Vec<(JobKey, FailureClass)>,
    /// It was cancelled.
    pub is_cancelled: bool,
}

/// A worker's call.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// The worker: unique per process start.
    pub worker: String,
    /// Grows by one with each of its calls.
    pub sequence: u64,
    /// Bytes that it has for jobs in all.
    pub memory_total: u64,
    /// Bytes that are not reserved.
    pub memory_free: u64,
    /// Jobs that it would start now.
    pub slots: u32,
    /// Attempts that it holds, with their progress.
    pub running: Vec<(Attempt, u64)>,
    /// Jobs that it has done.
    pub completed: Vec<Completion>,
    /// Attempts that failed.
    pub failed: Vec<Failure>,
    /// It takes no more work.
    pub draining: bool,
    /// How long it is willing to wait.
    pub wait: Duration,
}

/// A job that a worker says it has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The survey.
    pub survey: SurveyId,
    /// The job.
    pub key: JobKey,
    /// Its attempt.
    pub attempt: Attempt,
    /// What it committed.
    pub object: ObjectRef,
    /// How long it took, as the worker says; zero where it does not.
    pub wall: Duration,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The survey.
    pub survey: SurveyId,
    /// The job.
    pub key: JobKey,
    /// The attempt.
    pub attempt: Attempt,
    /// What the failure means.
    pub class: FailureClass,
    /// Why, in words.
    pub message: String,
    /// Inputs that were found to be lost or damaged: the jobs that left them, and what they left.
    pub damaged: Vec<(JobKey, ObjectRef)>,
}

/// What is to be done. In order; a record is durable before what follows it is said to anybody.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write down.
    Record(Record),
    /// Answer a worker's call.
    Answer {
        /// The worker.
        worker: String,
        /// Which call.
        sequence: u64,
        /// What to say.
        answer: Answer,
    },
    /// Read the root findings and say where each county's components are.
    ReadRoot {
        /// The survey.
        survey: SurveyId,
        /// The root findings.
        object: ObjectRef,
    },
    /// Two attempts at the same job committed different bytes: a broken machine, or a bug.
    Alarm {
        /// The survey.
        survey: SurveyId,
        /// The job.
        key: JobKey,
        /// What is in the books.
        booked: Digest,
        /// What was reported.
        reported: Digest,
        /// By whom.
        worker: String,
    },
    /// A survey's progress or state is another.
    Changed(SurveyId),
    /// An invariant is broken, so that nothing of this step may be written down or said: a fault of the software, and
    /// a coordinator that starts anew from the journal is in order again.
    Broken(String),
}

/// An answer to a worker's call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Jobs to do.
    pub assignments: Vec<Assignment>,
    /// Reports that are in the books.
    pub acknowledged: Vec<Attempt>,
    /// Attempts that are no longer wanted.
    pub revoked: Vec<Attempt>,
    /// The worker is to leave when what it holds is done.
    pub drain: bool,
}

impl Answer {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.assignments.is_empty() && self.acknowledged.is_empty() && self.revoked.is_empty() && !self.drain
    }
}

/// A job for a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The survey.
    pub survey: SurveyId,
    /// URL of its output.
    pub output: String,
    /// The job.
    pub job: Job,
    /// The attempt.
    pub attempt: Attempt,
}
