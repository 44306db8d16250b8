//! `groundbreak plan`: a dry run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use bytesize::ByteSize;
use coordinator::forecast::{Fleet, Forecast, Measured, forecast};
use coordinator::plan::{self, Depth, PlanSummary, TileCost};
use coordinator::schedule::graph::Graph;
use survey::plan::SurveyPlan;

use crate::input::{self, SurveyFile};
use crate::node::{Resources, slots_of};
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
    /// Foretell time, core-hours and bytes: a simulation of the cluster, by what a run measured.
    #[arg(long)]
    estimate: bool,
    /// The run to go by: its output folder, or its run.json. By default one of the demo survey (docs/scale.md).
    #[arg(long, requires = "estimate", value_name = "RUN")]
    measured: Option<PathBuf>,
    /// Workers.
    #[arg(long, requires = "estimate", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    workers: u32,
    /// Cores of each worker; by default as many as the measured run had.
    #[arg(long, requires = "estimate", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Milliseconds from a request to the store until its answer begins.
    #[arg(long, requires = "estimate", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    latency_ms: u32,
    /// What a worker gets from the store in a second, such as 100MB; by default it never waits for bytes.
    #[arg(long, requires = "estimate")]
    bandwidth: Option<ByteSize>,
}

/// A run of the demo survey on two cores, for who has measured none.
const DEMO_RUN: &str = include_str!("demo_run.json");

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
        if args.estimate {
            let forecast = estimate(args, &planned.plan, &costs, halo_px)?;
            println!("{}", in_words(&forecast));
            output.put("estimate.json", Bytes::from(serde_json::to_string_pretty(&forecast)? + "\n")).await?;
        }
        refuse_what_cannot_fit(&summary, args.memory)
    })
}

/// What the plan will take on the workers that were asked about.
fn estimate(args: &Args, plan: &SurveyPlan, costs: &[TileCost], halo_px: i32) -> Result<Forecast> {
    let measured = match &args.measured {
        Some(path) => measured_run(path)?,
        None => serde_json::from_str(DEMO_RUN)?,
    };
    let threads = args.threads.map_or(measured.threads, usize::from);
    let fleet = Fleet {
        workers: args.workers as usize,
        threads,
        slots: slots_of(threads),
        latency: Duration::from_millis(u64::from(args.latency_ms)),
        bandwidth: args.bandwidth.map_or(f64::INFINITY, |bytes| bytes.0 as f64),
    };
    if fleet.bandwidth < 1.0 {
        return Err(failure::input("--bandwidth: nothing comes through; name bytes a second, such as 100MB").into());
    }
    let by = args.measured.as_ref().map_or_else(|| "the demo's run".to_owned(), |path| path.display().to_string());
    let graph = Graph::new(plan, halo_px);
    Ok(forecast(plan, graph, costs, &measured, &fleet).map_err(|error| failure::input(format!("{by}: {error}")))?)
}

/// What a run measured of itself.
fn measured_run(path: &Path) -> Result<Measured> {
    let file = if path.is_dir() { path.join("run.json") } else { path.to_owned() };
    let unusable = |cause: String| {
        failure::input(format!(
            "{}: {cause}; name the output folder of a run that went through at once",
            file.display()
        ))
    };
    let text = std::fs::read_to_string(&file).map_err(|error| unusable(error.to_string()))?;
    let mut run: serde_json::Value = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let measured = run.get_mut("measured").map(serde_json::Value::take).unwrap_or_default();
    if measured.is_null() {
        return Err(unusable("it holds no measured figures".to_owned()).into());
    }
    Ok(serde_json::from_value(measured).map_err(|error| unusable(error.to_string()))?)
}

fn in_words(forecast: &Forecast) -> String {
    let seconds = |seconds: f64| indicatif::HumanDuration(Duration::from_secs_f64(seconds.round())).to_string();
    format!(
        "estimate on {} workers of {} cores, simulated\n  jobs      {}\n  wall      {} ({:.0} s for the jobs, {:.0} s for the results)\n  cores     {:.2} core-hours\n  fetch     {}\n  workers   compute {:.0} % of the time, fetch {:.0} %",
        forecast.workers,
        forecast.threads,
        forecast.jobs,
        seconds(forecast.survey_s + forecast.results_s),
        forecast.survey_s,
        forecast.results_s,
        forecast.core_hours,
        ByteSize(forecast.fetch_bytes).display().iec(),
        forecast.computing * 100.0,
        forecast.fetching * 100.0,
    )
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
