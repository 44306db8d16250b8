//! The gRPC services, and the coordinator behind them.
//!
//! * `submit`, `spec`, `planning`: from a submission to a survey that is being done.
//! * `watch`: a survey's progress and its counties' results as they are committed.
//! * `wire`: workers' calls.

mod planning;
mod spec;
mod submit;
mod watch;
mod wire;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::Stream;
use imagery::commit::Output;
use imagery::store::Stores;
use proto::convert::job::{key, object};
use proto::v1::survey_service_server::{SurveyService, SurveyServiceServer};
use proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use proto::{ConvertError, MAX_MESSAGE_BYTES, MAX_SUBMISSION_BYTES, v1};
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::plan::SurveyPlan;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::{Request, Response, Status};
use tower::layer::util::{Identity, Stack};
use tracing::{Instrument, Span, info_span, warn};

use crate::clock::Clock;
use crate::config::{CoordinatorConfig, Resume};
use crate::error::CoordinatorError;
use crate::journal::record::Submitted;
use crate::journal::{Journal, JournalReader, JournalStore};
use crate::metrics::{Meters, Used};
use crate::patience::Patience;
use crate::publish::Publisher;
use crate::run::{Command, Crew, Fate, QUEUE, Registry, Standing, Task, damaged_among, fetch_plan};
use crate::schedule::event::{Attempt, DEFAULT_PRIORITY, Failure};
use crate::schedule::policy::Policy;
use crate::schedule::state::State;
use submit::{Accepted, Planners, commit_notes};
use wire::{MAX_WORKER_NAME, answer_to_wire, poll_from_wire};

/// Largest halo.
const MAX_HALO_PX: u32 = 4096;
/// Largest priority.
const MAX_PRIORITY: u32 = 10_000;
/// Most remarks of a planner, and their longest, bytes.
const MAX_NOTES: usize = 10_000;
const MAX_NOTE: usize = 10_000;
/// Most surveys in one answer.
const MAX_LISTED: usize = 10_000;
/// Calls of one connection that are under way at the same time; the next one waits.
const CALLS_PER_CONNECTION: u32 = 256;
/// How long a connection takes new calls.
const OLDEST_CONNECTION: Duration = Duration::from_secs(30 * 60);
/// Longest that is waited for inputs of a failed job to be read back: the worker's call waits for it, and renews its leases.
const LOOK_BACK: Duration = Duration::from_secs(10);

