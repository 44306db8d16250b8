//! `survey.toml`: the one input of a survey.
//!
//! Read strictly: an unknown key is refused with the nearest known one, and everything that can be checked without
//! looking at a file is checked here. Every key is documented in `docs/survey.md`.

mod check;
mod keys;
mod sections;

use std::collections::BTreeMap;

pub use self::sections::{
    ContextSection, CountiesSection, DEFAULT_TILE_PX, DesignationsSection, DetectorSpec, GridSection, Hrefs,
    InvalidPolygons, LocalDate, PlainMask, PlainScene, StorageSection, SurveySection, SurveySpec, WindowSection,
};
use crate::ids::Digest;

/// Detectors that `[detector] name` and `evaluate detect --detector` take.
pub const DETECTORS: [&str; 3] = ["default", "irmad", "cva"];

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

impl SurveySpec {
    /// Reads a survey file.
    ///
    /// # Errors
    /// Names the key, what is wrong with it and the mend.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let value: toml::Value =
            toml::from_str(text).map_err(|error| SpecError::Syntax(error.to_string().trim().to_owned()))?;
        keys::refuse_unknown_keys("", &value)?;
        let spec: Self =
            toml::from_str(text).map_err(|error| SpecError::Syntax(error.to_string().trim().to_owned()))?;
        spec.check()?;
        Ok(spec)
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

#[cfg(test)]
mod tests {
    use super::keys::KNOWN;
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
