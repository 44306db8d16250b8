//! How many workers there should be, as KEDA asks it: `externalscaler.ExternalScaler`.
//!
//! Workers are wanted while any survey is open, and as many as the jobs that could run now need. KEDA divides
//! [`METRIC`] by what `jobsPerWorker` of its trigger says; with nothing open it goes down to zero.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use proto::externalscaler as wire;
use proto::externalscaler::external_scaler_server::{ExternalScaler, ExternalScalerServer};
use proto::v1;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use crate::clock::{Clock, RuntimeClock};
use crate::service::Coordinator;

/// The one metric: jobs that could run now, those that run included.
pub const METRIC: &str = "groundbreak-jobs";
/// Key of the trigger's metadata that says how many such jobs one worker is meant for.
pub const JOBS_PER_WORKER: &str = "jobsPerWorker";
/// Where the trigger does not say.
const DEFAULT_JOBS_PER_WORKER: u32 = 8;
/// How old an answer may be. Nobody has to prove who they are to ask, so all who ask share one look at the surveys.
const FRESH: Duration = Duration::from_secs(1);

/// Where the surveys are seen.
type Surveys = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<v1::Survey>, Status>> + Send + Sync>;

/// Answers KEDA. Clones share what they have seen.
#[derive(Clone)]
pub struct Scaler {
    surveys: Surveys,
    clock: RuntimeClock,
    fresh: Duration,
    seen: Arc<Mutex<Option<(Duration, Demand)>>>,
}

/// What the surveys ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Demand {
    /// A survey is open, though it may have no job yet.
    is_active: bool,
    /// Jobs that could run now, those that run included.
    jobs: u64,
}

impl Scaler {
    /// A scaler for a coordinator's surveys.
    #[must_use]
    pub fn new(coordinator: Coordinator) -> Self {
        let surveys = move || -> BoxFuture<'static, Result<Vec<v1::Survey>, Status>> {
            let coordinator = coordinator.clone();
            Box::pin(async move { Ok(coordinator.surveys().await?) })
        };
        Self::over(Arc::new(surveys), FRESH)
    }

    fn over(surveys: Surveys, fresh: Duration) -> Self {
        Self { surveys, clock: RuntimeClock::start(), fresh, seen: Arc::default() }
    }

    /// The service, to be added to a server beside the coordinator's own.
    #[must_use]
    pub fn service(&self) -> ExternalScalerServer<Self> {
        ExternalScalerServer::new(self.clone()).max_decoding_message_size(1 << 20)
    }

    async fn demand(&self) -> Result<Demand, Status> {
        // Held while looking: who asks meanwhile waits for the same answer.
        let mut seen = self.seen.lock().await;
        if let Some((at, demand)) = *seen
            && self.clock.now().saturating_sub(at) < self.fresh
        {
            return Ok(demand);
        }
        let demand = Demand::of(&(self.surveys)().await?);
        *seen = Some((self.clock.now(), demand));
        Ok(demand)
    }
}

impl Demand {
    fn of(surveys: &[v1::Survey]) -> Self {
        let mut demand = Self::default();
        for survey in surveys.iter().filter(|survey| is_open(survey)) {
            demand.is_active = true;
            demand.jobs = demand.jobs.saturating_add(runnable(&survey.stages));
        }
        demand
    }
}

/// Whether workers may be needed for the survey: while it is planned, they are started so that they are there in time.
fn is_open(survey: &v1::Survey) -> bool {
    matches!(survey.state(), v1::SurveyState::Planning | v1::SurveyState::Running)
}

