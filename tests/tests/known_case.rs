//! The known case, simulated over the real border of Kyongsong County: 3.3 ha of cropland, 500 m south-west of the
//! station, become a factory lot; 1 m before, 0.3–0.5 m after, other bands, 12° off nadir.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use groundbreak_tests::survey_run::{shared, succeed, table};

#[test]
fn the_survey_says_what_the_analyst_said() {
    let Some(data) = shared("the_survey_says_what_the_analyst_said") else { return };
    let work = tempfile::tempdir().unwrap();
    let world = work.path().join("world");
    let counties = data.join("data/boundaries/dprk_adm2.geojson");
    succeed(
        &[
            "simulate",
            "--out",
            world.to_str().unwrap(),
            "--seed",
            "29",
            "--counties",
            counties.to_str().unwrap(),
            "--only",
            "KP0216",
            "--case",
            "kyongsong",
        ],
        &[],
    );
    let out = work.path().join("out");
    succeed(&["run", world.join("survey.toml").to_str().unwrap(), "--out", out.to_str().unwrap()], &[]);
    let counties = table(&out.join("results/counties.csv"));
    let sites = table(&out.join("results/sites.csv"));
    let number = |text: &str| text.parse::<f64>().unwrap_or_default();

    let factories: Vec<_> = sites.iter().filter(|site| site["class"] == "factory").collect();
    assert_eq!(factories.len(), 1, "{sites:#?}");
    let site = factories[0];
    assert_eq!(site["county_id"], "KP0216");
    assert!((number(&site["area_ha"]) / 3.3 - 1.0).abs() <= 0.10, "{} ha", site["area_ha"]);
    assert_eq!(site["before_cover"], "cropland");
    assert_eq!(site["station_name"], "Kyongsong Station");
    assert_eq!(site["station_bearing"], "SW");
    assert!((number(&site["station_km"]) - 0.5).abs() <= 0.06, "{} km", site["station_km"]);
    assert!(site["summary"].contains("0.5 km SW of Kyongsong Station"), "{}", site["summary"]);
    assert!((1.8..=6.0).contains(&number(&site["building_elongation"])), "{}", site["building_elongation"]);
    assert_eq!(site["phase"], "frames");
    assert_eq!((site["before_from"].as_str(), site["after_to"].as_str()), ("2023-10-02", "2024-05-29"));

    assert!(counties.len() > 1, "the counties next to it are surveyed too");
    for county in &counties {
        let expected = if county["county_id"] == "KP0216" { 1.0 } else { 0.0 };
        // Where nothing was observed there is no count: that is not the same as none.
        assert!(number(&county["factory_count"]) == expected, "{county:?}");
        let parts = ["surveyed_px", "gap_no_scene", "gap_cloud", "gap_nodata", "gap_unreadable", "gap_failed_job"];
        assert_eq!(
            parts.iter().map(|part| number(&county[*part])).sum::<f64>(),
            number(&county["pixels"]),
            "{county:?}"
        );
    }
}
