//! What a survey's page shows, brought together: how it stands, its plan, and the results that its counties have so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use imagery::commit::Output;
use proto::convert::enums::failure_class;
use proto::convert::job::{key, object};
use proto::v1;
use report::live::{self, CountyStanding, FailedJob, HeldJob, StageStanding, Standing, State, Worker};
use survey::failure::FailureClass;
use survey::grid::Block;
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;
use survey::result::CountyResult;

use super::Site;
use super::cache::notes;
use super::reply::Refusal;

/// Results that are fetched at the same time.
const CONCURRENT_FETCHES: usize = 8;
/// The most results of a survey that a page shows, bytes: those of the counties that come after are named only.
const SHOWN_BYTES: u64 = 128 << 20;

/// What is known of a survey.
pub struct Gathered {
    /// How it stands.
    pub standing: Standing,
    /// Who works.
    pub workers: Vec<Worker>,
    found: Option<Found>,
}

struct Found {
    plan: Arc<SurveyPlan>,
    notes: Vec<String>,
    counties: Vec<County>,
}

/// A county as it was gathered.
enum County {
    Open,
    Surveyed(Arc<CountyResult>),
    Unread(String),
    Failed(String),
    Cancelled,
}

impl Gathered {
    /// The page. Takes a while: geometry is drawn.
    ///
    /// # Errors
    /// What the report says.
    pub fn view(&self, open: Option<&str>) -> Result<live::View, report::ReportError> {
        let Some(Found { plan, notes, counties }) = &self.found else {
            return live::survey(&self.standing, &self.workers, None);
        };
        let running = running(plan, &self.standing.id, &self.workers);
        let lost =
            counties.iter().enumerate().filter(|(_, county)| matches!(county, County::Failed(_) | County::Cancelled));
        let pixels = live::owned_pixels(plan, lost.map(|(index, _)| index));
        let of = |index: usize| pixels.get(&index).copied().unwrap_or_default();
        let counties: Vec<CountyStanding<'_>> = counties
            .iter()
            .enumerate()
            .map(|(index, county)| match county {
                County::Open if running.contains(&index) => CountyStanding::Running,
                County::Open => CountyStanding::Pending,
                County::Surveyed(result) => CountyStanding::Surveyed(result),
                County::Unread(why) => CountyStanding::Unread(why),
                County::Failed(reason) => CountyStanding::Failed { reason, pixels: of(index) },
                County::Cancelled => CountyStanding::Cancelled { pixels: of(index) },
            })
            .collect();
        live::survey(&self.standing, &self.workers, Some(&live::Findings { plan, counties: &counties, notes, open }))
    }
}

impl Site {
    /// Everything of a survey's page.
    ///
    /// # Errors
    /// Nobody knows the survey; the coordinator has stopped.
    pub async fn gather(&self, name: &str) -> Result<Gathered, Refusal> {
        let survey = self.coordinator.survey(name).await?;
        let workers = self.coordinator.workers().await?.iter().map(worker).collect();
        let mut standing = self.standing(&survey);
        let found = match self.found(&survey, standing.state).await {
            Ok(found) => found,
            Err(cause) => {
                standing.problem = Some(format!("What was found cannot be shown: {cause}"));
                None
            }
        };
        Ok(Gathered { standing, workers, found })
    }

    /// How a survey stands.
    pub fn standing(&self, survey: &v1::Survey) -> Standing {
        Standing {
            id: survey.id.clone(),
            name: survey.name.clone(),
            state: match survey.state() {
                v1::SurveyState::Unspecified | v1::SurveyState::Planning => State::Planning,
                v1::SurveyState::Running => State::Running,
                v1::SurveyState::Complete => State::Complete,
                v1::SurveyState::CompleteWithGaps => State::CompleteWithGaps,
                v1::SurveyState::Failed => State::Failed,
                v1::SurveyState::Cancelled => State::Cancelled,
            },
            message: survey.message.clone(),
            stages: survey.stages.iter().map(stage).collect(),
            cost_done: survey.cost_done,
            cost_total: survey.cost_total,
            seconds_left: self.paces.left(survey),
            attempts_failed: survey.attempts_failed,
            leases_expired: survey.leases_expired,
            repaired: survey.repaired,
            alarms: survey.alarms,
            failed_jobs: survey.failed_jobs.iter().map(failed_job).collect(),
            problem: None,
        }
    }

    /// The output of a survey and what was submitted.
    ///
    /// # Errors
    /// Nobody knows it, or no store exists for it.
    pub async fn output(&self, survey: &str) -> Result<(Output, ObjectRef, Option<ObjectRef>), Refusal> {
        let submitted = self.coordinator.submitted(survey).await?;
        let submitted =
            submitted.ok_or_else(|| Refusal::missing(format!("{survey}: no such survey, or it has no plan yet")))?;
        let output = Output::open(&submitted.output, &self.stores).map_err(|error| Refusal::unreadable(&error))?;
        Ok((output, submitted.plan, submitted.notes))
    }

