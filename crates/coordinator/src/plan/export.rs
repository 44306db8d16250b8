//! The plan as files that open elsewhere: tiles and scenes as GeoParquet and GeoJSON, counties as CSV, a summary.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use geo::{Coord, LineString, Polygon};
use imagery::crs::{Crs, Transformer};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use survey::county::CountyMap;
use survey::grid::{Grid, PixelRect};
use survey::plan::SurveyPlan;

use super::PlanError;
use super::cost::TileCost;
use super::memory::{self, Memory};

/// More tiles than this are written as GeoParquet only: as GeoJSON they would be no use to anybody.
const MAX_GEOJSON_TILES: usize = 50_000;

/// A file of the plan.
pub struct PlanFile {
    /// File name.
    pub name: &'static str,
    /// Contents.
    pub bytes: Bytes,
}

/// What a plan amounts to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PlanSummary {
    /// The survey's id.
    pub survey: String,
    /// Counties.
    pub counties: usize,
    /// Tiles.
    pub tiles: usize,
    /// Tiles that no scene pair covers.
    pub tiles_without_scenes: usize,
    /// Planned cells of 512 × 512 pixels.
    pub cells: usize,
    /// Planned pixels.
    pub pixels: u64,
    /// Scenes in use.
    pub scenes: usize,
    /// Scene pairs in use.
    pub pairs: usize,
    /// Bytes to fetch, estimated.
    pub fetch_bytes: u64,
    /// The largest memory that a job asks for, bytes.
    pub largest_job_bytes: u64,
    /// Which job that is.
    pub largest_job: Option<String>,
    /// Core-hours, estimated.
    pub core_hours: f64,
    /// CRS of the grid.
    pub crs: String,
    /// Resolution of the grid.
    pub resolution_m: f64,
    /// Side of a tile.
    pub tile_px: i32,
}

/// Summary and files of a plan.
///
/// # Errors
/// Where the grid's CRS cannot be turned back to longitude and latitude.
pub fn export(
    plan: &SurveyPlan,
    memory: &Memory,
    costs: &[TileCost],
    warnings: &[String],
) -> Result<(PlanSummary, Vec<PlanFile>), PlanError> {
    let geographic = Geographic::new(&plan.grid)?;
    let (largest_job_bytes, largest_job) = memory::largest(plan, memory, costs);
    let summary = PlanSummary {
        survey: plan.survey.to_string(),
        counties: plan.counties.len(),
        tiles: costs.len(),
        tiles_without_scenes: costs.iter().filter(|cost| cost.pairs.is_empty()).count(),
        cells: plan.cells.len(),
        pixels: costs.iter().map(|cost| cost.planned_px).sum(),
        scenes: plan.scenes.len(),
        pairs: plan.pairs.len(),
        fetch_bytes: costs.iter().map(|cost| cost.fetch_bytes).sum(),
        largest_job_bytes,
        largest_job: largest_job.map(|job| job.to_string()),
        core_hours: costs.iter().map(TileCost::core_seconds).sum::<f64>() / 3600.0,
        crs: plan.grid.crs.clone(),
        resolution_m: plan.grid.resolution_m,
        tile_px: plan.tile_px,
    };
    let mut files = vec![
        PlanFile { name: "plan.parquet", bytes: parquet(plan, costs, &geographic)? },
        PlanFile { name: "scenes.geojson", bytes: scenes(plan) },
        PlanFile { name: "counties.csv", bytes: counties(plan, costs)? },
    ];
    if costs.len() <= MAX_GEOJSON_TILES {
        files.push(PlanFile { name: "plan.geojson", bytes: geojson(plan, costs, &geographic) });
    }
    let mut document = serde_json::to_value(&summary).unwrap_or_default();
    document["warnings"] = json!(warnings);
    files.push(PlanFile { name: "plan.json", bytes: Bytes::from(format!("{document:#}\n")) });
    Ok((summary, files))
}

/// From the grid to longitude and latitude.
struct Geographic<'a> {
    grid: &'a Grid,
    to_lonlat: Transformer,
}

impl<'a> Geographic<'a> {
    fn new(grid: &'a Grid) -> Result<Self, PlanError> {
        let to_lonlat = Crs::parse(&grid.crs)
            .and_then(|from| Transformer::new(&from, &Crs::parse("EPSG:4326")?))
            .map_err(PlanError::input("grid.crs"))?;
        Ok(Self { grid, to_lonlat })
    }

