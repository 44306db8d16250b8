//! Merge: the findings of the blocks below a block, stitched together.

use analysis::stitch::{self, Child, SiteLimits};
use survey::grid::Block;
use survey::job::{Job, JobKey};

use super::{Committed, JobContext, JobStats, LoadedPlan};
use crate::error::JobError;

/// Merges the blocks below `block`. A block whose job failed for good leaves a hole: its pixels are counted as `failed
/// job`, and components that touch it are truncated.
pub(super) async fn run(
    context: &JobContext,
    loaded: &std::sync::Arc<LoadedPlan>,
    job: &Job,
    block: Block,
) -> Result<Committed, JobError> {
    let wrong = |cause: String| JobError::Plan { key: job.key.to_string(), cause };
    let extent = loaded.plan.extent().ok_or_else(|| wrong("the plan has no cell".into()))?;
    let mut rects = Vec::with_capacity(job.inputs.len());
    for input in &job.inputs {
        match input.from {
            JobKey::Detect(below) | JobKey::Merge(below) => rects.push(below.rect(loaded.plan.tile_px)),
            other => return Err(wrong(format!("it cannot merge what {other} made"))),
        }
    }
    let objects: Vec<_> = job.inputs.iter().map(|input| input.object.clone()).collect();
    let findings = context.objects(objects.clone(), proto::objects::decode_findings).await?;
    let children: Vec<Child> = rects
        .into_iter()
        .zip(objects.into_iter().zip(findings))
        .map(|(rect, (object, findings))| Child { rect, found: object.zip(findings) })
        .collect();
    let loaded = std::sync::Arc::clone(loaded);
    let encoded = context
        .compute(move || {
            let _span = tracing::info_span!("merge").entered();
            let plan = &loaded.plan;
            let limits = SiteLimits::new(&plan.grid, &plan.detector);
            let rect = block.rect(plan.tile_px);
            let merged = stitch::merge(rect, children, &loaded.counties, extent.rect, &limits, block == extent.root);
            proto::objects::encode_findings(&merged)
        })
        .await
        .map_err(|error| wrong(error.to_string()))?;
    let stem = format!("stages/merged/{}/{}/{}", block.level, block.x, block.y);
    context.commit(&stem, encoded, JobStats::default()).await
}
