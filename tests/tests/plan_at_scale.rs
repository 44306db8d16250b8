//! `groundbreak plan` over all counties of a country, from an item collection, before any pixel is there.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use groundbreak_tests::survey_run::{Taken, measure, refuse, shared, succeed, table};

fn plan(counties: &str, more: &[&str]) -> (tempfile::TempDir, serde_json::Value) {
    let work = tempfile::tempdir().unwrap();
    let world = work.path().join("world");
    let mut arguments =
        vec!["simulate", "--out", world.to_str().unwrap(), "--seed", "1", "--items-only", "--counties", counties];
    arguments.extend(more);
    succeed(&arguments, &[]);
    let out = work.path().join("plan");
    succeed(&["plan", world.join("survey.toml").to_str().unwrap(), "--out", out.to_str().unwrap()], &[]);
    let summary = serde_json::from_slice(&std::fs::read(out.join("plan.json")).unwrap()).unwrap();
    (work, summary)
}

#[test]
fn all_counties_of_the_dprk_are_planned() {
    let Some(data) = shared("all_counties_of_the_dprk_are_planned") else { return };
    let counties = data.join("data/boundaries/dprk_adm2.geojson");
    let (work, summary) = plan(counties.to_str().unwrap(), &["--resolution", "10"]);
    assert_eq!(summary["counties"], 197);
    // 124,208 km² (data/README.md) and a margin of at least 128 pixels around the country.
    let km2 = summary["pixels"].as_f64().unwrap() * 100.0 / 1e6;
    assert!((124_208.0..175_000.0).contains(&km2), "{km2} km²");
    assert!(summary["fetch_bytes"].as_u64().unwrap() > 1 << 30, "{summary}");
    let rows = table(&work.path().join("plan/counties.csv"));
    assert_eq!(rows.len(), 197);
    assert!(rows.iter().all(|row| row["tiles"].parse::<u32>().unwrap() > 0));
}

#[test]
fn all_counties_of_the_united_states_are_planned_and_the_invalid_ones_are_named() {
    let Some(data) = shared("all_counties_of_the_united_states_are_planned") else { return };
    let counties = data.join("data/boundaries/us_counties.geojson");
    let (work, summary) = plan(counties.to_str().unwrap(), &["--resolution", "30"]);
    assert_eq!(summary["counties"], 3230);
    let rows = table(&work.path().join("plan/counties.csv"));
    assert_eq!(rows.len(), 3230);
    let repaired = rows.iter().filter(|row| row["notes"].contains("repaired")).count();
    // 21 by the data's own README; validity checks differ a little in what they call invalid.
    assert!((15..=40).contains(&repaired), "{repaired} counties repaired");
    let survey = work.path().join("world/survey.toml");
    let text = std::fs::read_to_string(&survey).unwrap().replace("[counties]", "[counties]\ninvalid = \"refuse\"");
    std::fs::write(&survey, text).unwrap();
    let (code, message) =
        refuse(&["plan", survey.to_str().unwrap(), "--out", work.path().join("again").to_str().unwrap()], &[]);
    assert_eq!(code, 3);
    assert!(message.contains("not a valid polygon"), "{message}");
}

/// Half a million tiles, or three thousand counties, are a matter of seconds and less than a gibibyte. Core-seconds and
/// not those of a clock: other tests run at the same time.
#[test]
fn whole_countries_are_planned_in_seconds() {
    let Some(data) = shared("whole_countries_are_planned_in_seconds") else { return };
    let take = |counties: &str, resolution: &str, least_tiles: u64| -> Taken {
        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name).to_string_lossy().into_owned();
        let counties = data.join("data/boundaries").join(counties).to_string_lossy().into_owned();
        let world = path("world");
        succeed(
            &["simulate", "--out", &world, "--items-only", "--counties", &counties, "--resolution", resolution],
            &[],
        );
        let taken = measure(&["plan", &format!("{world}/survey.toml"), "--out", &path("plan")]);
        let summary = std::fs::read(Path::new(&path("plan")).join("plan.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
        assert!(summary["tiles"].as_u64().unwrap() > least_tiles, "{summary}");
        taken
    };
    for (counties, resolution, tiles) in [("dprk_adm2.geojson", "0.5", 450_000), ("us_counties.geojson", "10", 80_000)]
    {
        let taken = take(counties, resolution, tiles);
        assert!(taken.peak_bytes < 1 << 30 && taken.core_seconds < 12.0, "{counties}: {taken:?}");
        assert!(taken.peak_bytes > 50 << 20, "{counties}: {taken:?}");
    }
}

/// A province of chance, and a run of it.
fn province(seed: &str) -> (tempfile::TempDir, String, String) {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name).to_string_lossy().into_owned();
    let (world, out) = (path("world"), path("out"));
    succeed(&["simulate", "--out", &world, "--seed", seed, "--before-resolution", "3", "--after-resolution", "2"], &[]);
    let survey = format!("{world}/survey.toml");
    let text = std::fs::read_to_string(&survey).unwrap().replace("resolution_m = 1.0", "resolution_m = 2.0");
    std::fs::write(&survey, text).unwrap();
    succeed(&["run", &survey, "--out", &out], &[]);
    (work, survey, out)
}

fn document(folder: &str, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(Path::new(folder).join(name)).unwrap()).unwrap()
}

/// Times are wide here, since other tests run at the same time: `figures` holds them to a fifth.
#[test]
fn a_run_foretells_another() {
    let (_one, _, measured) = province("3");
    let (other, survey, out) = province("4");
    let plan = other.path().join("plan").to_string_lossy().into_owned();
    let said = succeed(&["plan", &survey, "--out", &plan, "--estimate", "--measured", &measured], &[]);
    assert!(said.contains("estimate on 1 workers of"), "{said}");
    let (foretold, run) = (document(&plan, "estimate.json"), document(&out, "run.json"));
    assert_eq!(foretold["jobs"], run["jobs"]);
    let ratio = |foretold: &serde_json::Value, taken: f64| foretold.as_f64().unwrap() / taken;
    let bytes = ratio(&foretold["fetch_bytes"], run["bytes_fetched"].as_f64().unwrap());
    assert!((0.85..1.18).contains(&bytes), "bytes: {bytes}");
    let spent = &run["measured"]["survey"];
    let cores = ratio(&foretold["core_hours"], spent["core_s"].as_f64().unwrap() / 3600.0);
    assert!((0.5..2.0).contains(&cores), "core-hours: {cores}");
    let wall = ratio(&foretold["survey_s"], spent["wall_s"].as_f64().unwrap());
    assert!((0.2..5.0).contains(&wall), "wall: {wall}");
    // More workers take no longer, and no more.
    let with_ten = ["plan", &survey, "--out", &plan, "--estimate", "--measured", &measured, "--workers", "10"];
    succeed(&with_ten, &[]);
    let ten = document(&plan, "estimate.json");
    assert_eq!(ten["core_hours"], foretold["core_hours"]);
    assert!(ten["survey_s"].as_f64() < foretold["survey_s"].as_f64(), "{ten}");

    // What is no whole run is refused by its name.
    let stranger = other.path().join("stranger.json").to_string_lossy().into_owned();
    std::fs::write(&stranger, "{\"measured\": null}").unwrap();
    let (code, message) = refuse(&["plan", &survey, "--out", &plan, "--estimate", "--measured", &stranger], &[]);
    assert!(code == 3 && message.contains("stranger.json") && message.contains("output folder"), "{code} {message}");
}
