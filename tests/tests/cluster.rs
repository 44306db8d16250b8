//! A cluster of real processes gives the bytes of one process, whatever is killed, stopped or cut off meanwhile.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests; real processes take real time")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::survey_run::{files, succeed};
use rand::Rng;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

/// A simulated province and the results that one undisturbed process makes of it. Tiles are small, so that there are
/// many jobs.
struct Province {
    folder: tempfile::TempDir,
    reference: BTreeMap<String, Vec<u8>>,
}

impl Province {
    fn new() -> Self {
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

    fn survey(&self) -> String {
        self.folder.path().join("world/survey.toml").to_str().unwrap().to_owned()
    }

    fn place(&self, name: &str) -> PathBuf {
        let place = self.folder.path().join(name);
        std::fs::create_dir_all(&place).unwrap();
        place
    }

    fn cluster(&self, name: &str) -> Cluster {
        let place = self.place(name);
        Cluster::new(&place, &format!("file://{}", place.join("state").display()), &[])
    }

    /// The survey's results, fetched as a user fetches them, are those of one process.
    fn assert_same(&self, cluster: &Cluster, survey: &str, name: &str) {
        let out = self.place(name).join("results-of-the-cluster");
        let fetched = cluster.ask(&["results", survey, "--out", out.to_str().unwrap()]);
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        assert_same(&files(&out.join("results")), &self.reference, name);
    }
}

fn assert_same(found: &BTreeMap<String, Vec<u8>>, reference: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), reference.keys().collect::<Vec<_>>(), "{what}");
    for (name, bytes) in found {
        assert!(bytes == &reference[name], "{what}: {name} differs");
    }
}

fn jobs_done(line: &str) -> u64 {
    // `running ID NAME: 12 % of the work, 30 of 120 jobs, …`
    let words: Vec<&str> = line.split_whitespace().collect();
    words
        .windows(2)
        .find(|pair| pair[1] == "of" && pair[0].parse::<u64>().is_ok())
        .map_or(0, |pair| pair[0].parse().unwrap())
}

/// One province for all faults: making it takes half a minute.
#[test]
fn a_cluster_gives_the_bytes_of_one_process_whatever_happens_to_it() {
    let province = Province::new();
    undisturbed(&province);
    killed_at_random(&province);
    stopped_past_its_lease(&province);
    told_to_leave(&province);
}

fn undisturbed(province: &Province) {
    let mut cluster = province.cluster("undisturbed");
    cluster.start_coordinator();
    for _ in 0..3 {
        cluster.start_worker();
    }
    let survey = cluster.submit(&province.survey(), &[]);
    // The same again is the same survey.
    assert_eq!(cluster.submit(&province.survey(), &[]), survey);
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    province.assert_same(&cluster, &survey, "undisturbed");
}

/// `kill -9` of workers and of the coordinator at random instants, until the survey has ended all the same.
fn killed_at_random(province: &Province) {
    let mut cluster = province.cluster("killed");
    cluster.start_coordinator();
    for _ in 0..3 {
        cluster.start_worker();
    }
    let survey = cluster.submit(&province.survey(), &[]);
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let (mut workers_killed, mut coordinators_killed) = (0, 0);
    let mut most_done = 0;
    while workers_killed < 6 || coordinators_killed < 4 {
        std::thread::sleep(Duration::from_millis(random.random_range(200..1500)));
        if random.random_bool(0.4) {
            coordinators_killed += usize::from(cluster.kill_coordinator());
            cluster.start_coordinator();
        } else {
            let running = cluster.workers();
            let victim = running[random.random_range(0..running.len())];
            workers_killed += usize::from(cluster.kill_worker(victim));
            cluster.start_worker();
        }
        let line = cluster.status(&survey);
        most_done = most_done.max(jobs_done(&line));
        if line.starts_with("complete") {
            break;
        }
    }
    assert!(
        workers_killed >= 2 && coordinators_killed >= 2,
        "the survey ended before enough was killed: {workers_killed}, {coordinators_killed}"
    );
    assert!(most_done > 0, "nothing was ever seen to be done");
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    province.assert_same(&cluster, &survey, "killed");
}

