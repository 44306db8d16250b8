//! Coordinator and workers over real gRPC on an in-memory transport, with jobs that only pretend to look at pixels:
//! whatever dies, hangs or breaks, the survey ends, and nothing that was acknowledged is done again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

#[path = "services/ends.rs"]
mod ends;
#[path = "services/specs.rs"]
mod specs;
#[path = "services/stage.rs"]
mod stage;

use std::time::Duration;

use coordinator::{CountyOutcome, Policy};
use futures::{StreamExt, stream};
use proto::v1;
use stage::{Act, Stage, plan};
use survey::failure::FailureClass;
use survey::grid::Block;
use survey::job::JobKey;
use worker::Shutdown;

/// A tile of the plan, not the first.
const TILE: JobKey = JobKey::Detect(Block { level: 0, y: 1, x: 2 });

#[tokio::test]
async fn two_workers_do_each_job_once_and_every_county_ends() {
    let stage = Stage::new().await;
    let (first, second) = (stage.worker("first", |_| Act::Do), stage.worker("second", |_| Act::Do));
    let outcome = stage.survey().await;
    assert_eq!(outcome.counties.len(), 2);
    assert!(outcome.counties.iter().all(|county| matches!(county, CountyOutcome::Assembled { result: _, .. })));
    assert!(outcome.failed_jobs.is_empty());
    let (mut done, mut unique) = (stage.done(), stage.done());
    done.sort();
    unique.sort();
    unique.dedup();
    assert_eq!(done, unique);
    assert_eq!(done.len() as u64, outcome.execution.jobs);
    // The first county has components in every tile: it is told where.
    let inputs = stage.inputs(JobKey::Assemble(0));
    assert!(matches!(inputs[0].0, JobKey::Merge(_)), "the root comes first");
    let mut tiles: Vec<JobKey> = inputs[1..].iter().map(|(from, _)| *from).collect();
    tiles.sort();
    assert_eq!(tiles, plan().tiles().into_iter().map(JobKey::Detect).collect::<Vec<_>>());
    assert_eq!(stage.inputs(JobKey::Assemble(1)).len(), 1);
    first.leave().await;
    second.leave().await;
}

