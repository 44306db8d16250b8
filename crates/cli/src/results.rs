//! From the outcome of a survey to `results/`, and from a stored outcome to the same again.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use coordinator::{PublishError, Publisher, aggregate};
use futures::{StreamExt, TryStreamExt};
use imagery::ImageryError;
use imagery::commit::Output;
use report::{Content, CountyOutcome, ReportInput};
use serde::{Deserialize, Serialize};
use survey::failure::FailureClass;
use survey::ids::{CountyId, Digest};
use survey::job::ObjectRef;
use survey::plan::SurveyPlan;
use survey::result::DateRange;

use crate::failure;

/// Where the outcome is kept, so that a report can be made again.
pub const OUTCOME: &str = "outcome.json";
/// Objects that are copied at the same time.
const CONCURRENT_COPIES: usize = 8;

/// What a survey came to, by reference to what is stored.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// The survey's id.
    pub survey: String,
    plan: StoredObject,
    before: DateRange,
    after: DateRange,
    notes: Vec<String>,
    counties: Vec<StoredCounty>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredObject {
    key: String,
    sha256: String,
    length: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredCounty {
    county: CountyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<StoredObject>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

impl From<&ObjectRef> for StoredObject {
    fn from(object: &ObjectRef) -> Self {
        Self { key: object.key.clone(), sha256: object.digest.to_hex(), length: object.length }
    }
}

impl TryFrom<&StoredObject> for ObjectRef {
    type Error = anyhow::Error;

    fn try_from(stored: &StoredObject) -> Result<Self> {
        let digest = Digest::from_hex(&stored.sha256)
            .with_context(|| format!("{OUTCOME}: `{}` is not a digest", stored.sha256))?;
        Ok(Self { key: stored.key.clone(), digest, length: stored.length })
    }
}

/// Writes `results/`, and what is needed to make the report again: what a coordinator calls when a survey's last job has
/// ended. The same outcome gives the same files, so it may be repeated.
pub struct ResultsPublisher;

#[tonic::async_trait]
impl Publisher for ResultsPublisher {
    async fn publish(
        &self,
        plan: &SurveyPlan,
        notes: &[String],
        outcome: &aggregate::SurveyOutcome,
        output: &Output,
    ) -> Result<(), PublishError> {
        let write = async {
            let result = Outcome::new(plan.clone(), notes.to_vec(), outcome)?;
            result.store(output, outcome).await?;
            result.write(output).await
        };
        write.await.map_err(|error: anyhow::Error| {
            let class = error.downcast_ref::<ImageryError>().map_or(FailureClass::Fatal, ImageryError::class);
            PublishError { class, message: format!("{error:#}") }
        })
    }
}

/// What the report is made of.
pub struct Outcome {
    /// The plan.
    pub plan: SurveyPlan,
    /// The earlier window.
    pub before: DateRange,
    /// The later window.
    pub after: DateRange,
    /// Remarks about the survey as a whole.
    pub notes: Vec<String>,
    /// One outcome per county.
    pub counties: Vec<CountyOutcome>,
}

/// First and last day of the plan's scenes of a date.
fn range(plan: &SurveyPlan, scene: impl Fn(&survey::scene::ScenePair) -> u32) -> Option<DateRange> {
    let days: Vec<_> = plan
        .pairs
        .iter()
        .filter_map(|pair| plan.scenes.get(scene(pair) as usize))
        .map(survey::scene::Scene::date)
        .collect();
    Some(DateRange { from: *days.iter().min()?, to: *days.iter().max()? })
}

impl Outcome {
    /// Joins a plan and what became of it.
    ///
    /// # Errors
    /// A plan without scenes.
    pub fn new(plan: SurveyPlan, notes: Vec<String>, outcome: &aggregate::SurveyOutcome) -> Result<Self> {
        let (before, after) = (range(&plan, |pair| pair.before), range(&plan, |pair| pair.after));
        let (Some(before), Some(after)) = (before, after) else { anyhow::bail!("the plan has no scenes") };
        let counties = outcome
            .counties
            .iter()
            .map(|county| match county {
                aggregate::CountyOutcome::Assembled { result, .. } => CountyOutcome::Surveyed(Arc::clone(result)),
                aggregate::CountyOutcome::Failed { county, reason, .. } => {
                    CountyOutcome::Failed { county: county.clone(), reason: reason.clone() }
                }
                aggregate::CountyOutcome::Cancelled { county } => CountyOutcome::Cancelled { county: county.clone() },
            })
            .collect();
        Ok(Self { plan, before, after, notes, counties })
    }

    /// The input of [`report::render`].
    #[must_use]
    pub fn input(&self) -> ReportInput<'_> {
        ReportInput {
            plan: &self.plan,
            before: self.before,
            after: self.after,
            counties: &self.counties,
            notes: &self.notes,
        }
    }

    /// Writes `results/`. `manifest.json` comes last: where it stands, everything that it names does.
    ///
    /// # Errors
    /// What cannot be read back or written.
    pub async fn write(&self, output: &Output) -> Result<()> {
        let input = self.input();
        let embedded: Vec<(String, ObjectRef)> =
            report::chips::embedded(&input)?.into_iter().map(|chip| (chip.name.clone(), chip.object.clone())).collect();
        let chips: BTreeMap<String, Bytes> = futures::stream::iter(embedded)
            .map(|(name, object)| async move { Ok::<_, anyhow::Error>((name, output.fetch(&object).await?)) })
            .buffered(CONCURRENT_COPIES)
            .try_collect()
            .await?;
        let mut files = report::render(&input, &chips)?;
        let manifest = files.pop();
        let keep: std::collections::BTreeSet<String> =
            files.iter().chain(&manifest).map(|file| format!("results/{}", file.path)).collect();
        // What an earlier report of this survey left and this one does not have would contradict the manifest.
        for old in output.list("results").await?.into_iter().filter(|key| !keep.contains(key)) {
            output.delete(&old).await?;
        }
        futures::stream::iter(files)
            .map(Ok)
            .try_for_each_concurrent(CONCURRENT_COPIES, |file| async move {
                let bytes = match file.content {
                    Content::Bytes(bytes) => bytes,
                    Content::Object(object) => output.fetch(&object).await?,
                };
                output.put(&format!("results/{}", file.path), bytes).await.map_err(anyhow::Error::from)
            })
            .await?;
        if let Some(manifest) = manifest
            && let Content::Bytes(bytes) = manifest.content
        {
            output.put(&format!("results/{}", manifest.path), bytes).await?;
        }
        Ok(())
    }

    /// The counties as a table for a terminal.
    ///
    /// # Errors
    /// A plan and outcomes that do not belong together.
    pub fn table(&self) -> Result<String> {
        const LISTED: usize = 60;
        const PLAIN_COLUMNS: u16 = 140;
        // Without a terminal (a pipe, a file) there is no width to keep to.
        let width = console::Term::stdout().size_checked().map_or(PLAIN_COLUMNS, |(_rows, columns)| columns);
        Ok(report::table::counties(&report::summary::counties(&self.input())?, Some(width), LISTED))
    }

    /// Keeps what is needed to make the report again.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn store(&self, output: &Output, outcome: &aggregate::SurveyOutcome) -> Result<()> {
        // The same bytes under the same name as when the survey began.
        let plan = output.commit("plan", "pb", Bytes::from(proto::objects::encode_plan(&self.plan))).await?;
        let counties = outcome
            .counties
            .iter()
            .map(|county| match county {
                aggregate::CountyOutcome::Assembled { result, object } => {
                    StoredCounty { county: result.county.clone(), result: Some(object.into()), failed: None }
                }
                aggregate::CountyOutcome::Failed { county, reason, .. } => {
                    StoredCounty { county: county.clone(), result: None, failed: Some(reason.clone()) }
                }
                aggregate::CountyOutcome::Cancelled { county } => {
                    StoredCounty { county: county.clone(), result: None, failed: None }
                }
            })
            .collect();
        let stored = StoredOutcome {
            survey: self.plan.survey.to_string(),
            plan: (&plan).into(),
            before: self.before,
            after: self.after,
            notes: self.notes.clone(),
            counties,
        };
        let text = serde_json::to_string_pretty(&stored)? + "\n";
        Ok(output.put(OUTCOME, Bytes::from(text)).await?)
    }

    /// Reads what [`Outcome::store`] kept.
    ///
    /// # Errors
    /// Where nothing is stored there, or what is stored is damaged.
    pub async fn load(output: &Output) -> Result<Self> {
        let Some(bytes) = output.get(OUTCOME).await? else {
            return Err(failure::input(format!(
                "{}: no survey has ended there; run `groundbreak run` first",
                output.label()
            ))
            .into());
        };
        let stored: StoredOutcome = serde_json::from_slice(&bytes)
            .map_err(|error| failure::input(format!("{}/{OUTCOME}: {error}; run the survey again", output.label())))?;
        let plan = proto::objects::decode_plan(&output.fetch(&ObjectRef::try_from(&stored.plan)?).await?)?;
        let counties = futures::stream::iter(&stored.counties)
            .map(|county| async move {
                let id = county.county.clone();
                Ok::<_, anyhow::Error>(match (&county.result, &county.failed) {
                    (Some(object), _) => {
                        let bytes = output.fetch(&ObjectRef::try_from(object)?).await?;
                        CountyOutcome::Surveyed(Arc::new(proto::objects::decode_county_result(&bytes)?))
                    }
                    (None, Some(reason)) => CountyOutcome::Failed { county: id, reason: reason.clone() },
                    (None, None) => CountyOutcome::Cancelled { county: id },
                })
            })
            .buffered(CONCURRENT_COPIES)
            .try_collect()
            .await?;
        Ok(Self { plan, before: stored.before, after: stored.after, notes: stored.notes, counties })
    }
}
