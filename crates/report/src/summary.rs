//! A county in figures, and the totals of a survey.

use std::collections::{BTreeMap, BTreeSet};

use survey::county::{County, CountyMap};
use survey::findings::Coverage;
use survey::result::{CountyResult, Cover, Phase, Site, SiteClass};

use crate::error::ReportError;
use crate::input::{CountyOutcome, ReportInput};

/// How a county ended (contract C6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Each of its pixels was compared.
    Complete,
    /// Some (or all) of its pixels were not compared; each is counted by reason.
    CompleteWithGaps,
    /// It failed; its notes say why.
    Failed,
    /// Somebody stopped the survey.
    Cancelled,
    /// The survey runs, and nothing of the county is being worked on. Never in results.
    Pending,
    /// The survey runs, and so does a job of the county. Never in results.
    Running,
}

impl Status {
    /// Whether the survey has not come to an end of the county yet.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// As results spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CompleteWithGaps => "complete-with-gaps",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Pending => "pending",
            Self::Running => "running",
        }
    }
}

/// How much of a county was seen: what keeps "no site found" apart from "not observed".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observed {
    /// All pixels.
    All,
    /// Some pixels.
    Part,
    /// No pixel: nothing can be said.
    None,
}

impl Observed {
    /// As results spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Part => "part",
            Self::None => "none",
        }
    }
}

/// Why a pixel was not compared.
pub struct GapReason {
    /// Its column in `counties`.
    pub column: &'static str,
    /// In words.
    pub words: &'static str,
    /// Pixels.
    pub count: fn(&Coverage) -> u64,
}

/// All reasons, in the order of their columns.
pub const GAP_REASONS: [GapReason; 5] = [
    GapReason { column: "gap_no_scene", words: "no scene pair", count: |coverage| coverage.no_scene },
    GapReason { column: "gap_cloud", words: "cloud", count: |coverage| coverage.cloud },
    GapReason { column: "gap_nodata", words: "no data", count: |coverage| coverage.nodata },
    GapReason { column: "gap_unreadable", words: "unreadable file", count: |coverage| coverage.unreadable },
    GapReason { column: "gap_failed_job", words: "failed job", count: |coverage| coverage.failed_job },
];

/// Most notes of one kind that a county's `notes` spell out.
const NOTES_SPELT_OUT: usize = 5;

/// What was found in a county. Only there where something of it was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Finds {
    /// Sites.
    pub sites: u64,
    /// Sites by class, in the order of [`SiteClass::ALL`].
    pub by_class: [u64; 4],
    /// Sum of the factory probabilities of all sites.
    pub factory_expected: f64,
    /// Ground that changed spectrally, whatever changed there, ha.
    pub changed_ha: f64,
    /// Ground that looks like construction, in sites or in pieces too small for one, ha.
    pub construction_ha: f64,
    /// Sites of class factory, ha.
    pub factory_ha: f64,
    /// Cropland that construction took, ha.
    pub cropland_lost_ha: f64,
    /// Changed areas that are too large for a site, ha.
    pub extended_change_ha: f64,
}

/// A county in figures.
#[derive(Clone, Debug)]
pub struct CountySummary<'a> {
    /// The county.
    pub county: &'a County,
    /// Its result, if it has one.
    pub result: Option<&'a CountyResult>,
    /// How it ended.
    pub status: Status,
    /// How much of it was seen.
    pub observed: Observed,
    /// Its pixels by state; of a county that failed or was cancelled, all are `failed_job`.
    pub coverage: Coverage,
    /// What was found; `None` where nothing was observed.
    pub finds: Option<Finds>,
    /// Remarks, most important first.
    pub notes: Vec<String>,
}

impl<'a> CountySummary<'a> {
    /// Share of the pixels that were compared, rounded *down* to 6 decimals so that only a county without any gap has
    /// 1; `None` for a county that holds no pixel centre.
    #[must_use]
    pub fn coverage_share(&self) -> Option<f64> {
        share(self.coverage.surveyed, self.coverage.total())
    }

    /// Ground area of a number of its pixels, ha; `None` where no result says how large a pixel is.
    #[must_use]
    pub fn hectares(&self, pixels: u64) -> Option<f64> {
        self.result.map(|result| pixels as f64 * result.pixel_area_m2 / 10_000.0)
    }

