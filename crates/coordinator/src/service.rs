//! The gRPC services, and the coordinator behind them.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::Stream;
use imagery::commit::Output;
use proto::convert::enums::failure_class;
use proto::convert::job::{job_to_wire, key, object};
use proto::v1::survey_service_server::{SurveyService, SurveyServiceServer};
use proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use proto::{ConvertError, MAX_MESSAGE_BYTES, v1};
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::plan::SurveyPlan;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status};
use tracing::{instrument, warn};

use crate::clock::Clock;
use crate::error::CoordinatorError;
use crate::journal::history::Histories;
use crate::journal::record::Submitted;
use crate::journal::{Journal, JournalStore, Record};
use crate::resume;
use crate::run::{Command, Fate, QUEUE, Task};
use crate::schedule::event::{Answer, Attempt, Completion, Failure, Poll, Submission};
use crate::schedule::graph::Graph;
use crate::schedule::policy::Policy;
use crate::schedule::state::State;

/// Longest name of a worker.
const MAX_WORKER_NAME: usize = 200;
/// Most attempts that one call may list.
const MAX_LISTED: usize = 4096;
/// Longest message of a failure that is kept, bytes.
const MAX_MESSAGE: usize = 4096;
/// Most memory and slots that a worker may claim.
const MAX_MEMORY: u64 = 1 << 46;
const MAX_SLOTS: u32 = 1024;
/// Largest halo.
const MAX_HALO_PX: u32 = 4096;

/// What a coordinator is started with.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Leases, retries and pauses.
    pub policy: Policy,
    /// Names this process start in the journal: different for each.
    pub writer: String,
}

/// A coordinator at work. Clones talk to the same one; it ends with the last of them.
#[derive(Clone)]
pub struct Coordinator {
    commands: mpsc::Sender<Command>,
    output: Output,
    policy: Policy,
    fate: Fate,
}

