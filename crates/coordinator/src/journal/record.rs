//! The records of a journal: what outlives a coordinator.

use proto::v1;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

use crate::schedule::event::Attempt;

/// Something that outlives a coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A spec was submitted and is to be planned.
    Received(Received),
    /// A spec's survey could not be planned.
    Refused {
        /// The submission.
        submission: String,
        /// Whether another attempt makes sense; `Cancelled` where somebody stopped it.
        class: FailureClass,
        /// Why, in the user's words.
        message: String,
    },
    /// A spec has become a survey, which may have been there before.
    Became {
        /// The submission.
        submission: String,
        /// The survey.
        survey: SurveyId,
    },
    /// A survey was submitted; where its spec was, that has become this survey.
    Submitted(Submitted),
    /// A job is done.
    Completed {
        /// The survey.
        survey: SurveyId,
        /// The job.
        key: JobKey,
        /// What it committed.
        object: ObjectRef,
    },
    /// An attempt failed and was counted.
    AttemptFailed {
        /// The survey.
        survey: SurveyId,
        /// The job.
        key: JobKey,
        /// What the failure means.
        class: FailureClass,
        /// Why, in words.
        message: String,
    },
    /// A job failed for good.
    Failed {
        /// The survey.
        survey: SurveyId,
        /// The job.
        key: JobKey,
        /// What the failure means.
        class: FailureClass,
        /// Why, in words.
        message: String,
    },
    /// The survey was stopped. An [`Record::Ended`] of the same append says what is left of it.
    Cancelled {
        /// The survey.
        survey: SurveyId,
    },
    /// A job that was settled is open again.
    Reopened {
        /// The survey.
        survey: SurveyId,
        /// The job.
        key: JobKey,
    },
    /// The survey is over. With ledgers, these hold what the journal knew of its jobs, and the journal forgets it.
    Ended {
        /// The survey.
        survey: SurveyId,
        /// What is left of it.
        end: Box<SurveyEnd>,
    },
}

/// A spec that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Digest of the submission, hexadecimal.
    pub submission: String,
    /// The survey's name.
    pub name: String,
    /// URL of the output; empty for a place of the coordinator's own.
    pub output: String,
    /// See `SubmitSurveyRequest`.
    pub priority: u32,
}

/// A submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The survey.
    pub survey: SurveyId,
    /// Its name.
    pub name: String,
    /// The committed plan.
    pub plan: ObjectRef,
    /// The planner's remarks, committed, where there are any.
    pub notes: Option<ObjectRef>,
    /// URL of its output.
    pub output: String,
    /// See `PlanSubmission`.
    pub halo_px: u32,
    /// See `PlanSubmission`.
    pub max_job_memory: u64,
    /// See `SubmitSurveyRequest`.
    pub priority: u32,
    /// Software that the survey is done with.
    pub version: String,
    /// Digest of the spec's submission; empty where a plan was submitted.
    pub submission: String,
    /// The first attempt whose completion counts.
    pub since: Attempt,
}

/// What is left of a survey that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyEnd {
    /// Its last state, as it is told.
    pub survey: v1::Survey,
    /// What became of its jobs, committed under its output; empty where the journal still holds that itself.
    pub ledgers: Vec<ObjectRef>,
}