/// About how many jobs of a survey could run now, those that run included.
///
/// A tile waits for the calibrations of its own scenes only, so tiles are counted in the share in which calibrations have
/// ended. Merging and assembling wait for (nearly) all before them and take seconds, so they count once that has ended.
pub(crate) fn runnable(stages: &[v1::StageProgress]) -> u64 {
    let (mut ended_before, mut jobs_before) = (0_u64, 0_u64);
    let mut is_all_before_over = true;
    let mut total = 0_u64;
    for stage in stages {
        let ended = stage.done.saturating_add(stage.failed).min(stage.jobs);
        let open = stage.jobs - ended;
        let ready = if is_all_before_over {
            open
        } else if stage.stage() == v1::Stage::Detect {
            share(open, ended_before, jobs_before)
        } else {
            0
        };
        total = total.saturating_add(ready.max(stage.running).min(open));
        (ended_before, jobs_before) = (ended, stage.jobs);
        is_all_before_over &= open == 0;
    }
    total
}

/// `number` × `part` / `whole`, rounded up.
fn share(number: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(number) * u128::from(part);
    u64::try_from(product.div_ceil(u128::from(whole.max(1)))).unwrap_or(u64::MAX)
}

/// How many jobs one worker is meant for.
fn jobs_per_worker(object: Option<&wire::ScaledObjectRef>) -> Result<u32, Status> {
    let Some(text) = object.and_then(|object| object.scaler_metadata.get(JOBS_PER_WORKER)) else {
        return Ok(DEFAULT_JOBS_PER_WORKER);
    };
    text.trim().parse().ok().filter(|&jobs| jobs > 0).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Status::invalid_argument(format!("{JOBS_PER_WORKER} `{shown}`: write a whole number of jobs, 1 or more"))
    })
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(
        &self,
        _request: Request<wire::ScaledObjectRef>,
    ) -> Result<Response<wire::IsActiveResponse>, Status> {
        Ok(Response::new(wire::IsActiveResponse { result: self.demand().await?.is_active }))
    }

    type StreamIsActiveStream = Pin<Box<dyn Stream<Item = Result<wire::IsActiveResponse, Status>> + Send>>;

    async fn stream_is_active(
        &self,
        _request: Request<wire::ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let stream = futures::stream::unfold(Some((self.clone(), None)), |asking| async move {
            let (scaler, told) = asking?;
            loop {
                match scaler.demand().await {
                    Ok(demand) if told != Some(demand.is_active) => {
                        let response = wire::IsActiveResponse { result: demand.is_active };
                        return Some((Ok(response), Some((scaler, Some(demand.is_active)))));
                    }
                    Ok(_) => tokio::time::sleep(scaler.fresh).await,
                    // KEDA calls again, and finds the coordinator that has taken over.
                    Err(status) => return Some((Err(status), None)),
                }
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }

    #[allow(deprecated, reason = "older versions of KEDA read the whole numbers")]
    async fn get_metric_spec(
        &self,
        request: Request<wire::ScaledObjectRef>,
    ) -> Result<Response<wire::GetMetricSpecResponse>, Status> {
        let jobs = jobs_per_worker(Some(request.get_ref()))?;
        let spec = wire::MetricSpec {
            metric_name: METRIC.to_owned(),
            target_size: i64::from(jobs),
            target_size_float: f64::from(jobs),
        };
        Ok(Response::new(wire::GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    #[allow(deprecated, reason = "older versions of KEDA read the whole numbers")]
    async fn get_metrics(
        &self,
        request: Request<wire::GetMetricsRequest>,
    ) -> Result<Response<wire::GetMetricsResponse>, Status> {
        let name = &request.get_ref().metric_name;
        if !name.is_empty() && name != METRIC {
            let shown: String = name.chars().take(40).collect();
            return Err(Status::invalid_argument(format!(
                "there is no metric `{shown}`; the one that there is: {METRIC}"
            )));
        }
        let jobs = self.demand().await?.jobs;
        let value = wire::MetricValue {
            metric_name: METRIC.to_owned(),
            metric_value: i64::try_from(jobs).unwrap_or(i64::MAX),
            metric_value_float: jobs as f64,
        };
        Ok(Response::new(wire::GetMetricsResponse { metric_values: vec![value] }))
    }
}

#[cfg(test)]
mod tests;
