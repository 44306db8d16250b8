//! A cluster in a simulation: the real services and the real worker pipeline, each on a host of its own, with a journal and
//! a store that outlive them and jobs that only pretend to look at pixels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coordinator::journal::memory::MemoryStore;
use coordinator::{Coordinator, CoordinatorConfig, PublishError, Publisher, RuntimeClock, SurveyOutcome, service};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use groundbreak_tests::{plan, pretend};
use imagery::commit::Output;
use imagery::store::Stores;
use proto::convert::job::object_to_wire;
use proto::v1;
use proto::v1::survey_service_client::SurveyServiceClient;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use survey::failure::FailureClass;
use survey::grid::Cell;
use survey::job::{JobKey, ObjectRef};
use survey::plan::{PlannedCell, SurveyPlan};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use worker::{
    Committed, Connector, HeartbeatDriver, JobFailure, JobRunner, JobStats, Shutdown, Work, Worker, WorkerConfig,
};

use crate::faults::Kind;
use crate::wire::{self, Echo, Lines};

/// The workers' hosts.
pub const WORKERS: [&str; 3] = ["worker-0", "worker-1", "worker-2"];
/// Where plan, objects and results lie: a store in memory that every host reaches. Its failures are another test's.
const OUTPUT: &str = "memory:///survey/";
/// One in so many attempts fails in a way that may pass, and so does writing the results.
const FAILS: u32 = 25;
/// How long the client waits for a sign of life.
const PATIENCE: Duration = Duration::from_secs(60);

/// Thirty-six tiles in a lattice of three levels, four pairs, three counties.
pub fn planned() -> SurveyPlan {
    let counties = ["C1", "C2", "C3"].map(|id| plan::county(id, id));
    let pairs = ["one", "two", "three", "four"].map(|key| plan::pair(key, &["red"]));
    let cells = (0..6)
        .flat_map(|row| (1..7).map(move |col| Cell { row, col }))
        .map(|cell| PlannedCell { cell, pairs: vec![(cell.row as u32 + cell.col as u32) % 4] });
    plan::plan(counties.to_vec(), pairs.to_vec(), cells.collect())
}

/// What the hosts of a simulation share, and what outlives their crashes.
pub struct World {
    pub journal: MemoryStore,
    stores: Stores,
    plan: SurveyPlan,
    /// Nothing goes wrong.
    pub is_calm: bool,
    dice: Mutex<Pcg64>,
    starts: AtomicU32,
    /// Jobs that run now, by host.
    running: Mutex<BTreeMap<&'static str, u32>>,
    /// Tells the worker of a host to leave.
    tell: Mutex<BTreeMap<&'static str, watch::Sender<Shutdown>>>,
    /// Says that a host is about to die.
    doom: Mutex<BTreeMap<&'static str, oneshot::Sender<()>>>,
    published: Mutex<Vec<SurveyOutcome>>,
    seen_over: Mutex<Option<v1::Survey>>,
    fired: Mutex<BTreeMap<Kind, u64>>,
}

impl World {
    pub fn new(seed: u64, is_calm: bool) -> Self {
        Self {
            journal: MemoryStore::default(),
            stores: Stores::new(&[], OUTPUT).unwrap(),
            plan: planned(),
            is_calm,
            dice: Mutex::new(Pcg64::seed_from_u64(seed)),
            starts: AtomicU32::new(0),
            running: Mutex::default(),
            tell: Mutex::default(),
            doom: Mutex::default(),
            published: Mutex::default(),
            seen_over: Mutex::default(),
            fired: Mutex::default(),
        }
    }

    pub fn roll<T>(&self, roll: impl FnOnce(&mut Pcg64) -> T) -> T {
        roll(&mut self.dice.lock().unwrap())
    }

    /// A fault had an effect.
    pub fn fired(&self, kind: Kind) {
        *self.fired.lock().unwrap().entry(kind).or_default() += 1;
    }

    /// How often each kind of fault had an effect.
    pub fn all_fired(&self) -> BTreeMap<Kind, u64> {
        self.fired.lock().unwrap().clone()
    }

    /// Jobs that run on a host now.
    pub fn running(&self, host: &str) -> u32 {
        self.running.lock().unwrap().get(host).copied().unwrap_or(0)
    }

    /// Tells a host's worker to leave.
    pub fn tell(&self, host: &str, how: Shutdown) {
        if let Some(tell) = self.tell.lock().unwrap().get(host) {
            tell.send_replace(how);
        }
    }

