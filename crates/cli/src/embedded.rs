//! A whole survey in this process: the coordinator's services and the workers that call them, over an in-memory
//! transport. The same code as in a cluster, but for the wire.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use coordinator::forecast::Spent;
use coordinator::metrics::Used;
use coordinator::{
    Coordinator, CoordinatorConfig, PublishError, Publisher, Resume, RuntimeClock, SlateStore, SurveyOutcome, aggregate,
};
use futures::{FutureExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use imagery::commit::Output;
use imagery::store::Stores;
use proto::convert::job::object_to_wire;
use proto::v1::survey_service_client::SurveyServiceClient;
use proto::{MAX_MESSAGE_BYTES, v1};
use survey::plan::SurveyPlan;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use worker::{Connector, Shutdown};

use crate::clock::Stopwatch;
use crate::cluster::connection;
use crate::failure::{self, Failure};
use crate::names;
use crate::node::Resources;
use crate::results::ResultsPublisher;

/// Bytes that may wait in one direction of a connection.
const PIPE_BYTES: usize = 256 << 10;

/// A survey that has ended.
pub struct Ran {
    /// What it found.
    pub outcome: SurveyOutcome,
    /// What the jobs of this run used.
    pub used: Used,
    /// What this run took up to the last job.
    pub survey: Spent,
    /// What it took from there on.
    pub results: Spent,
}

/// Surveys `plan`, or goes on with it where an earlier run has stopped, and writes the results.
/// `notes` are the planner's remarks, which stand in the results. `progress` is told how far it is, a few times a second
/// and at the end. Dropped, everything stops; what is committed stays.
///
/// # Errors
/// The output cannot be used or holds another survey; a job does not fit into memory; another process has taken over.
/// The message names the thing and the mend, and the code is one of `docs/exit-codes.md`.
pub async fn run_embedded(
    plan: &SurveyPlan,
    notes: &[String],
    output: &Output,
    stores: &Stores,
    resources: Resources,
    mut progress: impl FnMut(&v1::Survey),
) -> Result<Ran> {
    coordinator::refuse_other_survey(output, plan).await.map_err(refusal)?;
    let plan_object = output.commit("plan", "pb", Bytes::from(proto::objects::encode_plan(plan))).await?;

    let config =
        CoordinatorConfig { resume: Resume::WhenSubmitted, ..CoordinatorConfig::new(names::process(), halo_px) };
    let journal = SlateStore::new(output, stores)?;
    let (publisher, clock) = (Arc::new(Timed::start()), Arc::new(RuntimeClock::start()));
    let coordinator =
        Coordinator::start(config, &journal, output.clone(), stores.clone(), Arc::clone(&publisher) as _, clock)
            .await
            .map_err(refusal)?;

    let (dial, dialled) = mpsc::unbounded_channel::<DuplexStream>();
    let incoming = stream::unfold(dialled, |mut dialled| async {
        dialled.recv().await.map(|pipe| (Ok::<_, std::io::Error>(pipe), dialled))
    });
    let router = coordinator.router();
    // Ends the server and the workers wherever this function is left.
    let mut tasks: JoinSet<()> = JoinSet::new();
    tasks.spawn(async move {
        if let Err(error) = router.serve_with_incoming(incoming).await {
            tracing::error!(%error, "the in-memory server has ended");
        }
    });

    let (stop, stopped) = watch::channel(Shutdown::No);
    let mut workers = JoinSet::new();
    for index in 0..resources.workers.max(1) {
        let dial = dial.clone();
        let connector = Connector::new(move || connect(dial.clone()).boxed());
        let worker = resources.worker(format!("embedded-{index}"), None, stores, connector)?;
        workers.spawn(worker.run(stopped.clone()));
    }

    let channel = connect(dial.clone()).await.map_err(anyhow::Error::msg)?;
    let mut client = SurveyServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let submission = v1::PlanSubmission {
        plan: Some(object_to_wire(&plan_object)),
        halo_px: halo_px(plan),
        max_job_memory: resources.job_memory(),
        notes: notes.to_vec(),
        // The coordinator's own location.
        output: String::new(),
    };
    let request = v1::SubmitSurveyRequest {
        submission: Some(v1::submit_survey_request::Submission::Plan(submission)),
        again: true,
        priority: 0,
    };
    let submitted = client.submit_survey(request).await.map_err(|status| connection::refusal(&status))?.into_inner();
    if submitted.resumed_jobs > 0 {
        tracing::info!(jobs = submitted.resumed_jobs, "an earlier run has done part of the survey");
    }
    let watch = v1::WatchSurveyRequest { survey: plan.survey.0.clone(), with_results: false };
    let mut states = client.watch_survey(watch).await.map_err(|status| connection::refusal(&status))?.into_inner();
    let mut last = None;
    while let Some(state) = states.next().await {
        if let Some(v1::watch_survey_response::Update::Survey(state)) =
            state.map_err(|status| connection::refusal(&status))?.update
        {
            progress(&state);
            last = Some(state);
        }
    }
    let last = last.context("the coordinator has said nothing of the survey")?;
    if last.state() == v1::SurveyState::Failed {
        return Err(Failure { code: failure::OUTPUT, message: last.message }.into());
    }
    let outcome = aggregate::collect(output, &last, submitted.resumed_jobs).await.map_err(refusal)?;

    // Nothing runs any more, so the workers leave at once.
    stop.send_replace(Shutdown::Drain);
    while let Some(left) = workers.join_next().await {
        left.context("a worker broke down")??;
    }
    let used = coordinator.used();
    coordinator.stop().await;
    let [survey, results] = publisher.spent();
    Ok(Ran { outcome, used, survey, results })
}

/// Writes the results, and measures what comes before and after their first byte.
struct Timed {
    laps: Mutex<(Stopwatch, Spent)>,
}

impl Timed {
    fn start() -> Self {
        Self { laps: Mutex::new((Stopwatch::start(), Spent::default())) }
    }

    /// What was spent up to the results, and since.
    fn spent(&self) -> [Spent; 2] {
        let mut laps = self.laps.lock().unwrap_or_else(PoisonError::into_inner);
        [laps.1, laps.0.lap()]
    }
}

#[tonic::async_trait]
impl Publisher for Timed {
    async fn publish(
        &self,
        plan: &SurveyPlan,
        notes: &[String],
        outcome: &SurveyOutcome,
        output: &Output,
    ) -> Result<(), PublishError> {
        {
            let mut laps = self.laps.lock().unwrap_or_else(PoisonError::into_inner);
            // What an attempt to write took that failed is part of what comes before.
            laps.1 = laps.1 + laps.0.lap();
        }
        ResultsPublisher.publish(plan, notes, outcome, output).await
    }
}

/// Pixels that the detector of `plan` reads beyond a tile.
#[must_use]
pub fn halo_px(plan: &SurveyPlan) -> u32 {
    u32::try_from(analysis::halo_px(plan.grid.resolution_m, &plan.detector)).unwrap_or(0)
}

/// A connection to the server of this process.
async fn connect(dial: mpsc::UnboundedSender<DuplexStream>) -> Result<Channel, String> {
    let endpoint = worker::client::endpoint("http://embedded.invalid")?;
    let connector = tower::service_fn(move |_| {
        let dial = dial.clone();
        async move {
            let (client, server) = tokio::io::duplex(PIPE_BYTES);
            dial.send(server).map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok::<_, std::io::Error>(TokioIo::new(client))
        }
    });
    endpoint.connect_with_connector(connector).await.map_err(|error| format!("the in-memory server: {error}"))
}

/// What a coordinator refuses, with its exit code.
#[must_use]
pub fn refusal(error: coordinator::CoordinatorError) -> anyhow::Error {
    use coordinator::CoordinatorError as Error;
    match error {
        Error::Store(error) => error.into(),
        Error::Journal(_) | Error::OtherSurvey { .. } | Error::UnknownResults { .. } => {
            Failure { code: failure::OUTPUT, message: error.to_string() }.into()
        }
        Error::TooLarge { .. } => failure::input(error.to_string()).into(),
        error => Failure { code: failure::INTERNAL, message: error.to_string() }.into(),
    }
}
