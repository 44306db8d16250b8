//! Tables as GeoJSON (RFC 7946): longitude and latitude, one feature per line.

use geo::{BoundingRect, LineString, MultiPolygon, Polygon};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::ReportError;
use crate::tables::{Geometry, Table};

/// The table as a feature collection.
///
/// # Errors
/// None in practice: writing to memory.
pub fn write(table: &Table) -> Result<Vec<u8>, ReportError> {
    let file = format!("{}.geojson", table.name);
    let encode = |cause: serde_json::Error| ReportError::encode(&file)(cause.to_string());
    let mut text = Vec::new();
    text.extend_from_slice(br#"{"type":"FeatureCollection","name":"#);
    serde_json::to_writer(&mut text, table.name).map_err(encode)?;
    text.extend_from_slice(br#","features":["#);
    for (row, geometry) in table.geometry.iter().enumerate() {
        let properties = table.columns.iter().map(|column| (column.name.to_owned(), column.cells.json(row)));
        let feature = Feature { kind: "Feature", properties: properties.collect(), geometry: self::geometry(geometry) };
        text.extend_from_slice(if row == 0 { b"\n" } else { b",\n" });
        serde_json::to_writer(&mut text, &feature).map_err(encode)?;
    }
    text.extend_from_slice(b"\n]}\n");
    Ok(text)
}

/// A feature, as it is written.
#[derive(Serialize)]
struct Feature {
    #[serde(rename = "type")]
    kind: &'static str,
    properties: Map<String, Value>,
    geometry: Option<GeometryObject>,
}

/// Rings of a polygon, the exterior first.
type Rings = Vec<Vec<[f64; 2]>>;

/// A geometry object, as it is written.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "coordinates")]
pub enum GeometryObject {
    /// One polygon.
    Polygon(Rings),
    /// Several polygons.
    MultiPolygon(Vec<Rings>),
}

/// A geometry as an object; `None` for an empty one.
#[must_use]
pub fn geometry(geometry: &Geometry) -> Option<GeometryObject> {
    match geometry {
        Geometry::Polygon(polygon) => Some(GeometryObject::Polygon(rings(polygon))),
        Geometry::MultiPolygon(MultiPolygon(polygons)) if polygons.is_empty() => None,
        Geometry::MultiPolygon(polygons) => Some(GeometryObject::MultiPolygon(polygons.iter().map(rings).collect())),
    }
}

fn rings(polygon: &Polygon<f64>) -> Rings {
    let ring = |ring: &LineString<f64>| ring.coords().map(|at| [at.x, at.y]).collect();
    std::iter::once(polygon.exterior()).chain(polygon.interiors()).map(ring).collect()
}

/// West, south, east, north of a geometry.
#[must_use]
pub fn bounds(geometry: &Geometry) -> Option<[f64; 4]> {
    let rect = match geometry {
        Geometry::Polygon(polygon) => polygon.bounding_rect(),
        Geometry::MultiPolygon(polygons) => polygons.bounding_rect(),
    }?;
    Some([rect.min().x, rect.min().y, rect.max().x, rect.max().y])
}

/// The bounds of all rows of a table.
#[must_use]
pub fn total_bounds(table: &Table) -> Option<[f64; 4]> {
    table
        .geometry
        .iter()
        .filter_map(bounds)
        .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])])
}
