//! The protocol's states and stages as words: in lists, in JSON, in metrics.

use crate::v1;

/// Names of the stages, in the protocol's order.
pub const STAGES: [&str; 4] = ["calibrate", "detect", "merge", "assemble"];

/// States that a survey can be in.
pub const STATES: [&str; 6] = ["planning", "running", "complete", "complete-with-gaps", "failed", "cancelled"];

/// A survey's state: one of [`STATES`].
#[must_use]
pub fn state(survey: &v1::Survey) -> &'static str {
    use v1::SurveyState as State;
    match survey.state() {
        State::Unspecified => "unknown",
        State::Planning => "planning",
        State::Running => "running",
        State::Complete => "complete",
        State::CompleteWithGaps => "complete-with-gaps",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}
