//! `report.html`: one file that needs no network: a map, the sites with before and after, the counties, what was not
//! seen, and where it all comes from.
//!
//! Every text from outside (names, reasons, ids) passes the template's escaping, and no data stands inside a script: the
//! script reads what the markup shows.

pub(crate) mod cards;
pub(crate) mod headline;
pub(crate) mod map;
pub mod words;

use std::collections::BTreeMap;

use bytes::Bytes;
use minijinja::Environment;
use serde::Serialize;
use survey::plan::SurveyPlan;
use survey::result::{CountyResult, Site, SiteClass};

use crate::chips;
use crate::error::ReportError;
use crate::ground::Ground;
use crate::input::ReportInput;
use crate::summary::{CountySummary, GAP_REASONS, GapReason, Observed, Status, Totals};

/// Most cards; further sites are on the map and in the tables.
pub const CARDS: usize = 200;

/// The templates by the names that they include each other by. The names end in `.html`: what is put into them is escaped
/// unless it is marked as safe.
const TEMPLATES: [(&str, &str); 9] = [
    ("report.html", include_str!("../assets/report.html.jinja")),
    ("parts/swatch.html", include_str!("../assets/parts/swatch.html.jinja")),
    ("parts/defs.html", include_str!("../assets/parts/defs.html.jinja")),
    ("parts/figures.html", include_str!("../assets/parts/figures.html.jinja")),
    ("parts/map.html", include_str!("../assets/parts/map.html.jinja")),
    ("parts/sites.html", include_str!("../assets/parts/sites.html.jinja")),
    ("parts/counties.html", include_str!("../assets/parts/counties.html.jinja")),
    ("parts/gaps.html", include_str!("../assets/parts/gaps.html.jinja")),
    ("parts/scenes.html", include_str!("../assets/parts/scenes.html.jinja")),
];
pub(crate) const STYLE: &str = include_str!("../assets/report.css");
/// The page's script. What it is made of is also made into a function that the live page calls for each version of its
/// components, with the view of the map that the reader has come to.
const SCRIPT: &str = concat!(
    "\"use strict\";\n// Reads only what the markup shows; text is set with textContent, never as markup.\n(() => {\n",
    include_str!("../assets/page/tables.js"),
    "  let view = { ...full };\n",
    include_str!("../assets/page/map.js"),
    "})();\n"
);

