//! From a spec to a survey: planned aside, a few at a time, once however often it is submitted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use imagery::commit::Output;
use imagery::store::Stores;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::spec::SurveySpec;
use tokio::sync::watch;
use tracing::{Instrument, info, warn};

use crate::error::CoordinatorError;
use crate::journal::record::{Received, Submitted};
use crate::journal::{Record, SubmissionFate};
use crate::plan::{self, Depth, Planned};
use crate::run::{Command, fetch_notes, fetch_plan};
use crate::schedule::event::Attempt;
use crate::service::Coordinator;
use crate::service::spec::Spec;
use crate::service::submit::{Accepted, commit_notes};

/// Specs that may be planned or wait to be.
const MOST_PLANNED: usize = 64;
/// Attempts at a plan where a catalog or store fails in a way that may pass, and the pause after the first, which doubles.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

type Outcome = Option<Result<Accepted, CoordinatorError>>;

/// Specs that are being planned, by the digest of their submission.
#[derive(Clone, Default)]
pub(super) struct Plannings(Arc<Mutex<BTreeMap<String, Planning>>>);

struct Planning {
    outcome: watch::Receiver<Outcome>,
    cancel: Arc<tokio::sync::Notify>,
}

impl Plannings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Planning>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the planning of a submission.
    pub(super) fn cancel(&self, submission: &str) -> Option<watch::Receiver<Outcome>> {
        let plannings = self.lock();
        let planning = plannings.get(submission)?;
        planning.cancel.notify_one();
        Some(planning.outcome.clone())
    }
}

/// Waits for the end of a planning.
pub(super) async fn outcome_of(mut outcome: watch::Receiver<Outcome>) -> Result<Accepted, CoordinatorError> {
    let gone = || CoordinatorError::Stopped("it is shutting down".to_owned());
    let decided = outcome.wait_for(Option::is_some).await.map_err(|_| gone())?;
    decided.clone().unwrap_or_else(|| Err(gone()))
}

impl Coordinator {
    /// Plans a spec and begins its survey; joins where that is being done; says what it became where that was done.
    pub(super) async fn submit_spec(
        &self,
        spec: Spec,
        again: bool,
        priority: u32,
    ) -> Result<Accepted, CoordinatorError> {
        let submission = spec.submission.clone();
        let known = self.ask(|reply| Command::Spec { submission: submission.clone(), reply }).await?;
        if let Some(SubmissionFate::Became(survey)) = known.and_then(|book| book.fate) {
            return self.became(survey, again).await;
        }
        spec.keep(&self.state).await?;
        let received =
            Received { submission, name: spec.spec.survey.name.clone(), output: spec.output.clone(), priority };
        let outcome = self.plan_aside(spec, received, true)?;
        outcome_of(outcome).await
    }

    /// What a spec became, done again where that is asked.
    async fn became(&self, survey: SurveyId, again: bool) -> Result<Accepted, CoordinatorError> {
        let submitted = self.ask(|reply| Command::Submitted { survey: survey.clone(), reply }).await?;
        let submitted = submitted.ok_or_else(|| CoordinatorError::UnknownSurvey(survey.0.clone()))?;
        let output = Output::open(&submitted.output, &self.stores)?;
        if again {
            let plan = fetch_plan(&output, &submitted.plan).await?;
            return self.submit_plan(submitted, plan, output, true).await;
        }
        let notes = fetch_notes(&output, submitted.notes.as_ref()).await.unwrap_or_default();
        let survey = self.ask(|reply| Command::Get { survey: survey.0, reply }).await??;
        Ok(Accepted { survey, resumed_jobs: 0, notes })
    }

    /// Goes on with a spec whose planning was cut off.
    pub(super) async fn plan_left(self, received: Received) {
        let kept = Spec::kept(&self.state, &received.submission, received.output.clone()).await;
        let outcome = match kept {
            Ok(spec) => self.plan_aside(spec, received.clone(), false),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            let _ = self.refuse(&received.submission, &error).await;
        }
    }

