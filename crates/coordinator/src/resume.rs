//! What of an earlier run still stands when its survey goes on, and whose an output is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::StreamExt;
use imagery::commit::Output;
use prost::Message;
use proto::v1;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};
use survey::plan::SurveyPlan;
use tracing::warn;

use crate::error::CoordinatorError;
use crate::journal::{JobBook, Record};
use crate::schedule::graph::Graph;

/// Objects that are verified at the same time.
const CONCURRENT_FETCHES: usize = 16;
/// Up to so many objects are read back before a survey goes on; of more it is only asked whether they are there. What is
/// damaged is found by those who read it.
const READ_BACK: usize = 20_000;
/// Says under an output whose it is.
const MARKER: &str = "survey.json";
const MANIFEST: &str = "results/manifest.json";

/// Refuses an output that holds another survey's results, or what another survey has begun. Only reads: a coordinator that
/// is at work there is not disturbed.
///
/// # Errors
/// Names both surveys and the mend.
pub async fn refuse_other_survey(output: &Output, plan: &SurveyPlan) -> Result<(), CoordinatorError> {
    for file in [MARKER, MANIFEST] {
        let Some(bytes) = output.get(file).await? else { continue };
        let unknown = |cause: String| CoordinatorError::UnknownResults { output: output.label(), file, cause };
        let document: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| unknown(error.to_string()))?;
        let text = |key: &str| document.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        let found = SurveyId(text("survey").ok_or_else(|| unknown("it names no survey".into()))?);
        if found != plan.survey {
            return Err(CoordinatorError::OtherSurvey {
                output: output.label(),
                found_name: text("name").unwrap_or_default(),
                found,
                wanted_name: plan.name.clone(),
                wanted: plan.survey.clone(),
            });
        }
    }
    Ok(())
}

/// Takes an output for a survey.
///
/// # Errors
/// It is another's: as [`refuse_other_survey`].
pub(crate) async fn claim(output: &Output, plan: &SurveyPlan) -> Result<(), CoordinatorError> {
    refuse_other_survey(output, plan).await?;
    let marker = serde_json::json!({ "survey": plan.survey.0, "name": plan.name });
    if !output.put_if_absent(MARKER, Bytes::from(format!("{marker:#}\n"))).await? {
        // Somebody may have come in between.
        refuse_other_survey(output, plan).await?;
    }
    Ok(())
}

/// The jobs of a survey that has ended, from its ledgers.
///
/// # Errors
/// A ledger cannot be fetched now. One that is lost or damaged is passed over: its jobs are done again.
pub(crate) async fn read_ledgers(output: &Output, ledgers: &[ObjectRef]) -> Result<JobBook, CoordinatorError> {
    let mut jobs = JobBook::default();
    for ledger in ledgers {
        let bytes = match output.fetch(ledger).await {
            Ok(bytes) => bytes,
            Err(error) if error.class() == FailureClass::BadInput => {
                warn!(key = ledger.key, %error, "a ledger is lost or damaged, and its jobs are done again");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let invalid = |error| CoordinatorError::Object { key: ledger.key.clone(), error };
        let decoded = v1::Ledger::decode(bytes).map_err(|error| {
            invalid(proto::ConvertError::Invalid { field: "jobs".into(), problem: error.to_string() })
        })?;
        for row in decoded.jobs {
            jobs.take(row).map_err(invalid)?;
        }
    }
    Ok(jobs)
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
    survey: &SurveyId,
    jobs: &JobBook,
    graph: &Graph,
) -> Result<(BTreeMap<JobKey, ObjectRef>, Vec<Record>), CoordinatorError> {
    let failed = jobs.failed.keys().filter_map(|&key| graph.number(key));
    let stale: BTreeSet<JobKey> =
        graph.downstream(failed).into_iter().filter_map(|number| graph.job(number)).map(|job| job.key).collect();
    let mut reopened: BTreeSet<JobKey> = stale.intersection(&jobs.failed.keys().copied().collect()).copied().collect();
    let mut completed = BTreeMap::new();
    let candidates: Vec<(JobKey, ObjectRef)> = jobs
        .completed
        .iter()
        .filter(|(key, _)| graph.number(**key).is_some())
        .map(|(&key, object)| (key, object.clone()))
        .collect();
    let listed: Option<BTreeSet<String>> = match candidates.len() {
        0..=READ_BACK => None,
        _ => Some(output.list("stages").await?.into_iter().collect()),
    };
    let listed = listed.as_ref();
    let mut verified = futures::stream::iter(candidates)
        .map(|(key, object)| {
            let is_stale = stale.contains(&key);
            async move {
                let verdict = match listed {
                    _ if is_stale => Ok(false),
                    Some(listed) => Ok(listed.contains(&object.key)),
                    None => stands(output, &object).await,
                };
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
