//! `survey.toml`: the one input of a survey.
//!
//! Read strictly: an unknown key is refused with the nearest known one, and everything that can be checked without
//! looking at a file is checked here. Every key is documented in `docs/survey.md`.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::ids::Digest;

/// Why a spec is refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpecError {
    /// Not TOML, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A key that nobody reads.
    #[error("unknown key `{key}`{}", suggestion(nearest, table, known))]
    UnknownKey {
        /// The key with its table, `survey.nmae`.
        key: String,
        /// The nearest known key of the same table.
        nearest: Option<String>,
        /// The table.
        table: String,
        /// What it may hold.
        known: String,
    },
    /// A key is missing, or its value makes no sense.
    #[error("{key}: {problem}; {mend}")]
    Invalid {
        /// The key with its table.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        mend: String,
    },
}

fn suggestion(nearest: &Option<String>, table: &str, known: &str) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!(
            "; {} takes: {known}",
            if table.is_empty() { "a survey file".to_owned() } else { format!("[{table}]") }
        ),
    }
}

fn invalid(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> SpecError {
    SpecError::Invalid { key: key.into(), problem: problem.into(), mend: mend.into() }
}

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

/// What each table may hold. A test holds this against the types above.
const KNOWN: &[(&str, &[&str])] = &[
    ("", &["survey", "counties", "before", "after", "grid", "detector", "context", "designations", "storage"]),
    ("survey", &["name", "output"]),
    ("counties", &["source", "id", "name", "parent", "only", "crs", "invalid"]),
    ("before", WINDOW),
    ("after", WINDOW),
    ("grid", &["resolution_m", "tile_px", "crs"]),
    ("detector", &["name", "bands", "min_site_ha", "max_site_ha", "group_radius_m", "max_pairs_per_cell"]),
    ("context", &["stations", "roads", "towns", "facilities", "greenhouses"]),
    ("designations", &["source", "id", "year"]),
    (
        "storage",
        &[
            "prefix",
            "anonymous",
            "requester_pays",
            "endpoint",
            "region",
            "allow_http",
            "access_key_id_env",
            "secret_access_key_env",
            "session_token_env",
        ],
    ),
    ("before.scenes", SCENE),
    ("after.scenes", SCENE),
    ("before.scenes.mask", MASK),
    ("after.scenes.mask", MASK),
];
const WINDOW: &[&str] = &["from", "to", "catalog", "collections", "scenes", "max_cloud_cover", "max_off_nadir_deg"];
const SCENE: &[&str] = &["href", "date", "bands", "id", "mask", "crs", "nodata", "gsd_m", "off_nadir_deg"];
const MASK: &[&str] = &["href", "band", "meaning"];

fn refuse_unknown_keys(path: &str, value: &toml::Value) -> Result<(), SpecError> {
    match value {
        toml::Value::Table(table) => {
            let Some((_, known)) = KNOWN.iter().find(|(name, _)| *name == path) else { return Ok(()) };
            for (key, value) in table {
                let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if !known.contains(&key.as_str()) {
                    let nearest = known
                        .iter()
                        .map(|name| (strsim::damerau_levenshtein(name, key), *name))
                        .min()
                        .filter(|&(distance, name)| distance <= 2 + name.len() / 4)
                        .map(|(_, name)| name.to_owned());
                    return Err(SpecError::UnknownKey {
                        key: full,
                        nearest,
                        table: path.to_owned(),
                        known: known.join(", "),
                    });
                }
                refuse_unknown_keys(&full, value)?;
            }
            Ok(())
        }
        toml::Value::Array(items) => items.iter().try_for_each(|item| refuse_unknown_keys(path, item)),
        _ => Ok(()),
    }
}

impl SurveySpec {
    /// Reads a survey file.
    ///
    /// # Errors
    /// Names the key, what is wrong with it and the mend.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let value: toml::Value =
            toml::from_str(text).map_err(|error| SpecError::Syntax(error.to_string().trim().to_owned()))?;
        refuse_unknown_keys("", &value)?;
        let spec: Self =
            toml::from_str(text).map_err(|error| SpecError::Syntax(error.to_string().trim().to_owned()))?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), SpecError> {
        if self.survey.name.trim().is_empty() {
            return Err(invalid("survey.name", "it is empty", "give the survey a name"));
        }
        if self.survey.output.trim().is_empty() {
            return Err(invalid("survey.output", "it is empty", "name a folder or an object-store URL"));
        }
        for (key, window) in [("before", &self.before), ("after", &self.after)] {
            window.check(key)?;
        }
        if let (Some(before), Some(after)) = (self.before.range(), self.after.range())
            && before.0 > after.0
        {
            return Err(invalid(
                "before.from",
                format!(
                    "the window before ({} to {}) begins later than the window after ({} to {})",
                    before.0, before.1, after.0, after.1
                ),
                "swap [before] and [after]",
            ));
        }
        if let Some(only) = &self.counties.only
            && only.is_empty()
        {
            return Err(invalid(
                "counties.only",
                "it is empty, so no county would be surveyed",
                "name counties, or leave the key out",
            ));
        }
        if let Some(resolution) = self.grid.resolution_m
            && !(resolution.is_finite() && (0.05..=10_000.0).contains(&resolution))
        {
            return Err(invalid(
                "grid.resolution_m",
                format!("{resolution} is not a resolution"),
                "give metres between 0.05 and 10000",
            ));
        }
        if let Some(tile_px) = self.grid.tile_px
            && !(64..=8192).contains(&tile_px)
        {
            return Err(invalid(
                "grid.tile_px",
                format!("{tile_px} is not a usable tile"),
                "give pixels between 64 and 8192",
            ));
        }
        self.detector.check()
    }

    /// The spec without what must not show in a result (output, tile size, hrefs, storage), as JSON with sorted keys.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut spec = self.clone();
        spec.survey.output = String::new();
        spec.grid.tile_px = None;
        spec.storage = Vec::new();
        spec.counties.source = String::new();
        for layer in [
            &mut spec.context.stations,
            &mut spec.context.roads,
            &mut spec.context.towns,
            &mut spec.context.facilities,
            &mut spec.context.greenhouses,
        ] {
            // That a layer is used shows in the results; where it lies does not.
            *layer = layer.take().map(|_| String::new());
        }
        if let Some(designations) = &mut spec.designations {
            designations.source = String::new();
        }
        for window in [&mut spec.before, &mut spec.after] {
            window.catalog = window.catalog.take().map(|_| String::new());
            for scene in window.scenes.iter_mut().flatten() {
                let id = scene.id();
                scene.id = Some(id);
                scene.href = Hrefs::PerBand(vec![String::new(); scene.href.all().len()]);
                if let Some(mask) = &mut scene.mask {
                    mask.href = mask.href.take().map(|_| String::new());
                }
            }
        }
        sorted_json(&serde_json::to_value(&spec).unwrap_or_default()).to_string()
    }

    /// SHA-256 of [`SurveySpec::canonical`], hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        Digest::of(self.canonical().as_bytes()).to_hex()
    }

    /// Side of a tile, pixels.
    #[must_use]
    pub fn tile_px(&self) -> u32 {
        self.grid.tile_px.unwrap_or(DEFAULT_TILE_PX)
    }
}

