//! What is written: the same bytes for the same seed, files that others read, and a survey file that is ready to run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests may stop where they stand")]

use std::path::{Path, PathBuf};
use std::process::Command;

use geo::{Area, Contains, Coord, LineString, MultiPolygon, Point, Polygon};
use serde_json::Value;
use simulate::county::{CountyFile, inner_point, invented};
use simulate::items::{ItemsPlan, collection};
use simulate::scenario::{self, SensorChoice};
use simulate::sensor::Dtype;
use simulate::world::{Phase, Present, SiteClass};
use simulate::write::{CountyOptions, Options, PlaceOptions, simulate, write_scene};
use survey::ids::Digest;
use survey::spec::SurveySpec;

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    path.exists().then_some(path)
}

fn files(folder: &Path) -> Vec<(PathBuf, Digest)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.push((name, Digest::of(&std::fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_number_of_threads() {
    let write = |threads, seed| {
        let folder = tempfile::tempdir().unwrap();
        let scenario = scenario::small(seed, 640.0, 2.0, Phase::Roofed);
        in_pool(threads, || {
            for scene in &scenario.scenes {
                write_scene(&scenario, scene, folder.path()).unwrap();
            }
        });
        files(folder.path())
    };
    let once = write(1, 7);
    assert_eq!(once.len(), 4, "two scenes and their items");
    assert_eq!(once, write(3, 7));
    assert_ne!(once, write(1, 8));
}

#[test]
fn rasterio_finds_in_the_files_what_the_items_say() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python");
    if !Command::new(python).args(["-c", "import rasterio"]).output().is_ok_and(|output| output.status.success()) {
        println!(
            "skipped: rasterio_finds_in_the_files_what_the_items_say: no Python with rasterio at .venv/bin/python"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut scenario = scenario::small(9, 640.0, 2.0, Phase::Frames);
    scenario.scenes[0].sensor = scenario::before_sensor(SensorChoice { gsd_m: None, dtype: Some(Dtype::Uint8) }, 9);
    scenario.scenes[1].clouds = Some(simulate::sensor::Clouds {
        centre: simulate::geometry::point(150.0, 150.0),
        radius_m: 120.0,
        height_m: 300.0,
        seed: 4,
    });
    for scene in &scenario.scenes {
        write_scene(&scenario, scene, folder.path()).unwrap();
    }
    let script = r#"
import hashlib, json, pathlib, sys, numpy as np, rasterio, rasterio.warp
seen = set()
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/*.json")):
    item = json.load(open(path))
    seen.add(item["stac_version"])
    for key, asset in item["assets"].items():
        file = path.parent / asset["href"]
        data = file.read_bytes()
        assert asset["file:size"] == len(data)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest()
        with rasterio.open(file) as s:
            assert f"EPSG:{s.crs.to_epsg()}" == asset["proj:code"]
            assert list(s.shape) == asset["proj:shape"]
            assert np.allclose(list(s.transform)[:6], asset["proj:transform"], atol=1e-9)
            pixels = s.read()
            if key == "cloud-mask":
                assert set(np.unique(pixels)) == {0, 1, 2}, np.unique(pixels)
                continue
            bands = asset.get("bands") or [{**e, **r} for e, r in zip(asset["eo:bands"], asset["raster:bands"])]
            assert [b["name"] for b in bands] == list(s.descriptions)
            assert all(b["data_type"] == s.dtypes[0] and b["nodata"] == s.nodata for b in bands)
            assert s.overviews(1) and pixels.min() >= 1
            assert np.ptp(pixels.reshape(len(bands), -1), axis=1).min() > 50, "a picture, not a blank"
            west, south, east, north = rasterio.warp.transform_bounds(s.crs, "EPSG:4326", *s.bounds)
            assert np.allclose(item["bbox"], [west, south, east, north], atol=2e-5), (item["bbox"], west)
assert seen == {"1.0.0", "1.1.0"}, seen
"#;
    let output = Command::new(python).args(["-c", script]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn counties_of_the_province_share_their_borders_without_gap_or_overlap() {
    for seed in [1, 2, 99] {
        let counties = invented(seed);
        let mut edges = std::collections::BTreeMap::<[[u32; 2]; 2], i32>::new();
        let mut total = 0.0;
        for county in &counties {
            assert_eq!(county.border.first(), county.border.last());
            let ring =
                LineString(county.border.iter().map(|p| Coord { x: f64::from(p.x), y: f64::from(p.y) }).collect());
            let signed = Polygon::new(ring, Vec::new()).signed_area();
            assert!(signed > 1e6, "{} is counter-clockwise and some km² large: {signed}", county.name);
            total += signed;
            for pair in county.border.windows(2) {
                let bits = |p: simulate::geometry::Point| [p.x.to_bits(), p.y.to_bits()];
                let (a, b) = (bits(pair[0]), bits(pair[1]));
                *edges.entry(if a < b { [a, b] } else { [b, a] }).or_default() += 1;
            }
        }
        // Every edge is used once (outside) or twice, and the outer edges enclose the sum of the areas.
        assert!(edges.values().all(|&count| count == 1 || count == 2));
        assert!(edges.values().filter(|&&count| count == 2).count() > 100);
        assert!((13.5e6..16.0e6).contains(&total), "{total}");
    }
}

#[test]
fn the_province_holds_what_a_survey_is_to_find() {
    let scenario = scenario::province(1, SensorChoice::default(), SensorChoice::default(), true, false);
    let new = |class| {
        scenario.world.sites.iter().filter(|site| site.present == Present::After && site.class == class).count()
    };
    assert_eq!((new(SiteClass::Factory), new(SiteClass::Residential), new(SiteClass::Greenhouse)), (4, 1, 1));
    let phases: Vec<_> =
        scenario.world.sites.iter().filter(|s| s.present == Present::After).filter_map(|s| s.phase).collect();
    for phase in [Phase::GroundWorks, Phase::Frames, Phase::Roofed] {
        assert!(phases.contains(&phase));
    }
    let halls = scenario.world.solids.iter().filter(|solid| {
        let site = solid.site.and_then(|site| scenario.world.sites.get(usize::from(site)));
        site.is_some_and(|site| site.class == SiteClass::Factory && site.present == Present::After)
    });
    let mut count = 0;
    for hall in halls {
        count += 1;
        let (length, width) = (2.0 * hall.rect.half_length, 2.0 * hall.rect.half_width);
        assert!((15.0..=45.0).contains(&width) && (2.0..=6.0).contains(&(length / width)), "{length} x {width}");
    }
    assert!(count >= 8, "{count} halls");
    let megapixels: f64 = scenario.scenes.iter().map(|s| f64::from(s.width) * f64::from(s.height) / 1e6).sum();
    assert!((40.0..100.0).contains(&megapixels), "{megapixels}");
}

#[test]
fn a_scene_in_the_next_zone_lies_over_the_same_ground() {
    let choice = SensorChoice::default();
    let scenario = scenario::province(1, choice, choice, false, true);
    let east = &scenario.scenes[1];
    assert_eq!(east.zone, scenario.anchor.zone.east());
    let transform = east.transform();
    let (x, y) = transform.apply(f64::from(east.width) / 2.0, f64::from(east.height) / 2.0);
    let (lon, lat) = east.zone.inverse(x, y);
    let (e, n) = scenario.anchor.zone.forward(lon, lat);
    let (local_x, local_y) = scenario.anchor.local(east.zone, x, y);
    assert!(
        (e - scenario.anchor.easting - local_x).abs() < 1e-6 && (n - scenario.anchor.northing - local_y).abs() < 1e-6
    );
    assert!((2000.0..4200.0).contains(&local_x) && (1000.0..2800.0).contains(&local_y), "{local_x} {local_y}");
}

fn options(out: &Path, place: PlaceOptions) -> Options {
    Options {
        out: out.to_owned(),
        seed: 3,
        place,
        before: SensorChoice { gsd_m: Some(8.0), dtype: None },
        after: SensorChoice { gsd_m: Some(4.0), dtype: None },
        clouds: true,
        other_zone: false,
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_province_is_ready_to_survey() {
    let folder = tempfile::tempdir().unwrap();
    simulate(&options(folder.path(), PlaceOptions::Province), &|_| {}).unwrap();
    let spec = SurveySpec::parse(&std::fs::read_to_string(folder.path().join("survey.toml")).unwrap()).unwrap();
    assert_eq!(spec.grid.resolution_m, Some(8.0));
    let layers = [
        &spec.context.stations,
        &spec.context.roads,
        &spec.context.towns,
        &spec.context.facilities,
        &spec.context.greenhouses,
    ];
    for layer in layers {
        let features = read(&folder.path().join(layer.as_ref().unwrap()))["features"].as_array().unwrap().len();
        assert!(features > 0, "{layer:?}");
    }
    let catalog = read(&folder.path().join("scenes/catalog.json"));
    let items: Vec<&Value> = catalog["links"].as_array().unwrap().iter().filter(|link| link["rel"] == "item").collect();
    assert_eq!(items.len(), 4);
    for item in items {
        assert!(folder.path().join("scenes").join(item["href"].as_str().unwrap()).exists());
    }
    let truth = read(&folder.path().join("truth.geojson"));
    let lot = |name: &str| {
        truth["features"].as_array().unwrap().iter().find(|f| f["properties"]["name"] == name).unwrap()["properties"]
            .clone()
    };
    assert_eq!(lot("Gaon light-industry factory")["county_id"], "NG0102");
    assert_eq!(lot("Byeolmoru food factory")["county_id"], "NG0104");
    assert_eq!(lot("Duru factory")["county_id"], "NG0105");
    let area = lot("Gaon light-industry factory")["area_ha"].as_f64().unwrap();
    // 212 m × 155 m on the grid of a zone whose scale is 0.9997 to 1.0003 there.
    assert!((area / 3.286 - 1.0).abs() < 2e-3, "{area}");
}

#[test]
fn the_case_of_kyongsong_stands_in_its_county_and_its_neighbours_are_listed() {
    let Some(file) = shared("data/boundaries/dprk_adm2.geojson") else {
        println!(
            "skipped: the_case_of_kyongsong_stands_in_its_county_and_its_neighbours_are_listed: ../shared is not there"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let counties = CountyOptions { file, kyongsong: true, ..CountyOptions::default() };
    simulate(&options(folder.path(), PlaceOptions::Counties(counties)), &|_| {}).unwrap();
    let spec = SurveySpec::parse(&std::fs::read_to_string(folder.path().join("survey.toml")).unwrap()).unwrap();
    assert_eq!((spec.counties.id.as_str(), spec.counties.name.as_deref()), ("pcode", Some("name_en")));
    let ids: Vec<String> = read(&folder.path().join("counties.geojson"))["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| feature["properties"]["pcode"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.contains(&"KP0216".to_owned()) && ids.len() >= 4, "{ids:?}");
    let truth = read(&folder.path().join("truth.geojson"));
    let lots: Vec<&Value> =
        truth["features"].as_array().unwrap().iter().filter(|f| f["properties"]["kind"] == "lot").collect();
    let factory =
        lots.iter().find(|f| f["properties"]["class"] == "factory" && f["properties"]["change"] == true).unwrap();
    assert!((factory["properties"]["area_ha"].as_f64().unwrap() - 3.3).abs() < 0.01);
    assert!(lots.iter().all(|f| f["properties"]["county_id"] == "KP0216"));
    // 500 m south-west of the station, by plane trigonometry on the sphere.
    let ring = factory["geometry"]["coordinates"][0].as_array().unwrap();
    let mean = |axis: usize| ring[1..].iter().map(|p| p[axis].as_f64().unwrap()).sum::<f64>() / (ring.len() - 1) as f64;
    let (dlon, dlat) = (mean(0) - 129.61511, mean(1) - 41.57654);
    let (east, north) = (dlon * 111_320.0 * 41.576f64.to_radians().cos(), dlat * 111_070.0);
    assert!((east.hypot(north) - 500.0).abs() < 25.0, "{east} {north}");
    assert!((east.atan2(north).to_degrees().rem_euclid(360.0) - 225.0).abs() < 4.0, "{east} {north}");
}

#[test]
fn a_county_by_another_property_gets_a_world_and_an_unknown_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.geojson");
    let square = |id: &str, west: f64| {
        format!(
            r#"{{"type":"Feature","properties":{{"GEOID":"{id}","NAME":"County {id}"}},"geometry":{{"type":"Polygon","coordinates":[[[{west},-33.0],[{e},-33.0],[{e},-32.9],[{west},-32.9],[{west},-33.0]]]}}}}"#,
            e = west + 0.1
        )
    };
    let text = format!(
        r#"{{"type":"FeatureCollection","features":[{},{},{}]}}"#,
        square("01", 150.0),
        square("02", 150.1),
        square("07", 151.0)
    );
    std::fs::write(&file, text).unwrap();
    let wanted = |id: &str| CountyOptions { file: file.clone(), only: vec![id.into()], ..CountyOptions::default() };
    let out = folder.path().join("out");
    simulate(&options(&out, PlaceOptions::Counties(wanted("01"))), &|_| {}).unwrap();
    let spec = SurveySpec::parse(&std::fs::read_to_string(out.join("survey.toml")).unwrap()).unwrap();
    assert_eq!((spec.counties.id.as_str(), spec.counties.name.as_deref()), ("GEOID", Some("NAME")));
    let ids = read(&out.join("counties.geojson"));
    assert_eq!(ids["features"].as_array().unwrap().len(), 2, "the county and the one that touches it");
    let truth = read(&out.join("truth.geojson"));
    assert!(truth["features"].as_array().unwrap().iter().all(|f| f["properties"]["county_id"] == "01"));
    let refusal = simulate(&options(&out, PlaceOptions::Counties(wanted("99"))), &|_| {}).unwrap_err().to_string();
    assert!(refusal.contains("no county `99`") && refusal.contains("--id"), "{refusal}");
}

/// The parts of an item's footprint.
fn footprint(item: &Value) -> MultiPolygon<f64> {
    let ring = |ring: &Value| {
        LineString(
            ring.as_array()
                .unwrap()
                .iter()
                .map(|p| Coord { x: p[0].as_f64().unwrap(), y: p[1].as_f64().unwrap() })
                .collect(),
        )
    };
    let coordinates = &item["geometry"]["coordinates"];
    if item["geometry"]["type"] == "Polygon" {
        MultiPolygon(vec![Polygon::new(ring(&coordinates[0]), Vec::new())])
    } else {
        MultiPolygon(
            coordinates.as_array().unwrap().iter().map(|part| Polygon::new(ring(&part[0]), Vec::new())).collect(),
        )
    }
}

#[test]
fn items_cover_every_county_on_both_dates_also_at_the_antimeridian() {
    for (path, gsd_m) in [("data/boundaries/dprk_adm2.geojson", 0.5), ("data/boundaries/us_counties.geojson", 10.0)] {
        let Some(file) = shared(path) else {
            println!(
                "skipped: items_cover_every_county_on_both_dates_also_at_the_antimeridian: ../shared is not there"
            );
            return;
        };
        let file = CountyFile::read(&file, None, None, &[]).unwrap();
        assert!(file.counties.len() == 197 || file.counties.len() == 3230, "{}", file.counties.len());
        let plan = ItemsPlan { before_gsd_m: gsd_m, after_gsd_m: gsd_m, seed: 1 };
        let items = collection(file.counties.iter().map(|county| &county.border), &plan);
        let ids: std::collections::BTreeSet<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), items.len());
        let footprints: Vec<(bool, MultiPolygon<f64>)> =
            items.iter().map(|item| (item["properties"]["platform"] == "groundsim-a", footprint(item))).collect();
        for county in
            file.counties.iter().step_by(23).chain(file.counties.iter().filter(|c| c.name.contains("Aleutians")))
        {
            // Vertices of the border, which are the worst points, and one well inside.
            let outer =
                county.border.iter().flat_map(|polygon| polygon.exterior().0.iter().step_by(60)).map(|c| (c.x, c.y));
            for (lon, lat) in outer.chain(inner_point(&county.border)) {
                let at = Point::new(lon, lat);
                let near = |scene: &MultiPolygon<f64>| {
                    scene.contains(&at) || geo::Distance::distance(&geo::Euclidean, scene, &at) < 1e-6
                };
                for date in [true, false] {
                    assert!(
                        footprints.iter().any(|(before, scene)| *before == date && near(scene)),
                        "{} at {lon}, {lat}",
                        county.name
                    );
                }
            }
        }
    }
}
