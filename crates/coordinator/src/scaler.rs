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
use proto::v1::survey_service_server::SurveyService;
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
        let surveys = move || -> BoxFuture<'static, _> {
            let coordinator = coordinator.clone();
            Box::pin(async move {
                let listed = coordinator.list_surveys(Request::new(v1::ListSurveysRequest {})).await?;
                Ok(listed.into_inner().surveys)
            })
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
    matches!(survey.state().as_str_name(), "SURVEY_STATE_PLANNING" | "SURVEY_STATE_RUNNING")
}

/// About how many jobs of a survey could run now, those that run included.
///
/// A tile waits for the calibrations of its own scenes only, so tiles are counted in the share in which calibrations have
/// ended. Merging and assembling wait for (nearly) all before them and take seconds, so they count once that has ended.
fn runnable(stages: &[v1::StageProgress]) -> u64 {
    let (mut ended_before, mut jobs_before) = (0_u64, 0_u64);
    let mut total = 0_u64;
    for stage in stages {
        let ended = stage.done.saturating_add(stage.failed).min(stage.jobs);
        let open = stage.jobs - ended;
        let ready = if ended_before == jobs_before {
            open
        } else if stage.stage() == v1::Stage::Detect {
            share(open, ended_before, jobs_before)
        } else {
            0
        };
        total = total.saturating_add(ready.max(stage.running).min(open));
        (ended_before, jobs_before) = (ended, stage.jobs);
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
            return Err(Status::invalid_argument(format!("there is no metric `{shown}`; the one that there is: {METRIC}")));
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
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use futures::FutureExt;
    use hyper_util::rt::TokioIo;
    use proto::externalscaler::external_scaler_client::ExternalScalerClient;
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tonic::Code;
    use tonic::transport::{Channel, Endpoint, Server};

    
    /// Jobs, running, done and failed of a stage.
    type Counts = [u64; 4];

    fn stages(counts: [Counts; 4]) -> Vec<v1::StageProgress> {
        [v1::Stage::Calibrate, v1::Stage::Detect, v1::Stage::Merge, v1::Stage::Assemble]
            .into_iter()
            .zip(counts)
            .map(|(stage, [jobs, running, done, failed])| {
                v1::StageProgress { stage: stage as i32, jobs, running, done, failed }
            })
            .collect()
    }

    fn survey(state: &str, counts: [Counts; 4]) -> v1::Survey {
        let state = v1::SurveyState::from_str_name(state).unwrap();
        v1::Survey { id: "a".into(), state: state as i32, stages: stages(counts), ..Default::default() }
    }

    const RUNNING: &str = "SURVEY_STATE_RUNNING";
    const CANCELLED: &str = "SURVEY_STATE_CANCELLED";

    #[test]
    fn jobs_that_could_run_follow_the_survey_through_its_stages() {
        let whole = |c: Counts, d: Counts, m: Counts, a: Counts| runnable(&stages([c, d, m, a]));
        // Nothing is done: only calibrations can run.
        assert_eq!(whole([4, 0, 0, 0], [100, 0, 0, 0], [33, 0, 0, 0], [5, 0, 0, 0]), 4);
        // A quarter of the calibrations: about a quarter of the tiles.
        assert_eq!(whole([4, 2, 1, 0], [100, 0, 0, 0], [33, 0, 0, 0], [5, 0, 0, 0]), 3 + 25);
        // What runs is counted, also where the estimate is lower.
        assert_eq!(whole([4, 2, 1, 0], [100, 40, 0, 0], [33, 2, 0, 0], [5, 0, 0, 0]), 3 + 40 + 2);
        // A calibration that failed for good holds nobody up.
        assert_eq!(whole([4, 0, 3, 1], [100, 9, 50, 1], [33, 0, 9, 0], [5, 0, 0, 0]), 49);
        assert_eq!(whole([4, 0, 4, 0], [100, 0, 100, 0], [33, 1, 9, 0], [5, 0, 0, 0]), 24);
        assert_eq!(whole([4, 0, 4, 0], [100, 0, 100, 0], [33, 0, 33, 0], [5, 2, 1, 0]), 4);
        assert_eq!(whole([4, 0, 4, 0], [100, 0, 100, 0], [33, 0, 33, 0], [5, 0, 5, 0]), 0);
        // One tile: there is no merge between it and the counties.
        assert_eq!(whole([1, 0, 1, 0], [1, 1, 0, 0], [0; 4], [5, 0, 0, 0]), 1);
    }

    #[test]
    fn numbers_that_make_no_sense_break_nothing() {
        let most = [u64::MAX; 4];
        assert_eq!(runnable(&stages([most; 4])), 0);
        assert_eq!(runnable(&stages([[u64::MAX, 0, 0, 0]; 4])), u64::MAX);
        assert_eq!(runnable(&stages([[u64::MAX, 0, u64::MAX - 1, 0]; 4])), u64::MAX.saturating_add(1));
        assert_eq!(runnable(&[]), 0);
    }

    #[test]
    fn surveys_that_are_over_ask_for_nobody() {
        let open = survey(RUNNING, [[4, 0, 0, 0], [9, 0, 0, 0], [3, 0, 0, 0], [2, 0, 0, 0]]);
        let over = survey(CANCELLED, [[4, 0, 0, 0], [9, 0, 0, 0], [3, 0, 0, 0], [2, 0, 0, 0]]);
        assert_eq!(Demand::of(&[]), Demand { is_active: false, jobs: 0 });
        assert_eq!(Demand::of(std::slice::from_ref(&over)), Demand { is_active: false, jobs: 0 });
        assert_eq!(Demand::of(&[open.clone(), over, open]), Demand { is_active: true, jobs: 8 });
        // No job yet, or none any more while the results are written.
        assert_eq!(Demand::of(&[survey(RUNNING, [[0; 4]; 4])]), Demand { is_active: true, jobs: 0 });
    }

    /// Surveys that a test changes, and how often they were looked at.
    #[derive(Clone, Default)]
    struct Books {
        surveys: Arc<StdMutex<Vec<v1::Survey>>>,
        looks: Arc<AtomicUsize>,
    }

    impl Books {
        fn set(&self, surveys: Vec<v1::Survey>) {
            *self.surveys.lock().unwrap() = surveys;
        }

        fn scaler(&self, fresh: Duration) -> Scaler {
            let books = self.clone();
            let look = move || {
                books.looks.fetch_add(1, Ordering::Relaxed);
                let surveys = books.surveys.lock().unwrap().clone();
                async move { Ok(surveys) }.boxed()
            };
            Scaler::over(Arc::new(look), fresh)
        }
    }

    /// A client over a real connection that lies within this process.
    async fn client(scaler: &Scaler) -> ExternalScalerClient<Channel> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let incoming = futures::stream::iter([Ok::<_, std::io::Error>(theirs)]).chain_pending();
        tokio::spawn(Server::builder().add_service(scaler.service()).serve_with_incoming(incoming));
        let mut ours = Some(TokioIo::new(ours));
        let connect = tower::service_fn(move |_| {
            let ours = ours.take().ok_or_else(|| std::io::Error::other("one connection only"));
            async move { ours }
        });
        let channel = Endpoint::from_static("http://scaler").connect_with_connector(connect).await.unwrap();
        ExternalScalerClient::new(channel)
    }

    trait ChainPending: Stream + Sized {
        /// The server listens on after the one connection.
        fn chain_pending(self) -> futures::stream::Chain<Self, futures::stream::Pending<Self::Item>> {
            futures::StreamExt::chain(self, futures::stream::pending())
        }
    }

    impl<S: Stream> ChainPending for S {}

    fn object(metadata: &[(&str, &str)]) -> wire::ScaledObjectRef {
        let scaler_metadata: BTreeMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        wire::ScaledObjectRef { name: "worker".into(), namespace: "groundbreak".into(), scaler_metadata }
    }

    #[tokio::test]
    #[allow(deprecated, reason = "older versions of KEDA read the whole numbers")]
    async fn keda_is_told_how_many_jobs_there_are_and_how_many_a_worker_is_meant_for() {
        let books = Books::default();
        books.set(vec![survey(RUNNING, [[4, 0, 4, 0], [100, 7, 20, 0], [33, 0, 0, 0], [5, 0, 0, 0]])]);
        let mut client = client(&books.scaler(Duration::ZERO)).await;
        assert!(client.is_active(object(&[])).await.unwrap().into_inner().result);
        for (metadata, jobs) in [(object(&[("scalerAddress", "x:1"), ("jobsPerWorker", "10")]), 10), (object(&[]), 8)] {
            let specs = client.get_metric_spec(metadata.clone()).await.unwrap().into_inner().metric_specs;
            assert_eq!(specs.len(), 1);
            assert_eq!((specs[0].metric_name.as_str(), specs[0].target_size), (METRIC, jobs));
            assert_eq!(specs[0].target_size_float, jobs as f64);
            let request = wire::GetMetricsRequest { scaled_object_ref: Some(metadata), metric_name: METRIC.into() };
            let values = client.get_metrics(request).await.unwrap().into_inner().metric_values;
            assert_eq!(values.len(), 1);
            assert_eq!((values[0].metric_name.as_str(), values[0].metric_value), (METRIC, 80));
            assert_eq!(values[0].metric_value_float, 80.0);
        }
    }

    #[tokio::test]
    async fn a_trigger_with_a_mistake_is_refused_in_words() {
        let mut client = client(&Books::default().scaler(Duration::ZERO)).await;
        for wrong in ["0", "-1", "many", "1.5", ""] {
            let status = client.get_metric_spec(object(&[("jobsPerWorker", wrong)])).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{wrong}");
            assert!(status.message().contains(&format!("jobsPerWorker `{wrong}`")), "{}", status.message());
        }
        let request = wire::GetMetricsRequest { scaled_object_ref: None, metric_name: "cpu".into() };
        let status = client.get_metrics(request).await.unwrap_err();
        assert_eq!(status.message(), "there is no metric `cpu`; the one that there is: groundbreak-jobs");
    }

    #[tokio::test]
    async fn the_stream_says_how_it_is_and_then_only_what_changes() {
        let books = Books::default();
        let mut client = client(&books.scaler(Duration::from_millis(1))).await;
        let mut stream = client.stream_is_active(object(&[])).await.unwrap().into_inner();
        assert!(!stream.message().await.unwrap().unwrap().result);
        for _ in 0..3 {
            books.set(vec![survey(RUNNING, [[1, 0, 0, 0]; 4])]);
            assert!(stream.message().await.unwrap().unwrap().result);
            books.set(vec![survey(CANCELLED, [[1, 0, 0, 0]; 4])]);
            assert!(!stream.message().await.unwrap().unwrap().result);
        }
    }

    #[tokio::test]
    async fn who_asks_often_shares_one_look() {
        let books = Books::default();
        let mut client = client(&books.scaler(Duration::from_secs(3600))).await;
        for _ in 0..20 {
            assert!(!client.is_active(object(&[])).await.unwrap().into_inner().result);
        }
        assert_eq!(books.looks.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_coordinator_that_has_stopped_is_no_coordinator_without_work() {
        let stopped = || async { Err(Status::unavailable("the coordinator has stopped")) }.boxed();
        let mut client = client(&Scaler::over(Arc::new(stopped), Duration::ZERO)).await;
        assert_eq!(client.is_active(object(&[])).await.unwrap_err().code(), Code::Unavailable);
        let mut stream = client.stream_is_active(object(&[])).await.unwrap().into_inner();
        assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    }
}
