//! From a scenario to a folder: scenes, catalog, counties, context, truth, and a survey file that is ready to run.

mod scene;
mod survey_file;
mod truth;

pub use scene::write_scene;
use survey_file::SurveyText;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::catalog;
use crate::county::{self, CountyFile, FileCounty, position};
use crate::error::SimulateError;
use crate::items::{self, ItemsPlan};
use crate::noise::Dice;
use crate::scenario::{self, CountySite, Scenario, SensorChoice};
use crate::sensor::Dtype;
use crate::world::layout::StationPlan;
use crate::world::{Phase, WayKind};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder to write to.
    pub out: PathBuf,
    /// Decides everything that is not said here.
    pub seed: u64,
    /// Where.
    pub place: PlaceOptions,
    /// The earlier date's sensor.
    pub before: SensorChoice,
    /// The later date's sensor.
    pub after: SensorChoice,
    /// Clouds in one of the province's later scenes.
    pub clouds: bool,
    /// The second scene of each date in the next UTM zone.
    pub other_zone: bool,
}

/// Where to simulate.
#[derive(Clone, Debug)]
pub enum PlaceOptions {
    /// The made-up province.
    Province,
    /// Counties of a file: the land around a station in each that is named.
    Counties(CountyOptions),
    /// No pixels: an item collection whose footprints cover the counties of a file.
    ItemsOnly(CountyOptions, Option<f64>),
}

/// Counties of a file.
#[derive(Clone, Debug, Default)]
pub struct CountyOptions {
    /// GeoJSON.
    pub file: PathBuf,
    /// Ids.
    pub only: Vec<String>,
    /// Property of the id, where it is not found by itself.
    pub id: Option<String>,
    /// Property of the name.
    pub name: Option<String>,
    /// The case of Kyongsong: where its station is, and what was seen there.
    pub kyongsong: bool,
    /// Side of the land that is rendered, metres.
    pub side_m: Option<f32>,
}

/// Longitude and latitude of Kyongsong Station, as derived from what was published: good for a demonstration.
const KYONGSONG_STATION: (f64, f64) = (129.615_11, 41.576_54);
/// The Jungphyong greenhouse farm.
const JUNGPHYONG_FARM: (f64, f64) = (129.632_113, 41.557_469);
/// The id of Kyongsong County.
pub const KYONGSONG_ID: &str = "KP0216";

/// Simulates, and says what it does.
///
/// # Errors
/// Where the folder cannot be written, or the counties cannot be read or are not there.
pub fn simulate(options: &Options, say: &dyn Fn(&str)) -> Result<(), SimulateError> {
    std::fs::create_dir_all(&options.out).map_err(|error| SimulateError::file(&options.out, error))?;
    match &options.place {
        PlaceOptions::Province => {
            let scenario =
                scenario::province(options.seed, options.before, options.after, options.clouds, options.other_zone);
            let collection = county::invented_geojson(&county::invented(options.seed), &scenario.anchor);
            let counties = county::from_geojson(&collection, "pcode");
            let survey = SurveyText {
                name: "north-gaon".into(),
                id: "pcode".into(),
                county_name: Some("name_en".into()),
                parent: Some("province_en".into()),
                before: ("2023-08-01", "2023-10-31"),
                after: ("2024-05-01", "2024-06-30"),
                resolution_m: Some(coarser(options)),
                context: true,
                catalog: "scenes/catalog.json",
            };
            let designations = [("NG0101", 2024), ("NG0102", 2024), ("NG0104", 2024), ("NG0105", 2025)];
            let designations = designations.map(|(id, year)| (id.to_owned(), year));
            write_all(options, &[scenario], &collection, &counties, &designations, &[], &survey, say)
        }
        PlaceOptions::Counties(wanted) => in_counties(options, wanted, say),
        PlaceOptions::ItemsOnly(wanted, resolution_m) => {
            let file = CountyFile::read(&wanted.file, wanted.id.as_deref(), wanted.name.as_deref(), &wanted.only)?;
            let chosen: Vec<&FileCounty> =
                file.counties.iter().filter(|c| wanted.only.is_empty() || wanted.only.contains(&c.id)).collect();
            if chosen.is_empty() {
                return Err(unknown(wanted, &file));
            }
            items_only(options, &file, &chosen, wanted, *resolution_m, say)
        }
    }
}

fn coarser(options: &Options) -> f64 {
    options.before.gsd_m.unwrap_or(1.0).max(options.after.gsd_m.unwrap_or(0.5))
}

fn unknown(wanted: &CountyOptions, file: &CountyFile) -> SimulateError {
    let some: Vec<&str> = file.counties.iter().take(5).map(|county| county.id.as_str()).collect();
    SimulateError::Counties {
        path: wanted.file.display().to_string(),
        cause: format!("no county `{}` by the property `{}`", wanted.only.join("`, `"), file.id_property),
        mend: format!("take ids like {}, or name another property with --id", some.join(", ")),
    }
}

