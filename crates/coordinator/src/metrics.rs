//! What a coordinator measures, as `/metrics` on its HTTP port says it. Dashboards, alerts (`deploy/monitoring`) and
//! `docs/operate.md` use these names and no others: a test compares.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use proto::v1;
use proto::words::{STAGES, STATES, state};
use survey::job::Stage;

use crate::error::CoordinatorError;
use crate::scaler::runnable;
use crate::service::Coordinator;

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric. A histogram stands here once, without `_bucket`, `_sum` and `_count`.
///
/// * `groundbreak_surveys{state}`, gauge: surveys, by their state.
/// * `groundbreak_jobs{stage,state}`, gauge: jobs of the surveys that are not over. `waiting` includes those whose inputs
///   are not there yet.
/// * `groundbreak_workers{state}`, gauge: workers that were heard of lately.
/// * `groundbreak_queue_depth`, gauge: jobs that could run now and that no worker has.
/// * `groundbreak_oldest_lease_seconds`, gauge: how long the attempt that runs longest has run; 0 where none does.
/// * `groundbreak_attempts_total`, counter: attempts begun.
/// * `groundbreak_attempts_failed_total`, counter: attempts that failed, for whatever reason.
/// * `groundbreak_leases_expired_total`, counter: attempts given up because their worker fell silent or stood still.
/// * `groundbreak_alarms_total`, counter: completions whose bytes differed from those in the books.
/// * `groundbreak_repaired_total`, counter: jobs whose objects were lost or damaged and that were done again.
/// * `groundbreak_bytes_fetched_total`, counter: bytes of scenes that workers fetched, of jobs that are done.
/// * `groundbreak_blocks_decoded_total`, counter: blocks of scenes that workers decoded, of jobs that are done.
/// * `groundbreak_pixels_total`, counter: pixels of the survey's grid that were compared, of jobs that are done.
/// * `groundbreak_journal_append_seconds`, histogram: time from an append to the journal until it is durable.
/// * `groundbreak_journal_records_total`, counter: records appended to the journal.
/// * `groundbreak_build_info{version}`, gauge: 1, with the software's version.
pub const METRICS: &[&str] = &[
    "groundbreak_surveys",
    "groundbreak_jobs",
    "groundbreak_workers",
    "groundbreak_queue_depth",
    "groundbreak_oldest_lease_seconds",
    "groundbreak_attempts_total",
    "groundbreak_attempts_failed_total",
    "groundbreak_leases_expired_total",
    "groundbreak_alarms_total",
    "groundbreak_repaired_total",
    "groundbreak_bytes_fetched_total",
    "groundbreak_blocks_decoded_total",
    "groundbreak_pixels_total",
    "groundbreak_journal_append_seconds",
    "groundbreak_journal_records_total",
    "groundbreak_build_info",
];

/// Those of [`METRICS`] that are histograms.
pub const HISTOGRAMS: &[&str] = &["groundbreak_journal_append_seconds"];

/// A metric, one of its labels, and every value that it has; `None` where the values are open.
pub type Label = (&'static str, &'static str, Option<&'static [&'static str]>);

/// Every label. A metric that is not here has none.
pub const LABELS: &[Label] = &[
    ("groundbreak_surveys", "state", Some(&STATES)),
    ("groundbreak_jobs", "stage", Some(&STAGES)),
    ("groundbreak_jobs", "state", Some(&["waiting", "running", "done", "failed"])),
    ("groundbreak_workers", "state", Some(&["working", "draining"])),
    ("groundbreak_build_info", "version", None),
];

/// What grows while a coordinator runs. Clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    used: Arc<Mutex<Used>>,
    records: Counter,
    append: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            used: Arc::default(),
            records: Counter::default(),
            // 0.25 ms to 8 s.
            append: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
        }
    }
}

/// What the jobs of a stage that are done have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageUsed {
    /// Jobs.
    pub jobs: u64,
    /// Time that they took together, milliseconds, as their workers report it; a job that two workers did counts twice.
    /// Jobs of a worker at the same time share its cores.
    pub busy_ms: u64,
    /// Encoded bytes of scenes that were fetched.
    pub bytes_fetched: u64,
    /// Blocks of scenes that were decoded.
    pub blocks_decoded: u64,
    /// Pixels of the grid that were compared.
    pub pixels: u64,
}