fn sorted_json(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(object) => {
            let sorted: BTreeMap<&String, serde_json::Value> =
                object.iter().map(|(key, value)| (key, sorted_json(value))).collect();
            serde_json::Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        serde_json::Value::Array(items) => serde_json::Value::Array(items.iter().map(sorted_json).collect()),
        other => other.clone(),
    }
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

    fn check(&self, key: &str) -> Result<(), SpecError> {
        match (&self.catalog, &self.scenes) {
            (None, None) => {
                return Err(invalid(
                    key,
                    "it names neither a catalog nor scenes",
                    format!(
                        "add {key}.catalog = \"…\" or {key}.scenes = [{{ href = \"…\", date = 2024-05-29, bands = [\"red\", \"green\", \"blue\"] }}]"
                    ),
                ));
            }
            (Some(_), Some(_)) => return Err(invalid(key, "it names both a catalog and scenes", "keep one of them")),
            (Some(_), None) if self.range().is_none() => {
                return Err(invalid(key, "a catalog needs a time window", format!("add {key}.from and {key}.to")));
            }
            _ => {}
        }
        if let Some((from, to)) = self.range()
            && from > to
        {
            return Err(invalid(
                &format!("{key}.from"),
                format!("{from} is later than {key}.to = {to}"),
                "swap the two dates",
            ));
        }
        let mut ids = std::collections::BTreeSet::new();
        for (index, scene) in self.scenes.iter().flatten().enumerate() {
            let name = format!("{key}.scenes[{index}]");
            let hrefs = scene.href.all();
            if hrefs.is_empty() || hrefs.iter().any(|href| href.trim().is_empty()) {
                return Err(invalid(&format!("{name}.href"), "it is empty", "name the scene's file or files"));
            }
            if scene.bands.iter().all(|band| band.is_empty()) {
                return Err(invalid(
                    &format!("{name}.bands"),
                    "it names no band",
                    "give STAC common names, such as [\"red\", \"green\", \"blue\"]",
                ));
            }
            let mut named: Vec<_> = scene
                .bands
                .iter()
                .filter(|band| !band.is_empty())
                .map(|band| crate::scene::BandName::new(band))
                .collect();
            let count = named.len();
            named.sort();
            named.dedup();
            if named.len() != count {
                return Err(invalid(
                    &format!("{name}.bands"),
                    "it names a band twice",
                    "name each band once, and write \"\" for a band to leave out",
                ));
            }
            if let Hrefs::PerBand(hrefs) = &scene.href
                && hrefs.len() != scene.bands.len()
            {
                return Err(invalid(
                    &format!("{name}.bands"),
                    format!("{} bands for {} files", scene.bands.len(), hrefs.len()),
                    "give one band name per file",
                ));
            }
            if !ids.insert(scene.id()) {
                return Err(invalid(
                    &format!("{name}.id"),
                    format!("another scene is called `{}` too", scene.id()),
                    "give each scene an id of its own",
                ));
            }
            if let Some((from, to)) = self.range()
                && !(from..=to).contains(&scene.date.0)
            {
                return Err(invalid(
                    &format!("{name}.date"),
                    format!("{} lies outside {key}.from = {from} to {key}.to = {to}", scene.date.0),
                    "correct the date, or widen the window",
                ));
            }
        }
        if self.scenes.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid(&format!("{key}.scenes"), "it is empty", "name at least one scene"));
        }
        Ok(())
    }
}

