//! From a plan to a survey that is being done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imagery::commit::Output;
use prost::Message;
use proto::v1;
use survey::failure::FailureClass;
use survey::plan::SurveyPlan;
use tracing::{info, warn};

use crate::error::CoordinatorError;
use crate::journal::record::Submitted;
use crate::journal::{JobBook, Record, is_same};
use crate::resume;
use crate::run::{Begin, Command, Entry, Standing, fetch_notes, fetch_plan};
use crate::schedule::event::{Earlier, Submission};
use crate::schedule::graph::Graph;
use crate::service::{Coordinator, invalid};

/// Longest id of a survey, and longest name.
const MAX_ID: usize = 200;
const MAX_NAME: usize = 1000;
/// The jobs of so many cells are listed in well under a millisecond.
const FEW_CELLS: usize = 256;
/// First and longest pause before a survey that was left is looked at again, where its output cannot be read.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a submission came to.
#[derive(Clone)]
pub(super) struct Accepted {
    pub survey: v1::Survey,
    pub resumed_jobs: u64,
    pub notes: Vec<String>,
}

impl Coordinator {
    /// Begins a survey whose plan is committed under its output, joins it where it is being done, or says how it ended.
    pub(super) async fn submit_plan(
        &self,
        submitted: Submitted,
        plan: SurveyPlan,
        output: Output,
        again: bool,
    ) -> Result<Accepted, CoordinatorError> {
        check_names(&plan)?;
        let look = (Box::new(submitted.clone()), output.label());
        let known = self.ask(|reply| Command::Look { submitted: look.0, label: look.1, reply }).await??;
        let is_new = match &known {
            None => true,
            Some(Entry { standing: Standing::Left, .. }) => true,
            Some(Entry { standing: Standing::Ended(_), submitted: earlier, .. }) => {
                again || !is_same(earlier, &submitted)
            }
            Some(_) => false,
        };
        let notes = fetch_notes(&output, submitted.notes.as_ref()).await?;
        if !is_new {
            let id = submitted.survey.0.clone();
            let survey = self.ask(|reply| Command::Get { survey: id, reply }).await??;
            return Ok(Accepted { survey, resumed_jobs: 0, notes });
        }
        resume::claim(&output, &plan).await?;
        let begin = self.prepare(submitted, plan, output, known).await?;
        let resumed_jobs = begin.submission.completed.len() as u64;
        // Before it begins: its first jobs are given out at once.
        self.remember_trace(&begin.submitted.survey);
        let survey = self.ask(|reply| Command::Begin { begin: Box::new(begin), reply }).await??;
        Ok(Accepted { survey, resumed_jobs, notes })
    }

    /// What is to be done of a plan, after what an earlier run has left was looked at.
    async fn prepare(
        &self,
        submitted: Submitted,
        plan: SurveyPlan,
        output: Output,
        known: Option<Entry>,
    ) -> Result<Begin, CoordinatorError> {
        let graph = graph(plan, submitted.halo_px).await?;
        if let Some((needed, job)) = graph.largest_memory()
            && needed > submitted.max_job_memory
        {
            let (needed_mib, given_mib) = (needed.div_ceil(1 << 20), submitted.max_job_memory >> 20);
            return Err(CoordinatorError::TooLarge { job, needed_mib, given_mib });
        }
        let mut records = Vec::new();
        let mut completed = Default::default();
        if let Some(entry) = known.filter(|entry| is_same(&entry.submitted, &submitted)) {
            let (jobs, is_in_journal) = self.earlier_jobs(&entry, &output).await?;
            let reopened;
            (completed, reopened) = resume::what_stands(&output, &submitted.survey, &jobs, &graph).await?;
            if is_in_journal {
                records = reopened;
            } else {
                let survey = &submitted.survey;
                let done = completed.iter();
                records = done
                    .map(|(&key, object)| Record::Completed { survey: survey.clone(), key, object: object.clone() })
                    .collect();
            }
        }
        let submission = submission(&submitted, graph, completed, Earlier::default());
        Ok(Begin { submitted, output, submission, records, is_left: false })
    }

    /// What became of a survey's jobs, and whether the journal still knows it.
    async fn earlier_jobs(&self, entry: &Entry, output: &Output) -> Result<(JobBook, bool), CoordinatorError> {
        match &entry.standing {
            Standing::Ended(end) if !end.ledgers.is_empty() => {
                Ok((resume::read_ledgers(output, &end.ledgers).await?, false))
            }
            _ => Ok((self.reader.jobs(&entry.submitted.survey).await?, true)),
        }
    }

