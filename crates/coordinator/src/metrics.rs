//! Names of what a coordinator measures, as `/metrics` on its HTTP port says them. Dashboards, alerts
//! (`deploy/monitoring`) and `docs/operate.md` use these names and no others: a test compares.

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
    (
        "groundbreak_surveys",
        "state",
        Some(&["planning", "running", "complete", "complete-with-gaps", "failed", "cancelled"]),
    ),
    ("groundbreak_jobs", "stage", Some(&["calibrate", "detect", "merge", "assemble"])),
    ("groundbreak_jobs", "state", Some(&["waiting", "running", "done", "failed"])),
    ("groundbreak_workers", "state", Some(&["working", "draining"])),
    ("groundbreak_build_info", "version", None),
];
