//! Objects that were committed and are lost or damaged: the jobs that left them are done again, and those that read them
//! wait.

use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

use crate::journal::Record;
use crate::schedule::books::Status;
use crate::schedule::event::{Effect, Failure};
use crate::schedule::settle::Blame;
use crate::schedule::state::{Lease, Phase, State, SurveyNumber, Timer};

/// How long a reader pauses while an input that the graph does not show is done again.
const PAUSE: Duration = Duration::from_secs(5);

impl State {
    /// Opens jobs again whose objects are lost or damaged; those that were opened too often fail for good. A survey whose
    /// jobs had all been settled goes on.
    pub(super) fn reopen(
        &mut self,
        id: &SurveyId,
        damaged: &[(JobKey, ObjectRef)],
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(&number) = self.ids.get(id) else { return };
        for (key, object) in damaged {
            let Some(survey) = self.surveys.get(number).filter(|survey| survey.phase != Phase::Cancelled) else {
                return;
            };
            let Some(job) = survey.graph.number(*key) else { continue };
            // What was done again since then is not the object that was found damaged... unless it has the same bytes, and
            // then it is looked at again.
            if survey.books.object(job, *key).as_ref() == Some(object) {
                let times = survey.repairs.get(&job).copied().unwrap_or(0) + 1;
                let message = format!("its object `{}` was lost or damaged {times} times", object.key);
                self.reopen_job(number, job, FailureClass::BadInput, &message, now, effects);
            }
        }
    }

    /// Opens a job again that is done; one that was opened too often fails for good, for the reason given.
    pub(super) fn reopen_job(
        &mut self,
        number: SurveyNumber,
        job: u32,
        class: FailureClass,
        message: &str,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let most = self.policy.root_repairs;
        let Some(survey) = self.surveys.get_mut(number) else { return };
        let Some(key) = survey.graph.key(job) else { return };
        if !survey.books.set(job, Status::Waiting(0)) {
            return;
        }
        survey.count_open(job);
        survey.phase = Phase::Running;
        effects.push(Effect::Record(Record::Reopened { survey: survey.id.clone(), key }));
        let repairs = survey.repairs.entry(job).or_default();
        *repairs += 1;
        let is_given_up = *repairs > most;
        if survey.graph.root == Some(job) {
            survey.root.closed_at = None;
            survey.root.failed_reads = 0;
            self.forget_root(number);
        }
        self.hold_back_dependants(number, job);
        self.has_fresh = true;
        self.touch(number);
        if is_given_up {
            self.fail(number, job, class, message, now, effects);
        } else if let Some(survey) = self.surveys.get_mut(number) {
            survey.place(job);
        }
        // Where the survey had ended before this coordinator began, nobody has read the root yet.
        if self.surveys.get(number).is_some_and(|survey| survey.root.retry_at.is_none()) {
            self.ask_for_root(number, now, effects);
        }
    }

    /// What reads a job that is open again waits for it; what runs is revoked.
    fn hold_back_dependants(&mut self, number: SurveyNumber, job: u32) {
        let dependants = self.surveys.get(number).map(|survey| survey.readers(job)).unwrap_or_default();
        for dependant in dependants {
            let status = self.surveys.get(number).and_then(|survey| survey.books.status(dependant));
            if status.is_none_or(|status| status.is_settled()) {
                continue;
            }
            self.make_way(number, dependant);
            if let Some(survey) = self.surveys.get_mut(number) {
                survey.place(dependant);
            }
        }
    }

    /// An attempt failed because inputs are lost or damaged: that is not its own failure. The lease is released already.
    pub(super) fn failed_for_its_inputs(
        &mut self,
        failure: &Failure,
        lease: &Lease,
        runs_on: bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let (number, job) = (lease.survey, lease.job);
        self.reopen(&failure.survey, &failure.damaged, now, effects);
        let Some(survey) = self.surveys.get_mut(number) else { return };
        let status = |key: JobKey| survey.graph.number(key).and_then(|input| survey.books.status(input));
        let is_open = failure.damaged.iter().any(|(key, _)| status(*key).is_some_and(|status| !status.is_settled()));
        let is_given_up = failure.damaged.iter().any(|(key, _)| matches!(status(*key), Some(Status::Failed) | None));
        match survey.books.status(job) {
            // It stands nowhere: the graph does not show that it reads them, or they are there again.
            Some(Status::Waiting(0)) if is_open => {
                let until = now + PAUSE;
                survey.troubles.entry(job).or_default().until = until;
                survey.delay(job);
                self.timers.insert((until, Timer::Retry(number, job)));
            }
            Some(Status::Waiting(0)) => {
                let class = if is_given_up { failure.class } else { FailureClass::Retryable };
                let blame = Blame::Job(class);
                self.try_again(number, job, &lease.worker, blame, &failure.message, runs_on, now, effects);
            }
            // It waits for them.
            Some(Status::Waiting(_) | Status::Ready) => {
                let (survey, message) = (survey.id.clone(), failure.message.clone());
                let (key, class) = (failure.key, failure.class);
                effects.push(Effect::Record(Record::AttemptFailed { survey, key, class, message }));
            }
            _ => {}
        }
    }
}
