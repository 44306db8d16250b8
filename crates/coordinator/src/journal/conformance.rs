//! What every journal must do.

use std::collections::BTreeMap;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::JobKey;

use super::record::SurveyEnd;
use super::*;
use crate::testing::{completed, object, received, submitted};

pub async fn suite<S: JournalStore>(fresh: impl AsyncFn() -> S) {
    an_empty_journal_says_nothing(&fresh().await).await;
    what_is_appended_is_there_for_the_next_writer(&fresh().await).await;
    a_job_is_open_failed_or_done_as_was_said_last(&fresh().await).await;
    the_same_submission_goes_on_and_another_plan_begins_anew(&fresh().await).await;
    a_survey_that_is_over_is_one_row(&fresh().await).await;
    a_spec_is_planned_then_refused_or_a_survey(&fresh().await).await;
    a_new_writer_fences_the_old_one(&fresh().await).await;
    racing_writers_leave_one_history(&fresh().await).await;
}

fn survey() -> SurveyId {
    SurveyId::from("a")
}

/// The pairs whose calibration is done.
async fn done(journal: &impl Journal) -> Vec<u32> {
    let jobs = journal.reader().jobs(&survey()).await.unwrap();
    let pair = |key: &JobKey| match key {
        JobKey::Calibrate(pair) => *pair,
        other => panic!("{other} was never done"),
    };
    jobs.completed.keys().map(pair).collect()
}

async fn an_empty_journal_says_nothing<S: JournalStore>(store: &S) {
    let (journal, books) = store.open("first").await.unwrap();
    assert_eq!(books, Books::default());
    assert!(journal.epoch() >= 1);
    assert!(done(&journal).await.is_empty());
}

async fn what_is_appended_is_there_for_the_next_writer<S: JournalStore>(store: &S) {
    let (mut journal, _) = store.open("first").await.unwrap();
    journal.append(&[submitted("a"), submitted("b")]).await.unwrap();
    journal.append(&[]).await.unwrap();
    let records: Vec<Record> = (0..700).map(completed).collect();
    for batch in records.chunks(300) {
        journal.append(batch).await.unwrap();
    }
    let epoch = journal.epoch();
    journal.close().await;
    let (again, books) = store.open("second").await.unwrap();
    assert!(again.epoch() > epoch);
    let found: Vec<Record> = books.surveys.values().map(|book| Record::Submitted(book.submitted.clone())).collect();
    assert_eq!(found, [submitted("a"), submitted("b")]);
    let jobs = again.reader().jobs(&survey()).await.unwrap();
    let expected: BTreeMap<_, _> =
        (0..700).map(|pair| (JobKey::Calibrate(pair), object(&format!("pair {pair}")))).collect();
    assert_eq!(jobs.completed, expected);
    assert!(again.reader().jobs(&SurveyId::from("b")).await.unwrap().completed.is_empty());
}

async fn a_job_is_open_failed_or_done_as_was_said_last<S: JournalStore>(store: &S) {
    let key = JobKey::Calibrate(1);
    let reopened = Record::Reopened { survey: survey(), key };
    let (class, message) = (FailureClass::Poison, "it broke".to_owned());
    let attempt = Record::AttemptFailed { survey: survey(), key, class, message: message.clone() };
    let failed = Record::Failed { survey: survey(), key, class, message: message.clone() };
    let (mut journal, _) = store.open("first").await.unwrap();
    journal.append(&[submitted("a"), completed(1), reopened.clone()]).await.unwrap();
    assert!(done(&journal).await.is_empty());
    journal.append(&[attempt, failed]).await.unwrap();
    let jobs = journal.reader().jobs(&survey()).await.unwrap();
    assert!(jobs.completed.is_empty());
    assert_eq!(jobs.failed, BTreeMap::from([(key, (class, message))]));
    assert_eq!(jobs.attempts, [(key, class)]);
    journal.append(&[reopened, completed(1)]).await.unwrap();
    let jobs = journal.reader().jobs(&survey()).await.unwrap();
    assert!(jobs.failed.is_empty() && jobs.completed.len() == 1);
}

async fn the_same_submission_goes_on_and_another_plan_begins_anew<S: JournalStore>(store: &S) {
    let Record::Submitted(mut moved) = submitted("a") else { unreachable!() };
    let (mut journal, _) = store.open("first").await.unwrap();
    journal.append(&[submitted("a"), completed(1), completed(2), submitted("a")]).await.unwrap();
    assert_eq!(done(&journal).await, [1, 2]);
    moved.plan = object("plan of other tiles");
    journal.append(&[Record::Submitted(moved), completed(3)]).await.unwrap();
    assert_eq!(done(&journal).await, [3]);
    let (again, _) = store.open("second").await.unwrap();
    assert_eq!(done(&again).await, [3]);
}

