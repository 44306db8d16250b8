//! Jobs that fail, swell or hang each time: they become counted gaps, and the fleet does the next survey.

use std::path::Path;

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::fixture::{self, Fixture, NORTH, WEST};
use groundbreak_tests::proxy::Proxy;
use groundbreak_tests::s3::DevS3;
use imagery::cog::write::{CogSpec, write_cog};

use super::stage::{assert_same, document, fill_bucket, reference, results_of, small, wait_until};

/// The third scene lies over the north of the northern county, and goes on beyond the others. Its south edge is one of the
/// cells of 512 pixels, so that few jobs read it.
const THIRD_WEST: f64 = WEST + 200.0;
const THIRD_SOUTH: f64 = NORTH - 192.0;
/// What a worker may use, and what a process holds that is no job's and no block's (`tests/tests/memory.rs`), MiB.
const MEMORY_MIB: u64 = 512;
const BESIDE_JOBS_MIB: u64 = 96;
/// Decoded bytes of the largest block, MiB. One that is larger than all that is set aside for blocks is read by itself, and is
/// there twice for a while (`imagery::scene_reader::in_flight`): so far a worker goes beyond its memory, and no further.
const BLOCK_MIB: u64 = 256;

/// The small survey with a third scene, which is the best there is where it lies.
fn with_a_third_scene(write: impl FnOnce(&Path)) -> Fixture {
    let fixture = Fixture::new();
    write(&fixture.path("third.tif"));
    let scene = r#"{ href = "third.tif", date = 2024-10-02, bands = ["red", "green", "blue", "nir"] }, "#;
    fixture.edit("[after]\nscenes = [", &format!("[grid]\ntile_px = 256\n\n[after]\nscenes = [{scene}"));
    let south = [(0.0, 450.0), (700.0, 450.0), (700.0, 700.0), (0.0, 700.0), (0.0, 450.0)];
    let north = [(0.0, 0.0), (700.0, 0.0), (700.0, 450.0), (0.0, 450.0), (0.0, 0.0)];
    fixture.write("counties.geojson", &fixture::counties(&[("KP01", "Namjung", &south), ("KP02", "Pukchong", &north)]));
    fixture
}

fn ordinary(path: &Path) {
    let origin = (THIRD_WEST, THIRD_SOUTH + f64::from(fixture::SIDE));
    fixture::write_scene(path, false, 1, origin, None, |_, _, _, value| value);
}

/// A small file with one block of 256 MiB: the largest that is read at all.
fn swelling(path: &Path) {
    const SIDE: u32 = 4096;
    let band = vec![100_f32; (SIDE * SIDE) as usize];
    let origin = (THIRD_WEST, THIRD_SOUTH + f64::from(SIDE));
    let spec = CogSpec { block_px: SIDE, predictor: false, deflate_level: 1, ..fixture::scene_spec(SIDE, origin) };
    let bytes = write_cog(&spec, &[band.as_slice(); 4]).unwrap();
    assert!(bytes.len() < 8 << 20, "{} bytes do not swell much", bytes.len());
    std::fs::write(path, bytes).unwrap();
}

fn cluster_of_three(folder: &Path, state: &str, environment: &[(&str, String)]) -> Cluster {
    let mut cluster = Cluster::new(folder, state, environment);
    cluster.coordinator_arguments.extend(["--stall".into(), "3".into()]);
    cluster.worker_arguments.extend(["--memory".into(), format!("{MEMORY_MIB}MiB"), "--slots".into(), "4".into()]);
    cluster.start_coordinator();
    cluster
}

/// The survey ends without what could not be done, and says what and where that is.
fn ends_with_a_gap_in_the_north(cluster: &Cluster, survey: &str) {
    assert_eq!(cluster.end_of(survey), "complete-with-gaps", "{}", cluster.logs());
    let results = results_of(cluster, survey);
    let mut rows = csv::Reader::from_reader(results["counties.csv"].as_slice());
    let counties: Vec<std::collections::BTreeMap<String, String>> =
        rows.deserialize().collect::<Result<_, _>>().unwrap();
    let gap = |county: &std::collections::BTreeMap<String, String>| county["gap_failed_job"].parse::<u64>().unwrap();
    assert_eq!((counties[0]["county_id"].as_str(), gap(&counties[0])), ("KP01", 0), "{counties:?}");
    assert_eq!(counties[1]["county_id"], "KP02");
    assert!(gap(&counties[1]) > 0 && counties[1]["status"] != "complete", "{counties:?}");
}

