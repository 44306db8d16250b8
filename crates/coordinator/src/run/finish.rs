//! From the last job of a survey to its end: the results are written, what is known of its jobs goes to ledgers under its
//! output, and then the journal says that it is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use imagery::commit::Output;
use prost::Message;
use proto::v1;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::aggregate::{self, CountyOutcome, SurveyOutcome};
use crate::error::CoordinatorError;
use crate::journal::record::Submitted;
use crate::journal::{Journal, JournalReader};
use crate::publish::Publisher;
use crate::run::{Command, Standing, Task};
use crate::schedule::event::{Effect, Event};
use crate::schedule::step::step;

/// Attempts at writing results, and the first and the longest pause between them: about four hours in all.
const ATTEMPTS: u32 = 250;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Jobs in one ledger.
const LEDGER_JOBS: usize = 100_000;
/// Objects that are looked at at the same time.
const CONCURRENT_FETCHES: usize = 16;

/// How the end of a survey went.
pub(crate) struct Finished {
    survey: SurveyId,
    outcome: Finish,
}

enum Finish {
    Published {
        state: v1::SurveyState,
        ledgers: Vec<ObjectRef>,
    },
    /// Results that jobs had committed are lost or damaged.
    Damaged(Vec<(JobKey, ObjectRef)>),
    Failed(String),
}

/// What is needed to finish a survey.
struct Finisher {
    submitted: Submitted,
    output: Output,
    told: v1::Survey,
    resumed_jobs: u64,
    publisher: Arc<dyn Publisher>,
    reader: Arc<dyn JournalReader>,
}

impl<J: Journal> Task<J> {
    /// Writes the results of a survey whose jobs are all settled, aside.
    pub(super) fn finish(&self, id: &SurveyId) {
        let Some(entry) = self.registry.surveys.get(id) else { return };
        let (Some(output), Some(told)) = (entry.output.clone(), self.registry.survey(&self.state, id)) else { return };
        let finisher = Finisher {
            submitted: entry.submitted.clone(),
            output,
            told,
            resumed_jobs: entry.resumed_jobs,
            publisher: Arc::clone(&self.publisher),
            reader: Arc::clone(&self.reader),
        };
        let own = self.own.clone();
        tokio::spawn(async move { finisher.run(own).await });
    }

    /// The end of a survey went some way.
    pub(super) fn finished(&mut self, finished: Finished, now: Duration, effects: &mut Vec<Effect>) {
        let Finished { survey, outcome } = finished;
        let Some(entry) = self.registry.surveys.get_mut(&survey) else { return };
        if !matches!(entry.standing, Standing::Publishing) {
            return;
        }
        match outcome {
            Finish::Published { state, ledgers } => self.end(&survey, state, String::new(), ledgers, effects),
            Finish::Failed(message) => {
                self.end(&survey, v1::SurveyState::Failed, message, Vec::new(), effects);
            }
            Finish::Damaged(damaged) => {
                entry.standing = Standing::Running;
                effects.extend(step(&mut self.state, Event::Damaged { survey, damaged }, now));
            }
        }
    }
}

impl Finisher {
    async fn run(self, own: mpsc::WeakSender<Command>) {
        let survey = self.submitted.survey.clone();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let outcome = match self.try_once().await {
                Ok(outcome) => outcome,
                Err((FailureClass::Retryable, cause)) if attempt < ATTEMPTS => {
                    warn!(%survey, cause, attempt, "the results cannot be written yet");
                    if own.upgrade().is_none() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
                Err((_, cause)) => {
                    error!(%survey, cause, "the results cannot be written");
                    Finish::Failed(format!("the results could not be written: {cause}"))
                }
            };
            if let Some(own) = own.upgrade() {
                let _ = own.send(Command::Finished(Finished { survey, outcome })).await;
            }
            return;
        }
    }