/// Detectors that `[detector] name` and `evaluate detect --detector` take.
pub const DETECTORS: [&str; 3] = ["default", "irmad", "cva"];

impl DetectorSpec {
    fn check(&self) -> Result<(), SpecError> {
        if !DETECTORS.contains(&self.name.as_str()) {
            return Err(invalid(
                "detector.name",
                format!("there is no detector `{}`", self.name),
                format!("take one of {}", DETECTORS.join(", ")),
            ));
        }
        if !(self.min_site_ha.is_finite() && self.min_site_ha >= 0.0) {
            return Err(invalid(
                "detector.min_site_ha",
                format!("{} is not an area", self.min_site_ha),
                "give hectares",
            ));
        }
        if !(self.max_site_ha.is_finite() && self.max_site_ha > self.min_site_ha) {
            return Err(invalid("detector.max_site_ha", "it is not larger than min_site_ha", "give hectares"));
        }
        if !(self.group_radius_m.is_finite() && (0.0..=200.0).contains(&self.group_radius_m)) {
            return Err(invalid(
                "detector.group_radius_m",
                format!("{} is not a radius", self.group_radius_m),
                "give metres between 0 and 200",
            ));
        }
        if !(1..=16).contains(&self.max_pairs_per_cell) {
            return Err(invalid("detector.max_pairs_per_cell", "it is out of range", "give a number from 1 to 16"));
        }
        if self.bands.as_ref().is_some_and(Vec::is_empty) {
            return Err(invalid("detector.bands", "it is empty", "name bands, or leave the key out"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        [survey]
        name = "pucallpa"
        [counties]
        source = "counties.geojson"
        id = "pcode"
        [before]
        from = 2023-06-01
        to = 2023-12-31
        catalog = "scenes/catalog.json"
        [after]
        scenes = [{ href = "after.tif", date = 2024-05-29, bands = ["red", "green", "blue"] }]
    "#;

    fn refusal(from: &str, to: &str) -> String {
        assert!(MINIMAL.contains(from));
        SurveySpec::parse(&MINIMAL.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn a_minimal_spec_has_defaults() {
        let spec = SurveySpec::parse(MINIMAL).unwrap();
        assert_eq!(spec.survey.output, "out");
        assert_eq!(spec.tile_px(), 1024);
        assert_eq!(spec.after.scenes.unwrap()[0].id(), "after");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        assert_eq!(refusal("name =", "nmae ="), "unknown key `survey.nmae`; did you mean `name`?");
        assert_eq!(refusal("[before]", "[befor]"), "unknown key `befor`; did you mean `before`?");
        assert_eq!(refusal("href =", "herf ="), "unknown key `after.scenes.herf`; did you mean `href`?");
        assert!(refusal("id =", "zzzzzzzzzz =").contains("[counties] takes: source, id"));
    }

    #[test]
    fn swapped_dates_are_refused_with_the_mend() {
        assert_eq!(
            refusal("to = 2023-12-31", "to = 2022-12-31"),
            "before.from: 2023-06-01 is later than before.to = 2022-12-31; swap the two dates"
        );
        assert!(refusal("date = 2024-05-29,", "date = 2024-05-32,").contains("2024-05-32"));
    }

    #[test]
    fn a_window_without_scenes_and_a_repeated_band_are_refused() {
        assert!(
            refusal(r#"catalog = "scenes/catalog.json""#, "").contains("before: it names neither a catalog nor scenes")
        );
        assert!(refusal(r#""green""#, r#""red""#).contains("names a band twice"));
    }

    #[test]
    fn the_canonical_spec_forgets_output_tiles_and_hrefs_and_nothing_else() {
        let spec = SurveySpec::parse(MINIMAL).unwrap();
        let moved = MINIMAL
            .replace(r#"name = "pucallpa""#, "name = \"pucallpa\"\noutput = \"s3://b/o\"")
            .replace("counties.geojson", "s3://b/counties.geojson")
            .replace("after.tif", "https://h/x/after.tif?sig=1")
            + "[grid]\ntile_px = 256\n";
        assert_eq!(SurveySpec::parse(&moved).unwrap().hash(), spec.hash());
        let other = MINIMAL.replace("2023-06-01", "2023-06-02");
        assert_ne!(SurveySpec::parse(&other).unwrap().hash(), spec.hash());
    }

    #[test]
    fn every_key_of_the_types_is_known_and_every_known_key_is_one_of_the_types() {
        let full = format!(
            r#"{}
            [grid]
            resolution_m = 1.0
            tile_px = 512
            crs = "EPSG:32652"
            [detector]
            bands = ["red"]
            [context]
            stations = "a"
            roads = "a"
            towns = "a"
            facilities = "a"
            greenhouses = "a"
            [designations]
            source = "d.csv"
            id = "pcode"
            year = "year"
            [[storage]]
            prefix = "s3://b"
            endpoint = "e"
            region = "r"
            access_key_id_env = "A"
            secret_access_key_env = "B"
            session_token_env = "C"
            "#,
            MINIMAL
                .replace(r#"id = "pcode""#, "id = \"pcode\"\nname = \"n\"\nparent = \"p\"\nonly = [\"K\"]\ncrs = \"EPSG:4326\"")
                .replace("date = 2024-05-29,", "date = 2024-05-29, id = \"i\", mask = { href = \"m\" }, crs = \"c\", nodata = 0, gsd_m = 1.0, off_nadir_deg = 3.0,")
                .replace("catalog =", "collections = [\"c\"]\nmax_cloud_cover = 10.0\nmax_off_nadir_deg = 30.0\ncatalog =")
        );
        let spec = SurveySpec::parse(&full).unwrap();
        let written = serde_json::to_value(&spec).unwrap();
        let keys = |value: &serde_json::Value| {
            let mut keys: Vec<String> = value.as_object().unwrap().iter().map(|(key, _)| key.clone()).collect();
            keys.sort();
            keys
        };
        for (path, known) in KNOWN.iter().filter(|(path, _)| !path.is_empty() && !path.starts_with("before.")) {
            let mut at = &written;
            for part in path.split('.') {
                at = &at[part];
                if at.is_array() {
                    at = &at[0];
                }
            }
            let mut known: Vec<String> = known.iter().map(|key| (*key).to_owned()).collect();
            known.sort();
            assert_eq!(keys(at), known, "{path}");
        }
    }
}
