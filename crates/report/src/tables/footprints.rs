//! `footprints`: one row per building of a site.

use geo::{Centroid, MultiPolygon};
use survey::result::{Footprint, Site};

use super::{Columns, Geometry, Table};
use crate::ground::outline;
use crate::summary::CountySummary;

struct Row<'a> {
    site: &'a Site,
    footprint: &'a Footprint,
    outline: MultiPolygon<f64>,
}

/// The table of building footprints, by site in the order of the sites, then largest first.
#[must_use]
pub fn footprints(counties: &[CountySummary<'_>]) -> Table {
    let rows: Vec<Row<'_>> = counties
        .iter()
        .flat_map(CountySummary::sites)
        .flat_map(|site| {
            site.footprints.iter().map(move |footprint| Row {
                site,
                footprint,
                outline: outline(&MultiPolygon(vec![footprint.outline.clone()])),
            })
        })
        .collect();
    let columns = Columns::over(&rows)
        .text("footprint_id", "`<site>-b<n>`, from 1, largest first.", |row| Some(&row.footprint.id))
        .text("site_id", "The site.", |row| Some(&row.site.id))
        .text("county_id", "The site's county.", |row| Some(row.site.county.as_ref()))
        .text("class", "The site's class.", |row| Some(row.site.class.as_str()))
        .real("lon", "degrees", 7, "Longitude (WGS 84) of the centroid.", |row| row.outline.centroid().map(|at| at.x()))
        .real("lat", "degrees", 7, "Latitude of it.", |row| row.outline.centroid().map(|at| at.y()))
        .real("area_m2", "m²", 1, "Ground area.", |row| Some(row.footprint.area_m2))
        .real("length_m", "m", 2, "Long side of the smallest enclosing rectangle.", |row| Some(row.footprint.length_m))
        .real("width_m", "m", 2, "Short side of it.", |row| Some(row.footprint.width_m))
        .real("elongation", "ratio", 2, "`length_m` / `width_m`.", |row| {
            Some(row.footprint.length_m / row.footprint.width_m)
        })
        .real("azimuth_deg", "degrees", 1, "Direction of the long side, clockwise from north, 0 ≤ d < 180.", |row| {
            // 179.97 must not be rounded to 180.
            Some(crate::ground::round(row.footprint.azimuth_deg, 1) % 180.0)
        })
        .real("rectangularity", "fraction", 3, "Area / (length × width): 1 for a rectangle.", |row| {
            Some(row.footprint.rectangularity)
        })
        .columns;
    let geometry = rows
        .iter()
        .map(|row| match row.outline.0.as_slice() {
            [one] => Geometry::Polygon(one.clone()),
            several => Geometry::MultiPolygon(MultiPolygon(several.to_vec())),
        })
        .collect();
    Table { name: "footprints", columns, geometry, geometry_types: &["Polygon", "MultiPolygon"] }
}
