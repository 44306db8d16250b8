//! A whole survey in this process: the coordinator's services and the workers that call them, over an in-memory
//! transport. The same code as in a cluster, but for the wire.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use coordinator::{Coordinator, CoordinatorConfig, Resume, RuntimeClock, SlateStore, SurveyOutcome, aggregate};
use futures::{FutureExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use imagery::commit::Output;
use imagery::scene_reader::SceneReader;
use imagery::store::Stores;
use proto::convert::job::object_to_wire;
use proto::v1::survey_service_client::SurveyServiceClient;
use proto::{MAX_MESSAGE_BYTES, v1};
use survey::plan::SurveyPlan;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use worker::{Connector, JobContext, Shutdown, Worker, WorkerConfig};

use crate::cluster::connection;
use crate::failure::{self, Failure};
use crate::names;
use crate::results::ResultsPublisher;

/// Bytes that may wait in one direction of a connection.
const PIPE_BYTES: usize = 256 << 10;
/// Share of a worker's memory that decoded blocks are kept in; the rest is for jobs.
const CACHE_SHARE: u64 = 4;
/// The most that the decoded blocks of a worker are worth.
const LARGEST_CACHE: u64 = 1 << 30;

/// What a survey in this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Workers, at least one. They share nothing but the coordinator.
    pub workers: usize,
    /// Threads that compute pixels, over all workers; at least one each.
    pub threads: usize,
    /// Bytes of memory, over all workers.
    pub memory: u64,
}

impl Resources {
    /// Threads, bytes for jobs and bytes for decoded blocks of one worker.
    #[must_use]
    pub fn per_worker(&self) -> (usize, u64, u64) {
        let workers = self.workers.max(1);
        let memory = self.memory / workers as u64;
        let cache = (memory / CACHE_SHARE).min(LARGEST_CACHE);
        (self.threads.div_ceil(workers).max(1), memory - cache, cache)
    }

    /// Bytes that one worker gives its jobs: no job may need more.
    #[must_use]
    pub fn job_memory(&self) -> u64 {
        self.per_worker().1
    }
}

/// Surveys `plan`, or goes on with it where an earlier run has stopped, writes the results, and returns what it found.
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
) -> Result<SurveyOutcome> {
    coordinator::refuse_other_survey(output, plan).await.map_err(refusal)?;
    let plan_object = output.commit("plan", "pb", Bytes::from(proto::objects::encode_plan(plan))).await?;

    let config =
        CoordinatorConfig { resume: Resume::WhenSubmitted, ..CoordinatorConfig::new(names::process(), halo_px) };
    let journal = SlateStore::new(output, stores)?;
    let (publisher, clock) = (Arc::new(ResultsPublisher), Arc::new(RuntimeClock::start()));
    let coordinator = Coordinator::start(config, &journal, output.clone(), stores.clone(), publisher, clock)
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
        let worker = embedded_worker(index, output, stores, resources, &dial)?;
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
    coordinator.stop().await;
    Ok(outcome)
}

/// Pixels that the plan's detector reads beyond a tile.
/// Pixels that the detector of `plan` reads beyond a tile.
#[must_use]
pub fn halo_px(plan: &SurveyPlan) -> u32 {
    u32::try_from(analysis::halo_px(plan.grid.resolution_m, &plan.detector)).unwrap_or(0)
}

fn embedded_worker(
    index: usize,
    output: &Output,
    stores: &Stores,
    resources: Resources,
    dial: &mpsc::UnboundedSender<DuplexStream>,
) -> Result<Worker> {
    let (threads, memory, cache) = resources.per_worker();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |thread| format!("worker-{index}-{thread}"))
        .build()
        .context("no threads for a worker")?;
    let reader = SceneReader::new(stores.clone(), cache);
    let jobs = JobContext::new(output.clone(), reader, Arc::new(pool));
    let config = WorkerConfig {
        name: format!("embedded-{index}"),
        // One more than there are threads: while one computes, another fetches.
        slots: u32::try_from(threads + 1).unwrap_or(u32::MAX),
        memory,
    };
    let dial = dial.clone();
    let connector = Connector::new(move || connect(dial.clone()).boxed());
    Ok(Worker::new(config, connector, Arc::new(jobs)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_threads_are_shared_out_among_the_workers() {
        let resources = Resources { workers: 3, threads: 4, memory: 12 << 30 };
        assert_eq!(resources.per_worker(), (2, 3 << 30, 1 << 30));
        assert_eq!(Resources { workers: 0, threads: 0, memory: 8 << 20 }.per_worker(), (1, 6 << 20, 2 << 20));
    }
}
