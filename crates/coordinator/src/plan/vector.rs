//! Vector layers: GeoJSON and GeoParquet files, read whole, in the CRS that they declare.

use bytes::Bytes;
use geo::Geometry;
use geo_traits::to_geo::ToGeoGeometry;
use imagery::ImageryError;
use imagery::crs::Crs;
use imagery::store::Stores;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

/// The largest vector file that is read.
const MAX_BYTES: u64 = 4 << 30;

/// A layer: features in one CRS.
pub struct Layer {
    /// What the file declares, WGS 84 where it declares nothing.
    pub crs: Crs,
    /// Whether the file itself declared the CRS.
    pub declared: bool,
    /// The features in file order.
    pub features: Vec<Feature>,
}

/// A feature.
pub struct Feature {
    /// Its properties.
    pub properties: Map<String, Value>,
    /// Its geometry, where it has one.
    pub geometry: Option<Geometry<f64>>,
}

impl Feature {
    /// A property as text: strings as they are, numbers and booleans as JSON writes them; `None` where it is absent,
    /// null or empty.
    pub fn text(&self, property: &str) -> Option<String> {
        match self.properties.get(property)? {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }
}

/// Reads a layer. `crs` overrides what the file declares.
///
/// # Errors
/// [`ImageryError`] where the file cannot be had, is neither GeoJSON nor GeoParquet, or declares a CRS that is unknown.
pub async fn read(stores: &Stores, href: &str, crs: Option<&str>) -> Result<Layer, ImageryError> {
    let url = stores.resolve(href)?;
    let bytes = stores.file(&url)?.all(MAX_BYTES).await?;
    let mut layer = if bytes.starts_with(b"PAR1") { geoparquet(&url, bytes)? } else { geojson(&url, &bytes)? };
    if let Some(crs) = crs {
        layer.crs = Crs::parse(crs)?;
        layer.declared = true;
    }
    Ok(layer)
}

fn refused(href: &str, cause: impl Into<String>) -> ImageryError {
    ImageryError::Document {
        href: href.to_owned(),
        cause: cause.into(),
        mend: "give GeoJSON, or GeoParquet with WKB geometry".to_owned(),
    }
}

fn geojson(href: &str, bytes: &[u8]) -> Result<Layer, ImageryError> {
    let text = std::str::from_utf8(bytes).map_err(|_| refused(href, "it is neither GeoParquet nor UTF-8 text"))?;
    let document: geojson::GeoJson = text
        .trim_start_matches('\u{feff}')
        .parse()
        .map_err(|error| refused(href, format!("it is not GeoJSON ({error})")))?;
    let geojson::GeoJson::FeatureCollection(collection) = document else {
        return Err(refused(href, "it is not a FeatureCollection"));
    };
    let declared =
        collection.foreign_members.as_ref().and_then(|members| members.get("crs")).filter(|crs| !crs.is_null());
    let crs = match declared {
        // RFC 7946 knows WGS 84 only; the `crs` member of the older GeoJSON 2008 is still common.
        Some(crs) => {
            let name = crs
                .pointer("/properties/name")
                .and_then(Value::as_str)
                .ok_or_else(|| refused(href, format!("its `crs` member names no CRS: {crs}")))?;
            named_crs(name)?
        }
        None => Crs::parse("EPSG:4326")?,
    };
    let features = collection
        .features
        .into_iter()
        .enumerate()
        .map(|(index, feature)| {
            let geometry = feature
                .geometry
                .map(|geometry| {
                    Geometry::<f64>::try_from(geometry)
                        .map_err(|error| refused(href, format!("feature {index}: {error}")))
                })
                .transpose()?;
            Ok(Feature { properties: feature.properties.unwrap_or_default(), geometry })
        })
        .collect::<Result<_, ImageryError>>()?;
    Ok(Layer { crs, declared: declared.is_some(), features })
}

/// `EPSG:5179`, `urn:ogc:def:crs:EPSG::5179`, `urn:ogc:def:crs:OGC:1.3:CRS84`, `http://www.opengis.net/def/crs/EPSG/0/5179`.
fn named_crs(name: &str) -> Result<Crs, ImageryError> {
    let last = name.rsplit([':', '/']).next().unwrap_or_default();
    if name.to_ascii_uppercase().contains("CRS84") {
        return Crs::parse("EPSG:4326");
    }
    if name.starts_with("urn:") || name.starts_with("http") {
        return Crs::parse(&format!("EPSG:{last}"));
    }
    Crs::parse(name)
}

fn geoparquet(href: &str, bytes: Bytes) -> Result<Layer, ImageryError> {
    let broken =
        |error: &dyn std::fmt::Display| ImageryError::Corrupt { href: href.to_owned(), cause: error.to_string() };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| broken(&error))?;
    let metadata = geoparquet::metadata::GeoParquetMetadata::from_parquet_meta(builder.metadata().file_metadata())
        .ok_or_else(|| refused(href, "it is Parquet without `geo` metadata"))?
        .map_err(|error| broken(&error))?;
    let primary = metadata.primary_column.clone();
    let column = metadata
        .columns
        .get(&primary)
        .ok_or_else(|| refused(href, format!("its `geo` metadata does not describe the primary column `{primary}`")))?;
    let declared = column.crs.as_ref().filter(|crs| !crs.is_null());
    let crs = match declared {
        Some(projjson) => projjson_crs(href, projjson)?,
        None => Crs::parse("EPSG:4326")?,
    };
    let mut features = Vec::new();
    for batch in builder.build().map_err(|error| broken(&error))? {
        let batch = batch.map_err(|error| broken(&error))?;
        let geometry = batch
            .column_by_name(&primary)
            .ok_or_else(|| refused(href, format!("it has no column `{primary}`")))?
            .clone();
        let others: Vec<usize> = batch
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, field)| field.name() != &primary && is_plain(field.data_type()))
            .map(|(index, _)| index)
            .collect();
        let rows =
            properties(&batch.project(&others).map_err(|error| broken(&error))?).map_err(|error| broken(&error))?;
        let shapes = wkb_column(href, &geometry)?;
        features.extend(rows.into_iter().zip(shapes).map(|(properties, geometry)| Feature { properties, geometry }));
    }
    Ok(Layer { crs, declared: declared.is_some(), features })
}

