//! The records of a journal, and how they are written (`proto/groundbreak/v1/journal.proto`).

use proto::ConvertError;
use proto::convert::enums::{failure_class, failure_class_to_wire};
use proto::convert::job::{key, key_to_wire, object, object_to_wire};
use proto::v1;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

/// Something that outlives a coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A survey was submitted.
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
    /// The survey was stopped.
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
    /// See `SubmitSurveyRequest`.
    pub halo_px: u32,
    /// See `SubmitSurveyRequest`.
    pub max_job_memory: u64,
    /// Software that the survey is done with.
    pub version: String,
}

/// A record as a message.
#[must_use]
pub fn to_wire(record: &Record) -> v1::JournalRecord {
    use v1::journal_record::Record as Wire;
    let record = match record {
        Record::Submitted(submitted) => Wire::Submitted(v1::SurveySubmitted {
            survey: submitted.survey.0.clone(),
            name: submitted.name.clone(),
            plan: Some(object_to_wire(&submitted.plan)),
            halo_px: submitted.halo_px,
            max_job_memory: submitted.max_job_memory,
            version: submitted.version.clone(),
        }),
        Record::Completed { survey, key, object } => Wire::Completed(v1::JobCompleted {
            survey: survey.0.clone(),
            key: Some(key_to_wire(*key)),
            object: Some(object_to_wire(object)),
        }),
        Record::AttemptFailed { survey, key, class, message } => Wire::AttemptFailed(v1::AttemptFailed {
            survey: survey.0.clone(),
            key: Some(key_to_wire(*key)),
            class: failure_class_to_wire(*class),
            message: message.clone(),
        }),
        Record::Failed { survey, key, class, message } => Wire::Failed(v1::JobFailed {
            survey: survey.0.clone(),
            key: Some(key_to_wire(*key)),
            class: failure_class_to_wire(*class),
            message: message.clone(),
        }),
        Record::Cancelled { survey } => Wire::Cancelled(v1::SurveyCancelled { survey: survey.0.clone() }),
        Record::Reopened { survey, key } => {
            Wire::Reopened(v1::JobReopened { survey: survey.0.clone(), key: Some(key_to_wire(*key)) })
        }
    };
    v1::JournalRecord { record: Some(record) }
}

/// The record of a message; `None` for one that only concerns the journal itself.
///
/// # Errors
/// A part is missing or invalid.
pub fn from_wire(record: v1::JournalRecord) -> Result<Option<Record>, ConvertError> {
    use v1::journal_record::Record as Wire;
    let missing = |field: &str| ConvertError::Invalid { field: field.to_owned(), problem: "it is missing".to_owned() };
    let job = |message: Option<v1::JobKey>| key(message.ok_or_else(|| missing("key"))?);
    let committed = |message: Option<v1::ObjectRef>| object(message.ok_or_else(|| missing("object"))?);
    Ok(Some(match record.record.ok_or_else(|| missing("record"))? {
        Wire::Opened(_) => return Ok(None),
        Wire::Submitted(submitted) => Record::Submitted(Submitted {
            survey: SurveyId(submitted.survey),
            name: submitted.name,
            plan: committed(submitted.plan)?,
            halo_px: submitted.halo_px,
            max_job_memory: submitted.max_job_memory,
            version: submitted.version,
        }),
        Wire::Completed(done) => {
            Record::Completed { survey: SurveyId(done.survey), key: job(done.key)?, object: committed(done.object)? }
        }
        Wire::AttemptFailed(failed) => Record::AttemptFailed {
            survey: SurveyId(failed.survey),
            key: job(failed.key)?,
            class: failure_class(failed.class)?,
            message: failed.message,
        },
        Wire::Failed(failed) => Record::Failed {
            survey: SurveyId(failed.survey),
            key: job(failed.key)?,
            class: failure_class(failed.class)?,
            message: failed.message,
        },
        Wire::Cancelled(cancelled) => Record::Cancelled { survey: SurveyId(cancelled.survey) },
        Wire::Reopened(reopened) => Record::Reopened { survey: SurveyId(reopened.survey), key: job(reopened.key)? },
    }))
}
