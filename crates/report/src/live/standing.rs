//! How surveys stand and what workers do, in words.

use std::time::Duration;

use serde::Serialize;
use survey::job::JobKey;

use crate::page::words;

/// The state of a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Scenes are searched for and chosen.
    Planning,
    /// Jobs are open, or results are being written.
    Running,
    /// Results are written.
    Complete,
    /// Results are written; something was lost to jobs that failed for good.
    CompleteWithGaps,
    /// There are no results.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl State {
    /// As the command line spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::CompleteWithGaps => "complete-with-gaps",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen of itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Planning | Self::Running)
    }

    /// Whether there are results.
    #[must_use]
    pub fn has_results(self) -> bool {
        matches!(self, Self::Complete | Self::CompleteWithGaps)
    }
}

/// How a survey stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its id, or the digest of the submission while it is planned.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Why it failed.
    pub message: String,
    /// Its stages, in order.
    pub stages: Vec<StageStanding>,
    /// Work done, in units of cost.
    pub cost_done: u64,
    /// All work, in units of cost.
    pub cost_total: u64,
    /// Seconds until the work is done at the pace of the last minutes; `None` where no pace is known.
    pub seconds_left: Option<f64>,
    /// Attempts that failed.
    pub attempts_failed: u64,
    /// Attempts that were given up because their worker fell silent.
    pub leases_expired: u64,
    /// Jobs that were done again because their objects were lost or damaged.
    pub repaired: u64,
    /// Completions with other bytes than those in the books.
    pub alarms: u64,
    /// Jobs that failed for good.
    pub failed_jobs: Vec<FailedJob>,
    /// Why what was found cannot be shown.
    pub problem: Option<String>,
}

/// How a stage stands.
#[derive(Clone, Debug, Serialize)]
pub struct StageStanding {
    /// Its name.
    pub name: &'static str,
    /// Its jobs.
    pub jobs: u64,
    /// Those that run.
    pub running: u64,
    /// Those that are done.
    pub done: u64,
    /// Those that failed for good.
    pub failed: u64,
}

/// A job that failed for good.
#[derive(Clone, Debug, Serialize)]
pub struct FailedJob {
    /// What it was about: `detect/3/-7`.
    pub job: String,
    /// What the failure means.
    pub class: String,
    /// Why, in words.
    pub message: String,
}

/// A worker that was heard of lately.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Since its last call.
    pub silent: Duration,
    /// Bytes that it reserves jobs from.
    pub memory_total: u64,
    /// Bytes that are not reserved.
    pub memory_free: u64,
    /// It takes no more work.
    pub is_draining: bool,
    /// What it does.
    pub jobs: Vec<HeldJob>,
}

/// A job in a worker's hands.
#[derive(Clone, Debug)]
pub struct HeldJob {
    /// The survey's id.
    pub survey: String,
    /// What it is about, if that can be told.
    pub key: Option<JobKey>,
    /// Since it was given to the worker.
    pub held: Duration,
}

impl Worker {
    /// The worker with its jobs of one survey; `None` where it has none.
    pub(super) fn at_work_on(&self, survey: &str) -> Option<Self> {
        let jobs: Vec<HeldJob> = self.jobs.iter().filter(|job| job.survey == survey).cloned().collect();
        (!jobs.is_empty()).then(|| Self { jobs, ..self.clone() })
    }
}

/// A survey as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    id: String,
    href: String,
    name: String,
    state: &'static str,
    is_over: bool,
    has_results: bool,
    message: String,
    percent: f64,
    pub(super) percent_text: String,
    left: String,
    stages: Vec<StageRow>,
    failed_jobs: Vec<FailedJob>,
    failures: u64,
    troubles: Vec<String>,
    alarms: u64,
}

#[derive(Debug, Serialize)]
struct StageRow {
    name: &'static str,
    jobs: String,
    ended: String,
    running: u64,
    failed: u64,
    done_percent: f64,
    failed_percent: f64,
}

