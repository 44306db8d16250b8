//! Scenes: what was acquired when, where its bands lie, and how its pixels sit on the ground.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use geo::MultiPolygon;
use serde::{Deserialize, Serialize};

use crate::grid::GeoTransform;
use crate::ids::SceneId;

/// A band by its STAC common name (`red`, `nir`, `swir16`, …), lower case. Unknown names are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BandName(String);

impl BandName {
    /// The band of this name; common synonyms are folded onto STAC's names (`swir1` is `swir16`, `panchromatic` is
    /// `pan`).
    #[must_use]
    pub fn new(name: &str) -> Self {
        let name = name.trim().to_ascii_lowercase();
        Self(match name.as_str() {
            "swir1" | "swir_1" => "swir16".to_owned(),
            "swir2" | "swir_2" => "swir22".to_owned(),
            "panchromatic" => "pan".to_owned(),
            "b" => "blue".to_owned(),
            "g" => "green".to_owned(),
            "r" => "red".to_owned(),
            "n" | "near-infrared" | "near_infrared" => "nir".to_owned(),
            "re" | "red_edge" | "red-edge" => "rededge".to_owned(),
            _ => name,
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the band is reflected light (not a mask, an angle or a temperature): what a detector may compare.
    #[must_use]
    pub fn is_spectral(&self) -> bool {
        const SPECTRAL: [&str; 17] = [
            "pan",
            "coastal",
            "blue",
            "green",
            "green05",
            "yellow",
            "red",
            "rededge",
            "rededge071",
            "rededge075",
            "rededge078",
            "nir",
            "nir08",
            "nir09",
            "cirrus",
            "swir16",
            "swir22",
        ];
        SPECTRAL.contains(&self.0.as_str())
    }
}

impl fmt::Display for BandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A raster file and what is known of it before its pixels are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asset {
    /// Absolute URL (`file:///…`, `s3://…`, `https://…`). Belongs to an execution, never to a result.
    pub href: String,
    /// CRS as `EPSG:<code>` or a PROJ string.
    pub crs: String,
    /// Where the pixels lie.
    pub transform: GeoTransform,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bits of a sample (8, 16, 32, 64): for the estimate of bytes and memory.
    pub bits_per_sample: u16,
    /// Bands in the file.
    pub band_count: u16,
    /// Bytes of the file, pinned at plan time where the file could be asked.
    pub size: Option<u64>,
    /// ETag, pinned at plan time where the store has one.
    pub etag: Option<String>,
    /// `file:checksum` / `checksum:multihash` of the STAC asset.
    pub checksum: Option<String>,
}

/// Where a band's samples are and what they mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SceneBand {
    /// Its name.
    pub name: BandName,
    /// Index into [`Scene::assets`].
    pub asset: u16,
    /// Band within the asset, from 0.
    pub index: u16,
    /// `value = sample × scale + offset`.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// Sample that means "no data", where the catalog declares one (the file's own declaration counts too).
    pub nodata: Option<f64>,
}

/// How a mask asset is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskMeaning {
    /// 0 is no data, anything else is valid.
    DataMask,
    /// Sentinel-2 scene classification: 0, 1 no data; 3, 8, 9, 10 cloud or its shadow.
    SceneClassification,
    /// Landsat Collection 2 QA_PIXEL bits: 0 fill; 1, 2, 3, 4 cloud or its shadow.
    LandsatQa,
    /// 0 is clear, anything else is cloud.
    CloudMask,
}

/// A mask that comes with a scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SceneMask {
    /// Index into [`Scene::assets`].
    pub asset: u16,
    /// Band within the asset, from 0.
    pub index: u16,
    /// What its values say.
    pub meaning: MaskMeaning,
}

/// One acquisition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// Its id.
    pub id: SceneId,
    /// When it was acquired.
    pub acquired: DateTime<Utc>,
    /// Platform or constellation, for people.
    pub platform: Option<String>,
    /// Ground sample distance, metres: what the catalog says, else the pixel size on the ground.
    pub gsd_m: f64,
    /// View angle off nadir, degrees.
    pub off_nadir_deg: Option<f64>,
    /// Share of the scene under cloud, 0 to 100.
    pub cloud_cover: Option<f64>,
    /// Footprint, longitude and latitude (WGS 84).
    pub footprint: MultiPolygon<f64>,
    /// The files.
    pub assets: Vec<Asset>,
    /// The bands.
    pub bands: Vec<SceneBand>,
    /// Masks; a pixel must pass all of them.
    pub masks: Vec<SceneMask>,
}

impl Scene {
    /// The day of acquisition (UTC).
    #[must_use]
    pub fn date(&self) -> NaiveDate {
        self.acquired.date_naive()
    }

    /// The band of this name.
    #[must_use]
    pub fn band(&self, name: &BandName) -> Option<&SceneBand> {
        self.bands.iter().find(|band| band.name == *name)
    }
}

/// An ordered pair of scenes that is compared, and the bands it is compared in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenePair {
    /// Index of the earlier scene in [`crate::plan::SurveyPlan::scenes`].
    pub before: u32,
    /// Index of the later scene.
    pub after: u32,
    /// Bands read of the earlier scene.
    pub before_bands: Vec<BandName>,
    /// Bands read of the later scene. Where the two lists are equal, bands correspond one to one.
    pub after_bands: Vec<BandName>,
    /// Name of the pair: the ids of its scenes, `before~after`, made safe for object keys.
    pub key: String,
}