#[tokio::test]
async fn a_killed_workers_job_is_finished_by_another() {
    let stage = Stage::new().await;
    let doomed = stage.worker("doomed", |_| Act::Hang);
    let survey = stage.submit().await;
    doomed.is_hanging().await;
    doomed.kill().await;
    let heir = stage.worker("heir", |_| Act::Do);
    // Nothing is heard of the doomed worker for as long as a lease lasts.
    stage.clock.advance(Policy::default().lease);
    let outcome = stage.end_of(&survey).await;
    assert!(outcome.execution.leases_expired >= 1);
    assert!(outcome.failed_jobs.is_empty());
    heir.leave().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_hands_its_jobs_back_at_once() {
    let stage = Stage::new().await;
    let leaving = stage.worker("leaving", |_| Act::Hang);
    let survey = stage.submit().await;
    leaving.is_hanging().await;
    leaving.stop(Shutdown::Now).await;
    let heir = stage.worker("heir", |_| Act::Do);
    // Time stands still: no lease expires.
    let outcome = stage.end_of(&survey).await;
    assert_eq!(outcome.execution.leases_expired, 0);
    assert!(outcome.execution.attempts_failed >= 1);
    assert!(outcome.failed_jobs.is_empty());
    heir.leave().await;
}

#[tokio::test]
async fn a_job_that_always_panics_is_given_up_and_the_survey_ends_without_it() {
    let stage = Stage::new().await;
    let worker = stage.worker("worker", |key| if key == TILE { Act::Panic } else { Act::Do });
    let outcome = stage.survey().await;
    let failed: Vec<_> = outcome.failed_jobs.iter().map(|job| (job.key, job.class)).collect();
    assert_eq!(failed, [(TILE, FailureClass::Poison)]);
    let message = &outcome.failed_jobs[0].message;
    assert!(message.contains("given up after 3 attempts") && message.contains("as it was told"), "{message}");
    assert_eq!(outcome.execution.attempts_failed, 3);
    assert!(outcome.counties.iter().all(|county| matches!(county, CountyOutcome::Assembled { result: _, .. })));
    let JobKey::Detect(tile) = TILE else { unreachable!() };
    let merge = stage.inputs(JobKey::Merge(tile.parent()));
    assert_eq!(merge.iter().filter(|(_, there)| !there).map(|(from, _)| *from).collect::<Vec<_>>(), [TILE]);
    worker.leave().await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    let stage = Stage::new().await;
    let stumbles = std::sync::atomic::AtomicU32::new(0);
    let worker = stage.worker("worker", move |key| match key {
        TILE if stumbles.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 => Act::Fail(FailureClass::Retryable),
        JobKey::Assemble(1) => Act::Fail(FailureClass::BadInput),
        _ => Act::Do,
    });
    let survey = stage.submit().await;
    let ticking = stage.clock.keep_ticking();
    let outcome = stage.end_of(&survey).await;
    drop(ticking);
    assert_eq!(outcome.execution.attempts_failed, 3);
    assert_eq!(outcome.failed_jobs.len(), 1);
    match &outcome.counties[1] {
        CountyOutcome::Failed { class, reason, .. } => {
            assert_eq!((*class, reason.as_str()), (FailureClass::BadInput, "it fails as it was told"));
        }
        other => panic!("{other:?}"),
    }
    worker.leave().await;
}

#[tokio::test]
async fn the_same_survey_on_the_same_output_repeats_nothing() {
    let first = Stage::new().await;
    let worker = first.worker("worker", |_| Act::Do);
    let outcome = first.survey().await;
    worker.leave().await;

    let again = first.reopened().await;
    let worker = again.worker("worker", |_| Act::Do);
    let resumed = again.survey().await;
    assert_eq!(resumed.execution.resumed_jobs, outcome.execution.jobs);
    assert!(again.done().is_empty());
    assert_eq!(resumed.counties, outcome.counties);
    worker.leave().await;

    // One object is lost and one is damaged: these two are done again, and nothing else.
    again.lose(TILE).await;
    again.damage(JobKey::Calibrate(0)).await;
    let mended = again.reopened().await;
    let worker = mended.worker("worker", |_| Act::Do);
    assert_eq!(mended.survey().await.counties, outcome.counties);
    let mut done = mended.done();
    done.sort();
    assert_eq!(done, [JobKey::Calibrate(0), TILE]);
    worker.leave().await;
}

#[tokio::test]
async fn what_failed_for_good_is_tried_again_with_all_that_hangs_on_it() {
    let first = Stage::new().await;
    let worker = first.worker("worker", |key| if key == TILE { Act::Fail(FailureClass::BadInput) } else { Act::Do });
    assert_eq!(first.survey().await.failed_jobs.len(), 1);
    worker.leave().await;
    let since = first.coordinator.submitted("a").await.unwrap().unwrap().since;

    let again = first.reopened().await;
    let worker = again.worker("worker", |_| Act::Do);
    assert!(again.survey().await.failed_jobs.is_empty());
    let done = again.done();
    assert!(done.contains(&TILE) && done.contains(&JobKey::Assemble(1)));
    assert!(!done.contains(&JobKey::Calibrate(0)));
    assert!(done.iter().filter(|key| matches!(key, JobKey::Detect(_))).count() == 1);
    // What was given out before, and may have been computed from the gap, counts no more.
    assert!(again.coordinator.submitted("a").await.unwrap().unwrap().since > since);
    worker.leave().await;
}

#[tokio::test]
async fn a_coordinator_killed_midway_is_followed_by_one_that_goes_on() {
    let first = Stage::new().await;
    let worker = first.worker("worker", |key| if matches!(key, JobKey::Merge(_)) { Act::Hang } else { Act::Do });
    let survey = first.submit().await;
    worker.is_hanging().await;
    let request = v1::GetSurveyRequest { survey: survey.0 };
    let before = first.client().await.get_survey(request).await.unwrap().into_inner();
    let acknowledged: u64 = before.stages.iter().map(|stage| stage.done).sum();
    assert!(acknowledged > 0);
    worker.kill().await;
    let second = first.reopened().await;
    let worker = second.worker("worker", |_| Act::Do);
    let outcome = second.survey().await;
    assert!(outcome.execution.resumed_jobs >= acknowledged, "nothing that was acknowledged is lost");
    assert_eq!(outcome.execution.resumed_jobs + second.done().len() as u64, outcome.execution.jobs);
    worker.leave().await;
}

#[tokio::test]
async fn an_output_with_another_survey_is_refused_by_both_names() {
    let stage = Stage::new().await;
    stage.submit().await;
    let mut other = plan();
    (other.name, other.survey) = ("other survey".into(), survey::ids::SurveyId::from("other-1"));
    let again = stage.reopened().await;
    let status = again.try_submit(&other, u64::MAX).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    for part in ["`a survey` (a)", "`other survey` (other-1)", "choose another output"] {
        assert!(status.message().contains(part), "{}", status.message());
    }
}

#[tokio::test]
async fn a_survey_whose_jobs_can_never_fit_is_refused_with_the_mend() {
    let stage = Stage::new().await;
    let status = stage.try_submit(&plan(), 64 << 20).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let message = status.message();
    assert!(message.contains("64 MiB") && message.contains("--memory"), "{message}");
}

#[tokio::test]
async fn a_coordinator_that_was_succeeded_says_so_and_stops() {
    let stage = Stage::new().await;
    let survey = stage.submit().await;
    let mut states = stage
        .client()
        .await
        .watch_survey(v1::WatchSurveyRequest { survey: survey.0.clone(), with_results: false })
        .await
        .unwrap()
        .into_inner();
    assert!(states.next().await.unwrap().is_ok());
    let successor = stage.reopened().await;
    let worker = stage.worker("worker", |_| Act::Do);
    let end = loop {
        match states.next().await.expect("the stream ends with the reason") {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), tonic::Code::Aborted);
    assert!(end.message().contains("another coordinator has taken over"), "{}", end.message());
    worker.kill().await;
    // What the old one could not write down was not lost: it is done again.
    let worker = successor.worker("worker", |_| Act::Do);
    assert!(successor.survey().await.failed_jobs.is_empty());
    worker.leave().await;
}

#[tokio::test]
async fn a_cancelled_survey_stops_what_runs_and_says_so_of_every_county() {
    let stage = Stage::new().await;
    let worker = stage.worker("worker", |_| Act::Hang);
    let survey = stage.submit().await;
    worker.is_hanging().await;
    let request = v1::CancelSurveyRequest { survey: survey.0.clone() };
    stage.client().await.cancel_survey(request).await.unwrap();
    let outcome = stage.end_of(&survey).await;
    assert!(outcome.is_cancelled);
    assert!(outcome.counties.iter().all(|county| matches!(county, CountyOutcome::Cancelled { .. })));
    // The worker is told that its jobs are void: it can leave in order at once.
    tokio::time::timeout(Duration::from_secs(20), worker.leave()).await.expect("its jobs were stopped");
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused() {
    let stage = Stage::new().await;
    let mut client = stage.worker_client().await;
    let nameless = client.poll(v1::PollRequest::default()).await.unwrap_err();
    assert_eq!(nameless.code(), tonic::Code::InvalidArgument);
    let mut request = v1::PollRequest { worker: "w".into(), ..v1::PollRequest::default() };
    request.failed.push(v1::Failure::default());
    assert_eq!(client.poll(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let unknown = v1::GetSurveyRequest { survey: "nobody".into() };
    assert_eq!(stage.client().await.get_survey(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_message_that_is_too_large_or_names_an_unknown_enum_is_refused() {
    let stage = Stage::new().await;
    let mut client = stage.worker_client().await.max_encoding_message_size(usize::MAX);
    let attempt = Some(v1::Attempt { epoch: 1, counter: 1 });
    let key = Some(v1::JobKey { kind: Some(v1::job_key::Kind::Calibrate(0)) });
    let failure = v1::Failure { survey: "a".into(), key, attempt, class: 99, message: String::new() };
    let request = v1::PollRequest { worker: "w".into(), failed: vec![failure.clone()], ..Default::default() };
    let refusal = client.poll(request).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::InvalidArgument);
    assert!(refusal.message().contains("99 is not a FailureClass"), "{}", refusal.message());
    let message = "x".repeat(proto::MAX_MESSAGE_BYTES);
    let failed = vec![v1::Failure { class: v1::FailureClass::Retryable as i32, message, ..failure }];
    let request = v1::PollRequest { worker: "w".into(), failed, ..Default::default() };
    let refusal = client.poll(request).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::OutOfRange, "{}", refusal.message());
    // And the coordinator is as well as before.
    assert!(client.poll(v1::PollRequest { worker: "w".into(), ..Default::default() }).await.is_ok());
}

#[tokio::test]
async fn health_is_told_and_the_services_can_be_listed() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

    let stage = Stage::new().await;
    let mut health = HealthClient::new(stage.connection().await);
    let worker_service = HealthCheckRequest { service: "groundbreak.v1.WorkerService".into() };
    let mut told = health.watch(worker_service).await.unwrap().into_inner();
    loop {
        // The services are reported as soon as they are up.
        let status = told.next().await.unwrap().unwrap().status();
        if status == ServingStatus::Serving {
            break;
        }
    }
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(stage.connection().await);
    let mut answers = reflection.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    let mut names: Vec<String> = list.service.into_iter().map(|ServiceResponse { name }| name).collect();
    names.retain(|name| name.starts_with("groundbreak"));
    names.sort();
    assert_eq!(names, ["groundbreak.v1.SurveyService", "groundbreak.v1.WorkerService"]);
    // A coordinator that stops says so.
    stage.coordinator.stop().await;
    loop {
        if told.next().await.unwrap().unwrap().status() == ServingStatus::NotServing {
            break;
        }
    }
}

#[tokio::test]
async fn workers_are_listed_with_what_they_hold_and_leave_when_told_to() {
    let stage = Stage::new().await;
    let worker = stage.worker("worker", |_| Act::Hang);
    let survey = stage.submit().await;
    worker.is_hanging().await;
    let workers = stage.coordinator.workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    assert_eq!((workers[0].name.as_str(), workers[0].draining), ("worker", false));
    assert_eq!(workers[0].memory_total, 4 << 30);
    assert!(workers[0].jobs.iter().all(|job| job.survey == survey.0) && !workers[0].jobs.is_empty());
    let unknown = v1::DrainWorkerRequest { worker: "nobody".into() };
    let refusal = stage.client().await.drain_worker(unknown).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::NotFound);
    let request = v1::DrainWorkerRequest { worker: "worker".into() };
    assert!(stage.client().await.drain_worker(request).await.unwrap().into_inner().draining);

    // With its next calls the worker is told, and given nothing more.
    let mut calls = stage.worker_client().await;
    let call = |sequence| v1::PollRequest {
        worker: "worker".into(),
        sequence,
        slots: 4,
        memory_free: 4 << 30,
        ..Default::default()
    };
    let answer = calls.poll(call(1_000_000)).await.unwrap().into_inner();
    assert!(answer.drain && answer.assignments.is_empty(), "{answer:?}");
    worker.kill().await;
}
