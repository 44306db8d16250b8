//! Which asset of a STAC item holds which band.

use serde_json::Value;
use survey::scene::{BandName, MaskMeaning};

use super::json::{get, list, lower_texts, number, text};

/// Sensors whose band numbers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sensor {
    Sentinel2,
    /// Landsat 8 and 9.
    Oli,
    /// Landsat 4 to 7.
    Tm,
    Other,
}

impl Sensor {
    /// The sensor of an item's properties.
    pub(super) fn of(properties: &Value) -> Self {
        let mut words: Vec<String> = ["constellation", "platform"]
            .iter()
            .filter_map(|key| text(properties, key))
            .map(|word| word.to_ascii_lowercase().replace([' ', '_'], "-"))
            .collect();
        words.extend(lower_texts(properties, "instruments"));
        let any = |test: &dyn Fn(&str) -> bool| words.iter().any(|word| test(word));
        if any(&|word| word.contains("sentinel-2") || word == "msi" || word.starts_with("sentinel2")) {
            Self::Sentinel2
        } else if any(&|word| word.contains("landsat-8") || word.contains("landsat-9") || word == "oli") {
            Self::Oli
        } else if any(&|word| {
            word == "tm"
                || word == "etm"
                || word == "etm+"
                || ["-4", "-5", "-7"].iter().any(|n| word == format!("landsat{n}"))
        }) {
            Self::Tm
        } else {
            Self::Other
        }
    }

    /// The band of a number (`B04`, `B8A`, `OLI_B4`, `rededge1`).
    fn numbered(self, id: &str) -> Option<&'static str> {
        let id = id.to_ascii_uppercase();
        let (sensor, id) = match id.split_once('_') {
            Some(("OLI", rest)) => (Self::Oli, rest.to_owned()),
            Some(("TM" | "ETM", rest)) => (Self::Tm, rest.to_owned()),
            _ => (self, id),
        };
        let digits = id.strip_prefix('B').map(|digits| digits.trim_start_matches('0'));
        let table: &[(&str, &str)] = match sensor {
            Self::Sentinel2 => {
                match id.as_str() {
                    "REDEDGE1" => return Some("rededge071"),
                    "REDEDGE2" => return Some("rededge075"),
                    "REDEDGE3" => return Some("rededge078"),
                    _ => {}
                }
                &[
                    ("1", "coastal"),
                    ("2", "blue"),
                    ("3", "green"),
                    ("4", "red"),
                    ("5", "rededge071"),
                    ("6", "rededge075"),
                    ("7", "rededge078"),
                    ("8", "nir"),
                    ("8A", "nir08"),
                    ("9", "nir09"),
                    ("10", "cirrus"),
                    ("11", "swir16"),
                    ("12", "swir22"),
                ]
            }
            Self::Oli => &[
                ("1", "coastal"),
                ("2", "blue"),
                ("3", "green"),
                ("4", "red"),
                ("5", "nir08"),
                ("6", "swir16"),
                ("7", "swir22"),
                ("8", "pan"),
                ("9", "cirrus"),
            ],
            Self::Tm => &[
                ("1", "blue"),
                ("2", "green"),
                ("3", "red"),
                ("4", "nir08"),
                ("5", "swir16"),
                ("7", "swir22"),
                ("8", "pan"),
            ],
            Self::Other => &[],
        };
        table.iter().find(|(number, _)| Some(*number) == digits).map(|(_, name)| *name)
    }

    /// The name of a band from its common name and its own name.
    fn band(self, common: Option<&str>, name: Option<&str>) -> Option<BandName> {
        let numbered = name.and_then(|name| self.numbered(name));
        // Catalogues call three or four bands of Sentinel-2 `rededge`; the number tells them apart.
        if let Some(exact) = numbered.filter(|_| self == Self::Sentinel2) {
            return Some(BandName::new(exact));
        }
        let spectral = |text: &str| Some(BandName::new(text)).filter(BandName::is_spectral);
        common
            .and_then(spectral)
            .or_else(|| numbered.map(BandName::new))
            .or_else(|| name.and_then(spectral))
            .or_else(|| name.filter(|name| matches!(*name, "BAND_P" | "PAN" | "Pan")).map(|_| BandName::new("pan")))
    }
}

/// What is known of a band of an asset.
#[derive(Clone, Debug)]
pub(super) struct FileBand {
    /// Its name, where it is a spectral band.
    pub name: Option<BandName>,
    pub scale: Option<f64>,
    pub offset: Option<f64>,
    pub nodata: Option<f64>,
    pub bits: Option<u16>,
    pub resolution: Option<f64>,
}

/// What an asset is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Use {
    /// Measured values; rendered colours (`visual`), where there is nothing better.
    Bands { rendered: bool },
    /// A mask, in this band.
    Mask(MaskMeaning, u16),
    /// Neither; where it could have been, the reason.
    Not(Option<String>),
}

