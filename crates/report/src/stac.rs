//! `items/<survey>.json`: the survey as a STAC 1.1 item with its results as assets.

use chrono::SecondsFormat;
use geo::{ConvexHull, Coord, LineString, MultiPolygon};
use serde_json::{Map, Value, json};
use survey::plan::SurveyPlan;

use crate::files::ResultFile;
use crate::geojson;
use crate::ground::{Ground, finite};
use crate::input::ReportInput;
use crate::manifest::pretty;
use crate::summary::{CountySummary, Totals, share};
use crate::tables::{Cells, Geometry, Table};

/// Points on each side of the item's outline, so that a side that is straight on the grid stays on its place.
const POINTS_PER_SIDE: u32 = 8;

/// Path of the item, relative to `results/`.
#[must_use]
pub fn path(plan: &SurveyPlan) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let name: String = plan.survey.0.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    format!("items/{name}.json")
}

/// The item. `files` are the results that it links to.
#[must_use]
pub(crate) fn write(
    input: &ReportInput<'_>,
    counties: &[CountySummary<'_>],
    ground: &Ground,
    tables: &[Table],
    files: &[ResultFile],
) -> Vec<u8> {
    let plan = input.plan;
    let (bbox, geometry) = outline(counties, ground);
    let (start, end) = period(input);
    let totals = Totals::of(counties);
    let mut properties = json!({
        "title": plan.name,
        "description": "Cropland that became construction sites, by county: sites with class and probability, building \
                        footprints, and what could not be observed.",
        "datetime": null,
        "start_datetime": start,
        "end_datetime": end,
        "processing:lineage": format!(
            "Scenes of two dates compared pixel by pixel on one grid ({}, {} m) with the detector `{}`; changed pixels \
             grouped into sites, sites classified by their buildings and surroundings.",
            plan.grid.crs, plan.grid.resolution_m, plan.detector.name
        ),
        "processing:software": { "groundbreak": survey::VERSION },
        "groundbreak:spec_hash": plan.spec_hash,
        "groundbreak:coverage": share(totals.coverage.surveyed, totals.coverage.total()),
        "groundbreak:scenes": plan.scenes.iter().map(|scene| scene.id.0.as_str()).collect::<Vec<_>>(),
    });
    if let Some(properties) = properties.as_object_mut() {
        projection(plan, properties);
    }
    let mut item = json!({
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
            "https://stac-extensions.github.io/table/v1.2.0/schema.json",
        ],
        "id": plan.survey,
        "geometry": geometry,
        "properties": properties,
        "links": [
            { "rel": "alternate", "href": "../report.html", "type": "text/html", "title": "The survey as a page" },
            { "rel": "about", "href": "../manifest.json", "type": "application/json", "title": "Digests of all results" },
        ],
        "assets": assets(tables, files),
    });
    if let (Some(bbox), Some(item)) = (bbox, item.as_object_mut()) {
        item.insert("bbox".to_owned(), json!(bbox));
    }
    pretty(&item)
}

/// Bounding box and convex hull of the counties.
fn outline(counties: &[CountySummary<'_>], ground: &Ground) -> (Option<[f64; 4]>, Value) {
    let all = MultiPolygon(counties.iter().flat_map(|county| finite(&county.county.border)).collect());
    let hull = all.convex_hull();
    let mut dense: Vec<Coord<f64>> = Vec::new();
    for line in hull.exterior().lines() {
        for step in 0..POINTS_PER_SIDE {
            let part = f64::from(step) / f64::from(POINTS_PER_SIDE);
            dense.push(Coord { x: line.start.x + line.dx() * part, y: line.start.y + line.dy() * part });
        }
    }
    let hull = MultiPolygon(vec![geo::Polygon::new(LineString(dense), Vec::new())]);
    let hull = match ground.border(&hull) {
        MultiPolygon(mut one) if one.len() == 1 => {
            one.pop().map_or(Geometry::MultiPolygon(MultiPolygon(vec![])), Geometry::Polygon)
        }
        several => Geometry::MultiPolygon(several),
    };
    (geojson::bounds(&hull), json!(geojson::geometry(&hull)))
}

/// First and last acquisition; the windows where there is no scene.
fn period(input: &ReportInput<'_>) -> (String, String) {
    let times = || input.plan.scenes.iter().map(|scene| scene.acquired);
    let written = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    (
        times().min().map_or_else(|| format!("{}T00:00:00Z", input.before.from), written),
        times().max().map_or_else(|| format!("{}T23:59:59Z", input.after.to), written),
    )
}

fn projection(plan: &SurveyPlan, properties: &mut Map<String, Value>) {
    let is_code = plan.grid.crs.to_ascii_uppercase().starts_with("EPSG:");
    properties
        .insert("proj:code".to_owned(), if is_code { json!(plan.grid.crs.to_ascii_uppercase()) } else { Value::Null });
    if !is_code {
        // A PROJ string has no place in the extension.
        properties.insert("groundbreak:proj4".to_owned(), json!(plan.grid.crs));
    }
    let Some(extent) = plan.extent() else { return };
    let (west, north) = plan.grid.corner(extent.rect.row0, extent.rect.col0);
    let (east, south) = plan.grid.corner(extent.rect.row1, extent.rect.col1);
    let side = plan.grid.resolution_m;
    properties.insert("proj:bbox".to_owned(), json!([west, south, east, north]));
    properties.insert("proj:shape".to_owned(), json!([extent.rect.rows(), extent.rect.cols()]));
    properties.insert("proj:transform".to_owned(), json!([side, 0.0, west, 0.0, -side, north]));
}

/// One asset per table and format, and the page. Chips have their columns in `sites`.
fn assets(tables: &[Table], files: &[ResultFile]) -> Map<String, Value> {
    let mut assets = Map::new();
    for file in files.iter().filter(|file| !file.path.starts_with("chips/")) {
        let Some((stem, extension)) = file.path.rsplit_once('.') else { continue };
        let (media_type, format) = match extension {
            "parquet" => ("application/vnd.apache.parquet", "GeoParquet"),
            "geojson" => ("application/geo+json", "GeoJSON"),
            "csv" => ("text/csv", "CSV"),
            _ => ("text/html", "page"),
        };
        let mut asset = json!({
            "href": format!("../{}", file.path),
            "type": media_type,
            "title": format!("{stem} ({format})"),
            "roles": if extension == "html" { json!(["overview"]) } else { json!(["data"]) },
            "file:size": file.length,
            "file:checksum": file.digest.to_multihash(),
        });
        let table = tables.iter().find(|table| table.name == stem && extension == "parquet");
        if let (Some(table), Some(asset)) = (table, asset.as_object_mut()) {
            asset.insert("table:primary_geometry".to_owned(), json!("geometry"));
            asset.insert("table:row_count".to_owned(), json!(table.geometry.len()));
            asset.insert("table:columns".to_owned(), columns(table));
        }
        assets.insert(format!("{stem}-{extension}"), asset);
    }
    assets
}

fn columns(table: &Table) -> Value {
    let described = table.columns.iter().map(|column| {
        let kind = match column.cells {
            Cells::Text(_) => "string",
            Cells::Whole(_) => "int64",
            Cells::Real(..) => "double",
            Cells::Flag(_) => "boolean",
            Cells::Day(_) => "date32",
        };
        json!({ "name": column.name, "type": kind, "description": column.meaning })
    });
    let geometry = json!({ "name": "geometry", "type": "binary", "description": "WKB, longitude and latitude." });
    let bbox = json!({ "name": "bbox", "type": "struct", "description": "Bounding box of the geometry." });
    described.chain([geometry, bbox]).collect()
}
