//! What a journal says, folded: surveys and submissions, which are few, and the jobs of one survey, which may be many
//! and are read when they are needed.

use std::collections::BTreeMap;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

use crate::journal::record::{Received, Submitted, SurveyEnd};

/// The surveys and submissions of a journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    /// Specs, by the digest of their submission.
    pub submissions: BTreeMap<String, SubmissionBook>,
    /// Surveys.
    pub surveys: BTreeMap<SurveyId, SurveyBook>,
}

/// A spec that was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionBook {
    /// What was submitted.
    pub received: Received,
    /// What became of it; `None` while it is planned.
    pub fate: Option<SubmissionFate>,
}

/// What became of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmissionFate {
    /// A survey.
    Became(SurveyId),
    /// Nothing.
    Refused {
        /// What that means.
        class: FailureClass,
        /// Why, in the user's words.
        message: String,
    },
}

/// A survey.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyBook {
    /// The newest submission.
    pub submitted: Submitted,
    /// How it ended, where it has.
    pub end: Option<SurveyEnd>,
    /// Rows of jobs with a smaller generation are void.
    pub(crate) generation: u64,
}

/// The jobs of a survey that are settled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobBook {
    /// Jobs that are done.
    pub completed: BTreeMap<JobKey, ObjectRef>,
    /// Jobs that failed for good.
    pub failed: BTreeMap<JobKey, (FailureClass, String)>,
    /// Attempts that failed and were counted.
    pub attempts: Vec<(JobKey, FailureClass)>,
}
