//! What a report is made of.

use std::sync::Arc;

use survey::ids::CountyId;
use survey::plan::SurveyPlan;
use survey::result::{CountyResult, DateRange};
use survey::scene::{Scene, ScenePair};

/// Everything that a report says.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The plan.
    pub plan: &'a SurveyPlan,
    /// The earlier window: as the spec says, or first and last day of its scenes.
    pub before: DateRange,
    /// The later window.
    pub after: DateRange,
    /// One outcome per planned county, in any order.
    pub counties: &'a [CountyOutcome],
    /// Remarks about the survey as a whole: scenes that the catalog has and that were refused, quality of a pair.
    /// Nothing that differs between executions (hrefs, times) may stand here.
    pub notes: &'a [String],
}

/// First and last day of the earlier and of the later scenes that a plan uses; `None` for a plan without scene pairs.
#[must_use]
pub fn windows(plan: &SurveyPlan) -> Option<(DateRange, DateRange)> {
    let range = |scene: fn(&ScenePair) -> u32| {
        let days = || plan.pairs.iter().filter_map(|pair| plan.scenes.get(scene(pair) as usize)).map(Scene::date);
        Some(DateRange { from: days().min()?, to: days().max()? })
    };
    Some((range(|pair| pair.before)?, range(|pair| pair.after)?))
}

/// How a county ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CountyOutcome {
    /// It was assembled, with gaps or without.
    Surveyed(Arc<CountyResult>),
    /// Its assembly failed for good.
    Failed {
        /// The county.
        county: CountyId,
        /// Why, in words.
        reason: String,
    },
    /// Somebody stopped the survey before it.
    Cancelled {
        /// The county.
        county: CountyId,
    },
}

impl CountyOutcome {
    /// The county.
    #[must_use]
    pub fn county(&self) -> &CountyId {
        match self {
            Self::Surveyed(result) => &result.county,
            Self::Failed { county, .. } | Self::Cancelled { county } => county,
        }
    }
}