fn in_counties(options: &Options, wanted: &CountyOptions, say: &dyn Fn(&str)) -> Result<(), SimulateError> {
    let mut only = wanted.only.clone();
    if only.is_empty() && wanted.kyongsong {
        only.push(KYONGSONG_ID.into());
    }
    let file = CountyFile::read(&wanted.file, wanted.id.as_deref(), wanted.name.as_deref(), &only)?;
    if only.is_empty() {
        return Err(SimulateError::Argument {
            argument: "--only",
            cause: format!("which of the {} counties is not said", file.counties.len()),
            mend: "name one or a few, or take --items-only to cover all of them without pixels".into(),
        });
    }
    let mut scenarios = Vec::new();
    let mut listed: Vec<&FileCounty> = Vec::new();
    for (index, id) in only.iter().enumerate() {
        let Some(county) = file.county(id) else {
            return Err(unknown(&CountyOptions { only: vec![id.clone()], ..wanted.clone() }, &file));
        };
        let seed = options.seed.wrapping_add(index as u64);
        let site = county_site(county, wanted, seed).ok_or_else(|| SimulateError::Counties {
            path: wanted.file.display().to_string(),
            cause: format!("no place inside the border of `{id}` was found"),
            mend: "mend the border, or take another county".into(),
        })?;
        let mut before = options.before;
        if wanted.kyongsong && before.dtype.is_none() {
            before.dtype = Some(Dtype::Uint8);
        }
        let mut after = options.after;
        if wanted.kyongsong && after.gsd_m.is_none() {
            after.gsd_m = Some(0.4);
        }
        scenarios.push(scenario::county(seed, &site, before, after));
        for near in file.neighbourhood(id) {
            if !listed.iter().any(|other| other.id == near.id) {
                listed.push(near);
            }
        }
    }
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    let counties: Vec<FileCounty> = listed.into_iter().cloned().collect();
    let collection = json!({
        "type": "FeatureCollection",
        "features": counties.iter().map(|county| county.feature.clone()).collect::<Vec<_>>(),
    });
    let designations: Vec<(String, i32)> = only.iter().map(|id| (id.clone(), 2024)).collect();
    let farms: Vec<(&str, (f64, f64))> =
        if wanted.kyongsong { vec![("Jungphyong greenhouse farm", JUNGPHYONG_FARM)] } else { Vec::new() };
    let survey = SurveyText {
        name: scenarios.first().map_or_else(String::new, |scenario| scenario.name.clone()),
        id: file.id_property.clone(),
        county_name: file.name_property.clone(),
        parent: file.parent_property.clone(),
        before: ("2023-06-01", "2023-12-31"),
        after: ("2024-05-01", "2024-06-30"),
        resolution_m: Some(coarser(options)),
        context: true,
        catalog: "scenes/catalog.json",
    };
    write_all(options, &scenarios, &collection, &counties, &designations, &farms, &survey, say)
}

/// Where in a county the station stands, and what is built near it.
fn county_site(county: &FileCounty, wanted: &CountyOptions, seed: u64) -> Option<CountySite> {
    let mut dice = Dice::new(seed, 9);
    let half_m = wanted.side_m.unwrap_or(2400.0) / 2.0;
    let here = wanted.kyongsong && county.id == KYONGSONG_ID;
    let station = if here { KYONGSONG_STATION } else { county::inner_point(&county.border)? };
    let bearing = f64::from((dice.bits() % 8) * 45);
    let plan = StationPlan {
        station: format!("{} Station", county.name),
        half_m,
        lot_bearing: if here { 225.0 } else { bearing },
        lot_distance_m: if here { 500.0 } else { dice.between(400.0, 560.0).min(half_m * 0.5) },
        lot_ha: if here { 3.3 } else { (dice.between(1.8, 3.6) * 10.0).round() / 10.0 },
        phase: if here { Phase::Frames } else { dice.pick(&[Phase::Frames, Phase::Roofed], Phase::Frames) },
    };
    Some(CountySite { name: county.name.clone(), station, plan, days: ("2023-10-02", "2024-05-29") })
}

