//! What a survey file says: one type per table.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// A whole survey file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SurveySpec {
    /// `[survey]`.
    pub survey: SurveySection,
    /// `[counties]`.
    pub counties: CountiesSection,
    /// `[before]`.
    pub before: WindowSection,
    /// `[after]`.
    pub after: WindowSection,
    /// `[grid]`.
    #[serde(default)]
    pub grid: GridSection,
    /// `[detector]`.
    #[serde(default)]
    pub detector: DetectorSpec,
    /// `[context]`.
    #[serde(default)]
    pub context: ContextSection,
    /// `[designations]`.
    #[serde(default)]
    pub designations: Option<DesignationsSection>,
    /// `[[storage]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub storage: Vec<StorageSection>,
}

/// `[survey]`: name and output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SurveySection {
    /// A name for people.
    pub name: String,
    /// A folder or an object-store URL.
    #[serde(default = "default_output")]
    pub output: String,
}

fn default_output() -> String {
    "out".into()
}

/// `[counties]`: whose borders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountiesSection {
    /// GeoJSON or GeoParquet.
    pub source: String,
    /// Property that holds the id.
    pub id: String,
    /// Property that holds the name; the id where absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Property that holds the parent (province).
    #[serde(default)]
    pub parent: Option<String>,
    /// Survey these ids only.
    #[serde(default)]
    pub only: Option<Vec<String>>,
    /// CRS of the file, where it declares none and is not WGS 84.
    #[serde(default)]
    pub crs: Option<String>,
    /// What to do with a border that is not a valid polygon.
    #[serde(default)]
    pub invalid: InvalidPolygons,
}

/// What to do with a border that is not a valid polygon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvalidPolygons {
    /// Take the polygon that the even-odd rule makes of its rings, and say so in the county's result.
    #[default]
    Repair,
    /// Refuse the survey, naming the counties.
    Refuse,
}

/// `[before]` or `[after]`: which scenes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowSection {
    /// First day (UTC), inclusive. Optional with `scenes`, which carry their dates.
    #[serde(default)]
    pub from: Option<LocalDate>,
    /// Last day, inclusive.
    #[serde(default)]
    pub to: Option<LocalDate>,
    /// A STAC API, static catalog, item, item collection or stac-geoparquet file.
    #[serde(default)]
    pub catalog: Option<String>,
    /// Collections to search in (STAC API and static catalogs); all where absent.
    #[serde(default)]
    pub collections: Option<Vec<String>>,
    /// Scenes without a catalog.
    #[serde(default)]
    pub scenes: Option<Vec<PlainScene>>,
    /// Leave out scenes with more cloud than this, percent.
    #[serde(default)]
    pub max_cloud_cover: Option<f64>,
    /// Leave out scenes further off nadir than this, degrees.
    #[serde(default)]
    pub max_off_nadir_deg: Option<f64>,
}

/// A scene given by its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlainScene {
    /// One file, or one per band.
    pub href: Hrefs,
    /// Day of acquisition.
    pub date: LocalDate,
    /// STAC common names of the bands, in order (of the file's bands, or of the files). `""` leaves a band out.
    pub bands: Vec<String>,
    /// Its id; the (first) file's stem where absent.
    #[serde(default)]
    pub id: Option<String>,
    /// A data mask (0 is no data), or a band of the file: `{ href = "mask.tif" }`.
    #[serde(default)]
    pub mask: Option<PlainMask>,
    /// CRS of the files where they declare none.
    #[serde(default)]
    pub crs: Option<String>,
    /// Sample that means no data, where the files declare none.
    #[serde(default)]
    pub nodata: Option<f64>,
    /// Ground sample distance, metres, where it is not the pixel size.
    #[serde(default)]
    pub gsd_m: Option<f64>,
    /// View angle off nadir, degrees.
    #[serde(default)]
    pub off_nadir_deg: Option<f64>,
}

/// A mask of a plain scene.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlainMask {
    /// The file; where absent, the mask is a band of each of the scene's files.
    #[serde(default)]
    pub href: Option<String>,
    /// Band of the file, from 1.
    #[serde(default = "one")]
    pub band: u16,
    /// What its values say.
    #[serde(default = "data_mask")]
    pub meaning: crate::scene::MaskMeaning,
}

fn one() -> u16 {
    1
}

fn data_mask() -> crate::scene::MaskMeaning {
    crate::scene::MaskMeaning::DataMask
}