#[derive(Serialize)]
struct Page<'a> {
    style: &'static str,
    script: &'static str,
    name: &'a str,
    before: String,
    after: String,
    finding: String,
    caveat: String,
    figures: Vec<Figure>,
    coverage: Vec<Gap>,
    map: Option<map::MapView>,
    classes: Vec<(&'static str, u64)>,
    site_count: u64,
    cards: Vec<cards::Card>,
    counties: Vec<CountyRow>,
    has_parents: bool,
    extended: Vec<ExtendedRow>,
    scenes: Vec<SceneRow>,
    notes: &'a [String],
    provenance: Vec<(&'static str, String)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    value: String,
    unit: &'static str,
    label: &'static str,
    detail: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Gap {
    name: &'static str,
    words: &'static str,
    pixels: String,
    share: String,
    percent: f64,
    counties: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct CountyRow {
    pub(crate) id: String,
    name: String,
    parent: String,
    status: &'static str,
    observed: &'static str,
    /// Where its sites are opened, on a live page.
    pub(crate) href: Option<String>,
    /// What stands where figures would, had it any.
    unknown: &'static str,
    percent: f64,
    coverage: String,
    designated: String,
    found: Option<FoundCells>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FoundCells {
    sites: u64,
    factories: u64,
    expected: f64,
    expected_text: String,
    factory_ha: f64,
    factory_ha_text: String,
    cropland_ha: f64,
    cropland_ha_text: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExtendedRow {
    id: String,
    county: String,
    area_ha: String,
    position: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct SceneRow {
    id: String,
    acquired: String,
    platform: String,
    used: &'static str,
    gsd: String,
    off_nadir: String,
    cloud: String,
    bands: String,
}

/// The page.
///
/// # Errors
/// A chip that the page carries and whose bytes are missing.
pub(crate) fn write(
    input: &ReportInput<'_>,
    counties: &[CountySummary<'_>],
    ground: &Ground,
    chip_bytes: &BTreeMap<String, Bytes>,
) -> Result<Vec<u8>, ReportError> {
    let encode = ReportError::encode("report.html");
    let plan = input.plan;
    let totals = Totals::of(counties);
    let embedded = chips::chosen(counties);
    let county_of: BTreeMap<&str, &CountySummary<'_>> =
        counties.iter().map(|county| (county.county.id.as_ref(), county)).collect();
    let in_order = sites_in_order(counties);
    let mut cards = Vec::new();
    for (result, site) in in_order.iter().take(CARDS) {
        if let Some(county) = county_of.get(result.county.as_ref()) {
            cards.push(cards::card(
                county.county,
                result,
                site,
                ground,
                &cards::Images { base: "", embedded: &embedded, bytes: chip_bytes },
            )?);
        }
    }
    let carded: Vec<&str> = in_order.iter().take(CARDS).map(|(_, site)| site.id.as_str()).collect();
    let page = Page {
        style: STYLE,
        script: SCRIPT,
        name: &plan.name,
        before: words::days(input.before),
        after: words::days(input.after),
        finding: headline::finding(&totals),
        caveat: headline::caveat(&totals),
        figures: figures(&totals),
        coverage: coverage(&totals, counties),
        map: map::draw(counties, ground, &carded),
        classes: SiteClass::ALL.iter().map(|class| (class.as_str(), totals.finds.count(*class))).collect(),
        site_count: totals.finds.sites,
        cards,
        counties: counties.iter().map(county_row).collect(),
        has_parents: counties.iter().any(|county| county.county.parent.is_some()),
        extended: extended(counties),
        scenes: scenes(plan),
        notes: input.notes,
        provenance: provenance(input),
    };
    let html = templates(&[]).and_then(|templates| templates.get_template("report.html")?.render(&page));
    let mut html = html.map_err(|cause| encode(format!("{cause:#}")))?;
    html.truncate(html.trim_end().len());
    Ok(html.into_bytes())
}

/// The page's templates and `more`, by name.
pub(crate) fn templates(more: &[(&'static str, &'static str)]) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    // A template that is included ends its last line.
    environment.set_keep_trailing_newline(true);
    for (name, source) in TEMPLATES.iter().chain(more) {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

/// What a `script-src` of a content security policy says of the script in `report.html`.
#[must_use]
pub fn script_hash() -> String {
    use base64::Engine as _;
    let digest = survey::ids::Digest::of(format!("\n{SCRIPT}\n").as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest.0))
}

/// The sites, the most probable factory first; ties by id.
pub(crate) fn sites_in_order<'a>(counties: &[CountySummary<'a>]) -> Vec<(&'a CountyResult, &'a Site)> {
    let mut sites: Vec<(&CountyResult, &Site)> = counties
        .iter()
        .filter_map(|county| county.result)
        .flat_map(|result| result.sites.iter().map(move |site| (result, site)))
        .collect();
    sites.sort_by(|(_, a), (_, b)| {
        b.probabilities.factory.total_cmp(&a.probabilities.factory).then_with(|| a.id.cmp(&b.id))
    });
    sites
}

pub(crate) fn figures(totals: &Totals) -> Vec<Figure> {
    let finds = &totals.finds;
    let nothing_seen = totals.coverage.surveyed == 0;
    let shown = |value: String| if nothing_seen { "?".to_owned() } else { value };
    vec![
        Figure {
            value: shown(words::grouped(finds.count(SiteClass::Factory))),
            unit: "",
            label: "probable factory sites",
            detail: format!("{} expected (sum of probabilities)", words::number(finds.factory_expected, 1)),
        },
        Figure {
            value: shown(words::hectares(finds.factory_ha)),
            unit: "ha",
            label: "of factory sites",
            detail: format!("{} of all classes", words::counted(finds.sites, "site", "sites")),
        },
        Figure {
            value: shown(words::hectares(finds.cropland_lost_ha)),
            unit: "ha",
            label: "of cropland lost to construction",
            detail: format!("{} ha changed in all", words::hectares(finds.changed_ha)),
        },
        Figure {
            value: words::percent_down(totals.coverage.surveyed, totals.coverage.total()),
            unit: "",
            label: "of the ground compared",
            detail: {
                let [all, part, none] = totals.observed;
                format!("counties: {all} whole, {part} in part, {none} not at all")
            },
        },
    ]
}

pub(crate) fn coverage(totals: &Totals, counties: &[CountySummary<'_>]) -> Vec<Gap> {
    let total = totals.coverage.total();
    let row = |name: &'static str, words: &'static str, pixels: u64, counties: usize| Gap {
        name,
        words,
        pixels: words::grouped(pixels),
        share: words::percent_down(pixels, total),
        percent: crate::ground::round(pixels as f64 / total.max(1) as f64 * 100.0, 3),
        counties: words::grouped(counties as u64),
    };
    let seen = counties.iter().filter(|county| county.coverage.surveyed > 0).count();
    let mut rows = vec![row("surveyed", "compared", totals.coverage.surveyed, seen)];
    for GapReason { column, words, count } in GAP_REASONS {
        let touched = counties.iter().filter(|county| count(&county.coverage) > 0).count();
        rows.push(row(column, words, count(&totals.coverage), touched));
    }
    rows
}

pub(crate) fn county_row(county: &CountySummary<'_>) -> CountyRow {
    let years: Vec<String> = county.county.designated.iter().map(i32::to_string).collect();
    CountyRow {
        id: county.county.id.0.clone(),
        name: county.county.name.clone(),
        parent: county.county.parent.clone().unwrap_or_default(),
        status: match county.status {
            Status::Complete => "complete",
            Status::CompleteWithGaps if county.observed == Observed::None => "not observed",
            Status::CompleteWithGaps => "with gaps",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Pending => "pending",
            Status::Running => "running",
        },
        observed: match county.status {
            Status::Pending => "waiting",
            Status::Running => "working",
            _ => county.observed.as_str(),
        },
        href: None,
        unknown: if county.status.is_open() { "not yet" } else { "not observed" },
        percent: county.coverage_share().unwrap_or_default() * 100.0,
        coverage: words::percent_down(county.coverage.surveyed, county.coverage.total()),
        designated: years.join(", "),
        found: county.finds.as_ref().map(|finds| FoundCells {
            sites: finds.sites,
            factories: finds.count(SiteClass::Factory),
            expected: finds.factory_expected,
            expected_text: words::number(finds.factory_expected, 2),
            factory_ha: finds.factory_ha,
            factory_ha_text: words::hectares(finds.factory_ha),
            cropland_ha: finds.cropland_lost_ha,
            cropland_ha_text: words::hectares(finds.cropland_lost_ha),
        }),
        notes: county.notes.clone(),
    }
}

pub(crate) fn extended(counties: &[CountySummary<'_>]) -> Vec<ExtendedRow> {
    counties
        .iter()
        .filter_map(|county| county.result.map(|result| (county, result)))
        .flat_map(|(county, result)| {
            result.extended.iter().map(|extended| ExtendedRow {
                id: extended.id.clone(),
                county: county.county.name.clone(),
                area_ha: words::hectares(extended.area_ha),
                position: format!("{}, {}", words::number(extended.lat, 4), words::number(extended.lon, 4)),
            })
        })
        .collect()
}

pub(crate) fn scenes(plan: &SurveyPlan) -> Vec<SceneRow> {
    plan.scenes
        .iter()
        .enumerate()
        .map(|(index, scene)| {
            let before = plan.pairs.iter().any(|pair| pair.before as usize == index);
            let after = plan.pairs.iter().any(|pair| pair.after as usize == index);
            let bands: Vec<&str> = scene.bands.iter().map(|band| band.name.as_str()).collect();
            SceneRow {
                id: scene.id.0.clone(),
                acquired: scene.acquired.format("%Y-%m-%d %H:%M").to_string(),
                platform: scene.platform.clone().unwrap_or_default(),
                used: match (before, after) {
                    (true, true) => "before, after",
                    (true, false) => "before",
                    (false, true) => "after",
                    (false, false) => "not used",
                },
                gsd: format!("{} m", words::number(scene.gsd_m, 2)),
                off_nadir: scene.off_nadir_deg.map(|angle| format!("{}°", words::number(angle, 0))).unwrap_or_default(),
                cloud: scene.cloud_cover.map(|cloud| format!("{} %", words::number(cloud, 0))).unwrap_or_default(),
                bands: bands.join(", "),
            }
        })
        .collect()
}

fn provenance(input: &ReportInput<'_>) -> Vec<(&'static str, String)> {
    let plan = input.plan;
    vec![
        ("Survey", plan.survey.0.clone()),
        ("Spec (SHA-256)", plan.spec_hash.clone()),
        ("Groundbreak", survey::VERSION.to_owned()),
        ("Grid", format!("{}, {} m", plan.grid.crs, plan.grid.resolution_m)),
        ("Detector", plan.detector.name.clone()),
        ("Scene pairs", words::grouped(plan.pairs.len() as u64)),
    ]
}