impl Coordinator {
    /// Takes over the journal and starts to work, on the runtime that this is called on.
    ///
    /// # Errors
    /// The journal cannot be taken over.
    pub async fn start<S: JournalStore>(
        config: CoordinatorConfig,
        journal: &S,
        output: Output,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CoordinatorError> {
        let (journal, records) = journal.open(&config.writer).await?;
        let (commands, receiver) = mpsc::channel(QUEUE);
        let fate: Fate = Arc::new(OnceLock::new());
        let task = Task {
            state: State::new(journal.epoch(), config.policy.clone()),
            histories: Histories::of(records),
            journal,
            output: output.clone(),
            clock,
            commands: receiver,
            own: commands.downgrade(),
            fate: Arc::clone(&fate),
        };
        tokio::spawn(task.run());
        Ok(Self { commands, output, policy: config.policy, fate })
    }

    /// The service that surveys are submitted to.
    #[must_use]
    pub fn survey_service(&self) -> SurveyServiceServer<Self> {
        SurveyServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The service that workers call.
    #[must_use]
    pub fn worker_service(&self) -> WorkerServiceServer<Self> {
        WorkerServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A server with both services, to be served on any transport.
    #[must_use]
    pub fn router(&self) -> tonic::transport::server::Router {
        tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .add_service(self.survey_service())
            .add_service(self.worker_service())
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, CoordinatorError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| why_stopped(&self.fate))?;
        answer.await.map_err(|_| why_stopped(&self.fate))
    }

    /// Fetches the plan, finds out what an earlier run has left, and begins.
    async fn submit(&self, request: v1::SubmitSurveyRequest) -> Result<v1::SubmitSurveyResponse, CoordinatorError> {
        let missing = ConvertError::Invalid { field: "plan".into(), problem: "it is missing".into() };
        let plan_object =
            object(request.plan.ok_or(CoordinatorError::BadRequest(missing))?).map_err(CoordinatorError::BadRequest)?;
        let bytes = self.output.fetch(&plan_object).await?;
        let plan: SurveyPlan = proto::objects::decode_plan(&bytes)
            .map_err(|error| CoordinatorError::Object { key: plan_object.key.clone(), error })?;
        let histories = self.ask(|reply| Command::History { reply }).await?;
        resume::refuse_others(&self.output, histories.iter(), &plan).await?;
        let halo = i32::try_from(request.halo_px.min(MAX_HALO_PX)).unwrap_or(0);
        let graph = Graph::new(&plan, halo);
        if let Some((needed, job)) = graph.largest_memory()
            && needed > request.max_job_memory
        {
            let (needed_mib, given_mib) = (needed.div_ceil(1 << 20), request.max_job_memory >> 20);
            return Err(CoordinatorError::TooLarge { job, needed_mib, given_mib });
        }
        let submitted = Submitted {
            survey: plan.survey.clone(),
            name: plan.name.clone(),
            plan: plan_object.clone(),
            halo_px: request.halo_px,
            max_job_memory: request.max_job_memory,
            version: survey::VERSION.to_owned(),
        };
        let earlier = histories
            .iter()
            .find(|history| history.submitted.plan == plan_object && history.submitted.version == submitted.version);
        let mut records = vec![Record::Submitted(submitted)];
        let completed = match earlier {
            Some(history) => {
                let (completed, reopened) = resume::what_stands(&self.output, history, &graph).await?;
                records.extend(reopened);
                completed
            }
            None => Default::default(),
        };
        let resumed_jobs = completed.len() as u64;
        let submission = Box::new(Submission {
            survey: plan.survey,
            name: plan.name,
            plan: plan_object,
            output: self.output.url().to_string(),
            graph,
            max_job_memory: request.max_job_memory,
            completed,
        });
        let survey = self.ask(|reply| Command::Submit { submission, records, reply }).await?;
        Ok(v1::SubmitSurveyResponse { survey: Some(survey), resumed_jobs })
    }
}

#[tonic::async_trait]
impl SurveyService for Coordinator {
    #[instrument(skip_all)]
    async fn submit_survey(
        &self,
        request: Request<v1::SubmitSurveyRequest>,
    ) -> Result<Response<v1::SubmitSurveyResponse>, Status> {
        Ok(Response::new(self.submit(request.into_inner()).await?))
    }

    async fn get_survey(&self, request: Request<v1::GetSurveyRequest>) -> Result<Response<v1::Survey>, Status> {
        let survey = SurveyId(request.into_inner().survey);
        let found = self.ask(|reply| Command::Get { survey: survey.clone(), reply }).await?;
        Ok(Response::new(found.ok_or(CoordinatorError::UnknownSurvey(survey))?))
    }

    async fn list_surveys(
        &self,
        _request: Request<v1::ListSurveysRequest>,
    ) -> Result<Response<v1::ListSurveysResponse>, Status> {
        let surveys = self.ask(|reply| Command::List { reply }).await?;
        Ok(Response::new(v1::ListSurveysResponse { surveys }))
    }

    type WatchSurveyStream = Pin<Box<dyn Stream<Item = Result<v1::Survey, Status>> + Send>>;

    async fn watch_survey(
        &self,
        request: Request<v1::WatchSurveyRequest>,
    ) -> Result<Response<Self::WatchSurveyStream>, Status> {
        let survey = SurveyId(request.into_inner().survey);
        let found = self.ask(|reply| Command::Watch { survey: survey.clone(), reply }).await?;
        let receiver = found.ok_or(CoordinatorError::UnknownSurvey(survey))?;
        Ok(Response::new(Box::pin(until_over(receiver, Arc::clone(&self.fate)))))
    }

    async fn cancel_survey(&self, request: Request<v1::CancelSurveyRequest>) -> Result<Response<v1::Survey>, Status> {
        let survey = SurveyId(request.into_inner().survey);
        let found = self.ask(|reply| Command::Cancel { survey: survey.clone(), reply }).await?;
        Ok(Response::new(found.ok_or(CoordinatorError::UnknownSurvey(survey))?))
    }
}

/// Each state of a survey up to a final one; an error where the coordinator stops before.
fn until_over(
    mut receiver: watch::Receiver<v1::Survey>,
    fate: Fate,
) -> impl Stream<Item = Result<v1::Survey, Status>> + Send {
    receiver.mark_changed();
    futures::stream::unfold(Some((receiver, fate)), |watching| async move {
        let (mut receiver, fate) = watching?;
        if receiver.changed().await.is_err() {
            return Some((Err(why_stopped(&fate).into()), None));
        }
        let survey = receiver.borrow_and_update().clone();
        let is_over = survey.state != v1::SurveyState::Running as i32;
        Some((Ok(survey), (!is_over).then_some((receiver, fate))))
    })
}

fn why_stopped(fate: &Fate) -> CoordinatorError {
    fate.get().cloned().unwrap_or_else(|| CoordinatorError::Stopped("it is shutting down".to_owned()))
}

#[tonic::async_trait]
impl WorkerService for Coordinator {
    async fn poll(&self, request: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        let poll = poll_from_wire(request.into_inner()).map_err(CoordinatorError::BadRequest)?;
        let answer = self.ask(|reply| Command::Poll { poll, reply }).await?;
        Ok(Response::new(answer_to_wire(&answer, &self.policy)))
    }
}

fn invalid(field: &str, problem: impl Into<String>) -> ConvertError {
    ConvertError::Invalid { field: field.to_owned(), problem: problem.into() }
}

fn attempt_from_wire(attempt: Option<v1::Attempt>) -> Result<Attempt, ConvertError> {
    let v1::Attempt { epoch, counter } = attempt.ok_or_else(|| invalid("attempt", "it is missing"))?;
    Ok(Attempt { epoch, counter })
}

fn attempt_to_wire(attempt: &Attempt) -> v1::Attempt {
    v1::Attempt { epoch: attempt.epoch, counter: attempt.counter }
}

fn poll_from_wire(request: v1::PollRequest) -> Result<Poll, ConvertError> {
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
        match report.object.ok_or_else(|| invalid("object", "it is missing")).and_then(object) {
            Ok(object) => completed.push(Completion { survey, key: job, attempt, object }),
            // What it did may be sound and its report is not: another worker shall try.
            Err(error) => {
                warn!(worker = request.worker, job = %job, %error, "a completion names no valid object");
                let (class, message) = (FailureClass::Poison, format!("its worker reported no valid object: {error}"));
                failed.push(Failure { survey, key: job, attempt, class, message });
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
    })
}

fn answer_to_wire(answer: &Answer, policy: &Policy) -> v1::PollResponse {
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
            })
            .collect(),
        acknowledged: answer.acknowledged.iter().map(attempt_to_wire).collect(),
        revoked: answer.revoked.iter().map(attempt_to_wire).collect(),
        poll_after_ms: milliseconds(policy.heartbeat),
        drain: false,
    }
}