/// One href or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Hrefs {
    /// A file with all bands.
    One(String),
    /// A file per band.
    PerBand(Vec<String>),
}

impl Hrefs {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<&str> {
        match self {
            Self::One(href) => vec![href],
            Self::PerBand(hrefs) => hrefs.iter().map(String::as_str).collect(),
        }
    }
}

/// A day, written bare (`2023-10-02`) or as a string in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDate(pub NaiveDate);

impl Serialize for LocalDate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LocalDate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Toml(toml::value::Datetime),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Toml(datetime) => datetime.date.map(|date| date.to_string()).unwrap_or_default(),
            Written::Text(text) => text,
        };
        NaiveDate::parse_from_str(&text, "%Y-%m-%d")
            .map(LocalDate)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a day; write it as 2023-10-02")))
    }
}

/// `[grid]`: resolution, tiles, CRS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GridSection {
    /// Side of a pixel, metres; the coarser scene's where absent.
    #[serde(default)]
    pub resolution_m: Option<f64>,
    /// Side of a tile, pixels. Never shows in a result.
    #[serde(default)]
    pub tile_px: Option<u32>,
    /// CRS; see design section 4, C1, for the default.
    #[serde(default)]
    pub crs: Option<String>,
}

/// Default side of a tile.
pub const DEFAULT_TILE_PX: u32 = 1024;

/// `[detector]`: which detector and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DetectorSpec {
    /// `default`, or one of the others that `docs/survey.md` lists.
    pub name: String,
    /// Compare these bands only; all that both scenes have where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bands: Option<Vec<String>>,
    /// A site is at least this large, ha.
    pub min_site_ha: f64,
    /// A larger change is `extended change`, never a site, ha.
    pub max_site_ha: f64,
    /// Buildings and yards closer than twice this belong to one lot, m (at least one pixel).
    pub group_radius_m: f64,
    /// At most this many scene pairs fill a cell.
    pub max_pairs_per_cell: u32,
    /// Read the scenes of each site again, the later one at its own resolution, for its buildings, its class and its
    /// images. Without, a site is an outline with statistics.
    pub second_look: bool,
}

impl Default for DetectorSpec {
    fn default() -> Self {
        Self {
            name: "default".into(),
            bands: None,
            min_site_ha: 0.25,
            max_site_ha: 400.0,
            group_radius_m: 6.0,
            max_pairs_per_cell: 4,
            second_look: true,
        }
    }
}

/// `[context]`: vector layers to set sites in relation to. GeoJSON or GeoParquet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextSection {
    /// Railway stations: points.
    pub stations: Option<String>,
    /// Roads: lines.
    pub roads: Option<String>,
    /// Towns: points.
    pub towns: Option<String>,
    /// Known facilities: points or polygons.
    pub facilities: Option<String>,
    /// Known greenhouse farms: points or polygons.
    pub greenhouses: Option<String>,
}

/// `[designations]`: counties designated by year.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DesignationsSection {
    /// CSV.
    pub source: String,
    /// Column of the county id; `county_id`, `id`, `pcode` or `ocha_pcode` where absent.
    #[serde(default)]
    pub id: Option<String>,
    /// Column of the year; `year` where absent.
    #[serde(default)]
    pub year: Option<String>,
}

/// `[[storage]]`: access to one URL prefix. Secrets stand in the environment, never here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageSection {
    /// URL prefix that this is for.
    pub prefix: String,
    /// Sign no request.
    pub anonymous: bool,
    /// Pay for requests.
    pub requester_pays: bool,
    /// Endpoint of an S3-compatible store.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Allow plain HTTP.
    pub allow_http: bool,
    /// Environment variable that holds the access key id (or account name).
    pub access_key_id_env: Option<String>,
    /// Environment variable that holds the secret access key (or account key).
    pub secret_access_key_env: Option<String>,
    /// Environment variable that holds the session token (or SAS token).
    pub session_token_env: Option<String>,
}

impl PlainScene {
    /// The id: as given, or the stem of the (first) file.
    #[must_use]
    pub fn id(&self) -> String {
        self.id.clone().unwrap_or_else(|| {
            let first = self.href.all().first().copied().unwrap_or_default().to_owned();
            let name =
                first.split(['?', '#']).next().unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
            name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
        })
    }
}

impl WindowSection {
    /// First and last day, where both are given.
    #[must_use]
    pub fn range(&self) -> Option<(NaiveDate, NaiveDate)> {
        Some((self.from?.0, self.to?.0))
    }
}