/// A coordinator at work. Clones talk to the same one; it ends with the last of them.
#[derive(Clone)]
pub struct Coordinator {
    commands: mpsc::Sender<Command>,
    reader: Arc<dyn JournalReader>,
    state: Output,
    stores: Stores,
    policy: Policy,
    fate: Fate,
    /// Closed when the coordinator has stopped.
    alive: tokio::sync::watch::Receiver<()>,
    plannings: planning::Plannings,
    planners: Planners,
    halo_px: fn(&SurveyPlan) -> u32,
    max_job_memory: u64,
    allowed_prefixes: Arc<[String]>,
    pub(crate) meters: Meters,
    /// By survey: where its trace goes on. Forgotten with the process, as no result depends on it.
    traces: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Coordinator {
    /// Takes over the journal and starts to work, on the runtime that this is called on. `state` is where submissions and
    /// surveys without an output of their own are kept; outputs are opened through `stores`.
    ///
    /// # Errors
    /// The journal cannot be taken over.
    pub async fn start<S: JournalStore>(
        config: CoordinatorConfig,
        journal: &S,
        state: Output,
        stores: Stores,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CoordinatorError> {
        let (journal, books) = journal.open(&config.writer).await?;
        let (commands, receiver) = mpsc::channel(QUEUE);
        let fate: Fate = Arc::new(OnceLock::new());
        let (living, alive) = tokio::sync::watch::channel(());
        let standing = match config.resume {
            Resume::AtStart => Standing::Opening,
            Resume::WhenSubmitted => Standing::Left,
        };
        let registry = Registry::new(books, &stores, &standing);
        let left: Vec<Submitted> = registry
            .surveys
            .values()
            .filter(|entry| matches!(entry.standing, Standing::Opening))
            .map(|entry| entry.submitted.clone())
            .collect();
        let unplanned: Vec<_> = registry
            .submissions
            .values()
            .filter(|book| book.fate.is_none() && config.resume == Resume::AtStart)
            .map(|book| book.received.clone())
            .collect();
        let reader = journal.reader();
        let meters = Meters::default();
        let task = Task {
            meters: meters.clone(),
            state: State::new(journal.epoch(), config.policy.clone()),
            registry,
            crew: Crew::default(),
            journal,
            reader: Arc::clone(&reader),
            publisher,
            clock,
            commands: receiver,
            own: commands.downgrade(),
            fate: Arc::clone(&fate),
            _living: living,
        };
        tokio::spawn(task.run());
        let coordinator = Self {
            commands,
            reader,
            state,
            stores,
            policy: config.policy,
            fate,
            alive,
            plannings: planning::Plannings::default(),
            planners: Arc::new(Semaphore::new(config.planners.max(1))),
            halo_px: config.halo_px,
            max_job_memory: config.max_job_memory,
            allowed_prefixes: config.allowed_prefixes.into(),
            meters,
            traces: Arc::default(),
        };
        for submitted in left {
            tokio::spawn(coordinator.clone().go_on(submitted));
        }
        for received in unplanned {
            tokio::spawn(coordinator.clone().plan_left(received));
        }
        Ok(coordinator)
    }

    /// The service that surveys are submitted to.
    #[must_use]
    pub fn survey_service(&self) -> SurveyServiceServer<Self> {
        SurveyServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_SUBMISSION_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The service that workers call.
    #[must_use]
    pub fn worker_service(&self) -> WorkerServiceServer<Self> {
        WorkerServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A server with both services, gRPC's health service and its reflection service, to be served on any transport.
    #[must_use]
    pub fn router(&self) -> tonic::transport::server::Router<Stack<Patience, Identity>> {
        self.add_to(server())
    }

    /// Adds the services to a server, such as one with TLS.
    #[must_use]
    pub fn add_to<L: Clone>(&self, mut server: tonic::transport::Server<L>) -> tonic::transport::server::Router<L> {
        let router = server.add_service(self.survey_service()).add_service(self.worker_service());
        let router = router.add_service(self.health_service());
        match reflection_service() {
            Ok(reflection) => router.add_service(reflection),
            Err(error) => {
                warn!(%error, "there is no reflection service");
                router
            }
        }
    }

    /// gRPC's health service: serving until the coordinator stops.
    #[must_use]
    pub fn health_service(
        &self,
    ) -> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health + use<>> {
        let (reporter, service) = tonic_health::server::health_reporter();
        let mut alive = self.alive.clone();
        tokio::spawn(async move {
            reporter.set_serving::<SurveyServiceServer<Self>>().await;
            reporter.set_serving::<WorkerServiceServer<Self>>().await;
            // Nothing is ever sent: it ends with the coordinator.
            let _ = alive.changed().await;
            reporter.set_not_serving::<SurveyServiceServer<Self>>().await;
            reporter.set_not_serving::<WorkerServiceServer<Self>>().await;
            reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        });
        service
    }

    /// Returns when the coordinator has stopped, with the reason.
    pub async fn stopped(&self) -> CoordinatorError {
        self.commands.closed().await;
        why_stopped(&self.fate)
    }

    /// Lets go of the journal in order: calls are answered no more, and nothing that was acknowledged is lost.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop { reply }).await.is_ok() {
            let _ = stopped.await;
        }
    }

    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, CoordinatorError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| why_stopped(&self.fate))?;
        answer.await.map_err(|_| why_stopped(&self.fate))
    }

    /// A survey's state, by its id or by the digest of its submission.
    ///
    /// # Errors
    /// Nobody knows it; the coordinator has stopped.
    pub async fn survey(&self, name: &str) -> Result<v1::Survey, CoordinatorError> {
        let survey = name.to_owned();
        self.ask(|reply| Command::Get { survey, reply }).await?
    }

    /// How a survey was submitted: where its output, its plan and its planner's remarks are. `None` for one that nobody
    /// knows, and for a submission that is not planned yet.
    ///
    /// # Errors
    /// The coordinator has stopped.
    pub async fn submitted(&self, survey: &str) -> Result<Option<Submitted>, CoordinatorError> {
        let survey = survey::ids::SurveyId(survey.to_owned());
        self.ask(|reply| Command::Submitted { survey, reply }).await
    }

    /// All surveys in short, by id.
    ///
    /// # Errors
    /// The coordinator has stopped.
    pub async fn surveys(&self) -> Result<Vec<v1::Survey>, CoordinatorError> {
        self.ask(|reply| Command::List { reply }).await
    }

    /// What the jobs that were done since the start have used.
    #[must_use]
    pub fn used(&self) -> Used {
        self.meters.used()
    }

