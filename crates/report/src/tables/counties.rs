//! `counties`: one row per county.

use survey::result::SiteClass;

use super::{Columns, Geometry, Table, joined};
use crate::ground::Ground;
use crate::summary::{CountySummary, Finds};

/// The table of counties, in the plan's order.
#[must_use]
pub fn counties(counties: &[CountySummary<'_>], ground: &Ground) -> Table {
    let found = |value: fn(&Finds) -> f64| move |row: &CountySummary<'_>| row.finds.as_ref().map(value);
    let count = |class: SiteClass| move |row: &CountySummary<'_>| row.finds.as_ref().map(|finds| finds.count(class));
    let columns = Columns::over(counties)
        .text("county_id", "Id of the county, as its source has it.", |row| Some(row.county.id.as_ref()))
        .text("county_name", "Name of the county; its id where the source has none.", |row| Some(&row.county.name))
        .text("parent", "What the county is part of (province), where the source says so.", |row| {
            row.county.parent.as_deref()
        })
        .text(
            "status",
            "`complete`: each pixel was compared. `complete-with-gaps`: some or all were not, each counted by reason. \
             `failed`: no result, `notes` says why. `cancelled`: the survey was stopped.",
            |row| Some(row.status.as_str()),
        )
        .text(
            "observed",
            "How much of the county was compared: `all`, `part` or `none`. Where it is `none`, nothing was looked at, \
             and every column about what was found is NULL, never 0.",
            |row| Some(row.observed.as_str()),
        )
        .real(
            "coverage",
            "fraction",
            6,
            "`surveyed_px` / `pixels`, rounded down, so that 1 means all of them; NULL where the county holds no pixel.",
            CountySummary::coverage_share,
        )
        .whole("pixels", "pixels", "Pixels of the survey's grid whose centre the county owns.", |row| {
            Some(row.coverage.total())
        })
        .whole(
            "surveyed_px",
            "pixels",
            "Pixels that were compared. `surveyed_px` and the five `gap_` columns add up to `pixels` exactly.",
            |row| Some(row.coverage.surveyed),
        )
        .whole("gap_no_scene", "pixels", "Pixels that no scene pair covers.", |row| Some(row.coverage.no_scene))
        .whole("gap_cloud", "pixels", "Pixels under cloud or its shadow in each pair.", |row| Some(row.coverage.cloud))
        .whole("gap_nodata", "pixels", "Pixels without data in each pair.", |row| Some(row.coverage.nodata))
        .whole("gap_unreadable", "pixels", "Pixels in blocks of files that could not be read.", |row| {
            Some(row.coverage.unreadable)
        })
        .whole(
            "gap_failed_job",
            "pixels",
            "Pixels of tiles whose job failed for good; all pixels of a county that failed or was cancelled.",
            |row| Some(row.coverage.failed_job),
        )
        .real(
            "area_ha",
            "ha",
            2,
            "Ground area of the county's pixels; NULL without a result.",
            |row| row.hectares(row.coverage.total()),
        )
        .whole(
            "site_count",
            "sites",
            "Sites of all classes; NULL where nothing was observed. Where `observed` is `part`, the part that was seen.",
            |row| row.finds.as_ref().map(|finds| finds.sites),
        )
        .whole("factory_count", "sites", "Sites whose most probable class is `factory`.", count(SiteClass::Factory))
        .whole("residential_count", "sites", "Sites of class `residential`.", count(SiteClass::Residential))
        .whole("greenhouse_count", "sites", "Sites of class `greenhouse`.", count(SiteClass::Greenhouse))
        .whole("other_count", "sites", "Sites of class `other`.", count(SiteClass::Other))
        .real(
            "factory_expected",
            "sites",
            4,
            "Expected number of factories: sum of `p_factory` over all sites.",
            found(|finds| finds.factory_expected),
        )
        .real(
            "changed_ha",
            "ha",
            4,
            "Ground whose spectral score lies above its scene pair's threshold: whatever changed there, harvest, fire, \
             flood or construction.",
            found(|finds| finds.changed_ha),
        )
        .real(
            "construction_ha",
            "ha",
            4,
            "Ground with evidence of construction, in sites, in extended change, or in pieces too small for a site.",
            found(|finds| finds.construction_ha),
        )
        .real("factory_ha", "ha", 4, "Area of the sites of class `factory`.", found(|finds| finds.factory_ha))
        .real(
            "cropland_lost_ha",
            "ha",
            4,
            "Cropland that construction took: `area_ha` × `before_cover_share` over sites that were `cropland` and are \
             of class `factory` or `residential`, or `other` with a `phase`. Greenhouses are not counted.",
            found(|finds| finds.cropland_lost_ha),
        )
        .real(
            "extended_change_ha",
            "ha",
            4,
            "Changed areas that are too large to be a site (floods, burn scars).",
            found(|finds| finds.extended_change_ha),
        )
        .year("designated_year", "First year in which the county was designated; NULL if never.", |row| {
            row.county.designated.first().copied()
        })
        .words("designated_years", "All years in which it was designated, separated by `; `.", |row| {
            joined(row.county.designated.iter().map(i32::to_string))
        })
        .words(
            "notes",
            "Why it failed or was not observed, repaired borders, unreadable files, quality of scene pairs; separated \
             by `; `.",
            |row| joined(&row.notes),
        )
        .columns;
    Table {
        name: "counties",
        columns,
        geometry: counties.iter().map(|row| Geometry::MultiPolygon(ground.border(&row.county.border))).collect(),
        geometry_types: &["MultiPolygon"],
    }
}
