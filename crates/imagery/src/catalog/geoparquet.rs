//! stac-geoparquet: a table of items. Rows become JSON items again, so that one reader serves all kinds of catalog.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, BinaryArray, LargeBinaryArray, RecordBatch, make_array};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value, json};

use super::footprint;
use crate::error::ImageryError;

/// Rows that a table may have.
const MAX_ROWS: i64 = 1_000_000;
/// Bytes that a table may have once it is decompressed.
const MAX_BYTES: i64 = 4 << 30;

/// Columns of a row that are fields of the item; all others are its properties.
const ITEM: [&str; 8] = ["type", "stac_version", "stac_extensions", "id", "bbox", "links", "assets", "collection"];

/// The items of a table.
///
/// # Errors
/// [`ImageryError::Corrupt`] for what is no Parquet file, [`ImageryError::Document`] for a table that is no
/// stac-geoparquet.
pub(super) async fn items(bytes: Bytes, href: String) -> Result<Vec<Value>, ImageryError> {
    let label = href.clone();
    // On a thread of its own, where a bug of the decoder on hostile bytes ends this file and not the process.
    let read = tokio::task::spawn_blocking(move || rows(bytes, &href)).await;
    read.unwrap_or_else(|_| {
        Err(ImageryError::Corrupt { href: label, cause: "this Parquet file cannot be decoded".into() })
    })
}

fn rows(bytes: Bytes, href: &str) -> Result<Vec<Value>, ImageryError> {
    let corrupt = |error: &dyn std::fmt::Display| ImageryError::Corrupt {
        href: href.to_owned(),
        cause: format!("this Parquet file cannot be read: {error}"),
    };
    let document = |cause: &str| ImageryError::Document {
        href: href.to_owned(),
        cause: cause.to_owned(),
        mend: "give a stac-geoparquet file (an item a row, geometry as WKB)".into(),
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| corrupt(&error))?;
    let metadata = builder.metadata();
    let unpacked: i64 =
        metadata.row_groups().iter().map(|group| group.total_byte_size().max(0)).fold(0, i64::saturating_add);
    if metadata.file_metadata().num_rows() > MAX_ROWS || unpacked > MAX_BYTES {
        return Err(document("it is larger than 1,000,000 items or 4 GiB; split it"));
    }
    for column in ["id", "geometry", "assets"] {
        if builder.schema().column_with_name(column).is_none() {
            return Err(document(&format!("it has no column `{column}`")));
        }
    }
    let reader = builder.with_batch_size(256).build().map_err(|error| corrupt(&error))?;
    let mut items = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| corrupt(&error))?;
        let geometry =
            batch.column_by_name("geometry").cloned().ok_or_else(|| document("it has no column `geometry`"))?;
        for (index, row) in json_rows(&batch).map_err(|error| corrupt(&error))?.into_iter().enumerate() {
            items.push(item(row, wkb(&geometry, index)));
        }
    }
    Ok(items)
}

/// The rows of a batch as JSON objects, without the columns that JSON has no words for.
fn json_rows(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>, Box<dyn std::error::Error>> {
    let kept: Vec<usize> = batch
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name() != "geometry" && !is_binary(field.data_type()))
        .map(|(index, _)| index)
        .collect();
    let batch = batch.project(&kept)?;
    // A column of nulls has a type that the writer may not know; it says nothing anyway.
    let known: Vec<usize> =
        (0..batch.num_columns()).filter(|&index| *batch.column(index).data_type() != DataType::Null).collect();
    let batch = in_utc(&batch.project(&known)?)?;
    let mut lines = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut lines);
    writer.write(&batch)?;
    writer.finish()?;
    Ok(std::str::from_utf8(&lines)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The same instants under a zone that JSON can be written in without a table of zones: an Arrow time is UTC whatever zone it
/// is shown in.
fn in_utc(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> =
        batch.columns().iter().map(|column| data_in_utc(column.to_data()).map(make_array)).collect::<Result<_, _>>()?;
    let schema = Schema::new(fields_in_utc(batch.schema().fields()));
    RecordBatch::try_new(Arc::new(schema), columns)
}

fn data_in_utc(data: ArrayData) -> Result<ArrayData, ArrowError> {
    let data_type = type_in_utc(data.data_type());
    if data_type == *data.data_type() {
        return Ok(data);
    }
    let children = data.child_data().iter().cloned().map(data_in_utc).collect::<Result<_, _>>()?;
    data.into_builder().data_type(data_type).child_data(children).build()
}

fn fields_in_utc(fields: &Fields) -> Fields {
    fields.iter().map(|field| field_in_utc(field)).collect()
}

fn field_in_utc(field: &Field) -> Arc<Field> {
    Arc::new(field.clone().with_data_type(type_in_utc(field.data_type())))
}

fn type_in_utc(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::Struct(fields) => DataType::Struct(fields_in_utc(fields)),
        DataType::List(field) => DataType::List(field_in_utc(field)),
        DataType::LargeList(field) => DataType::LargeList(field_in_utc(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(field_in_utc(field), *size),
        DataType::Map(field, sorted) => DataType::Map(field_in_utc(field), *sorted),
        other => other.clone(),
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

fn wkb(geometry: &ArrayRef, row: usize) -> Option<Vec<u8>> {
    if geometry.is_null(row) {
        return None;
    }
    let any = geometry.as_any();
    any.downcast_ref::<BinaryArray>()
        .map(|array| array.value(row).to_vec())
        .or_else(|| any.downcast_ref::<LargeBinaryArray>().map(|array| array.value(row).to_vec()))
}

/// The item of a row.
fn item(row: Map<String, Value>, wkb: Option<Vec<u8>>) -> Value {
    let (mut item, mut properties) = (Map::new(), Map::new());
    for (key, mut value) in row {
        without_nulls(&mut value);
        if key == "properties" {
            // Some writers keep them nested.
            if let Value::Object(nested) = value {
                properties.extend(nested);
            }
        } else if ITEM.contains(&key.as_str()) {
            item.insert(key, value);
        } else if !value.is_null() {
            properties.insert(key, value);
        }
    }
    let geometry = match wkb.as_deref().map(footprint::from_wkb) {
        Some(Ok(polygons)) => {
            let ring =
                |ring: &geo::LineString<f64>| ring.0.iter().map(|point| json!([point.x, point.y])).collect::<Vec<_>>();
            let coordinates: Vec<Value> = polygons
                .0
                .iter()
                .map(|polygon| {
                    let mut rings = vec![ring(polygon.exterior())];
                    rings.extend(polygon.interiors().iter().map(ring));
                    json!(rings)
                })
                .collect();
            json!({"type": "MultiPolygon", "coordinates": coordinates})
        }
        // Without coordinates, so that it is refused by its kind.
        _ => wkb.as_deref().and_then(footprint::other_kind).map_or(Value::Null, |kind| json!({"type": kind})),
    };
    item.insert("geometry".into(), geometry);
    item.insert("properties".into(), Value::Object(properties));
    Value::Object(item)
}

/// Takes out what a table adds: fields that other rows have and this one lacks.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(without_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use survey::failure::FailureClass;

    use super::*;

    #[tokio::test]
    async fn a_broken_table_is_an_error_that_names_it() {
        for bytes in [&b"PAR1"[..], b"PAR1PAR1", b"PAR1\xff\xff\xff\xff\xff\xff\xff\x7fPAR1"] {
            let error = items(Bytes::from_static(bytes), "/data/t.parquet".into()).await.unwrap_err();
            assert!(error.to_string().contains("/data/t.parquet"), "{error}");
            assert_eq!(error.class(), FailureClass::BadInput);
        }
    }
}