async fn a_survey_that_is_over_is_one_row<S: JournalStore>(store: &S) {
    let told = v1_survey();
    let (mut journal, _) = store.open("first").await.unwrap();
    journal.append(&[submitted("a"), completed(1)]).await.unwrap();
    // Without ledgers the jobs stay where they are.
    let end = SurveyEnd { survey: told.clone(), ledgers: vec![] };
    journal.append(&[Record::Ended { survey: survey(), end: Box::new(end.clone()) }]).await.unwrap();
    assert_eq!(done(&journal).await, [1]);
    let (mut journal, books) = store.open("second").await.unwrap();
    assert_eq!(books.surveys[&survey()].end, Some(end));
    // With ledgers they are there.
    let end = SurveyEnd { survey: told, ledgers: vec![object("ledger")] };
    journal.append(&[Record::Ended { survey: survey(), end: Box::new(end.clone()) }]).await.unwrap();
    assert!(done(&journal).await.is_empty());
    let (mut journal, books) = store.open("third").await.unwrap();
    assert_eq!(books.surveys[&survey()].end, Some(end));
    // And it may begin again.
    journal.append(&[submitted("a"), completed(4)]).await.unwrap();
    let (journal, books) = store.open("fourth").await.unwrap();
    assert_eq!(books.surveys[&survey()].end, None);
    assert_eq!(done(&journal).await, [4]);
}

fn v1_survey() -> proto::v1::Survey {
    proto::v1::Survey { id: "a".into(), attempts: 7, ..Default::default() }
}

async fn a_spec_is_planned_then_refused_or_a_survey<S: JournalStore>(store: &S) {
    let fate = |books: &Books| books.submissions["abc"].fate.clone();
    let (mut journal, _) = store.open("first").await.unwrap();
    journal.append(&[received("abc")]).await.unwrap();
    let (mut journal, books) = {
        journal.close().await;
        store.open("second").await.unwrap()
    };
    assert_eq!(fate(&books), None);
    let (class, message) = (FailureClass::BadInput, "no scene".to_owned());
    let refused = Record::Refused { submission: "abc".into(), class, message: message.clone() };
    journal.append(&[refused]).await.unwrap();
    let (mut journal, books) = store.open("third").await.unwrap();
    assert_eq!(fate(&books), Some(SubmissionFate::Refused { class, message }));
    let Record::Submitted(mut survey) = submitted("a") else { unreachable!() };
    survey.submission = "abc".into();
    journal.append(&[received("abc"), Record::Submitted(survey)]).await.unwrap();
    let (_, books) = store.open("fourth").await.unwrap();
    assert_eq!(fate(&books), Some(SubmissionFate::Became(SurveyId::from("a"))));
}

async fn a_new_writer_fences_the_old_one<S: JournalStore>(store: &S) {
    let (mut old, _) = store.open("old").await.unwrap();
    old.append(&[submitted("a"), completed(1)]).await.unwrap();
    let (mut new, _) = store.open("new").await.unwrap();
    assert_eq!(done(&new).await, [1]);
    assert!(matches!(old.append(&[completed(2)]).await, Err(JournalError::Fenced { .. })));
    new.append(&[completed(3)]).await.unwrap();
    assert!(matches!(old.append(&[completed(4)]).await, Err(JournalError::Fenced { .. })));
    let (newest, _) = store.open("newest").await.unwrap();
    assert_eq!(done(&newest).await, [1, 3]);
}

async fn racing_writers_leave_one_history<S: JournalStore>(store: &S) {
    let mut journals = Vec::new();
    for writer in ["a", "b", "c"] {
        journals.push(store.open(writer).await.unwrap().0);
    }
    let appends = journals
        .iter_mut()
        .zip(1..)
        .map(|(journal, pair)| async move { journal.append(&[submitted("a"), completed(pair)]).await.map(|()| pair) });
    let won: Vec<u32> = futures::future::join_all(appends).await.into_iter().flatten().collect();
    assert_eq!(won, [3], "only the newest writer writes");
    let (last, _) = store.open("d").await.unwrap();
    assert_eq!(done(&last).await, [3]);
}
