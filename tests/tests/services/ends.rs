//! How surveys end, and how they go on after a coordinator has died.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coordinator::{PublishError, Publisher, Resume, SurveyOutcome};
use futures::StreamExt;
use imagery::commit::Output;
use proto::v1;
use survey::failure::FailureClass;
use survey::job::JobKey;
use survey::plan::SurveyPlan;
use tokio::sync::Notify;

use crate::TILE;
use crate::stage::{Act, Stage, plan};

/// Counts what it is asked to publish, and fails as it is told.
#[derive(Default)]
struct Press {
    /// Attempts that fail before one succeeds.
    fails: AtomicU32,
    attempts: AtomicU32,
    notes: Mutex<Vec<String>>,
    /// Where set, publishing waits for ever, and says that it does.
    hangs: Option<Notify>,
}

#[tonic::async_trait]
impl Publisher for Press {
    async fn publish(
        &self,
        plan: &SurveyPlan,
        notes: &[String],
        outcome: &SurveyOutcome,
        _: &Output,
    ) -> Result<(), PublishError> {
        assert_eq!(outcome.counties.len(), plan.counties.len());
        self.attempts.fetch_add(1, Ordering::SeqCst);
        *self.notes.lock().unwrap() = notes.to_vec();
        if let Some(hangs) = &self.hangs {
            hangs.notify_one();
            std::future::pending::<()>().await;
        }
        if self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(PublishError { class: FailureClass::Retryable, message: "the store is away".into() });
        }
        Ok(())
    }
}

async fn state_of(stage: &Stage) -> v1::Survey {
    stage.coordinator.survey("a").await.unwrap()
}