/// What an asset is for.
pub(super) fn usage(key: &str, asset: &Value, sensor: Sensor) -> Use {
    let roles = lower_texts(asset, "roles");
    let has = |role: &str| roles.iter().any(|known| known == role);
    let key = key.to_ascii_lowercase();
    if ["thumbnail", "overview", "metadata", "tiles", "date", "quicklook", "preview"].iter().any(|role| has(role))
        || key.contains("thumbnail")
        || key.contains("preview")
    {
        return Use::Not(None);
    }
    let href = text(asset, "href").unwrap_or_default().to_ascii_lowercase();
    let path = href.split(['?', '#']).next().unwrap_or_default();
    let media = text(asset, "type").map(str::to_ascii_lowercase);
    let tiff_name = path.ends_with(".tif") || path.ends_with(".tiff");
    let is_tiff = media.as_deref().map_or(tiff_name, |media| media.contains("tiff"));
    if !is_tiff {
        let pixels = ["jp2", "jpeg2000", "netcdf", "hdf", "zarr", "vrt"];
        let kind = media.as_deref().unwrap_or(path);
        let is_raster = pixels.iter().any(|format| kind.contains(format) || path.ends_with(format));
        return Use::Not(is_raster.then(|| format!("asset `{key}` is {kind}, and only GeoTIFF (COG) is read")));
    }
    // A Sentinel-2 scene classification, Landsat's QA_PIXEL, Planet's unusable-data masks.
    if key == "scl" && sensor != Sensor::Other || path.ends_with("scl.tif") {
        return Use::Mask(MaskMeaning::SceneClassification, 0);
    }
    if key == "qa_pixel" || path.ends_with("qa_pixel.tif") {
        return Use::Mask(MaskMeaning::LandsatQa, 0);
    }
    if key.starts_with("qa_") || key.ends_with("_qa") {
        // Bits of Landsat's older algorithms, aerosol and saturation call themselves masks: QA_PIXEL is the one to read.
        return Use::Not(None);
    }
    if has("data-mask") || key == "udm2" || has("udm2") {
        return Use::Mask(MaskMeaning::DataMask, 0);
    }
    if key == "udm" || has("udm") {
        return Use::Mask(MaskMeaning::CloudMask, 0);
    }
    if has("cloud") || has("cloud-mask") || key == "cloud_mask" {
        // A probability is no mask.
        let probability = text(asset, "title").is_some_and(|title| title.to_ascii_lowercase().contains("prob"))
            || list(asset, "raster:bands").iter().any(|band| text(band, "unit").is_some_and(|unit| unit.contains('%')));
        return if probability { Use::Not(None) } else { Use::Mask(MaskMeaning::CloudMask, 0) };
    }
    if ["snow-ice", "cloud-shadow", "saturation", "water-mask", "temperature"].iter().any(|role| has(role)) {
        return Use::Not(None);
    }
    Use::Bands { rendered: has("visual") && !has("reflectance") || key == "visual" || key.starts_with("visual") }
}

/// The bands of an asset, in the order of its file.
pub(super) fn of_asset(key: &str, asset: &Value, properties: &Value, sensor: Sensor, rendered: bool) -> Vec<FileBand> {
    let raster = list(asset, "raster:bands");
    let plain = list(asset, "bands");
    let eo = list(asset, "eo:bands");
    let count = raster.len().max(plain.len()).max(eo.len());
    let mut bands: Vec<FileBand> = (0..count)
        .map(|index| {
            let (raster, plain) = (raster.get(index), plain.get(index));
            // Old items number the bands of their properties.
            let eo = eo.get(index).and_then(|band| match band.as_u64() {
                Some(number) => list(properties, "eo:bands").get(usize::try_from(number).ok()?),
                None => Some(band),
            });
            let name = [plain, eo].into_iter().flatten().find_map(|band| {
                let common = text(band, "eo:common_name").or_else(|| text(band, "common_name"));
                sensor.band(common, text(band, "name"))
            });
            let sources = [raster, plain, Some(asset)];
            let find = |keys: [&str; 2]| {
                sources.iter().flatten().find_map(|source| keys.iter().find_map(|key| number(source, key)))
            };
            FileBand {
                name,
                scale: find(["scale", "raster:scale"]),
                offset: find(["offset", "raster:offset"]),
                // NaN is never data, whoever says so.
                nodata: find(["nodata", "raster:nodata"]),
                bits: sources.iter().flatten().find_map(|source| bits(text(source, "data_type")?)),
                resolution: find(["spatial_resolution", "raster:spatial_resolution"]).filter(|metres| *metres > 0.0),
            }
        })
        .collect();
    if bands.iter().any(|band| band.name.is_some()) {
        return bands;
    }
    // No band is named: the asset's key is what is left.
    let key_words: Vec<String> = key.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase).collect();
    let says = |words: &[&str]| key_words.iter().any(|word| words.contains(&word.as_str()));
    let names: Vec<&str> = if says(&["rgbir", "rgbnir", "rgbn"]) && (bands.is_empty() || bands.len() >= 4) {
        vec!["red", "green", "blue", "nir"]
    } else if (rendered || says(&["rgb"])) && (bands.is_empty() || bands.len() >= 3) {
        vec!["red", "green", "blue"]
    } else if bands.len() <= 1 {
        match sensor.band(Some(key), Some(key)) {
            Some(name) => {
                let mut band = bands.pop().unwrap_or_else(|| unnamed(asset));
                band.name = Some(name);
                return vec![band];
            }
            None => return bands,
        }
    } else {
        return bands;
    };
    bands.resize_with(bands.len().max(names.len()), || unnamed(asset));
    for (band, name) in bands.iter_mut().zip(names) {
        band.name = Some(BandName::new(name));
    }
    bands
}