    /// Its sites, by id.
    pub fn sites(&self) -> impl Iterator<Item = &'a Site> + use<'a> {
        self.result.into_iter().flat_map(|result| &result.sites)
    }
}

/// `part / whole`, rounded down to 6 decimals.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    let millionths = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
    (whole > 0).then(|| millionths as f64 / 1_000_000.0)
}

/// Whether a site is construction that took cropland: it was cropland, and it is a factory or housing, or something
/// else on which building goes on. Greenhouses grow food, so they take none.
#[must_use]
pub fn takes_cropland(site: &Site) -> bool {
    let construction = match site.class {
        SiteClass::Factory | SiteClass::Residential => true,
        SiteClass::Greenhouse => false,
        SiteClass::Other => site.phase != Phase::None,
    };
    construction && site.before_cover == Cover::Cropland
}

impl Finds {
    fn of(result: &CountyResult) -> Self {
        let mut finds = Self {
            sites: result.sites.len() as u64,
            changed_ha: result.coverage.changed as f64 * result.pixel_area_m2 / 10_000.0,
            construction_ha: result.construction_px as f64 * result.pixel_area_m2 / 10_000.0,
            extended_change_ha: result.extended.iter().map(|extended| extended.area_ha).sum(),
            ..Self::default()
        };
        for site in &result.sites {
            for (count, class) in finds.by_class.iter_mut().zip(SiteClass::ALL) {
                *count += u64::from(site.class == class);
            }
            finds.factory_expected += site.probabilities.factory;
            if site.class == SiteClass::Factory {
                finds.factory_ha += site.area_ha;
            }
            if takes_cropland(site) {
                finds.cropland_lost_ha += site.area_ha * site.before_cover_share;
            }
        }
        finds
    }

    fn absorb(&mut self, other: &Self) {
        self.sites += other.sites;
        for (mine, theirs) in self.by_class.iter_mut().zip(other.by_class) {
            *mine += theirs;
        }
        self.factory_expected += other.factory_expected;
        self.changed_ha += other.changed_ha;
        self.construction_ha += other.construction_ha;
        self.factory_ha += other.factory_ha;
        self.cropland_lost_ha += other.cropland_lost_ha;
        self.extended_change_ha += other.extended_change_ha;
    }

    /// Sites of a class.
    #[must_use]
    pub fn count(&self, class: SiteClass) -> u64 {
        SiteClass::ALL.iter().zip(self.by_class).find(|(other, _)| **other == class).map_or(0, |(_, count)| count)
    }
}

/// The sums over all counties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Counties.
    pub counties: u64,
    /// Counties by [`Observed`]: all, part, none.
    pub observed: [u64; 3],
    /// Counties that failed or were cancelled.
    pub unfinished: u64,
    /// Counties with a site of class factory.
    pub with_factory: u64,
    /// Pixels by state.
    pub coverage: Coverage,
    /// What was found where something was observed.
    pub finds: Finds,
}

impl Totals {
    /// Adds up counties in their order.
    #[must_use]
    pub fn of(counties: &[CountySummary<'_>]) -> Self {
        let mut totals = Self::default();
        for county in counties {
            totals.counties += 1;
            let [all, part, none] = &mut totals.observed;
            *match county.observed {
                Observed::All => all,
                Observed::Part => part,
                Observed::None => none,
            } += 1;
            totals.unfinished += u64::from(matches!(county.status, Status::Failed | Status::Cancelled));
            totals.coverage.absorb(&county.coverage);
            if let Some(finds) = &county.finds {
                totals.with_factory += u64::from(finds.count(SiteClass::Factory) > 0);
                totals.finds.absorb(finds);
            }
        }
        totals
    }
}

/// The counties of a survey in the plan's order.
///
/// # Errors
/// A planned county without an outcome or with two, and an outcome of a county that isn't planned.
pub fn counties<'a>(input: &ReportInput<'a>) -> Result<Vec<CountySummary<'a>>, ReportError> {
    let mut outcomes: BTreeMap<&str, &CountyOutcome> = BTreeMap::new();
    for outcome in input.counties {
        if outcomes.insert(outcome.county().as_ref(), outcome).is_some() {
            return Err(ReportError::CountyTwice(outcome.county().clone()));
        }
    }
    let unfinished: BTreeSet<&str> = outcomes
        .iter()
        .filter(|(_, outcome)| !matches!(outcome, CountyOutcome::Surveyed(_)))
        .map(|(id, _)| *id)
        .collect();
    // Only counties without a result have to be counted here; most surveys have none.
    let map = (!unfinished.is_empty()).then(|| CountyMap::new(&input.plan.grid, &input.plan.counties));
    let mut summaries = Vec::with_capacity(input.plan.counties.len());
    for (index, county) in input.plan.counties.iter().enumerate() {
        let outcome =
            outcomes.remove(county.id.as_ref()).ok_or_else(|| ReportError::CountyWithoutOutcome(county.id.clone()))?;
        let all_px = || map.as_ref().map_or(0, |map| owned_px(map, index as u32));
        summaries.push(match outcome {
            CountyOutcome::Surveyed(result) => surveyed(county, result),
            CountyOutcome::Failed { reason, .. } => {
                unseen(county, Status::Failed, all_px(), format!("failed: {reason}"))
            }
            CountyOutcome::Cancelled { .. } => {
                unseen(county, Status::Cancelled, all_px(), "cancelled before it was surveyed".to_owned())
            }
        });
    }
    match outcomes.into_values().next() {
        Some(stray) => Err(ReportError::CountyNotPlanned(stray.county().clone())),
        None => Ok(summaries),
    }
}

