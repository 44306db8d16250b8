//! A worker's call from and to the wire. Everything that comes from outside has a limit.

use std::time::Duration;

use proto::convert::enums::failure_class;
use proto::convert::job::{job_to_wire, key, object};
use proto::{ConvertError, v1};
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use tracing::warn;

use crate::schedule::event::{Answer, Attempt, Completion, Failure, Poll};
use crate::schedule::policy::Policy;
use crate::service::invalid;

/// Longest name of a worker.
pub(super) const MAX_WORKER_NAME: usize = 200;
/// Most attempts that one call may list.
const MAX_LISTED: usize = 4096;
/// Longest message of a failure that is kept, bytes.
const MAX_MESSAGE: usize = 4096;
/// Most memory and slots that a worker may claim.
const MAX_MEMORY: u64 = 1 << 46;
const MAX_SLOTS: u32 = 1024;

fn attempt_from_wire(attempt: Option<v1::Attempt>) -> Result<Attempt, ConvertError> {
    let v1::Attempt { epoch, counter } = attempt.ok_or_else(|| invalid("attempt", "it is missing"))?;
    Ok(Attempt { epoch, counter })
}

fn attempt_to_wire(attempt: &Attempt) -> v1::Attempt {
    v1::Attempt { epoch: attempt.epoch, counter: attempt.counter }
}

pub(super) fn poll_from_wire(request: v1::PollRequest) -> Result<Poll, ConvertError> {
    if request.worker.is_empty() || request.worker.len() > MAX_WORKER_NAME {
        return Err(invalid("worker", format!("a name has 1 to {MAX_WORKER_NAME} characters")));
    }
    let listed = request.running.len() + request.completed.len() + request.failed.len();
    if listed > MAX_LISTED {
        return Err(invalid("running, completed, failed", format!("{listed} attempts in one call")));
    }
    let running = request
        .running
        .into_iter()
        .map(|running| Ok((attempt_from_wire(running.attempt)?, running.progress)))
        .collect::<Result<_, ConvertError>>()?;
    let mut failed: Vec<Failure> = request.failed.into_iter().map(failure_from_wire).collect::<Result<_, _>>()?;
    let mut completed = Vec::new();
    for report in request.completed {
        let attempt = attempt_from_wire(report.attempt)?;
        let job = key(report.key.ok_or_else(|| invalid("completed.key", "it is missing"))?)?;
        let survey = SurveyId(report.survey);
        let wall = Duration::from_millis(report.stats.map_or(0, |stats| stats.wall_ms));
        match report.object.ok_or_else(|| invalid("object", "it is missing")).and_then(object) {
            Ok(object) => completed.push(Completion { survey, key: job, attempt, object, wall }),
            // What it did may be sound and its report is not: another worker shall try.
            Err(error) => {
                warn!(worker = request.worker, job = %job, %error, "a completion names no valid object");
                let (class, message) = (FailureClass::Poison, format!("its worker reported no valid object: {error}"));
                failed.push(Failure { survey, key: job, attempt, class, message, damaged: Vec::new() });
            }
        }
    }
    Ok(Poll {
        worker: request.worker,
        sequence: request.sequence,
        memory_total: request.memory_total.min(MAX_MEMORY),
        memory_free: request.memory_free.min(MAX_MEMORY),
        slots: request.slots.min(MAX_SLOTS),
        running,
        completed,
        failed,
        draining: request.draining,
        wait: Duration::from_millis(u64::from(request.wait_ms)),
    })
}

fn failure_from_wire(report: v1::Failure) -> Result<Failure, ConvertError> {
    let mut message = report.message;
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    Ok(Failure {
        survey: SurveyId(report.survey),
        key: key(report.key.ok_or_else(|| invalid("failed.key", "it is missing"))?)?,
        attempt: attempt_from_wire(report.attempt)?,
        class: failure_class(report.class)?,
        message,
        damaged: Vec::new(),
    })
}

/// What a worker is told. `trace_of` gives the `traceparent` of a survey.
pub(super) fn answer_to_wire(
    answer: &Answer,
    policy: &Policy,
    trace_of: impl Fn(&SurveyId) -> String,
) -> v1::PollResponse {
    let milliseconds = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    v1::PollResponse {
        assignments: answer
            .assignments
            .iter()
            .map(|assignment| v1::Assignment {
                survey: assignment.survey.0.clone(),
                output: assignment.output.clone(),
                job: Some(job_to_wire(&assignment.job)),
                attempt: Some(attempt_to_wire(&assignment.attempt)),
                lease_ms: milliseconds(policy.lease),
                trace_parent: trace_of(&assignment.survey),
            })
            .collect(),
        acknowledged: answer.acknowledged.iter().map(attempt_to_wire).collect(),
        revoked: answer.revoked.iter().map(attempt_to_wire).collect(),
        poll_after_ms: milliseconds(policy.heartbeat),
        drain: answer.drain,
    }
}
