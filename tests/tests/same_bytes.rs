//! C1: `results/` is a function of the survey, its inputs and the version. Not of tile size, workers, threads, or where
//! things lie.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use groundbreak_tests::fixture::{self, Fixture, NORTH, WEST};
use groundbreak_tests::s3::{TestServer, download, upload};
use groundbreak_tests::survey_run::{files, succeed, table};

/// A survey whose hard parts lie on every border: two scenes per date that overlap, clouds as nodata, a lot over the
/// corner of tiles.
fn survey() -> Fixture {
    let fixture = Fixture::new();
    let hole = |row: u32, col: u32, _band: usize, value: u8| {
        if row.abs_diff(120) + col.abs_diff(500) < 60 { 0 } else { value }
    };
    fixture::write_scene(&fixture.path("after.tif"), true, 1, (WEST, NORTH), Some(0.0), hole);
    fixture::write_scene(&fixture.path("after_east.tif"), true, 2, (WEST, NORTH), Some(0.0), |_, col, _, value| {
        if col < 300 { 0 } else { value }
    });
    fixture.edit(
        r#"scenes = [{ href = "after.tif", date = 2024-05-29, bands = ["red", "green", "blue", "nir"] }]"#,
        r#"scenes = [
  { href = "after.tif", date = 2024-05-29, bands = ["red", "green", "blue", "nir"] },
  { href = "after_east.tif", date = 2024-06-02, bands = ["red", "green", "blue", "nir"] },
]"#,
    );
    fixture
}

fn with_tile_px(fixture: &Fixture, tile_px: u32) {
    let text = std::fs::read_to_string(fixture.survey()).unwrap();
    let kept = text.split("[grid]").next().unwrap();
    fixture.write("survey.toml", &format!("{kept}[grid]\ntile_px = {tile_px}\n"));
}

fn run(fixture: &Fixture, out: &str, more: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let out = fixture.path(out);
    let survey = fixture.survey();
    let mut arguments = vec!["run", survey.as_str(), "--out", out.to_str().unwrap()];
    arguments.extend(more);
    succeed(&arguments, &[]);
    files(&out.join("results"))
}

fn assert_same(found: &BTreeMap<String, Vec<u8>>, reference: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), reference.keys().collect::<Vec<_>>(), "{what}");
    for (name, bytes) in found {
        assert!(
            bytes == &reference[name],
            "{what}: {name} differs ({} and {} bytes)",
            bytes.len(),
            reference[name].len()
        );
    }
}

#[test]
fn results_do_not_depend_on_tiles_workers_or_threads() {
    let fixture = survey();
    with_tile_px(&fixture, 512);
    let reference = run(&fixture, "reference", &[]);
    assert!(reference.contains_key("counties.csv") && reference.contains_key("manifest.json"));
    let sites = String::from_utf8(reference["sites.csv"].clone()).unwrap();
    assert!(sites.lines().count() > 1, "a survey without a site proves little");
    for (tile_px, workers) in [(256, "1"), (777, "2"), (1024, "4")] {
        with_tile_px(&fixture, tile_px);
        let found = run(&fixture, &format!("out{tile_px}"), &["--workers", workers]);
        assert_same(&found, &reference, &format!("tile_px {tile_px}, {workers} workers"));
    }
    // One thread for the pixels.
    let out = fixture.path("single");
    succeed(
        &["run", &fixture.survey(), "--out", out.to_str().unwrap(), "--workers", "1"],
        &[("RAYON_NUM_THREADS", "1".into())],
    );
    assert_same(&files(&out.join("results")), &reference, "one thread");
    // Other bytes would be seen.
    let other = fixture::write_scene;
    other(&fixture.path("after_east.tif"), false, 2, (WEST, NORTH), Some(0.0), |_, _, _, value| value);
    assert!(run(&fixture, "other", &[]) != reference);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_do_not_depend_on_whether_things_lie_in_a_folder_or_a_bucket() {
    let fixture = survey();
    let reference = run(&fixture, "reference", &[]);

    let buckets = tempfile::tempdir().unwrap();
    std::fs::create_dir(buckets.path().join("survey")).unwrap();
    let server = TestServer::start(buckets.path()).await.unwrap();
    let bucket = server.bucket("survey").unwrap();
    let names = ["before.tif", "after.tif", "after_east.tif", "counties.geojson"];
    let inputs = names.map(|name| (name.to_owned(), std::fs::read(fixture.path(name)).unwrap()));
    upload(&bucket, "in", inputs.into()).await.unwrap();
    let text = std::fs::read_to_string(fixture.survey()).unwrap();
    fixture.write("survey.toml", &moved(&text, &names, "s3://survey/in"));
    let (survey, environment) = (fixture.survey(), server.environment());
    tokio::task::spawn_blocking(move || succeed(&["run", &survey, "--out", "s3://survey/out"], &environment))
        .await
        .unwrap();
    assert_same(&download(&bucket, "out/results").await.unwrap(), &reference, "bucket");
}

/// The demo's world with its STAC catalog, coarser so that it takes seconds: catalog, scenes, layers and output.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_survey_gives_the_same_bytes_from_a_folder_and_from_a_bucket() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name).to_string_lossy().into_owned();
    let world = path("world");
    let coarse = ["--before-resolution", "2", "--after-resolution", "1.5"];
    succeed(&[&["simulate", "--out", &world, "--seed", "7"], &coarse[..]].concat(), &[]);
    let survey = format!("{world}/survey.toml");
    succeed(&["run", &survey, "--out", &path("reference")], &[]);
    let results = work.path().join("reference/results");
    let counties = table(&results.join("counties.csv"));
    assert!(counties.len() >= 4, "{} counties", counties.len());
    assert!(counties.iter().any(|county| county["site_count"] != "0"), "a survey without a site proves little");

    let buckets = tempfile::tempdir().unwrap();
    std::fs::create_dir(buckets.path().join("demo")).unwrap();
    let server = TestServer::start(buckets.path()).await.unwrap();
    let bucket = server.bucket("demo").unwrap();
    let mut inputs = files(std::path::Path::new(&world));
    let text = String::from_utf8(inputs.remove("survey.toml").unwrap()).unwrap();
    let named: Vec<String> = inputs.keys().filter(|name| text.contains(&format!("\"{name}\""))).cloned().collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    // The folder is not needed any more: what is read comes from the bucket.
    std::fs::remove_dir_all(&world).unwrap();
    upload(&bucket, "world", inputs).await.unwrap();
    let survey = path("survey.toml");
    std::fs::write(&survey, moved(&text, &named, "s3://demo/world")).unwrap();
    let environment = server.environment();
    tokio::task::spawn_blocking(move || succeed(&["run", &survey, "--out", "s3://demo/out"], &environment))
        .await
        .unwrap();
    assert_same(&download(&bucket, "out/results").await.unwrap(), &files(&results), "demo in a bucket");
}

/// A survey file whose inputs lie elsewhere.
fn moved(text: &str, names: &[&str], prefix: &str) -> String {
    names
        .iter()
        .fold(text.to_owned(), |text, name| text.replace(&format!("\"{name}\""), &format!("\"{prefix}/{name}\"")))
}
