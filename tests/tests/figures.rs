//! The coordinator's figures (docs/performance.md): run with `--ignored --nocapture`. They print what they measure, and
//! fail where it is not what was promised.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "figures/processes.rs"]
mod processes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coordinator::journal::record::Submitted;
use coordinator::journal::{Journal, JournalStore, Record};
use coordinator::schedule::event::Attempt;
use coordinator::{Coordinator, CoordinatorConfig, NoResults, RuntimeClock, SlateStore};
use groundbreak_tests::figures::{figure, grouped};
use groundbreak_tests::plan;
use groundbreak_tests::s3::TestServer;
use imagery::commit::Output;
use imagery::store::Stores;
use object_store::ObjectStore;
use object_store::path::Path;
use proto::convert::job::object_to_wire;
use proto::v1;
use proto::v1::survey_service_client::SurveyServiceClient;
use proto::v1::worker_service_client::WorkerServiceClient;
use survey::grid::{Block, Cell};
use survey::ids::Digest;
use survey::job::{JobKey, ObjectRef};
use survey::plan::{PlannedCell, SurveyPlan};

const MEMORY: u64 = 8 << 30;

/// A local S3 server and what a coordinator keeps there and in a folder.
struct Place {
    _server: TestServer,
    _root: tempfile::TempDir,
    bucket: Arc<dyn ObjectStore>,
    stores: Stores,
    state: Output,
}

async fn place() -> Place {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("s3/bucket")).unwrap();
    let server = TestServer::start(&root.path().join("s3")).await.unwrap();
    let bucket = server.bucket("bucket").unwrap();
    let folder = root.path().join("state").to_string_lossy().into_owned();
    let stores = Stores::new(&[], &folder).unwrap();
    let state = Output::open(&folder, &stores).unwrap();
    Place { _server: server, _root: root, bucket: Arc::new(bucket), stores, state }
}

impl Place {
    fn journal(&self) -> SlateStore {
        SlateStore::on(Arc::clone(&self.bucket), Path::from("journal"), "s3://bucket".into(), false)
    }

    async fn coordinator(&self, writer: &str) -> Coordinator {
        let config = CoordinatorConfig::new(writer.into(), |_| 16);
        let (publisher, clock) = (Arc::new(NoResults), Arc::new(RuntimeClock::start()));
        let (state, stores) = (self.state.clone(), self.stores.clone());
        Coordinator::start(config, &self.journal(), state, stores, publisher, clock).await.unwrap()
    }
}

/// A survey of `side`² tiles, one pair, one county.
fn plan(side: i32) -> SurveyPlan {
    let cells = (0..side).flat_map(|row| (0..side).map(move |col| Cell { row, col }));
    let cells = cells.map(|cell| PlannedCell { cell, pairs: vec![0] }).collect();
    plan::plan(vec![plan::county("C1", "C1")], vec![plan::pair("one", &["red"])], cells)
}

fn object(key: JobKey) -> ObjectRef {
    let digest = Digest::of(key.to_string().as_bytes());
    ObjectRef { key: format!("stages/findings/{key}.{}.pb", digest.short()), digest, length: 4000 }
}

