//! A disk that is full.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use groundbreak_tests::cluster::Cluster;
use groundbreak_tests::survey_run::{files, refuse, succeed};

use super::stage::{assert_same, reference, results_of, small, wait_for_jobs};

/// `docs/exit-codes.md`: the output cannot be used.
const OUTPUT: i32 = 5;

/// A small disk of its own. Unmounted when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// A disk of so many MiB. `None`, with one line that says what is skipped, where none can be mounted.
    #[allow(clippy::print_stdout, reason = "the one line that says that a test is skipped")]
    fn new(mebibytes: u32, test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self { folder });
        }
        println!("skipped: {test}: no small disk can be mounted here (it takes root)");
        None
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte, and gives the file that does so.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut ballast = std::fs::File::create(&path).unwrap();
        let block = vec![0_u8; 4096];
        while ballast.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: somebody may still have a file open there.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_ends_a_run_with_its_name_and_the_same_command_goes_on_once_there_is_room() {
    let Some(disk) = Disk::new(64, "a_full_disk_ends_a_run") else { return };
    let fixture = small(64);
    let reference = reference(&fixture);
    let out = disk.path().join("out");
    let command = ["run", &fixture.survey(), "--out", out.to_str().unwrap()];
    // Room for the first jobs, and not for the last.
    let room = 200 << 10;
    let ballast = disk.fill();
    let full = std::fs::metadata(&ballast).unwrap().len();
    std::fs::File::options().write(true).open(&ballast).unwrap().set_len(full - room).unwrap();
    let (code, said) = refuse(&command, &[]);
    assert_eq!(code, OUTPUT, "{said}");
    for words in [out.to_str().unwrap(), "No space left on device", "free some space"] {
        assert!(said.contains(words), "`{words}` is not in: {said}");
    }
    std::fs::remove_file(ballast).unwrap();
    succeed(&command, &[]);
    assert_same(&files(&out.join("results")), &reference, "after a full disk");
    let run: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    assert!(run["resumed_jobs"].as_u64().unwrap() > 0, "what was done is not done again: {run}");
}

#[test]
fn a_full_disk_under_a_cluster_loses_nothing_that_was_done() {
    let Some(disk) = Disk::new(64, "a_full_disk_under_a_cluster") else { return };
    let fixture = small(64);
    let reference = reference(&fixture);
    let folder = tempfile::tempdir().unwrap();
    let state = disk.path().join("state");
    let mut cluster = Cluster::new(folder.path(), &format!("file://{}", state.display()), &[]);
    cluster.start_coordinator();
    let workers = [cluster.start_worker(), cluster.start_worker()];
    let survey = cluster.submit(&fixture.survey(), &[]);
    wait_for_jobs(&cluster, &survey, 10);
    let ballast = disk.fill();
    assert_eq!(cluster.wait_for_coordinator(), Some(OUTPUT), "{}", cluster.logs());
    let said = cluster.last_words_of_the_coordinator();
    for words in [state.to_str().unwrap(), "No space left on device", "free some space"] {
        assert!(said.contains(words), "`{words}` is not in: {said}");
    }
    std::fs::remove_file(ballast).unwrap();
    cluster.start_coordinator();
    assert_eq!(cluster.end_of(&survey), "complete", "{}", cluster.logs());
    assert_same(&results_of(&cluster, &survey), &reference, "after a full disk");
    assert!(workers.into_iter().all(|worker| cluster.is_alive(worker)), "the workers have waited");
}