    async fn found(&self, survey: &v1::Survey, state: State) -> Result<Option<Found>, String> {
        let submitted = self.coordinator.submitted(&survey.id).await.map_err(|error| error.to_string())?;
        let Some(submitted) = submitted else { return Ok(None) };
        let output = Output::open(&submitted.output, &self.stores).map_err(|error| error.to_string())?;
        let plan = self.known.plan(&output, &submitted.plan).await?;
        let told: BTreeMap<&str, &v1::CountyOutcome> =
            survey.counties.iter().map(|county| (county.county.as_str(), county)).collect();
        let mut shown = 0_u64;
        let counties: Vec<Told> = plan
            .counties
            .iter()
            .map(|county| Told::of(told.get(county.id.as_ref()).copied(), state, &mut shown))
            .collect();
        let (known, place) = (&self.known, &output);
        let counties = futures::stream::iter(counties)
            .map(|county| async move {
                match county {
                    Told::Is(county) => county,
                    Told::Result(object) => match known.result(place, &object).await {
                        Ok(result) => County::Surveyed(result),
                        Err(cause) => County::Unread(format!("its result cannot be read: {cause}")),
                    },
                }
            })
            .buffered(CONCURRENT_FETCHES)
            .collect()
            .await;
        let notes = notes(&output, submitted.notes.as_ref()).await;
        Ok(Some(Found { plan, notes, counties }))
    }
}

/// What the coordinator tells of a county.
enum Told {
    Is(County),
    Result(ObjectRef),
}

impl Told {
    /// `shown` sums up the lengths of results.
    fn of(outcome: Option<&v1::CountyOutcome>, state: State, shown: &mut u64) -> Self {
        use v1::county_outcome::Outcome;
        match outcome.and_then(|outcome| outcome.outcome.as_ref()) {
            None if state.is_over() => Self::Is(County::Cancelled),
            None => Self::Is(County::Open),
            Some(Outcome::Failure(failure)) => Self::Is(County::Failed(failure.message.clone())),
            Some(Outcome::Result(reference)) => match object(reference.clone()) {
                Err(error) => Self::Is(County::Unread(error.to_string())),
                Ok(object) => {
                    *shown = shown.saturating_add(object.length);
                    if *shown > SHOWN_BYTES {
                        return Self::Is(County::Unread("too much was found to show it all; the report has it".into()));
                    }
                    Self::Result(object)
                }
            },
        }
    }
}

/// The counties that somebody works on: whose tiles or whose result.
fn running(plan: &SurveyPlan, survey: &str, workers: &[Worker]) -> BTreeSet<usize> {
    let held = workers.iter().flat_map(|worker| &worker.jobs).filter(|job| job.survey == survey);
    let mut running = BTreeSet::new();
    for job in held {
        match job.key {
            Some(JobKey::Assemble(county)) => {
                running.insert(county as usize);
            }
            Some(JobKey::Detect(tile)) => running.extend(under(plan, tile)),
            _ => {}
        }
    }
    running
}

fn under(plan: &SurveyPlan, tile: Block) -> Vec<usize> {
    live::counties_in(plan, tile.rect(plan.tile_px))
}

fn stage(stage: &v1::StageProgress) -> StageStanding {
    StageStanding {
        name: match stage.stage() {
            v1::Stage::Unspecified => "other",
            v1::Stage::Calibrate => "calibrate",
            v1::Stage::Detect => "detect",
            v1::Stage::Merge => "merge",
            v1::Stage::Assemble => "assemble",
        },
        jobs: stage.jobs,
        running: stage.running,
        done: stage.done,
        failed: stage.failed,
    }
}

fn failed_job(failed: &v1::FailedJob) -> FailedJob {
    FailedJob {
        job: failed.key.and_then(|wire| key(wire).ok()).map_or_else(|| "?".into(), |key| key.to_string()),
        class: failure_class(failed.class).map_or("unknown", class).to_owned(),
        message: failed.message.clone(),
    }
}

/// What a failure means, in a few words.
fn class(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Retryable => "failed every time",
        FailureClass::OutOfMemory => "out of memory",
        FailureClass::BadInput => "bad input",
        FailureClass::InputChanged => "an input changed",
        FailureClass::Poison => "poison",
        FailureClass::Fatal => "fatal",
        FailureClass::Cancelled => "cancelled",
    }
}

/// A worker as the page shows it.
pub fn worker(worker: &v1::Worker) -> Worker {
    Worker {
        name: worker.name.clone(),
        silent: Duration::from_millis(worker.silent_ms),
        memory_total: worker.memory_total,
        memory_free: worker.memory_free,
        is_draining: worker.draining,
        jobs: worker
            .jobs
            .iter()
            .map(|job| HeldJob {
                survey: job.survey.clone(),
                key: job.key.and_then(|wire| key(wire).ok()),
                held: Duration::from_millis(job.held_ms),
            })
            .collect(),
    }
}
