//! What of an earlier run still stands when its survey is submitted again.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use imagery::commit::Output;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;
use tracing::warn;

use crate::error::CoordinatorError;
use crate::journal::Record;
use crate::journal::history::{Histories, History};
use crate::journal::object_log::ObjectLogStore;
use crate::schedule::graph::Graph;

/// Objects that are verified at the same time.
const CONCURRENT_FETCHES: usize = 16;

/// Refuses an output that holds another survey's journal or results. Only reads: a coordinator that is at work there
/// is not disturbed.
///
/// # Errors
/// Names both surveys and the mend.
pub async fn refuse_other_survey(output: &Output, plan: &SurveyPlan) -> Result<(), CoordinatorError> {
    let records = ObjectLogStore::new(output.clone()).peek().await?;
    refuse_others(output, Histories::of(records).iter(), plan).await
}

pub(crate) async fn refuse_others<'a>(
    output: &Output,
    mut histories: impl Iterator<Item = &'a History>,
    plan: &SurveyPlan,
) -> Result<(), CoordinatorError> {
    let other = |found_name: String, found: SurveyId| CoordinatorError::OtherSurvey {
        output: output.label(),
        found_name,
        found,
        wanted_name: plan.name.clone(),
        wanted: plan.survey.clone(),
    };
    if let Some(history) = histories.find(|history| history.submitted.survey != plan.survey) {
        return Err(other(history.submitted.name.clone(), history.submitted.survey.clone()));
    }
    if let Some(bytes) = output.get("results/manifest.json").await? {
        let unknown = |cause: String| CoordinatorError::UnknownResults { output: output.label(), cause };
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| unknown(error.to_string()))?;
        let text = |key: &str| manifest.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        let found = SurveyId(text("survey").ok_or_else(|| unknown("it names no survey".into()))?);
        if found != plan.survey {
            return Err(other(text("name").unwrap_or_default(), found));
        }
    }
    Ok(())
}

/// The jobs that need not be done again, and the records that open the others.
///
/// A job is done again where its object is missing or damaged, or where it reads, directly or through others, what a
/// job that had failed for good would have left: what failed is tried again, and may succeed this time.
///
/// # Errors
/// The store fails in a way that says nothing about the objects.
pub(crate) async fn what_stands(
    output: &Output,
    history: &History,
    graph: &Graph,
) -> Result<(BTreeMap<JobKey, ObjectRef>, Vec<Record>), CoordinatorError> {
    let failed = history.failed.keys().filter_map(|&key| graph.number(key));
    let stale: BTreeSet<JobKey> =
        graph.downstream(failed).into_iter().filter_map(|number| graph.job(number)).map(|job| job.key).collect();
    let mut reopened: BTreeSet<JobKey> =
        stale.intersection(&history.failed.keys().copied().collect()).copied().collect();
    let mut completed = BTreeMap::new();
    let candidates: Vec<(JobKey, ObjectRef)> = history
        .completed
        .iter()
        .filter(|(key, _)| graph.number(**key).is_some())
        .map(|(&key, object)| (key, object.clone()))
        .collect();
    let mut verified = futures::stream::iter(candidates)
        .map(|(key, object)| {
            let is_stale = stale.contains(&key);
            async move {
                let verdict = if is_stale { Ok(false) } else { stands(output, &object).await };
                (key, object, verdict)
            }
        })
        .buffered(CONCURRENT_FETCHES);
    while let Some((key, object, verdict)) = verified.next().await {
        if verdict? {
            completed.insert(key, object);
        } else {
            reopened.insert(key);
        }
    }
    let survey = &history.submitted.survey;
    let records = reopened.into_iter().map(|key| Record::Reopened { survey: survey.clone(), key }).collect();
    Ok((completed, records))
}

/// Whether a committed object is there, whole.
async fn stands(output: &Output, object: &ObjectRef) -> Result<bool, CoordinatorError> {
    match output.fetch(object).await {
        Ok(_) => Ok(true),
        Err(error) if error.class() == FailureClass::BadInput => {
            warn!(key = object.key, %error, "a committed object is missing or damaged and is computed again");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
