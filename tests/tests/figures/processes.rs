//! Figures of real processes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::figures::figure;
use groundbreak_tests::fixture::Fixture;
use groundbreak_tests::survey_run::{binary, succeed};

fn state(folder: &Path) -> String {
    format!("file://{}", folder.join("state").display())
}

fn number(document: &serde_json::Value, field: &str) -> u64 {
    document[0][field].as_u64().unwrap()
}

fn told(cluster: &Cluster, command: &[&str]) -> serde_json::Value {
    serde_json::from_slice(&cluster.ask(command).stdout).unwrap()
}

#[test]
#[ignore = "a measurement of a minute"]
fn a_killed_workers_jobs_run_elsewhere_within_two_leases() {
    const LEASE: Duration = Duration::from_secs(30);
    let fixture = Fixture::new();
    fixture.append("[grid]\ntile_px = 64\n");
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(folder.path(), &state(folder.path()), &[]);
    // The lease that users get.
    cluster.coordinator_arguments.clear();
    cluster.start_coordinator();
    let doomed = cluster.start_worker();
    let survey = cluster.submit(&fixture.survey(), &[]);
    // While it stands still what it holds stays as it is.
    loop {
        cluster.signal_worker(doomed, "STOP");
        if number(&told(&cluster, &["workers", "--json"]), "jobs") > 0 {
            break;
        }
        cluster.signal_worker(doomed, "CONT");
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    assert!(cluster.kill_worker(doomed));
    cluster.start_worker();
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    let took = begun.elapsed();
    assert!(number(&told(&cluster, &["status", &survey, "--json"]), "leases_expired") > 0, "it held nothing");
    let measured = format!("{:.1} s", took.as_secs_f64());
    figure("a killed worker's jobs are done elsewhere, with the default lease of 30 s", "< 60 s", &measured);
    assert!(took < 2 * LEASE, "{took:?}");
}

#[test]
#[ignore = "a measurement of a minute"]
fn a_run_foretells_another_of_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for seed in ["7", "11"] {
        succeed(&["simulate", "--out", &path(seed), "--seed", seed], &[]);
        succeed(&["run", &format!("{}/survey.toml", path(seed)), "--out", &path(&format!("out-{seed}"))], &[]);
    }
    let survey = format!("{}/survey.toml", path("11"));
    succeed(&["plan", &survey, "--out", &path("plan"), "--estimate", "--measured", &path("out-7")], &[]);
    let read =
        |name: &str| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap() };
    let (foretold, run) = (read("plan/estimate.json"), read("out-11/run.json"));
    let taken = |part: &str, what: &str| run["measured"][part][what].as_f64().unwrap();
    let wall = [
        foretold["survey_s"].as_f64().unwrap() + foretold["results_s"].as_f64().unwrap(),
        taken("survey", "wall_s") + taken("results", "wall_s"),
    ];
    let cores = [foretold["core_hours"].as_f64().unwrap() * 3600.0, taken("survey", "core_s")];
    let bytes = [foretold["fetch_bytes"].as_f64().unwrap(), run["bytes_fetched"].as_f64().unwrap()].map(|of| of / 1e6);
    let words = |what: &str, [foretold, taken]: [f64; 2]| format!("{what} {foretold:.1} for {taken:.1}");
    figure(
        "one province foretold by a run of another, on this machine",
        "within 20 %",
        &[words("wall s", wall), words("core-s", cores), words("MB", bytes)].join(", "),
    );
    for [foretold, taken] in [wall, cores, bytes] {
        assert!((foretold / taken - 1.0).abs() <= 0.2, "{foretold} for {taken}");
    }
}

/// Three rounds, so that one bad moment of the machine does not decide.
const ROUNDS: usize = 3;

#[test]
#[ignore = "a measurement of minutes"]
fn three_workers_take_little_longer_than_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().join("world");
    succeed(&["simulate", "--out", world.to_str().unwrap(), "--seed", "7"], &[]);
    let survey = world.join("survey.toml").to_str().unwrap().to_owned();
    let (mut alone, mut together) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        let out = folder.path().join(format!("alone-{round}"));
        let begun = Instant::now();
        succeed(&["run", &survey, "--out", out.to_str().unwrap()], &[]);
        alone = alone.min(begun.elapsed());

        let place = folder.path().join(format!("together-{round}"));
        std::fs::create_dir_all(&place).unwrap();
        let mut cluster = Cluster::new(&place, &state(&place), &[]);
        cluster.coordinator_arguments.clear();
        cluster.start_coordinator();
        for _ in 0..3 {
            cluster.start_worker();
        }
        // Processes are up, as those of a cluster are.
        while told(&cluster, &["workers", "--json"]).as_array().unwrap().len() < 3 {
            std::thread::sleep(Duration::from_millis(50));
        }
        let begun = Instant::now();
        let mut submit = Command::new(binary());
        submit.args(["submit", &survey, "--watch", "--coordinator", &cluster.url()]).stdout(Stdio::null());
        assert!(submit.stderr(Stdio::null()).status().unwrap().success(), "{}", cluster.logs());
        together = together.min(begun.elapsed());
    }
    let ratio = together.as_secs_f64() / alone.as_secs_f64();
    let cores = std::thread::available_parallelism().unwrap();
    figure(
        &format!("the demo survey by three worker processes against one process, on {cores} cores"),
        "≤ × 1.10",
        &format!("× {ratio:.2} ({:.1} s against {:.1} s)", together.as_secs_f64(), alone.as_secs_f64()),
    );
    assert!(ratio <= 1.10, "{ratio}");
}
