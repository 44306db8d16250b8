//! Specs that are submitted to a coordinator: planned by it, once, whatever dies.

use coordinator::{NoResults, Resume};
use groundbreak_tests::fixture::Fixture;
use imagery::store::Stores;
use proto::v1;
use std::sync::Arc;
use survey::spec::SurveySpec;
use tonic::Code;

use crate::stage::Stage;

/// The fixture's survey as it is submitted: its scenes by URL, its counties attached.
fn submission(fixture: &Fixture) -> v1::SpecSubmission {
    let toml = std::fs::read_to_string(fixture.survey()).unwrap();
    let url = |name: &str| format!("file://{}", fixture.path(name).display());
    let toml = toml
        .replace("\"counties.geojson\"", "\"attached:counties.geojson\"")
        .replace("\"before.tif\"", &format!("{:?}", url("before.tif")))
        .replace("\"after.tif\"", &format!("{:?}", url("after.tif")));
    let content = std::fs::read(fixture.path("counties.geojson")).unwrap();
    let files = vec![v1::AttachedFile { name: "counties.geojson".into(), content }];
    v1::SpecSubmission { toml, files, output: String::new() }
}

async fn submit(stage: &Stage, spec: v1::SpecSubmission) -> Result<v1::SubmitSurveyResponse, tonic::Status> {
    let submission = Some(v1::submit_survey_request::Submission::Spec(spec));
    let request = v1::SubmitSurveyRequest { submission, again: false, priority: 0 };
    let mut client = stage.client().await.max_encoding_message_size(usize::MAX);
    client.submit_survey(request).await.map(tonic::Response::into_inner)
}

