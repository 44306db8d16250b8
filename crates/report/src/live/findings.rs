//! What was found so far, from the components of the report: only counties that are done are counted.

use std::collections::BTreeMap;

use geo::{BoundingRect, Coord, Intersects, Rect};
use serde::Serialize;
use survey::county::CountyMap;
use survey::grid::PixelRect;
use survey::plan::SurveyPlan;
use survey::result::{CountyResult, SiteClass};

use super::standing::Standing;
use crate::error::ReportError;
use crate::ground::Ground;
use crate::input::windows;
use crate::page::{self, cards, headline, map, words};
use crate::summary::{self, CountySummary, Observed, Status, Totals};

/// Most cards while no county is open: the page is fetched again with each county that is done.
const CARDS: usize = 40;

/// What is known of a survey's findings.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a> {
    /// The plan. Its cells and its context are not needed.
    pub plan: &'a SurveyPlan,
    /// Each county's, in the plan's order.
    pub counties: &'a [CountyStanding<'a>],
    /// The planner's remarks.
    pub notes: &'a [String],
    /// The county that is open, if one is: all of its sites are shown, and no others.
    pub open: Option<&'a str>,
}

/// How a county stands.
#[derive(Clone, Copy, Debug)]
pub enum CountyStanding<'a> {
    /// Nothing of it is being worked on.
    Pending,
    /// A job of it runs.
    Running,
    /// It is done.
    Surveyed(&'a CountyResult),
    /// It is done, and its result cannot be shown here: why.
    Unread(&'a str),
    /// It failed for good.
    Failed {
        /// Why.
        reason: &'a str,
        /// Its pixels.
        pixels: u64,
    },
    /// The survey was stopped before it.
    Cancelled {
        /// Its pixels.
        pixels: u64,
    },
}

/// Pixels of counties of a plan, by their place in it. Takes a while: rows are counted.
#[must_use]
pub fn owned_pixels(plan: &SurveyPlan, counties: impl IntoIterator<Item = usize>) -> BTreeMap<usize, u64> {
    let mut counties = counties.into_iter().peekable();
    if counties.peek().is_none() {
        return BTreeMap::new();
    }
    let map = CountyMap::new(&plan.grid, &plan.counties);
    counties.map(|index| (index, summary::owned_px(&map, index as u32))).collect()
}

/// The counties whose ground a rectangle of the grid touches, by their place in the plan.
#[must_use]
pub fn counties_in(plan: &SurveyPlan, rect: PixelRect) -> Vec<usize> {
    let (west, north) = plan.grid.corner(rect.row0, rect.col0);
    let (east, south) = plan.grid.corner(rect.row1, rect.col1);
    let ground = Rect::new(Coord { x: west, y: south }, Coord { x: east, y: north });
    let touches = |border: &geo::MultiPolygon<f64>| {
        border.bounding_rect().is_some_and(|bounds| bounds.intersects(&ground)) && border.intersects(&ground)
    };
    plan.counties.iter().enumerate().filter(|(_, county)| touches(&county.border)).map(|(index, _)| index).collect()
}

/// The components' values. The names are those of the report's page.
#[derive(Debug, Serialize)]
pub(super) struct Found<'a> {
    live: bool,
    pub(super) head: Head,
    pub(super) count: Count,
    chosen: Option<&'a str>,
    opened: Option<&'a str>,
    here: String,
    no_sites: String,
    finding: String,
    caveat: String,
    figures: Vec<page::Figure>,
    coverage: Vec<page::Gap>,
    map: Option<map::MapView>,
    classes: Vec<(&'static str, u64)>,
    site_count: u64,
    cards: Vec<cards::Card>,
    counties: Vec<page::CountyRow>,
    has_parents: bool,
    extended: Vec<page::ExtendedRow>,
    scenes: Vec<page::SceneRow>,
    notes: &'a [String],
}

/// What stands at the top.
#[derive(Debug, Serialize)]
pub(super) struct Head {
    before: String,
    after: String,
    finding: String,
    caveat: String,
}

/// Counties by how far they are.
#[derive(Debug, Default, Serialize)]
pub(super) struct Count {
    all: usize,
    done: usize,
    running: usize,
    failed: usize,
    text: String,
}

impl<'a> Found<'a> {
    pub(super) fn new(standing: &'a Standing, findings: &Findings<'a>) -> Result<Self, ReportError> {
        let plan = findings.plan;
        let ground = Ground::new(&plan.grid)?;
        let counties: Vec<CountySummary<'_>> =
            plan.counties.iter().zip(findings.counties).map(|(county, standing)| summarise(county, standing)).collect();
        let settled: Vec<CountySummary<'_>> =
            counties.iter().filter(|county| !county.status.is_open()).cloned().collect();
        let totals = Totals::of(&settled);
        let count = Count::of(&counties);
        let open = plan.counties.iter().find(|county| Some(county.id.as_ref()) == findings.open);
        let shown: Vec<CountySummary<'_>> = match open {
            Some(open) => settled.iter().filter(|county| county.county.id == open.id).cloned().collect(),
            None => settled.clone(),
        };
        let most = if open.is_some() { page::CARDS } else { CARDS };
        let in_order = page::sites_in_order(&shown);
        let carded: Vec<&str> = in_order.iter().take(most).map(|(_, site)| site.id.as_str()).collect();
        let base = format!("{}/", words::url_part(&standing.id));
        let images = cards::Images { base: &base, embedded: &[], bytes: &BTreeMap::new() };
        let county_of: BTreeMap<&str, &CountySummary<'_>> =
            shown.iter().map(|county| (county.county.id.as_ref(), county)).collect();
        let cards = in_order
            .iter()
            .take(most)
            .filter_map(|(result, site)| Some((county_of.get(result.county.as_ref())?, result, site)))
            .map(|(county, result, site)| cards::card(county.county, result, site, &ground, &images))
            .collect::<Result<_, _>>()?;
        let of_shown = Totals::of(&shown);
        let (finding, caveat) = told(&totals, &count, standing.state.is_over());
        let (before, after) =
            windows(plan).map_or_else(Default::default, |(before, after)| (words::days(before), words::days(after)));
        Ok(Self {
            live: true,
            head: Head { before, after, finding: finding.clone(), caveat: caveat.clone() },
            count,
            chosen: open.map(|county| county.id.as_ref()),
            opened: open.map(|county| county.name.as_str()),
            here: words::url_part(&standing.id),
            no_sites: no_sites(open.map(|open| open.id.as_ref()), &counties),
            finding,
            caveat,
            figures: page::figures(&totals),
            coverage: page::coverage(&totals, &settled),
            map: map::draw(&counties, &ground, &carded),
            classes: SiteClass::ALL.iter().map(|class| (class.as_str(), of_shown.finds.count(*class))).collect(),
            site_count: of_shown.finds.sites,
            cards,
            counties: counties.iter().map(|county| row(county, &standing.id)).collect(),
            has_parents: counties.iter().any(|county| county.county.parent.is_some()),
            extended: page::extended(&shown),
            scenes: page::scenes(plan),
            notes: findings.notes,
        })
    }
}