    /// The workers that were heard of lately, by name.
    ///
    /// # Errors
    /// The coordinator has stopped.
    pub async fn workers(&self) -> Result<Vec<v1::Worker>, CoordinatorError> {
        self.ask(|reply| Command::Workers { reply }).await
    }

    /// The jobs of a survey belong to the trace of the current span.
    fn remember_trace(&self, survey: &SurveyId) {
        let parent = proto::trace::parent_of(&Span::current());
        if parent.is_empty() {
            return;
        }
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        if traces.len() >= MAX_LISTED {
            traces.pop_first();
        }
        traces.entry(survey.0.clone()).or_insert(parent);
    }

    fn trace_of(&self, survey: &SurveyId) -> String {
        let traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.get(&survey.0).cloned().unwrap_or_default()
    }

    async fn submit(&self, request: v1::SubmitSurveyRequest) -> Result<Accepted, CoordinatorError> {
        let priority = match request.priority {
            0 => DEFAULT_PRIORITY,
            priority @ 1..=MAX_PRIORITY => priority,
            priority => {
                let problem = format!("{priority} is more than {MAX_PRIORITY}");
                return Err(CoordinatorError::BadRequest(invalid("priority", problem)));
            }
        };
        match request.submission {
            None => Err(CoordinatorError::BadRequest(invalid("submission", "there is neither a plan nor a spec"))),
            Some(v1::submit_survey_request::Submission::Plan(plan)) => {
                self.submit_planned(plan, request.again, priority).await
            }
            Some(v1::submit_survey_request::Submission::Spec(spec)) => {
                let spec = spec::Spec::read(spec, &self.allowed_prefixes)?;
                self.submit_spec(spec, request.again, priority).await
            }
        }
    }

    async fn submit_planned(
        &self,
        request: v1::PlanSubmission,
        again: bool,
        priority: u32,
    ) -> Result<Accepted, CoordinatorError> {
        if request.notes.len() > MAX_NOTES || request.notes.iter().any(|note| note.len() > MAX_NOTE) {
            let problem = format!("at most {MAX_NOTES} notes of {MAX_NOTE} bytes are taken");
            return Err(CoordinatorError::BadRequest(invalid("notes", problem)));
        }
        let missing = || invalid("plan", "it is missing");
        let object = object(request.plan.ok_or_else(missing).map_err(CoordinatorError::BadRequest)?)
            .map_err(CoordinatorError::BadRequest)?;
        let output = match request.output.as_str() {
            "" => self.state.clone(),
            url => Output::open(url, &self.stores)?,
        };
        let plan = fetch_plan(&output, &object).await?;
        let submitted = Submitted {
            survey: plan.survey.clone(),
            name: plan.name.clone(),
            plan: object,
            notes: commit_notes(&output, &request.notes).await?,
            output: output.url().to_string(),
            halo_px: request.halo_px.min(MAX_HALO_PX),
            max_job_memory: request.max_job_memory,
            priority,
            version: survey::VERSION.to_owned(),
            submission: String::new(),
            since: Attempt::default(),
        };
        self.submit_plan(submitted, plan, output, again).await
    }

    async fn cancel(&self, name: String) -> Result<v1::Survey, CoordinatorError> {
        if let Some(outcome) = self.plannings.cancel(&name) {
            // Whatever it comes to: it is planned no more.
            let _ = planning::outcome_of(outcome).await;
        }
        self.ask(|reply| Command::Cancel { survey: name, reply }).await?
    }

    /// A job that failed for its input may have read a committed object that is lost or damaged: then it is not its own
    /// failure, and the job that left the object is done again.
    async fn look_back(&self, failure: &mut Failure) -> Result<(), CoordinatorError> {
        if !matches!(failure.class, FailureClass::BadInput | FailureClass::Fatal) {
            return Ok(());
        }
        let (survey, key) = (failure.survey.clone(), failure.key);
        let Some((output, inputs)) = self.ask(|reply| Command::Inputs { survey, key, reply }).await? else {
            return Ok(());
        };
        match tokio::time::timeout(LOOK_BACK, damaged_among(&output, inputs)).await {
            Ok(Ok(damaged)) => failure.damaged = damaged,
            // It cannot be told now: another attempt will.
            Ok(Err(_)) | Err(_) => failure.class = FailureClass::Retryable,
        }
        Ok(())
    }
}

/// A server with the limits that a coordinator's server has. A half-open connection is seen in seconds, a request that
/// trickles in is given up after minutes, and no connection grows old: its caller is asked to make another, and what is
/// under way ends on it.
#[must_use]
pub fn server() -> tonic::transport::Server<Stack<Patience, Identity>> {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .max_connection_age(OLDEST_CONNECTION)
        .tcp_nodelay(true)
        .layer(Patience)
}

