//! What a coordinator is started with.

use survey::plan::SurveyPlan;

use crate::schedule::policy::Policy;

/// What a coordinator is started with.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Leases, retries and pauses.
    pub policy: Policy,
    /// Names this process start in the journal: different for each.
    pub writer: String,
    /// What becomes of surveys that the journal left unfinished.
    pub resume: Resume,
    /// Pixels that a detector reads beyond a tile, for specs that are planned here.
    pub halo_px: fn(&SurveyPlan) -> u32,
    /// The most that a worker gives one job of such a survey, bytes.
    pub max_job_memory: u64,
    /// Specs that are planned at the same time.
    pub planners: usize,
    /// URL prefixes that a spec may name inputs and outputs under. Empty: any that there is a store for.
    pub allowed_prefixes: Vec<String>,
}

/// What becomes of surveys that the journal left unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// They go on at once. What they had committed is trusted; what is lost or damaged is found by those who read it, and
    /// done again.
    AtStart,
    /// They wait until they are submitted again, and what they had committed is looked at first.
    WhenSubmitted,
}

impl CoordinatorConfig {
    /// A coordinator of a cluster. `writer` is different for each start of a process.
    #[must_use]
    pub fn new(writer: String, halo_px: fn(&SurveyPlan) -> u32) -> Self {
        Self {
            policy: Policy::default(),
            writer,
            resume: Resume::AtStart,
            halo_px,
            max_job_memory: 4 << 30,
            planners: 2,
            allowed_prefixes: Vec::new(),
        }
    }
}
