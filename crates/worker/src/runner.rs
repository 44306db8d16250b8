//! What does a job: the seam between getting work and doing it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use survey::failure::FailureClass;
use survey::job::Job;

use crate::error::JobError;
use crate::jobs::{Committed, JobStats};

/// A job to do.
#[derive(Clone, Debug)]
pub struct Work {
    /// The survey.
    pub survey: String,
    /// URL of its output.
    pub output: String,
    /// The job.
    pub job: Job,
    /// To be told that the job gets on.
    pub progress: Progress,
}

/// A number that grows while a job gets on. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The job has got on.
    pub fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it has.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq)]
pub struct JobFailure {
    /// What that means for a scheduler.
    pub class: FailureClass,
    /// Why, in words.
    pub message: String,
}

impl From<JobError> for JobFailure {
    fn from(error: JobError) -> Self {
        Self { class: error.class(), message: error.to_string() }
    }
}

/// Does jobs. Dropping the future stops the job at its next pause.
pub trait JobRunner: Send + Sync + 'static {
    /// Does a job; what it committed is durable.
    fn run(&self, work: Work) -> BoxFuture<'_, Result<Committed, JobFailure>>;

    /// Fetches what a job will read first, while it waits for its turn, and says what that cost. What cannot be fetched is left
    /// to the job. May be dropped at any time.
    fn fetch_ahead<'a>(&'a self, _: &'a Work) -> BoxFuture<'a, JobStats> {
        std::future::ready(JobStats::default()).boxed()
    }

    /// Whether what a job reads lies beyond a network, where an answer can take longer than the work on it.
    fn is_far<'a>(&'a self, _: &'a Work) -> BoxFuture<'a, bool> {
        std::future::ready(false).boxed()
    }
}
