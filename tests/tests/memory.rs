//! C7: jobs declare what they hold, a worker takes on what fits, and so the process stays within the memory that it is
//! given.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use groundbreak_tests::survey_run::{binary, measure, refuse, succeed, table};

/// What a process holds that is no job's and no block's: code, the runtime's threads, catalogs while they are read, and
/// what the allocator keeps of what was given back.
const BESIDE_JOBS: u64 = 96 << 20;

#[test]
fn a_survey_stays_within_the_memory_that_it_is_given_and_refuses_what_cannot_hold_a_job() {
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name).to_string_lossy().into_owned();
    let world = path("world");
    succeed(&["simulate", "--out", &world, "--seed", "7"], &[]);
    let survey = format!("{world}/survey.toml");

    let limit: u64 = 512 << 20;
    let peak = measure(&["run", &survey, "--out", &path("out"), "--memory", "512MiB"]).peak_bytes;
    assert!(peak <= limit + BESIDE_JOBS, "{} MiB with a limit of 512 MiB", peak >> 20);
    // A process that does nothing would stay within its memory, too.
    assert!(peak > limit / 4, "{} MiB: was there a survey?", peak >> 20);
    let sites = table(&Path::new(&path("out")).join("results/counties.csv"));
    assert!(sites.iter().any(|county| county["site_count"] != "0"));

    // What can never fit is refused before anything is read, with what to change; planning says so as well.
    for command in [
        vec!["run", &survey, "--out", &path("small"), "--memory", "64MiB"],
        vec!["plan", &survey, "--out", &path("plan"), "--memory", "64MiB"],
    ] {
        let (code, message) = refuse(&command, &[]);
        assert_eq!(code, 3, "{message}");
        assert!(message.contains("needs") && message.contains("48") && message.contains("memory"), "{message}");
    }
    assert!(!Path::new(&path("small")).join("stages").exists(), "a refused survey has begun");
}

/// The program starts once more as the same process, with few arenas of the C library's, unless somebody chose otherwise.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_process_has_as_many_arenas_as_cores_unless_told_otherwise() {
    let work = tempfile::tempdir().unwrap();
    for (told, expected) in [(None, true), (Some(("MALLOC_TRIM_THRESHOLD_", "131072")), false)] {
        let mut command = Command::new(binary());
        command.args(["simulate", "--seed", "7", "--out"]).arg(work.path().join(expected.to_string()));
        for name in ["MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"] {
            command.env_remove(name);
        }
        let mut process = command.envs(told).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let environment = || std::fs::read(format!("/proc/{}/environ", process.id())).unwrap();
        let is_set = || environment().split(|&byte| byte == 0).any(|entry| entry.starts_with(b"MALLOC_ARENA_MAX="));
        let found = (0..50).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            is_set()
        });
        assert_eq!(found, expected, "{told:?}");
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
