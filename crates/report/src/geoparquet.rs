//! Tables as GeoParquet 1.1: WKB in OGC:CRS84, a bounding box per row that readers may filter by.
//!
//! The `geo` metadata is written here rather than by a library because the bytes must be the same each time: nothing
//! in it comes from a hash map, a clock or a library's version.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    StructArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use chrono::NaiveDate;
use geo::{LineString, Polygon};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::error::ReportError;
use crate::geojson::{bounds, total_bounds};
use crate::tables::{Cells, Geometry, Table};

/// The table as a Parquet file.
///
/// # Errors
/// None in practice: writing to memory.
pub fn write(table: &Table) -> Result<Vec<u8>, ReportError> {
    let file = format!("{}.parquet", table.name);
    let encode = ReportError::encode(&file);
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in &table.columns {
        let array = array(&column.cells);
        fields.push(Field::new(column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let geometry: BinaryArray = table.geometry.iter().map(|geometry| Some(wkb(geometry))).collect();
    fields.push(Field::new("geometry", DataType::Binary, false));
    arrays.push(Arc::new(geometry));
    let boxes = boxes(table).map_err(|cause| encode(cause.to_string()))?;
    fields.push(Field::new("bbox", boxes.data_type().clone(), true));
    arrays.push(Arc::new(boxes));

    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|cause| encode(cause.to_string()))?;
    let properties = WriterProperties::builder()
        .set_created_by(format!("groundbreak {}", survey::VERSION))
        .set_compression(Compression::SNAPPY)
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, schema, Some(properties)).map_err(|cause| encode(cause.to_string()))?;
    writer.append_key_value_metadata(KeyValue::new("geo".to_owned(), metadata(table).to_string()));
    writer.write(&batch).map_err(|cause| encode(cause.to_string()))?;
    writer.close().map_err(|cause| encode(cause.to_string()))?;
    Ok(bytes)
}

/// The `geo` metadata. `crs` is left out: that means OGC:CRS84.
fn metadata(table: &Table) -> Value {
    let side = |name: &str| json!(["bbox", name]);
    let mut column = json!({
        "encoding": "WKB",
        "geometry_types": table.geometry_types,
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": { "bbox": { "xmin": side("xmin"), "ymin": side("ymin"), "xmax": side("xmax"), "ymax": side("ymax") } },
    });
    if let (Some(bounds), Some(column)) = (total_bounds(table), column.as_object_mut()) {
        column.insert("bbox".to_owned(), json!(bounds));
    }
    json!({ "version": "1.1.0", "primary_column": "geometry", "columns": { "geometry": column } })
}

fn array(cells: &Cells) -> ArrayRef {
    match cells {
        Cells::Text(cells) => Arc::new(StringArray::from_iter(cells.iter().map(Option::as_deref))),
        Cells::Whole(cells) => Arc::new(Int64Array::from(cells.clone())),
        Cells::Real(_, cells) => Arc::new(Float64Array::from(cells.clone())),
        Cells::Flag(cells) => Arc::new(BooleanArray::from(cells.clone())),
        Cells::Day(cells) => Arc::new(cells.iter().map(|day| day.map(days_since_1970)).collect::<Date32Array>()),
    }
}

fn days_since_1970(day: NaiveDate) -> i32 {
    const UNIX_EPOCH_FROM_CE: i32 = 719_163;
    chrono::Datelike::num_days_from_ce(&day) - UNIX_EPOCH_FROM_CE
}

fn boxes(table: &Table) -> Result<StructArray, ArrowError> {
    let bounds: Vec<Option<[f64; 4]>> = table.geometry.iter().map(bounds).collect();
    let side = |pick: fn(&[f64; 4]) -> f64| -> ArrayRef {
        Arc::new(bounds.iter().map(|bounds| bounds.as_ref().map(pick)).collect::<Float64Array>())
    };
    let fields: Fields =
        ["xmin", "ymin", "xmax", "ymax"].iter().map(|name| Field::new(*name, DataType::Float64, true)).collect();
    let sides = vec![
        side(|[west, ..]| *west),
        side(|[_, south, ..]| *south),
        side(|[.., east, _]| *east),
        side(|[.., north]| *north),
    ];
    StructArray::try_new(fields, sides, None)
}

/// A geometry as well-known binary, little-endian (OGC 06-103r4, 8.2).
fn wkb(geometry: &Geometry) -> Vec<u8> {
    const POLYGON: u32 = 3;
    const MULTI_POLYGON: u32 = 6;
    fn header(bytes: &mut Vec<u8>, kind: u32, count: usize) {
        bytes.push(1);
        bytes.extend(kind.to_le_bytes());
        bytes.extend((count as u32).to_le_bytes());
    }
    fn ring(bytes: &mut Vec<u8>, ring: &LineString<f64>) {
        bytes.extend((ring.0.len() as u32).to_le_bytes());
        for at in ring.coords() {
            bytes.extend(at.x.to_le_bytes());
            bytes.extend(at.y.to_le_bytes());
        }
    }
    fn polygon(bytes: &mut Vec<u8>, polygon: &Polygon<f64>) {
        header(bytes, POLYGON, 1 + polygon.interiors().len());
        ring(bytes, polygon.exterior());
        for interior in polygon.interiors() {
            ring(bytes, interior);
        }
    }
    let mut bytes = Vec::new();
    match geometry {
        Geometry::Polygon(one) => polygon(&mut bytes, one),
        Geometry::MultiPolygon(several) => {
            header(&mut bytes, MULTI_POLYGON, several.0.len());
            for one in several {
                polygon(&mut bytes, one);
            }
        }
    }
    bytes
}
