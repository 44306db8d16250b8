//! A stage for coordinator and workers: an output in a folder, a clock that moves when it is told to, and workers whose
//! jobs commit plausible objects.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coordinator::{
    Clock, Coordinator, CoordinatorConfig, NoResults, Publisher, Resume, SlateStore, SurveyOutcome, aggregate,
};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use groundbreak_tests::{pipe, plan, pretend};
use imagery::commit::Output;
use imagery::store::Stores;
use proto::convert::job::object_to_wire;
use proto::v1;
use proto::v1::survey_service_client::SurveyServiceClient;
use proto::v1::worker_service_client::WorkerServiceClient;
use survey::failure::FailureClass;
use survey::grid::Cell;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};
use survey::plan::{PlannedCell, SurveyPlan};
use tokio::io::DuplexStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use worker::{Committed, Connector, JobFailure, JobRunner, JobStats, Shutdown, Work, Worker, WorkerConfig};

/// What a pretended job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Do,
    /// It does it, after it has read all its inputs, as a real one would.
    Read,
    Hang,
    Panic,
    Fail(FailureClass),
}

/// A clock that stands still until it is told to move.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Mutex<Duration>>);

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

impl ManualClock {
    pub fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    /// Moves on by itself, fast, until dropped.
    pub fn keep_ticking(&self) -> Ticking {
        let clock = self.clone();
        Ticking(tokio::spawn(async move {
            loop {
                clock.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }
}

pub struct Ticking(JoinHandle<()>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Six tiles in two blocks, two pairs, two counties.
pub fn plan() -> SurveyPlan {
    let counties = ["C1", "C2"].map(|id| plan::county(id, id));
    let pairs = ["one", "two"].map(|key| plan::pair(key, &["red"]));
    let cells = (0..2)
        .flat_map(|row| (1..4).map(move |col| Cell { row, col }))
        .map(|cell| PlannedCell { cell, pairs: if cell.col == 2 { vec![0, 1] } else { vec![0] } });
    plan::plan(counties.to_vec(), pairs.to_vec(), cells.collect())
}

type Inputs = Arc<Mutex<BTreeMap<JobKey, Vec<(JobKey, bool)>>>>;

struct Pretender {
    output: Output,
    act: Box<dyn Fn(JobKey) -> Act + Send + Sync>,
    done: Arc<Mutex<Vec<JobKey>>>,
    inputs: Inputs,
    hanging: Arc<Notify>,
}

impl JobRunner for Pretender {
    fn run(&self, work: Work) -> BoxFuture<'_, Result<Committed, JobFailure>> {
        async move {
            assert_eq!(work.output, self.output.url().as_str());
            let key = work.job.key;
            let inputs: Vec<(JobKey, bool)> =
                work.job.inputs.iter().map(|input| (input.from, input.object.is_some())).collect();
            self.inputs.lock().unwrap().insert(key, inputs);
            match (self.act)(key) {
                Act::Do => {}
                Act::Read => {
                    for object in work.job.inputs.iter().filter_map(|input| input.object.as_ref()) {
                        let read = self.output.fetch(object).await;
                        read.map_err(|error| JobFailure { class: error.class(), message: error.to_string() })?;
                    }
                }
                Act::Hang => {
                    self.hanging.notify_one();
                    std::future::pending::<()>().await;
                }
                Act::Panic => panic!("it panics as it was told"),
                Act::Fail(class) => return Err(JobFailure { class, message: "it fails as it was told".into() }),
            }
            let children = work.job.inputs.iter().filter_map(|input| Some((input.from, input.object.clone()?)));
            let bytes = content(key, children);
            let object = self.output.commit(&format!("stages/{key}"), "pb", Bytes::from(bytes)).await;
            let object = object.map_err(|error| JobFailure { class: error.class(), message: error.to_string() })?;
            self.done.lock().unwrap().push(key);
            Ok(Committed { object, stats: JobStats::default() })
        }
        .boxed()
    }
}

/// What a job commits.
fn content(key: JobKey, children: impl Iterator<Item = (JobKey, ObjectRef)>) -> Vec<u8> {
    let JobKey::Merge(_) = key else { return pretend::object(&plan(), key, vec![]).unwrap() };
    // Which tiles a block holds is found out from the keys of what lies below; the root names all of them.
    let mut tiles: Vec<ObjectRef> = Vec::new();
    for (from, object) in children {
        match from {
            JobKey::Detect(_) => tiles.push(object),
            _ => tiles.extend(TILES_BELOW.lock().unwrap().get(&object.key).cloned().unwrap_or_default()),
        }
    }
    tiles.sort();
    let bytes = pretend::object(&plan(), key, tiles.clone()).unwrap();
    let name = format!("stages/{key}.{}.pb", survey::ids::Digest::of(&bytes).short());
    TILES_BELOW.lock().unwrap().insert(name, tiles);
    bytes
}

/// Tiles below each merged object, by its key (which names its content).
static TILES_BELOW: Mutex<BTreeMap<String, Vec<ObjectRef>>> = Mutex::new(BTreeMap::new());

pub struct Stage {
    pub clock: ManualClock,
    pub coordinator: Coordinator,
    folder: Arc<tempfile::TempDir>,
    output: Output,
    dial: mpsc::UnboundedSender<DuplexStream>,
    done: Arc<Mutex<Vec<JobKey>>>,
    inputs: Inputs,
    server: JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(Resume::WhenSubmitted, Arc::new(NoResults)).await
    }

    /// A coordinator that makes results with `publisher`.
    pub async fn with(resume: Resume, publisher: Arc<dyn Publisher>) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), "first", resume, publisher).await
    }

