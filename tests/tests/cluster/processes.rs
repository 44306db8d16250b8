//! Processes that are killed, stopped and told to leave.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::fixture::Fixture;
use groundbreak_tests::s3::S3Process;
use rand::Rng;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::stage::{
    Province, assert_same, document, fill_bucket, jobs_done, reference, results_of, small, wait_for_jobs, wait_until,
};

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
    // On a fast machine the survey ends soon: two of each kind are killed in turn, in the first two seconds. On a busy one a job may
    // last longer than the pauses: these grow until something has been done between two kills.
    while workers_killed < 6 || coordinators_killed < 4 || most_done == 0 {
        let killed = workers_killed + coordinators_killed;
        let longest = if killed < 4 { 500 } else { 1500 + 100 * killed as u64 };
        std::thread::sleep(Duration::from_millis(random.random_range(200..longest)));
        let is_coordinators_turn =
            if killed < 4 { coordinators_killed < workers_killed } else { random.random_bool(0.4) };
        if is_coordinators_turn {
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
    wait_for_jobs(&cluster, &survey, 3);
    cluster.signal_worker(sleeper, "STOP");
    // Only the lease's end can free its jobs.
    cluster.start_worker();
    wait_until(&cluster, "a lease expires", || document(&cluster, &survey)["leases_expired"] != 0);
    cluster.signal_worker(sleeper, "CONT");
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    province.assert_same(&cluster, &survey, "stopped");
}

/// SIGTERM lets a worker finish what runs and leave with 0; no attempt fails for it.
fn told_to_leave(province: &Province) {
    let mut cluster = province.cluster("told");
    cluster.start_coordinator();
    let leaving = cluster.start_worker();
    let survey = cluster.submit(&province.survey(), &[]);
    wait_for_jobs(&cluster, &survey, 3);
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

/// The machine that all of them stand on loses its power, again and again.
#[test]
fn a_coordinator_and_its_workers_killed_together_go_on_where_they_were() {
    let fixture = small(64);
    let reference = reference(&fixture);
    let folder = tempfile::tempdir().unwrap();
    let state = format!("file://{}", folder.path().join("state").display());
    let mut cluster = Cluster::new(folder.path(), &state, &[]);
    cluster.start_coordinator();
    let survey = cluster.submit(&fixture.survey(), &[]);
    let mut before = 0;
    for kill in 1..=3 {
        cluster.start_worker();
        cluster.start_worker();
        wait_for_jobs(&cluster, &survey, before + 10);
        before = jobs_done(&cluster.status(&survey));
        assert!(cluster.status(&survey).starts_with("running"), "the survey ended before kill {kill}");
        cluster.kill_everything();
        cluster.start_coordinator();
        wait_until(&cluster, "the survey goes on", || jobs_done(&cluster.status(&survey)) > 0);
        let after = jobs_done(&cluster.status(&survey));
        assert!(after >= before, "{before} jobs were acknowledged and {after} are in the books");
    }
    cluster.start_worker();
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    assert_same(&results_of(&cluster, &survey), &reference, "killed together");
}

/// Survey after survey, with something killed, stopped or started at random all the while: workers, the coordinator, the
/// store, and all of them at once.
#[test]
#[ignore = "minutes: `make chaos`"]
fn whatever_is_killed_for_as_long_as_one_likes_every_survey_gives_the_same_bytes() {
    let asked = std::env::var("GROUNDBREAK_SECONDS");
    let most = Duration::from_secs(asked.map_or(300, |seconds| seconds.parse().unwrap()));
    let fixture = small(64);
    let reference = reference(&fixture);
    let begun = Instant::now();
    let mut faults = BTreeMap::new();
    for seed in 0_u64.. {
        if begun.elapsed() > most && seed > 0 {
            break;
        }
        println!("survey {seed}, after {} s: {faults:?}", begun.elapsed().as_secs());
        one_survey(&fixture, &reference, seed, &mut faults);
    }
    println!("{faults:?}");
    assert!(faults.values().all(|&fired| fired > 0) && faults.len() == FAULTS.len(), "{faults:?}");
}

const FAULTS: [&str; 5] = ["worker killed", "coordinator killed", "store killed", "all killed", "worker stopped"];

fn one_survey(
    fixture: &Fixture,
    reference: &BTreeMap<String, Vec<u8>>,
    seed: u64,
    faults: &mut BTreeMap<&'static str, u32>,
) {
    let folder = tempfile::tempdir().unwrap();
    let buckets = folder.path().join("buckets");
    let survey = fill_bucket(&buckets, fixture);
    let mut store = S3Process::start(&buckets).unwrap();
    let mut cluster = Cluster::new(folder.path(), "s3://survey/state", &store.environment());
    cluster.start_coordinator();
    for _ in 0..3 {
        cluster.start_worker();
    }
    let id = cluster.submit(&survey, &[]);
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    // With no end to the faults there would be no end to the survey.
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(random.random_range(50..900)));
        if cluster.status(&id).starts_with("complete") {
            break;
        }
        let running = cluster.workers();
        let victim = running[random.random_range(0..running.len())];
        let fault = FAULTS[random.random_range(0..FAULTS.len())];
        *faults.entry(fault).or_default() += 1;
        let pause = Duration::from_millis(random.random_range(0..1500));
        match fault {
            "worker killed" => assert!(cluster.kill_worker(victim)),
            "coordinator killed" => assert!(cluster.kill_coordinator()),
            "store killed" => store.kill(),
            "all killed" => {
                cluster.kill_everything();
                store.kill();
            }
            _ => cluster.signal_worker(victim, "STOP"),
        }
        std::thread::sleep(pause);
        match fault {
            "store killed" => store.start_again().unwrap(),
            "all killed" => {
                store.start_again().unwrap();
                cluster.start_coordinator();
            }
            "coordinator killed" => cluster.start_coordinator(),
            // Sometimes past its lease of 3 s, and mostly not.
            "worker stopped" => {
                std::thread::sleep(2 * pause);
                cluster.signal_worker(victim, "CONT");
            }
            _ => {}
        }
        while cluster.workers().len() < 3 {
            cluster.start_worker();
        }
    }
    assert_eq!(cluster.end_of(&id), "complete", "seed {seed}\n{}", cluster.logs());
    assert_same(&results_of(&cluster, &id), reference, &format!("seed {seed}"));
    assert_eq!(document(&cluster, &id)["alarms"], 0, "seed {seed}");
}