    /// Goes on with a survey that the journal left unfinished, as soon as its output can be read.
    pub(super) async fn go_on(self, submitted: Submitted) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = self.open_left(&submitted).await;
            match begun {
                Ok(()) => return,
                Err(_) if self.commands.is_closed() => return,
                Err(error) if error.class() == FailureClass::Retryable => {
                    warn!(survey = %submitted.survey, %error, "a survey that was left cannot go on yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    let (survey, message) = (submitted.survey.clone(), format!("it cannot go on: {error}"));
                    let _ = self.commands.send(Command::GiveUp { survey, message }).await;
                    return;
                }
            }
        }
    }

    async fn open_left(&self, submitted: &Submitted) -> Result<(), CoordinatorError> {
        if submitted.version != survey::VERSION {
            let found = submitted.version.clone();
            return Err(CoordinatorError::OtherVersion { found, running: survey::VERSION });
        }
        let output = Output::open(&submitted.output, &self.stores)?;
        let plan = fetch_plan(&output, &submitted.plan).await?;
        // Each takes seconds where there are millions of jobs.
        let jobs = async { Ok(self.reader.jobs(&submitted.survey).await?) };
        let (graph, jobs) = tokio::try_join!(graph(plan, submitted.halo_px), jobs)?;
        let JobBook { completed, failed, attempts: attempts_failed } = jobs;
        info!(survey = %submitted.survey, done = completed.len(), "a survey that was left goes on");
        let earlier = Earlier { failed, attempts_failed, is_cancelled: false };
        let submission = submission(submitted, graph, completed, earlier);
        let begin = Begin { submitted: submitted.clone(), output, submission, records: Vec::new(), is_left: true };
        self.ask(|reply| Command::Begin { begin: Box::new(begin), reply }).await??;
        Ok(())
    }
}

fn submission(
    submitted: &Submitted,
    graph: Graph,
    completed: std::collections::BTreeMap<survey::job::JobKey, survey::job::ObjectRef>,
    earlier: Earlier,
) -> Submission {
    Submission {
        survey: submitted.survey.clone(),
        name: submitted.name.clone(),
        plan: submitted.plan.clone(),
        output: submitted.output.clone(),
        graph,
        max_job_memory: submitted.max_job_memory,
        completed,
        priority: submitted.priority,
        since: submitted.since,
        earlier,
    }
}

/// The jobs of a plan: work for another thread where there may be millions. Those of a small plan are listed before a thread
/// would have begun, and always at the same instant of a simulation.
async fn graph(plan: SurveyPlan, halo_px: u32) -> Result<Graph, CoordinatorError> {
    let halo = i32::try_from(halo_px).unwrap_or(0);
    if plan.cells.len() <= FEW_CELLS {
        return Ok(Graph::new(&plan, halo));
    }
    let graph = tokio::task::spawn_blocking(move || Graph::new(&plan, halo));
    graph.await.map_err(|error| CoordinatorError::Stopped(format!("the plan's jobs could not be listed: {error}")))
}

/// Commits the planner's remarks beside the plan.
pub(super) async fn commit_notes(
    output: &Output,
    notes: &[String],
) -> Result<Option<survey::job::ObjectRef>, CoordinatorError> {
    if notes.is_empty() {
        return Ok(None);
    }
    let bytes = v1::SurveyNotes { note: notes.to_vec() }.encode_to_vec();
    Ok(Some(output.commit("notes", "pb", Bytes::from(bytes)).await?))
}

/// A survey's id is a part of rows' keys, and its name is shown.
fn check_names(plan: &SurveyPlan) -> Result<(), CoordinatorError> {
    let id = &plan.survey.0;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(is_plain) {
        let problem = format!("a survey's id has 1 to {MAX_ID} letters, digits, `-`, `_` and `.`");
        return Err(CoordinatorError::BadRequest(invalid("plan.survey", problem)));
    }
    if plan.name.len() > MAX_NAME {
        let problem = format!("a survey's name has at most {MAX_NAME} bytes");
        return Err(CoordinatorError::BadRequest(invalid("plan.name", problem)));
    }
    Ok(())
}

/// Shared by those who plan.
pub(super) type Planners = Arc<tokio::sync::Semaphore>;
