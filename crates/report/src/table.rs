//! The same figures for a terminal.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use survey::result::SiteClass;

use crate::page::words::{grouped, number, percent_down};
use crate::summary::{CountySummary, Observed, Status, Totals, gap_words};

/// The counties as a text table: those with factories first, then in the plan's order. `width` is the terminal's, if
/// there is one; at most `limit` counties are listed, and a line says how many more there are.
#[must_use]
pub fn counties(counties: &[CountySummary<'_>], width: Option<u16>, limit: usize) -> String {
    let mut order: Vec<&CountySummary<'_>> = counties.iter().collect();
    let weight = |county: &CountySummary<'_>| county.finds.as_ref().map_or(-1.0, |finds| finds.factory_expected);
    order.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header([
        "county",
        "name",
        "coverage",
        "sites",
        "factories",
        "expected",
        "factory ha",
        "cropland lost ha",
        "remark",
    ]);
    for county in order.iter().take(limit) {
        let [sites, factories, expected, factory_ha, cropland] = figures(county);
        table.add_row([
            Cell::new(printable(county.county.id.as_ref())),
            Cell::new(printable(&county.county.name)),
            right(percent_down(county.coverage.surveyed, county.coverage.total())),
            right(sites),
            right(factories),
            right(expected),
            right(factory_ha),
            right(cropland),
            Cell::new(printable(&remark(county))),
        ]);
    }
    let mut text = table.to_string();
    text.push('\n');
    if let Some(more) = counties.len().checked_sub(limit).filter(|more| *more > 0) {
        text.push_str(&format!("… and {} more in counties.csv\n", grouped(more as u64)));
    }
    text.push_str(&totals(&Totals::of(counties)));
    text
}

fn figures(county: &CountySummary<'_>) -> [String; 5] {
    match &county.finds {
        Some(finds) => [
            finds.sites.to_string(),
            finds.count(SiteClass::Factory).to_string(),
            number(finds.factory_expected, 1),
            number(finds.factory_ha, 1),
            number(finds.cropland_lost_ha, 1),
        ],
        // Not a nought: nobody looked.
        None => std::array::from_fn(|_| "?".to_owned()),
    }
}

/// Most letters of a remark; `counties.csv` has all of it.
const REMARK_LETTERS: usize = 72;

fn remark(county: &CountySummary<'_>) -> String {
    let whole = match (county.status, county.observed) {
        (Status::Failed | Status::Cancelled, _) | (_, Observed::None) => {
            county.notes.first().cloned().unwrap_or_default()
        }
        (_, Observed::Part) => format!("gaps: {}", gap_words(&county.coverage)),
        (_, Observed::All) => String::new(),
    };
    match whole.char_indices().nth(REMARK_LETTERS) {
        Some((end, _)) => format!("{}…", whole.get(..end).unwrap_or_default()),
        None => whole,
    }
}

fn totals(totals: &Totals) -> String {
    let [all, part, none] = totals.observed;
    let finds = &totals.finds;
    format!(
        "{} counties: {all} seen whole, {part} in part, {none} not at all; {} of the ground compared.\n\
         {} sites, {} of them factories ({} expected), {} ha of factory sites, {} ha of cropland lost to construction.\n",
        grouped(totals.counties),
        percent_down(totals.coverage.surveyed, totals.coverage.total()),
        grouped(finds.sites),
        grouped(finds.count(SiteClass::Factory)),
        number(finds.factory_expected, 1),
        number(finds.factory_ha, 1),
        number(finds.cropland_lost_ha, 1),
    )
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// A stranger's text without control characters: a county's name must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