/// What jobs that are done have used, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used([StageUsed; 4]);

impl Used {
    /// What one stage has used.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> StageUsed {
        self.0[stage.index()]
    }

    /// The sum of `part` over all stages.
    #[must_use]
    pub fn sum(&self, part: fn(&StageUsed) -> u64) -> u64 {
        self.0.iter().map(part).fold(0, u64::saturating_add)
    }
}

impl Meters {
    pub(crate) fn used(&self) -> Used {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what jobs that are done have used.
    pub(crate) fn count_work(&self, done: impl Iterator<Item = (Stage, v1::JobStats)>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for (stage, stats) in done {
            let stage = &mut used.0[stage.index()];
            stage.jobs += 1;
            // A stranger's numbers: they may be anything, and wrap nothing.
            stage.busy_ms = stage.busy_ms.saturating_add(stats.wall_ms);
            stage.bytes_fetched = stage.bytes_fetched.saturating_add(stats.bytes_fetched);
            stage.blocks_decoded = stage.blocks_decoded.saturating_add(stats.blocks_decoded);
            stage.pixels = stage.pixels.saturating_add(stats.pixels);
        }
    }

    /// Counts an append to the journal that took `took`.
    pub(crate) fn count_append(&self, records: usize, took: Duration) {
        self.records.inc_by(records as u64);
        self.append.observe(took.as_secs_f64());
    }
}

type Labels = Vec<(&'static str, String)>;

/// Everything, as Prometheus reads it.
///
/// # Errors
/// The coordinator has stopped.
pub async fn text(coordinator: &Coordinator) -> Result<String, CoordinatorError> {
    let (surveys, workers) = (coordinator.surveys().await?, coordinator.workers().await?);
    Ok(exposition(&coordinator.meters, &surveys, &workers))
}

fn exposition(meters: &Meters, surveys: &[v1::Survey], workers: &[v1::Worker]) -> String {
    let mut registry = Registry::default();
    let by_state = Family::<Labels, Gauge>::default();
    // A state that nothing is in is told as 0, so that an alert sees it come and go.
    for value in STATES {
        let count = surveys.iter().filter(|survey| state(survey) == value).count();
        by_state.get_or_create(&vec![("state", value.to_owned())]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("groundbreak_surveys", "Surveys, by their state", by_state);

    let open = || surveys.iter().filter(|survey| state(survey) == "running");
    let jobs = Family::<Labels, Gauge>::default();
    for (index, stage) in STAGES.into_iter().enumerate() {
        let (mut waiting, mut running, mut done, mut failed) = (0_u64, 0, 0, 0);
        for stage in open().filter_map(|survey| survey.stages.get(index)) {
            running += stage.running;
            done += stage.done;
            failed += stage.failed;
            waiting += stage.jobs.saturating_sub(stage.running + stage.done + stage.failed);
        }
        for (state, count) in [("waiting", waiting), ("running", running), ("done", done), ("failed", failed)] {
            let labels = vec![("stage", stage.to_owned()), ("state", state.to_owned())];
            jobs.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    registry.register("groundbreak_jobs", "Jobs of the surveys that are not over", jobs);

    let fleet = Family::<Labels, Gauge>::default();
    for (state, draining) in [("working", false), ("draining", true)] {
        let count = workers.iter().filter(|worker| worker.draining == draining).count();
        fleet.get_or_create(&vec![("state", state.to_owned())]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("groundbreak_workers", "Workers that were heard of lately", fleet);

    let depth: u64 = open()
        .map(|survey| {
            let running: u64 = survey.stages.iter().map(|stage| stage.running).sum();
            runnable(&survey.stages).saturating_sub(running)
        })
        .sum();
    registry.register(
        "groundbreak_queue_depth",
        "Jobs that could run now and that no worker has",
        ConstGauge::new(depth),
    );
    let oldest = workers.iter().flat_map(|worker| &worker.jobs).map(|job| job.held_ms).max().unwrap_or(0);
    registry.register(
        "groundbreak_oldest_lease_seconds",
        "How long the attempt that runs longest has run",
        ConstGauge::new(oldest as f64 / 1000.0),
    );
    let sum = |of: fn(&v1::Survey) -> u64| ConstCounter::new(surveys.iter().map(of).sum::<u64>());
    registry.register("groundbreak_attempts", "Attempts begun", sum(|survey| survey.attempts));
    registry.register("groundbreak_attempts_failed", "Attempts that failed", sum(|survey| survey.attempts_failed));
    registry.register("groundbreak_leases_expired", "Attempts given up", sum(|survey| survey.leases_expired));
    registry.register("groundbreak_alarms", "Completions with other bytes than booked", sum(|survey| survey.alarms));
    registry.register("groundbreak_repaired", "Jobs done again for lost objects", sum(|survey| survey.repaired));
    let used = meters.used();
    let work = |part: fn(&StageUsed) -> u64| ConstCounter::new(used.sum(part));
    registry.register("groundbreak_bytes_fetched", "Bytes of scenes fetched", work(|stage| stage.bytes_fetched));
    registry.register("groundbreak_blocks_decoded", "Blocks of scenes decoded", work(|stage| stage.blocks_decoded));
    registry.register("groundbreak_pixels", "Pixels of the grid compared", work(|stage| stage.pixels));
    registry.register("groundbreak_journal_records", "Records appended to the journal", meters.records.clone());
    registry.register("groundbreak_journal_append_seconds", "Time until an append is durable", meters.append.clone());
    let build = Family::<Labels, Gauge>::default();
    build.get_or_create(&vec![("version", survey::VERSION.to_owned())]).set(1);
    registry.register("groundbreak_build_info", "The software's version", build);

    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_listed_and_the_figures_are_the_surveys() {
        let stage = |stage: v1::Stage, jobs, running, done, failed| v1::StageProgress {
            stage: stage.into(),
            jobs,
            running,
            done,
            failed,
        };
        let survey = v1::Survey {
            state: v1::SurveyState::Running.into(),
            stages: vec![stage(v1::Stage::Calibrate, 2, 0, 2, 0), stage(v1::Stage::Detect, 10, 3, 4, 1)],
            attempts: 9,
            leases_expired: 1,
            ..v1::Survey::default()
        };
        let worker =
            v1::Worker { jobs: vec![v1::HeldJob { held_ms: 2500, ..v1::HeldJob::default() }], ..v1::Worker::default() };
        let meters = Meters::default();
        let stats = v1::JobStats { pixels: 1 << 20, bytes_fetched: 77, wall_ms: 5, ..v1::JobStats::default() };
        meters.count_work([(Stage::Calibrate, v1::JobStats::default()), (Stage::Detect, stats)].into_iter());
        let (used, detect) = (meters.used(), meters.used().stage(Stage::Detect));
        assert_eq!((detect.jobs, detect.busy_ms, used.sum(|stage| stage.bytes_fetched)), (1, 5, 77));
        meters.count_append(5, Duration::from_millis(3));
        let text = exposition(&meters, &[survey], &[worker]);
        for line in [
            "groundbreak_surveys{state=\"running\"} 1",
            "groundbreak_surveys{state=\"failed\"} 0",
            "groundbreak_jobs{stage=\"detect\",state=\"waiting\"} 2",
            "groundbreak_jobs{stage=\"detect\",state=\"failed\"} 1",
            "groundbreak_workers{state=\"working\"} 1",
            "groundbreak_queue_depth 2",
            "groundbreak_oldest_lease_seconds 2.5",
            "groundbreak_attempts_total 9",
            "groundbreak_leases_expired_total 1",
            "groundbreak_bytes_fetched_total 77",
            "groundbreak_pixels_total 1048576",
            "groundbreak_journal_records_total 5",
            "groundbreak_journal_append_seconds_count 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        let mut told: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .map(|name| name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count"))
            .collect();
        told.sort_unstable();
        told.dedup();
        let mut listed = METRICS.to_vec();
        listed.sort_unstable();
        assert_eq!(told, listed);
    }
}