/// Columns that make sense as properties: no lists, structs or bytes.
fn is_plain(data_type: &arrow::datatypes::DataType) -> bool {
    data_type.is_numeric()
        || data_type.is_temporal()
        || matches!(
            data_type,
            arrow::datatypes::DataType::Utf8
                | arrow::datatypes::DataType::LargeUtf8
                | arrow::datatypes::DataType::Utf8View
                | arrow::datatypes::DataType::Boolean
                | arrow::datatypes::DataType::Dictionary(..)
        )
}

fn properties(batch: &arrow::record_batch::RecordBatch) -> Result<Vec<Map<String, Value>>, arrow::error::ArrowError> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::default();
    let mut rows = vec![Map::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        for (index, row) in rows.iter_mut().enumerate() {
            if !column.is_null(index) {
                row.insert(field.name().clone(), Value::String(formatter.value(index).try_to_string()?));
            }
        }
    }
    Ok(rows)
}

fn wkb_column(href: &str, column: &arrow::array::ArrayRef) -> Result<Vec<Option<Geometry<f64>>>, ImageryError> {
    use arrow::array::{Array, AsArray};
    let values: Vec<Option<&[u8]>> = match column.data_type() {
        arrow::datatypes::DataType::Binary => column.as_binary::<i32>().iter().collect(),
        arrow::datatypes::DataType::LargeBinary => column.as_binary::<i64>().iter().collect(),
        arrow::datatypes::DataType::BinaryView => column.as_binary_view().iter().collect(),
        other => return Err(refused(href, format!("its geometry column holds {other}, not WKB"))),
    };
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| {
            value
                .map(|value| {
                    let geometry = wkb::reader::read_wkb(value).map_err(|error| ImageryError::Corrupt {
                        href: href.to_owned(),
                        cause: format!("row {index}: {error}"),
                    })?;
                    geometry
                        .try_to_geometry()
                        .ok_or_else(|| refused(href, format!("row {index}: its geometry is empty")))
                })
                .transpose()
        })
        .collect()
}

fn projjson_crs(href: &str, projjson: &Value) -> Result<Crs, ImageryError> {
    let id = |at: &str| projjson.pointer(at).cloned().unwrap_or_default();
    let code = match id("/id/code") {
        Value::Number(code) => code.to_string(),
        Value::String(code) => code,
        _ => return Err(refused(href, "its CRS carries no authority code")),
    };
    match id("/id/authority").as_str() {
        Some("OGC") if code == "CRS84" => Crs::parse("EPSG:4326"),
        Some("EPSG") => Crs::parse(&format!("EPSG:{code}")),
        _ => Err(refused(
            href,
            format!("its CRS {} is not an EPSG code", projjson.pointer("/id").unwrap_or(&Value::Null)),
        )),
    }
}
