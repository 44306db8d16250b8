//! Bad input gets an error that names the thing and the mend, or becomes a counted gap: never a panic, never a hang,
//! never silent no-data.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use groundbreak_tests::fixture::{self, Fixture, LOT, NORTH, SIDE, WEST};
use groundbreak_tests::survey_run::{files, refuse, succeed, table};

const INPUT: i32 = 3;
const OUTPUT: i32 = 5;

fn refused(fixture: &Fixture, words: &[&str]) {
    let (code, message) = refuse(&["run", &fixture.survey()], &[]);
    assert_eq!(code, INPUT, "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn a_typo_in_a_key_is_refused_with_the_nearest_key() {
    let fixture = Fixture::new();
    fixture.edit("source =", "suorce =");
    refused(&fixture, &["survey.toml", "counties.suorce", "did you mean `source`"]);
}

#[test]
fn swapped_dates_are_refused() {
    let fixture = Fixture::new();
    fixture.edit("[before]\n", "[before]\nfrom = 2024-01-01\nto = 2023-01-01\n");
    refused(&fixture, &["before.from", "swap"]);
}

#[test]
fn swapped_windows_are_refused() {
    let fixture = Fixture::new();
    fixture.edit("date = 2023-10-02", "date = 2024-10-02");
    refused(&fixture, &["before", "2024-10-02", "2024-05-29"]);
}

#[test]
fn a_window_without_a_scene_is_refused_with_the_nearest_scene() {
    let fixture = Fixture::new();
    let ring = [[128.99, 41.53], [129.02, 41.53], [129.02, 41.56], [128.99, 41.56], [128.99, 41.53]];
    let bands = ["red", "green", "blue", "nir"].map(|name| serde_json::json!({ "name": name, "common_name": name }));
    let item = serde_json::json!({
        "type": "Feature", "stac_version": "1.0.0", "id": "late", "links": [],
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "geometry": { "type": "Polygon", "coordinates": [ring] }, "bbox": [128.99, 41.53, 129.02, 41.56],
        "properties": { "datetime": "2024-07-04T02:00:00Z" },
        "assets": { "data": {
            "href": "./after.tif", "type": "image/tiff; application=geotiff", "roles": ["data"], "eo:bands": bands,
        } },
    });
    fixture.write("item.json", &item.to_string());
    fixture.edit(
        r#"scenes = [{ href = "after.tif", date = 2024-05-29, bands = ["red", "green", "blue", "nir"] }]"#,
        "catalog = \"item.json\"\nfrom = 2024-05-01\nto = 2024-06-30",
    );
    refused(&fixture, &["after.catalog", "2024-05-01 to 2024-06-30", "late of 2024-07-04", "widen the window"]);
}

#[test]
fn an_empty_county_file_is_refused() {
    let fixture = Fixture::new();
    fixture.write("counties.geojson", r#"{"type":"FeatureCollection","features":[]}"#);
    refused(&fixture, &["counties.source", "holds no county"]);
}

#[test]
fn a_county_with_an_empty_border_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.write(
        "counties.geojson",
        &fixture::counties(&[
            ("KP01", "Sohae", &[]),
            ("KP02", "Tonghae", &[(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 0.0)]),
        ]),
    );
    refused(&fixture, &["KP01", "Sohae", "empty border"]);
}

#[test]
fn an_unknown_county_in_only_is_refused_with_the_nearest_one() {
    let fixture = Fixture::new();
    fixture.edit("name = \"name\"", "name = \"name\"\nonly = [\"KP20\"]");
    refused(&fixture, &["KP20", "did you mean `KP02`"]);
}

#[test]
fn a_self_intersecting_county_is_repaired_and_says_so_or_refused_by_name() {
    let fixture = Fixture::new();
    let bow_tie: &[(f64, f64)] = &[(0.0, 0.0), (700.0, 700.0), (700.0, 0.0), (0.0, 700.0), (0.0, 0.0)];
    fixture.write("counties.geojson", &fixture::counties(&[("KP01", "Sohae", bow_tie)]));
    succeed(&["run", &fixture.survey()], &[]);
    let counties = table(&fixture.path("out/results/counties.csv"));
    assert!(counties[0]["notes"].contains("repaired"), "{:?}", counties[0]);
    let pixels: f64 = counties[0]["pixels"].parse().unwrap();
    assert!((pixels - f64::from(SIDE * SIDE) / 2.0).abs() < 1500.0, "{pixels}");
    fixture.edit("name = \"name\"", "name = \"name\"\ninvalid = \"refuse\"");
    refused(&fixture, &["KP01", "not a valid polygon", "counties.invalid"]);
}

#[test]
fn a_missing_file_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.edit("after.tif", "afterwards.tif");
    refused(&fixture, &["after", "afterwards.tif", "not found"]);
}

#[test]
fn a_band_that_the_detector_needs_and_the_scene_lacks_is_refused() {
    let fixture = Fixture::new();
    fixture.append("[detector]\nbands = [\"red\", \"swir16\"]\n");
    refused(&fixture, &["detector.bands", "swir16"]);
}

#[test]
fn more_bands_than_the_file_has_are_refused() {
    let fixture = Fixture::new();
    fixture.edit(
        r#"date = 2024-05-29, bands = ["red", "green", "blue", "nir"]"#,
        r#"date = 2024-05-29, bands = ["red", "green", "blue", "nir", "swir16"]"#,
    );
    refused(&fixture, &["after", "band"]);
}

#[test]
fn scenes_that_do_not_overlap_are_refused() {
    let fixture = Fixture::new();
    fixture::write_scene(&fixture.path("after.tif"), true, 1, (WEST + 40_000.0, NORTH), None, |_, _, _, value| value);
    refused(&fixture, &["after"]);
}

