//! A store that kills, dies and fails.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::proxy::Proxy;
use groundbreak_tests::s3::{DevS3, Moment, S3Process};
use rand::Rng;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::stage::{assert_same, document, fill_bucket, reference, results_of, small};

/// Each role dies at each point of a commit: when the store has not yet seen an object, and when it has and nobody was
/// told. The store itself does the killing, so the instant is exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dying_at_any_point_of_a_commit_loses_nothing_and_counts_nothing_twice() {
    let fixture = small(128);
    let reference = reference(&fixture);
    for (victim, prefix) in [("worker", "stages/"), ("coordinator", "journal/")] {
        for moment in [Moment::BeforePut, Moment::AfterPut] {
            let folder = tempfile::tempdir().unwrap();
            let buckets = folder.path().join("buckets");
            let survey = fill_bucket(&buckets, &fixture);
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
                    assert_same(&results_of(&started, &id), &reference, &what);
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

/// A store that answers 500 and 503, cuts answers short, resets connections and drips changes no byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failing_store_changes_no_byte() {
    let fixture = small(128);
    let reference = reference(&fixture);
    let folder = tempfile::tempdir().unwrap();
    let buckets = folder.path().join("buckets");
    let survey = fill_bucket(&buckets, &fixture);
    let server = DevS3::start(&buckets, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let proxy = Proxy::start(server.address(), 7, 0.2).await.unwrap();
    let mut environment = server.environment();
    proxy.put_before(&mut environment);
    let mut cluster = Cluster::new(folder.path(), "s3://survey/state", &environment);
    tokio::task::spawn_blocking(move || {
        cluster.start_coordinator();
        cluster.start_worker();
        cluster.start_worker();
        let id = cluster.submit(&survey, &[]);
        assert_eq!(cluster.end_of(&id), "complete", "{}", cluster.logs());
        assert_same(&results_of(&cluster, &id), &reference, "a failing store");
    })
    .await
    .unwrap();
    for (fault, count) in proxy.counts() {
        assert!(count > 0, "{fault:?} never happened: {:?}", proxy.counts());
    }
}

/// The store is killed again and again under all that lives on it: scenes, findings, journal, results.
#[test]
fn a_store_that_is_killed_again_and_again_loses_nothing() {
    const KILLS: u32 = 5;
    let fixture = small(64);
    let reference = reference(&fixture);
    let folder = tempfile::tempdir().unwrap();
    let buckets = folder.path().join("buckets");
    let survey = fill_bucket(&buckets, &fixture);
    let mut store = S3Process::start(&buckets).unwrap();
    let mut cluster = Cluster::new(folder.path(), "s3://survey/state", &store.environment());
    cluster.start_coordinator();
    let workers = [cluster.start_worker(), cluster.start_worker()];
    let id = cluster.submit(&survey, &[]);
    let mut random = Pcg64Mcg::seed_from_u64(3);
    let mut kills = 0;
    while !cluster.status(&id).starts_with("complete") && kills < KILLS {
        store.kill();
        kills += 1;
        std::thread::sleep(Duration::from_millis(random.random_range(100..1500)));
        store.start_again().unwrap();
        std::thread::sleep(Duration::from_millis(random.random_range(100..600)));
    }
    assert!(kills >= 3, "the survey ended after {kills} kills");
    assert_eq!(cluster.end_of(&id), "complete", "{}", cluster.logs());
    assert_same(&results_of(&cluster, &id), &reference, "a store that was killed");
    assert!(workers.into_iter().all(|worker| cluster.is_alive(worker)), "workers wait for their store");
}