    /// Closes a host's connections: with the next step it may be killed.
    pub fn doom(&self, host: &str) {
        if let Some(doom) = self.doom.lock().unwrap().remove(host) {
            let _ = doom.send(());
        }
    }

    /// Lives until it ends or is doomed; then its connections are closed.
    async fn mortal(
        &self,
        host: &'static str,
        lines: Lines,
        life: impl Future<Output = turmoil::Result>,
    ) -> turmoil::Result {
        let (doom, doomed) = oneshot::channel();
        self.doom.lock().unwrap().insert(host, doom);
        let ended = tokio::select! {
            biased;
            Ok(()) = doomed => None,
            ended = life => Some(ended),
        };
        lines.close();
        match ended {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// What was published, each time.
    pub fn published(&self) -> Vec<SurveyOutcome> {
        self.published.lock().unwrap().clone()
    }

    /// The survey's final state, as its client saw it.
    pub fn seen_over(&self) -> Option<v1::Survey> {
        self.seen_over.lock().unwrap().clone()
    }

    fn output(&self) -> Output {
        Output::open(OUTPUT, &self.stores).unwrap()
    }

    fn start(&self) -> u32 {
        self.starts.fetch_add(1, Ordering::Relaxed)
    }
}

/// The coordinator's host: takes over the journal that the one before has left.
pub async fn coordinator(world: Arc<World>) -> turmoil::Result {
    let lines = Lines::default();
    let config = CoordinatorConfig::new(format!("coordinator-{}", world.start()), |_| 16);
    let (press, clock) = (Arc::new(Press(Arc::clone(&world))), Arc::new(RuntimeClock::start()));
    let (journal, stores) = (world.journal.clone(), world.stores.clone());
    let coordinator = Coordinator::start(config, &journal, world.output(), stores, press, clock).await?;
    let router = coordinator.add_to(service::server().layer(Echo(Arc::clone(&world))));
    let incoming = wire::incoming(lines.clone()).await?;
    world.mortal("coordinator", lines, async { Ok(router.serve_with_incoming(incoming).await?) }).await
}

/// A worker's host. It has no wall clock that could be wrong: worker and protocol know durations only.
pub async fn worker(world: Arc<World>, host: &'static str) -> turmoil::Result {
    let lines = Lines::default();
    let name = format!("{host}-{}", world.start());
    let (tell, told) = watch::channel(Shutdown::No);
    world.tell.lock().unwrap().insert(host, tell);
    let config = WorkerConfig { name, slots: 2, memory: 4 << 30 };
    let runner = Pretender { output: world.output(), world: Arc::clone(&world), host };
    let dialled = lines.clone();
    let connector = Connector::new(move || wire::connect(dialled.clone()).boxed());
    let worker = Worker::new(config, connector, Arc::new(runner)).with_heartbeat_on(HeartbeatDriver::Task);
    world.mortal(host, lines, async { Ok(worker.run(told).await?) }).await
}

/// The client's host: submits the survey until that is accepted, then watches until it is over, whatever breaks off.
pub async fn client(world: Arc<World>) -> turmoil::Result {
    let bytes = Bytes::from(proto::objects::encode_plan(&world.plan));
    let plan = world.output().commit("plan", "pb", bytes).await?;
    let submission = v1::PlanSubmission {
        plan: Some(object_to_wire(&plan)),
        halo_px: 16,
        max_job_memory: 4 << 30,
        notes: vec!["a note".into()],
        output: String::new(),
    };
    let submission = Some(v1::submit_survey_request::Submission::Plan(submission));
    let request = v1::SubmitSurveyRequest { submission, again: false, priority: 0 };
    while !matches!(timeout(PATIENCE, submit(&request)).await, Ok(Ok(()))) {
        sleep(Duration::from_secs(1)).await;
    }
    loop {
        match watch(&world).await {
            Ok(Some(survey)) => {
                *world.seen_over.lock().unwrap() = Some(survey);
                return Ok(());
            }
            Err(status) if status.code() == tonic::Code::NotFound => {
                return Err(format!("a submission that was acknowledged is lost: {status}").into());
            }
            _ => sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn submit(request: &v1::SubmitSurveyRequest) -> Result<(), tonic::Status> {
    let channel = wire::connect(Lines::default()).await.map_err(tonic::Status::unavailable)?;
    SurveyServiceClient::new(channel).submit_survey(request.clone()).await?;
    Ok(())
}

/// The survey in its final state; `None` where nothing was heard for too long.
async fn watch(world: &World) -> Result<Option<v1::Survey>, tonic::Status> {
    let channel = wire::connect(Lines::default()).await.map_err(tonic::Status::unavailable)?;
    let request = v1::WatchSurveyRequest { survey: world.plan.survey.0.clone(), with_results: false };
    let mut client = SurveyServiceClient::new(channel);
    let Ok(states) = timeout(PATIENCE, client.watch_survey(request)).await else { return Ok(None) };
    let mut states = states?.into_inner();
    let mut last = None;
    while let Ok(Some(update)) = timeout(PATIENCE, states.next()).await {
        if let Some(v1::watch_survey_response::Update::Survey(survey)) = update?.update {
            last = Some(survey);
        }
    }
    let is_over = |survey: &v1::Survey| !matches!(survey.state(), v1::SurveyState::Planning | v1::SurveyState::Running);
    Ok(last.filter(is_over))
}

/// Takes what is to be published, after a while and not each time.
struct Press(Arc<World>);

#[tonic::async_trait]
impl Publisher for Press {
    async fn publish(
        &self,
        _: &SurveyPlan,
        _: &[String],
        outcome: &SurveyOutcome,
        _: &Output,
    ) -> Result<(), PublishError> {
        let (pause, fails) =
            self.0.roll(|dice| (dice.random_range(Duration::ZERO..Duration::from_secs(3)), dice.random_ratio(1, 4)));
        sleep(pause).await;
        if fails && !self.0.is_calm {
            return Err(PublishError { class: FailureClass::Retryable, message: "the store is away".into() });
        }
        self.0.published.lock().unwrap().push(outcome.clone());
        Ok(())
    }
}

/// Does jobs without looking at a pixel: their objects depend on the job and on nothing else, how long they take does not.
struct Pretender {
    world: Arc<World>,
    host: &'static str,
    output: Output,
}

/// A job that runs. Dropped, it does not any more.
struct Running<'a>(&'a Pretender);

impl<'a> Running<'a> {
    fn on(runner: &'a Pretender) -> Self {
        *runner.world.running.lock().unwrap().entry(runner.host).or_default() += 1;
        Self(runner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.world.running.lock().unwrap().entry(self.0.host).or_default() -= 1;
    }
}

impl Pretender {
    async fn object(&self, work: &Work) -> Result<ObjectRef, JobFailure> {
        let stored = |error: imagery::ImageryError| JobFailure { class: error.class(), message: error.to_string() };
        let broken = |error: proto::ConvertError| JobFailure { class: FailureClass::Fatal, message: error.to_string() };
        let key = work.job.key;
        let mut tiles = Vec::new();
        for input in &work.job.inputs {
            let Some(object) = &input.object else { continue };
            let bytes = self.output.fetch(object).await.map_err(stored)?;
            match input.from {
                JobKey::Detect(_) => tiles.push(object.clone()),
                JobKey::Merge(_) => {
                    let below = proto::objects::decode_findings(&bytes).map_err(broken)?.closed_at;
                    tiles.extend(below.into_values().flatten());
                }
                JobKey::Calibrate(_) | JobKey::Assemble(_) => {}
            }
        }
        tiles.sort();
        let bytes = pretend::object(&self.world.plan, key, tiles).map_err(broken)?;
        self.output.commit(&format!("stages/{key}"), "pb", Bytes::from(bytes)).await.map_err(stored)
    }
}

impl JobRunner for Pretender {
    fn run(&self, work: Work) -> BoxFuture<'_, Result<Committed, JobFailure>> {
        async move {
            let _running = Running::on(self);
            let (seconds, fails, pause) = self.world.roll(|dice| {
                // Some take several leases.
                let seconds =
                    if dice.random_ratio(1, 40) { dice.random_range(40..80) } else { dice.random_range(1..12) };
                (seconds, dice.random_ratio(1, FAILS), dice.random_range(Duration::ZERO..Duration::from_secs(1)))
            });
            for _ in 0..seconds {
                work.progress.advance();
                sleep(Duration::from_secs(1)).await;
            }
            if fails && !self.world.is_calm {
                self.world.fired(Kind::JobFails);
                return Err(JobFailure { class: FailureClass::Retryable, message: "it fails as it was told".into() });
            }
            let object = self.object(&work).await?;
            // Time to die between the commit and the report.
            sleep(pause).await;
            Ok(Committed { object, stats: JobStats::default() })
        }
        .boxed()
    }
}
