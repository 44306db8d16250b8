use super::*;
use std::collections::BTreeMap;

use futures::FutureExt;
use hyper_util::rt::TokioIo;
use proto::convert::job::object_to_wire;
use proto::externalscaler::external_scaler_client::ExternalScalerClient;
use proto::v1::SurveyState::{self, Cancelled, Complete, CompleteWithGaps, Failed, Planning, Running, Unspecified};
use proto::v1::submit_survey_request::Submission;
use proto::v1::survey_service_server::SurveyService;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Server};

use crate::journal::memory::MemoryStore;
use crate::testing::{folder, plan_of_cells, stores as stores_of};
use crate::{CoordinatorConfig, NoResults};

/// Jobs, running, done and failed of a stage.
type Counts = [u64; 4];

fn stages(counts: [Counts; 4]) -> Vec<v1::StageProgress> {
    [v1::Stage::Calibrate, v1::Stage::Detect, v1::Stage::Merge, v1::Stage::Assemble]
        .into_iter()
        .zip(counts)
        .map(|(stage, [jobs, running, done, failed])| v1::StageProgress {
            stage: stage as i32,
            jobs,
            running,
            done,
            failed,
        })
        .collect()
}

fn survey(state: SurveyState, counts: [Counts; 4]) -> v1::Survey {
    v1::Survey { id: "a".into(), state: state as i32, stages: stages(counts), ..Default::default() }
}

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
    assert_eq!(runnable(&stages([[u64::MAX, 0, u64::MAX - 1, 0]; 4])), 2);
    assert_eq!(runnable(&[]), 0);
}

#[test]
fn surveys_that_are_over_ask_for_nobody() {
    let open = survey(Running, [[4, 0, 0, 0], [9, 0, 0, 0], [3, 0, 0, 0], [2, 0, 0, 0]]);
    let over = [Complete, CompleteWithGaps, Failed, Cancelled, Unspecified]
        .map(|state| survey(state, [[4, 0, 0, 0], [9, 0, 0, 0], [3, 0, 0, 0], [2, 0, 0, 0]]));
    assert_eq!(Demand::of(&[]), Demand { is_active: false, jobs: 0 });
    assert_eq!(Demand::of(&over), Demand { is_active: false, jobs: 0 });
    assert_eq!(Demand::of(&[over[0].clone(), open.clone(), open]), Demand { is_active: true, jobs: 8 });
    // No job yet, or none any more while the results are written.
    for state in [Planning, Running] {
        assert_eq!(Demand::of(&[survey(state, [[0; 4]; 4])]), Demand { is_active: true, jobs: 0 });
    }
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
    books.set(vec![survey(Running, [[4, 0, 4, 0], [100, 7, 20, 0], [33, 0, 0, 0], [5, 0, 0, 0]])]);
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
        books.set(vec![survey(Running, [[1, 0, 0, 0]; 4])]);
        assert!(stream.message().await.unwrap().unwrap().result);
        books.set(vec![survey(Cancelled, [[1, 0, 0, 0]; 4])]);
        assert!(!stream.message().await.unwrap().unwrap().result);
    }
}

#[tokio::test]
async fn a_survey_is_open_from_its_submission_to_its_end() {
    let place = tempfile::tempdir().unwrap();
    let state = folder(place.path());
    let coordinator = Coordinator::start(
        CoordinatorConfig::new("a coordinator".into(), |_| 16),
        &MemoryStore::default(),
        state.clone(),
        stores_of(place.path()),
        Arc::new(NoResults),
        Arc::new(RuntimeClock::start()),
    )
    .await
    .unwrap();
    let mut client = client(&Scaler { fresh: Duration::ZERO, ..Scaler::new(coordinator.clone()) }).await;
    assert!(!client.is_active(object(&[])).await.unwrap().into_inner().result);

    let plan = plan_of_cells(&[(0, 0, &[0, 1]), (0, 1, &[1, 2])], 512, 2);
    let bytes = bytes::Bytes::from(proto::objects::encode_plan(&plan));
    let plan_object = object_to_wire(&state.commit("plan", "pb", bytes).await.unwrap());
    let submission =
        v1::PlanSubmission { plan: Some(plan_object), halo_px: 16, max_job_memory: 4 << 30, ..Default::default() };
    let request = v1::SubmitSurveyRequest { submission: Some(Submission::Plan(submission)), ..Default::default() };
    coordinator.submit_survey(Request::new(request)).await.unwrap();
    assert!(client.is_active(object(&[])).await.unwrap().into_inner().result);
    let request = wire::GetMetricsRequest { scaled_object_ref: Some(object(&[])), metric_name: METRIC.into() };
    let values = client.get_metrics(request.clone()).await.unwrap().into_inner().metric_values;
    assert_eq!(values[0].metric_value_float, 3.0, "each pair of scenes waits for its calibration");

    let cancel = v1::CancelSurveyRequest { survey: plan.survey.0 };
    coordinator.cancel_survey(Request::new(cancel)).await.unwrap();
    assert!(!client.is_active(object(&[])).await.unwrap().into_inner().result);
    assert_eq!(client.get_metrics(request).await.unwrap().into_inner().metric_values[0].metric_value_float, 0.0);
    coordinator.stop().await;
    assert!(client.is_active(object(&[])).await.is_err());
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