#[tokio::test]
async fn a_survey_is_complete_when_its_results_are_written_and_not_before() {
    let press = Arc::new(Press { fails: AtomicU32::new(2), ..Press::default() });
    let stage = Stage::with(Resume::AtStart, press.clone()).await;
    let worker = stage.worker("worker", |_| Act::Do);
    stage.submit_as(&plan(), 4 << 30, &["a scene was left out"], false).await.unwrap();
    let request = v1::WatchSurveyRequest { survey: "a".into(), with_results: false };
    let mut states = stage.client().await.watch_survey(request).await.unwrap().into_inner();
    let mut all_done_while_running = false;
    let mut last = v1::Survey::default();
    while let Some(update) = states.next().await {
        let Some(v1::watch_survey_response::Update::Survey(survey)) = update.unwrap().update else { continue };
        let open: u64 = survey.stages.iter().map(|stage| stage.jobs - stage.done).sum();
        all_done_while_running |= open == 0 && survey.state() == v1::SurveyState::Running;
        last = survey;
    }
    assert_eq!(last.state(), v1::SurveyState::Complete);
    assert!(all_done_while_running, "two attempts at the results failed after the last job");
    assert_eq!(press.attempts.load(Ordering::SeqCst), 3);
    assert_eq!(*press.notes.lock().unwrap(), ["a scene was left out"]);
    worker.leave().await;

    // The same again is answered, and not done again; neither is it by a coordinator that comes after.
    stage.submit_as(&plan(), 4 << 30, &["a scene was left out"], false).await.unwrap();
    let again = stage.reopened_with(Resume::AtStart, press.clone()).await;
    assert_eq!(state_of(&again).await, v1::Survey { workers: 0, ..last });
    assert_eq!(press.attempts.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_survey_whose_coordinator_died_goes_on_without_its_client() {
    let press = Arc::new(Press::default());
    let first = Stage::with(Resume::AtStart, press.clone()).await;
    let worker = first.worker("worker", |key| if matches!(key, JobKey::Merge(_)) { Act::Hang } else { Act::Do });
    first.submit_as(&plan(), 4 << 30, &[], false).await.unwrap();
    worker.is_hanging().await;
    let acknowledged: u64 = state_of(&first).await.stages.iter().map(|stage| stage.done).sum();
    worker.kill().await;
    let second = first.reopened_with(Resume::AtStart, press.clone()).await;
    let worker = second.worker("worker", |_| Act::Do);
    let outcome = second.end_of(&plan().survey).await;
    assert!(acknowledged > 0 && outcome.execution.jobs - second.done().len() as u64 >= acknowledged);
    assert_eq!(state_of(&second).await.state(), v1::SurveyState::Complete);
    assert_eq!(press.attempts.load(Ordering::SeqCst), 1);
    worker.leave().await;
}

#[tokio::test]
async fn results_whose_writing_was_cut_off_are_written_by_the_next_coordinator() {
    let hanging = Arc::new(Press { hangs: Some(Notify::new()), ..Press::default() });
    let first = Stage::with(Resume::AtStart, hanging.clone()).await;
    let worker = first.worker("worker", |_| Act::Do);
    first.submit_as(&plan(), 4 << 30, &["a note"], false).await.unwrap();
    hanging.hangs.as_ref().unwrap().notified().await;
    assert_eq!(state_of(&first).await.state(), v1::SurveyState::Running);
    worker.leave().await;
    let press = Arc::new(Press::default());
    let second = first.reopened_with(Resume::AtStart, press.clone()).await;
    second.end_of(&plan().survey).await;
    assert_eq!(state_of(&second).await.state(), v1::SurveyState::Complete);
    assert_eq!(*press.notes.lock().unwrap(), ["a note"]);
    assert!(second.done().is_empty());
}

#[tokio::test]
async fn a_survey_with_a_job_that_failed_for_good_is_complete_with_gaps() {
    let stage = Stage::new().await;
    let worker = stage
        .worker("worker", |key| if key == JobKey::Assemble(1) { Act::Fail(FailureClass::BadInput) } else { Act::Do });
    stage.survey().await;
    let survey = state_of(&stage).await;
    assert_eq!(survey.state(), v1::SurveyState::CompleteWithGaps);
    assert_eq!(survey.failed_jobs.len(), 1);
    worker.leave().await;
}

#[tokio::test]
async fn an_input_that_was_damaged_after_it_was_committed_is_done_again_and_fails_nobody() {
    let stage = Stage::new().await;
    // The first one to merge stops, while what it reads is lost and damaged.
    let worker = stage.worker("doomed", |key| if matches!(key, JobKey::Merge(_)) { Act::Hang } else { Act::Do });
    let survey = stage.submit().await;
    worker.is_hanging().await;
    while state_of(&stage).await.stages[1].done < 6 {
        tokio::task::yield_now().await;
    }
    worker.kill().await;
    stage.damage(TILE).await;
    stage.clock.advance(Duration::from_secs(31));
    let heir = stage.worker("heir", |key| if matches!(key, JobKey::Merge(_)) { Act::Read } else { Act::Do });
    let ticking = stage.clock.keep_ticking();
    let outcome = stage.repaired_end_of(&survey).await;
    drop(ticking);
    assert!(outcome.failed_jobs.is_empty(), "{:?}", outcome.failed_jobs);
    assert_eq!(stage.done().iter().filter(|key| **key == TILE).count(), 2, "once, and once again");
    let told = state_of(&stage).await;
    assert_eq!((told.repaired, told.state()), (1, v1::SurveyState::Complete));
    heir.leave().await;
}

#[tokio::test]
async fn a_countys_result_that_is_lost_before_the_results_are_written_is_done_again() {
    let press = Arc::new(Press { fails: AtomicU32::new(1), ..Press::default() });
    let stage = Stage::with(Resume::AtStart, press.clone()).await;
    let worker = stage.worker("worker", |_| Act::Do);
    let survey = stage.submit().await;
    while press.attempts.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    stage.lose(JobKey::Assemble(0)).await;
    let outcome = stage.repaired_end_of(&survey).await;
    assert!(outcome.failed_jobs.is_empty());
    assert_eq!(stage.done().iter().filter(|key| **key == JobKey::Assemble(0)).count(), 2);
    assert_eq!(state_of(&stage).await.state(), v1::SurveyState::Complete);
    worker.leave().await;
}

#[tokio::test]
async fn watching_brings_each_countys_result_once() {
    let stage = Stage::new().await;
    stage.submit().await;
    let request = v1::WatchSurveyRequest { survey: "a".into(), with_results: true };
    let updates = stage.client().await.watch_survey(request).await.unwrap().into_inner();
    let worker = stage.worker("worker", |_| Act::Do);
    let mut results: Vec<String> = updates
        .filter_map(|update| async {
            match update.unwrap().update.unwrap() {
                v1::watch_survey_response::Update::County(county) => Some(county.result.unwrap().county),
                v1::watch_survey_response::Update::Survey(_) => None,
            }
        })
        .collect()
        .await;
    results.sort();
    assert_eq!(results, ["C1", "C2"]);
    worker.leave().await;
}
