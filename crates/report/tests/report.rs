//! What a report promises, on a made-up province.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod fixture;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use fixture::{Fixture, HOSTILE, nothing, province};
use report::{Content, CountyOutcome, ReportError, ResultFile, chips, render, summary, table};
use survey::ids::{CountyId, Digest};

fn files(fixture: &Fixture) -> Vec<ResultFile> {
    render(&fixture.input(), &fixture.chips).unwrap()
}

fn bytes<'a>(files: &'a [ResultFile], path: &str) -> &'a [u8] {
    let file = files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is missing"));
    match &file.content {
        Content::Bytes(bytes) => bytes,
        Content::Object(object) => panic!("{path} is the object {}", object.key),
    }
}

fn text<'a>(files: &'a [ResultFile], path: &str) -> &'a str {
    std::str::from_utf8(bytes(files, path)).unwrap()
}

/// The rows of a CSV file, by column.
fn rows(csv: &[u8]) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(csv).deserialize().map(|row| row.unwrap()).collect()
}

fn whole(row: &BTreeMap<String, String>, column: &str) -> u64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} is `{}`", row[column]))
}

/// Writes a report into a folder that stays, so that a person can look at it.
fn write_out(fixture: &Fixture, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    for file in files(fixture) {
        let path = folder.join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = match &file.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Object(object) => fixture.chips[object.key.rsplit('/').next().unwrap()].clone(),
        };
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

#[test]
fn the_same_input_makes_the_same_bytes_whatever_the_order_of_outcomes_and_the_tile_size() {
    let mut fixture = province();
    let first = files(&fixture);
    assert_eq!(first, files(&fixture));
    fixture.outcomes.reverse();
    fixture.plan.tile_px = 777;
    for scene in &mut fixture.plan.scenes {
        scene.assets[0].href = "https://elsewhere/x.tif?sig=1".to_owned();
    }
    assert_eq!(first, files(&fixture));
}

#[test]
fn surveyed_pixels_and_gaps_add_up_to_the_pixels_of_each_county() {
    let fixture = province();
    let files = files(&fixture);
    let counties = rows(bytes(&files, "counties.csv"));
    assert_eq!(counties.len(), 6);
    for county in &counties {
        let gaps: u64 = county.keys().filter(|name| name.starts_with("gap_")).map(|name| whole(county, name)).sum();
        assert_eq!(whole(county, "pixels"), whole(county, "surveyed_px") + gaps, "{}", county["county_id"]);
    }
    let sites = rows(bytes(&files, "sites.csv"));
    let counted: u64 = counties
        .iter()
        .filter(|county| !county["site_count"].is_empty())
        .map(|county| whole(county, "site_count"))
        .sum();
    assert_eq!(sites.len() as u64, counted);
    let expected: f64 = sites.iter().map(|site| site["p_factory"].parse::<f64>().unwrap()).sum();
    let by_county: f64 = counties.iter().filter_map(|county| county["factory_expected"].parse::<f64>().ok()).sum();
    assert!((expected - by_county).abs() < 1e-9);
}

#[test]
fn a_failed_county_counts_all_its_pixels_as_a_gap_and_says_why() {
    let fixture = province();
    let counties = rows(bytes(&files(&fixture), "counties.csv"));
    let failed = counties.iter().find(|county| county["county_id"] == "KP0222").unwrap();
    assert_eq!(failed["status"], "failed");
    assert!(failed["notes"].starts_with("failed: assemble was given up after 3 attempts"));
    // The county is a polygon on a 1 m grid: as many pixels as square metres, give or take its outline.
    let area = geo::Area::unsigned_area(&fixture.plan.counties[5].border);
    let pixels = whole(failed, "gap_failed_job");
    assert_eq!(pixels, whole(failed, "pixels"));
    assert!((pixels as f64 / area - 1.0).abs() < 1e-4, "{pixels} pixels, {area} m²");
    assert_eq!(failed["site_count"], "");
}

#[test]
fn no_site_found_and_not_observed_never_look_alike() {
    let files = files(&province());
    let counties = rows(bytes(&files, "counties.csv"));
    let county = |id: &str| counties.iter().find(|county| county["county_id"] == id).unwrap();
    let (empty, unseen) = (county("KP0219"), county("KP0211"));
    assert_eq!((empty["status"].as_str(), empty["observed"].as_str()), ("complete", "all"));
    assert_eq!((unseen["status"].as_str(), unseen["observed"].as_str()), ("complete-with-gaps", "none"));
    for column in ["site_count", "factory_count", "factory_expected", "changed_ha", "factory_ha", "cropland_lost_ha"] {
        assert_eq!(empty[column].parse::<f64>().unwrap(), 0.0, "{column}");
        assert_eq!(unseen[column], "", "{column}");
    }
    assert!(unseen["notes"].starts_with("not observed: no scene pair"), "{}", unseen["notes"]);
    let geojson: serde_json::Value = serde_json::from_str(text(&files, "counties.geojson")).unwrap();
    assert_eq!(geojson["features"][3]["properties"]["site_count"], serde_json::Value::Null);
    assert_eq!(geojson["features"][2]["properties"]["site_count"], 0);
    // One pixel of 700 million is missing: not 100 %.
    assert_eq!(county("KP0216")["status"], "complete-with-gaps");
    assert_eq!(county("KP0216")["coverage"], "0.999999");
    assert!(text(&files, "report.html").contains("<b>not observed</b>"));
}

#[test]
fn areas_of_a_county_are_those_of_its_sites() {
    let counties = rows(bytes(&files(&province()), "counties.csv"));
    let kyongsong = counties.iter().find(|county| county["county_id"] == "KP0216").unwrap();
    let real = |column: &str| kyongsong[column].parse::<f64>().unwrap();
    // By hand: lots of 220 × 150 m and 180 × 120 m, 1.0008 m² to the pixel, 93 % of both cropland before.
    assert!((real("factory_ha") - 3.302_64).abs() < 1e-4);
    assert!((real("cropland_lost_ha") - 0.93 * (3.302_64 + 2.161_728)).abs() < 1e-4);
    assert!((real("construction_ha") - 2.0 * (3.302_64 + 2.161_728)).abs() < 1e-4);
    assert_eq!(kyongsong["factory_expected"], "0.98");
    assert_eq!(kyongsong["designated_year"], "2024");
    assert_eq!(kyongsong["designated_years"], "2024; 2025");
}

#[test]
fn a_hostile_name_is_only_text_everywhere() {
    let fixture = province();
    let files = files(&fixture);
    let page = text(&files, "report.html");
    assert_eq!(page.matches("<script").count(), 1, "only our own script");
    assert_eq!(page.matches("</script").count(), 1);
    assert!(page.contains("&lt;&#x2f;script&gt;&lt;script&gt;alert(&quot;x&quot;)"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("@import"), "no network");
    let counties = rows(bytes(&files, "counties.csv"));
    assert_eq!(counties[2]["county_name"], HOSTILE);
    let geojson: serde_json::Value = serde_json::from_str(text(&files, "counties.geojson")).unwrap();
    assert_eq!(geojson["features"][2]["properties"]["county_name"], HOSTILE);
    let summaries = summary::counties(&fixture.input()).unwrap();
    let table = table::counties(&summaries, Some(140), 50);
    assert!(!table.contains('\u{7}'), "no bell in a terminal");
    assert!(table.contains("경성군") && table.contains('?'));
}

#[test]
fn no_href_and_nothing_of_an_execution_stands_in_the_results() {
    for file in files(&province()) {
        if let Content::Bytes(bytes) = &file.content {
            let found = bytes.windows(13).any(|window| window == b"secret-bucket");
            assert!(!found, "{} names a store", file.path);
        }
    }
}

#[test]
fn the_manifest_has_the_digest_of_every_other_file() {
    let files = files(&province());
    let manifest: serde_json::Value = serde_json::from_str(text(&files, "manifest.json")).unwrap();
    let listed = manifest["results"].as_array().unwrap();
    assert_eq!(listed.len(), files.len() - 1);
    for (entry, file) in listed.iter().zip(&files) {
        assert_eq!(entry["path"], file.path.as_str());
        assert_eq!(entry["length"], file.length);
        if let Content::Bytes(bytes) = &file.content {
            assert_eq!(entry["sha256"], Digest::of(bytes).to_hex());
            assert_eq!(entry["checksum:multihash"], format!("1220{}", Digest::of(bytes).to_hex()));
        }
    }
    assert_eq!(manifest["scenes"][0]["id"], "BSG_20231002");
    assert!(manifest["scenes"][0]["checksum:multihash"][0].as_str().unwrap().starts_with("1220"));
    assert_eq!(files.iter().filter(|file| file.path.starts_with("chips/")).count(), 8);
}

#[test]
fn outcomes_that_do_not_belong_to_the_plan_are_refused_by_name() {
    let refusal = |change: fn(&mut Vec<CountyOutcome>)| {
        let mut fixture = province();
        change(&mut fixture.outcomes);
        render(&fixture.input(), &fixture.chips).unwrap_err().to_string()
    };
    assert!(refusal(|outcomes| drop(outcomes.pop())).starts_with("county KP0222 is planned, but has neither"));
    assert!(refusal(|outcomes| outcomes.push(outcomes[0].clone())).contains("KP0216 has two outcomes"));
    let stray =
        |outcomes: &mut Vec<CountyOutcome>| outcomes.push(CountyOutcome::Cancelled { county: CountyId::from("X1") });
    assert!(refusal(stray).contains("X1, which isn't planned"));
}

#[test]
fn a_chip_stays_in_its_folder_whatever_its_name_and_two_never_share_one() {
    for name in ["../report.html", "a/b.png", "", ".hidden.png", "a\\b.png", "경성-1-2-before.png", &"x".repeat(400)]
    {
        let mut fixture = province();
        let CountyOutcome::Surveyed(result) = &mut fixture.outcomes[0] else { panic!() };
        let result = Arc::make_mut(result);
        result.chips[0].name = name.to_owned();
        let files = render(&fixture.input(), &fixture.chips).unwrap();
        let chips: Vec<&str> = files.iter().filter_map(|file| file.path.strip_prefix("chips/")).collect();
        assert_eq!(chips.len(), 8);
        let is_safe =
            |name: &&str| name.len() < 130 && !name.contains(['/', '\\']) && !name.starts_with('.') && name.is_ascii();
        assert!(chips.iter().all(is_safe), "{chips:?}");
    }
    assert_eq!(chips::file_name("경성-1-2", "before"), "__-1-2-before.png");
    assert_eq!(chips::file_name("KP0216--12-7", "before"), "KP0216--12-7-before.png");
    let mut fixture = province();
    let CountyOutcome::Surveyed(result) = &mut fixture.outcomes[0] else { panic!() };
    let result = Arc::make_mut(result);
    result.chips[1].name = result.chips[0].name.clone();
    assert!(matches!(render(&fixture.input(), &fixture.chips), Err(ReportError::ChipTwice(_))));
}

#[test]
fn the_page_carries_chips_up_to_a_limit_and_links_to_the_rest() {
    let mut fixture = province();
    let CountyOutcome::Surveyed(result) = &mut fixture.outcomes[0] else { panic!() };
    let result = Arc::make_mut(result);
    for chip in &mut result.chips[..2] {
        chip.object.length = chips::EMBEDDED_BYTES;
    }
    let large = result.chips[0].name.clone();
    let embedded: Vec<String> =
        chips::embedded(&fixture.input()).unwrap().iter().map(|chip| chip.name.clone()).collect();
    assert_eq!(embedded.len(), 6);
    assert!(!embedded.contains(&large));
    let page = files(&fixture);
    assert!(text(&page, "report.html").contains(&format!("src=\"chips&#x2f;{large}\"")));
    assert!(matches!(render(&fixture.input(), &BTreeMap::<String, Bytes>::new()), Err(ReportError::ChipMissing(_))));
}

#[test]
fn every_column_is_documented_with_its_type_unit_and_meaning() {
    let fixture = province();
    let ground = report::ground::Ground::new(&fixture.plan.grid).unwrap();
    let counties = summary::counties(&fixture.input()).unwrap();
    let docs = include_str!("../../../docs/results.md");
    let tables = [
        report::tables::counties(&counties, &ground),
        report::tables::sites(&counties),
        report::tables::footprints(&counties),
    ];
    let mut expected = String::new();
    for table in &tables {
        expected.push_str(&format!("\n{}:\n", table.name));
        for column in &table.columns {
            expected.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                column.name,
                column.cells.kind(),
                column.unit,
                column.meaning
            ));
        }
    }
    let missing: Vec<&str> = expected.lines().filter(|line| line.starts_with('|') && !docs.contains(line)).collect();
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("columns.md"), &expected).unwrap();
    assert!(missing.is_empty(), "docs/results.md lacks or words differently:\n{}", missing.join("\n"));
    let listed = docs.lines().filter(|line| line.starts_with("| `")).count();
    assert!(listed >= expected.lines().filter(|line| line.starts_with('|')).count());
}

#[test]
fn the_results_open_in_geopandas_duckdb_pyarrow_and_ogrinfo() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    if !python.is_file() {
        println!("skipped: the_results_open_in_geopandas_duckdb_pyarrow_and_ogrinfo: .venv/bin/python is not there");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/open_elsewhere.py");
    let province = write_out(&province(), "report-province");
    let nothing = write_out(&nothing(), "report-nothing");
    let run = Command::new(python).arg(script).arg(province).arg(nothing).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
    println!("{said}");
}
