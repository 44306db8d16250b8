//! `groundbreak evaluate detect`: scores a detector on labelled pairs of images.

mod pairs;
mod pixels;
mod scoring;

use std::path::PathBuf;

use anyhow::{Context, Result};
use comfy_table::Table;
use survey::spec::{DETECTORS, DetectorSpec};

use crate::failure;
use scoring::{Report, SetScore};

/// Scores a detector on labelled pairs: precision, recall, F1, IoU and kappa per set and pooled.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CSV with the columns set, before, after, truth and, where wanted, unchanged, gsd_m, bands; paths are relative to
    /// it. Images are PNG, WebP or GeoTIFF. In truth, 0 is unchanged and anything else changed; with unchanged, only
    /// pixels that one of the two marks are scored.
    pub pairs: PathBuf,
    /// The detector.
    #[arg(long, default_value = "default")]
    pub detector: String,
    /// Write the scores here, too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the masks here as PNG: red where changed, blue where not compared.
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// For a row or a file that cannot be used: names both. See `docs/exit-codes.md`.
pub fn run(args: &Args) -> Result<()> {
    if !DETECTORS.contains(&args.detector.as_str()) {
        let known = DETECTORS.join(", ");
        return Err(failure::input(format!("there is no detector `{}`; take one of {known}", args.detector)).into());
    }
    let detector = DetectorSpec { name: args.detector.clone(), ..DetectorSpec::default() };
    let pairs = pairs::read(&args.pairs)?;
    let runtime = crate::runtime::current()?;
    let mut report = Report::new(&args.detector);
    for pair in &pairs {
        tracing::info!(row = pair.row, set = %pair.set, before = %pair.before.display(), "scoring");
        let images = runtime.block_on(pixels::read(pair))?;
        let scored = scoring::score(&images, &detector);
        if let Some(folder) = &args.masks {
            scoring::write_mask(&folder.join(format!("{:04}.png", pair.row)), &scored)?;
        }
        report.add(&pair.set, scored);
    }
    print(&report);
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&report.to_json())?;
        std::fs::write(file, text + "\n").with_context(|| format!("{}: cannot be written", file.display()))?;
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
fn print(report: &Report) {
    let mut table = Table::new();
    table.set_header(["set", "pairs", "precision", "recall", "F1", "95 %", "IoU", "kappa", "accuracy", "objects hit"]);
    for (name, set) in report.sets() {
        table.add_row(line(name, set));
    }
    table.add_row(line("pooled", report.pooled()));
    println!("detector {}\n{table}", report.detector());
}

fn line(name: &str, set: &SetScore) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let scores = set.pixel.scores();
    let interval = set.f1_interval().map_or_else(|| "-".to_owned(), |(low, high)| format!("{low:.2}-{high:.2}"));
    vec![
        name.to_owned(),
        set.pairs.len().to_string(),
        number(scores.precision),
        number(scores.recall),
        number(scores.f1),
        interval,
        number(scores.iou),
        number(scores.kappa),
        number(scores.accuracy),
        format!("{}/{}", set.objects.true_hit, set.objects.true_objects),
    ]
}
