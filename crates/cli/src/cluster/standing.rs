//! How a survey stands, as a line and as JSON.

use proto::v1;
use proto::words::{STAGES, state};
use serde_json::{Value, json};

/// Whether nothing more will happen.
#[must_use]
pub fn is_over(survey: &v1::Survey) -> bool {
    !matches!(survey.state(), v1::SurveyState::Unspecified | v1::SurveyState::Planning | v1::SurveyState::Running)
}

/// One line: state, id, name, how far.
#[must_use]
pub fn line(survey: &v1::Survey) -> String {
    let mut line = format!("{} {} {}", state(survey), survey.id, printable(&survey.name));
    let jobs: u64 = survey.stages.iter().map(|stage| stage.jobs).sum();
    if jobs > 0 {
        let ended: u64 = survey.stages.iter().map(|stage| stage.done + stage.failed).sum();
        let percent = (survey.cost_done * 100).checked_div(survey.cost_total).unwrap_or(0);
        line.push_str(&format!(": {percent} % of the work, {ended} of {jobs} jobs"));
        let failed: u64 = survey.stages.iter().map(|stage| stage.failed).sum();
        if failed > 0 {
            line.push_str(&format!(", {failed} failed"));
        }
        if !is_over(survey) {
            line.push_str(&format!(", {} workers", survey.workers));
        }
    }
    if !survey.message.is_empty() {
        line.push_str(": ");
        line.push_str(&printable(&survey.message));
    }
    line
}

/// For machines.
#[must_use]
pub fn document(survey: &v1::Survey) -> Value {
    let stages: serde_json::Map<String, Value> = survey
        .stages
        .iter()
        .zip(STAGES)
        .map(|(stage, name)| {
            let counts =
                json!({ "jobs": stage.jobs, "running": stage.running, "done": stage.done, "failed": stage.failed });
            (name.to_owned(), counts)
        })
        .collect();
    json!({
        "id": survey.id, "name": survey.name, "state": state(survey), "message": survey.message, "output": survey.output,
        "submission": survey.submission, "stages": stages, "cost_done": survey.cost_done, "cost_total": survey.cost_total,
        "workers": survey.workers, "attempts": survey.attempts, "attempts_failed": survey.attempts_failed,
        "leases_expired": survey.leases_expired, "repaired": survey.repaired, "alarms": survey.alarms,
    })
}

/// A stranger's text without control characters, on one line.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
