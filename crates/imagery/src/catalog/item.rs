//! From a STAC item to a scene.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use survey::ids::SceneId;
use survey::scene::{Asset, Scene, SceneBand, SceneMask};
use url::Url;

use super::bands::{self, FileBand, Sensor, Use};
use super::footprint;
use super::json::{get, list, number, text};
use super::placement::{UNPLACED, pixel_m, placement};
use crate::store::address;

/// A scene and what tells it from another copy of the same acquisition.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub scene: Scene,
    /// Grid tile, or path and row.
    pub tile: Option<String>,
    /// Processing baseline, then time of processing: later is better.
    pub processed: (String, String),
}

/// Assets that an item may have.
const MAX_ASSETS: usize = 2000;

/// Reads an item. `base` is the document it stands in.
///
/// # Errors
/// The id, as far as there is one, and why it is no scene.
pub(super) fn read(item: &Value, base: &Url) -> Result<Candidate, (String, String)> {
    let id = text(item, "id").unwrap_or("(no id)").to_owned();
    candidate(item, base).map_err(|cause| (id, cause))
}

fn candidate(item: &Value, base: &Url) -> Result<Candidate, String> {
    if let Some(version) = text(item, "stac_version")
        && !version.starts_with("1.")
    {
        return Err(format!("it is of STAC {version}; migrate it to 1.0 or 1.1"));
    }
    let id = text(item, "id").ok_or("it has no id")?;
    let nothing = Value::Null;
    let properties = item.get("properties").unwrap_or(&nothing);
    let acquired = acquired(properties)?;
    let footprint = footprint::from_geojson(item.get("geometry").unwrap_or(&nothing))?;
    let sensor = Sensor::of(properties);
    let assets = item.get("assets").and_then(Value::as_object).ok_or("it has no assets")?;
    if assets.len() > MAX_ASSETS {
        return Err(format!("it has more than {MAX_ASSETS} assets"));
    }
    let mut scene = Scene {
        id: SceneId(id.to_owned()),
        acquired,
        platform: text(properties, "platform").or_else(|| text(properties, "constellation")).map(str::to_owned),
        gsd_m: 0.0,
        off_nadir_deg: number(properties, "view:off_nadir").map(f64::abs),
        cloud_cover: number(properties, "eo:cloud_cover").map(|percent| percent.clamp(0.0, 100.0)),
        footprint,
        assets: Vec::new(),
        bands: Vec::new(),
        masks: Vec::new(),
    };
    let resolution = add_bands(&mut scene, assets, properties, sensor, base)?;
    add_masks(&mut scene, assets, properties, sensor, base)?;
    scene.gsd_m = number(properties, "gsd")
        .filter(|metres| *metres > 0.0)
        .or(resolution)
        .or_else(|| {
            scene.bands.iter().filter_map(|band| pixel_m(scene.assets.get(usize::from(band.asset))?)).reduce(f64::min)
        })
        .unwrap_or(0.0);
    Ok(Candidate { scene, tile: tile(properties), processed: processed(properties) })
}

/// When it was acquired. RFC 3339 with its time zone: a time without one may be hours off, which can be another day.
fn acquired(properties: &Value) -> Result<DateTime<Utc>, String> {
    let (key, written) = ["datetime", "start_datetime", "end_datetime"]
        .iter()
        .find_map(|key| text(properties, key).map(|written| (*key, written)))
        .ok_or("it has no datetime")?;
    DateTime::parse_from_rfc3339(written)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|_| format!("its {key} `{written}` is not a time with a zone; write 2023-10-02T02:11:00Z"))
}