impl Row {
    pub(super) fn of(survey: &Standing) -> Self {
        // Where all work is done and the survey is not over, its results are being written.
        let is_publishing = survey.cost_total > 0 && survey.cost_done == survey.cost_total;
        let failures: u64 = survey.stages.iter().map(|stage| stage.failed).sum();
        let left = match survey.state {
            state if state.is_over() => String::new(),
            State::Planning => "scenes are being chosen".to_owned(),
            _ if is_publishing => "results are being written".to_owned(),
            _ => survey.seconds_left.map_or_else(|| "no pace to tell the rest by".to_owned(), left),
        };
        let mut troubles = Vec::new();
        let mut tell = |count: u64, one: &str, several: &str| {
            if count > 0 {
                troubles.push(words::counted(count, one, several));
            }
        };
        tell(survey.attempts_failed, "attempt failed", "attempts failed");
        tell(survey.leases_expired, "attempt was lost with its worker", "attempts were lost with their workers");
        tell(survey.repaired, "damaged object was made again", "damaged objects were made again");
        Self {
            id: survey.id.clone(),
            href: words::url_part(&survey.id),
            name: survey.name.clone(),
            state: survey.state.as_str(),
            is_over: survey.state.is_over(),
            has_results: survey.state.has_results(),
            message: survey.message.clone(),
            percent: percent(survey.cost_done, survey.cost_total),
            percent_text: words::percent_down(survey.cost_done, survey.cost_total),
            left,
            stages: survey.stages.iter().filter(|stage| stage.jobs > 0).map(StageRow::of).collect(),
            failed_jobs: survey.failed_jobs.clone(),
            failures,
            troubles,
            alarms: survey.alarms,
        }
    }
}

impl StageRow {
    fn of(stage: &StageStanding) -> Self {
        Self {
            name: stage.name,
            jobs: words::grouped(stage.jobs),
            ended: words::grouped(stage.done.saturating_add(stage.failed)),
            running: stage.running,
            failed: stage.failed,
            done_percent: percent(stage.done, stage.jobs),
            failed_percent: percent(stage.failed, stage.jobs),
        }
    }
}

/// A worker as the page shows it.
#[derive(Debug, Serialize)]
pub(super) struct WorkerRow {
    name: String,
    silent: String,
    is_silent: bool,
    is_draining: bool,
    memory: String,
    memory_percent: f64,
    jobs: Vec<(String, String)>,
}

/// A worker that has not called for so long is pointed out.
const SILENCE: Duration = Duration::from_secs(15);

pub(super) fn workers(workers: &[Worker]) -> Vec<WorkerRow> {
    let row = |worker: &Worker| {
        let used = worker.memory_total.saturating_sub(worker.memory_free);
        WorkerRow {
            name: worker.name.clone(),
            silent: ago(worker.silent),
            is_silent: worker.silent >= SILENCE,
            is_draining: worker.is_draining,
            memory: format!("{} of {}", gibibytes(used), gibibytes(worker.memory_total)),
            memory_percent: percent(used, worker.memory_total),
            jobs: worker
                .jobs
                .iter()
                .map(|job| (job.key.map_or_else(|| "?".into(), |key| key.to_string()), lasting(job.held)))
                .collect(),
        }
    };
    workers.iter().map(row).collect()
}

/// A share in percent with one decimal, rounded down, for a bar.
fn percent(part: u64, whole: u64) -> f64 {
    let tenths = u128::from(part.min(whole)) * 1000 / u128::from(whole.max(1));
    tenths as f64 / 10.0
}

fn gibibytes(bytes: u64) -> String {
    format!("{} GiB", words::number(bytes as f64 / f64::from(1 << 30), 1))
}

/// `2 s ago`; a heartbeat's distance is `now`.
fn ago(silent: Duration) -> String {
    match silent.as_secs() {
        0..=4 => "now".to_owned(),
        seconds => format!("{} ago", lasting(Duration::from_secs(seconds))),
    }
}

fn lasting(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=89 => format!("{seconds} s"),
        seconds @ 90..=5399 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How long the rest takes, no more exactly than it can be known.
fn left(seconds: f64) -> String {
    if !seconds.is_finite() || seconds > 1e8 {
        return "no pace to tell the rest by".to_owned();
    }
    let minutes = (seconds / 60.0).ceil() as u64;
    match minutes {
        0 | 1 => "less than a minute left".to_owned(),
        2..=89 => format!("about {minutes} min left"),
        90..=2879 => format!("about {} h {} min left", minutes / 60, minutes % 60 / 10 * 10),
        _ => format!("about {} days left", minutes.div_ceil(1440)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_told_no_more_exactly_than_it_is_known() {
        assert_eq!(left(12.0), "less than a minute left");
        assert_eq!(left(61.0), "about 2 min left");
        assert_eq!(left(3.0 * 3600.0 + 25.0 * 60.0), "about 3 h 20 min left");
        assert_eq!(left(80.0 * 3600.0), "about 4 days left");
        assert_eq!(left(f64::INFINITY), "no pace to tell the rest by");
    }

    #[test]
    fn work_that_is_not_all_done_is_never_a_hundred_percent() {
        assert!(percent(999_999, 1_000_000) < 100.0);
        assert_eq!(percent(0, 0), 0.0);
    }
}
