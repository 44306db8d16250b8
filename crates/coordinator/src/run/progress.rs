//! A survey as it is told to users.

use proto::convert::enums::{failure_class_to_wire, stage_to_wire};
use proto::convert::job::{key_to_wire, object_to_wire};
use proto::v1;
use survey::ids::SurveyId;
use survey::job::{JobKey, Stage};

use crate::schedule::state::{FailedJob, Phase, State, SurveyState};

/// Most failed jobs that are listed.
const MAX_FAILED: usize = 1000;

/// A survey's progress, failures and counties.
#[must_use]
pub(crate) fn survey(state: &State, id: &SurveyId) -> Option<v1::Survey> {
    let survey = state.survey(id)?;
    let tally = survey.tally();
    let stages = Stage::ALL
        .into_iter()
        .map(|stage| {
            let at = stage.index();
            v1::StageProgress {
                stage: stage_to_wire(stage),
                jobs: tally.jobs[at],
                running: tally.running[at],
                done: tally.done[at],
                failed: tally.failed[at],
            }
        })
        .collect();
    let failed: Vec<FailedJob> = survey.failed().collect();
    // Jobs that are all done do not make a survey complete: its results do, and the registry knows of these.
    let phase = match survey.phase() {
        Phase::Running | Phase::Ended => v1::SurveyState::Running,
        Phase::Cancelled => v1::SurveyState::Cancelled,
    };
    Some(v1::Survey {
        id: id.0.clone(),
        name: survey.name().to_owned(),
        state: phase as i32,
        stages,
        cost_total: tally.cost_total,
        cost_done: tally.cost_done,
        workers: u32::try_from(state.workers()).unwrap_or(u32::MAX),
        alarms: tally.alarms,
        counties: counties(survey, &failed),
        failed_jobs: failed.iter().take(MAX_FAILED).map(failed_to_wire).collect(),
        attempts: tally.attempts,
        attempts_failed: tally.attempts_failed,
        leases_expired: tally.leases_expired,
        ..v1::Survey::default()
    })
}

fn failed_to_wire(job: &FailedJob) -> v1::FailedJob {
    v1::FailedJob {
        key: Some(key_to_wire(job.key)),
        class: failure_class_to_wire(job.class),
        message: job.message.clone(),
    }
}

fn counties(survey: &SurveyState, failed: &[FailedJob]) -> Vec<v1::CountyOutcome> {
    use v1::county_outcome::Outcome;
    (0_u32..)
        .zip(&survey.graph().counties)
        .map(|(index, county)| {
            let key = JobKey::Assemble(index);
            let result = survey.object(key).map(|object| Outcome::Result(object_to_wire(&object)));
            let failure = || failed.iter().find(|job| job.key == key).map(|job| Outcome::Failure(failed_to_wire(job)));
            v1::CountyOutcome { county: county.0.clone(), outcome: result.or_else(failure) }
        })
        .collect()
}