/// All workers live, and together they do a survey as if nothing had been.
fn the_fleet_is_whole(cluster: &mut Cluster) {
    for worker in cluster.workers() {
        assert!(cluster.is_alive(worker), "{}", cluster.logs());
    }
    let next = small(128);
    let reference = reference(&next);
    let survey = cluster.submit(&next.survey(), &[]);
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    assert_same(&results_of(cluster, &survey), &reference, "the next survey");
}

#[test]
fn a_scene_that_fails_its_jobs_each_time_is_a_gap_and_the_fleet_is_whole() {
    let fixture = with_a_third_scene(ordinary);
    let folder = tempfile::tempdir().unwrap();
    let state = format!("file://{}", folder.path().join("state").display());
    let mut cluster = cluster_of_three(folder.path(), &state, &[]);
    let survey = cluster.submit(&fixture.survey(), &[]);
    wait_until(&cluster, "it is planned", || cluster.status(&survey).starts_with("running"));
    // Overwritten after it was planned with: whoever reads it fails.
    swelling(&fixture.path("third.tif"));
    for _ in 0..3 {
        cluster.start_worker();
    }
    ends_with_a_gap_in_the_north(&cluster, &survey);
    let told = document(&cluster, &survey);
    assert!(told["attempts_failed"].as_u64().unwrap() >= 2, "{told}");
    the_fleet_is_whole(&mut cluster);
}

#[test]
fn a_scene_that_swells_in_memory_takes_no_worker_along() {
    let fixture = with_a_third_scene(swelling);
    let folder = tempfile::tempdir().unwrap();
    let state = format!("file://{}", folder.path().join("state").display());
    let mut cluster = cluster_of_three(folder.path(), &state, &[]);
    let workers = [cluster.start_worker(), cluster.start_worker(), cluster.start_worker()];
    let survey = cluster.submit(&fixture.survey(), &[]);
    // Read or not, somebody knows what became of it.
    let end = cluster.end_of(&survey);
    assert!(end.starts_with("complete"), "{end}");
    let peaks = workers.map(|worker| cluster.peak_memory(worker).unwrap() >> 20);
    assert!(peaks.iter().any(|&peak| peak > BLOCK_MIB), "{peaks:?} MiB: was the block read?");
    let most = MEMORY_MIB + BESIDE_JOBS_MIB + 2 * BLOCK_MIB;
    assert!(peaks.iter().all(|&peak| peak <= most), "{peaks:?} MiB, and at most {most}");
    the_fleet_is_whole(&mut cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scene_that_is_never_answered_is_a_gap_and_the_fleet_is_whole() {
    let fixture = with_a_third_scene(ordinary);
    let folder = tempfile::tempdir().unwrap();
    let buckets = folder.path().join("buckets");
    let in_bucket = fill_bucket(&buckets, &fixture);
    let server = DevS3::start(&buckets, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let proxy = Proxy::start(server.address(), 7, 0.0).await.unwrap();
    let mut environment = server.environment();
    proxy.put_before(&mut environment);
    tokio::task::block_in_place(|| {
        let mut cluster = cluster_of_three(folder.path(), "s3://survey/state", &environment);
        let survey = cluster.submit(&in_bucket, &[]);
        wait_until(&cluster, "it is planned", || cluster.status(&survey).starts_with("running"));
        proxy.fall_silent_about("third.tif");
        for _ in 0..3 {
            cluster.start_worker();
        }
        ends_with_a_gap_in_the_north(&cluster, &survey);
        assert!(proxy.unanswered() >= 3, "{} requests were never answered", proxy.unanswered());
        the_fleet_is_whole(&mut cluster);
    });
}