    /// The corners of a rectangle, counter-clockwise from the south-west; a corner that has no longitude and latitude
    /// is left out.
    fn polygon(&self, rect: PixelRect) -> Polygon<f64> {
        let corners = [(rect.row1, rect.col0), (rect.row1, rect.col1), (rect.row0, rect.col1), (rect.row0, rect.col0)];
        let ring: Vec<Coord<f64>> = corners
            .into_iter()
            .filter_map(|(row, col)| {
                let (x, y) = self.grid.corner(row, col);
                let (lon, lat) = self.to_lonlat.apply(x, y)?;
                Some(Coord { x: (lon * 1e7).round() / 1e7, y: (lat * 1e7).round() / 1e7 })
            })
            .collect();
        Polygon::new(LineString(ring), vec![])
    }
}

fn scene_ids(plan: &SurveyPlan, cost: &TileCost) -> String {
    let mut ids: Vec<&str> = cost
        .pairs
        .iter()
        .filter_map(|&pair| plan.pairs.get(pair as usize))
        .flat_map(|pair| [pair.before, pair.after])
        .filter_map(|scene| plan.scenes.get(scene as usize))
        .map(|scene| scene.id.as_ref())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids.join(" ")
}

fn parquet(plan: &SurveyPlan, costs: &[TileCost], geographic: &Geographic<'_>) -> Result<Bytes, PlanError> {
    let failed = |error: &dyn std::fmt::Display| {
        PlanError::unfit("survey.output", format!("plan.parquet cannot be made ({error})"), "report this")
    };
    let shapes: Vec<Vec<u8>> = costs
        .iter()
        .map(|cost| {
            let mut wkb = Vec::new();
            wkb::writer::write_polygon(&mut wkb, &geographic.polygon(cost.rect), &wkb::writer::WriteOptions::default())
                .map_err(|error| failed(&error))?;
            Ok(wkb)
        })
        .collect::<Result<_, PlanError>>()?;
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let integers =
        |of: &dyn Fn(&TileCost) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(costs.iter().map(of))) };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("x", Arc::new(Int32Array::from_iter_values(costs.iter().map(|cost| cost.tile.x)))),
        ("y", Arc::new(Int32Array::from_iter_values(costs.iter().map(|cost| cost.tile.y)))),
        ("planned_px", integers(&|cost| signed(cost.planned_px))),
        ("pairs", integers(&|cost| cost.pairs.len() as i64)),
        ("scenes", Arc::new(StringArray::from_iter_values(costs.iter().map(|cost| scene_ids(plan, cost))))),
        ("fetch_bytes", integers(&|cost| signed(cost.fetch_bytes))),
        ("memory_bytes", integers(&|cost| signed(cost.memory_bytes))),
        ("core_seconds", Arc::new(Float64Array::from_iter_values(costs.iter().map(TileCost::core_seconds)))),
        ("geometry", Arc::new(BinaryArray::from_iter_values(shapes))),
    ];
    let batch = RecordBatch::try_from_iter(columns).map_err(|error| failed(&error))?;
    // Without a `crs` member the CRS is OGC:CRS84 (GeoParquet 1.1).
    let geo = json!({
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": { "geometry": { "encoding": "WKB", "geometry_types": ["Polygon"] } },
    });
    let properties = WriterProperties::builder()
        .set_created_by(format!("groundbreak {}", survey::VERSION))
        .set_compression(parquet::basic::Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![KeyValue::new("geo".to_owned(), geo.to_string())]))
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).map_err(|error| failed(&error))?;
    writer.write(&batch).map_err(|error| failed(&error))?;
    writer.close().map_err(|error| failed(&error))?;
    Ok(Bytes::from(bytes))
}

fn feature(geometry: geojson::GeometryValue, properties: Value) -> Value {
    json!({ "type": "Feature", "properties": properties, "geometry": geojson::Geometry::new(geometry) })
}

fn collection(features: &[Value]) -> Bytes {
    let lines: Vec<String> = features.iter().map(Value::to_string).collect();
    Bytes::from(format!("{{\"type\":\"FeatureCollection\",\"features\":[\n{}\n]}}\n", lines.join(",\n")))
}

