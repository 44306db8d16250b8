//! `groundbreak plan`: a dry run.

use std::path::PathBuf;

use anyhow::Result;
use bytesize::ByteSize;
use coordinator::plan::{self, Depth, PlanSummary};

use crate::input::{self, SurveyFile};
use crate::node::Resources;
use crate::{failure, runtime};

/// Says what a survey would do: tiles, scenes, bytes, memory, cost. Reads no pixel.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The survey file.
    survey: PathBuf,
    /// Folder or URL for plan.parquet, plan.geojson, scenes.geojson, counties.csv and plan.json.
    #[arg(long)]
    out: String,
    /// Refuse a plan of which a job does not fit a worker with this memory, such as 2GiB.
    #[arg(long)]
    memory: Option<ByteSize>,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the summary is what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    let file = SurveyFile::read(&args.survey)?;
    let output = input::named_output(&args.out, &file.stores)?;
    runtime::current()?.block_on(async {
        output.check_writable().await?;
        let planned = plan::plan(&file.spec, &file.stores, Depth::Catalog).await?;
        let halo_px = analysis::halo_px(planned.plan.grid.resolution_m, &planned.plan.detector);
        let memory = plan::Memory::new(&planned.plan);
        let costs = plan::tiles(&planned.plan, &memory, halo_px);
        let (summary, files) = plan::export(&planned.plan, &memory, &costs, &planned.warnings)?;
        for file in files {
            output.put(file.name, file.bytes).await?;
        }
        for warning in &planned.warnings {
            tracing::warn!("{warning}");
        }
        println!(
            "survey {}\n  counties  {}\n  grid      {} at {} m\n  scenes    {} in {} pairs\n  tiles     {} of {} px ({} without scenes)\n  pixels    {:.1} Mpx\n  fetch     {}\n  memory    {} for the largest job{}\n  work      {:.2} core-hours (estimated)\n  remarks   {}\n  written   {}",
            summary.survey,
            summary.counties,
            summary.crs,
            summary.resolution_m,
            summary.scenes,
            summary.pairs,
            summary.tiles,
            summary.tile_px,
            summary.tiles_without_scenes,
            summary.pixels as f64 / 1e6,
            ByteSize(summary.fetch_bytes).display().iec(),
            ByteSize(summary.largest_job_bytes).display().iec(),
            summary.largest_job.as_ref().map(|job| format!(" ({job})")).unwrap_or_default(),
            summary.core_hours,
            planned.warnings.len(),
            output.label(),
        );
        refuse_what_cannot_fit(&summary, args.memory)
    })
}

/// The same refusal as `run` gives, without running.
fn refuse_what_cannot_fit(summary: &PlanSummary, memory: Option<ByteSize>) -> Result<()> {
    let Some(memory) = memory else { return Ok(()) };
    let given = Resources { workers: 1, threads: 1, memory: memory.0 }.job_memory();
    if summary.largest_job_bytes <= given {
        return Ok(());
    }
    let job = summary.largest_job.as_deref().unwrap_or("a job");
    let mend = if job.starts_with("detect/") {
        "use smaller tiles (grid.tile_px), or workers with more memory"
    } else {
        "use workers with more memory"
    };
    Err(failure::input(format!(
        "{job} needs {} and a worker of {memory} gives one job {}; {mend}",
        ByteSize(summary.largest_job_bytes).display().iec(),
        ByteSize(given).display().iec()
    ))
    .into())
}