    /// Plans a spec in a task of its own, unless one does already.
    fn plan_aside(
        &self,
        spec: Spec,
        received: Received,
        is_new: bool,
    ) -> Result<watch::Receiver<Outcome>, CoordinatorError> {
        let mut plannings = self.plannings.lock();
        if let Some(planning) = plannings.get(&received.submission) {
            return Ok(planning.outcome.clone());
        }
        if is_new && plannings.len() >= MOST_PLANNED {
            return Err(CoordinatorError::Busy(plannings.len()));
        }
        let (decide, outcome) = watch::channel(None);
        let cancel = Arc::new(tokio::sync::Notify::new());
        let planning = Planning { outcome: outcome.clone(), cancel: Arc::clone(&cancel) };
        plannings.insert(received.submission.clone(), planning);
        drop(plannings);
        let coordinator = self.clone();
        let planning = async move {
            let submission = received.submission.clone();
            let decided = coordinator.decide(spec, received, is_new, &cancel).await;
            decide.send_replace(Some(decided));
            coordinator.plannings.lock().remove(&submission);
        };
        // It goes on with the trace of who submitted the spec.
        tokio::spawn(planning.in_current_span());
        Ok(outcome)
    }

    /// Plans a spec, and writes down what came of it.
    async fn decide(
        &self,
        spec: Spec,
        received: Received,
        is_new: bool,
        cancel: &tokio::sync::Notify,
    ) -> Result<Accepted, CoordinatorError> {
        if is_new {
            let record = Record::Received(received.clone());
            self.ask(|reply| Command::Note { record, reply }).await?;
        }
        let submission = received.submission.clone();
        let planned = tokio::select! {
            planned = self.plan_and_begin(spec, received) => planned,
            () = cancel.notified() => Err(CoordinatorError::Refused {
                class: FailureClass::Cancelled,
                message: "it was cancelled while it was planned".into(),
            }),
        };
        match &planned {
            Ok(accepted) => {
                let survey = SurveyId(accepted.survey.id.clone());
                self.ask(|reply| Command::Note { record: Record::Became { submission, survey }, reply }).await?;
            }
            // The next coordinator plans it.
            Err(_) if self.commands.is_closed() => {}
            Err(error) => self.refuse(&submission, error).await?,
        }
        planned
    }

    async fn refuse(&self, submission: &str, error: &CoordinatorError) -> Result<(), CoordinatorError> {
        info!(submission, %error, "a submission is refused");
        let (submission, class, message) = (submission.to_owned(), error.class(), error.to_string());
        self.ask(|reply| Command::Note { record: Record::Refused { submission, class, message }, reply }).await
    }

    async fn plan_and_begin(&self, spec: Spec, received: Received) -> Result<Accepted, CoordinatorError> {
        let closed = |_| CoordinatorError::Stopped("it is shutting down".to_owned());
        let _permit = self.planners.acquire().await.map_err(closed)?;
        let toml = spec.toml.clone();
        let (spec, stores) = spec.planned_with(&self.state, &self.stores)?;
        let Planned { plan, warnings } = planned(spec, stores).await?;
        let output = match received.output.as_str() {
            "" => Output::open(&format!("{}surveys/{}", self.state.url(), plan.survey), &self.stores)?,
            url => Output::open(url, &self.stores)?,
        };
        crate::resume::refuse_other_survey(&output, &plan).await?;
        let object = output.commit("plan", "pb", Bytes::from(proto::objects::encode_plan(&plan))).await?;
        let submitted = Submitted {
            survey: plan.survey.clone(),
            name: plan.name.clone(),
            plan: object,
            notes: commit_notes(&output, &warnings).await?,
            output: output.url().to_string(),
            halo_px: (self.halo_px)(&plan),
            max_job_memory: self.max_job_memory,
            priority: received.priority,
            version: survey::VERSION.to_owned(),
            submission: received.submission,
            since: Attempt::default(),
        };
        let accepted = self.submit_plan(submitted, plan, output.clone(), false).await?;
        output.put("spec.toml", Bytes::from(toml)).await?;
        Ok(accepted)
    }
}

/// Plans on a thread of its own: choosing scenes for a country is much to compute.
async fn planned(spec: SurveySpec, stores: Stores) -> Result<Planned, CoordinatorError> {
    let mut attempt = 1;
    loop {
        let (spec, stores) = (spec.clone(), stores.clone());
        let runtime = tokio::runtime::Handle::current();
        let planned = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let planned = plan::plan(&spec, &stores, Depth::Files).await;
                planned.map_err(|error| (error.class(), error.to_string()))
            })
        });
        let broke = |error: tokio::task::JoinError| (FailureClass::Fatal, format!("planning broke down: {error}"));
        match planned.await.map_err(broke).and_then(|planned| planned) {
            Ok(planned) => return Ok(planned),
            Err((FailureClass::Retryable, message)) if attempt < ATTEMPTS => {
                warn!(message, attempt, "planning is tried again");
                tokio::time::sleep(PAUSE * (1 << attempt)).await;
                attempt += 1;
            }
            Err((class, message)) => return Err(CoordinatorError::Refused { class, message }),
        }
    }
}