async fn commit_plan(place: &Place, plan: &SurveyPlan) -> ObjectRef {
    place.state.commit("plan", "pb", Bytes::from(proto::objects::encode_plan(plan))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of minutes"]
async fn a_coordinator_with_a_million_jobs_done_serves_again_in_ten_seconds() {
    const SIDE: i32 = 1000;
    let place = place().await;
    let plan = plan(SIDE);
    let submitted = Submitted {
        survey: plan.survey.clone(),
        name: plan.name.clone(),
        plan: commit_plan(&place, &plan).await,
        notes: None,
        output: place.state.url().to_string(),
        halo_px: 16,
        max_job_memory: MEMORY,
        priority: 100,
        version: survey::VERSION.to_owned(),
        submission: String::new(),
        since: Attempt::default(),
    };
    let keys: Vec<JobKey> = std::iter::once(JobKey::Calibrate(0))
        .chain((0..SIDE).flat_map(|y| (0..SIDE).map(move |x| JobKey::Detect(Block { level: 0, y, x }))))
        .collect();
    let begun = Instant::now();
    let (mut journal, _) = place.journal().open("first").await.unwrap();
    journal.append(&[Record::Submitted(submitted)]).await.unwrap();
    for keys in keys.chunks(1000) {
        let done = |&key: &JobKey| Record::Completed { survey: plan.survey.clone(), key, object: object(key) };
        journal.append(&keys.iter().map(done).collect::<Vec<_>>()).await.unwrap();
    }
    println!("{} completions appended in batches of 1000: {:.1} s", keys.len(), begun.elapsed().as_secs_f64());
    // As if it had been killed: nothing is closed.
    std::mem::forget(journal);

    let begun = Instant::now();
    let coordinator = place.coordinator("second").await;
    println!("journal taken over: {:.2} s", begun.elapsed().as_secs_f64());
    let told = loop {
        let told = coordinator.survey("a").await.unwrap();
        if !told.stages.is_empty() {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let took = begun.elapsed();
    figure(
        &format!("coordinator restarted with {} jobs done: serving again", grouped(keys.len() as f64)),
        "< 10 s",
        &format!("{:.2} s", took.as_secs_f64()),
    );
    assert_eq!(told.stages.iter().map(|stage| stage.done).sum::<u64>(), keys.len() as u64);
    assert!(took < Duration::from_secs(10), "{took:?}");
    coordinator.stop().await;
}

/// A worker that does nothing but say that it has: each call reports what the one before brought.
async fn work(mut client: WorkerServiceClient<tonic::transport::Channel>, name: String, slots: u32) -> u64 {
    let mut done = 0;
    let mut sequence = 0;
    let mut completed: Vec<v1::Completion> = Vec::new();
    loop {
        sequence += 1;
        let request = v1::PollRequest {
            worker: name.clone(),
            sequence,
            memory_total: u64::from(slots) * MEMORY,
            memory_free: u64::from(slots) * MEMORY,
            slots,
            completed: std::mem::take(&mut completed),
            wait_ms: 200,
            ..Default::default()
        };
        let reported = request.completed.len();
        let answer = client.poll(request).await.unwrap().into_inner();
        assert_eq!(answer.acknowledged.len(), reported);
        done += reported as u64;
        if answer.assignments.is_empty() && reported == 0 {
            return done;
        }
        completed = answer
            .assignments
            .into_iter()
            .map(|assignment| {
                let key = assignment.job.unwrap().key;
                let object = object(proto::convert::job::key(key.unwrap()).unwrap());
                v1::Completion {
                    survey: assignment.survey,
                    key,
                    attempt: assignment.attempt,
                    object: Some(object_to_wire(&object)),
                    stats: None,
                }
            })
            .collect();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn five_thousand_jobs_a_second_are_given_out_and_written_down() {
    const SIDE: i32 = 250;
    const WORKERS: u32 = 32;
    const SLOTS: u32 = 16;
    let place = place().await;
    let plan = plan(SIDE);
    let plan_object = commit_plan(&place, &plan).await;
    let coordinator = place.coordinator("only").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tokio::spawn(coordinator.router().serve_with_incoming(incoming));
    let channel = tonic::transport::Endpoint::new(url.clone()).unwrap().connect().await.unwrap();
    let submission = v1::PlanSubmission {
        plan: Some(object_to_wire(&plan_object)),
        halo_px: 16,
        max_job_memory: MEMORY,
        notes: vec![],
        output: String::new(),
    };
    let submission = Some(v1::submit_survey_request::Submission::Plan(submission));
    let request = v1::SubmitSurveyRequest { submission, again: false, priority: 0 };
    SurveyServiceClient::new(channel).submit_survey(request).await.unwrap();
    let begun = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..WORKERS {
        let endpoint = tonic::transport::Endpoint::new(url.clone()).unwrap().tcp_nodelay(true);
        let client = WorkerServiceClient::new(endpoint.connect().await.unwrap());
        workers.spawn(work(client, format!("worker-{worker}"), SLOTS));
    }
    let done: u64 = workers.join_all().await.into_iter().sum();
    // The last calls waited in vain for a fifth of a second.
    let took = begun.elapsed().saturating_sub(Duration::from_millis(200));
    let rate = done as f64 / took.as_secs_f64();
    figure(
        &format!("{} jobs given out, reported and durable, by gRPC and local S3", grouped(done as f64)),
        "≥ 5,000 jobs/s",
        &format!("{} jobs/s", grouped(rate)),
    );
    assert!(done >= u64::from(SIDE.unsigned_abs().pow(2)), "{done}");
    assert!(rate >= 5000.0, "{rate}");
    coordinator.stop().await;
    server.abort();
}
