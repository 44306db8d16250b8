//! What is surveyed while faults happen, and what one undisturbed process makes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::fixture::Fixture;
use groundbreak_tests::survey_run::{files, succeed};

/// A simulated province and the results that one undisturbed process makes of it. Tiles are small, so that there are
/// many jobs.
pub struct Province {
    folder: tempfile::TempDir,
    reference: BTreeMap<String, Vec<u8>>,
}

impl Province {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = folder.path().join("world");
        succeed(&["simulate", "--out", world.to_str().unwrap(), "--seed", "11", "--after-resolution", "1.0"], &[]);
        let survey = world.join("survey.toml");
        let text = std::fs::read_to_string(&survey).unwrap();
        std::fs::write(&survey, text.replace("[grid]\n", "[grid]\ntile_px = 256\n")).unwrap();
        let out = folder.path().join("reference");
        succeed(&["run", survey.to_str().unwrap(), "--out", out.to_str().unwrap()], &[]);
        let reference = files(&out.join("results"));
        assert!(reference.len() > 10, "a survey without results proves little");
        Self { folder, reference }
    }

    pub fn survey(&self) -> String {
        self.folder.path().join("world/survey.toml").to_str().unwrap().to_owned()
    }

    fn place(&self, name: &str) -> PathBuf {
        let place = self.folder.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        place
    }

    pub fn cluster(&self, name: &str) -> Cluster {
        let place = self.place(name);
        Cluster::new(&place, &format!("file://{}", place.join("state").display()), &[])
    }

    /// The survey's results, fetched as a user fetches them, are those of one process.
    pub fn assert_same(&self, cluster: &Cluster, survey: &str, name: &str) {
        assert_same(&results_of(cluster, survey), &self.reference, name);
    }
}

pub fn assert_same(found: &BTreeMap<String, Vec<u8>>, reference: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), reference.keys().collect::<Vec<_>>(), "{what}");
    for (name, bytes) in found {
        assert!(bytes == &reference[name], "{what}: {name} differs");
    }
}

pub fn jobs_done(line: &str) -> u64 {
    // `running ID NAME: 12 % of the work, 30 of 120 jobs, …`
    let words: Vec<&str> = line.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair[1] == "of" && pair[0].parse::<u64>().is_ok())
        .map_or(0, |pair| pair[0].parse().unwrap())
}

/// Waits until a survey has so many jobs done.
pub fn wait_for_jobs(cluster: &Cluster, survey: &str, jobs: u64) {
    wait_until(cluster, "jobs are done", || jobs_done(&cluster.status(survey)) >= jobs);
}

/// Waits until something is so.
pub fn wait_until(cluster: &Cluster, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A survey as it is told to machines.
pub fn document(cluster: &Cluster, survey: &str) -> serde_json::Value {
    let output = cluster.ask(&["status", survey, "--json"]);
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[0].clone()
}

/// The results of a survey, fetched as a user fetches them.
pub fn results_of(cluster: &Cluster, survey: &str) -> BTreeMap<String, Vec<u8>> {
    let out = cluster.folder().join(format!("fetched-{survey}"));
    let fetched = cluster.ask(&["results", survey, "--out", out.to_str().unwrap()]);
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    files(&out.join("results"))
}

/// The small survey, cut into tiles of so many pixels.
pub fn small(tile_px: u32) -> Fixture {
    let fixture = Fixture::new();
    fixture.append(&format!("[grid]\ntile_px = {tile_px}\n"));
    fixture
}

/// What one undisturbed process makes of it.
pub fn reference(fixture: &Fixture) -> BTreeMap<String, Vec<u8>> {
    let out = fixture.path("reference");
    succeed(&["run", &fixture.survey(), "--out", out.to_str().unwrap()], &[]);
    let reference = files(&out.join("results"));
    assert!(
        String::from_utf8_lossy(&reference["sites.csv"]).lines().count() > 1,
        "a survey without a site proves little"
    );
    reference
}

/// Copies what a survey reads into `buckets/survey/in` and gives a survey file that reads it from there.
pub fn fill_bucket(buckets: &Path, fixture: &Fixture) -> String {
    let bucket = buckets.join("survey/in");
    std::fs::create_dir_all(&bucket).unwrap();
    let mut text = std::fs::read_to_string(fixture.survey()).unwrap();
    for name in ["before.tif", "after.tif", "third.tif"] {
        if fixture.path(name).exists() {
            std::fs::copy(fixture.path(name), bucket.join(name)).unwrap();
            text = text.replace(&format!("\"{name}\""), &format!("\"s3://survey/in/{name}\""));
        }
    }
    fixture.write("in-bucket.toml", &text);
    fixture.path("in-bucket.toml").to_str().unwrap().to_owned()
}
