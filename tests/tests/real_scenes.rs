//! Surveys of real scenes, from `../shared/data`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use groundbreak_tests::survey_run::{shared, succeed, table};

type Row = BTreeMap<String, String>;

/// A folder with a survey of real scenes.
struct Survey {
    folder: tempfile::TempDir,
}

impl Survey {
    fn new(counties: &[(&str, [[f64; 2]; 4])], before: &str, after: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let features: Vec<_> = counties
            .iter()
            .map(|(id, ring)| {
                let mut ring = ring.to_vec();
                ring.push(ring[0]);
                serde_json::json!({ "type": "Feature", "properties": { "id": id }, "geometry": { "type": "Polygon", "coordinates": [ring] } })
            })
            .collect();
        let borders = serde_json::json!({ "type": "FeatureCollection", "features": features });
        std::fs::write(folder.path().join("counties.geojson"), borders.to_string()).unwrap();
        let text = format!(
            "[survey]\nname = \"real\"\n[counties]\nsource = \"counties.geojson\"\nid = \"id\"\n[before]\nscenes = [{before}]\n[after]\nscenes = [{after}]\n{more}\n"
        );
        std::fs::write(folder.path().join("survey.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> (Vec<Row>, Vec<Row>) {
        succeed(&["run", self.path("survey.toml").to_str().unwrap()], &[]);
        let results = self.path("out/results");
        let counties = table(&results.join("counties.csv"));
        for county in &counties {
            every_pixel_is_accounted_for(county);
        }
        (counties, table(&results.join("sites.csv")))
    }
}

fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

fn every_pixel_is_accounted_for(county: &Row) {
    let parts = ["surveyed_px", "gap_no_scene", "gap_cloud", "gap_nodata", "gap_unreadable", "gap_failed_job"];
    let sum: f64 = parts.iter().map(|column| number(county, column)).sum();
    assert_eq!(sum, number(county, "pixels"), "{county:?}");
}

fn pucallpa(data: &Path, year: u32) -> String {
    let path = data.join(format!("data/scenes/landsat_pucallpa/{year}.tif"));
    format!(r#"{{ href = "{}", date = {year}-07-01, bands = ["swir16", "nir", "red", "green"] }}"#, path.display())
}

/// Three counties that share borders inside the scene. The town lies in the middle one.
const PUCALLPA: [(&str, [[f64; 2]; 4]); 3] = [
    ("west", [[-74.70, -8.56], [-74.62, -8.57], [-74.64, -8.30], [-74.70, -8.30]]),
    ("town", [[-74.62, -8.57], [-74.45, -8.56], [-74.46, -8.29], [-74.64, -8.30]]),
    ("east", [[-74.45, -8.56], [-74.18, -8.56], [-74.18, -8.30], [-74.46, -8.29]]),
];

#[test]
fn the_growth_of_pucallpa_is_found_and_every_pixel_is_accounted_for() {
    let Some(data) = shared("the_growth_of_pucallpa_is_found") else { return };
    let survey = Survey::new(&PUCALLPA, &pucallpa(&data, 1985), &pucallpa(&data, 2020), "");
    let (counties, sites) = survey.run();
    assert_eq!(counties.len(), 3);
    for county in &counties {
        assert!(number(county, "coverage") > 0.99, "{county:?}");
    }
    // The three counties tile a quadrilateral whose area is known: neither overlap nor gap along their borders.
    let pixel_m2 = number(&counties[0], "area_ha") * 1e4 / number(&counties[0], "pixels");
    let found: f64 = counties.iter().map(|county| number(county, "pixels")).sum::<f64>() * pixel_m2 / 1e4;
    let expected = ground_area_ha(&[
        [-74.70, -8.56],
        [-74.62, -8.57],
        [-74.45, -8.56],
        [-74.18, -8.56],
        [-74.18, -8.30],
        [-74.46, -8.29],
        [-74.64, -8.30],
        [-74.70, -8.30],
    ]);
    assert!((found / expected - 1.0).abs() < 0.002, "{found} ha against {expected} ha");
    // The town grew around (-74.55, -8.39).
    let near = |row: &&Row| (number(row, "lon") + 74.56).abs() < 0.05 && (number(row, "lat") + 8.39).abs() < 0.05;
    let grown: f64 =
        sites.iter().filter(|site| site["county_id"] == "town").filter(near).map(|site| number(site, "area_ha")).sum();
    let town = counties.iter().find(|county| county["county_id"] == "town").unwrap();
    let extended = number(town, "extended_change_ha");
    assert!(grown + extended > 300.0, "{grown} ha in sites and {extended} ha in extended change around the town");
}

/// Area of a small polygon in longitude and latitude on the WGS 84 ellipsoid, by its local scale.
fn ground_area_ha(ring: &[[f64; 2]]) -> f64 {
    let latitude = (ring.iter().map(|point| point[1]).sum::<f64>() / ring.len() as f64).to_radians();
    let (a, e2): (f64, f64) = (6_378_137.0, 0.006_694_379_990_14);
    let w = 1.0 - e2 * latitude.sin().powi(2);
    let (east, north) = (a / w.sqrt() * latitude.cos(), a * (1.0 - e2) / w.powf(1.5));
    let shoelace: f64 =
        (0..ring.len()).map(|i| (ring[i], ring[(i + 1) % ring.len()])).map(|(p, q)| p[0] * q[1] - q[0] * p[1]).sum();
    shoelace.abs() / 2.0 * (std::f64::consts::PI / 180.0).powi(2) * east * north / 1e4
}

#[test]
fn a_bushfire_changes_much_and_builds_nothing() {
    let Some(data) = shared("a_bushfire_changes_much_and_builds_nothing") else { return };
    let scene = |folder: &str, date: &str| {
        let folder = data.join("data/scenes/s2_australia_pilbara").join(folder);
        let bands = [("B02", "blue"), ("B03", "green"), ("B04", "red"), ("B08", "nir"), ("B11", "swir16")];
        let (mut hrefs, mut names) = (Vec::new(), Vec::new());
        for (band, name) in bands {
            let found = std::fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .find(|path| path.to_string_lossy().contains(&format!("_{band}_(Raw)")));
            if let Some(path) = found {
                hrefs.push(format!("{:?}", path.to_string_lossy()));
                names.push(format!("{name:?}"));
            }
        }
        format!(
            "{{ href = [{}], date = {date}, bands = [{}], id = \"pilbara-{date}\", mask = {{ band = 2 }} }}",
            hrefs.join(", "),
            names.join(", ")
        )
    };
    let county = [("burnt", [[116.590, -22.003], [116.616, -22.003], [116.616, -21.966], [116.590, -21.966]])];
    let survey = Survey::new(&county, &scene("A", "2018-12-01"), &scene("B", "2019-01-05"), "");
    let (counties, sites) = survey.run();
    // Where the short-wave index fell by 0.1 and the ground darkened by a fifth: 27 % of the scene burned.
    assert!(number(&counties[0], "changed_ha") > 0.05 * number(&counties[0], "area_ha"), "{:?}", counties[0]);
    assert!(number(&counties[0], "construction_ha") < 0.002 * number(&counties[0], "area_ha"), "{:?}", counties[0]);
    assert_eq!(number(&counties[0], "factory_count"), 0.0, "{sites:?}");
    for site in &sites {
        assert!(number(site, "p_factory") < 0.3, "{site:?}");
        assert_ne!(site["class"], "residential", "{site:?}");
    }
    assert!(number(&counties[0], "factory_expected") < 0.5, "{:?}", counties[0]);
}

#[test]
fn clouds_in_one_date_are_gaps_and_never_sites() {
    let Some(data) = shared("clouds_in_one_date_are_gaps_and_never_sites") else { return };
    let scene = |folder: &str, date: &str, name: &str| {
        let path = data.join("data/scenes/landsat7_chiapas").join(folder).join(name);
        format!(
            r#"{{ href = "{}", date = {date}, bands = ["blue", "green", "red", "nir", "swir16", "swir22", "", ""], nodata = -9999 }}"#,
            path.display()
        )
    };
    let county = [("chiapas", [[-93.345, 15.695], [-93.285, 15.695], [-93.285, 15.745], [-93.345, 15.745]])];
    let survey = Survey::new(
        &county,
        &scene("A", "1999-11-18", "LE70220491999322EDC01_stack.gtif"),
        &scene("B", "2002-04-16", "LE70220492002106EDC00_stack.gtif"),
        "",
    );
    let (counties, sites) = survey.run();
    assert!(number(&counties[0], "gap_cloud") + number(&counties[0], "gap_nodata") > 0.0, "{:?}", counties[0]);
    assert_eq!(number(&counties[0], "factory_count"), 0.0, "{sites:?}");
}

#[test]
fn taizhou_is_scored_on_its_sparse_labels() {
    let Some(data) = shared("taizhou_is_scored_on_its_sparse_labels") else { return };
    let folder = data.join("data/scenes/landsat_cn_taizhou");
    let at = |name: &str| folder.join(name).display().to_string();
    let work = tempfile::tempdir().unwrap();
    let (pairs, json) = (work.path().join("pairs.csv"), work.path().join("scores.json"));
    let row = format!(
        "set,before,after,truth,unchanged\ntaizhou,{},{},{},{}\n",
        at("A.tif"),
        at("B.tif"),
        at("change.tif"),
        at("unchanged.tif")
    );
    std::fs::write(&pairs, row).unwrap();
    succeed(&["evaluate", "detect", pairs.to_str().unwrap(), "--json", json.to_str().unwrap()], &[]);
    let scores: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let pixel = &scores["sets"]["taizhou"]["pixel"];
    assert_eq!(scores["sets"]["taizhou"]["pairs"], 1);
    // What log-Otsu reaches on this pair is 0.754 (method, section 5).
    assert!(pixel["kappa"].as_f64().unwrap() > 0.85, "{scores}");
    assert!(pixel["accuracy"].as_f64().unwrap() > 0.93, "{scores}");
}
