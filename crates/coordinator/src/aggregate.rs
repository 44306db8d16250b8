//! From the counties' committed results to the outcome of a survey.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use imagery::commit::Output;
use proto::convert::enums::failure_class;
use proto::convert::job::{key, object};
use proto::{ConvertError, v1};
use survey::failure::FailureClass;
use survey::ids::{CountyId, SurveyId};
use survey::job::{JobKey, ObjectRef};
use survey::result::CountyResult;

use crate::error::CoordinatorError;
pub use crate::schedule::state::FailedJob;

/// Results that are fetched at the same time.
const CONCURRENT_FETCHES: usize = 8;

/// How a survey ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SurveyOutcome {
    /// The survey.
    pub survey: SurveyId,
    /// It was stopped before its end.
    pub is_cancelled: bool,
    /// One outcome per planned county, in the plan's order.
    pub counties: Vec<CountyOutcome>,
    /// Jobs that failed for good, by key; at most 1000.
    pub failed_jobs: Vec<FailedJob>,
    /// What this execution took: not part of any result.
    pub execution: Execution,
}

/// How a county ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CountyOutcome {
    /// It was assembled, with gaps or without.
    Assembled {
        /// Its result.
        result: Arc<CountyResult>,
        /// Where that is stored.
        object: ObjectRef,
    },
    /// Its assembly failed for good.
    Failed {
        /// The county.
        county: CountyId,
        /// What the failure means.
        class: FailureClass,
        /// Why, in words.
        reason: String,
    },
    /// The survey was stopped before it.
    Cancelled {
        /// The county.
        county: CountyId,
    },
}

impl SurveyOutcome {
    /// Whether something was lost to jobs that failed for good: a county has no result, or pixels of one were. Pixels that
    /// could not be observed (cloud, no scene, unreadable blocks) are counted in the results and are no such gap.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.counties.iter().any(|county| match county {
            CountyOutcome::Assembled { result, .. } => result.coverage.failed_job > 0,
            CountyOutcome::Failed { .. } | CountyOutcome::Cancelled { .. } => true,
        }) || !self.failed_jobs.is_empty()
    }
}

/// What an execution took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Execution {
    /// Jobs of the survey.
    pub jobs: u64,
    /// Jobs that an earlier execution had done.
    pub resumed_jobs: u64,
    /// Attempts that began.
    pub attempts: u64,
    /// Attempts that were reported as failed.
    pub attempts_failed: u64,
    /// Attempts that were given up because nothing was heard of them.
    pub leases_expired: u64,
    /// Completions with other bytes than those in the books: a bug, or a bad machine.
    pub alarms: u64,
}

/// Collects what a survey in a final state has left under `output`.
///
/// # Errors
/// A result cannot be fetched or makes no sense.
pub async fn collect(
    output: &Output,
    survey: &v1::Survey,
    resumed_jobs: u64,
) -> Result<SurveyOutcome, CoordinatorError> {
    let counties = futures::stream::iter(survey.counties.clone())
        .map(|county| county_outcome(output, county))
        .buffered(CONCURRENT_FETCHES)
        .try_collect()
        .await?;
    Ok(SurveyOutcome {
        survey: SurveyId(survey.id.clone()),
        is_cancelled: survey.state == v1::SurveyState::Cancelled as i32,
        counties,
        failed_jobs: survey
            .failed_jobs
            .iter()
            .cloned()
            .map(failed_job)
            .collect::<Result<_, _>>()
            .map_err(CoordinatorError::BadRequest)?,
        execution: Execution {
            jobs: survey.stages.iter().map(|stage| stage.jobs).sum(),
            resumed_jobs,
            attempts: survey.attempts,
            attempts_failed: survey.attempts_failed,
            leases_expired: survey.leases_expired,
            alarms: survey.alarms,
        },
    })
}

async fn county_outcome(output: &Output, outcome: v1::CountyOutcome) -> Result<CountyOutcome, CoordinatorError> {
    use v1::county_outcome::Outcome;
    let county = CountyId(outcome.county);
    match outcome.outcome {
        None => Ok(CountyOutcome::Cancelled { county }),
        Some(Outcome::Failure(failure)) => {
            let FailedJob { class, message, .. } = failed_job(failure).map_err(CoordinatorError::BadRequest)?;
            Ok(CountyOutcome::Failed { county, class, reason: message })
        }
        Some(Outcome::Result(reference)) => {
            let reference = object(reference).map_err(CoordinatorError::BadRequest)?;
            let unfit = |error| CoordinatorError::Object { key: reference.key.clone(), error };
            let bytes = output.fetch(&reference).await?;
            let result = proto::objects::decode_county_result(&bytes).map_err(unfit)?;
            if result.county != county {
                let problem = format!("it is the result of {}, not of {county}", result.county);
                return Err(unfit(ConvertError::Invalid { field: "county".into(), problem }));
            }
            Ok(CountyOutcome::Assembled { result: Arc::new(result), object: reference })
        }
    }
}

fn failed_job(failed: v1::FailedJob) -> Result<FailedJob, ConvertError> {
    let missing = || ConvertError::Invalid { field: "key".into(), problem: "it is missing".into() };
    let key: JobKey = key(failed.key.ok_or_else(missing)?)?;
    Ok(FailedJob { key, class: failure_class(failed.class)?, message: failed.message })
}