    /// Another coordinator on the same output.
    pub async fn reopened(&self) -> Self {
        self.reopened_with(Resume::WhenSubmitted, Arc::new(NoResults)).await
    }

    /// Another coordinator on the same output, which makes results with `publisher`.
    pub async fn reopened_with(&self, resume: Resume, publisher: Arc<dyn Publisher>) -> Self {
        Self::on(Arc::clone(&self.folder), "another", resume, publisher).await
    }

    async fn on(folder: Arc<tempfile::TempDir>, writer: &str, resume: Resume, publisher: Arc<dyn Publisher>) -> Self {
        let path = folder.path().to_string_lossy().into_owned();
        let stores = Stores::new(&[], &path).unwrap();
        let output = Output::open(&path, &stores).unwrap();
        let clock = ManualClock::default();
        let config = CoordinatorConfig { resume, ..CoordinatorConfig::new(writer.to_owned(), |_| 16) };
        let journal = SlateStore::new(&output, &stores).unwrap();
        let time = Arc::new(clock.clone());
        let coordinator = Coordinator::start(config, &journal, output.clone(), stores, publisher, time).await.unwrap();
        let (dial, dialled) = mpsc::unbounded_channel::<DuplexStream>();
        let incoming = stream::unfold(dialled, |mut dialled| async {
            dialled.recv().await.map(|pipe| (Ok::<_, std::io::Error>(pipe), dialled))
        });
        let router = coordinator.router();
        let server = tokio::spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        let (done, inputs) = (Arc::default(), Arc::default());
        Self { clock, coordinator, folder, output, dial, done, inputs, server }
    }

    /// A connection, for services of other packages.
    pub async fn connection(&self) -> Channel {
        Self::channel(self.dial.clone()).await.unwrap()
    }

    async fn channel(dial: mpsc::UnboundedSender<DuplexStream>) -> Result<Channel, String> {
        pipe::channel(dial).await.map_err(|error| error.to_string())
    }

    pub async fn client(&self) -> SurveyServiceClient<Channel> {
        SurveyServiceClient::new(Self::channel(self.dial.clone()).await.unwrap())
    }

