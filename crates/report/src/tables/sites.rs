//! `sites`: one row per site.

use rayon::prelude::*;
use survey::county::County;
use survey::result::{CountyResult, NearbyPlace, Site};

use super::{Columns, Geometry, Table, joined};
use crate::chips::SiteChips;
use crate::ground::{outline, round};
use crate::summary::CountySummary;

struct Row<'a> {
    county: &'a County,
    site: &'a Site,
    chips: SiteChips<'a>,
}

/// The table of sites, by county in the plan's order, then as the county has them.
#[must_use]
pub fn sites(counties: &[CountySummary<'_>]) -> Table {
    let rows: Vec<Row<'_>> = counties
        .iter()
        .filter_map(|summary| summary.result.map(|result| (summary.county, result)))
        .flat_map(|(county, result): (&County, &CountyResult)| {
            result.sites.iter().map(move |site| Row { county, site, chips: SiteChips::of(result, site) })
        })
        .collect();
    let columns = Columns::over(&rows)
        .text("site_id", "`<county>-<row>-<col>` of the site's first pixel on the survey's grid.", |row| {
            Some(&row.site.id)
        })
        .text("county_id", "The county that holds most of its pixels.", |row| Some(row.county.id.as_ref()))
        .text("county_name", "That county's name.", |row| Some(&row.county.name))
        .whole("pixels", "pixels", "Change pixels.", |row| Some(row.site.pixels))
        .real("area_ha", "ha", 4, "Ground area of the change pixels.", |row| Some(row.site.area_ha))
        .real("lon", "degrees", 7, "Longitude (WGS 84) of the centroid of the change pixels.", |row| Some(row.site.lon))
        .real("lat", "degrees", 7, "Latitude of it.", |row| Some(row.site.lat))
        .text("class", "The most probable class: `factory`, `residential`, `greenhouse` or `other`.", |row| {
            Some(row.site.class.as_str())
        })
        .real("p_factory", "probability", 4, "Probability of a factory; the four `p_` sum to 1.", |row| {
            Some(row.site.probabilities.factory)
        })
        .real(
            "p_factory_low",
            "probability",
            4,
            "Lower end of its 90 % interval: what the features' uncertainty makes of it.",
            |row| Some(row.site.factory_interval.0),
        )
        .real("p_factory_high", "probability", 4, "Upper end of it.", |row| Some(row.site.factory_interval.1))
        .real("p_residential", "probability", 4, "Probability of housing.", |row| {
            Some(row.site.probabilities.residential)
        })
        .real("p_greenhouse", "probability", 4, "Probability of a greenhouse farm.", |row| {
            Some(row.site.probabilities.greenhouse)
        })
        .real("p_other", "probability", 4, "Probability of anything else.", |row| Some(row.site.probabilities.other))
        .text(
            "before_cover",
            "Land cover before: `cropland`, `woodland`, `bare`, `water`, `built` or `unknown`.",
            |row| Some(row.site.before_cover.as_str()),
        )
        .real("before_cover_share", "fraction", 4, "Share of the site that had it.", |row| {
            Some(row.site.before_cover_share)
        })
        .text("after_cover", "Land cover after.", |row| Some(row.site.after_cover.as_str()))
        .text(
            "phase",
            "Phase of construction: `ground_works` (cleared, no building), `frames` (walls or frames without roofs), \
             `roofed`, or `none` (nothing is being built, or it can't be said).",
            |row| Some(row.site.phase.as_str()),
        )
        .whole("building_count", "buildings", "Building footprints in the later scene.", |row| {
            Some(row.site.footprints.len() as u64)
        })
        .real("largest_building_m2", "m²", 1, "Ground area of the largest; NULL without buildings.", |row| {
            row.site.footprints.iter().map(|footprint| footprint.area_m2).reduce(f64::max)
        })
        .real("building_area_m2", "m²", 1, "Ground area of all of them.", |row| {
            Some(row.site.footprints.iter().map(|footprint| footprint.area_m2).sum())
        })
        .real("elongation", "ratio", 2, "Length / width of the site's smallest enclosing rectangle.", |row| {
            Some(row.site.elongation)
        })
        .real(
            "building_elongation",
            "ratio",
            2,
            "Median length / width of the buildings, weighted by area; NULL without buildings.",
            |row| (!row.site.footprints.is_empty()).then_some(row.site.building_elongation),
        );
    let columns = near(columns, STATION, |site| site.station.as_ref());
    let columns = columns.real("road_km", "km", 3, "Ground distance to the nearest road of the context.", |row| {
        row.site.road.as_ref().map(|road| road.distance_km)
    });
    let columns = near(columns, TOWN, |site| site.town.as_ref());
    let columns = near(columns, FACILITY, |site| site.facility.as_ref());
    let columns = near(columns, GREENHOUSE, |site| site.greenhouse.as_ref());
    let columns = columns
        .day("before_from", "First day of the earlier scenes that saw the site.", |row| row.site.before.from)
        .day("before_to", "Last day of them.", |row| row.site.before.to)
        .day("after_from", "First day of the later scenes that saw it.", |row| row.site.after.from)
        .day("after_to", "Last day of them.", |row| row.site.after.to)
        .year("designated_year", "First year in which the county was designated; NULL if never.", |row| {
            row.county.designated.first().copied()
        })
        .flag(
            "truncated",
            "The site touches the edge of the planned area or a failed tile, and may go on there.",
            |row| row.site.truncated,
        )
        .text("summary", "The site in one sentence.", |row| Some(&row.site.summary))
        .words(
            "reasons",
            "What spoke for a factory and against it, largest first, with the contribution to the log-odds; separated \
             by `; `.",
            |row| {
                joined(
                    row.site
                        .reasons
                        .iter()
                        .map(|reason| format!("{} ({:+.2})", reason.text, positive(reason.log_odds))),
                )
            },
        )
        .words("scenes", "Ids of the scenes that saw it, earlier then later, separated by `; `.", |row| {
            joined(&row.site.scenes)
        })
        .words("chip_before", "Image before, under `results/`.", |row| row.chips.before_path())
        .words("chip_after", "Image after, the same ground.", |row| row.chips.after_path())
        .words("features", "Further features as a JSON object, 4 decimals.", |row| features(row.site))
        .words("notes", "Where the footprints' scale came from, and other remarks; separated by `; `.", |row| {
            joined(&row.site.notes)
        })
        .columns;
    Table {
        name: "sites",
        columns,
        geometry: rows.par_iter().map(|row| Geometry::MultiPolygon(outline(&row.site.outline))).collect(),
        geometry_types: &["MultiPolygon"],
    }
}

/// Name and meaning of three columns about a nearby place.
type Near = [(&'static str, &'static str); 3];

const STATION: Near = [
    ("station_name", "Nearest railway station of the context; NULL without one, or where it has no name."),
    ("station_km", "Ground distance from the site to it."),
    ("station_bearing", "Where the site lies as seen from it: `SW` means that the site is south-west of the station."),
];
const TOWN: Near = [
    ("town_name", "Nearest town of the context."),
    ("town_km", "Ground distance to it."),
    ("town_bearing", "Where the site lies as seen from it."),
];
const FACILITY: Near = [
    ("facility_name", "Nearest known facility (factory, mine, port) of the context."),
    ("facility_km", "Ground distance to it."),
    ("facility_bearing", "Where the site lies as seen from it."),
];
const GREENHOUSE: Near = [
    ("greenhouse_name", "Nearest known greenhouse farm of the context."),
    ("greenhouse_km", "Ground distance to it."),
    ("greenhouse_bearing", "Where the site lies as seen from it."),
];

fn near<'r, 'a>(
    columns: Columns<'r, Row<'a>>,
    [name, km, bearing]: Near,
    place: fn(&Site) -> Option<&NearbyPlace>,
) -> Columns<'r, Row<'a>> {
    columns
        .words(name.0, name.1, move |row| place(row.site).and_then(|place| place.name.clone()))
        .real(km.0, "km", 3, km.1, move |row| place(row.site).map(|place| place.distance_km))
        .words(bearing.0, bearing.1, move |row| place(row.site).map(|place| place.bearing.clone()))
}

fn features(site: &Site) -> Option<String> {
    let rounded: serde_json::Map<String, serde_json::Value> = site
        .features
        .iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.clone(), round(*value, 4).into()))
        .collect();
    (!rounded.is_empty()).then(|| serde_json::Value::Object(rounded).to_string())
}

/// A number that prints without the sign of a negative zero.
fn positive(value: f64) -> f64 {
    round(value, 2)
}