/// A worker that is stopped for longer than its lease loses its jobs; what it says afterwards changes nothing.
fn stopped_past_its_lease(province: &Province) {
    let mut cluster = province.cluster("stopped");
    cluster.start_coordinator();
    let sleeper = cluster.start_worker();
    let survey = cluster.submit(&province.survey(), &[]);
    let deadline = Instant::now() + Duration::from_secs(120);
    while jobs_done(&cluster.status(&survey)) < 3 {
        assert!(Instant::now() < deadline, "{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.signal_worker(sleeper, "STOP");
    // Only the lease's end can free its jobs.
    cluster.start_worker();
    let expired = || leases_expired(&cluster, &survey) > 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !expired() {
        assert!(Instant::now() < deadline, "no lease expired\n{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(100));
    }
    cluster.signal_worker(sleeper, "CONT");
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    province.assert_same(&cluster, &survey, "stopped");
}

fn document(cluster: &Cluster, survey: &str) -> serde_json::Value {
    let output = cluster.ask(&["status", survey, "--json"]);
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[0].clone()
}

fn leases_expired(cluster: &Cluster, survey: &str) -> u64 {
    document(cluster, survey)["leases_expired"].as_u64().unwrap()
}

/// SIGTERM lets a worker finish what runs and leave with 0; no attempt fails for it.
fn told_to_leave(province: &Province) {
    let mut cluster = province.cluster("told");
    cluster.start_coordinator();
    let leaving = cluster.start_worker();
    let survey = cluster.submit(&province.survey(), &[]);
    let deadline = Instant::now() + Duration::from_secs(120);
    while jobs_done(&cluster.status(&survey)) < 3 {
        assert!(Instant::now() < deadline, "{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    cluster.signal_worker(leaving, "TERM");
    assert_eq!(cluster.wait_for_worker(leaving), Some(0), "{}", cluster.logs());
    let state = cluster.status(&survey);
    assert!(state.starts_with("running"), "it was to leave in mid-survey: {state}");
    cluster.start_worker();
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    let document = document(&cluster, &survey);
    assert_eq!(document["leases_expired"], 0, "it handed back or finished what it had: {document}");
    province.assert_same(&cluster, &survey, "told");
}

/// Without the right token nothing happens; with TLS and tokens everything does.
#[test]
fn strangers_are_kept_out_and_the_wire_is_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let ca = write("ca.pem", &authority_certificate.pem());
    let (certificate, key) = (write("cert.pem", &certificate.pem()), write("key.pem", &key.serialize_pem()));
    let tokens = write(
        "tokens",
        "operator operator-secret-0001 ci\nworker worker-secret-00002 fleet\nviewer viewer-secret-00003 wall\n",
    );
    let token = |role: &str, text: &str| write(&format!("{role}.token"), text).to_str().unwrap().to_owned();
    let (operator, worker) = (token("operator", "operator-secret-0001\n"), token("worker", "worker-secret-00002\n"));
    let (viewer, stranger) = (token("viewer", "viewer-secret-00003\n"), token("stranger", "operator-secret-0009\n"));

    let fixture = groundbreak_tests::fixture::Fixture::new();
    let state = format!("file://{}", folder.path().join("state").display());
    let mut cluster = Cluster::new(folder.path(), &state, &[]);
    cluster.speak_tls(&certificate, &key, &ca);
    cluster.coordinator_arguments.extend(["--tokens".into(), tokens.to_str().unwrap().into()]);
    cluster.start_coordinator();
    let refused = |output: std::process::Output, words: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{said}");
        assert!(said.contains(words) && !said.contains("secret"), "{said}");
    };
    let survey = fixture.survey();
    refused(cluster.ask(&["submit", &survey]), "needs a token");
    refused(cluster.ask(&["submit", &survey, "--token-file", &stranger]), "not one of this coordinator's");
    refused(cluster.ask(&["submit", &survey, "--token-file", &viewer]), "`viewer`");
    refused(cluster.ask(&["status", "--token-file", &worker]), "`worker`");
    let listed = cluster.ask(&["status", "--token-file", &viewer]);
    assert!(listed.status.success() && listed.stdout.is_empty(), "nothing was submitted");

    // A worker with a viewer's token gets no work.
    cluster.worker_arguments.extend(["--token-file".into(), viewer]);
    cluster.start_worker();
    cluster.client_arguments.extend(["--token-file".into(), operator]);
    let id = cluster.submit(&survey, &[]);
    std::thread::sleep(Duration::from_secs(1));
    assert!(cluster.status(&id).starts_with("running"), "{}", cluster.logs());
    *cluster.worker_arguments.last_mut().unwrap() = worker;
    cluster.start_worker();
    assert_eq!(cluster.end_of(&id), "complete", "{}", cluster.logs());
    let logs = all_text(folder.path());
    assert!(!logs.contains("secret-0"), "a token stands in a log");
}

/// All logs below a folder.
fn all_text(folder: &Path) -> String {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "err" || kind == "out"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// A bucket with the fixture's scenes, and a survey file that names them there.
mod bucket {
    use super::*;
    use groundbreak_tests::fixture::Fixture;

    /// Copies what the survey reads into `folder/survey/in` and gives a survey file that reads it from there.
    pub fn fill(folder: &Path, fixture: &Fixture) -> String {
        let bucket = folder.join("survey/in");
        std::fs::create_dir_all(&bucket).unwrap();
        let mut text = std::fs::read_to_string(fixture.survey()).unwrap();
        for name in ["before.tif", "after.tif"] {
            std::fs::copy(fixture.path(name), bucket.join(name)).unwrap();
            text = text.replace(&format!("\"{name}\""), &format!("\"s3://survey/in/{name}\""));
        }
        fixture.write("in-bucket.toml", &format!("{text}\n[grid]\ntile_px = 128\n"));
        fixture.path("in-bucket.toml").to_str().unwrap().to_owned()
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
}

/// Each role dies at each point of a commit: when the store has not yet seen an object, and when it has and nobody was
/// told. The store itself does the killing, so the instant is exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dying_at_any_point_of_a_commit_loses_nothing_and_counts_nothing_twice() {
    use groundbreak_tests::fixture::Fixture;
    use groundbreak_tests::s3::{DevS3, Moment};
    use std::sync::{Arc, Mutex};

    let fixture = Fixture::new();
    let reference = bucket::reference(&fixture);
    for (victim, prefix) in [("worker", "stages/"), ("coordinator", "journal/")] {
        for moment in [Moment::BeforePut, Moment::AfterPut] {
            let folder = tempfile::tempdir().unwrap();
            let buckets = folder.path().join("buckets");
            let survey = bucket::fill(&buckets, &fixture);
            // The third such object that is put kills; who dies is known only later.
            let cluster: Arc<Mutex<Option<Cluster>>> = Arc::default();
            let seen = Arc::new(Mutex::new(0));
            let watch = {
                let (cluster, seen) = (Arc::clone(&cluster), Arc::clone(&seen));
                Arc::new(move |now: Moment, key: &str| {
                    if now != moment || !key.contains(prefix) || cluster.lock().unwrap().is_none() {
                        return;
                    }
                    let mut seen = seen.lock().unwrap();
                    *seen += 1;
                    if *seen == 3 {
                        let mut cluster = cluster.lock().unwrap();
                        let cluster = cluster.as_mut().unwrap();
                        let killed =
                            if victim == "worker" { cluster.kill_worker(0) } else { cluster.kill_coordinator() };
                        assert!(killed, "the {victim} was alive");
                    }
                })
            };
            let server = DevS3::start_watched(&buckets, "127.0.0.1:0".parse().unwrap(), Some(watch)).await.unwrap();
            let mut started = Cluster::new(folder.path(), "s3://survey/state", &server.environment());
            let what = format!("{victim} {moment:?}");
            let (seen_at_end, found) = {
                let (cluster, seen) = (Arc::clone(&cluster), Arc::clone(&seen));
                let (reference, what) = (reference.clone(), what.clone());
                tokio::task::spawn_blocking(move || {
                    started.start_coordinator();
                    started.start_worker();
                    let id = started.submit(&survey, &[]);
                    let out = fixture_out(&started);
                    *cluster.lock().unwrap() = Some(started);
                    let deadline = Instant::now() + Duration::from_secs(120);
                    while *seen.lock().unwrap() < 3 {
                        assert!(Instant::now() < deadline, "{what}: the fault never fired");
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    let mut started = cluster.lock().unwrap().take().unwrap();
                    if victim == "worker" {
                        started.start_worker();
                    } else {
                        started.start_coordinator();
                    }
                    assert_eq!(started.end_of(&id), "complete", "{what}\n{}", started.logs());
                    let fetched = started.ask(&["results", &id, "--out", out.to_str().unwrap()]);
                    assert!(fetched.status.success(), "{what}: {}", String::from_utf8_lossy(&fetched.stderr));
                    assert_same(&files(&out.join("results")), &reference, &what);
                    (*seen.lock().unwrap(), document(&started, &id))
                })
                .await
                .unwrap()
            };
            assert!(seen_at_end >= 3, "{what}");
            assert_eq!(found["alarms"], 0, "{what}: two digests for one job: {found}");
        }
    }
}

fn fixture_out(cluster: &Cluster) -> PathBuf {
    cluster.folder().join("fetched")
}

/// A store that answers 500 and 503, cuts answers short, resets connections and drips changes no byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failing_store_changes_no_byte() {
    use groundbreak_tests::fixture::Fixture;
    use groundbreak_tests::proxy::Proxy;
    use groundbreak_tests::s3::DevS3;

    let fixture = Fixture::new();
    let reference = bucket::reference(&fixture);
    let folder = tempfile::tempdir().unwrap();
    let buckets = folder.path().join("buckets");
    let survey = bucket::fill(&buckets, &fixture);
    let server = DevS3::start(&buckets, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let proxy = Proxy::start(server.address(), 7, 0.2).await.unwrap();
    let mut environment = server.environment();
    environment.iter_mut().filter(|(name, _)| *name == "AWS_ENDPOINT_URL").for_each(|(_, url)| {
        *url = format!("http://{}", proxy.address());
    });
    let mut cluster = Cluster::new(folder.path(), "s3://survey/state", &environment);
    let out = folder.path().join("fetched");
    tokio::task::spawn_blocking(move || {
        cluster.start_coordinator();
        cluster.start_worker();
        cluster.start_worker();
        let id = cluster.submit(&survey, &[]);
        assert_eq!(cluster.end_of(&id), "complete", "{}", cluster.logs());
        let fetched = cluster.ask(&["results", &id, "--out", out.to_str().unwrap()]);
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        assert_same(&files(&out.join("results")), &reference, "a failing store");
    })
    .await
    .unwrap();
    for (fault, count) in proxy.counts() {
        assert!(count > 0, "{fault:?} never happened: {:?}", proxy.counts());
    }
}