/// Pixels that a county owns.
pub(crate) fn owned_px(map: &CountyMap, county: u32) -> u64 {
    map.bounds(county).map_or(0, |bounds| map.pixels(bounds).get(&county).copied().unwrap_or_default())
}

pub(crate) fn unseen(county: &County, status: Status, pixels: u64, note: String) -> CountySummary<'_> {
    CountySummary {
        county,
        result: None,
        status,
        observed: Observed::None,
        coverage: Coverage { failed_job: pixels, ..Coverage::default() },
        finds: None,
        notes: std::iter::once(note).chain(county.notes.iter().cloned()).collect(),
    }
}

pub(crate) fn surveyed<'a>(county: &'a County, result: &'a CountyResult) -> CountySummary<'a> {
    let coverage = result.coverage;
    let observed = match (coverage.surveyed, coverage.gaps()) {
        (0, _) => Observed::None,
        (_, 0) => Observed::All,
        _ => Observed::Part,
    };
    let mut notes = Vec::new();
    if coverage.total() == 0 {
        notes.push("not observed: it holds no pixel of the survey's grid".to_owned());
    } else if observed == Observed::None {
        notes.push(format!("not observed: {}", gap_words(&coverage)));
    }
    notes.extend(county.notes.iter().cloned());
    notes.extend(result.quality.iter().cloned());
    let causes = result.unreadable.iter().map(|note| format!("unreadable: {}: {}", note.scene, note.cause));
    notes.extend(causes.take(NOTES_SPELT_OUT));
    if let Some(more) = result.unreadable.len().checked_sub(NOTES_SPELT_OUT).filter(|more| *more > 0) {
        notes.push(format!("unreadable: {more} more"));
    }
    let status = if observed == Observed::All { Status::Complete } else { Status::CompleteWithGaps };
    // A site of a county without a surveyed pixel would contradict itself; it's shown all the same.
    let finds = (observed != Observed::None || !result.sites.is_empty()).then(|| Finds::of(result));
    CountySummary { county, result: Some(result), status, observed, coverage, finds, notes }
}

/// The reasons of a coverage's gaps with their share of the gaps, largest first: `cloud 80 %, no data 20 %`.
pub(crate) fn gap_words(coverage: &Coverage) -> String {
    let gaps = coverage.gaps();
    let mut reasons: Vec<(u64, &str)> = GAP_REASONS
        .iter()
        .map(|reason| ((reason.count)(coverage), reason.words))
        .filter(|(pixels, _)| *pixels > 0)
        .collect();
    reasons.sort_by_key(|(pixels, _)| std::cmp::Reverse(*pixels));
    match reasons.as_slice() {
        [] => "no gap".to_owned(),
        [(_, only)] => (*only).to_owned(),
        several => {
            let words: Vec<String> = several
                .iter()
                .map(|(pixels, words)| match u128::from(*pixels) * 100 / u128::from(gaps.max(1)) {
                    0 => format!("{words} < 1 %"),
                    percent => format!("{words} {percent} %"),
                })
                .collect();
            words.join(", ")
        }
    }
}
