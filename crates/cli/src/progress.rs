//! Progress: bars in a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::v1;
use proto::words::STAGES;

/// Tells a person how far the survey is.
pub struct Progress {
    bars: Option<Bars>,
    told: Mutex<[u64; 4]>,
}

struct Bars {
    all: MultiProgress,
    stages: Vec<ProgressBar>,
}

impl Progress {
    /// Bars where standard error is a terminal.
    pub fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
            let style = ProgressStyle::with_template("{prefix:>10} {bar:32} {pos}/{len} {elapsed_precise} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let stages = STAGES
                .iter()
                .map(|stage| all.add(ProgressBar::no_length().with_style(style.clone()).with_prefix(*stage)))
                .collect();
            Bars { all, stages }
        });
        Self { bars, told: Mutex::default() }
    }

    /// A line that stays.
    #[allow(clippy::print_stderr, reason = "progress is for the person at the terminal")]
    pub fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.all.println(line);
            }
            None => eprintln!("{line}"),
        }
    }

    /// Takes the news of a survey. Without a terminal, a line per stage for each tenth of its jobs.
    pub fn update(&self, survey: &v1::Survey) {
        for (index, stage) in survey.stages.iter().take(STAGES.len()).enumerate() {
            let ended = stage.done + stage.failed;
            if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.stages.get(index)) {
                bar.set_length(stage.jobs);
                bar.set_position(ended);
                if stage.failed > 0 {
                    bar.set_message(format!("{} failed", stage.failed));
                }
                bar.tick();
                continue;
            }
            let tenth = (ended * 10).checked_div(stage.jobs).unwrap_or_default();
            let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if tenth > told[index] {
                told[index] = tenth;
                drop(told);
                self.say(&format!("{:>10} {ended}/{}", STAGES[index], stage.jobs));
            }
        }
    }

    /// Leaves the bars as they are.
    pub fn finish(&self) {
        for bar in self.bars.iter().flat_map(|bars| &bars.stages) {
            bar.disable_steady_tick();
            bar.abandon();
        }
    }
}