#[test]
fn a_truncated_scene_is_refused_or_counted_and_never_silent() {
    let fixture = Fixture::new();
    let path = fixture.path("after.tif");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..40]).unwrap();
    refused(&fixture, &["after.tif"]);
    // The header whole, the pixels cut off: the pixels that were lost are gaps, the others are surveyed.
    std::fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    succeed(&["run", &fixture.survey()], &[]);
    let counties = table(&fixture.path("out/results/counties.csv"));
    let sum = |column: &str| counties.iter().map(|county| county[column].parse::<u64>().unwrap()).sum::<u64>();
    assert!(sum("gap_unreadable") > 50_000, "{counties:?}");
    assert!(sum("surveyed_px") > 50_000, "{counties:?}");
    assert!(counties.iter().any(|county| county["status"] == "complete-with-gaps"));
}

/// The smallest files that break a careless reader.
#[test]
fn hostile_files_are_refused() {
    let ifd = |entries: &[(u16, u16, u32, u32)], next: u32| {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(next.to_le_bytes());
        bytes
    };
    let fixture = Fixture::new();
    let cases: [(&str, Vec<u8>); 4] = [
        ("an IFD that is its own successor", ifd(&[(256, 4, 1, 64), (257, 4, 1, 64)], 8)),
        ("a tag with a billion values", ifd(&[(256, 4, 1, 64), (257, 4, 1, 64), (324, 4, 1_000_000_000, 64)], 0)),
        ("no tags", ifd(&[], 0)),
        ("not a TIFF", b"<html>502 Bad Gateway</html>".to_vec()),
    ];
    for (what, bytes) in cases {
        std::fs::write(fixture.path("after.tif"), bytes).unwrap();
        let (code, message) = refuse(&["run", &fixture.survey()], &[]);
        assert_eq!(code, INPUT, "{what}: {message}");
        assert!(message.contains("after.tif"), "{what}: {message}");
    }
}

#[test]
fn a_scene_that_is_all_nodata_is_a_counted_gap() {
    let fixture = Fixture::new();
    fixture::write_scene(&fixture.path("after.tif"), true, 1, (WEST, NORTH), Some(0.0), |_, _, _, _| 0);
    succeed(&["run", &fixture.survey()], &[]);
    for county in table(&fixture.path("out/results/counties.csv")) {
        assert_eq!(county["gap_nodata"], county["pixels"], "{county:?}");
        assert_eq!(county["coverage"].parse::<f64>().unwrap(), 0.0);
        assert_ne!(county["site_count"], "0", "not observed must not look like no site found");
    }
}

#[test]
fn a_county_over_two_utm_zones_and_one_over_the_antimeridian_are_surveyed() {
    let geographic = |ring: &[[f64; 2]]| {
        serde_json::json!({ "type": "FeatureCollection", "features": [
            { "type": "Feature", "properties": { "pcode": "X", "name": "X" }, "geometry": { "type": "Polygon", "coordinates": [ring] } }
        ] })
        .to_string()
    };
    let fixture = Fixture::new();
    // The scenes lie at 129° E (zone 52); the county reaches into zone 51.
    fixture.write(
        "counties.geojson",
        &geographic(&[[125.9, 41.54], [129.02, 41.54], [129.02, 41.56], [125.9, 41.56], [125.9, 41.54]]),
    );
    succeed(&["run", &fixture.survey()], &[]);
    let county = &table(&fixture.path("out/results/counties.csv"))[0];
    assert!(county["surveyed_px"].parse::<u64>().unwrap() > 300_000, "{county:?}");
    let total: u64 = county["pixels"].parse().unwrap();
    let expected = 3.12 * 83_380.0 * 0.02 * 111_070.0;
    assert!((total as f64 / expected - 1.0).abs() < 0.01, "{total} pixels of 1 m against {expected} m²");

    fixture.write(
        "counties.geojson",
        &geographic(&[[179.99, 41.54], [-179.99, 41.54], [-179.99, 41.56], [179.99, 41.56], [179.99, 41.54]]),
    );
    refused(&fixture, &["before"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused() {
    let fixture = Fixture::new();
    let file = fixture.path("before.tif");
    let (code, message) = refuse(&["run", &fixture.survey(), "--out", &file.join("out").to_string_lossy()], &[]);
    assert_eq!(code, OUTPUT, "{message}");
    assert!(message.contains("before.tif"), "{message}");
}

#[test]
fn an_output_with_another_survey_is_refused_and_the_same_survey_goes_on() {
    let fixture = Fixture::new();
    succeed(&["run", &fixture.survey()], &[]);
    let first = files(&fixture.path("out/results"));
    succeed(&["run", &fixture.survey()], &[]);
    assert_eq!(files(&fixture.path("out/results")), first);
    fixture.edit("name = \"fixture\"", "name = \"another\"");
    let (code, message) = refuse(&["run", &fixture.survey()], &[]);
    assert_eq!(code, OUTPUT, "{message}");
    assert!(message.contains("fixture") && message.contains("choose another output"), "{message}");
    assert_eq!(files(&fixture.path("out/results")), first);
}

#[test]
fn the_undisturbed_fixture_finds_its_lot() {
    let fixture = Fixture::new();
    succeed(&["run", &fixture.survey()], &[]);
    let sites = table(&fixture.path("out/results/sites.csv"));
    assert_eq!(sites.len(), 1, "{sites:?}");
    let ([top, bottom], [left, right]) = LOT;
    let truth = f64::from((bottom - top) * (right - left)) / 1e4;
    let area: f64 = sites[0]["area_ha"].parse().unwrap();
    assert!((area / truth - 1.0).abs() < 0.1, "{area} ha against {truth} ha");
    assert_eq!(sites[0]["county_id"], "KP02");
}
