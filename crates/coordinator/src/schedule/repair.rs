//! Objects that were committed and are lost or damaged: the jobs that left them are done again, and those that read them
//! wait.

use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

use crate::journal::Record;
use crate::schedule::event::{Effect, Failure};
use crate::schedule::state::{Phase, State, Status};

/// How long a reader pauses while an input that the graph does not show is done again.
const PAUSE: Duration = Duration::from_secs(5);

impl State {
    /// Opens jobs again whose objects are lost or damaged; those that were opened too often fail for good. A survey whose
    /// jobs had all been settled goes on.
    pub(crate) fn reopen(&mut self, id: &SurveyId, damaged: &[(JobKey, ObjectRef)], effects: &mut Vec<Effect>) {
        for (key, object) in damaged {
            let Some(survey) = self.surveys.get_mut(id).filter(|survey| survey.phase != Phase::Cancelled) else {
                return;
            };
            let Some(number) = survey.graph.number(*key) else { continue };
            // What was done again since then is not the object that was found damaged... unless it has the same bytes, and
            // then it is looked at again.
            if survey.job(number).is_none_or(|job| job.status != Status::Done(object.clone())) {
                continue;
            }
            survey.phase = Phase::Running;
            effects.push(Effect::Record(Record::Reopened { survey: id.clone(), key: *key }));
            effects.push(Effect::Changed(id.clone()));
            survey.unsettle(number);
            if survey.graph.root == Some(number) {
                survey.root.closed_at = None;
                survey.root.failed_reads = 0;
                survey.root.retry_at = None;
            }
            self.hold_back_dependants(id, number);
            let Some(survey) = self.surveys.get_mut(id) else { return };
            let repairs = survey.repairs.entry(number).or_default();
            *repairs += 1;
            if *repairs > self.policy.root_repairs {
                let message = format!("its object `{}` was lost or damaged {repairs} times", object.key);
                self.fail(id, number, FailureClass::BadInput, message, effects);
            } else {
                survey.place(number);
            }
        }
    }

    /// What reads a job that is open again waits for it; what runs is revoked.
    fn hold_back_dependants(&mut self, id: &SurveyId, number: u32) {
        let Some(survey) = self.surveys.get(id) else { return };
        let dependants = survey.graph.job(number).map(|spec| spec.dependants.clone()).unwrap_or_default();
        for dependant in dependants {
            let Some(status) =
                self.surveys.get(id).and_then(|survey| survey.job(dependant)).map(|job| job.status.clone())
            else {
                continue;
            };
            match status {
                Status::Done(_) | Status::Failed(..) => continue,
                Status::Leased(counter) => {
                    self.release(counter);
                }
                Status::Waiting(_) | Status::Ready | Status::Delayed(_) => {}
            }
            if let Some(survey) = self.surveys.get_mut(id) {
                survey.place(dependant);
            }
        }
    }

    /// An attempt failed because inputs are lost or damaged: that is not its own failure. The lease is released already.
    pub(crate) fn failed_for_its_inputs(
        &mut self,
        failure: &Failure,
        number: u32,
        worker: &str,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let id = &failure.survey;
        if let Some(survey) = self.surveys.get_mut(id)
            && let Some(job) = survey.job_mut(number)
        {
            // So that it stands somewhere while what it reads is opened again.
            job.status = Status::Waiting(0);
        }
        self.reopen(id, &failure.damaged, effects);
        let Some(survey) = self.surveys.get_mut(id) else { return };
        let status =
            |key: JobKey| survey.graph.number(key).and_then(|number| survey.job(number)).map(|job| &job.status);
        let is_open = failure.damaged.iter().any(|(key, _)| status(*key).is_some_and(|status| !status.is_settled()));
        if survey.missing(number) > 0 {
            effects.push(Effect::Record(Record::AttemptFailed {
                survey: id.clone(),
                key: failure.key,
                class: failure.class,
                message: failure.message.clone(),
            }));
            survey.place(number);
        } else if is_open {
            survey.delay(number, now + PAUSE);
        } else {
            // What it reads is there again, or is given up.
            let is_given_up =
                failure.damaged.iter().any(|(key, _)| matches!(status(*key), Some(Status::Failed(..)) | None));
            let class = if is_given_up { failure.class } else { FailureClass::Retryable };
            self.try_again(id, number, worker, class, &failure.message, now, effects);
        }
    }

    /// Forgets a survey that is over, so that its memory is free.
    pub(crate) fn forget(&mut self, id: &SurveyId) {
        if self.surveys.get(id).is_some_and(|survey| survey.phase != Phase::Running) {
            self.surveys.remove(id);
        }
    }
}