fn geojson(plan: &SurveyPlan, costs: &[TileCost], geographic: &Geographic<'_>) -> Bytes {
    let features: Vec<Value> = costs
        .iter()
        .map(|cost| {
            feature(
                geojson::GeometryValue::from(&geographic.polygon(cost.rect)),
                json!({
                    "x": cost.tile.x, "y": cost.tile.y, "planned_px": cost.planned_px, "pairs": cost.pairs.len(),
                    "scenes": scene_ids(plan, cost), "fetch_bytes": cost.fetch_bytes, "memory_bytes": cost.memory_bytes,
                    "core_seconds": (cost.core_seconds() * 1000.0).round() / 1000.0,
                }),
            )
        })
        .collect();
    collection(&features)
}

fn scenes(plan: &SurveyPlan) -> Bytes {
    let mut roles: BTreeMap<u32, [bool; 2]> = BTreeMap::new();
    for pair in &plan.pairs {
        roles.entry(pair.before).or_default()[0] = true;
        roles.entry(pair.after).or_default()[1] = true;
    }
    let features: Vec<Value> = plan
        .scenes
        .iter()
        .enumerate()
        .map(|(index, scene)| {
            let [before, after] = roles.get(&(index as u32)).copied().unwrap_or_default();
            feature(
                geojson::GeometryValue::from(&scene.footprint),
                json!({
                    "id": scene.id, "acquired": scene.acquired.to_rfc3339(), "platform": scene.platform, "gsd_m": scene.gsd_m,
                    "off_nadir_deg": scene.off_nadir_deg, "cloud_cover": scene.cloud_cover, "before": before, "after": after,
                    "bands": scene.bands.iter().map(|band| band.name.as_str()).collect::<Vec<_>>().join(" "),
                    "bytes": scene.assets.iter().map(|asset| asset.size).sum::<Option<u64>>(),
                }),
            )
        })
        .collect();
    collection(&features)
}

fn counties(plan: &SurveyPlan, costs: &[TileCost]) -> Result<Bytes, PlanError> {
    let failed = |error: &dyn std::fmt::Display| {
        PlanError::unfit("survey.output", format!("counties.csv cannot be made ({error})"), "report this")
    };
    let map = CountyMap::new(&plan.grid, &plan.counties);
    let by_tile: BTreeMap<(i32, i32), &TileCost> =
        costs.iter().map(|cost| ((cost.tile.y, cost.tile.x), cost)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record([
            "county_id",
            "county_name",
            "parent",
            "designated_year",
            "tiles",
            "cells",
            "cells_without_scenes",
            "fetch_bytes",
            "notes",
        ])
        .map_err(|error| failed(&error))?;
    for (index, county) in plan.counties.iter().enumerate() {
        let cells = map.cells(index as u32, 0);
        let without =
            cells.iter().filter(|cell| plan.cell(**cell).is_none_or(|planned| planned.pairs.is_empty())).count();
        let mut tiles: Vec<(i32, i32)> = cells
            .iter()
            .flat_map(|cell| {
                let rect = cell.rect();
                let cols = rect.col0.div_euclid(plan.tile_px)..=(rect.col1 - 1).div_euclid(plan.tile_px);
                (rect.row0.div_euclid(plan.tile_px)..=(rect.row1 - 1).div_euclid(plan.tile_px))
                    .flat_map(move |y| cols.clone().map(move |x| (y, x)))
            })
            .collect();
        tiles.sort_unstable();
        tiles.dedup();
        let fetch: u64 = tiles.iter().filter_map(|tile| by_tile.get(tile)).map(|cost| cost.fetch_bytes).sum();
        let years: Vec<String> = county.designated.iter().map(i32::to_string).collect();
        writer
            .write_record([
                county.id.as_ref(),
                &county.name,
                county.parent.as_deref().unwrap_or_default(),
                &years.join(" "),
                &tiles.len().to_string(),
                &cells.len().to_string(),
                &without.to_string(),
                &fetch.to_string(),
                &county.notes.join("; "),
            ])
            .map_err(|error| failed(&error))?;
    }
    Ok(Bytes::from(writer.into_inner().map_err(|error| failed(&error))?))
}