    async fn try_once(&self) -> Result<Finish, (FailureClass, String)> {
        let failed = |error: CoordinatorError| (error.class(), error.to_string());
        let stored = |error: imagery::ImageryError| (error.class(), error.to_string());
        let plan = fetch_plan(&self.output, &self.submitted.plan).await.map_err(failed)?;
        let notes = fetch_notes(&self.output, self.submitted.notes.as_ref()).await.map_err(failed)?;
        let outcome = match aggregate::collect(&self.output, &self.told, self.resumed_jobs).await {
            Ok(outcome) => outcome,
            Err(error) if error.class() == FailureClass::BadInput => {
                let damaged = self.damaged_results().await.map_err(stored)?;
                return if damaged.is_empty() { Err(failed(error)) } else { Ok(Finish::Damaged(damaged)) };
            }
            Err(error) => return Err(failed(error)),
        };
        if let Err(error) = self.publisher.publish(&plan, &notes, &outcome, &self.output).await {
            // What it reads beside the results are the objects that these name.
            if error.class == FailureClass::BadInput {
                let damaged = self.results_with_damaged_chips(&outcome).await.map_err(stored)?;
                if !damaged.is_empty() {
                    return Ok(Finish::Damaged(damaged));
                }
            }
            return Err((error.class, error.message));
        }
        let state = if outcome.has_gaps() { v1::SurveyState::CompleteWithGaps } else { v1::SurveyState::Complete };
        Ok(Finish::Published { state, ledgers: self.write_ledgers().await.map_err(failed)? })
    }

    /// The counties whose committed results are not there, whole.
    async fn damaged_results(&self) -> Result<Vec<(JobKey, ObjectRef)>, imagery::ImageryError> {
        let results = (0_u32..).zip(&self.told.counties).filter_map(|(index, county)| match &county.outcome {
            Some(v1::county_outcome::Outcome::Result(object)) => {
                let object = proto::convert::job::object(object.clone()).ok()?;
                Some((JobKey::Assemble(index), object))
            }
            _ => None,
        });
        damaged_among(&self.output, results.collect()).await
    }

    async fn results_with_damaged_chips(
        &self,
        outcome: &SurveyOutcome,
    ) -> Result<Vec<(JobKey, ObjectRef)>, imagery::ImageryError> {
        let mut damaged = Vec::new();
        for (index, county) in (0_u32..).zip(&outcome.counties) {
            let CountyOutcome::Assembled { result, object } = county else { continue };
            let key = JobKey::Assemble(index);
            let chips = result.chips.iter().map(|chip| (key, chip.object.clone())).collect();
            if !damaged_among(&self.output, chips).await?.is_empty() {
                damaged.push((key, object.clone()));
            }
        }
        Ok(damaged)
    }

    /// Commits what the journal knows of the survey's jobs, so that the journal may forget it.
    async fn write_ledgers(&self) -> Result<Vec<ObjectRef>, CoordinatorError> {
        let jobs = self.reader.jobs(&self.submitted.survey).await?;
        let rows: Vec<v1::JobRow> = jobs.rows().collect();
        let mut ledgers = Vec::new();
        for (number, jobs) in rows.chunks(LEDGER_JOBS).enumerate() {
            let bytes = v1::Ledger { jobs: jobs.to_vec() }.encode_to_vec();
            ledgers.push(self.output.commit(&format!("ledgers/{number}"), "pb", Bytes::from(bytes)).await?);
        }
        Ok(ledgers)
    }
}

/// Those of committed objects that are lost or damaged.
///
/// # Errors
/// The store fails in a way that says nothing about the objects.
pub(crate) async fn damaged_among(
    output: &Output,
    objects: Vec<(JobKey, ObjectRef)>,
) -> Result<Vec<(JobKey, ObjectRef)>, imagery::ImageryError> {
    let mut looked_at = futures::stream::iter(objects)
        .map(|(key, object)| async move {
            let fetched = output.fetch(&object).await.map(|_| ());
            (key, object, fetched)
        })
        .buffered(CONCURRENT_FETCHES);
    let mut damaged = Vec::new();
    while let Some((key, object, fetched)) = looked_at.next().await {
        match fetched {
            Ok(()) => {}
            Err(error) if error.class() == FailureClass::BadInput => {
                warn!(job = %key, %error, "a committed object is lost or damaged");
                damaged.push((key, object));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(damaged)
}

/// The plan of a survey.
pub(crate) async fn fetch_plan(
    output: &Output,
    plan: &ObjectRef,
) -> Result<survey::plan::SurveyPlan, CoordinatorError> {
    let bytes = output.fetch(plan).await?;
    proto::objects::decode_plan(&bytes).map_err(|error| CoordinatorError::Object { key: plan.key.clone(), error })
}

/// The planner's remarks.
pub(crate) async fn fetch_notes(output: &Output, notes: Option<&ObjectRef>) -> Result<Vec<String>, CoordinatorError> {
    let Some(notes) = notes else { return Ok(Vec::new()) };
    let bytes = output.fetch(notes).await?;
    let decoded = v1::SurveyNotes::decode(bytes).map_err(|error| CoordinatorError::Object {
        key: notes.key.clone(),
        error: proto::ConvertError::Invalid { field: "note".into(), problem: error.to_string() },
    })?;
    Ok(decoded.note)
}