/// Adds the bands, best assets first: measured before rendered, cloud-optimised before plain, then in the item's order.
/// Returns the finest resolution that the assets declare.
fn add_bands(
    scene: &mut Scene,
    assets: &Map<String, Value>,
    properties: &Value,
    sensor: Sensor,
    base: &Url,
) -> Result<Option<f64>, String> {
    let mut offered: Vec<(u8, &str, &Value, bool)> = Vec::new();
    let mut causes: Vec<String> = Vec::new();
    for (key, asset) in assets {
        match bands::usage(key, asset, sensor) {
            Use::Bands { rendered } => {
                let optimised = text(asset, "type").is_some_and(|media| media.contains("cloud-optimized"));
                let labelled =
                    list(asset, "roles").iter().any(|role| matches!(role.as_str(), Some("data" | "reflectance")));
                let rank = u8::from(rendered) * 4 + u8::from(!labelled) * 2 + u8::from(!optimised);
                offered.push((rank, key, asset, rendered));
            }
            Use::Not(Some(cause)) => causes.push(cause),
            Use::Mask(..) | Use::Not(None) => {}
        }
    }
    // Stable: assets of one rank stay in the item's order.
    offered.sort_by_key(|(rank, ..)| *rank);
    let mut finest: Option<f64> = None;
    for (_, key, asset, rendered) in &offered {
        let file_bands = bands::of_asset(key, asset, properties, sensor, *rendered);
        let new: Vec<(usize, &FileBand)> = file_bands
            .iter()
            .enumerate()
            .filter(|(_, band)| band.name.as_ref().is_some_and(|name| scene.band(name).is_none()))
            .collect();
        if new.is_empty() {
            continue;
        }
        let Some(href) = text(asset, "href") else { continue };
        let index = add_asset(scene, href, asset, properties, &file_bands, base)?;
        for (place, band) in new {
            let Some(name) = band.name.clone() else { continue };
            if scene.band(&name).is_some() {
                continue;
            }
            let (scale, offset) = calibrated(band, properties, sensor, *rendered);
            let nodata = band.nodata.or((sensor == Sensor::Sentinel2 && !rendered).then_some(0.0));
            scene.bands.push(SceneBand { name, asset: index, index: clip(place), scale, offset, nodata });
            let resolution = band.resolution.or_else(|| number(asset, "gsd")).filter(|metres| *metres > 0.0);
            finest = match (finest, resolution) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    if scene.bands.is_empty() {
        causes.truncate(3);
        if causes.is_empty() {
            let keys: Vec<&str> = assets.keys().map(String::as_str).take(6).collect();
            causes.push(format!(
                "no GeoTIFF asset names an optical band (assets: {}); add `bands` with common names to it, or list its \
                 files under `scenes`",
                keys.join(", ")
            ));
        }
        return Err(causes.join("; "));
    }
    Ok(finest)
}

fn add_masks(
    scene: &mut Scene,
    assets: &Map<String, Value>,
    properties: &Value,
    sensor: Sensor,
    base: &Url,
) -> Result<(), String> {
    for (key, asset) in assets {
        let Use::Mask(meaning, index) = bands::usage(key, asset, sensor) else { continue };
        // Two copies of one mask (COG and original) say the same.
        if scene.masks.iter().any(|mask| mask.meaning == meaning) {
            continue;
        }
        let Some(href) = text(asset, "href") else { continue };
        let file_bands = bands::of_asset(key, asset, properties, Sensor::Other, false);
        let asset = add_asset(scene, href, asset, properties, &file_bands, base)?;
        scene.masks.push(SceneMask { asset, index, meaning });
    }
    Ok(())
}

/// Scale and offset of a band. Since processing baseline 04.00, Sentinel-2's numbers are 1000 too high; where
/// the catalog neither declares the offset nor says that it is applied, it is applied here.
fn calibrated(band: &FileBand, properties: &Value, sensor: Sensor, rendered: bool) -> (f64, f64) {
    let scale = band.scale.filter(|scale| *scale != 0.0).unwrap_or(1.0);
    let declared = band.offset.unwrap_or(0.0);
    if sensor != Sensor::Sentinel2 || rendered {
        return (scale, declared);
    }
    match get(properties, "earthsearch:boa_offset_applied").and_then(Value::as_bool) {
        // The declared offset is that of the original product, and these pixels have it already.
        Some(true) => return (scale, 0.0),
        _ if declared != 0.0 => return (scale, declared),
        _ => {}
    }
    let baseline = text(properties, "s2:processing_baseline").or_else(|| text(properties, "processing:version"));
    let since_offset =
        baseline.and_then(|baseline| baseline.trim_start_matches('N').parse::<f64>().ok()).is_some_and(|baseline| {
            // `05.10`, and `N0510` as in product names.
            if baseline >= 100.0 { baseline >= 400.0 } else { baseline >= 4.0 }
        });
    (scale, if since_offset { -1000.0 * scale } else { 0.0 })
}

fn clip(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// Adds an asset, if it is not there; its place in the scene.
fn add_asset(
    scene: &mut Scene,
    href: &str,
    asset: &Value,
    properties: &Value,
    file_bands: &[FileBand],
    base: &Url,
) -> Result<u16, String> {
    let href = address::join(base, href).map_err(|error| error.to_string())?.to_string();
    if let Some(index) = scene.assets.iter().position(|known| known.href == href) {
        return Ok(clip(index));
    }
    let placed = placement(asset, properties);
    scene.assets.push(Asset {
        href,
        crs: placed.crs.unwrap_or_default(),
        transform: placed.transform.unwrap_or(UNPLACED),
        width: if placed.transform.is_some() { placed.width } else { 0 },
        height: if placed.transform.is_some() { placed.height } else { 0 },
        bits_per_sample: file_bands.iter().filter_map(|band| band.bits).max().unwrap_or(16),
        band_count: clip(file_bands.len().max(1)),
        size: get(asset, "file:size").and_then(Value::as_u64),
        etag: None,
        checksum: text(asset, "file:checksum").or_else(|| text(asset, "checksum:multihash")).map(str::to_owned),
    });
    Ok(clip(scene.assets.len() - 1))
}

/// The grid tile, or path and row, of an item.
fn tile(properties: &Value) -> Option<String> {
    if let Some(code) = text(properties, "grid:code").or_else(|| text(properties, "s2:mgrs_tile")) {
        return Some(code.trim_start_matches("MGRS-").to_ascii_uppercase());
    }
    let word =
        |key: &str| get(properties, key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    word("landsat:wrs_path").zip(word("landsat:wrs_row")).map(|(path, row)| format!("{path}/{row}"))
}

fn processed(properties: &Value) -> (String, String) {
    let first = |keys: &[&str]| keys.iter().find_map(|key| text(properties, key)).unwrap_or_default().to_owned();
    (
        first(&["s2:processing_baseline", "processing:version"]),
        first(&["processing:datetime", "s2:generation_time", "created", "updated"]),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use survey::grid::GeoTransform;

    use super::*;

    fn item(properties: Value, assets: Value) -> Value {
        let mut all = json!({"datetime": "2024-05-29T02:11:00Z"});
        all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        json!({
            "type": "Feature", "stac_version": "1.1.0", "id": "x", "properties": all, "assets": assets,
            "geometry": {"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]},
        })
    }

    fn scene(properties: Value, assets: Value) -> Scene {
        read(&item(properties, assets), &Url::parse("file:///data/c.json").unwrap()).unwrap().scene
    }

    #[test]
    fn both_versions_of_the_projection_extension_place_an_asset() {
        let transform = [10, 0, 499_980, 0, -10, 1_700_020];
        for (key, code) in [("proj:epsg", json!(32752)), ("proj:code", json!("EPSG:32752"))] {
            let mut asset = json!({"href": "./a/red.tif", "proj:shape": [100, 200], "proj:transform": transform});
            asset.as_object_mut().unwrap().insert(key.into(), code);
            let asset = scene(json!({}), json!({"red": asset})).assets.remove(0);
            assert_eq!(asset.href, "file:///data/a/red.tif");
            assert_eq!((asset.crs.as_str(), asset.width, asset.height), ("EPSG:32752", 200, 100));
            assert_eq!(asset.transform.apply(1.0, 2.0), (499_990.0, 1_700_000.0));
        }
    }

    #[test]
    fn gdals_order_of_a_transform_and_a_box_without_one_place_it_the_same() {
        let red = |extra: Value| {
            let mut asset = json!({"href": "red.tif", "proj:code": "EPSG:32652", "proj:shape": [4, 5]});
            asset.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            scene(json!({}), json!({"red": asset})).assets.remove(0).transform
        };
        let expected =
            GeoTransform { x0: 100.0, x_per_col: 2.0, x_per_row: 0.0, y0: 50.0, y_per_col: 0.0, y_per_row: -2.0 };
        assert_eq!(red(json!({"proj:transform": [2, 0, 100, 0, -2, 50, 0, 0, 1]})), expected);
        assert_eq!(red(json!({"proj:transform": [100, 2, 0, 50, 0, -2]})), expected);
        assert_eq!(red(json!({"proj:bbox": [100, 42, 110, 50]})), expected);
    }

    #[test]
    fn sentinel_2_loses_its_offset_exactly_once() {
        let red = |properties: Value, band: Value| {
            let mut all = json!({"platform": "sentinel-2a"});
            all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
            let scene = scene(all, json!({"B04": {"href": "B04.tif", "raster:bands": [band]}}));
            (scene.bands[0].scale, scene.bands[0].offset)
        };
        let (old, new) = (json!({"s2:processing_baseline": "03.01"}), json!({"s2:processing_baseline": "05.10"}));
        assert_eq!(red(old.clone(), json!({})), (1.0, 0.0));
        assert_eq!(red(new.clone(), json!({})), (1.0, -1000.0));
        assert_eq!(red(new.clone(), json!({"scale": 0.0001})), (0.0001, -0.1));
        assert_eq!(red(new.clone(), json!({"scale": 0.0001, "offset": -0.1})), (0.0001, -0.1));
        let applied = json!({"s2:processing_baseline": "05.10", "earthsearch:boa_offset_applied": true});
        assert_eq!(red(applied, json!({"scale": 0.0001, "offset": -0.1})), (0.0001, 0.0));
    }

    #[test]
    fn measured_bands_come_before_rendered_ones_and_optimised_files_before_plain() {
        let cog = "image/tiff; application=geotiff; profile=cloud-optimized";
        let scene = scene(
            json!({}),
            json!({
                "visual": {"href": "v.tif", "type": cog, "roles": ["visual"]},
                "plain": {"href": "p.tif", "type": "image/tiff", "roles": ["data"], "eo:bands": [{"common_name": "red"}]},
                "cog": {"href": "c.tif", "type": cog, "roles": ["data"], "eo:bands": [{"common_name": "red"}, {"common_name": "nir"}]},
            }),
        );
        let files: Vec<(&str, &str)> = scene
            .bands
            .iter()
            .map(|band| (band.name.as_str(), scene.assets[usize::from(band.asset)].href.rsplit('/').next().unwrap()))
            .collect();
        assert_eq!(files, [("red", "c.tif"), ("nir", "c.tif"), ("green", "v.tif"), ("blue", "v.tif")]);
    }

    #[test]
    fn what_is_no_scene_is_refused_with_its_cause() {
        let base = Url::parse("file:///c.json").unwrap();
        let red = json!({"red": {"href": "r.tif"}});
        let mut cases = vec![
            (item(json!({"datetime": "2024-05-29T02:11:00"}), red.clone()), "zone"),
            (item(json!({"datetime": null}), red.clone()), "no datetime"),
            (item(json!({}), json!({"vv": {"href": "vv.tif", "roles": ["data"]}})), "optical band"),
            (item(json!({}), json!({"red": {"href": "r.jp2", "type": "image/jp2"}})), "image/jp2"),
        ];
        let mut nameless = item(json!({}), red.clone());
        nameless["id"] = json!("");
        cases.push((nameless, "no id"));
        let mut old = item(json!({}), red);
        old["stac_version"] = json!("0.9.0");
        cases.push((old, "STAC 0.9.0"));
        for (item, cause) in cases {
            let (_, error) = read(&item, &base).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }
}
