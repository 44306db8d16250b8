//! STAC: the items of simulated scenes and the catalog over them. The earlier sensor's items are STAC 1.0 with `eo:bands`
//! and `raster:bands`, the later one's STAC 1.1 with common `bands`, as one meets both; projection is v2 in either.

use serde_json::{Value, json};

use crate::county::round;
use crate::geometry::Point;
use crate::sensor::{Anchor, Dtype, SceneSpec};

/// Digital numbers per unit of reflectance that a 16-bit scene declares: its nominal calibration, not its true one.
pub const NOMINAL_GAIN: f64 = 2000.0;

/// A file of a scene, as written.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    /// File name beside the item.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Multihash of its SHA-256.
    pub checksum: String,
}

/// Which STAC an item speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 1.0.0: `eo:bands`, `raster:bands`.
    V1_0,
    /// 1.1.0: `bands`.
    V1_1,
}

/// A ring of longitude and latitude around points of a world.
#[must_use]
pub fn ring(anchor: &Anchor, points: &[Point]) -> Vec<(f64, f64)> {
    let mut ring: Vec<(f64, f64)> =
        points.iter().map(|&p| anchor.lon_lat(p)).map(|(lon, lat)| (round(lon), round(lat))).collect();
    ring.extend(ring.first().copied());
    ring
}

/// The box around a ring, west, south, east, north.
#[must_use]
pub fn bbox(ring: &[(f64, f64)]) -> [f64; 4] {
    ring.iter().fold([f64::MAX, f64::MAX, f64::MIN, f64::MIN], |[w, s, e, n], &(lon, lat)| {
        [w.min(lon), s.min(lat), e.max(lon), n.max(lat)]
    })
}

fn centre_wavelength_um(name: &str) -> f64 {
    match name {
        "blue" => 0.48,
        "green" => 0.545,
        "red" => 0.66,
        _ => 0.835,
    }
}

/// The item of a scene.
#[must_use]
pub fn item(
    scene: &SceneSpec,
    footprint: &[(f64, f64)],
    cloud_cover: f64,
    data: &WrittenFile,
    mask: Option<(&WrittenFile, u32)>,
    dialect: Dialect,
) -> Value {
    let sensor = &scene.sensor;
    let code = format!("EPSG:{}", scene.zone.epsg());
    let data_type = if sensor.dtype == Dtype::Uint8 { "uint8" } else { "uint16" };
    let calibrated = sensor.dtype == Dtype::Uint16;
    let transform = |side: f64| json!([sensor.gsd_m * side, 0.0, scene.x0, 0.0, -sensor.gsd_m * side, scene.y0]);
    let mut asset = json!({
        "href": format!("./{}", data.name),
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "title": format!("{} bands, {data_type}", sensor.bands.len()),
        "roles": ["data"],
        "gsd": sensor.gsd_m,
        "proj:code": code,
        "proj:shape": [scene.height, scene.width],
        "proj:transform": transform(1.0),
        "file:size": data.size,
        "file:checksum": data.checksum,
    });
    let bands: Vec<(Value, Value, Value)> = sensor
        .bands
        .iter()
        .map(|band| {
            let um = centre_wavelength_um(band.name);
            let eo = json!({"name": band.name, "common_name": band.name, "center_wavelength": um});
            let mut raster = json!({"data_type": data_type, "nodata": 0, "spatial_resolution": sensor.gsd_m});
            let mut common = json!({
                "name": band.name, "data_type": data_type, "nodata": 0,
                "eo:common_name": band.name, "eo:center_wavelength": um, "raster:spatial_resolution": sensor.gsd_m,
            });
            if calibrated {
                raster["scale"] = json!(1.0 / NOMINAL_GAIN);
                raster["offset"] = json!(0.0);
                common["raster:scale"] = json!(1.0 / NOMINAL_GAIN);
                common["raster:offset"] = json!(0.0);
            }
            (eo, raster, common)
        })
        .collect();
    match dialect {
        Dialect::V1_0 => {
            asset["eo:bands"] = bands.iter().map(|(eo, _, _)| eo.clone()).collect();
            asset["raster:bands"] = bands.iter().map(|(_, raster, _)| raster.clone()).collect();
        }
        Dialect::V1_1 => asset["bands"] = bands.iter().map(|(_, _, common)| common.clone()).collect(),
    }
    let mut assets = json!({"analytic": asset});
    if let Some((file, side)) = mask {
        assets["cloud-mask"] = json!({
            "href": format!("./{}", file.name),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "title": "0 clear, 1 cloud, 2 cloud shadow",
            "roles": ["cloud", "cloud-shadow"],
            "gsd": sensor.gsd_m * f64::from(side),
            "proj:code": code,
            "proj:shape": [scene.height / side, scene.width / side],
            "proj:transform": transform(f64::from(side)),
            "file:size": file.size,
            "file:checksum": file.checksum,
        });
    }
    let version = if dialect == Dialect::V1_0 { "1.0.0" } else { "1.1.0" };
    let (eo, raster) = match dialect {
        Dialect::V1_0 => ("v1.1.0", "v1.1.0"),
        Dialect::V1_1 => ("v2.0.0", "v2.0.0"),
    };
    json!({
        "type": "Feature",
        "stac_version": version,
        "stac_extensions": [
            format!("https://stac-extensions.github.io/eo/{eo}/schema.json"),
            format!("https://stac-extensions.github.io/raster/{raster}/schema.json"),
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/view/v1.0.0/schema.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        ],
        "id": scene.id,
        "bbox": bbox(footprint),
        "geometry": {"type": "Polygon", "coordinates": [footprint.iter().map(|&(lon, lat)| json!([lon, lat])).collect::<Vec<_>>()]},
        "properties": {
            "datetime": scene.acquired.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "platform": sensor.platform,
            "gsd": sensor.gsd_m,
            "eo:cloud_cover": (cloud_cover * 10.0).round() / 10.0,
            "view:off_nadir": scene.view.1,
            "view:azimuth": scene.view.0,
            "view:sun_azimuth": scene.sun.0,
            "view:sun_elevation": scene.sun.1,
            "proj:code": code,
        },
        "assets": assets,
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
        ],
    })
}

/// The catalog over items, each `<id>/<id>.json`.
#[must_use]
pub fn catalog(id: &str, items: &[&str]) -> Value {
    let mut links = vec![json!({"rel": "root", "href": "./catalog.json", "type": "application/json"})];
    links.extend(
        items.iter().map(
            |item| json!({"rel": "item", "href": format!("./{item}/{item}.json"), "type": "application/geo+json"}),
        ),
    );
    json!({
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": id,
        "description": "Simulated scenes: a made-up land whose truth is known.",
        "links": links,
    })
}
