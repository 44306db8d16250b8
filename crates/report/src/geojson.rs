//! Tables as GeoJSON (RFC 7946): longitude and latitude, one feature per line.

use geo::{BoundingRect, LineString, MultiPolygon, Polygon};
use serde_json::{Map, Value, json};

use crate::tables::{Geometry, Table};

/// The table as a feature collection.
#[must_use]
pub fn write(table: &Table) -> Vec<u8> {
    let mut text = format!("{{\"type\":\"FeatureCollection\",\"name\":{},\"features\":[", Value::from(table.name));
    for (row, geometry) in table.geometry.iter().enumerate() {
        let properties: Map<String, Value> =
            table.columns.iter().map(|column| (column.name.to_owned(), column.cells.json(row))).collect();
        let feature = json!({ "type": "Feature", "properties": properties, "geometry": self::geometry(geometry) });
        text.push_str(if row == 0 { "\n" } else { ",\n" });
        text.push_str(&feature.to_string());
    }
    text.push_str("\n]}\n");
    text.into_bytes()
}

/// A geometry object; `null` for an empty one.
#[must_use]
pub fn geometry(geometry: &Geometry) -> Value {
    match geometry {
        Geometry::Polygon(polygon) => json!({ "type": "Polygon", "coordinates": rings(polygon) }),
        Geometry::MultiPolygon(MultiPolygon(polygons)) if polygons.is_empty() => Value::Null,
        Geometry::MultiPolygon(polygons) => {
            json!({ "type": "MultiPolygon", "coordinates": polygons.iter().map(rings).collect::<Vec<_>>() })
        }
    }
}

fn rings(polygon: &Polygon<f64>) -> Vec<Value> {
    let ring = |ring: &LineString<f64>| ring.coords().map(|at| json!([at.x, at.y])).collect::<Value>();
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
