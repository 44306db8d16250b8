//! `groundbreak run`: a whole survey in one process.

use std::path::PathBuf;

use anyhow::{Result, bail};
use bytes::Bytes;
use bytesize::ByteSize;
use coordinator::aggregate::{CountyOutcome, SurveyOutcome};
use coordinator::forecast::{Measured, Spent};
use coordinator::metrics::Used;
use coordinator::plan::{self, Depth, Planned};
use coordinator::schedule::graph::Graph;
use imagery::commit::Output;
use serde_json::json;
use survey::plan::SurveyPlan;

use crate::clock::Stopwatch;
use crate::embedded::{Ran, run_embedded};
use crate::failure::{self, Failure};
use crate::input::SurveyFile;
use crate::node::Resources;
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
    /// Workers that share the machine's cores and the memory. More than one makes nothing faster here; it shows what a
    /// cluster would do.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Memory that all workers together may use, such as 2GiB; by default a share of what this process may have.
    #[arg(long)]
    memory: Option<ByteSize>,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
pub fn run(args: &Args) -> Result<()> {
    let file = SurveyFile::read(&args.survey)?;
    let output = file.output(args.out.as_deref())?;
    let resources = Resources {
        workers: usize::from(args.workers),
        threads: threads(),
        memory: args.memory.map_or_else(worker::admission::default_limit, |memory| memory.0),
    };
    runtime::current()?.block_on(async {
        tokio::select! {
            result = survey(&file, &output, resources) => result,
            signal = tokio::signal::ctrl_c() => {
                signal?;
                Err(Failure { code: failure::INTERRUPTED, message: "interrupted; the same command goes on from here".into() }.into())
            }
        }
    })
}

#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
async fn survey(file: &SurveyFile, output: &Output, resources: Resources) -> Result<()> {
    let started = clock::now();
    let mut watch = Stopwatch::start();
    output.check_writable().await?;
    let progress = Progress::new();
    progress.say(&format!("planning {}", file.spec.survey.name));
    let Planned { plan, warnings } = plan::plan(&file.spec, &file.stores, Depth::Files).await?;
    for warning in &warnings {
        progress.say(&format!("note: {warning}"));
    }
    progress.say(&format!(
        "survey {}: {} counties, {} scenes, {} tiles at {} m",
        plan.survey,
        plan.counties.len(),
        plan.scenes.len(),
        plan.tiles().len(),
        plan.grid.resolution_m
    ));
    let planning = watch.lap();
    let ran = run_embedded(&plan, &warnings, output, &file.stores, resources, |update| progress.update(update)).await?;
    progress.finish();
    let (outcome, used) = (&ran.outcome, ran.used);
    // Jobs that an earlier run has done took their time there, and those that failed took none that says anything.
    let is_whole = outcome.execution.resumed_jobs == 0 && outcome.failed_jobs.is_empty() && !outcome.is_cancelled;
    let measured = is_whole.then(|| measure(&plan, used, resources, [planning, ran.survey, ran.results]));

    output.put("spec.toml", Bytes::from(file.text.clone())).await?;
    output.put("run.json", Bytes::from(execution(&plan, &ran, measured, &started, resources, &warnings)?)).await?;
    for job in &outcome.failed_jobs {
        progress.say(&format!("note: {} failed for good: {}", job.key, job.message));
    }
    let result = Outcome::new(plan, warnings, outcome)?;
    println!("{}", result.table()?);
    println!("results: {}/results", output.label().trim_end_matches('/'));
    verdict(outcome)
}

/// Threads that compute pixels: as `RAYON_NUM_THREADS` says, or one per core.
#[allow(clippy::disallowed_methods, reason = "the environment is read in cli")]
pub fn threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|&threads: &usize| threads > 0);
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// What `plan --estimate` foretells other surveys from.
fn measure(plan: &SurveyPlan, used: Used, resources: Resources, spent: [Spent; 3]) -> Measured {
    let halo_px = analysis::halo_px(plan.grid.resolution_m, &plan.detector);
    let memory = plan::Memory::new(plan);
    let costs = plan::TileCosts::new(plan, &memory, halo_px);
    let expected = plan.tiles().into_iter().map(|tile| costs.of(tile).fetch_bytes).sum();
    Measured::new(&Graph::new(plan, halo_px), &used, expected, resources.threads, spent)
}

/// What belongs to this execution and to no result.
fn execution(
    plan: &SurveyPlan,
    ran: &Ran,
    measured: Option<Measured>,
    started: &str,
    resources: Resources,
    warnings: &[String],
) -> Result<String> {
    let (outcome, used) = (&ran.outcome, ran.used);
    let scenes: Vec<_> = plan
        .scenes
        .iter()
        .map(|scene| {
            let assets: Vec<_> = scene
                .assets
                .iter()
                .map(|asset| json!({ "href": asset.href, "size": asset.size, "etag": asset.etag }))
                .collect();
            json!({ "id": scene.id, "assets": assets })
        })
        .collect();
    let failed: Vec<_> = outcome
        .failed_jobs
        .iter()
        .map(|job| json!({ "job": job.key.to_string(), "class": job.class, "message": job.message }))
        .collect();
    let document = json!({
        "survey": outcome.survey, "version": survey::VERSION, "started": started, "ended": clock::now(),
        "workers": resources.workers, "threads": resources.threads, "memory_bytes": resources.memory, "tile_px": plan.tile_px,
        "jobs": outcome.execution.jobs, "resumed_jobs": outcome.execution.resumed_jobs, "attempts": outcome.execution.attempts,
        "attempts_failed": outcome.execution.attempts_failed, "leases_expired": outcome.execution.leases_expired,
        "alarms": outcome.execution.alarms, "bytes_fetched": used.sum(|stage| stage.bytes_fetched),
        "blocks_decoded": used.sum(|stage| stage.blocks_decoded), "pixels_compared": used.sum(|stage| stage.pixels),
        "measured": measured, "failed_jobs": failed, "notes": warnings, "scenes": scenes,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// Success, or what an operator must know although there are results. A scene pair that cannot be compared is a gap of
/// its pixels and no failure of the survey.
fn verdict(outcome: &SurveyOutcome) -> Result<()> {
    if outcome.is_cancelled {
        bail!(Failure { code: failure::INTERRUPTED, message: "the survey was cancelled".into() });
    }
    let without_result =
        outcome.counties.iter().filter(|county| !matches!(county, CountyOutcome::Assembled { .. })).count();
    let lost: u64 = outcome
        .counties
        .iter()
        .map(|county| match county {
            CountyOutcome::Assembled { result, .. } => result.coverage.failed_job,
            CountyOutcome::Failed { .. } | CountyOutcome::Cancelled { .. } => 0,
        })
        .sum();
    if without_result == 0 && lost == 0 {
        return Ok(());
    }
    let failed: Vec<String> =
        outcome.failed_jobs.iter().take(5).map(|job| format!("  {}: {}", job.key, job.message)).collect();
    bail!(Failure {
        code: failure::INCOMPLETE,
        message: format!(
            "{without_result} counties have no result, and {lost} pixels were lost to jobs that failed for good\n{}",
            failed.join("\n")
        ),
    })
}