async fn cluster() -> Stage {
    Stage::with(Resume::AtStart, Arc::new(NoResults)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_becomes_the_survey_that_it_would_be_elsewhere() {
    let fixture = Fixture::new();
    let stage = cluster().await;
    let submitted = submit(&stage, submission(&fixture)).await.unwrap();
    let survey = submitted.survey.unwrap();
    assert_eq!(survey.state(), v1::SurveyState::Running);
    assert_eq!(survey.submission.len(), 64);
    assert!(survey.output.ends_with(&format!("/surveys/{}/", survey.id)), "{}", survey.output);

    // The plan is, but for where things lie, that of the survey file.
    let folder = fixture.path("");
    let stores = Stores::new(&[], &folder.to_string_lossy()).unwrap();
    let spec = SurveySpec::parse(&std::fs::read_to_string(fixture.survey()).unwrap()).unwrap();
    let planned = coordinator::plan::plan(&spec, &stores, coordinator::plan::Depth::Files).await.unwrap();
    assert_eq!(survey.id, planned.plan.survey.0);
    assert_eq!(submitted.notes, planned.warnings);
    let output = imagery::commit::Output::open(&survey.output, &stores).unwrap();
    let plan = output.list("").await.unwrap().into_iter().find(|key| key.starts_with("plan.")).unwrap();
    let found = proto::objects::decode_plan(&output.get(&plan).await.unwrap().unwrap()).unwrap();
    assert_eq!(found, planned.plan);
    assert!(output.get("spec.toml").await.unwrap().is_some());

    // Submitted again, in whatever state, it is the same survey; and it is found by the digest of its submission.
    let again = submit(&stage, submission(&fixture)).await.unwrap().survey.unwrap();
    assert_eq!((again.id, again.submission), (survey.id.clone(), survey.submission.clone()));
    assert_eq!(stage.coordinator.survey(&survey.submission).await.unwrap().id, survey.id);
    assert_eq!(stage.coordinator.surveys().await.unwrap().len(), 1);
    let next = stage.reopened_with(Resume::AtStart, Arc::new(NoResults)).await;
    let again = submit(&next, submission(&fixture)).await.unwrap().survey.unwrap();
    assert_eq!(again.id, survey.id);
    assert_eq!(next.coordinator.surveys().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_spec_at_the_same_time_is_one_survey() {
    let fixture = Fixture::new();
    let stage = cluster().await;
    let (one, two) = tokio::join!(submit(&stage, submission(&fixture)), submit(&stage, submission(&fixture)));
    assert_eq!(one.unwrap().survey.unwrap().id, two.unwrap().survey.unwrap().id);
    assert_eq!(stage.coordinator.surveys().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_differs_in_words_only_joins_the_same_survey() {
    let fixture = Fixture::new();
    let stage = cluster().await;
    let first = submit(&stage, submission(&fixture)).await.unwrap().survey.unwrap();
    let mut spec = submission(&fixture);
    spec.toml = format!("# a remark\n{}", spec.toml);
    let second = submit(&stage, spec.clone()).await.unwrap().survey.unwrap();
    assert_eq!(first.id, second.id);
    assert_eq!(stage.coordinator.surveys().await.unwrap().len(), 1);
    let next = stage.reopened_with(Resume::AtStart, Arc::new(NoResults)).await;
    assert_eq!(next.coordinator.surveys().await.unwrap().len(), 1);
    assert_eq!(submit(&next, spec).await.unwrap().survey.unwrap().id, first.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_be_planned_is_refused_in_words_and_listed_as_failed() {
    let fixture = Fixture::new();
    let stage = cluster().await;
    let mut spec = submission(&fixture);
    spec.toml = spec.toml.replace("pcode", "nocode");
    let refusal = submit(&stage, spec.clone()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("nocode"), "{}", refusal.message());
    let listed = stage.coordinator.surveys().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].state(), listed[0].message.as_str()), (v1::SurveyState::Failed, refusal.message()));
    // The next coordinator knows of it, too; and it may be submitted again.
    let next = stage.reopened_with(Resume::AtStart, Arc::new(NoResults)).await;
    assert_eq!(next.coordinator.survey(&listed[0].id).await.unwrap().state(), v1::SurveyState::Failed);
    assert_eq!(submit(&next, spec).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_whose_planning_was_cut_off_is_planned_by_the_next_coordinator() {
    let fixture = Fixture::new();
    let stage = cluster().await;
    let client = stage.client().await;
    let spec = submission(&fixture);
    let submission = Some(v1::submit_survey_request::Submission::Spec(spec));
    let request = v1::SubmitSurveyRequest { submission, again: false, priority: 0 };
    let mut calling = client.clone();
    let call = tokio::spawn(async move { calling.submit_survey(request).await });
    let planned = loop {
        let listed = stage.coordinator.surveys().await.unwrap();
        if let Some(survey) = listed.into_iter().next() {
            break survey;
        }
        tokio::task::yield_now().await;
    };
    stage.coordinator.stop().await;
    let answered = call.await.unwrap();
    let next = stage.reopened_with(Resume::AtStart, Arc::new(NoResults)).await;
    // Whether or not the plan was made before: it is a survey now.
    let submission = answered.map(|response| response.into_inner().survey.unwrap().submission);
    let digest = submission.unwrap_or(planned.submission);
    loop {
        let survey = next.coordinator.survey(&digest).await.unwrap();
        match survey.state() {
            v1::SurveyState::Planning => tokio::task::yield_now().await,
            state => {
                assert_eq!(state, v1::SurveyState::Running, "{survey:?}");
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_surveys_with_one_output_are_refused_by_name() {
    let fixture = Fixture::new();
    let out = tempfile::tempdir().unwrap();
    let stage = cluster().await;
    let mut one = submission(&fixture);
    one.output = format!("file://{}", out.path().display());
    let mut two = one.clone();
    submit(&stage, one).await.unwrap();
    two.toml = two.toml.replace("name = \"fixture\"", "name = \"another\"");
    let refusal = submit(&stage, two).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{}", refusal.message());
    assert!(
        refusal.message().contains("`fixture`") && refusal.message().contains("`another`"),
        "{}",
        refusal.message()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_submitted_is_refused_with_the_mend() {
    let fixture = Fixture::new();
    let stage = cluster().await;
    let good = submission(&fixture);
    let large = v1::AttachedFile { name: "large.geojson".into(), content: vec![b' '; proto::MAX_ATTACHED_BYTES] };
    let extra = v1::AttachedFile { name: "extra.csv".into(), content: vec![] };
    let with = |files: Vec<v1::AttachedFile>| v1::SpecSubmission {
        files: [good.files.clone(), files].concat(),
        ..good.clone()
    };
    let toml = |from: &str, to: &str| v1::SpecSubmission { toml: good.toml.replace(from, to), ..good.clone() };
    let storage = "\n[[storage]]\nprefix = \"s3://bucket/\"\nsecret_access_key_env = \"SECRET\"\n";
    for (spec, words) in [
        (with(vec![large]), "give their URLs"),
        (with(vec![extra.clone()]), "`extra.csv` is not named"),
        (with(vec![extra.clone(), extra]), "two files are attached as `extra.csv`"),
        (toml("attached:counties.geojson", "counties.geojson"), "counties.source: `counties.geojson` is a path"),
        (toml("attached:counties.geojson", "attached:other.geojson"), "no file `other.geojson` is attached"),
        (toml("[counties]", "[county]"), "unknown key `county`"),
        (v1::SpecSubmission { toml: format!("{}{storage}", good.toml), ..good.clone() }, "leave only `prefix`"),
        (with(vec![v1::AttachedFile { name: "../../x".into(), content: vec![] }]), "no name for an attached file"),
    ] {
        let refusal = submit(&stage, spec).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{}", refusal.message());
        assert!(refusal.message().contains(words), "{} lacks `{words}`", refusal.message());
    }
    let nothing = v1::SubmitSurveyRequest { submission: None, again: false, priority: 0 };
    let refusal = stage.client().await.submit_survey(nothing).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(stage.coordinator.surveys().await.unwrap().is_empty(), "what makes no sense is not kept");
}