/// gRPC's reflection service, with which clients such as grpcurl find the messages.
///
/// # Errors
/// The descriptors that are built in make no sense.
pub fn reflection_service() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
    tonic_reflection::server::Error,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
}

pub(crate) fn invalid(field: &str, problem: impl Into<String>) -> ConvertError {
    ConvertError::Invalid { field: field.to_owned(), problem: problem.into() }
}

fn why_stopped(fate: &Fate) -> CoordinatorError {
    fate.get().cloned().unwrap_or_else(|| CoordinatorError::Stopped("it is shutting down".to_owned()))
}

#[tonic::async_trait]
impl SurveyService for Coordinator {
    async fn submit_survey(
        &self,
        request: Request<v1::SubmitSurveyRequest>,
    ) -> Result<Response<v1::SubmitSurveyResponse>, Status> {
        let span = info_span!("submit_survey");
        // Before it is entered: afterwards its trace is settled.
        proto::trace::extract(&span, request.metadata());
        let Accepted { survey, resumed_jobs, notes } = self.submit(request.into_inner()).instrument(span).await?;
        Ok(Response::new(v1::SubmitSurveyResponse { survey: Some(survey), resumed_jobs, notes }))
    }

    async fn get_survey(&self, request: Request<v1::GetSurveyRequest>) -> Result<Response<v1::Survey>, Status> {
        Ok(Response::new(self.survey(&request.into_inner().survey).await?))
    }

    async fn list_surveys(
        &self,
        _request: Request<v1::ListSurveysRequest>,
    ) -> Result<Response<v1::ListSurveysResponse>, Status> {
        let mut surveys = self.surveys().await?;
        surveys.truncate(MAX_LISTED);
        Ok(Response::new(v1::ListSurveysResponse { surveys }))
    }

    type WatchSurveyStream = Pin<Box<dyn Stream<Item = Result<v1::WatchSurveyResponse, Status>> + Send>>;

    async fn watch_survey(
        &self,
        request: Request<v1::WatchSurveyRequest>,
    ) -> Result<Response<Self::WatchSurveyStream>, Status> {
        let v1::WatchSurveyRequest { survey, with_results } = request.into_inner();
        let receiver = self.ask(|reply| Command::Watch { survey, reply }).await??;
        let stores = with_results.then(|| self.stores.clone());
        Ok(Response::new(Box::pin(watch::until_over(receiver, stores, Arc::clone(&self.fate)))))
    }

    async fn cancel_survey(&self, request: Request<v1::CancelSurveyRequest>) -> Result<Response<v1::Survey>, Status> {
        Ok(Response::new(self.cancel(request.into_inner().survey).await?))
    }

    async fn list_workers(
        &self,
        _request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        Ok(Response::new(v1::ListWorkersResponse { workers: self.workers().await? }))
    }

    async fn drain_worker(&self, request: Request<v1::DrainWorkerRequest>) -> Result<Response<v1::Worker>, Status> {
        let worker = request.into_inner().worker;
        if worker.len() > MAX_WORKER_NAME {
            let problem = format!("a name has 1 to {MAX_WORKER_NAME} characters");
            return Err(CoordinatorError::BadRequest(invalid("worker", problem)).into());
        }
        Ok(Response::new(self.ask(|reply| Command::Drain { worker, reply }).await??))
    }
}

#[tonic::async_trait]
impl WorkerService for Coordinator {
    async fn poll(&self, request: Request<v1::PollRequest>) -> Result<Response<v1::PollResponse>, Status> {
        let request = request.into_inner();
        let used: Vec<_> = request.completed.iter().map(|report| (report.attempt, report.key, report.stats)).collect();
        let mut poll = poll_from_wire(request).map_err(CoordinatorError::BadRequest)?;
        for failure in &mut poll.failed {
            self.look_back(failure).await?;
        }
        let answer = self.ask(|reply| Command::Poll { poll, reply }).await?;
        let answer = answer_to_wire(&answer, &self.policy, |survey| self.trace_of(survey));
        let done = used.into_iter().filter_map(|(attempt, job, stats)| {
            let is_acknowledged = attempt.is_some_and(|attempt| answer.acknowledged.contains(&attempt));
            is_acknowledged.then_some((key(job?).ok()?.stage(), stats?))
        });
        self.meters.count_work(done);
        Ok(Response::new(answer))
    }
}