fn summarise<'a>(county: &'a survey::county::County, standing: &CountyStanding<'a>) -> CountySummary<'a> {
    let open = |status| CountySummary {
        county,
        result: None,
        status,
        observed: Observed::None,
        coverage: Default::default(),
        finds: None,
        notes: county.notes.clone(),
    };
    match standing {
        CountyStanding::Pending => open(Status::Pending),
        CountyStanding::Running => open(Status::Running),
        CountyStanding::Surveyed(result) => summary::surveyed(county, result),
        CountyStanding::Unread(why) => {
            let mut summary = open(Status::Pending);
            summary.notes.insert(0, format!("done; {why}"));
            summary
        }
        CountyStanding::Failed { reason, pixels } => {
            summary::unseen(county, Status::Failed, *pixels, format!("failed: {reason}"))
        }
        CountyStanding::Cancelled { pixels } => {
            let note = "stopped before it was surveyed".to_owned();
            summary::unseen(county, Status::Cancelled, *pixels, note)
        }
    }
}

fn row(county: &CountySummary<'_>, survey: &str) -> page::CountyRow {
    let mut row = page::county_row(county);
    row.href = Some(format!("{}?county={}#h-sites", words::url_part(survey), words::url_part(&row.id)));
    row
}

impl Count {
    fn of(counties: &[CountySummary<'_>]) -> Self {
        let number = |is: &dyn Fn(Status) -> bool| counties.iter().filter(|county| is(county.status)).count();
        let (all, open) = (counties.len(), number(&Status::is_open));
        let (running, failed) =
            (number(&|status| status == Status::Running), number(&|status| status == Status::Failed));
        let done = all - open;
        let mut text = format!("{done} of {} done", words::counted(all as u64, "county", "counties"));
        if running > 0 {
            text.push_str(&format!(", {running} being surveyed"));
        }
        if failed > 0 {
            text.push_str(&format!(", {failed} failed"));
        }
        Self { all, done, running, failed, text }
    }
}

/// What was found, said of the counties that are done only.
fn told(totals: &Totals, count: &Count, is_over: bool) -> (String, String) {
    if count.done == count.all || is_over {
        return (headline::finding(totals), headline::caveat(totals));
    }
    if count.done == 0 {
        return ("No county is done yet, so nothing can be said.".to_owned(), String::new());
    }
    let finding = format!("So far, in {} of {} counties: {}", count.done, count.all, headline::finding(totals));
    (finding, format!("There: {}", headline::caveat(totals)))
}

fn no_sites(open: Option<&str>, counties: &[CountySummary<'_>]) -> String {
    let county = open.and_then(|open| counties.iter().find(|county| county.county.id.as_ref() == open));
    match county {
        Some(county) if county.status.is_open() => "This county is not surveyed yet.".to_owned(),
        Some(county) if county.observed == Observed::None => {
            "This county was not observed: nothing can be said.".to_owned()
        }
        Some(_) => "No site was found on the ground of this county that could be compared.".to_owned(),
        None => "No site was found yet.".to_owned(),
    }
}