    pub async fn worker_client(&self) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::new(Self::channel(self.dial.clone()).await.unwrap())
    }

    pub async fn try_submit(
        &self,
        plan: &SurveyPlan,
        max_job_memory: u64,
    ) -> Result<v1::SubmitSurveyResponse, tonic::Status> {
        self.submit_as(plan, max_job_memory, &[], true).await
    }

    /// Submits a plan with its notes, again or not.
    pub async fn submit_as(
        &self,
        plan: &SurveyPlan,
        max_job_memory: u64,
        notes: &[&str],
        again: bool,
    ) -> Result<v1::SubmitSurveyResponse, tonic::Status> {
        let bytes = Bytes::from(proto::objects::encode_plan(plan));
        let plan = self.output.commit("plan", "pb", bytes).await.unwrap();
        let submission = v1::PlanSubmission {
            plan: Some(object_to_wire(&plan)),
            halo_px: 16,
            max_job_memory,
            notes: notes.iter().map(|&note| note.to_owned()).collect(),
            output: String::new(),
        };
        let submission = Some(v1::submit_survey_request::Submission::Plan(submission));
        let request = v1::SubmitSurveyRequest { submission, again, priority: 0 };
        self.client().await.submit_survey(request).await.map(tonic::Response::into_inner)
    }

    /// Submits the plan.
    pub async fn submit(&self) -> SurveyId {
        self.try_submit(&plan(), 4 << 30).await.unwrap();
        plan().survey
    }

    /// Waits for the end of a survey.
    pub async fn end_of(&self, survey: &SurveyId) -> SurveyOutcome {
        self.outcome(survey, 0).await
    }

    /// Waits for the end of a survey that has jobs to do again, so that its progress goes back.
    pub async fn repaired_end_of(&self, survey: &SurveyId) -> SurveyOutcome {
        let last = self.states(survey).await.pop().unwrap();
        aggregate::collect(&self.output, &last, 0).await.unwrap()
    }

    async fn outcome(&self, survey: &SurveyId, resumed: u64) -> SurveyOutcome {
        let states = self.states(survey).await;
        let costs: Vec<u64> = states.iter().map(|state| state.cost_done).collect();
        assert!(costs.is_sorted(), "progress never goes back: {costs:?}");
        let last = states.last().unwrap();
        assert!(last.cost_done <= last.cost_total);
        aggregate::collect(&self.output, last, resumed).await.unwrap()
    }

    /// The states of a survey up to its end.
    async fn states(&self, survey: &SurveyId) -> Vec<v1::Survey> {
        let request = v1::WatchSurveyRequest { survey: survey.0.clone(), with_results: false };
        let states = self.client().await.watch_survey(request).await.unwrap().into_inner();
        states
            .filter_map(|update| async {
                match update.unwrap().update.unwrap() {
                    v1::watch_survey_response::Update::Survey(survey) => Some(survey),
                    v1::watch_survey_response::Update::County(_) => None,
                }
            })
            .collect()
            .await
    }

    /// Submits the plan and waits for the end.
    pub async fn survey(&self) -> SurveyOutcome {
        let submitted = self.try_submit(&plan(), 4 << 30).await.unwrap();
        self.outcome(&plan().survey, submitted.resumed_jobs).await
    }

    /// Jobs that this stage's workers have done, in order.
    pub fn done(&self) -> Vec<JobKey> {
        self.done.lock().unwrap().clone()
    }

    /// The inputs that a job was given last, and whether each was there.
    pub fn inputs(&self, key: JobKey) -> Vec<(JobKey, bool)> {
        self.inputs.lock().unwrap()[&key].clone()
    }

    async fn key_of(&self, job: JobKey) -> String {
        let keys = self.output.list("stages").await.unwrap();
        keys.into_iter().find(|key| key.starts_with(&format!("stages/{job}."))).unwrap()
    }

    /// Takes a committed object away.
    pub async fn lose(&self, job: JobKey) {
        self.output.delete(&self.key_of(job).await).await.unwrap();
    }

    /// Overwrites a committed object.
    pub async fn damage(&self, job: JobKey) {
        let path: PathBuf = self.folder.path().join(self.key_of(job).await);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    /// Starts a worker that does with each job what `act` says.
    pub fn worker(&self, name: &str, act: impl Fn(JobKey) -> Act + Send + Sync + 'static) -> StagedWorker {
        let hanging = Arc::new(Notify::new());
        let runner = Pretender {
            output: self.output.clone(),
            act: Box::new(act),
            done: Arc::clone(&self.done),
            inputs: Arc::clone(&self.inputs),
            hanging: Arc::clone(&hanging),
        };
        let dial = self.dial.clone();
        let connector = Connector::new(move || Self::channel(dial.clone()).boxed());
        let config = WorkerConfig { name: name.to_owned(), slots: 2, memory: 4 << 30 };
        let worker = Worker::new(config, connector, Arc::new(runner));
        let (shutdown, told) = watch::channel(Shutdown::No);
        let task = tokio::spawn(async move { worker.run(told).await.unwrap() });
        StagedWorker { hanging, shutdown, task }
    }
}

pub struct StagedWorker {
    hanging: Arc<Notify>,
    shutdown: watch::Sender<Shutdown>,
    task: JoinHandle<()>,
}

impl StagedWorker {
    /// Waits until a job of it hangs.
    pub async fn is_hanging(&self) {
        self.hanging.notified().await;
    }

    /// Ends it without a word.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Tells it to go, and waits until it has.
    pub async fn stop(self, how: Shutdown) {
        self.shutdown.send_replace(how);
        self.task.await.unwrap();
    }

    /// Lets it leave in order.
    pub async fn leave(self) {
        self.stop(Shutdown::Drain).await;
    }
}