fn items_only(
    options: &Options,
    file: &CountyFile,
    chosen: &[&FileCounty],
    wanted: &CountyOptions,
    resolution_m: Option<f64>,
    say: &dyn Fn(&str),
) -> Result<(), SimulateError> {
    let plan = ItemsPlan {
        before_gsd_m: resolution_m.or(options.before.gsd_m).unwrap_or(10.0),
        after_gsd_m: resolution_m.or(options.after.gsd_m).unwrap_or(10.0),
        seed: options.seed,
    };
    say(&format!("laying scenes over {} counties", chosen.len()));
    let items = items::collection(chosen.iter().map(|county| &county.border), &plan);
    say(&format!("{} items", items.len()));
    write_json(&options.out.join("items.json"), &json!({"type": "FeatureCollection", "features": items}))?;
    let whole = chosen.len() == file.counties.len();
    let counties = options.out.join("counties.geojson");
    if whole {
        // Not `fs::copy`, which would carry a write protection over.
        let bytes = std::fs::read(&wanted.file).map_err(|error| SimulateError::file(&wanted.file, error))?;
        std::fs::write(&counties, bytes).map_err(|error| SimulateError::file(&counties, error))?;
    } else {
        let features: Vec<&Value> = chosen.iter().map(|county| &county.feature).collect();
        write_json(&counties, &json!({"type": "FeatureCollection", "features": features}))?;
    }
    let survey = SurveyText {
        name: "items".into(),
        id: file.id_property.clone(),
        county_name: file.name_property.clone(),
        parent: file.parent_property.clone(),
        before: items::BEFORE,
        after: items::AFTER,
        resolution_m: Some(plan.before_gsd_m.max(plan.after_gsd_m)),
        context: false,
        catalog: "items.json",
    };
    write_text(&options.out.join("survey.toml"), &survey.text())
}

#[allow(clippy::too_many_arguments, reason = "each is a file of its own")]
fn write_all(
    options: &Options,
    scenarios: &[Scenario],
    collection: &Value,
    counties: &[FileCounty],
    designations: &[(String, i32)],
    farms: &[(&str, (f64, f64))],
    survey: &SurveyText,
    say: &dyn Fn(&str),
) -> Result<(), SimulateError> {
    let out = &options.out;
    let mut ids = Vec::new();
    for scenario in scenarios {
        for scene in &scenario.scenes {
            let megapixels = f64::from(scene.width) * f64::from(scene.height) / 1e6;
            say(&format!("rendering {} ({megapixels:.1} Mpx at {} m)", scene.id, scene.sensor.gsd_m));
            write_scene(scenario, scene, &out.join("scenes"))?;
            ids.push(scene.id.as_str());
        }
    }
    write_json(&out.join("scenes/catalog.json"), &catalog::catalog(&survey.name, &ids))?;
    write_json(&out.join("counties.geojson"), collection)?;
    for (file, kind) in
        [("stations", "railway_station"), ("towns", "town"), ("facilities", "factory"), ("greenhouses", "greenhouse")]
    {
        let mut features = Vec::new();
        for scenario in scenarios {
            for place in scenario.world.places.iter().filter(|place| place.kind == kind) {
                features.push(json!({
                    "type": "Feature",
                    "properties": {"name": place.name, "kind": kind},
                    "geometry": {"type": "Point", "coordinates": position(&scenario.anchor, place.at)},
                }));
            }
        }
        if kind == "greenhouse" {
            features.extend(farms.iter().map(|(name, (lon, lat))| {
                json!({"type": "Feature", "properties": {"name": name, "kind": kind}, "geometry": {"type": "Point", "coordinates": [lon, lat]}})
            }));
        }
        write_json(&out.join(format!("{file}.geojson")), &json!({"type": "FeatureCollection", "features": features}))?;
    }
    let mut roads = Vec::new();
    for scenario in scenarios {
        for way in scenario.world.ways.iter().filter(|way| way.kind == WayKind::Road) {
            let line: Vec<Value> = way.line.iter().map(|&p| position(&scenario.anchor, p)).collect();
            roads.push(json!({"type": "Feature", "properties": {"kind": "road"}, "geometry": {"type": "LineString", "coordinates": line}}));
        }
    }
    write_json(&out.join("roads.geojson"), &json!({"type": "FeatureCollection", "features": roads}))?;
    let rows: String = designations.iter().map(|(id, year)| format!("{id},{year}\n")).collect();
    write_text(&out.join("designations.csv"), &format!("county_id,year\n{rows}"))?;
    let truth: Vec<Value> = scenarios.iter().flat_map(|scenario| truth::features(scenario, counties)).collect();
    write_json(&out.join("truth.geojson"), &json!({"type": "FeatureCollection", "features": truth}))?;
    write_text(&out.join("survey.toml"), &survey.text())
}

fn write_text(path: &Path, text: &str) -> Result<(), SimulateError> {
    std::fs::write(path, text).map_err(|error| SimulateError::file(path, error))
}

fn write_json(path: &Path, value: &Value) -> Result<(), SimulateError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| SimulateError::file(folder, error))?;
    }
    write_text(path, &format!("{value:#}\n"))
}