fn unnamed(asset: &Value) -> FileBand {
    FileBand {
        name: None,
        scale: number(asset, "raster:scale"),
        offset: number(asset, "raster:offset"),
        nodata: number(asset, "nodata"),
        bits: get(asset, "data_type").and_then(Value::as_str).and_then(bits),
        resolution: number(asset, "raster:spatial_resolution"),
    }
}

fn bits(data_type: &str) -> Option<u16> {
    match data_type {
        "uint8" | "int8" => Some(8),
        "uint16" | "int16" | "float16" => Some(16),
        "uint32" | "int32" | "float32" => Some(32),
        "uint64" | "int64" | "float64" => Some(64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(bands: &[FileBand]) -> Vec<&str> {
        bands.iter().map(|band| band.name.as_ref().map_or("", BandName::as_str)).collect()
    }

    #[test]
    fn common_names_of_both_stac_versions_are_read() {
        let old =
            json!({"eo:bands": [{"name": "band-1", "common_name": "red"}, {"name": "band-4", "common_name": "nir"}]});
        let new = json!({"bands": [{"name": "R", "eo:common_name": "red", "nodata": 0}, {"name": "alpha"}]});
        assert_eq!(names(&of_asset("data", &old, &json!({}), Sensor::Other, false)), ["red", "nir"]);
        let bands = of_asset("data", &new, &json!({}), Sensor::Other, false);
        assert_eq!(names(&bands), ["red", ""]);
        assert_eq!(bands[0].nodata, Some(0.0));
    }

    #[test]
    fn the_numbers_of_sentinel_2_tell_its_four_red_edges_apart() {
        let properties = json!({"platform": "Sentinel-2B"});
        let sensor = Sensor::of(&properties);
        let name = |id: &str| {
            let asset = json!({"eo:bands": [{"name": id, "common_name": "rededge"}]});
            names(&of_asset(id, &asset, &properties, sensor, false))[0].to_owned()
        };
        assert_eq!(
            [name("B05"), name("B06"), name("B07"), name("B8A")],
            ["rededge071", "rededge075", "rededge078", "nir08"]
        );
    }

    #[test]
    fn an_asset_key_is_a_band_where_nothing_else_says_so() {
        let landsat = Sensor::of(&json!({"platform": "landsat-5", "instruments": ["tm"]}));
        assert_eq!(names(&of_asset("B4", &json!({}), &json!({}), landsat, false)), ["nir08"]);
        assert_eq!(names(&of_asset("nir", &json!({}), &json!({}), Sensor::Other, false)), ["nir"]);
        assert_eq!(names(&of_asset("visual", &json!({}), &json!({}), Sensor::Other, true)), ["red", "green", "blue"]);
        let naip = of_asset("GEOTIFF_AZURE_RGBIR", &json!({}), &json!({}), Sensor::Other, false);
        assert_eq!(names(&naip), ["red", "green", "blue", "nir"]);
        assert_eq!(names(&of_asset("data", &json!({"raster:bands": [{}]}), &json!({}), Sensor::Other, false)), [""]);
    }

    #[test]
    fn masks_previews_and_other_formats_are_told_from_bands() {
        let tiff = |roles: Value| json!({"href": "a.tif", "type": "image/tiff", "roles": roles});
        assert_eq!(
            usage("SCL", &tiff(json!(["data"])), Sensor::Sentinel2),
            Use::Mask(MaskMeaning::SceneClassification, 0)
        );
        assert_eq!(usage("qa_pixel", &tiff(json!(["cloud"])), Sensor::Oli), Use::Mask(MaskMeaning::LandsatQa, 0));
        assert_eq!(usage("mask", &tiff(json!(["data-mask"])), Sensor::Other), Use::Mask(MaskMeaning::DataMask, 0));
        assert_eq!(usage("qa_aerosol", &tiff(json!(["data-mask", "water-mask"])), Sensor::Oli), Use::Not(None));
        assert_eq!(usage("x", &tiff(json!(["thumbnail"])), Sensor::Other), Use::Not(None));
        assert_eq!(usage("visual", &tiff(json!(["visual"])), Sensor::Other), Use::Bands { rendered: true });
        let jp2 = json!({"href": "a.jp2", "type": "image/jp2", "roles": ["data"]});
        assert!(matches!(usage("red", &jp2, Sensor::Other), Use::Not(Some(cause)) if cause.contains("jp2")));
    }
}
