//! What makes results of a survey that has ended, as the coordinator sees it.

use imagery::commit::Output;
use survey::failure::FailureClass;
use survey::plan::SurveyPlan;

use crate::aggregate::SurveyOutcome;

/// Writes a survey's results under its output. The coordinator calls it when the last job has ended, again after failures
/// that may pass, and again after a crash: so it must be idempotent. A survey is complete when it has returned.
#[tonic::async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Writes the results of a survey. `notes` are the planner's remarks, which stand in them.
    ///
    /// # Errors
    /// What the failure means, and why in the user's words.
    async fn publish(
        &self,
        plan: &SurveyPlan,
        notes: &[String],
        outcome: &SurveyOutcome,
        output: &Output,
    ) -> Result<(), PublishError>;
}

/// Why results could not be written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct PublishError {
    /// `Retryable` where another attempt may succeed.
    pub class: FailureClass,
    /// Why, in the user's words.
    pub message: String,
}

/// Writes nothing: for tests, and where the results are made elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResults;

#[tonic::async_trait]
impl Publisher for NoResults {
    async fn publish(&self, _: &SurveyPlan, _: &[String], _: &SurveyOutcome, _: &Output) -> Result<(), PublishError> {
        Ok(())
    }
}
