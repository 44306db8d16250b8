//! The real services and the real worker pipeline over a simulated network that loses, holds and delays what is sent, with
//! hosts that die and come back: whatever happens, the survey ends with what it finds undisturbed.
//!
//! All of it follows from a seed, time included, so that a failure can be looked at again:
//! `GROUNDBREAK_FIRST_SEED=17 GROUNDBREAK_SEEDS=1`. Threads, pixels and the journal on disk are others' tests
//! (`cluster.rs`, `crates/coordinator/tests/kill.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may")]

#[path = "turmoil/faults.rs"]
mod faults;
#[path = "turmoil/simulation.rs"]
mod simulation;
#[path = "turmoil/wire.rs"]
mod wire;
#[path = "turmoil/witness.rs"]
mod witness;
#[path = "turmoil/world.rs"]
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use coordinator::CountyOutcome;
use coordinator::journal::Record;
use faults::Kind;
use proto::v1;
use simulation::{Report, calm, stormy};
use survey::job::{JobKey, ObjectRef};

/// Seeds that are tried where nobody says how many.
const SEEDS: u64 = 200;

#[allow(clippy::disallowed_methods, reason = "this is where a person says how many")]
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// What an undisturbed survey books and publishes.
struct Undisturbed {
    books: BTreeMap<JobKey, ObjectRef>,
    counties: Vec<CountyOutcome>,
}

fn undisturbed() -> &'static Undisturbed {
    static ONCE: OnceLock<Undisturbed> = OnceLock::new();
    ONCE.get_or_init(|| {
        let report = calm().unwrap();
        Undisturbed { books: books(&report).unwrap(), counties: report.published[0].counties.clone() }
    })
}

/// The jobs in the books. Each may be there once.
fn books(report: &Report) -> Result<BTreeMap<JobKey, ObjectRef>, String> {
    let mut books = BTreeMap::new();
    for record in &report.records {
        if let Record::Completed { key, object, .. } = record
            && books.insert(*key, object.clone()).is_some()
        {
            return Err(format!("{key} is in the books twice"));
        }
    }
    Ok(books)
}

fn check(report: &Report) -> Result<(), String> {
    let survey = &report.survey;
    if survey.state() != v1::SurveyState::Complete || survey.alarms > 0 || !survey.failed_jobs.is_empty() {
        return Err(format!("it ended otherwise: {survey:?}"));
    }
    if books(report)? != undisturbed().books {
        return Err("other jobs or other digests are in the books".into());
    }
    let ends = report.records.iter().filter(|record| matches!(record, Record::Ended { .. })).count();
    if ends != 1 || report.published.is_empty() {
        return Err(format!("it ended {ends} times and was published {} times", report.published.len()));
    }
    if report.published.iter().any(|published| published.counties != undisturbed().counties) {
        return Err("other results were published".into());
    }
    Ok(())
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

#[test]
fn an_undisturbed_survey_is_done_without_a_failed_attempt() {
    let report = calm().unwrap();
    check(&report).unwrap();
    assert_eq!(undisturbed().books.len(), 60, "4 pairs, 36 tiles, 12 + 4 + 1 blocks, 3 counties");
    assert_eq!((report.survey.attempts_failed, report.survey.leases_expired), (0, 0));
    assert!(report.fired.is_empty());
}

#[test]
fn the_same_seed_goes_the_same_way() {
    // One in twenty: each is done twice.
    let first = number("GROUNDBREAK_FIRST_SEED", 0);
    for seed in first..first + number("GROUNDBREAK_SEEDS", SEEDS).div_ceil(20) {
        let (first, second) = (stormy(seed).unwrap().trace, stormy(seed).unwrap().trace);
        assert!(first.len() > 1000, "{} events", first.len());
        let differs = first.iter().zip(&second).position(|(one, other)| one != other);
        if let Some(at) = differs {
            let around = |trace: &[String]| trace[at.saturating_sub(12)..trace.len().min(at + 6)].join("\n");
            panic!("seed {seed}, event {at}:\n{}\n\nand\n\n{}", around(&first), around(&second));
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
    assert_ne!(stormy(0).unwrap().trace, stormy(1).unwrap().trace);
}

#[test]
fn whatever_the_network_does_and_whoever_dies_the_survey_ends_as_if_undisturbed() {
    let first = number("GROUNDBREAK_FIRST_SEED", 0);
    let seeds = number("GROUNDBREAK_SEEDS", SEEDS);
    let next = AtomicU64::new(first);
    let fired: Mutex<BTreeMap<Kind, u64>> = Mutex::default();
    let failed: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let expired = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let ran = catch_unwind(AssertUnwindSafe(|| {
                        let report = stormy(seed)?;
                        check(&report)?;
                        Ok(report)
                    }));
                    match ran.unwrap_or_else(|panic| Err(words(panic.as_ref()))) {
                        Ok(report) => {
                            expired.fetch_add(report.survey.leases_expired, Ordering::Relaxed);
                            let mut fired = fired.lock().unwrap();
                            for (kind, times) in report.fired {
                                *fired.entry(kind).or_default() += times;
                            }
                        }
                        Err(cause) => {
                            failed.lock().unwrap().insert(seed, cause);
                        }
                    }
                }
            });
        }
    });
    let (fired, failed) = (fired.into_inner().unwrap(), failed.into_inner().unwrap());
    println!("{seeds} seeds from {first}: {fired:?}, {} leases expired", expired.load(Ordering::Relaxed));
    if let Some((seed, cause)) = failed.first_key_value() {
        panic!(
            "seeds {:?} of {seeds} fail. Seed {seed}: {cause}\nagain: GROUNDBREAK_FIRST_SEED={seed} GROUNDBREAK_SEEDS=1",
            failed.keys().collect::<Vec<_>>()
        );
    }
    // A fault that never has an effect tests nothing.
    if seeds >= SEEDS {
        for kind in Kind::ALL {
            assert!(fired.get(&kind).copied().unwrap_or(0) >= 20, "{kind:?} had hardly any effect: {fired:?}");
        }
        assert!(expired.load(Ordering::Relaxed) > 0, "no fault outlasted a lease");
    }
}
