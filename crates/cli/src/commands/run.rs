//! `groundbreak run`: a whole survey in one process.

use std::path::PathBuf;

use anyhow::{Result, bail};
use bytes::Bytes;
use bytesize::ByteSize;
use coordinator::aggregate::{CountyOutcome, SurveyOutcome};
use coordinator::plan::{self, Depth, Planned};
use imagery::commit::Output;
use serde_json::json;

use crate::embedded::{self, Embedded};
use crate::failure::{self, Failure};
use crate::input::SurveyFile;
use crate::progress::Progress;
use crate::results::Outcome;
use crate::{clock, runtime};

/// Surveys: an embedded coordinator and workers, over the protocol that a cluster uses.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The survey file (docs/survey.md).
    survey: PathBuf,
    /// Folder or URL for the results, in place of the survey's `output`.
    #[arg(long)]
    out: Option<String>,
    /// Workers; each works on one job at a time, and they share the machine's cores.
    #[arg(long, default_value_t = default_workers(), value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Memory that all jobs together may use; half of what this process may have by default.
    #[arg(long)]
    memory: Option<ByteSize>,
}

fn default_workers() -> u16 {
    std::thread::available_parallelism().map_or(2, |cores| u16::try_from(cores.get()).unwrap_or(256).clamp(1, 256))
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
pub fn run(args: &Args) -> Result<()> {
    let file = SurveyFile::read(&args.survey)?;
    let output = file.output(args.out.as_deref())?;
    let memory = args.memory.map_or_else(worker::admission::default_limit, |memory| memory.0);
    runtime::current()?.block_on(async {
        tokio::select! {
            result = survey(&file, &output, args.workers, memory) => result,
            signal = tokio::signal::ctrl_c() => {
                signal?;
                Err(Failure { code: failure::INTERRUPTED, message: "interrupted; the same command goes on from here".into() }.into())
            }
        }
    })
}

#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
async fn survey(file: &SurveyFile, output: &Output, workers: u16, memory: u64) -> Result<()> {
    let started = clock::now();
    output.check_writable().await?;
    let progress = Progress::new();
    progress.say(&format!("planning {}", file.spec.survey.name));
    let Planned { plan, warnings } = plan::plan(&file.spec, &file.stores, Depth::Files).await?;
    for warning in &warnings {
        progress.say(&format!("note: {warning}"));
    }
    let halo_px = analysis::halo_px(plan.grid.resolution_m, &plan.detector);
    refuse_what_never_fits(&plan::tiles(&plan, halo_px), memory, plan.tile_px)?;
    progress.say(&format!(
        "survey {}: {} counties, {} scenes, {} tiles at {} m",
        plan.survey,
        plan.counties.len(),
        plan.scenes.len(),
        plan.tiles().len(),
        plan.grid.resolution_m
    ));
    let survey = Embedded { plan: plan.clone(), stores: file.stores.clone(), output: output.clone(), workers, memory, halo_px };
    let (outcome, plan_object) = embedded::run(survey, |update| progress.update(update)).await?;
    progress.finish();

    output.put("spec.toml", Bytes::from(file.text.clone())).await?;
    output.put("run.json", Bytes::from(execution(&plan, &outcome, &started, workers, memory, &warnings)?)).await?;
    let result = Outcome::new(plan, warnings, &outcome)?;
    result.store(output, &plan_object, &outcome).await?;
    result.write(output).await?;
    println!("{}", result.table()?);
    println!("results: {}/results", output.label());
    verdict(&outcome)
}

/// A tile that no worker could ever be admitted for is an error now, not a hang later.
fn refuse_what_never_fits(costs: &[plan::TileCost], memory: u64, tile_px: i32) -> Result<()> {
    let largest = plan::largest_memory(costs);
    if largest > memory {
        return Err(failure::input(format!(
            "a tile of {tile_px} px needs {} and --memory is {}; set a smaller grid.tile_px, or give more memory",
            ByteSize(largest).display().iec(),
            ByteSize(memory).display().iec()
        ))
        .into());
    }
    Ok(())
}

/// What belongs to this execution and to no result.
fn execution(
    plan: &survey::plan::SurveyPlan,
    outcome: &SurveyOutcome,
    started: &str,
    workers: u16,
    memory: u64,
    warnings: &[String],
) -> Result<String> {
    let scenes: Vec<_> = plan
        .scenes
        .iter()
        .map(|scene| {
            let assets: Vec<_> = scene.assets.iter().map(|asset| json!({ "href": asset.href, "size": asset.size, "etag": asset.etag })).collect();
            json!({ "id": scene.id, "assets": assets })
        })
        .collect();
    let failed: Vec<_> =
        outcome.failed_jobs.iter().map(|job| json!({ "job": job.key.to_string(), "class": job.class, "message": job.message })).collect();
    let document = json!({
        "survey": outcome.survey, "version": survey::VERSION, "started": started, "ended": clock::now(),
        "workers": workers, "memory_bytes": memory, "tile_px": plan.tile_px,
        "jobs": outcome.execution.jobs, "resumed_jobs": outcome.execution.resumed_jobs, "attempts": outcome.execution.attempts,
        "attempts_failed": outcome.execution.attempts_failed, "leases_expired": outcome.execution.leases_expired,
        "alarms": outcome.execution.alarms, "failed_jobs": failed, "notes": warnings, "scenes": scenes,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// Success, or what an operator must know although there are results.
fn verdict(outcome: &SurveyOutcome) -> Result<()> {
    if outcome.is_cancelled {
        bail!(Failure { code: failure::INTERRUPTED, message: "the survey was cancelled".into() });
    }
    let without_result = outcome.counties.iter().filter(|county| !matches!(county, CountyOutcome::Assembled { .. })).count();
    if without_result == 0 && outcome.failed_jobs.is_empty() {
        return Ok(());
    }
    let first = outcome.failed_jobs.first().map(|job| format!(": {}: {}", job.key, job.message)).unwrap_or_default();
    bail!(Failure {
        code: failure::INCOMPLETE,
        message: format!("{} jobs failed for good and {without_result} counties have no result{first}", outcome.failed_jobs.len()),
    })
}
